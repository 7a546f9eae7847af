"""What a gateway has learned: how fast models are, from its own calls; how good, from what anybody graded.

Grades lie in the ledger, and so does what was learned of them, in numbered versions: each process of a machine loads
the newest one, and whichever comes first adds the next. So all of them believe the same, and nothing is counted twice.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct, structs

from ..core import FAULTS_OF_UPSTREAMS, Clock, LedgerError, Nanos
from ..ledger import Entry, Feedback, Graded, Ledger, StoredState, automatic
from ..routing import (
    Drift,
    Evidence,
    Grade,
    Outcome,
    Prompt,
    RouteState,
    Seen,
    changed_models,
    learn,
    sound,
    with_beliefs,
)

MOST_OUTCOMES = 256
RELOAD_EVERY = 600.0
"""Seconds after which it is read anew how fast and how sound models are: of the latest calls of all processes, so that
an outage of this morning is forgotten, though nobody has asked the model since."""
MOST_GRADES = 500
"""That are learned at once: some milliseconds."""


class Learning:
    """The RouteState of a gateway."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._entries: list[Entry] = []
        self._outcomes: list[Feedback] = []
        self._attempted: RouteState | None = None
        """What attempts have taught; belongs to whoever asks for the state."""
        self._reloaded: RouteState | None = None
        """The same, read anew by whoever studies."""
        self._reload_at = clock.steady() + RELOAD_EVERY
        self._graded = RouteState()
        """What grades have taught; belongs to whoever studies."""
        self._has_studied = False
        self._through = 0
        self._changed: list[str] = []
        self._studying = threading.Lock()

    def add(self, entries: Sequence[Entry]) -> None:
        """What they tell of quality by themselves is recorded when grades are studied next. The rest is kept until
        somebody asks for the state: most calls name their model, and nobody does."""
        self._entries += entries
        self._outcomes += [told for entry in entries if entry.error and (told := automatic(entry)) is not None]
        if len(self._entries) >= MOST_OUTCOMES:
            self._learn_now()

    @property
    def state(self) -> RouteState:
        if not self._has_studied:
            self.study()
        attempted, graded = self._learn_now(), self._graded
        return structs.replace(
            attempted,
            version=attempted.version + graded.version,
            evidence=graded.evidence,
            drift=graded.drift,
            beliefs=graded.beliefs,
        )

    def study(self) -> list[str]:
        """Loads what others have learned, and learns what was graded since; gives the models that were found to do
        worse than they did. It reads the ledger, so an event loop gives it to a thread. A ledger that cannot be read
        or written now is no reason not to serve."""
        with self._studying, suppress(LedgerError):
            self._has_studied = True
            if self._clock.steady() >= self._reload_at:
                self._reload_at = self._clock.steady() + RELOAD_EVERY
                self._reloaded = _remembered(self._ledger)
            self._record_outcomes()
            self._load()
            while self._learn_grades():
                pass
        changed, self._changed = self._changed, []
        return changed

    def _record_outcomes(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        for told in outcomes:
            self._ledger.feedback.add(told)

    def _load(self) -> bool:
        """Whether there was anything new."""
        stored = self._ledger.states.latest()
        if stored is None or stored.version == self._graded.version:
            return False
        try:
            lessons = _decode(stored.state)
        except msgspec.DecodeError:
            return False  # of a version of pointsman to come
        learned = RouteState(version=stored.version, evidence=lessons.evidence, drift=lessons.drift)
        self._graded = with_beliefs(sound(learned))
        self._through = stored.through
        return True

    def _learn_grades(self) -> bool:
        """Whether there may be more."""
        graded = self._ledger.feedback.graded(self._through, MOST_GRADES)
        if not graded:
            return False
        before, through = self._graded, graded[-1].number
        new = [one for one in graded if one.first > self._through]  # who changes his mind counts once
        after = learn(before, [grade for one in new if (grade := _grade(one)) is not None])
        lessons = _encode(_Lessons(dict(after.evidence), dict(after.drift)))
        if not self._ledger.states.add(StoredState(after.version, self._clock.wall(), through, lessons)):
            return self._load()  # another process was quicker: begin again from what it learned
        self._graded, self._through = after, through
        self._changed += changed_models(before, after)
        return len(graded) == MOST_GRADES

    def _learn_now(self) -> RouteState:
        entries, self._entries = self._entries, []
        if self._attempted is None:
            self._attempted = _remembered(self._ledger)
        if outcomes := _outcomes(entries):
            self._attempted = learn(self._attempted, outcomes)
        if self._reloaded is not None:  # the entries are in what was read, or soon will be
            seen, self._reloaded = self._reloaded.seen, None
            self._attempted = structs.replace(self._attempted, version=self._attempted.version + 1, seen=seen)
        return self._attempted


class _Lessons(Struct, frozen=True, array_like=True):
    """What is stored of a state: what follows from grades alone."""

    evidence: dict[str, Evidence]
    drift: dict[str, Drift]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Lessons).decode


def _grade(graded: Graded) -> Grade | None:
    """None where the call was not routed, or its prompt not recorded: then nothing is known to learn it by."""
    from ..routing.learned.reading import context, unpack  # late: it brings numpy, and most processes see no grade

    entry, feedback = graded.entry, graded.feedback
    weighed = next((one for one in entry.candidates if one.model == entry.model), None)
    if weighed is None or weighed.prior is None or not 0 <= weighed.prior <= 1 or not entry.features:
        return None
    try:
        vector = Prompt.decode(entry.features).vector
        if not vector:
            return None
        seen_as = context(unpack(vector))
    except (LedgerError, ValueError):
        return None  # features of another version
    return Grade(
        model=entry.model,
        context=tuple(map(float, seen_as)),
        score=feedback.score,
        prior=weighed.prior,
        reliability=feedback.reliability,
    )


def _outcomes(entries: Sequence[Entry]) -> list[Outcome]:
    """Without what says nothing of its model: its caller left, or was at fault, or the key was."""
    return [
        Outcome(
            entry.model,
            entry.status == "ok",
            entry.seconds,
            entry.ttft,
            0 if (usage := entry.usage) is None else usage.output + usage.reasoning,
            spent=(entry.cost or Nanos(0)) if entry.candidates else Nanos(0),
            explored=_explored(entry),
        )
        for entry in entries
        if entry.status != "cancelled" and (not entry.error or entry.error in FAULTS_OF_UPSTREAMS)
    ]


def _explored(entry: Entry) -> Nanos:
    """What the choice cost more than that of the best score was expected to cost."""
    serving = [one for one in entry.candidates if one.score is not None]
    if not serving:
        return Nanos(0)
    best = max(serving, key=lambda one: one.score or 0.0)
    chosen = next((one for one in serving if one.model == entry.model), best)
    if chosen is best or not chosen.probability or chosen.cost is None or best.cost is None:
        return Nanos(0)
    return Nanos(max(0, round(chosen.cost - best.cost)))


def _remembered(ledger: Ledger) -> RouteState:
    """What earlier processes saw. A ledger that cannot be read now is no reason not to serve."""
    try:
        speeds = ledger.queries.speeds()
    except LedgerError:
        return RouteState()
    return RouteState(
        seen={
            speed.model: Seen(
                calls=speed.attempts,
                failed=speed.failed,
                ttft=speed.ttft,
                seconds=speed.seconds,
                timed=speed.ok,
                output_tokens=speed.output_tokens,
            )
            for speed in speeds
        }
    )
