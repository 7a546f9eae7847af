"""What a gateway has learned: how fast models are, from its own calls; how good, from what anybody graded.

Grades lie in the ledger, and so does what was learned of them, in numbered versions: each process of a machine loads
the newest one, and whichever comes first adds the next. So all of them believe the same, and nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import structs

from ..core import Clock, LedgerError
from ..ledger import Entry, Graded, Ledger, StoredState
from ..routing import RouteState, all_lengths, changed_models, learn, sound, with_beliefs
from .forecasts import InUse
from .lessons import (
    MOST_PASSED,
    Expects,
    Lessons,
    Passed,
    decode_lessons,
    encode_lessons,
    forgotten,
    outcomes_of,
    read_grades,
    seen_by,
    spent_and_explored,
    still_held,
    still_passed,
)
from .outcomes import Outcomes

MOST_OUTCOMES = 256
RELOAD_EVERY = 600.0
"""Seconds after which it is read anew how fast and how sound models are, and what exploring has cost: from the latest
calls of all processes, so that an outage of this morning is forgotten, though nobody has asked the model since."""
RELOAD_AFTER_FAILURES = 10.0
"""The same, from when an answer was found to have failed by what it was."""
SPENT_IN = 30 * 86_400.0
"""Seconds. What was spent longer ago pays for no exploring."""
MOST_GRADES = 500
"""That are learned at once: some milliseconds."""
MOST_PORTIONS = 4
"""Of so many grades in one turn: what goes on beside it must not wait for seconds."""
REST = 30.0
"""Seconds until the next turn after one that failed."""


class Learning:
    """The RouteState of a gateway. Studying never raises: what is wrong with the ledger, or with what lies in it, is
    told to `warn` when it begins and when it is over, and is no reason not to serve."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        expects: Expects,
        router: Callable[[], InUse],
        warn: Callable[[str], None],
        outcomes: Outcomes,
        enabled: bool,
    ) -> None:
        """`expects`, `router` and `warn` may be asked from any thread. With `enabled` false grades are left to other
        processes. `outcomes` are recorded at each turn, before grades are learned."""
        self._ledger = ledger
        self._clock = clock
        self._expects = expects
        self._router_in_use = router
        self._warn = warn
        self._enabled = enabled
        self._entries: list[Entry] = []
        self._outcomes = outcomes
        self._attempted: RouteState | None = None
        """What attempts have taught; belongs to whoever asks for the state."""
        self._reloaded: RouteState | None = None
        """The same, read anew by whoever studies."""
        self._reload_at = clock.steady()
        self._graded = RouteState()
        """What grades have taught; belongs to whoever studies, as all below."""
        self._has_studied = False
        self._through = 0
        self._router = InUse()
        """What the grades of `_graded` were compared with."""
        self._lessons = Lessons({}, {})
        """What was stored of it last, with what else is remembered."""
        self._changed: list[str] = []
        self._fault = ""
        self._rest_until = clock.steady()
        self._was_told = False
        self._studying = threading.Lock()

    def add(self, entries: Sequence[Entry]) -> None:
        """They are kept until somebody asks for the state: most calls name their model, and nobody does."""
        self._entries += entries
        if len(self._entries) >= MOST_OUTCOMES:
            self._learn_now()

    async def ready(self) -> None:
        """Returns once the state can be had without a look into the ledger."""
        if not self._has_studied:
            await asyncio.to_thread(self._begin)

    @property
    def state(self) -> RouteState:
        if not self._has_studied:
            self._begin()
        attempted, graded = self._learn_now(), self._graded
        return structs.replace(
            attempted,
            version=attempted.version + graded.version,
            evidence=graded.evidence,
            drift=graded.drift,
            beliefs=graded.beliefs,
        )

    @property
    def fell_at(self) -> Mapping[str, float]:
        """By model: when it was last found to do worse than it did, in unix seconds, as of the latest look."""
        return self._lessons.fell_at

    def study(self) -> list[str]:
        """Loads what others have learned, and learns what was graded since, as far as that fits into one turn; gives
        the models that were found to do worse than they did. It reads the ledger, so an event loop gives it to a
        thread."""
        with self._studying:
            if self._clock.steady() >= self._rest_until:
                self._take_turn(MOST_PORTIONS)
            changed, self._changed = self._changed, []
        return changed

    def _begin(self) -> None:
        """A first look. Most programs do not live to see another turn, so some grades are learned here too."""
        with self._studying:
            if not self._has_studied:
                self._take_turn(1)

    def _take_turn(self, portions: int) -> None:
        try:
            self._study(portions)
        except Exception as error:  # whatever lies in a ledger, calls are served, by what was learned before
            self._rest_until = self._clock.steady() + REST
            self._tell(type(error).__name__, error)
        else:
            self._tell("")
        finally:
            self._has_studied = True

    def _study(self, portions: int) -> None:
        """First what is only read: it is known, too, where the ledger cannot be written."""
        if self._clock.steady() >= self._reload_at:
            self._reload_at = self._clock.steady() + RELOAD_EVERY
            self._reloaded = self._remembered()
        if self._enabled:
            self._load()
        if self._outcomes.record():
            self._reload_at = min(self._reload_at, self._clock.steady() + RELOAD_AFTER_FAILURES)
        while self._enabled and portions and self._learn_grades():
            portions -= 1

    def _tell(self, fault: str, error: Exception | None = None) -> None:
        if fault == self._fault:
            return
        self._fault = fault
        if error is None:
            self._warn("Grades are studied again.")
        else:
            why = error.message if isinstance(error, LedgerError) else f"{fault}: {error}"
            self._warn(f"Grades cannot be studied, so nothing is learned from them for now. {why}")

    def _load(self) -> bool:
        """Whether there was anything new."""
        stored, before = self._ledger.states.latest(), self._router
        self._router = self._router_in_use()
        if stored is None:
            # What is known may be from another ledger, which was moved away.
            self._graded, self._through, self._lessons = RouteState(), 0, Lessons({}, {})
            return False
        if stored.version == self._graded.version and before.digest == self._router.digest:
            return False
        lessons, through = self._readable(stored)
        if lessons.router != self._router.digest:
            lessons = forgotten(lessons, through)
        learned = RouteState(version=stored.version, evidence=lessons.evidence, drift=lessons.drift)
        self._graded, self._through = with_beliefs(sound(learned, through)), through
        self._lessons = structs.replace(lessons, passed=still_passed(lessons, through))
        return True

    def _readable(self, stored: StoredState) -> tuple[Lessons, int]:
        """What was learned, and up to which grade.

        A newest version that cannot be read was damaged, or a newer pointsman wrote it. Learning goes on from the
        newest one that can be, and is stored after the other: nothing is lost by that, since what is believed follows
        from the grades, and these are in the ledger. A newer pointsman that runs beside this one reads what this one
        stores. If this one waited instead, whoever steps back to an older version for good would never learn again.
        """
        lessons = decode_lessons(stored.state)
        if lessons is not None:
            return lessons, stored.through
        if not self._was_told:
            self._was_told = True
            self._warn(
                f"What was learned from grades (version {stored.version} of the states in {self._ledger.store.path}) "
                "cannot be read: a newer pointsman wrote it, or it was damaged. It is learned anew, from the grades "
                "since the last version that can be read. If a newer pointsman uses this home, upgrade this one."
            )
        for earlier in self._ledger.states.kept():
            lessons = decode_lessons(earlier.state)
            if lessons is not None:
                return lessons, earlier.through
        return Lessons({}, {}), 0

    def _learn_grades(self) -> bool:
        """Whether there may be more."""
        fresh = self._ledger.feedback.graded(self._through, MOST_GRADES)
        # What was said anew of those that wait is among the fresh ones, once all of these are read.
        back = self._come_back() if len(fresh) < MOST_GRADES else []
        if not (fresh or back):
            return False
        before, through = self._graded, fresh[-1].number if fresh else self._through
        # What comes back is learned with the last of the fresh ones, and bears its number.
        rows = [*(structs.replace(one, number=through) for one in self._found(back)), *fresh]
        read = read_grades(rows, before, self._through, self._expects, self._router.since)
        after = learn(before, read.grades)
        changed, now = changed_models(before, after), self._clock.wall()
        fell_at = {**self._lessons.fell_at, **dict.fromkeys(changed, now)}
        passed = self._waiting_after({*(one.first for one in back), *(one.first for one in fresh)}, read.passed)
        lessons = Lessons(dict(after.evidence), dict(after.drift), self._router.digest, fell_at, passed)
        stored = StoredState(after.version, now, through, encode_lessons(lessons))
        if not self._ledger.states.add(stored, still_held(read.taught, self._through, after)):
            return self._load()  # another process was quicker: begin again from what it learned
        self._graded, self._through, self._lessons = after, through, lessons
        self._changed += changed
        return len(fresh) == MOST_GRADES

    def _come_back(self) -> list[Passed]:
        """Those that waited for a model which is known again."""
        waiting = self._lessons.passed
        known = {model for model in {one.model for one in waiting} if self._expects(model, None) is not None}
        return [one for one in waiting if one.model in known]

    def _waiting_after(self, read: Collection[int], passed: Sequence[Passed]) -> tuple[Passed, ...]:
        """All that wait from now on. Whoever was heard again, by the number of his first word, waits anew or not at
        all."""
        return tuple([*(one for one in self._lessons.passed if one.first not in read), *passed][-MOST_PASSED:])

    def _found(self, passed: Sequence[Passed]) -> Iterator[Graded]:
        """As they stand in the ledger: without what was erased, or said anew while it waited."""
        for one in passed:
            yield from (row for row in self._ledger.feedback.graded(one.number - 1, 1) if row.number == one.number)

    def _learn_now(self) -> RouteState:
        """Before the first look the latest entries are kept: how fast models are is not known without the others."""
        if not self._has_studied:
            del self._entries[:-MOST_OUTCOMES]
            return RouteState()
        attempted = self._attempted or RouteState()
        if self._reloaded is not None:
            reloaded, self._reloaded = self._reloaded, None
            is_first = self._attempted is None
            attempted = reloaded if is_first else structs.replace(reloaded, version=attempted.version + 1)
        entries, self._entries = self._entries, []
        outcomes = outcomes_of(entries)
        self._attempted = learn(attempted, outcomes) if outcomes else attempted
        return self._attempted

    def _remembered(self) -> RouteState:
        """What calls of all processes have taught."""
        spent, explored = spent_and_explored(self._ledger.queries.chosen(self._clock.wall() - SPENT_IN))
        seen = seen_by(self._ledger.queries.speeds())
        lengths = all_lengths(one.lengths for one in seen.values())
        return RouteState(seen=seen, lengths=lengths, spent=spent, explored=explored)
