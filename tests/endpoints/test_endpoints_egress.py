"""Where a call may go: what the configuration names, and never where a name leads by a trick."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from pointsman.core import Unreachable, UpstreamTimeout
from pointsman.endpoints.egress import Egress, connect, ip_address
from pointsman.endpoints.http1 import Http1Transport
from pointsman.endpoints.proxied import ProxiedTransport
from upstream import Upstream

NEVER = (
    "169.254.169.254",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe::1",
)
PRIVATE = ("127.0.0.1", "127.8.9.1", "::1", "10.0.0.5", "172.31.1.1", "192.168.1.7", "100.64.0.1", "fd12::7")
PUBLIC = ("93.184.215.14", "172.32.0.1", "100.128.0.1", "198.18.0.7", "2606:4700::1111", "64:ff9b::5db8:d70e")
ODD_FORMS = (
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "127.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "1.2.3.4.5",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:8.8.8.8]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
)


def answering(*addresses: str) -> Callable[[str], object]:
    """A resolver that says the same of every name."""

    async def resolve(host: str) -> Sequence[str]:
        return addresses

    return resolve


async def found(host: str, *addresses: str, private_network: bool = False) -> list[str]:
    egress = Egress(private_network=private_network, resolve=answering(*addresses))
    return [str(address) for address in await egress.addresses(host)]


@pytest.mark.fault(103, "An address where no model is served (link-local, metadata, multicast) is refused, always.")
@pytest.mark.parametrize("address", NEVER)
async def test_no_name_and_no_address_leads_to_a_metadata_service(address: str) -> None:
    """A cloud's credentials would be given to whoever can name a host."""
    for host in ("api.example.com", "metadata.google.internal", "localhost", "box"):
        for private in (False, True):
            with pytest.raises(Unreachable, match="where no call may go"):
                await found(host, address, private_network=private)
    for private in (False, True):
        with pytest.raises(Unreachable):
            await found(address, private_network=private)


@pytest.mark.fault(103, "A public name that resolves to this machine or to a private network is refused.")
@pytest.mark.parametrize("address", PRIVATE)
async def test_a_public_name_does_not_lead_inside(address: str) -> None:
    """Whoever owns a name could make the server talk to a company's inner services."""
    with pytest.raises(Unreachable, match="private_network: true") as refused:
        await found("models.example.com", address)
    assert address in refused.value.message and "models.example.com" in refused.value.message
    assert await found("models.example.com", address, private_network=True) == [address]


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize(
    "host", ["localhost", "vllm", "api.localhost", "box.local", "gpu.internal", "nas.LAN", "x.home.arpa", "box.local."]
)
async def test_a_name_of_the_own_network_leads_there(host: str, address: str) -> None:
    """`http://vllm:8000` of a compose file could not be used."""
    assert await found(host, address) == [address]
    assert await found(address) == [address]


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_always_allowed(address: str) -> None:
    """A hosted model could not be reached."""
    assert await found("api.openai.com", address) == [address]
    assert await found("api.openai.com.", address) == [address]


@pytest.mark.fault(103, "An address in an odd form (decimal, hexadecimal, mapped) is refused before anything connects.")
@pytest.mark.parametrize("host", ODD_FORMS)
async def test_addresses_in_disguise_are_refused(upstream: Upstream, host: str) -> None:
    """What a check takes for a name, the system would take for an address of this machine."""
    port = upstream.url.rpartition(":")[2]
    before = len(upstream.received)
    for transport in (
        Http1Transport(connect_timeout=1, private_network=True),
        ProxiedTransport(connect_timeout=1, proxy=upstream.url),
    ):
        with pytest.raises(Unreachable):
            await transport.send("POST", f"http://{host}:{port}/v1", {"authorization": "Bearer k"}, b"{}")
        await transport.close()
    assert len(upstream.received) == before


@pytest.mark.fault(103, "A name is looked up once for each connection, and the address that was judged is used.")
async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(upstream: Upstream) -> None:
    """A name that says one thing to the check and another to the connection would pass."""
    said = ["127.0.0.1"]
    asked: list[str] = []

    async def rebinding(host: str) -> Sequence[str]:
        asked.append(host)
        return [said.pop(0) if said else "127.0.0.2"]

    transport = Http1Transport(connect_timeout=1, private_network=True, resolve=rebinding)
    port = upstream.url.rpartition(":")[2]
    incoming = await transport.send("POST", f"http://models.example:{port}/v1", {}, b'{"model": "rebound"}')
    assert (incoming.status, asked) == (200, ["models.example"])
    await incoming.close()
    await transport.close()


async def test_of_several_addresses_only_the_allowed_ones_are_used() -> None:
    """A name with one public and one inner address would lead inside half of the time."""
    assert await found("api.example.com", "10.0.0.1", "93.184.215.14", "169.254.169.254") == ["93.184.215.14"]


async def test_address_families_take_turns() -> None:
    """A machine whose IPv6 leads nowhere would wait for each of its addresses."""
    six, four = ["2606:4700::1", "2606:4700::2", "2606:4700::3"], ["93.184.215.14"]
    assert await found("api.example.com", *six, *four) == [six[0], four[0], six[1], six[2]]


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://:80/",
        "http://a:99999/",
        "http://a:b/",
        "http://[::1/",
        "http://" + "a" * 64 + "ä.example/",
        "http://..ä/",
    ],
)
async def test_what_is_no_address_is_unreachable(url: str) -> None:
    """A mistake in the configuration would end in a traceback."""
    transport = Http1Transport(connect_timeout=1)
    with pytest.raises(Unreachable):
        await transport.send("POST", url, {}, b"{}")


@asynccontextmanager
async def blackhole(address: str, port: int = 0) -> AsyncIterator[int]:
    """A port that takes no connection and refuses none, as where packets are dropped."""
    with socket.socket() as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((address, port))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            yield full.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.fault(14, "An address that is dead costs a quarter of a second: then the next is tried beside it.")
async def test_a_dead_address_does_not_cost_the_deadline(upstream: Upstream) -> None:
    """Where IPv6 is announced and leads nowhere, each call would fail though the server is there."""
    port = int(upstream.url.rpartition(":")[2])
    resolve = answering("127.0.0.2", "127.0.0.3", "127.0.0.1")
    transport = Http1Transport(connect_timeout=10, private_network=True, resolve=resolve)
    async with blackhole("127.0.0.2", port):  # and nobody listens at 127.0.0.3
        started = time.monotonic()
        incoming = await transport.send("POST", f"http://six.example:{port}/v1", {}, b'{"model": "six"}')
        assert incoming.status == 200
        assert time.monotonic() - started < 5
        await incoming.close()
    await transport.close()


@pytest.mark.fault(1, "Where every address refuses, the refusal is told at once.")
async def test_when_all_addresses_fail_the_first_failure_is_told(upstream: Upstream) -> None:
    """The caller would wait for the deadline, or hear of the wrong trouble."""
    with pytest.raises(ConnectionRefusedError):
        await connect([ip_address("127.0.0.2"), ip_address("127.0.0.3")], int(upstream.url.rpartition(":")[2]))


@pytest.mark.fault(3, "A connection that nobody takes ends at the `connect` time-out.")
async def test_dropped_packets_end_at_the_connect_deadline() -> None:
    """A call to a dead machine would hang for minutes."""
    async with blackhole("127.0.0.2") as port, blackhole("127.0.0.3", port):
        transport = Http1Transport(
            connect_timeout=0.6, private_network=True, resolve=answering("127.0.0.2", "127.0.0.3")
        )
        with pytest.raises(UpstreamTimeout, match="did not take the connection"):
            await transport.send("POST", f"http://far.example:{port}/", {}, b"{}")


@pytest.mark.fault(4, "A name that does not exist is told as unreachable at once.")
async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    """The next endpoint would not be tried."""
    with pytest.raises(Unreachable):
        await Http1Transport(connect_timeout=5).send("POST", "http://nobody.invalid/v1", {}, b"{}")


@pytest.mark.fault(5, "A resolver that hangs ends at the `connect` time-out; one look-up a name is under way at most.")
async def test_a_resolver_that_hangs_costs_one_look_up_and_the_connect_deadline() -> None:
    """Hanging look-ups would take every thread, and calls to other servers would wait for them."""
    asked: list[str] = []
    answered = asyncio.Event()

    async def hanging(host: str) -> Sequence[str]:
        asked.append(host)
        await answered.wait()
        raise OSError("no such name")

    transport = Http1Transport(connect_timeout=0.2, resolve=hanging)
    calls = [transport.send("POST", "http://slow.example/v1", {}, b"{}") for _ in range(20)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [UpstreamTimeout] * 20
    assert asked == ["slow.example"]
    answered.set()
    await asyncio.sleep(0.01)
    with pytest.raises(Unreachable, match="no such name"):
        await transport.send("POST", "http://slow.example/v1", {}, b"{}")
