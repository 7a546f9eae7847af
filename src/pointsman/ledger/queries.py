"""What the ledger can tell: costs by a dimension, the performance of each model, single attempts."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from statistics import quantiles
from typing import Final, Literal, get_args

from msgspec import Struct, structs

from ..core import FAULTS_OF_UPSTREAMS, Finish, InvalidCall, Nanos, Weighed
from .candidates import unpack_drawn
from .entries import Body, Entry
from .names import Names
from .rows import SELECT_ENTRIES, pack_id, read_details, row_entry
from .store import Store

By = Literal["model", "endpoint", "provider", "task", "key", "user", "tag", "day", "strategy", "status", "deployment"]


class CostRow(Struct, frozen=True):
    """The attempts of one group. `cost` and `list_cost` are sums of what is known."""

    group: str
    """'' for attempts that have none. Days are UTC, 'YYYY-MM-DD'. An attempt with two tags counts in two groups."""
    calls: int
    attempts: int
    ok: int
    input_tokens: int
    output_tokens: int
    cost: Nanos
    unknown_costs: int
    """Attempts whose cost nobody knows: when more than 0, `cost` is a lower bound."""
    list_cost: Nanos
    unknown_list_costs: int = 0
    """Attempts with a list price that nobody knows: when more than 0, `list_cost` is a lower bound."""


class Spread(Struct, frozen=True):
    """A mean and two percentiles of `count` values of its own; None where there is none."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None


class PerformanceRow(Struct, frozen=True):
    """One model. Times are seconds of the attempts that were ok; tokens and costs are of all attempts."""

    model: str
    requests: int
    ok: int
    cancelled: int
    useless: float
    """Of those that were ok: answers that failed by what they were, each counted as far as that is to be believed."""
    success_rate: float | None
    """Of the attempts that were not cancelled, those that were ok and of use; None where all were cancelled."""
    seconds: Spread
    ttft: Spread
    mean_tokens: float | None
    """Of the attempts whose tokens are known."""
    total_tokens: int
    mean_cost: Nanos | None
    """Of the attempts whose cost is known."""
    total_cost: Nanos
    unknown_costs: int


class Speed(Struct, frozen=True):
    """Sums over attempts of one model; seconds. `failed`: by its own fault; `useless`: whose answer failed by what it
    was, each counted as far as that is to be believed. `ttft`, `seconds` and `output_tokens`: of those that were ok,
    where one that came whole has no time to its first content. What stands below `useless`: of those that were
    streamed, and whose tokens are known."""

    model: str
    attempts: int
    ok: int
    failed: int
    ttft: float
    seconds: float
    output_tokens: int
    useless: float
    streamed: int
    tokens: float
    """That were read, without those from a cache."""
    tokens_ttft: float
    """Sum of `ttft`."""
    tokens_squared: float
    tokens_by_ttft: float
    """Sum of the products."""
    lengths: Mapping[tuple[str, str], tuple[int, float]] = {}
    """By complexity and task of the prompt, '' where it was not read: of answers that came to their own end, and whose
    tokens are known, their number and their tokens."""


class Chosen(Struct, frozen=True):
    """The first attempt of a routed call."""

    model: str
    cost: Nanos | None
    candidates: tuple[Weighed, ...]
    """Those that it was drawn among, each with its score, probability and expected cost; () where it was certain."""


class Queries:
    """Each query opens a connection of its own, so they may be asked from any thread. All raise LedgerError.

    `since` (inclusive) and `until` (exclusive) are in unix seconds.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def cost(self, by: By = "model", *, since: float | None = None, until: float | None = None) -> list[CostRow]:
        """The dearest group first. Raises InvalidCall for a dimension that there is not."""
        if by not in get_args(By):
            raise InvalidCall(f"Costs by {by!r} are not kept; try {', '.join(get_args(By))}.", param="by")
        group, tables = _GROUPS.get(by, (f"contexts.{by}", _ENTRIES))
        sql = f"SELECT {group} AS label, {_SUMS} FROM {tables} {_PERIOD} GROUP BY label ORDER BY cost_sum DESC, label"
        with self._reading() as connection:
            rows = connection.execute(sql, _period(since, until)).fetchall()
        return [CostRow(*row) for row in rows]

    def performance(self, *, since: float | None = None, until: float | None = None) -> list[PerformanceRow]:
        """By model, in the order of their names."""
        period = _period(since, until)
        with self._reading() as connection:
            rows = connection.execute(_PERFORMANCE, period).fetchall()
            seconds = _by_model(connection.execute(_TIMES.format(column="seconds"), period))
            ttft = _by_model(connection.execute(_TIMES.format(column="ttft"), period))
            useless = dict[str, float](connection.execute(_USELESS, period).fetchall())
        return [
            PerformanceRow(
                model=model,
                requests=requests,
                ok=ok,
                cancelled=cancelled,
                useless=useless.get(model, 0.0),
                success_rate=(ok - useless.get(model, 0.0)) / (requests - cancelled) if requests > cancelled else None,
                seconds=_spread(seconds.get(model, [])),
                ttft=_spread(ttft.get(model, [])),
                mean_tokens=tokens / tokens_known if tokens_known else None,
                total_tokens=tokens,
                mean_cost=Nanos(round(cost / (requests - unknown))) if requests > unknown else None,
                total_cost=Nanos(cost),
                unknown_costs=unknown,
            )
            for model, requests, ok, cancelled, tokens, tokens_known, cost, unknown in rows
        ]

    def speeds(self, latest: int = 2000) -> list[Speed]:
        """How fast each model was, over the `latest` attempts. A ledger that is not there yet is not made."""
        if not self._store.path.exists():
            return []
        with self._reading() as connection:
            connection.create_function("cached_tokens", 1, _cached_tokens, deterministic=True)
            lengths: dict[str, dict[tuple[str, str], tuple[int, float]]] = {}
            for model, complexity, task, answers, tokens in connection.execute(_LENGTHS, (latest,)):
                lengths.setdefault(model, {})[complexity, task] = (answers, tokens)
            speeds = [Speed(*row) for row in connection.execute(_SPEEDS, (latest,))]
        return [structs.replace(one, lengths=lengths.get(one.model, {})) for one in speeds]

    def chosen(self, since: float, latest: int = 1000) -> list[Chosen]:
        """The `latest` choices of routes, the newest first: without those whose attempt tells nothing of the model.
        Calls that named their model are passed over, up to a bound. A ledger that is not there yet is not made."""
        if not self._store.path.exists():
            return []
        with self._reading() as connection:
            names = Names(connection)
            rows = connection.execute(_CHOSEN, (MOST_LOOKED_AT, since, latest))
            return [Chosen(model, cost, _drawn_among(details, names)) for model, cost, details in rows]

    def recent(self, count: int = 50) -> list[Entry]:
        """The latest attempts, the newest first, each with its decision."""
        with self._reading() as connection:
            names = Names(connection)
            rows = connection.execute(f"{SELECT_ENTRIES} ORDER BY at DESC, number DESC LIMIT ?", (count,)).fetchall()
            return [row_entry(row, names) for row in rows]

    def get(self, attempt_id: str) -> Entry | None:
        with self._reading() as connection:
            row = connection.execute(f"{SELECT_ENTRIES} WHERE attempt_id = ?", (pack_id(attempt_id),)).fetchone()
            return row_entry(row, Names(connection)) if row else None

    def find(self, beginning: str) -> list[Entry]:
        """The attempts whose id, or whose call's id, begins so, in the order of time. Looks through all of them."""
        with self._reading() as connection:
            names = Names(connection)
            rows = connection.execute(f"{SELECT_ENTRIES} WHERE {_BEGINS} ORDER BY at, number", {"beginning": beginning})
            return [row_entry(row, names) for row in rows]

    def body(self, attempt_id: str) -> Body | None:
        """The prompt and the answer, where they were kept."""
        with self._reading() as connection:
            sql = "SELECT at, prompt, answer FROM bodies WHERE attempt_id = ?"
            row = connection.execute(sql, (pack_id(attempt_id),)).fetchone()
        return Body(attempt_id, *row) if row else None

    def entries(self, *, since: float | None = None, until: float | None = None) -> Iterator[Entry]:
        """Every attempt of a period in the order of time, read as it goes."""
        with self._reading() as connection:
            names = Names(connection)
            sql = f"{SELECT_ENTRIES} {_PERIOD} ORDER BY at, number"
            for row in connection.execute(sql, _period(since, until)):
                yield row_entry(row, names)
                names.trim()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._store.explaining("read"), closing(self._store.connect()) as connection:
            yield connection


def parse_since(text: str, now: float) -> float:
    """'30m', '24h', '7d', '2w' (before `now`), or a date or time ('2026-11-01', '2026-11-01T08:00+01:00'; UTC where it
    names no zone) → unix seconds. Raises InvalidCall."""
    span = re.fullmatch(r"([0-9]{1,9})([mhdw])", text.strip())
    if span:
        return now - int(span[1]) * _SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidCall(
            f"{text!r} is no time: write a span such as 30m, 24h, 7d or 2w, or a date such as 2026-11-01.",
            param="since",
        ) from error


CUT_SHORT: Final[tuple[Finish, ...]] = ("length", "filter", "refusal", "pause")
"""How answers end that tell little of how long answers are."""

MOST_LOOKED_AT: Final = 20_000
"""Attempts, for the latest choices among them: some milliseconds."""

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}

_PERIOD = "WHERE at >= ? AND at < ?"

_ENTRIES = "entries CROSS JOIN contexts ON contexts.id = entries.context"

_IS_OK = "contexts.status = 'ok'"
_OK = f"count(*) FILTER (WHERE {_IS_OK})"
_CANCELLED = "count(*) FILTER (WHERE contexts.status = 'cancelled')"

# What failed before it had begun used nothing, so it has a list price of nothing, unless its cost is unknown too.
_UNLISTED = "count(*) FILTER (WHERE list_cost IS NULL AND (input_tokens IS NOT NULL OR cost IS NULL))"

_SUMS = f"""count(DISTINCT nullif(call_id, '')), count(*), {_OK},
    coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
    coalesce(sum(cost), 0) AS cost_sum, count(*) - count(cost), coalesce(sum(list_cost), 0), {_UNLISTED}"""

_PERFORMANCE = f"""
SELECT model, count(*), {_OK}, {_CANCELLED}, coalesce(sum(input_tokens + output_tokens), 0), count(input_tokens),
    coalesce(sum(cost), 0), count(*) - count(cost)
FROM {_ENTRIES} {_PERIOD} GROUP BY 1 ORDER BY 1
"""

_FAULTS = ", ".join(f"'{kind}'" for kind in sorted(FAULTS_OF_UPSTREAMS))

_WAS_TIMED = f"{_IS_OK} AND ttft IS NOT NULL AND input_tokens IS NOT NULL"

_SPEEDS = f"""
SELECT model, count(*), {_OK}, count(*) FILTER (WHERE contexts.error IN ({_FAULTS})),
    coalesce(sum(ttft) FILTER (WHERE {_IS_OK}), 0), coalesce(sum(seconds) FILTER (WHERE {_IS_OK}), 0),
    coalesce(sum(output_tokens) FILTER (WHERE {_IS_OK}), 0),
    coalesce(sum((
        SELECT max(reliability) FROM feedback
        WHERE feedback.call_id = entries.call_id AND source = 'automatic' AND feedback.attempt_id = entries.attempt_id
    )), 0.0),
    count(*) FILTER (WHERE {_WAS_TIMED}), total(tokens) FILTER (WHERE {_WAS_TIMED}),
    total(ttft) FILTER (WHERE {_WAS_TIMED}), total(tokens * tokens) FILTER (WHERE {_WAS_TIMED}),
    total(tokens * ttft) FILTER (WHERE {_WAS_TIMED})
FROM (
    SELECT *, max(0.0, input_tokens - cached_tokens(details)) AS tokens FROM entries ORDER BY number DESC LIMIT ?
) AS entries JOIN contexts ON contexts.id = entries.context
WHERE model != '' AND contexts.strategy != 'race' GROUP BY 1
"""
"""Of those that race only the fastest leaves its times."""

_LENGTHS = f"""
SELECT model, complexity, task, count(*), total(output_tokens)
FROM (SELECT * FROM entries ORDER BY number DESC LIMIT ?) AS entries JOIN contexts ON contexts.id = entries.context
WHERE model != '' AND {_IS_OK} AND output_tokens IS NOT NULL
    AND finish NOT IN ({", ".join(f"'{finish}'" for finish in CUT_SHORT)})
GROUP BY 1, 2, 3
"""

_CHOSEN = f"""
SELECT contexts.model, cost, details
FROM (SELECT number, at, context, decision_id, cost, details FROM entries ORDER BY number DESC LIMIT ?) AS entries
    CROSS JOIN contexts ON contexts.id = entries.context
WHERE at >= ? AND decision_id != '' AND contexts.retry = 0 AND contexts.status != 'cancelled'
    AND contexts.error IN ('', {_FAULTS})
ORDER BY number DESC LIMIT ?
"""

_TIMES = f"SELECT model, {{column}} FROM {_ENTRIES} {_PERIOD} AND {{column}} IS NOT NULL AND {_IS_OK}"

_USELESS = f"""
SELECT model, total(reliability)
FROM feedback CROSS JOIN entries ON entries.attempt_id = feedback.attempt_id AND entries.call_id = feedback.call_id
    CROSS JOIN contexts ON contexts.id = entries.context
WHERE entries.at >= ? AND entries.at < ? AND source = 'automatic' AND {_IS_OK} GROUP BY 1
"""

_BEGINS = " OR ".join(
    f"substr(CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) ELSE {column} END, 1, length(:beginning))"
    " = :beginning"
    for column in ("attempt_id", "call_id")
)


_GROUPS = {
    "key": ("coalesce(names.text, '')", f"{_ENTRIES} LEFT JOIN names ON names.id = entries.key"),
    "user": ("coalesce(names.text, '')", f"{_ENTRIES} LEFT JOIN names ON names.id = entries.user"),
    "day": ("strftime('%Y-%m-%d', at, 'unixepoch')", _ENTRIES),
    "tag": (
        "coalesce(tag.value, '')",
        f"{_ENTRIES} LEFT JOIN names ON names.id = entries.tags LEFT JOIN json_each(names.text) AS tag",
    ),
}
"""Of the dimensions that are not in a context: (what its groups are named, tables)."""


def _cached_tokens(packed: object) -> float:
    """Those of a prompt that were read from a cache."""
    details = read_details(packed) if isinstance(packed, bytes) else None
    return float(details.cache_read) if details is not None else 0.0


def _drawn_among(packed: bytes, names: Names) -> tuple[Weighed, ...]:
    """() where it was certain who would be chosen."""
    details = read_details(packed)
    if details is None or details.probability is None or details.probability >= 1:
        return ()
    return unpack_drawn(details.candidates, details.estimates, names)


def _period(since: float | None, until: float | None) -> tuple[float, float]:
    return (float("-inf") if since is None else since, float("inf") if until is None else until)


def _by_model(rows: Iterator[tuple[str, float]] | sqlite3.Cursor) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for model, value in rows:
        values.setdefault(model, []).append(value)
    return values


def _spread(values: Sequence[float]) -> Spread:
    if not values:
        return Spread(0, None, None, None)
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Spread(1, mean, values[0], values[0])
    twentieths = quantiles(values, n=20, method="inclusive")
    return Spread(len(values), mean, twentieths[9], twentieths[18])
