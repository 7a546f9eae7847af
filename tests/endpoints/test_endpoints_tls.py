"""TLS as users meet it: a certificate that this machine trusts, and ones that it must not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from pointsman.core import Unreachable
from pointsman.endpoints.http1 import Http1Transport


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that this process trusts, as a company's machine trusts the company's own."""
    authority = trustme.CA()
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    return authority


@asynccontextmanager
async def serving(certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """A server on loopback that answers 'hello' to everything; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"\r\n\r\n" in await reader.read(4096):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def get(transport: Http1Transport, url: str) -> bytes:
    incoming = await transport.send("GET", url, {}, None)
    body = b""
    while (chunk := await incoming.chunk()) is not None:
        body += chunk
    await incoming.close()
    return body


async def test_a_trusted_server_is_spoken_to_and_its_connection_kept(authority: trustme.CA) -> None:
    """No hosted model could be reached; or each call would pay for a handshake."""
    transport = Http1Transport(connect_timeout=5)
    async with serving(authority.issue_cert("localhost")) as port:
        assert await get(transport, f"https://localhost:{port}/") == b"hello"
        assert await get(transport, f"https://localhost:{port}/") == b"hello"
        assert sum(map(len, transport._idle.values())) == 1
        await transport.close()


async def test_a_server_that_nobody_vouches_for_is_refused(authority: trustme.CA) -> None:
    """A key would be given to whoever sits in the middle."""
    transport = Http1Transport(connect_timeout=5)
    async with serving(trustme.CA().issue_cert("localhost")) as port:
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://localhost:{port}/")


async def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    """A key would be given to any server that has a certificate of its own."""
    transport = Http1Transport(connect_timeout=5)
    async with serving(authority.issue_cert("elsewhere.example")) as port:
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://localhost:{port}/")
