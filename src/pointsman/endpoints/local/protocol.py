"""What a client and the model host say to each other: one JSON line asks, JSON lines answer, over 127.0.0.1.

    client → host   {"token": …, "op": "lease", "model": "smollm2-135m"}
    host → client   {"event": "loading"}   at once, then every second while the model loads
                    {"event": "ready", "url": …, "api_key": …, "context": …, "pid": …}

A lease lives as long as its connection: whoever closes it, or dies, gives it back. The host closes it when the model's
process dies.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

LINE_LIMIT = 8192
"""Bytes of the longest line that either side reads."""
HEARTBEAT_SECONDS = 1.0
HELD_BY_ANOTHER = 3
"""The exit status of a host that found another one running."""


class Request(Struct, frozen=True):
    token: str
    op: Literal["lease", "status", "stop"]
    model: str = ""


class Loading(Struct, frozen=True, tag_field="event", tag="loading"):
    """The host has understood and is at it."""


class Ready(Struct, frozen=True, tag_field="event", tag="ready"):
    """The model serves OpenAI's API at `url` + '/v1', with `api_key`, in windows of `context` tokens."""

    url: str
    api_key: str
    context: int
    pid: int


class Failed(Struct, frozen=True, tag_field="event", tag="failed"):
    message: str


class ModelStatus(Struct, frozen=True):
    model: str
    pid: int
    leases: int
    rss: int | None
    """Bytes of memory in use; None where the system does not tell."""
    uptime: float
    """Seconds since it was ready."""


class Status(Struct, frozen=True, tag_field="event", tag="status"):
    pid: int
    uptime: float
    models: tuple[ModelStatus, ...] = ()


class Stopping(Struct, frozen=True, tag_field="event", tag="stopping"):
    """The host ends, and its models with it."""


Event = Loading | Ready | Failed | Status | Stopping

_events = msgspec.json.Decoder(Event)
_requests = msgspec.json.Decoder(Request)


def line(value: Request | Event) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def read_event(text: bytes) -> Event | None:
    """None for anything that is not a whole line of ours."""
    try:
        return _events.decode(text) if text.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_request(text: bytes) -> Request | None:
    """None for anything that is not a whole line of ours."""
    try:
        return _requests.decode(text) if text.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Address(Struct, frozen=True):
    """Where the host of a home listens, and the token without which it answers nobody."""

    pid: int
    port: int
    token: str


def lock_path(home: Path) -> Path:
    return home / "run" / "host.lock"


def address_path(home: Path) -> Path:
    return home / "run" / "host.json"


def logs_folder(home: Path) -> Path:
    return home / "logs"


def write_address(home: Path, address: Address) -> None:
    """Readable only to its owner, and never seen half written."""
    path = address_path(home)
    new = path.with_suffix(f".{address.pid}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(address))
    new.replace(path)


def read_address(home: Path) -> Address | None:
    """None where no host has left one that can be read."""
    try:
        return msgspec.json.decode(address_path(home).read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
