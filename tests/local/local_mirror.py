"""A server of files on 127.0.0.1: a model hub, or a package index, that breaks off when told to."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """A server of files that keeps a record, and breaks off when told to."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[int, str]] = field(default_factory=list)
    """(first byte, path) of every GET."""
    sent: int = 0
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers break off."""
    cuts_on_files: list[int] = field(default_factory=list)
    """The same, but for wheels only."""
    ranges: bool = True
    only_pip: bool = False
    stall_after: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving() -> Iterator[Mirror]:
    """A mirror on a port of its own."""
    state = Mirror()

    class Handler(_Handler):
        mirror = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    yield state
    state.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def publish(index: Mirror, name: str, data: bytes) -> None:
    """Put a wheel that carries `data` on the index, as version 1.0 of `name`."""
    package = name.replace("-", "_")
    file = f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    wheel = _zip(
        {
            f"{package}/__init__.py": b"raise SystemExit('never to be imported')\n",
            f"{package}/data/part.bin": data,
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    digest = hashlib.sha256(wheel).hexdigest()
    described = f'data-dist-info-metadata="sha256={hashlib.sha256(metadata.encode()).hexdigest()}"'
    page = f'<!DOCTYPE html><html><body><a href="/files/{file}#sha256={digest}" {described}>{file}</a></body></html>'
    index.files[f"/simple/{name}/"] = page.encode()
    index.files[f"/files/{file}"] = wheel
    index.files[f"/files/{file}.metadata"] = metadata.encode()


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path in self.mirror.files else 404)
        self.end_headers()

    def do_GET(self) -> None:
        mirror = self.mirror
        data = mirror.files.get(self.path)
        wheel = self.path.endswith(".whl")
        first, _, _ = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        start = int(first) if mirror.ranges else 0
        mirror.asked.append((start, self.path))
        if data is None:
            return self.send_error(404)
        if wheel and mirror.only_pip and not self.headers["User-Agent"].startswith("pip"):
            return self.send_error(403)
        if start and start >= len(data):
            return self.send_error(416)
        rest = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/octet-stream" if wheel else "text/html")
        self.send_header("Content-Length", str(len(rest)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self._send(rest)

    def _send(self, rest: bytes) -> None:
        mirror = self.mirror
        cuts = mirror.cuts_on_files if self.path.endswith(".whl") and mirror.cuts_on_files else mirror.cuts
        if cuts:
            rest = rest[: cuts.pop(0)]
        if mirror.stall_after is not None and len(rest) > mirror.stall_after:
            self.wfile.write(rest[: mirror.stall_after])
            mirror.stalled.set()
            mirror.go_on.wait(40)
            rest = rest[mirror.stall_after :]
        mirror.sent += len(rest)  # before it goes out: whoever has it all may look at once
        with suppress(ConnectionError):
            self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:
        """The tests' output is not the place for an access log."""
