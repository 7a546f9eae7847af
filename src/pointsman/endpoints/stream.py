"""What an upstream streams: bytes as they come, made into batches of deltas, each with its time limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ..core import AttemptError, Broken, BrokenReply, Delta, Taker, UpstreamTimeout, Usage
from ..dialects import StreamDecoder
from .transport import Incoming

LINGER_SECONDS = 0.1


class Stream:
    """The source of a Reply: first its head, then what follows."""

    __slots__ = (
        "_incoming",
        "_decoder",
        "_name",
        "_steady",
        "_idle",
        "_until",
        "_most",
        "_tidy",
        "_size",
        "_is_over",
        "_is_broken",
    )

    def __init__(
        self,
        incoming: Incoming,
        decoder: StreamDecoder,
        *,
        name: str,
        steady: Callable[[], float],
        idle: float,
        until: float,
        most: int,
        tidy: Callable[[AttemptError], None],
    ) -> None:
        """`name`: the endpoint's, for messages. After the head at most `idle` seconds pass between two batches, and it
        ends at `until`, which `steady` tells. `most`: bytes in all. `tidy` sees each error before anybody else."""
        self._incoming = incoming
        self._decoder = decoder
        self._name = name
        self._steady = steady
        self._idle = idle
        self._until = until
        self._most = most
        self._tidy = tidy
        self._size = 0
        self._is_over = False
        self._is_broken = False

    async def head(self, until: float) -> Sequence[Delta | Broken]:
        """What comes up to the commit point (the first content, or a finish without any), and with it. Raises
        AttemptError, and TimeoutError at `until`."""
        head: list[Delta | Broken] = []
        committed = False
        while not self._is_over:
            for item in self._decoded(await self._incoming.chunk(until)):
                head.append(item)
                if isinstance(item, Delta):
                    committed = committed or item.has_content or item.finish is not None
                elif not committed:
                    raise item.error
            if committed:
                return head
            if self._steady() >= until:  # an upstream that never pauses is stopped, too
                raise TimeoutError
        raise BrokenReply("The upstream's stream ended before it had said anything.")

    async def __anext__(self) -> Sequence[Delta | Broken]:
        """The deltas of the next chunk that gives any; a Broken is the last of all."""
        steady, chunk = self._steady, self._incoming.chunk
        now = steady()
        until = now + self._idle
        if until > self._until:
            until = self._until
        try:
            while not self._is_over:
                if now >= until:  # as above
                    raise TimeoutError
                batch = self._decoded(await chunk(until))
                if batch:
                    return batch
        except TimeoutError:
            return self._timed_out(until == self._until)
        except AttemptError as error:
            return self._broken(error)
        await self._finish()
        raise StopAsyncIteration

    async def pour(self, take: Taker) -> None:
        """Hands the deltas to `take` as they come, from within the transport: a stream has many, and a step of its
        reader for each would cost as much as they do. Otherwise as `__anext__` to the end."""
        steady, idle, last = self._steady, self._idle, self._until
        until = min(steady() + idle, last)
        full: Callable[[], Awaitable[None]] | None = None

        def sink(chunk: bytes) -> float:
            nonlocal full, until
            now = steady()
            if now >= last:  # as above
                raise TimeoutError
            batch = self._decoded(chunk)
            if batch:
                full = take(batch)
                until = now + idle if now + idle < last else last
            return 0.0 if full is not None or self._is_over else until

        while not self._is_over:
            try:
                await self._incoming.flow(sink, until)
                batch = self._decoded(None) if full is None and not self._is_over else ()
            except TimeoutError:
                batch = self._timed_out(steady() >= last)
            except AttemptError as error:
                batch = self._broken(error)
            if batch:
                full = take(batch)
            if full is not None:
                wait, full = full, None
                await wait()
                until = min(steady() + idle, last)
        if not self._is_broken:
            await self._finish()

    async def aclose(self) -> None:
        await self._incoming.close()

    def _decoded(self, chunk: bytes | None) -> Sequence[Delta | Broken]:
        decoder = self._decoder
        if chunk is None:
            self._is_over = True
            batch = decoder.end()
        else:
            self._size += len(chunk)
            if self._size > self._most:
                return self._broken(BrokenReply(f"The stream is longer than {self._most:,} bytes."))
            batch = decoder.feed(chunk)
            if decoder.done:
                self._is_over = True
        if batch and isinstance(batch[-1], Broken):
            return [*batch[:-1], *self._broken(batch[-1].error, batch[-1].usage)]
        return batch

    def _timed_out(self, is_last: bool) -> Sequence[Delta | Broken]:
        what = "did not end its answer in time" if is_last else "fell silent within its answer"
        return self._broken(UpstreamTimeout(f"{self._name} {what}."))

    def _broken(self, error: AttemptError, usage: Usage | None = None) -> Sequence[Delta | Broken]:
        self._is_over = self._is_broken = True
        self._tidy(error)
        return (Broken(error, usage),)

    async def _finish(self) -> None:
        """Reads what follows the terminal event: a connection that was read to its end serves the next call, too."""
        until = self._steady() + LINGER_SECONDS
        with suppress(TimeoutError, AttemptError):
            while await self._incoming.chunk(until) is not None and self._steady() < until:
                pass
        await self._incoming.close()
