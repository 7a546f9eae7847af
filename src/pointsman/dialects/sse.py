"""Server-sent events, cut anywhere: bytes in, whole events out. And the lines of newline-delimited JSON, likewise.

Source: the event stream format of the HTML standard, section 9.2. `id:` and `retry:` mean nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from msgspec import DecodeError, Struct

from ..core import AttemptError, Broken, BrokenReply, Delta, Usage
from .wire import STRING, write

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event, at most."""

LESSONS = 3
"""How often a stream is looked at for what its events are alike in, before one of them is read by it."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_LINE_FEED, _RETURN = b"\n\r"
_NOISE = b'"obfuscation":"'
"""OpenAI pads its events by random letters and digits, so that their size does not tell what is said."""

_BLANK_LINE = re.compile(_LINE_END + _LINE_END)


class Event(Struct):
    """`data` is None for a comment, which keeps the connection alive. `raw` is the event with its blank line."""

    data: bytes | None
    raw: bytes
    name: bytes = b""


class Splitter(Protocol):
    """What cuts a stream of bytes into events."""

    rest: bytearray
    """What has come of an event that is not whole yet: nothing between two events."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are whole now. Raises BrokenReply past MAX_EVENT."""
        ...

    def end(self) -> list[Event]:
        """What lies there when the connection ends without a last line end."""
        ...


class EventSplitter:
    """Cuts a stream into server-sent events."""

    __slots__ = ("rest", "_searched", "_begun", "_returns", "_max_event")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.rest = bytearray()
        self._searched = 0
        """Up to here `rest` holds no blank line."""
        self._begun = False
        self._returns = False
        self._max_event = max_event

    def feed(self, chunk: bytes) -> list[Event]:
        rest = self.rest
        if not self._returns:
            self._returns = _RETURN in chunk
        if not self._begun:
            rest += chunk
            if len(rest) < len(_BOM):
                return []
            self._begun = True
            chunk = bytes(rest.removeprefix(_BOM))
            rest.clear()
        events: list[Event] = []
        if not rest:
            one = chunk.find(b"\n") == len(chunk) - 2 and chunk[-1] == _LINE_FEED and not self._returns
            if one and chunk[:6] == b"data: ":  # what nearly always comes: one event of one line
                return [Event(chunk[6:-2], chunk)]
            events = self._whole_events(chunk)
        else:
            rest += chunk
            if self._blank_line(rest, self._searched) >= 0:
                chunk = bytes(rest)
                rest.clear()
                events = self._whole_events(chunk)
        self._searched = max(0, len(rest) - 3)
        if len(rest) > self._max_event:
            raise BrokenReply(f"The upstream sent an event of more than {self._max_event} bytes.")
        return events

    def end(self) -> list[Event]:
        block = bytes(self.rest.removeprefix(_BOM)).strip(b"\r\n")
        self.rest.clear()
        event = _parse(block, block + b"\n\n")
        return [event] if event is not None and event.data is not None else []

    def _whole_events(self, buffer: bytes) -> list[Event]:
        """What follows the last one becomes the rest."""
        events: list[Event] = []
        start = 0
        while (end := self._blank_line(buffer, start)) >= 0:
            raw = buffer[start:end]
            event = _parse(raw.strip(b"\r\n"), raw)
            start = end
            if event is not None:
                events.append(event)
        self.rest += buffer[start:]
        return events

    def _blank_line(self, buffer: bytes | bytearray, start: int) -> int:
        """Where the next blank line ends; -1 where none is whole yet."""
        if not self._returns:
            return _after_blank_line(buffer, start)
        match = _BLANK_LINE.search(buffer, start)
        if match is None or (match.end() == len(buffer) and buffer.endswith(b"\r")):
            return -1  # a \n may follow the \r
        return match.end()


class LineSplitter:
    """Cuts a stream into lines: newline-delimited JSON."""

    __slots__ = ("rest", "_max_event")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.rest = bytearray()
        self._max_event = max_event

    def feed(self, chunk: bytes) -> list[Event]:
        *whole, rest = chunk.split(b"\n")
        events: list[Event] = []
        for piece in whole:
            line = bytes(self.rest) + piece
            self.rest.clear()
            if data := line.strip():
                events.append(Event(data, line + b"\n"))
        self.rest += rest
        if len(self.rest) > self._max_event:
            raise BrokenReply(f"The upstream sent a line of more than {self._max_event} bytes.")
        return events

    def end(self) -> list[Event]:
        line = bytes(self.rest).strip()
        self.rest.clear()
        return [Event(line, line + b"\n")] if line else []


class Reader(Protocol):
    """What one wire format makes of its events."""

    done: bool
    finished: bool
    """The answer has its finish: the connection may end."""
    usage: Usage | None

    def read(self, event: Event) -> Delta | None:
        """None for an event that is only a sign. Raises AttemptError."""
        ...


class Alike:
    """Events that differ in one string only, the text or the thought that they add: as most of a stream do.

    `head` ends with the quote that opens the string, `tail` begins with the one that closes it. Any other string
    between them makes an event that means the same but for it, so such events need not be read as a whole. `end` is
    what follows the noise of events that have some; `tail` ends before it then.
    """

    __slots__ = ("_head", "_tail", "_end", "_is_thought", "_at_head", "_at_end", "_between", "_before", "_after")

    def __init__(self, head: bytes, tail: bytes, end: bytes, *, is_thought: bool) -> None:
        self._head = head
        self._tail = tail
        self._end = end or tail
        self._is_thought = is_thought
        self._at_head = slice(len(head))
        self._at_end = slice(-len(self._end), None)
        self._between = slice(len(head) - 1, 1 - len(self._end))
        """The string with its quotes, or up to the quote after the noise."""
        self._before = len(head)
        self._after = len(self._end) - self._end.find(b"\n")

    def read(self, raw: bytes) -> Delta | None:
        """The delta of an event; None where it is of another kind, or not just one."""
        if raw[self._at_end] != self._end or raw[self._at_head] != self._head:
            return None
        string = raw[self._between]
        if self._end is not self._tail:
            string, _, noise = string.rpartition(self._tail)
            if not noise[:-1].isalnum():
                return None
            string += b'"'
        if _LINE_FEED in string:
            return None
        try:
            said = STRING.decode(string)
        except (DecodeError, UnicodeDecodeError):
            return None
        return Delta(reasoning=said, raw=raw) if self._is_thought else Delta(said, raw=raw)

    def read_row(self, chunk: bytes) -> tuple[list[Delta], bytes]:
        """The deltas of the events that a chunk begins with, and what follows them."""
        row: list[Delta] = []
        if chunk[self._at_head] != self._head:
            return row, chunk
        start = 0
        while (line_end := chunk.find(b"\n", start + self._before)) >= 0:
            end = line_end + self._after
            delta = self.read(chunk[start:end])
            if delta is None:
                break
            row.append(delta)
            start = end
        return row, chunk[start:]


class Decoder:
    """A StreamDecoder: a splitter and a reader, and the promise that a cut stream never ends clean."""

    __slots__ = ("done", "_splitter", "_reader", "_failed", "_alike", "_lessons")

    def __init__(self, splitter: Splitter, reader: Reader) -> None:
        self.done = False
        self._splitter = splitter
        self._reader = reader
        self._failed = False
        self._alike: Alike | None = None
        self._lessons = LESSONS

    def feed(self, chunk: bytes) -> Sequence[Delta | Broken]:
        if self.done or self._failed:
            return ()
        row: list[Delta] = []
        if self._alike is not None and not self._splitter.rest:
            delta = self._alike.read(chunk)
            if delta is not None:
                self._lessons = 1
                return (delta,)
            row, chunk = self._alike.read_row(chunk)
            if row:
                self._lessons = 1
                if not chunk:
                    return row
        try:
            deltas = self._read(self._splitter.feed(chunk))
        except AttemptError as error:
            return (*row, self._broken(error))
        return [*row, *deltas] if row else deltas

    def end(self) -> Sequence[Delta | Broken]:
        if self.done or self._failed or self._reader.finished:
            return ()
        last = self._read(self._splitter.end())
        if self.done or self._failed or self._reader.finished:
            return last
        return (*last, self._broken(BrokenReply("The upstream's stream ended before its answer did.")))

    def _read(self, events: Sequence[Event]) -> list[Delta | Broken]:
        deltas: list[Delta | Broken] = []
        reader, alike = self._reader, self._alike
        try:
            for event in events:
                delta = alike.read(event.raw) if alike is not None else None
                if delta is not None:
                    self._lessons = 1
                else:
                    delta = reader.read(event)
                    if self._lessons and delta is not None:
                        alike = self._learn(delta)
                if delta is not None:
                    deltas.append(delta)
                if reader.done:
                    self.done = True
                    break
        except AttemptError as error:
            deltas.append(self._broken(error))
        return deltas

    def _learn(self, last: Delta) -> Alike | None:
        """What comes next may be like the last event. In what, is told by reading another that says more."""
        if bool(last.text) is bool(last.reasoning):
            return self._alike
        self._lessons -= 1
        said, is_thought = last.text or last.reasoning, not last.text
        head, found, tail = last.raw.rpartition(write(said))
        if not found:
            return self._alike
        tail, noise, end = _without_noise(b'"' + tail)
        alike = Alike(head + b'"', tail, end, is_thought=is_thought)
        another = head + found[:-1] + found[1:-1] + tail + noise + noise + end
        try:
            told = [self._reader.read(event) for event in type(self._splitter)().feed(another)]
        except AttemptError:
            return self._alike
        if told == [alike.read(another)]:
            self._alike = alike
        return self._alike

    def _broken(self, error: AttemptError) -> Broken:
        self._failed = True
        return Broken(error, self._reader.usage)


def _after_blank_line(buffer: bytes | bytearray, start: int) -> int:
    """-1 where there is none. (Lines are few and long: to look for one byte is faster by far than for two.)"""
    end = buffer.find(b"\n", start) + 1
    while 0 < end < len(buffer):
        if buffer[end] == _LINE_FEED:
            return end + 1
        end = buffer.find(b"\n", end) + 1
    return -1


def _without_noise(tail: bytes) -> tuple[bytes, bytes, bytes]:
    """The tail up to its noise, the noise, and what follows that; the tail alone where it has none."""
    before, name, rest = tail.rpartition(_NOISE)
    noise, quote, end = rest.partition(b'"')
    return (before + name, noise, quote + end) if name and noise.isalnum() else (tail, b"", b"")


def _parse(block: bytes, raw: bytes) -> Event | None:
    """None where the block holds nothing at all."""
    if block.startswith(b"data: ") and _LINE_FEED not in block and _RETURN not in block:
        return Event(block[6:], raw)
    name, data = b"", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    if data:
        return Event(b"\n".join(data), raw, name)
    return Event(None, raw, name) if block else None
