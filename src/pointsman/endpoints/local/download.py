"""A large file over HTTP, resumed in the middle where an earlier try was broken off, and believed only for its hash."""

from __future__ import annotations

import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from ...core import Unreachable

_CHUNK = 1 << 18
_SILENCE_SECONDS = 30.0
"""A connection that gives nothing for so long is dropped and taken up again."""
_TRIES = 4
"""Tries in a row that bring no byte before we give up."""
_PATIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class Stopped(Exception):
    """The user broke the download off. What has come stays, to be resumed."""


class WrongHash(Unreachable):
    """The bytes are not the ones that were asked for."""


def download(url: str, target: Path, sha256: str, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
    """Bring `url` to `target`, through `target` + '.part', which outlives everything but a wrong hash.

    `on_bytes` gets the count of bytes that are on disk, whenever it grew. Proxies and certificates are those of the
    standard library: HTTPS_PROXY, SSL_CERT_FILE and the system's store. Raises Unreachable, WrongHash or Stopped.
    """
    part = part_of(target)
    resumed = part.exists()
    _fetch(url, part, stop, on_bytes)
    try:
        keep(part, target, sha256)
    except WrongHash:
        if not resumed:
            raise
        # What an earlier try left may have been damaged (power was lost before it reached the disk).
        _fetch(url, part, stop, on_bytes)
        keep(part, target, sha256)


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def keep(part: Path, target: Path, sha256: str) -> None:
    """Give a finished part its name, once it is on disk and its hash is right ('' : nothing to compare with).

    Raises WrongHash, and deletes the part.
    """
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256:
            part.unlink()
            raise wrong_hash(target.name, sha256, found)
        os.fsync(file.fileno())
    part.replace(target)


def wrong_hash(name: str, expected: str, found: str) -> WrongHash:
    return WrongHash(
        f"{name} is not what it should be: sha256 {found}, expected {expected}. It was deleted. Try again; if it stays "
        "so, the source has changed or something on the way alters downloads."
    )


class _Body(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def _fetch(url: str, part: Path, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
    """Fill the part to its full length, however often the connection breaks."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch_once(url, part, stop, on_bytes)
            return
        except (OSError, HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code not in _PATIENT_STATUSES:
                    raise Unreachable(f"{_shown(url)} could not be downloaded: {error}") from error
            failures = 0 if _size(part) > before else failures + 1
            if failures >= _TRIES:
                raise Unreachable(
                    f"{_shown(url)} could not be downloaded: {error}. What has come is kept; the next try resumes it."
                ) from error
            if stop.wait(0.05 if failures == 0 else 0.25 * 2**failures):
                raise Stopped from error


def _fetch_once(url: str, part: Path, stop: threading.Event, on_bytes: Callable[[int], None]) -> None:
    have = _size(part)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_SILENCE_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Nothing lies beyond what we have: it is whole, or wrong, and its hash will tell.
        error.close()
        return
    with response:
        if response.status != 206:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise OSError("the server resumed at another place than it was asked to")
        length = response.headers.get("Content-Length")
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            _copy(response, file.write, stop, lambda count: on_bytes(have + count), int(length) if length else None)


def _copy(
    body: _Body,
    write: Callable[[bytes], object],
    stop: threading.Event,
    on_count: Callable[[int], None],
    length: int | None,
) -> None:
    count = 0
    while chunk := body.read1(_CHUNK):
        write(chunk)
        count += len(chunk)
        on_count(count)
        if stop.is_set():
            raise Stopped
    if length is not None and count != length:
        raise OSError(f"the connection ended after {count} of {length} bytes")


def reachable(url: str, seconds: float) -> bool:
    """Whether `url` answers a request for its headers, with any status below 400, within `seconds`."""
    answers: list[int] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                answers.append(response.status)
        except (OSError, HTTPException):
            return

    # In a thread of its own: looking a name up knows no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answers) and answers[0] < 400


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _shown(url: str) -> str:
    """The address without what may be a secret in it: user, password, query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
