"""What a router is fitted on: graded answers, one row a prompt and one column a model.

They come from a data set of outcomes, or from the ledger: calls whose answers were graded. A ledger keeps the text of a
prompt only where it was told to; else there is the vector that was read off it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ..core import Chat, InvalidCall, LedgerError, Message, Text, Weighed
from ..core.money import NANOS_PER_USD
from ..dialects import DIALECTS
from ..ledger import Body, Entry
from ..ledger.feedback import Graded
from ..routing import Prompt, read_prompt
from ..routing.learned import unpack
from ..routing.wrappers import READ_AT_MOST
from .outcomes import Outcomes, told

Floats = NDArray[np.float64]

CONTRADICTION = 0.5
"""Two grades of one prompt and model that are so far apart cannot both be right."""


class Rows(Struct, frozen=True):
    """n prompts and m models. Unknown numbers are NaN, unknown words ''."""

    models: tuple[str, ...]
    prompts: tuple[str, ...]
    """'' where no text was kept."""
    vectors: tuple[bytes, ...]
    """The packed reading of each prompt without text; b'' for one that has it."""
    chars: Floats
    """(n,) characters of each prompt."""
    stems: tuple[str, ...]
    """Rows of one stem are variants of one question: they are fitted on together, or held out together."""
    kinds: tuple[str, ...]
    """The task type of each, as the profiles of models know it."""
    tasks: tuple[str, ...] | None
    """The task of each, as a data set names it; None where none does."""
    scores: Floats
    """(n, m) 0 to 1."""
    costs: Floats
    """(n, m) US dollars a call."""
    chances: Floats
    """(n, m) how likely it was that this model would be the one to answer, where a policy drew it and wrote that down;
    NaN where it is not known."""
    expected: Floats
    """(n, m) the score that was expected of this model when it was decided who answers; NaN where it is not known."""
    times: Floats
    """(n,) unix seconds."""
    repeated: int = 0
    """Grades that say again what an earlier one of the same prompt and model said."""
    contradicting: int = 0
    """Grades that say another thing: the mean of them counts."""
    remarks: tuple[str, ...] = ()
    """What was odd about them, in sentences."""

    def __len__(self) -> int:
        return len(self.stems)

    @property
    def grades(self) -> int:
        return int(np.isfinite(self.scores).sum())

    @property
    def have_text(self) -> bool:
        return not any(self.vectors)

    def take(self, which: NDArray[np.bool_]) -> Rows:
        """The rows that a mask (n,) names."""
        kept = np.flatnonzero(which).tolist()
        return msgspec.structs.replace(
            self,
            prompts=tuple(self.prompts[i] for i in kept),
            vectors=tuple(self.vectors[i] for i in kept),
            chars=self.chars[kept],
            stems=tuple(self.stems[i] for i in kept),
            kinds=tuple(self.kinds[i] for i in kept),
            tasks=None if self.tasks is None else tuple(self.tasks[i] for i in kept),
            scores=self.scores[kept],
            costs=self.costs[kept],
            chances=self.chances[kept],
            expected=self.expected[kept],
            times=self.times[kept],
        )


def rows_of_outcomes(outcomes: Outcomes) -> Rows:
    """A data set as rows. What it keeps back for tests is left out, and told."""
    of_tests = np.array([split == "test" for split in outcomes.splits], dtype=bool)
    remarks = told(outcomes.found)
    if of_tests.any():
        remarks += (f"Left out as kept back for tests (split `test`): {int(of_tests.sum()):,} of the prompts.",)
        outcomes = outcomes.rows(~of_tests)
    n, m = outcomes.scores.shape
    return Rows(
        models=outcomes.models,
        prompts=outcomes.prompts,
        vectors=(b"",) * n,
        chars=np.array([len(text) for text in outcomes.prompts], dtype=float),
        stems=tuple(stem(text) for text in outcomes.prompts),
        kinds=tuple(_kind(text) for text in outcomes.prompts),
        tasks=outcomes.known_tasks(),
        scores=outcomes.scores,
        costs=outcomes.costs,
        chances=np.full((n, m), np.nan),
        expected=np.full((n, m), np.nan),
        times=np.full(n, np.nan),
        repeated=outcomes.found.doubled,
        contradicting=outcomes.found.contradicted,
        remarks=remarks,
    )


def rows_of_ledger(graded: Iterable[Graded], body: Callable[[str], Body | None]) -> Rows:
    """Graded calls as rows. `body` gives what was kept of an attempt, by its id. Calls of which neither the text nor a
    vector was kept are left out, and told."""
    gathered = _Gathered()
    for one in graded:
        asked = _asked(one.entry, body(one.entry.attempt_id))
        if asked is None:
            gathered.unreadable += 1
        else:
            gathered.add(one, asked)
    return gathered.rows()


def stem(text: str) -> str:
    """What variants of one question have in common: its words in lower case, without spacing, punctuation and the
    options that it offers ('A. …', '(b) …' on lines of their own)."""
    lines = [line for line in text.lower().splitlines() if not _OPTION.match(line)]
    return " ".join(_WORD.findall(" ".join(lines))) or text.strip().lower()


def fold_of(stem: str, folds: int) -> int:
    """The same for a stem whatever else is in the data: what was held out once stays so as a ledger grows."""
    return int.from_bytes(hashlib.sha256(stem.encode("utf-8", "replace")).digest()[:8]) % folds


_OPTION = re.compile(r"\s*\(?[a-j][.):]\s")
_WORD = re.compile(r"[^\W_]+")


class _Asked(Struct, frozen=True):
    """What a call asked: as text, or as the vector that was read off it."""

    text: str
    vector: bytes
    chars: int
    kind: str


def _asked(entry: Entry, body: Body | None) -> _Asked | None:
    chat = None if body is None else _chat(entry.dialect, body.prompt)
    if chat is not None:
        prompt = read_prompt(chat)
        if prompt.question:
            return _Asked(prompt.question, b"", len(prompt.question), entry.task or prompt.task)
    try:
        features = Prompt.decode(entry.features)
        unpack(features.vector)
    except (LedgerError, ValueError):
        return None
    return _Asked("", features.vector, min(features.question_chars, READ_AT_MOST), entry.task or features.task)


def _chat(dialect: str, prompt: bytes) -> Chat | None:
    """A kept prompt: the body that the caller sent, in its dialect, or our own call. None where it is neither."""
    spoken = DIALECTS.get(dialect)
    try:
        if spoken is None or spoken.door is None:
            return msgspec.json.decode(prompt, type=Chat)
        return spoken.door.decode_call(prompt)
    except (InvalidCall, msgspec.DecodeError, UnicodeError):
        return None


def _kind(text: str) -> str:
    return read_prompt(Chat((Message("user", (Text(text),)),))).task


class _Cell(Struct):
    """The grades of one prompt and model."""

    weight: float = 0.0
    total: float = 0.0
    """Of the scores, by the reliability of who gave them."""
    calls: dict[str, float] = {}
    """Call → US dollars; NaN where nobody knows. A call that is graded twice is paid for once."""

    @property
    def score(self) -> float:
        return self.total / self.weight

    @property
    def cost(self) -> float:
        known = [cost for cost in self.calls.values() if not math.isnan(cost)]
        return sum(known) / len(known) if known else math.nan


class _Row(Struct):
    """One prompt, and what became of it."""

    asked: _Asked
    cells: dict[str, _Cell] = {}
    """By model."""
    drawn: dict[str, Weighed] = {}
    """By model: what a policy knew that drew who answers; {} where none did, or nobody knows."""
    time: float = 0.0


class _Gathered:
    """Puts graded calls of the same prompt into one row."""

    def __init__(self) -> None:
        self.by_prompt: dict[tuple[str, bytes], _Row] = {}
        self.unreadable = 0
        self.repeated = 0
        self.contradicting = 0

    def add(self, graded: Graded, asked: _Asked) -> None:
        feedback, entry = graded.feedback, graded.entry
        # What is noticed automatically is failures alone: a model that is asked often would seem the worst.
        if not feedback.reliability or feedback.source == "automatic":
            return
        row = self.by_prompt.setdefault((asked.text.strip(), asked.vector), _Row(asked))
        row.drawn = _drawn(entry) if not row.cells else {} if _is_another(row, entry) else row.drawn
        cell = row.cells.setdefault(entry.model, _Cell())
        if cell.weight:
            is_far = abs(feedback.score - cell.total / cell.weight) >= CONTRADICTION
            self.contradicting += is_far
            self.repeated += not is_far
        cell.weight += feedback.reliability
        cell.total += feedback.reliability * feedback.score
        cell.calls[entry.call_id] = math.nan if entry.cost is None else entry.cost / NANOS_PER_USD
        row.time = max(row.time, entry.at)

    def rows(self) -> Rows:
        rows = list(self.by_prompt.values())
        models = tuple(sorted({model for row in rows for model in row.cells}))
        return Rows(
            models=models,
            prompts=tuple(row.asked.text for row in rows),
            vectors=tuple(row.asked.vector for row in rows),
            chars=np.array([row.asked.chars for row in rows], dtype=float),
            stems=tuple(stem(row.asked.text) if row.asked.text else row.asked.vector.hex() for row in rows),
            kinds=tuple(row.asked.kind for row in rows),
            tasks=None,
            scores=_table(rows, models, lambda row, model: row.cells[model].score if model in row.cells else math.nan),
            costs=_table(rows, models, lambda row, model: row.cells[model].cost if model in row.cells else math.nan),
            chances=_table(rows, models, _chance),
            expected=_table(rows, models, _expected),
            times=np.array([row.time for row in rows], dtype=float),
            repeated=self.repeated,
            contradicting=self.contradicting,
            remarks=self._remarks(rows),
        )

    def _remarks(self, rows: Sequence[_Row]) -> tuple[str, ...]:
        without = sum(1 for row in rows if not row.asked.text)
        said = (
            ("Left out, as neither their text nor a vector of it was kept: {:,} of the graded calls.", self.unreadable),
            ("Grades that another one of the same prompt and model agrees with: {:,}. Means count.", self.repeated),
            ("Grades that contradict another one of the same prompt and model: {:,}. Means count.", self.contradicting),
            (
                "Known by their vectors alone: {:,} of the prompts. `ledger: {{bodies: true}}` keeps their text.",
                without,
            ),
        )
        return tuple(what.format(number) for what, number in said if number)


def _drawn(entry: Entry) -> dict[str, Weighed]:
    """Of a choice that a policy drew, by model. A model that was named, or took over from another, was not drawn."""
    weighed = {candidate.model: candidate for candidate in entry.candidates if not candidate.rejected}
    served = weighed.get(entry.model)
    return weighed if entry.retry == 0 and served is not None and served.probability > 0 else {}


def _chance(row: _Row, model: str) -> float:
    if not row.drawn:
        return math.nan
    weighed = row.drawn.get(model)
    return 0.0 if weighed is None else weighed.probability


def _expected(row: _Row, model: str) -> float:
    weighed = row.drawn.get(model)
    return math.nan if weighed is None or weighed.quality is None else weighed.quality


def _is_another(row: _Row, entry: Entry) -> bool:
    """Whether the prompt was asked once before: then nobody knows the chance of both calls together."""
    return all(entry.call_id not in cell.calls for cell in row.cells.values())


def _table(rows: Sequence[_Row], models: Sequence[str], value: Callable[[_Row, str], float]) -> Floats:
    return np.array([[value(row, model) for model in models] for row in rows]).reshape(len(rows), len(models))
