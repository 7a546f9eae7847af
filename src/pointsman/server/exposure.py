"""What may be seen from other machines: a key that can be guessed must not be all that guards it."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter

from ..core import ConfigError
from ..gateway import Gateway

WEAK_KEYS = frozenset({"sk-1234", "changeme", "password", "secret", "test", "admin", "master", "key"})


def check_exposure(gateway: Gateway, host: str) -> str:
    """The user's own key, '' for none. Raises ConfigError, with the place, for one that is not set, and for a weak one
    on an address that other machines can reach."""
    try:
        own_key = gateway.environment.secret(gateway.config.server.key, where="")
    except ConfigError as error:
        raise gateway.configuration.lines.error(("server", "key"), error.message) from None
    weakness = "" if not own_key or is_loopback(host) else _weakness(own_key)
    if weakness:
        raise gateway.configuration.lines.error(
            ("server", "key"),
            f"The key {weakness}, and {host} can be reached from other machines. Use a key that `pointsman keys "
            "create` makes, or bind 127.0.0.1.",
        )
    return own_key


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _weakness(key: str) -> str:
    """What makes a key guessable; '' for a good one."""
    if key.lower() in WEAK_KEYS:
        return "is one that everybody knows"
    if len(key) < 24:
        return f"has {len(key)} characters, and 24 are the least"
    counts = Counter(key)
    entropy = -sum(count / len(key) * math.log2(count / len(key)) for count in counts.values()) * len(key)
    return "" if entropy >= 72 else "repeats itself too much to be random"
