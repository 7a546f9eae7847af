"""Server-sent events, cut anywhere: bytes in, whole events out. And the lines of newline-delimited JSON, likewise.

Source: the event stream format of the HTML standard, section 9.2. `id:` and `retry:` mean nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ..core import AttemptError, Broken, BrokenReply, Delta, Usage

MAX_EVENT = 16 * 1024 * 1024
"""Bytes of one event, at most."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLANK_LINE = re.compile(_LINE_END + _LINE_END)


class Event(Struct):
    """`data` is None for a comment, which keeps the connection alive. `raw` is the event with its blank line."""

    data: bytes | None
    raw: bytes
    name: bytes = b""


class Splitter(Protocol):
    """What cuts a stream of bytes into events."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are whole now. Raises BrokenReply past MAX_EVENT."""
        ...

    def end(self) -> list[Event]:
        """What lies there when the connection ends without a last line end."""
        ...


class EventSplitter:
    """Cuts a stream into server-sent events."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._rest = bytearray()
        self._searched = 0
        """Up to here `_rest` holds no blank line."""
        self._begun = False
        self._returns = False
        self._max_event = max_event

    def feed(self, chunk: bytes) -> list[Event]:
        self._returns = self._returns or b"\r" in chunk
        if not self._begun:
            self._rest += chunk
            if len(self._rest) < len(_BOM):
                return []
            self._begun = True
            chunk = bytes(self._rest.removeprefix(_BOM))
            self._rest.clear()
        events: list[Event] = []
        if not self._rest:
            events = self._whole_events(chunk)
        else:
            self._rest += chunk
            if self._blank_line(self._rest, self._searched) >= 0:
                events = self._whole_events(bytes(self._rest))
        self._searched = max(0, len(self._rest) - 3)
        if len(self._rest) > self._max_event:
            raise BrokenReply(f"The upstream sent an event of more than {self._max_event} bytes.")
        return events

    def end(self) -> list[Event]:
        block = bytes(self._rest.removeprefix(_BOM)).strip(b"\r\n")
        self._rest.clear()
        event = _parse(block, block + b"\n\n")
        return [event] if event is not None and event.data is not None else []

    def _whole_events(self, buffer: bytes) -> list[Event]:
        events: list[Event] = []
        start = 0
        while (end := self._blank_line(buffer, start)) >= 0:
            event = _parse(buffer[start:end].strip(b"\r\n"), buffer[start:end])
            start = end
            if event is not None:
                events.append(event)
        self._rest = bytearray(buffer[start:])
        return events

    def _blank_line(self, buffer: bytes | bytearray, start: int) -> int:
        """Where the next blank line ends; -1 where none is whole yet."""
        if not self._returns:
            found = buffer.find(b"\n\n", start)
            return found if found < 0 else found + 2
        match = _BLANK_LINE.search(buffer, start)
        if match is None or (match.end() == len(buffer) and buffer.endswith(b"\r")):
            return -1  # a \n may follow the \r
        return match.end()


class LineSplitter:
    """Cuts a stream into lines: newline-delimited JSON."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._max_event = max_event

    def feed(self, chunk: bytes) -> list[Event]:
        *whole, rest = chunk.split(b"\n")
        events: list[Event] = []
        for piece in whole:
            line = b"".join((*self._pieces, piece))
            self._pieces.clear()
            self._size = 0
            if line.strip():
                events.append(Event(line.strip(), line + b"\n"))
        self._pieces.append(rest)
        self._size += len(rest)
        if self._size > self._max_event:
            raise BrokenReply(f"The upstream sent a line of more than {self._max_event} bytes.")
        return events

    def end(self) -> list[Event]:
        line = b"".join(self._pieces).strip()
        self._pieces.clear()
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


class Decoder:
    """A StreamDecoder: a splitter and a reader, and the promise that a cut stream never ends clean."""

    def __init__(self, splitter: Splitter, reader: Reader) -> None:
        self.done = False
        self._splitter = splitter
        self._reader = reader
        self._failed = False

    def feed(self, chunk: bytes) -> Sequence[Delta | Broken]:
        if self.done or self._failed:
            return ()
        try:
            events = self._splitter.feed(chunk)
        except AttemptError as error:
            return (self._broken(error),)
        return self._read(events)

    def end(self) -> Sequence[Delta | Broken]:
        if self.done or self._failed or self._reader.finished:
            return ()
        last = self._read(self._splitter.end())
        if self.done or self._failed or self._reader.finished:
            return last
        return (*last, self._broken(BrokenReply("The upstream's stream ended before its answer did.")))

    def _read(self, events: Sequence[Event]) -> list[Delta | Broken]:
        deltas: list[Delta | Broken] = []
        reader = self._reader
        try:
            for event in events:
                delta = reader.read(event)
                if delta is not None:
                    deltas.append(delta)
                if reader.done:
                    self.done = True
                    break
        except AttemptError as error:
            deltas.append(self._broken(error))
        return deltas

    def _broken(self, error: AttemptError) -> Broken:
        self._failed = True
        return Broken(error, self._reader.usage)


def _parse(block: bytes, raw: bytes) -> Event | None:
    """None where the block holds nothing at all."""
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
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
