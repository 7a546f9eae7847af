"""The gate of an endpoint: who passes, who is to blame, and what others hear of it."""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from pointsman.core import (
    Answer,
    AttemptError,
    Broken,
    BrokenReply,
    Call,
    CallError,
    CallRejected,
    Chat,
    ContextTooLong,
    Delta,
    Ending,
    InvalidCall,
    KeyRejected,
    ManualClock,
    MemoryState,
    ModelGone,
    Needs,
    OutOfCredit,
    Overloaded,
    RateLimited,
    Reply,
    Served,
    State,
    Timeouts,
    Unreachable,
    UpstreamFailed,
    UpstreamTimeout,
    Usage,
)
from pointsman.dialects.limits import Remaining, Window
from pointsman.endpoints.accounts import Account, Limits
from pointsman.endpoints.concurrency import Concurrency
from pointsman.endpoints.gate import Gate, guarded
from pointsman.endpoints.learned import Learned
from pointsman.ledger.shared_state import SharedState

SERVED = Served("m", "p/m", "p")
NONE = Limits()
GOOD = Ending("ok", 1.0, 0.2, Usage(input=60, output=40), None, "stop", 9)
LEFT = Ending("cancelled", 1.0, 0.2, None, None, None, 9)


class House:
    """Endpoints of one process, on a clock that stands still."""

    def __init__(self, limits: Limits = NONE, state: State | None = None, clock: ManualClock | None = None) -> None:
        self.time = clock or ManualClock(1_000_000.0)
        self.clock = self.time.clock
        self.state = state or MemoryState(self.clock)
        self.account = Account("p", limits, self.state, self.clock)

    def gate(self, name: str = "p/m", concurrency: Concurrency | None = None) -> Gate:
        return Gate(name, self.account, clock=self.clock, state=self.state, concurrency=concurrency)


def broken(error: AttemptError) -> Ending:
    return Ending("broken", 1.0, 0.2, None, error, None, 9)


def fail(gate: Gate, error: AttemptError, times: int = 1) -> None:
    for _ in range(times):
        gate.enter(100).failed(error)


def serve(gate: Gate, times: int = 1) -> None:
    for _ in range(times):
        passed = gate.enter(100)
        passed.began(0.2, {})
        passed.ended(GOOD)


def test_an_endpoint_that_fails_is_left_alone_then_tried_then_used_again() -> None:
    """Calls would go on failing at an endpoint that is down, or never come back to one that is up."""
    house = House()
    gate = house.gate()
    fail(gate, UpstreamFailed("It answered 500.", upstream_status=500), 5)
    closed = gate.closed(100)
    assert closed is not None and closed.is_health and closed.retry_after == pytest.approx(30)
    assert "p/m" in closed.reason and "30 s" in closed.reason
    assert not gate.is_healthy and not gate.is_open
    house.time.advance(30)
    assert gate.is_healthy
    trial = gate.enter(100)
    closed = gate.closed(100)
    assert closed is not None and closed.is_health and "tried by another call" in closed.reason
    trial.ended(GOOD)
    serve(gate, 2)
    assert gate.breaker.state == "closed" and gate.closed(100) is None


@pytest.mark.parametrize("error", [UpstreamTimeout("t"), Unreachable("u"), BrokenReply("b"), Overloaded("o")])
def test_every_failure_of_the_upstream_counts(error: AttemptError) -> None:
    """An endpoint that stalls, or breaks its answers off, would be used for ever."""
    gate = House().gate()
    fail(gate, error, 5)
    assert not gate.is_healthy


def test_a_stream_that_breaks_after_it_began_is_a_failure() -> None:
    """An endpoint that never ends an answer would look healthy, since each of its answers begins."""
    gate = House().gate()
    for _ in range(5):
        passed = gate.enter(100)
        passed.began(0.1, {})
        passed.ended(broken(BrokenReply("It was cut off.")))
    assert not gate.is_healthy


@pytest.mark.parametrize("error", [CallRejected("400", upstream_status=400), ContextTooLong("long")])
def test_a_call_that_is_itself_at_fault_blames_nobody(error: AttemptError) -> None:
    """One caller's bad calls would put an endpoint out for all, or hide that it fails."""
    gate = House().gate()
    fail(gate, error, 50)
    assert gate.breaker.state == "closed" and gate.closed(100) is None
    for _ in range(5):
        fail(gate, error, 10)
        fail(gate, UpstreamFailed("500"))
    assert not gate.is_healthy, "failures between them are still in a row"


def test_a_caller_who_leaves_is_neither_success_nor_failure() -> None:
    """Impatient callers would put an endpoint out, or close the breaker of one that is down."""
    house = House()
    gate = house.gate()
    for _ in range(50):
        gate.enter(100).left()
        gate.enter(100).ended(LEFT)
    assert gate.breaker.state == "closed" and gate.load.in_flight == gate.concurrency.in_flight == 0
    fail(gate, UpstreamFailed("500"), 5)
    house.time.advance(30)
    for _ in range(10):
        gate.enter(100).ended(LEFT)
    assert gate.breaker.state == "half_open"


def test_a_refused_key_puts_the_account_out_and_not_the_endpoint() -> None:
    """All models of an account would each have to find out; and a new key would wait for the breaker."""
    house = House()
    gate, sister = house.gate(), house.gate("p/n")
    spans = []
    for _ in range(7):
        fail(gate, KeyRejected("401", upstream_status=401))
        closed = sister.closed(1)
        assert closed is not None and closed.is_health and closed.retry_after is not None
        assert "key refused" in closed.reason and not sister.is_healthy
        spans.append(closed.retry_after)
        house.time.advance(closed.retry_after)
    assert spans == [pytest.approx(span) for span in (30, 60, 120, 240, 480, 600, 600)]
    serve(gate)
    fail(gate, OutOfCredit("402"))
    closed = sister.closed(1)
    assert closed is not None and "out of credit" in closed.reason
    assert house.account.key_out == pytest.approx(30), "it worked in between"
    assert gate.breaker.state == "closed"


def test_a_model_that_is_gone_is_left_alone_and_its_sisters_are_not() -> None:
    """Each call would be told anew that the model does not exist."""
    house = House()
    gate, sister = house.gate(), house.gate("p/n")
    fail(gate, ModelGone("404", upstream_status=404))
    closed = gate.closed(1)
    assert closed is not None and closed.is_health and closed.retry_after == pytest.approx(600)
    assert sister.closed(1) is None
    house.time.advance(600)
    serve(gate)


def test_a_429_holds_the_whole_account_back_for_as_long_as_it_asks() -> None:
    """Calls through a second key or model of the account would make the provider's limit worse."""
    house = House()
    gate, sister = house.gate(), house.gate("p/n")
    fail(gate, RateLimited("429", upstream_status=429, retry_after=7))
    with pytest.raises(RateLimited) as refusal:
        sister.enter(1)
    assert refusal.value.retry_after == pytest.approx(7) and refusal.value.upstream_status is None
    closed = sister.closed(1)
    assert closed is not None and not closed.is_health
    assert gate.is_healthy, "a limit is no illness"
    house.time.advance(7)
    serve(sister)


@pytest.mark.fault(27, "The account is left alone for a second, and twice as long each time, up to a minute.")
def test_without_retry_after_the_pause_doubles_while_429s_go_on() -> None:
    """An account at its limit would be asked every second, or shut for a minute after one bad moment."""
    house = House()
    gate = house.gate()
    spans = []
    for _ in range(8):
        passes = [gate.enter(1) for _ in range(min(3, gate.concurrency.limit))]
        for passed in passes:
            passed.failed(RateLimited("429", upstream_status=429))
        spans.append(house.account.held_back)
        house.time.advance(house.account.held_back)
    assert spans == [pytest.approx(span) for span in (1, 2, 4, 8, 16, 32, 60, 60)]
    serve(gate)
    fail(gate, RateLimited("429"))
    assert house.account.held_back == pytest.approx(1)


@pytest.mark.fault(26, "The wait is taken for at least 0.05 seconds, and for a day at most.")
@pytest.mark.parametrize(("asked", "held"), [(-5, 0.05), (0, 0.05), (1e12, 86400)])
def test_an_absurd_retry_after_is_bounded(asked: float, held: float) -> None:
    """One wrong header would shut an account for a thousand years, or have it asked without a pause."""
    house = House()
    fail(house.gate(), RateLimited("429", retry_after=asked))
    assert house.account.held_back == pytest.approx(held)


@pytest.mark.fault(23, "Fewer calls are sent at once: 0.7 of those that were in flight.")
@pytest.mark.parametrize("refusal_of_upstream", [Overloaded("529", upstream_status=529), RateLimited("429")])
def test_overload_and_429_shrink_what_is_sent_at_once_and_nothing_else_does(refusal_of_upstream: AttemptError) -> None:
    """A burst that was too large would be repeated; or slow hours would lock callers out."""
    house = House()
    gate = house.gate()
    passes = [gate.enter(1) for _ in range(10)]
    passes[0].failed(refusal_of_upstream)
    house.time.advance(1)
    assert gate.concurrency.limit == 7
    with pytest.raises(Overloaded) as refusal:
        gate.enter(1)
    assert refusal.value.retry_after == 1 and refusal.value.upstream_status is None
    closed = gate.closed(1)
    assert closed is not None and not closed.is_health
    for passed in passes[1:]:
        passed.failed(UpstreamFailed("500"))
    assert gate.concurrency.limit == 7 and gate.concurrency.in_flight == 0


def test_a_429_that_says_when_to_come_back_is_about_a_rate() -> None:
    """A minute's limit that is used up would leave room for one call at a time, long after the minute is over."""
    gate = House().gate()
    fail(gate, RateLimited("429", upstream_status=429, retry_after=1))
    assert gate.concurrency.limit == 200


def test_a_limit_lets_through_what_it_says_and_refunds_what_was_not_used() -> None:
    """A free tier would be overrun, or half of it lost to answers that were shorter than reserved."""
    house = House(Limits(requests_per_minute=4, tokens_per_minute=1000))
    gate = house.gate()
    for _ in range(3):
        gate.enter(300).ended(GOOD)
    gate.enter(700).ended(GOOD)
    closed = gate.closed(100)
    assert closed is not None and not closed.is_health and closed.retry_after == pytest.approx(15)
    house.time.advance(15)
    passed = gate.enter(800)
    house.time.advance(15)
    with pytest.raises(RateLimited) as refusal:
        gate.enter(900)
    assert refusal.value.retry_after == pytest.approx((400 - 250 + 800 - 250 + 900 - 1000) * 60 / 1000)
    passed.failed(CallRejected("400"))
    gate.enter(900)


def test_what_was_refused_here_uses_up_nothing() -> None:
    """Calls that never left would eat the limit of the minute."""
    house = House(Limits(requests_per_minute=10))
    gate = house.gate(concurrency=Concurrency(start=1, most=1))
    held = gate.enter(1)
    for _ in range(100):
        with pytest.raises(Overloaded):
            gate.enter(1)
    held.failed(UpstreamFailed("500"))
    sister = house.gate("p/n")
    serve(sister, 9)
    with pytest.raises(RateLimited):
        sister.enter(1)


def test_a_connection_that_was_never_made_gives_its_request_back() -> None:
    """A network that is down would use up a free tier's day."""
    house = House(Limits(requests_per_day=4))
    gate = house.gate()
    fail(gate, Unreachable("no route"), 4)
    assert house.account.full(1) == 0.0


def test_what_headers_tell_is_used_up_by_what_is_sent_after() -> None:
    """The provider's limit would be found out only by being refused."""
    house = House()
    gate = house.gate()
    headers = {"x-ratelimit-remaining-requests-day": "2", "x-ratelimit-reset-requests-day": "3600"}
    first, second = gate.enter(1), gate.enter(1)
    first.began(0.1, headers)
    gate.enter(1)
    closed = gate.closed(1)
    assert closed is not None and closed.retry_after == pytest.approx(3600), "of two left, the second's took one"
    second.began(0.1, headers)
    assert gate.closed(1) is None, "the second's own answer counts what was sent since it only"
    house.time.advance(3600)
    assert gate.closed(1) is None


def test_a_limit_that_fills_up_by_and_by_is_not_waited_for_to_the_end() -> None:
    """A used-up limit of 10,000 a minute would shut an account for a minute, though it has room in 6 ms."""
    house = House()
    learned = Learned(house.clock.steady)
    learned.saw(Remaining((Window("requests", "requests", 0, 60, refill=10),)), learned.sent(1))
    assert learned.barred() == pytest.approx(0.1)
    house.time.advance(0.1)
    assert learned.barred() == 0.0


def test_limits_on_a_part_of_the_tokens_are_not_counted_down_here() -> None:
    """Long prompts would use up the limit on output, and calls be refused that the provider would take."""
    learned = Learned(House().clock.steady)
    learned.saw(Remaining((Window("output-tokens", "part", 500, 60),)), learned.sent(1))
    learned.sent(100_000)
    assert learned.barred() == 0.0
    learned.saw(Remaining((Window("output-tokens", "part", 0, 60),)), learned.sent(1))
    assert learned.barred() == 60


def test_what_one_model_has_used_up_bars_no_other() -> None:
    """Providers count each model apart: a used-up model would take all others of its account with it."""
    house = House()
    gate, sister = house.gate(), house.gate("p/n")
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2h"}
    gate.enter(1).began(0.1, headers)
    assert not gate.is_open and sister.is_open


def test_only_the_first_end_of_a_call_counts() -> None:
    """A slot that is freed twice lets too many through; one that is never freed shuts the endpoint."""
    house = House(Limits(tokens_per_minute=1000))
    gate = house.gate()
    for first, second in itertools.permutations(
        [
            lambda passed: passed.ended(GOOD),
            lambda passed: passed.failed(UpstreamFailed("500")),
            lambda passed: passed.left(),
        ],
        2,
    ):
        passed = gate.enter(1)
        first(passed)
        level, failures = gate.concurrency.in_flight, gate.breaker.state
        second(passed)
        assert (gate.concurrency.in_flight, gate.breaker.state) == (level, failures) == (0, "closed")


def test_a_call_that_is_dropped_without_an_end_frees_its_place() -> None:
    """A slot that leaks is a limit that shrinks until nothing passes."""
    house = House()
    gate = house.gate()
    for _ in range(300):
        gate.enter(1)
    gc.collect()
    assert gate.concurrency.in_flight == gate.load.in_flight == 0
    fail(gate, UpstreamFailed("500"), 5)
    house.time.advance(30)
    gate.enter(1)
    gc.collect()
    assert gate.breaker.admits(), "the trial's place too"


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_one_process_finds_out_the_other_knows_after_a_refresh(tmp_path: Path, is_shared: bool) -> None:
    """Each worker of a server would have to fail for itself, and wait for itself until it dares to try again."""
    time = ManualClock(1_000_000.0)
    states: list[State] = [MemoryState(time.clock)] * 2
    if is_shared:
        states = [SharedState(tmp_path / "state.sqlite", time.clock) for _ in range(2)]
    here, there = (House(state=state, clock=time) for state in states)
    gate, other = here.gate(), there.gate()

    def hear() -> None:
        for state in states:
            state.refresh()

    hear()
    fail(gate, UpstreamFailed("500"), 5)
    hear()
    assert other.breaker.is_open and other.breaker.reopens_at == pytest.approx(time.now + 30)
    time.advance(30)
    serve(other, 3)
    hear()
    assert gate.breaker.state == "closed"
    fail(gate, ModelGone("404"))
    hear()
    closed = other.closed(1)
    assert closed is not None and "gone" in closed.reason
    time.advance(600)
    fail(gate, OutOfCredit("402"))
    hear()
    closed = other.closed(1)
    assert closed is not None and "out of credit" in closed.reason
    time.advance(30)
    serve(other)
    hear()
    assert here.account.key_out == 0.0
    fail(gate, RateLimited("429", retry_after=9))
    hear()
    with pytest.raises(RateLimited) as refusal:
        other.enter(1)
    assert refusal.value.retry_after == pytest.approx(9)
    for state in states:
        if isinstance(state, SharedState):
            assert state.problem is None
            state.close()


def test_a_restart_forgets_neither_an_outage_nor_a_pause(tmp_path: Path) -> None:
    """Restarting would hammer an endpoint that asked to be left alone."""
    time = ManualClock(1_000_000.0)
    state = SharedState(tmp_path / "state.sqlite", time.clock)
    gate = House(state=state, clock=time).gate()
    fail(gate, UpstreamFailed("500"), 5)
    fail_later = RateLimited("429", retry_after=100)
    House(state=state, clock=time).gate("p/n").enter(1).failed(fail_later)
    state.close()
    time.advance(10)
    state = SharedState(tmp_path / "state.sqlite", time.clock)
    house = House(state=state, clock=time)
    gate = house.gate()
    state.refresh()
    assert gate.breaker.reopens_at == pytest.approx(time.now + 20)
    assert house.account.held_back == pytest.approx(90)
    state.close()


def test_health_can_be_looked_past_but_limits_cannot() -> None:
    """When everybody seems ill somebody must be asked all the same, and no provider's limit may be broken for it."""
    house = House(Limits(requests_per_minute=6))
    gate = house.gate()
    fail(gate, UpstreamFailed("500"), 5)
    gate.enter(1).ended(GOOD)
    assert gate.breaker.state == "half_open", "its answer counts"
    with pytest.raises(RateLimited):
        gate.enter(1)


def test_a_probe_that_was_answered_lets_a_call_try() -> None:
    """A local server that is up again would be left alone for minutes."""
    gate = House().gate()
    fail(gate, UpstreamFailed("500"), 5)
    gate.probed()
    assert gate.is_healthy


@pytest.mark.parametrize(("limit", "value"), [("requests_per_minute", 0), ("tokens_per_day", -1)])
def test_a_limit_of_nothing_is_refused(limit: str, value: float) -> None:
    """It would divide by zero at the first call."""
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: value})


def a_call(**more: object) -> Call:
    return Call(id="1", model="m", chat=Chat(messages=()), **more)  # type: ignore[arg-type]


async def stream(*batches: Sequence[Delta | Broken]) -> AsyncGenerator[Sequence[Delta | Broken], None]:
    for batch in batches:
        yield batch


async def test_the_ask_around_the_ask_books_every_way_to_end() -> None:
    """A way out that is forgotten leaks a slot at each call that takes it."""
    house = House(Limits(tokens_per_minute=10_000))
    gate = house.gate()
    outcome: list[BaseException | Callable[[], Reply]] = []

    async def ask(call: Call) -> Reply:
        assert gate.concurrency.in_flight == 1
        found = outcome.pop()
        if isinstance(found, BaseException):
            raise found
        return found()

    def whole() -> Reply:
        return Reply(SERVED, clock=house.clock, started=0.0, answer=Answer(text="Hi", usage=Usage(10, output=5)))

    def streamed(*batches: Sequence[Delta | Broken]) -> Reply:
        reply = Reply(SERVED, clock=house.clock, started=0.0, head=[Delta(text="H")], source=stream(*batches))
        reply.headers = {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1s"}
        return reply

    guard = guarded(ask, gate, lambda call: 100)
    errors = [UpstreamFailed("500"), InvalidCall("bad"), CallError("bad"), asyncio.CancelledError(), KeyError("bug")]
    for error in errors:
        outcome.append(error)
        with pytest.raises(type(error)):
            await guard(a_call())
        assert gate.concurrency.in_flight == 0
    outcome.append(whole)
    await guard(a_call())
    assert gate.concurrency.in_flight == 0
    for batches in ([[Delta(text="i")], [Delta(finish="stop")]], [[Broken(BrokenReply("cut"))]]):
        outcome.append(lambda batches=batches: streamed(*batches))  # type: ignore[misc]
        async with await guard(a_call()) as reply:
            assert gate.concurrency.in_flight == 1
            assert [delta async for delta in reply]
            assert gate.concurrency.in_flight == 0
    outcome.append(lambda: streamed([Delta(text="i")]))
    async with await guard(a_call()):
        pass
    assert gate.concurrency.in_flight == gate.load.in_flight == 0
    assert gate.load.ttft is not None
    assert house.state.wait([("account:p:tokens:minute", house.account._tokens[0][1], 9_700 + 1)]) > 0.0


@pytest.mark.parametrize(
    ("call", "waited", "is_fault"),
    [
        (a_call(), 0.1, True),
        (a_call(needs=Needs(max_latency=0.1)), 0.1, False),
        (a_call(timeouts=Timeouts(ttft=0.1)), 0.1, False),
        (a_call(timeouts=Timeouts(ttft=20)), 20.0, True),
    ],
)
async def test_a_callers_hurry_is_no_fault_of_the_endpoint(call: Call, waited: float, is_fault: bool) -> None:
    """One caller with a deadline of a millisecond would put an endpoint out for all others."""
    house = House()
    gate = house.gate()

    async def ask(call: Call) -> Reply:
        house.time.advance(waited)
        raise UpstreamTimeout("Too slow.")

    for _ in range(3):
        with pytest.raises(UpstreamTimeout):
            await guarded(ask, gate, lambda call: 1)(call)
    for _ in range(2):
        fail(gate, UpstreamFailed("500"))
    assert gate.is_healthy is not is_fault


def test_an_endpoint_dies_and_comes_back_among_three() -> None:
    """The whole, over an hour of thousands of calls: few of them meet the dead endpoint, none is lost once it is
    known, all three share the work again at the end, and no slot leaks."""
    rng = Random(3)
    time = ManualClock(1_000_000.0)
    house = House(state=MemoryState(time.clock), clock=time)
    gates = {name: house.gate(name) for name in ("p/a", "p/b", "p/c")}
    served = {name: [0, 0, 0] for name in gates}
    """By phase: before, while p/a is dead, and long after."""
    met_the_dead, calls, lost = 0, 0, 0
    running: list[tuple[float, int, str, Callable[[], None]]] = []
    start, numbers = time.now, itertools.count()
    while time.now < start + 3600:
        time.advance(rng.expovariate(3.0))
        while running and running[0][0] <= time.now:
            heapq.heappop(running)[3]()
        calls += 1
        since = time.now - start
        is_dead = 600 <= since < 1800
        order = sorted(gates, key=lambda name: (gates[name].load.score(0.5), rng.random()))
        for name in [name for name in order if gates[name].is_open]:
            passed = gates[name].enter(500)
            if name == "p/a" and is_dead:
                met_the_dead += 1
                passed.failed(rng.choice([UpstreamFailed("500"), Unreachable("refused"), UpstreamTimeout("slow")]))
                continue
            if rng.random() < 0.02:
                passed.failed(CallRejected("400", upstream_status=400))
            elif rng.random() < 0.05:
                passed.left()
            else:
                passed.began(rng.uniform(0.1, 0.5), {})
                ending = GOOD if rng.random() < 0.95 else LEFT
                seconds = rng.uniform(0.5, 4)
                heapq.heappush(
                    running, (time.now + seconds, next(numbers), name, lambda p=passed, e=ending: p.ended(e))
                )  # type: ignore[misc]
            served[name][0 if since < 600 else 1 if since < 1800 else 2] += 1
            break
        else:
            lost += 1
    for _, _, _, end in running:
        end()
    assert calls > 10_000 and lost == 0
    # 5 to open it; then one trial each after 30, 60, … up to 300 seconds of the 1,200 that it was dead.
    assert 5 <= met_the_dead <= 5 + 8
    assert served["p/a"][1] == 0
    assert min(count[2] for count in served.values()) > 0.2 * sum(count[2] for count in served.values())
    assert all(gate.concurrency.in_flight == gate.load.in_flight == 0 for gate in gates.values())
    assert all(gate.breaker.state == "closed" and gate.concurrency.limit >= 200 for gate in gates.values())
