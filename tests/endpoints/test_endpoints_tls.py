"""TLS as users meet it: a certificate that this machine trusts, and ones that it must not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from pointsman.core import Unreachable, UpstreamTimeout
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

    tasks: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(ConnectionError):
            while b"\r\n\r\n" in await reader.read(4096):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*(task for task in tasks if task is not None))


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
        assert [len(server.idle) for server in transport._servers.values()] == [1]
        await transport.close()


@pytest.mark.fault(6, "A certificate that nobody trusted vouches for is refused, and nothing is sent.")
async def test_a_server_that_nobody_vouches_for_is_refused(authority: trustme.CA) -> None:
    """A key would be given to whoever sits in the middle."""
    transport = Http1Transport(connect_timeout=5)
    async with serving(trustme.CA().issue_cert("localhost")) as port:
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://localhost:{port}/")


@pytest.mark.fault(6, "A certificate of another host is refused, and nothing is sent.")
async def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    """A key would be given to any server that has a certificate of its own."""
    transport = Http1Transport(connect_timeout=5)
    async with serving(authority.issue_cert("elsewhere.example")) as port:
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://localhost:{port}/")


@pytest.mark.fault(6, "A certificate that has expired is refused, and nothing is sent.")
async def test_an_expired_certificate_is_refused(authority: trustme.CA) -> None:
    """A key would be given to whoever found an old certificate."""
    transport = Http1Transport(connect_timeout=5)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    async with serving(authority.issue_cert("localhost", not_after=yesterday)) as port:
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://localhost:{port}/")


@pytest.mark.fault(7, "It is unreachable; no key is sent in the clear.")
@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", b"", None])
async def test_plain_text_where_tls_was_asked_is_unreachable(says: bytes | None) -> None:
    """A wrong port in the configuration would show the key to everybody on the way, or hang."""
    heard: list[bytes] = []
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        if says is not None:
            writer.write(says)
            writer.close()
        with suppress(ConnectionError):
            heard.append(await reader.read())
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        transport = Http1Transport(connect_timeout=0.5 if says is None else 5)
        with pytest.raises((Unreachable, UpstreamTimeout)):
            port = server.sockets[0].getsockname()[1]
            await transport.send("POST", f"https://127.0.0.1:{port}/", {"authorization": "Bearer key"}, b"{}")
        await ended.wait()
    assert heard and b"Bearer" not in b"".join(heard)


async def test_the_certificate_is_that_of_the_name_and_not_of_the_address(authority: trustme.CA) -> None:
    """With the address chosen by us, the name might no longer be checked."""

    async def resolve(host: str) -> list[str]:
        return ["127.0.0.1"]

    transport = Http1Transport(connect_timeout=5, pooled=False, private_network=True, resolve=resolve)
    async with serving(authority.issue_cert("models.example")) as port:
        assert await get(transport, f"https://models.example:{port}/") == b"hello"
        with pytest.raises(Unreachable, match="certificate"):
            await get(transport, f"https://other.example:{port}/")
