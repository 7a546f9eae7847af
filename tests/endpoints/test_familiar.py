"""Heads of replies that are known again: a reply is read as a parser reads it, or by the parser."""

from __future__ import annotations

import random
import time

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from pointsman.endpoints.familiar import Familiar
from pointsman.endpoints.http1 import Http1Transport
from upstream import Received, Upstream

Read = tuple[dict[str, str], bytes]


class Parsed:
    """What a parser finds in `data`: the replies that are whole, and whether that is all."""

    def __init__(self, data: bytes) -> None:
        self.replies: list[Read] = []
        self.keeps = self.is_sound = False
        self._headers: dict[str, str] = {}
        self._body = b""
        self._between = True
        self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
            self.is_sound = self._between
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass

    def on_message_begin(self) -> None:
        self._headers, self._body, self._between = {}, b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.replies.append((self._headers, self._body))
        self.keeps, self._between = self._parser.should_keep_alive(), True


def learnt(data: bytes) -> Familiar | None:
    parsed = Parsed(data)
    assert parsed.is_sound and parsed.keeps and len(parsed.replies) == 1
    headers, body = parsed.replies[0]
    return Familiar.of(data, {name: value.encode("latin-1") for name, value in headers.items()}, body)


def read(familiar: Familiar, data: bytes) -> Read | None:
    found = familiar.read(data)
    body = found.whole() if found is not None else None
    return None if found is None or body is None else (dict(found.headers()), body)


def reply(headers: list[tuple[str, str]], body: bytes, *, at: int = 0) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers]
    lines.insert(at, f"Content-Length: {len(body)}")
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1") + body


USUAL = reply(
    [("Content-Type", "application/json"), ("date", "Sat, 21 Nov 2026 17:00:00 GMT"), ("x-request-id", "a1")], b"{}"
)
NAMES = some.lists(
    some.sampled_from(["Date", "x-request-id", "Server", "CF-Ray", "x-ratelimit-remaining-tokens", "Vary"]),
    unique=True,
)
VALUES = some.text(some.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
BODIES = some.binary(min_size=1, max_size=50)


@given(some.data(), NAMES, some.integers(0, 3), BODIES, BODIES)
def test_a_head_is_known_again_whatever_its_values(
    data: some.DataObject, names: list[str], at: int, one: bytes, other: bytes
) -> None:
    """Every call would pay for a parser, since no two answers have the same date and id."""
    first, second = (reply([(name, data.draw(VALUES)) for name in names], body, at=at) for body in (one, other))
    familiar = learnt(first)
    assert familiar is not None
    assert read(familiar, second) == Parsed(second).replies[0]


@given(some.integers(0, len(USUAL) - 1), some.binary(max_size=4), some.integers(0, 3))
@example(USUAL.index(b" GMT"), b"\n", 0)
@example(USUAL.index(b" GMT"), b"\r\n", 0)
@example(USUAL.index(b" GMT"), b"\r\nx-evil:", 0)
@example(len(USUAL) - 2, b"HTTP", 0)
@example(USUAL.index(b"2\r\n"), b"02", 1)
def test_what_is_read_without_the_parser_is_read_as_by_it(at: int, put: bytes, cut: int) -> None:
    """One caller could be given the answer of another, or half of one."""
    familiar = learnt(USUAL)
    assert familiar is not None
    data = USUAL[:at] + put + USUAL[at + cut :]
    found = read(familiar, data)
    parsed = Parsed(data)
    if found is not None and any(sign < 0x20 or sign == 0x7F for sign in b"".join(data.split(b"\r\n")[:-1])):
        return  # a control character in a value, which stays one: the parser refuses it
    assert found is None or (parsed.is_sound and parsed.replies == [found])


@pytest.mark.parametrize(
    "data",
    [
        USUAL.replace(b"200", b"201"),
        USUAL.replace(b"x-request-id", b"date"),
        USUAL.replace(b"x-request-id: a1", b"content-encoding: gzip"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        USUAL.replace(b"a1", b"a" * 5000),
    ],
)
def test_an_unusual_head_is_left_to_the_parser(data: bytes) -> None:
    """What says how to read a body must be looked at each time."""
    assert learnt(data) is None


@pytest.mark.parametrize(
    "data",
    [
        USUAL[:-1],
        USUAL + b"x",
        USUAL + USUAL,
        USUAL[:40],
        USUAL.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        USUAL.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"),
        USUAL.replace(b"application/json", b"text/event-stream"),
        USUAL.replace(b"200 OK", b"500 OK"),
        USUAL.replace(b"a1", b"a1\ncontent-length: 9"),
    ],
)
def test_another_head_or_another_length_is_left_to_the_parser(data: bytes) -> None:
    """An answer that is cut off, or followed by another, would pass for a whole one."""
    familiar = learnt(USUAL)
    assert familiar is not None
    assert read(familiar, data) is None


def test_no_head_takes_long_to_be_found_another() -> None:
    """An upstream could stop the server with one reply."""
    names = [f"x{number}" for number in range(40)]
    familiar = learnt(reply([(name, " ") for name in names], b"{}", at=40))
    assert familiar is not None
    hostile = reply([(name, " " * 80) for name in names], b"{}", at=40).replace(
        b"Content-Length: ", b"Content-Length:x"
    )
    started = time.monotonic()
    assert read(familiar, hostile) is None
    assert time.monotonic() - started < 1


async def test_replies_that_look_alike_are_told_apart(upstream: Upstream) -> None:
    """Headers or bodies of one reply would turn up in the next."""
    dice = random.Random(4)

    def alike(received: Received) -> list[bytes | float]:
        number = received.json["number"]
        headers = [("x-number", str(number)), ("date", "now" * dice.randrange(3)), ("content-type", "application/json")]
        if dice.random() < 0.2:
            headers.reverse()
        if dice.random() < 0.2:
            headers.append(("x-more", "y"))
        sent = reply(headers, b'{"number": %d}' % number)
        cut = dice.randrange(1, len(sent))
        return [sent[:cut], 0.001, sent[cut:]] if dice.random() < 0.2 else [sent]

    upstream.plans["alike"] = alike
    transport = Http1Transport(connect_timeout=2)
    for number in range(300):
        incoming = await transport.send("POST", upstream.url, {}, b'{"model": "alike", "number": %d}' % number)
        body = b""
        while (piece := await incoming.chunk()) is not None:
            body += piece
        assert (body, incoming.headers()["x-number"]) == (b'{"number": %d}' % number, str(number))
        assert incoming.header("x-more") == incoming.headers().get("x-more", "")
        await incoming.close()
    await transport.close()
    assert len({received.connection for received in upstream.of("alike")}) == 1
