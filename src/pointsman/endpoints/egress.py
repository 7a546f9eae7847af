"""Where a call may go: a server's name becomes addresses here, each is judged, and only those are connected to.

What is judged is what is connected to: there is no second look-up, so a name that changes its mind gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from ..core import Unreachable

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A host's name → its addresses as text, the best first. Raises OSError."""

STAGGER = 0.25
"""Seconds that an address has to itself before the next one is tried beside it (RFC 8305)."""


async def system_addresses(host: str) -> Sequence[str]:
    """What this machine's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Egress:
    """Finds the addresses of servers. `private_network`: a public name may lead to a private address."""

    def __init__(self, *, private_network: bool = False, resolve: Resolve = system_addresses) -> None:
        self._private_network = private_network
        self._resolve = resolve
        self._looked_up: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses that a call to `host` may be sent to, the best first. Raises Unreachable, or OSError of the
        look-up."""
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        private = self._private_network or _is_private_name(host)
        allowed: list[Address] = []
        refusal = f"{host} has no address."
        for text in await self._look_up(host):
            address = ip_address(text)
            kind, what = _judge(address)
            if kind == "public" or (kind == "private" and private):
                allowed.append(address)
            else:
                refusal = f"{host} was asked for. It resolves to {address}, {what}, where no call may go. " + (
                    "Check the `base_url` of its provider."
                    if kind == "never"
                    else "If that is meant, set `private_network: true` for its provider, or write the address "
                    "itself in its `base_url`."
                )
        if not allowed:
            raise Unreachable(refusal)
        return _families_in_turn(allowed)

    async def _look_up(self, host: str) -> Sequence[str]:
        """One look-up at a time for each name: a resolver that hangs holds one thread and not all of them."""
        loop = asyncio.get_running_loop()
        task = self._looked_up.get((loop, host))
        if task is None:
            task = loop.create_task(_resolved(self._resolve, host))
            self._looked_up[loop, host] = task
            task.add_done_callback(lambda task: self._forget(loop, host, task))
        return await asyncio.shield(task)

    def _forget(self, loop: asyncio.AbstractEventLoop, host: str, task: asyncio.Task[Sequence[str]]) -> None:
        del self._looked_up[loop, host]
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it


def literal_address(host: str) -> Address | None:
    """The address that `host` is, where it is one and no name. Raises Unreachable for one that no call may go to, and
    for one that is not written in the usual way: such forms are there to be taken for something else."""
    try:
        address = ip_address(host)
    except ValueError:
        if not host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) or "%" in host:
            raise Unreachable(
                f"{host or 'Nothing'} was asked for: an address that is not written as one. Write it like 127.0.0.1 or "
                "[::1]."
            ) from None
        return None
    kind, what = _judge(address)
    if kind == "never" or (isinstance(address, IPv6Address) and _embedded(address)) or "%" in host:
        raise Unreachable(f"{host} was asked for: {what}, where no call may go. Check the `base_url` of its provider.")
    return address


async def connect(addresses: Sequence[Address], port: int) -> socket.socket:
    """A connection to the first of `addresses` that takes one. The next is tried when one fails, and beside it when
    it hesitates. Raises the OSError of the first."""
    if len(addresses) == 1:
        return await _connect(addresses[0], port)
    waiting = list(reversed(addresses))
    running: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_connect(waiting.pop(), port)))
            patience = STAGGER if waiting else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                failure = failure or error
    finally:
        for task in running:
            task.add_done_callback(_discard)
            task.cancel()
    assert failure is not None, "there is at least one address"
    raise failure


_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")
"""The last part of what programs read as an IPv4 address, however it is written: 2130706433, 0x7f.1, 127.0.0.1."""

_PRIVATE_NAME = re.compile(r"(?:.*\.)?(?:localhost|local|internal|lan|home\.arpa)|[^.]+", re.IGNORECASE)

_Networks = tuple[tuple[IPv4Network | IPv6Network, str], ...]


def _networks(*rows: tuple[str, str]) -> _Networks:
    return tuple((ip_network(network), what) for network, what in rows)


_NEVER = _networks(
    ("0.0.0.0/8", "an unspecified address"),
    ("169.254.0.0/16", "a link-local address"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("192.0.0.0/24", "a reserved address"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
    ("fd00:ec2::/32", "a cloud's metadata service"),
    ("2001::/32", "a tunnel's address"),
    ("ff00::/8", "a multicast address"),
)
_PRIVATE = _networks(
    ("127.0.0.0/8", "an address of this machine"),
    ("10.0.0.0/8", "a private address"),
    ("172.16.0.0/12", "a private address"),
    ("192.168.0.0/16", "a private address"),
    ("100.64.0.0/10", "a private address"),
    ("::1/128", "an address of this machine"),
    ("fc00::/7", "a private address"),
    ("64:ff9b:1::/48", "a private address"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def _is_private_name(host: str) -> bool:
    """A name that only a private network can have given: it says itself that it leads inside."""
    return _PRIVATE_NAME.fullmatch(host.removesuffix(".")) is not None


def _judge(address: Address) -> tuple[Literal["public", "private", "never"], str]:
    """An address within an address is judged as what it leads to.

    198.18.0.0/15 counts as public: programs that tunnel a machine's traffic give it out for every name there is.
    """
    inner = _embedded(address) if isinstance(address, IPv6Address) else None
    judged = inner or address
    for network, what in _NEVER:
        if judged in network:
            return "never", what
    for network, what in _PRIVATE:
        if judged in network:
            return "private", what
    return "public", "an address within an address" if inner else "a public address"


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _families_in_turn(addresses: Sequence[Address]) -> Sequence[Address]:
    """The families take turns: where one of them leads nowhere, only its first address is waited for."""
    first = [address for address in addresses if address.version == addresses[0].version]
    others = [address for address in addresses if address.version != addresses[0].version]
    mixed = [address for pair in zip(first, others, strict=False) for address in pair]
    return mixed + first[len(others) :] + others[len(first) :]


async def _resolved(resolve: Resolve, host: str) -> Sequence[str]:
    return await resolve(host)


async def _connect(address: Address, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(task: asyncio.Task[socket.socket]) -> None:
    with suppress(asyncio.CancelledError, OSError):
        task.result().close()
