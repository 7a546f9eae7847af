"""Replies: committed, then iterated or read, and always accounted for exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pointsman.core import (
    Answer,
    Broken,
    BrokenReply,
    Delta,
    Ending,
    Gathered,
    LedgerError,
    ManualClock,
    Reply,
    Served,
    Taker,
    ToolPiece,
    ToolUse,
    Usage,
    as_delta,
)

SERVED = Served("m", "p/m", "p")
ERROR = BrokenReply("It broke.")
HELLO = [Delta(text="Hel"), Delta(text="lo"), Delta(finish="stop", usage=Usage(3, output=2))]


class Upstream:
    """A stream of batches; `closed` tells that it was left."""

    def __init__(
        self, *batches: Sequence[Delta | Broken], hangs: bool = False, raises: Exception | None = None
    ) -> None:
        self.batches = batches
        self.hangs = hangs
        self.raises = raises
        self.closed = False
        self.reached = asyncio.Event()

    async def stream(self) -> AsyncGenerator[Sequence[Delta | Broken], None]:
        try:
            for batch in self.batches:
                yield batch
            self.reached.set()
            if self.raises:
                raise self.raises
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.closed = True


class Pouring:
    """An upstream that hands over what comes, and waits while its taker is full."""

    def __init__(self, upstream: Upstream) -> None:
        self._stream = upstream.stream()

    async def __anext__(self) -> Sequence[Delta | Broken]:
        return await anext(self._stream)

    async def pour(self, take: Taker) -> None:
        async for batch in self._stream:
            wait = take(batch)
            if wait is not None:
                await wait()

    async def aclose(self) -> None:
        await self._stream.aclose()


def streamed(upstream: Upstream, *head: Delta, clock: ManualClock | None = None) -> tuple[Reply, list[Ending]]:
    """A reply and the endings that its hook was told."""
    reply = Reply(
        SERVED,
        clock=(clock or ManualClock(10)).clock,
        started=8.0,
        head=head,
        source=upstream.stream(),
        dialect="openai",
    )
    told: list[Ending] = []
    reply.on_end(told.append)
    return reply, told


async def test_a_stream_gives_its_head_and_then_what_comes() -> None:
    """The first words of every answer would be missing, or come twice."""
    upstream = Upstream(HELLO[1:2], HELLO[2:])
    reply, told = streamed(upstream, HELLO[0])
    assert [delta async for delta in reply] == HELLO
    assert upstream.closed
    assert [ending.status for ending in told] == ["ok"]
    assert told[0].usage == Usage(3, output=2)
    assert (told[0].finish, told[0].chars, told[0].answer) == ("stop", 5, None)


def taken_from(upstream: Upstream, pours: bool) -> tuple[Reply, list[Ending], list[Delta | Broken]]:
    """A reply with its first delta read already, its endings, and a list to pour it into."""
    source = Pouring(upstream) if pours else upstream.stream()
    reply = Reply(SERVED, clock=ManualClock(10).clock, started=8.0, head=HELLO[:1], source=source)
    told: list[Ending] = []
    reply.on_end(told.append)
    return reply, told, []


@pytest.mark.parametrize("pours", [False, True])
@pytest.mark.parametrize("is_broken", [False, True])
async def test_what_is_poured_is_the_same_and_is_recorded_before_its_end_is_seen(pours: bool, is_broken: bool) -> None:
    """The server passes streams on so: words would be lost, come out of order, or go unbilled."""
    last: list[Delta | Broken] = [Broken(ERROR)] if is_broken else []
    upstream = Upstream(HELLO[1:], *([last] if last else []))
    reply, told, taken = taken_from(upstream, pours)
    waited: list[int] = []

    async def wait() -> None:
        await asyncio.sleep(0)
        waited.append(len(taken))

    def take(items: Sequence[Delta | Broken]) -> Callable[[], Awaitable[None]] | None:
        assert bool(told) is isinstance(items[-1], Broken)
        taken.extend(items)
        return wait

    await reply.pour(take)
    assert taken == [*HELLO, *last] and upstream.closed
    assert waited == ([1, 3, 4] if is_broken else [1, 3])
    status = "broken" if is_broken else "ok"
    assert [(ending.status, ending.chars, ending.usage) for ending in told] == [(status, 5, Usage(3, output=2))]


@pytest.mark.parametrize("pours", [False, True])
async def test_a_pourer_that_is_cancelled_closes_the_upstream(pours: bool) -> None:
    """A client that leaves in the middle would be written for to the end."""
    upstream = Upstream(HELLO[1:2], hangs=True)
    reply, told, taken = taken_from(upstream, pours)
    pouring = asyncio.ensure_future(reply.pour(lambda items: taken.extend(items)))
    await upstream.reached.wait()
    with pytest.raises(RuntimeError):
        await reply.read()
    pouring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pouring
    assert upstream.closed and [ending.status for ending in told] == ["cancelled"]


@pytest.mark.parametrize("pours", [False, True])
async def test_a_taker_that_fails_is_heard_of(pours: bool) -> None:
    """A fault of ours would leave the stream hanging, and its connection open."""
    upstream = Upstream(HELLO[1:2], hangs=True)
    reply, told, _ = taken_from(upstream, pours)

    def take(items: Sequence[Delta | Broken]) -> None:
        if items[0].text == "lo":
            raise LedgerError("no room")

    async with reply:
        with pytest.raises(LedgerError):
            await reply.pour(take)
    assert upstream.closed and [ending.status for ending in told] == ["cancelled"]


async def test_a_whole_answer_is_poured_at_once() -> None:
    """A caller who streams from an upstream that does not would get an empty stream."""
    answer = Answer(text="Hi", usage=Usage(1, output=1))
    reply = Reply(SERVED, clock=ManualClock(1).clock, started=0.5, answer=answer)
    taken: list[Delta | Broken] = []
    await reply.pour(taken.extend)
    assert taken == [as_delta(answer)]


async def test_the_times_of_a_reply_count_from_the_start_of_the_attempt() -> None:
    """The ledger would show the time since the first word as the time of the call."""
    manual = ManualClock(10)
    reply, told = streamed(Upstream(HELLO), clock=manual)
    manual.advance(3)
    await reply.read()
    assert (reply.ttft, told[0].ttft, told[0].seconds) == (2.0, 2.0, 5.0)


async def test_a_stream_can_be_read_whole() -> None:
    """A caller who does not stream would get nothing from an upstream that does."""
    reply, told = streamed(Upstream(HELLO))
    answer = await reply.read()
    assert (answer.text, answer.finish, answer.usage) == ("Hello", "stop", Usage(3, output=2))
    assert await reply.read() is answer
    assert len(told) == 1


async def test_a_whole_answer_is_read_and_iterated_as_often_as_one_likes() -> None:
    """A cache, or a second look at an answer, would find it gone."""
    answer = Answer(text="Hi", tools=(ToolUse("1", "f", "{}"),), usage=Usage(1, output=1))
    reply = Reply(SERVED, clock=ManualClock(1).clock, started=0.5, answer=answer)
    assert await reply.read() is answer
    for _ in range(2):
        assert [delta async for delta in reply] == [as_delta(answer)]
    assert reply.ending is not None
    assert (reply.ending.status, reply.ending.chars, reply.ending.answer) == ("ok", 4, answer)


async def test_a_hook_is_told_at_once_where_the_reply_has_ended() -> None:
    """An answer that came whole would never reach the ledger."""
    reply = Reply(SERVED, clock=ManualClock().clock, started=0, answer=Answer(text="Hi"))
    told: list[Ending] = []
    reply.on_end(told.append)
    assert [ending.status for ending in told] == ["ok"]


async def test_a_break_is_the_last_item_and_is_recorded_before_it_is_seen() -> None:
    """A cut-off answer would look like a whole one, or be missing in the ledger."""
    upstream = Upstream([Delta(text="Hel"), Broken(ERROR, Usage(3, output=1)), Delta(text="never")], [Delta(text="no")])
    reply, told = streamed(upstream)
    items = []
    async for item in reply:
        if isinstance(item, Broken):
            assert [ending.status for ending in told] == ["broken"]
        items.append(item)
    assert items == [Delta(text="Hel"), Broken(ERROR, Usage(3, output=1))]
    assert (told[0].error, told[0].usage, told[0].chars) == (ERROR, Usage(3, output=1), 3)
    assert upstream.closed
    assert len(told) == 1


async def test_a_break_keeps_the_usage_that_was_told_before() -> None:
    """What an upstream had billed before it broke would be forgotten."""
    reply, told = streamed(Upstream([Delta(text="a", usage=Usage(9, output=1)), Broken(ERROR)]))
    assert [type(item) async for item in reply] == [Delta, Broken]
    assert told[0].usage == Usage(9, output=1)


async def test_reading_a_broken_reply_raises_each_time() -> None:
    """A second read would give an empty answer that looks whole."""
    reply, _ = streamed(Upstream([Delta(text="a"), Broken(ERROR)]))
    for _ in range(2):
        with pytest.raises(BrokenReply, match="It broke"):
            await reply.read()


async def test_what_is_gone_cannot_be_read() -> None:
    """An iterated, or a closed, reply would read as an empty answer."""
    iterated, _ = streamed(Upstream(HELLO))
    async for _ in iterated:
        pass
    closed, _ = streamed(Upstream(HELLO))
    await closed.aclose()
    for reply in (iterated, closed):
        with pytest.raises(RuntimeError, match="nothing is left"):
            await reply.read()


async def test_leaving_a_reply_closes_the_upstream_and_is_recorded_as_cancelled() -> None:
    """A model would go on writing, and billing, for a caller who left."""
    upstream = Upstream(HELLO[:1], hangs=True)
    reply, told = streamed(upstream)
    async with reply:
        assert await anext(reply) == HELLO[0]
    assert upstream.closed
    assert [ending.status for ending in told] == ["cancelled"]
    await reply.aclose()
    assert len(told) == 1


async def test_leaving_after_the_finish_was_seen_is_a_good_end() -> None:
    """Clients that hang up on seeing `finish_reason` would count as cancelled calls."""
    reply, told = streamed(Upstream(HELLO, hangs=True))
    async with reply:
        for _ in HELLO:
            await anext(reply)
    assert [ending.status for ending in told] == ["ok"]


async def test_cancelling_a_reader_closes_the_upstream() -> None:
    """A time-out around a reply would leak its connection."""
    upstream = Upstream(HELLO[:1], hangs=True)
    reply, told = streamed(upstream)
    reading = asyncio.create_task(reply.read())
    await upstream.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert upstream.closed
    assert [ending.status for ending in told] == ["cancelled"]


async def test_a_fault_in_the_source_reaches_the_reader_and_is_recorded() -> None:
    """A bug of ours would end as a clean answer that is missing in the ledger."""
    upstream = Upstream(HELLO[:1], raises=ZeroDivisionError())
    reply, told = streamed(upstream)
    with pytest.raises(ZeroDivisionError):
        await reply.read()
    assert upstream.closed
    assert [ending.status for ending in told] == ["cancelled"]


async def test_a_second_reader_is_refused_and_does_the_first_no_harm() -> None:
    """Two readers would each get half of an answer, and each would take it for whole."""
    upstream = Upstream(HELLO[:1], hangs=True)
    reply, told = streamed(upstream)
    first = asyncio.create_task(reply.read())
    await upstream.reached.wait()
    with pytest.raises(RuntimeError, match="one reader"):
        await reply.read()
    assert not upstream.closed
    assert not told
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_end_that_cannot_be_recorded_is_not_seen_as_an_end() -> None:
    """An acknowledged call would be missing in the ledger."""
    reply, _ = streamed(Upstream(HELLO))

    def fails(ending: Ending) -> None:
        raise LedgerError("The disk is full.")

    later: list[Ending] = []
    reply.on_end(fails)
    reply.on_end(later.append)
    seen = []
    with pytest.raises(LedgerError, match="disk is full"):
        async for delta in reply:
            seen.append(delta)
    assert seen == HELLO
    assert len(later) == 1, "a hook after one that failed is told all the same"


async def test_a_failing_hook_still_closes_the_upstream() -> None:
    """A full disk would leak a connection with every call."""
    upstream = Upstream([Delta(text="a"), Broken(ERROR)], hangs=True)
    reply, _ = streamed(upstream)

    def fails(ending: Ending) -> None:
        raise LedgerError("The disk is full.")

    reply.on_end(fails)
    await anext(reply)
    with pytest.raises(LedgerError):
        await anext(reply)
    assert upstream.closed


async def test_text_is_kept_only_where_it_was_asked_for() -> None:
    """Answers would lie in memory, and in the ledger, of users who never allowed it."""
    reply, told = streamed(Upstream(HELLO))
    reply.keep()
    await reply.read()
    assert told[0].answer is not None and told[0].answer.text == "Hello"


@pytest.mark.parametrize(("most", "is_kept"), [(5, True), (4, False)])
async def test_an_answer_that_is_longer_than_is_to_be_kept_is_not_kept(most: int, is_kept: bool) -> None:
    """One endless answer would fill the memory."""
    reply, told = streamed(Upstream(HELLO))
    reply.keep(most)
    await reply.read()
    assert (told[0].answer is not None) == is_kept


def test_gathered_pieces_make_the_answer_that_was_cut() -> None:
    """Tool calls would arrive with broken arguments."""
    gathered = Gathered()
    for delta in (
        Delta(reasoning="Think", signature="s1"),
        Delta(reasoning="ing.", signature="s2"),
        Delta(text="A", refusal="R"),
        Delta(tools=(ToolPiece(1, "id1", "g"), ToolPiece(0, "id0", "f", '{"a"'))),
        Delta(tools=(ToolPiece(0, arguments=":1}"), ToolPiece(1, arguments="{}", signature="sig"))),
        Delta(usage=Usage(1, output=1)),
        Delta(finish="tools", usage=Usage(1, output=5)),
    ):
        gathered.add(delta)
    assert gathered.answer() == Answer(
        text="A",
        reasoning="Thinking.",
        signature="s2",
        refusal="R",
        tools=(ToolUse("id0", "f", '{"a":1}'), ToolUse("id1", "g", "{}", "sig")),
        finish="tools",
        usage=Usage(1, output=5),
    )


WORDS = some.text(max_size=8)
ANSWERS = some.builds(
    Answer,
    text=WORDS,
    reasoning=WORDS,
    signature=WORDS,
    redacted=WORDS,
    refusal=WORDS,
    tools=some.lists(some.builds(ToolUse, WORDS, WORDS, WORDS, WORDS), max_size=3).map(tuple),
    finish=some.sampled_from(["stop", "length", "tools", "filter", "refusal", "pause", "other"]),
    usage=some.none() | some.builds(Usage, some.integers(0, 99), output=some.integers(0, 99)),
)


@given(ANSWERS)
def test_a_whole_answer_as_a_stream_gathers_to_itself(answer: Answer) -> None:
    """A caller who streams would get less than one who does not."""
    gathered = Gathered()
    gathered.add(as_delta(answer))
    assert gathered.answer() == answer


@pytest.mark.parametrize(
    ("delta", "commits"),
    [
        (Delta(text="a"), True),
        (Delta(reasoning="a"), True),
        (Delta(refusal="a"), True),
        (Delta(redacted="a"), True),
        (Delta(tools=(ToolPiece(0),)), True),
        (Delta(), False),
        (Delta(usage=Usage(1)), False),
        (Delta(finish="stop"), False),
        (Delta(raw=b"data: {}"), False),
    ],
)
def test_only_content_commits_a_reply(delta: Delta, commits: bool) -> None:
    """A ping would use up the chance to fall back to another model."""
    assert delta.has_content is commits
