"""Who may ask from a browser: pages of other origins are kept out.

A page anywhere may try calls to a server on its visitor's machine, or let its own name lead to this address and so
seem to be of one origin with it (DNS rebinding). It has no key, but it is not to get as far as the key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from ..core import Forbidden
from .exchange import Exchange

MOST_WELCOME = 256


class Origins:
    """By which names this server may be asked for, and from which origins.

    `names` are those that the configuration states, beside localhost and plain addresses. On an address that other
    machines can reach (not `is_local`) any name is taken while none is stated: nobody could list them all.
    """

    def __init__(self, names: Collection[str], *, is_local: bool) -> None:
        self._stated = frozenset(name.lower() for name in names)
        self._names = self._stated | {"localhost", "127.0.0.1"}
        self._takes_any_name = not is_local and not names
        self._welcome: set[tuple[bytes | None, bytes | None]] = set()
        """Pairs of host and origin that were let in: clients state the same with every call."""

    def check(self, exchange: Exchange) -> None:
        """Raises Forbidden for a name that is not ours, and for a page of another origin."""
        stated = exchange.headers.get(b"host"), exchange.headers.get(b"origin")
        if stated in self._welcome:
            return
        self._check(exchange)
        if len(self._welcome) < MOST_WELCOME:
            self._welcome.add(stated)

    def _check(self, exchange: Exchange) -> None:
        host = exchange.header(b"host").lower()
        if not (self._takes_any_name or self._leads_here(_hostname(host))):
            raise Forbidden(
                f"This server does not answer to the name {_hostname(host)[:100]!r}: use localhost or an address, or "
                "put the name into `server.hosts` of the configuration."
            )
        origin = exchange.header(b"origin").lower()
        if origin and not self._is_welcome(origin, host):
            raise Forbidden(
                f"A page of {origin[:100]!r} may not ask this server: only its own pages may, and programs that are "
                "no web page. Let the page ask a server of its own, which asks here."
            )

    def _leads_here(self, name: str) -> bool:
        """An address leads where it says: only a name can be made to lead elsewhere. No name at all is no browser."""
        return not name or name in self._names or name.endswith(".localhost") or _is_address(name)

    def _is_welcome(self, origin: str, host: str) -> bool:
        """`app://`, `vscode-webview://` and the like are programs that somebody has installed; `null` may be any
        page."""
        scheme, separator, authority = origin.partition("://")
        if separator and scheme not in ("http", "https"):
            return True
        return bool(authority) and (authority == host or _hostname(authority) in self._stated)


def _hostname(authority: str) -> str:
    """Without the port, and without the brackets of an IPv6 address."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
