"""Who is let in, and that every place that was taken is free again. Keys cannot be made nor widened over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import sqlite3
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace
from running import Running

from pointsman.core import Busy, CallError, Forbidden, ManualClock, MemoryState, OverLimit, State
from pointsman.gateway import Gateway
from pointsman.gateway.specs import KeyLimitsSpec, ServerLimitsSpec
from pointsman.ledger import Key, Ledger
from pointsman.ledger.shared_state import SharedState
from pointsman.server.admission import Admission, Admitted
from pointsman.server.app import Application

OPEN_KEY = Key(id="open", name="open", created=0.0, scopes=frozenset({"call"}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_795_000_000.0)


@pytest.fixture(params=["memory", "shared"])
def state(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> State:
    if request.param == "memory":
        return MemoryState(clock.clock)
    shared = SharedState(tmp_path / "state.sqlite", clock.clock)
    request.addfinalizer(shared.close)
    return shared


def test_a_full_server_refuses_at_once_and_says_when_to_come_back(state: State) -> None:
    """Calls would pile up until memory ends, or clients would come back all at once."""
    admission = Admission(ServerLimitsSpec(server=2), state)
    first, second = (admission.enter(OPEN_KEY, 10, "m") for _ in range(2))
    with pytest.raises(Busy, match="2 calls are under way") as refused:
        admission.enter(OPEN_KEY, 10, "m")
    assert (refused.value.status, refused.value.retry_after) == (503, 1.0)
    first.settle(10)
    third = admission.enter(OPEN_KEY, 10, "m")
    assert admission.in_flight == 2
    second.settle(None)
    third.settle(0)
    assert admission.in_flight == 0


def test_a_key_sends_as_many_requests_a_minute_as_it_may(state: State, clock: ManualClock) -> None:
    """A key lent to a script in a loop would use up everybody's limits."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, requests_per_minute=3)
    for _ in range(3):
        admission.enter(key, 1, "m").settle(1)
    with pytest.raises(OverLimit, match="3 requests a minute") as refused:
        admission.enter(key, 1, "m")
    assert (refused.value.status, refused.value.retry_after) == (429, pytest.approx(20.0))
    clock.advance(20.01)
    admission.enter(key, 1, "m").settle(1)


def test_limits_of_the_configuration_hold_for_keys_without_their_own(state: State) -> None:
    """The settings under `limits.keys` would do nothing, or take away what a key was given."""
    admission = Admission(ServerLimitsSpec(keys=KeyLimitsSpec(requests_per_minute=1)), state)
    generous = replace(OPEN_KEY, id="generous", requests_per_minute=3)
    admission.enter(OPEN_KEY, 1, "m").settle(1)
    with pytest.raises(OverLimit, match="'open' may send 1 requests"):
        admission.enter(OPEN_KEY, 1, "m")
    for _ in range(3):
        admission.enter(generous, 1, "m").settle(1)


def test_unused_tokens_can_be_used_again_and_those_beyond_the_estimate_count(state: State) -> None:
    """A key would be shut out for what it never used, or could write as much as it likes by estimating low."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, tokens_per_minute=100)
    admission.enter(key, 90, "m").settle(10)
    admission.enter(key, 90, "m").settle(0)
    admission.enter(key, 10, "m").settle(60)
    with pytest.raises(OverLimit, match="100 tokens a minute, and this call needs 50") as refused:
        admission.enter(key, 50, "m")
    assert refused.value.retry_after == pytest.approx(12.0)
    admission.enter(key, 30, "m").settle(None)
    with pytest.raises(OverLimit):
        admission.enter(key, 1, "m")


def test_an_absurd_estimate_gives_no_more_back_than_it_took(state: State) -> None:
    """A caller who states a large `max_tokens` would get its bucket filled by each call: no limit at all."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, tokens_per_minute=100)
    admission.enter(key, 10**15, "m").settle(80)
    with pytest.raises(OverLimit):
        admission.enter(key, 30, "m")
    admission.enter(key, 20, "m").settle(20)


@pytest.mark.parametrize("estimate", [-1, -(10**15)])
def test_an_estimate_or_usage_below_nothing_fills_no_bucket(state: State, estimate: int) -> None:
    """A caller, or a broken upstream, would raise the limit by saying that it used less than nothing."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, tokens_per_minute=100)
    admission.enter(key, 100, "m").settle(100)
    admission.enter(key, estimate, "m").settle(estimate)
    with pytest.raises(OverLimit):
        admission.enter(key, 10, "m")


def test_a_refused_call_takes_nothing(state: State) -> None:
    """Whoever is refused would be shut out for longer with each try."""
    admission = Admission(ServerLimitsSpec(server=2), state)
    key = replace(OPEN_KEY, models=("small",), requests_per_minute=3, tokens_per_minute=100)
    held = admission.enter(key, 50, "small")
    for _ in range(20):
        with pytest.raises(Forbidden):
            admission.enter(key, 10, "large")
        with pytest.raises(OverLimit, match="tokens"):
            admission.enter(key, 60, "small")
    other = admission.enter(OPEN_KEY, 1, "m")
    for _ in range(20):
        with pytest.raises(Busy):
            admission.enter(key, 10, "small")
    other.settle(1)
    assert admission.in_flight == 1
    admission.enter(key, 50, "small").settle(0)
    held.settle(0)
    admission.enter(key, 100, "small").settle(None)
    with pytest.raises(OverLimit, match="requests"):
        admission.enter(key, 0, "small")


def test_a_key_names_only_the_models_that_it_may(state: State) -> None:
    """A key for small models could run up the bill of the large ones; and nobody would see why a call is refused."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, name="ci", models=("gpt-4o*", "fast"))
    for model in ("fast", "gpt-4o", "gpt-4o-mini"):
        admission.enter(key, 1, model).settle(1)
    for model in ("", "auto", "FAST", "fast ", "fast\n", "xfast", "openai/gpt-4o", "o3", "x" * 100_000):
        with pytest.raises(Forbidden, match=r"may name gpt-4o\*, fast\.$") as refused:
            admission.enter(key, 1, model)
        assert refused.value.status == 403 and len(refused.value.message) < 300
    assert admission.in_flight == 0


def test_a_place_is_freed_once_however_often_a_call_is_settled(state: State) -> None:
    """The count would go below nothing, and the server's bound would let ever more calls through."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, tokens_per_minute=100)
    admitted = admission.enter(key, 100, "m")
    for used in (90, 0, None):
        admitted.settle(used)
    del admitted
    gc.collect()
    assert admission.in_flight == 0
    with pytest.raises(OverLimit):
        admission.enter(key, 20, "m")


def test_a_key_that_was_read_anew_keeps_what_it_has_used(state: State) -> None:
    """Making another key, at which all are read anew, would fill the buckets of every key."""
    admission = Admission(ServerLimitsSpec(), state)
    admission.enter(replace(OPEN_KEY, requests_per_minute=1), 1, "m").settle(1)
    with pytest.raises(OverLimit):
        admission.enter(replace(OPEN_KEY, requests_per_minute=1), 1, "m")


class Doors(RuleBasedStateMachine):
    """The admission beside a model of it: levels of buckets in exact fractions, and a list of those inside."""

    MOST = 4
    DEFAULT_REQUESTS = 5
    KEYS = (
        replace(OPEN_KEY, id="default"),
        replace(OPEN_KEY, id="requests", requests_per_minute=3),
        replace(OPEN_KEY, id="both", requests_per_minute=4, tokens_per_minute=50, models=("a", "b*")),
        replace(OPEN_KEY, id="tokens", requests_per_minute=1000, tokens_per_minute=7),
    )

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        limits = ServerLimitsSpec(server=self.MOST, keys=KeyLimitsSpec(requests_per_minute=self.DEFAULT_REQUESTS))
        self.admission = Admission(limits, MemoryState(self.clock.clock))
        self.levels: dict[tuple[str, str], Fraction] = {}
        self.inside: list[tuple[Admitted, Key, int]] = []

    @rule(key=some.sampled_from(KEYS), tokens=some.integers(-5, 80), model=some.sampled_from(("a", "b", "bc", "c", "")))
    def enter(self, key: Key, tokens: int, model: str) -> None:
        wait, taken = self.wait(key, tokens)
        allowed = not key.models or model in ("a", "b", "bc")
        expected: type[CallError] | None = None
        if not allowed:
            expected = Forbidden
        elif len(self.inside) >= self.MOST:
            expected = Busy
        elif wait > 0:
            expected = OverLimit
        try:
            admitted = self.admission.enter(key, tokens, model)
        except CallError as error:
            assert type(error) is expected
            assert expected is not OverLimit or error.retry_after == pytest.approx(float(wait))
            return
        assert expected is None
        for bucket, _, units in self.buckets(key, taken):
            self.levels[bucket] = self.levels.get(bucket, Fraction(0)) + units
        self.inside.append((admitted, key, taken))

    @rule(data=some.data(), used=some.none() | some.integers(-5, 120))
    def settle(self, data: some.DataObject, used: int | None) -> None:
        if not self.inside:
            return
        admitted, key, taken = self.inside.pop(data.draw(some.integers(0, len(self.inside) - 1)))
        admitted.settle(used)
        admitted.settle(0)
        if used is not None and key.tokens_per_minute is not None:
            bucket = (key.id, "tokens")
            level = self.levels.get(bucket, Fraction(0)) - taken + max(used, 0)
            self.levels[bucket] = min(max(level, Fraction(0)), Fraction(key.tokens_per_minute))

    @rule(data=some.data())
    def drop(self, data: some.DataObject) -> None:
        if self.inside:
            self.inside.pop(data.draw(some.integers(0, len(self.inside) - 1)))

    @rule(seconds=some.integers(1, 70))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        for key in self.KEYS:
            for bucket, amount, _ in self.buckets(key, 0):
                leaked = Fraction(amount * seconds, 60)
                self.levels[bucket] = max(self.levels.get(bucket, Fraction(0)) - leaked, Fraction(0))

    @invariant()
    def the_gauge_is_right(self) -> None:
        assert self.admission.in_flight == len(self.inside)

    def wait(self, key: Key, tokens: int) -> tuple[Fraction, int]:
        """Seconds until the call is let in, and the tokens that it takes then."""
        taken = min(max(tokens, 0), key.tokens_per_minute or 0)
        waits = [
            (self.levels.get(bucket, Fraction(0)) + units - amount) * 60 / amount
            for bucket, amount, units in self.buckets(key, taken)
        ]
        return max(waits), taken

    def buckets(self, key: Key, tokens: int) -> list[tuple[tuple[str, str], int, int]]:
        found = [((key.id, "requests"), key.requests_per_minute or self.DEFAULT_REQUESTS, 1)]
        if key.tokens_per_minute is not None:
            found.append(((key.id, "tokens"), key.tokens_per_minute, tokens))
        return found


TestDoors = Doors.TestCase
TestDoors.__doc__ = """A sequence of calls that nobody thought of would leak a place, or let too much through."""
TestDoors.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


ENDS = ("settles", "raises", "waits for ever", "forgets to settle", "settles and raises", "times out")


@settings(max_examples=60, deadline=None)
@given(
    calls=some.lists(
        some.tuples(some.sampled_from(ENDS), some.integers(0, 4), some.none() | some.integers(0, 8)), max_size=12
    )
)
def test_the_gauge_returns_to_nothing_wherever_calls_are_cancelled_or_fail(
    calls: list[tuple[str, int, int | None]],
) -> None:
    """Places would leak, one by one, until the server refuses every call for good."""
    clock = ManualClock()
    admission = Admission(ServerLimitsSpec(server=6), MemoryState(clock.clock))
    key = replace(OPEN_KEY, requests_per_minute=1000, tokens_per_minute=1_000_000)
    most = 0

    async def handle(end: str, steps: int) -> None:
        nonlocal most
        await asyncio.sleep(0)
        admitted = admission.enter(key, 100, "m")
        most = max(most, admission.in_flight)
        for _ in range(steps if end == "forgets to settle" else 0):
            await asyncio.sleep(0)
        if end == "forgets to settle":
            raise LookupError(end)
        try:
            for _ in range(steps):
                await asyncio.sleep(0)
            if end == "waits for ever":
                await asyncio.Event().wait()
            if end == "times out":
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            if end == "settles and raises":
                admitted.settle(50)
            if end != "settles":
                raise LookupError(end)
        finally:
            admitted.settle(None)

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(handle(end, steps)) for end, steps, _ in calls]
        for turn in range(10):
            for task, (_, _, cancelled_at) in zip(tasks, calls, strict=True):
                if cancelled_at == turn:
                    task.cancel()
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    gc.collect()
    assert admission.in_flight == 0 and most <= 6


def test_a_call_cancelled_at_each_point_leaves_its_place(state: State) -> None:
    """The one point that a random search misses would be the one where clients leave."""
    admission = Admission(ServerLimitsSpec(), state)
    key = replace(OPEN_KEY, requests_per_minute=1000, tokens_per_minute=1_000_000)

    async def handle() -> None:
        await asyncio.sleep(0)
        admitted = admission.enter(key, 100, "m")
        try:
            for _ in range(5):
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            admitted.settle(7)

    for point in range(12):
        for error in (asyncio.CancelledError, LookupError, GeneratorExit):
            steps = handle()
            with contextlib.suppress(StopIteration, asyncio.CancelledError, LookupError, RuntimeError, GeneratorExit):
                for _ in range(point):
                    steps.send(None)
                steps.throw(error())
            with contextlib.suppress(RuntimeError, StopIteration):
                steps.close()
            del steps
            gc.collect()
            assert admission.in_flight == 0, (point, error)


def asked(server: Running, method: str, path: str, key: str, body: bytes) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def stored(server: Running) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(server.home / "ledger.sqlite")) as connection:
        return connection.execute("SELECT * FROM keys ORDER BY id").fetchall()


@pytest.mark.fault(112, "No path of the server makes a key, or changes one.")
def test_no_path_makes_or_widens_a_key(server: Running) -> None:
    """Who holds one key could make itself a wider one. Keys are made by the command only."""
    routes = Application(Gateway(server.home / "config-of-test.yaml")).routes
    assert not [path for _, path in routes if "key" in path]
    with Ledger.open(server.home) as ledger:
        text, key = ledger.keys.create("narrow", scopes=("call", "read", "admin"), models=("small",))
    wider = {"id": key.id, "name": "narrow", "models": [], "requests_per_minute": None, "scopes": ["call", "admin"]}
    bodies = [json.dumps(wider | {"model": "small", "messages": [], "key": wider}).encode(), json.dumps(wider).encode()]
    guesses = ("/keys", "/v1/keys", "/api/keys", f"/api/keys/{key.id}", "/admin/keys", "/v1/organization/api_keys")
    before = stored(server)
    for path in sorted({path for _, path in routes}) + list(guesses):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for body in bodies:
                status = asked(server, method, path, text, body)
                assert 400 <= status < 500 or path == "/v1/messages/count_tokens", (method, path, status)
    assert stored(server) == before


@pytest.mark.fault(111, "It is a wrong key like any other.")
def test_sql_in_a_key_is_only_a_wrong_key(server: Running) -> None:
    """A key made of SQL would open the door, or change the ledger."""
    with Ledger.open(server.home) as ledger:
        text, key = ledger.keys.create("mine'; DROP TABLE keys; --", user="' OR '1'='1", models=("x' --",))
    before = stored(server)
    tricks = ("' OR 1=1 --", f"pm-{key.id}' --x", f"pm-{key.id}-' OR '1'='1", "pm-' UNION SELECT * FROM keys -- -x")
    for trick in (*tricks, "pm-%-%", "pm-_-_", "pm-'; DROP TABLE keys; -- -x"):
        assert asked(server, "GET", "/v1/models", trick, b"") == 401
    assert asked(server, "GET", "/v1/models", text, b"") == 200
    assert stored(server) == before


def test_no_byte_that_is_written_holds_a_key(server: Running) -> None:
    """Who reads a log or a backup could call in another's name."""
    with Ledger.open(server.home) as ledger:
        text, key = ledger.keys.create("canary", user="ann", models=("small",), requests_per_minute=5)
    secret = text.removeprefix(f"pm-{key.id}-")
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hello"}]}).encode()
    for path in ("/v1/chat/completions", "/v1/messages", f"/v1/models?key={text}", f"/{text}"):
        for stated in (text, text + "x", text[:-1]):
            asked(server, "POST", path, stated, body)
    written = [path for path in server.home.rglob("*") if path.is_file()]
    assert [path.name for path in written if secret[:-1].encode() in path.read_bytes()] == []
