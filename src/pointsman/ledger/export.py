"""The ledger as JSON lines or CSV, row by row, for other programs.

Money is a decimal string in US dollars; what is unknown is null in JSON and an empty cell in CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from ..core import Weighed, to_usd
from .entries import Entry


class ExportedCandidate(Struct, frozen=True, omit_defaults=True):
    """What was expected of it stands there where something was."""

    model: str
    score: float | None
    probability: float
    rejected: str
    quality: float | None = None
    """0 to 1."""
    cost_usd: str | None = None
    seconds: float | None = None
    prior: float | None = None
    """The part of `quality` that was not learned from use."""


class ExportedRow(Struct, frozen=True):
    """One attempt as it is exported; the fields of Entry, with tokens and money spelled out."""

    attempt_id: str
    call_id: str
    time: str
    """ISO 8601, UTC."""
    model: str
    endpoint: str
    provider: str
    status: str
    error: str
    upstream_status: int | None
    seconds: float
    ttft: float | None
    input_tokens: int | None
    """Read afresh; the caches' tokens are not in it."""
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    output_tokens: int | None
    """Without the reasoning."""
    reasoning_tokens: int | None
    tokens_estimated: bool | None
    service_tier: str
    cost_usd: str | None
    list_cost_usd: str | None
    dialect: str
    op: str
    stream: bool
    retry: int
    parent_id: str
    run_id: str
    stage: str
    task: str
    complexity: str
    strategy: str
    decision_id: str
    probability: float | None
    policy: str
    state_version: str
    features: str
    """Hexadecimal."""
    candidates: tuple[ExportedCandidate, ...]
    key: str
    user: str
    session: str
    tags: tuple[str, ...]
    version: str
    finish: str
    """stop, length, tools, filter, refusal, pause or other; empty where the answer did not end."""
    conversation: str
    """A hash, the same for all routed calls of one conversation; empty for calls that named their model."""


def jsonl(entries: Iterable[Entry]) -> Iterator[str]:
    """One JSON object a line."""
    encode = msgspec.json.Encoder().encode
    for entry in entries:
        yield encode(exported(entry)).decode() + "\n"


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """A line of names, then one a row. A text that a spreadsheet would take for a formula gets a ' in front."""
    yield _line(ExportedRow.__struct_fields__)
    for entry in entries:
        yield _line([_cell(value) for value in msgspec.structs.astuple(exported(entry))])


def exported(entry: Entry) -> ExportedRow:
    usage = entry.usage
    return ExportedRow(
        attempt_id=entry.attempt_id,
        call_id=entry.call_id,
        time=_iso(entry.at),
        model=entry.model,
        endpoint=entry.endpoint,
        provider=entry.provider,
        status=entry.status,
        error=entry.error,
        upstream_status=entry.upstream_status,
        seconds=entry.seconds,
        ttft=entry.ttft,
        input_tokens=usage.input if usage else None,
        cache_read_tokens=usage.cache_read if usage else None,
        cache_write_tokens=usage.cache_write if usage else None,
        cache_write_1h_tokens=usage.cache_write_1h if usage else None,
        output_tokens=usage.output if usage else None,
        reasoning_tokens=usage.reasoning if usage else None,
        tokens_estimated=usage.estimated if usage else None,
        service_tier=usage.service_tier if usage else "",
        cost_usd=None if entry.cost is None else to_usd(entry.cost),
        list_cost_usd=None if entry.list_cost is None else to_usd(entry.list_cost),
        dialect=entry.dialect,
        op=entry.op,
        stream=entry.stream,
        retry=entry.retry,
        parent_id=entry.parent_id,
        run_id=entry.run_id,
        stage=entry.stage,
        task=entry.task,
        complexity=entry.complexity,
        strategy=entry.strategy,
        decision_id=entry.decision_id,
        probability=entry.probability,
        policy=entry.policy,
        state_version=entry.state_version,
        features=entry.features.hex(),
        candidates=tuple(_candidate(weighed) for weighed in entry.candidates),
        key=entry.key,
        user=entry.user,
        session=entry.session,
        tags=entry.tags,
        version=entry.version,
        finish=entry.finish,
        conversation=entry.conversation,
    )


def _candidate(weighed: Weighed) -> ExportedCandidate:
    return ExportedCandidate(
        model=weighed.model,
        score=weighed.score,
        probability=weighed.probability,
        rejected=weighed.rejected,
        quality=weighed.quality,
        cost_usd=None if weighed.cost is None else to_usd(round(weighed.cost)),
        seconds=weighed.seconds,
        prior=weighed.prior,
    )


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def _line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return msgspec.json.encode(value).decode() if value else ""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value


def _iso(at: float) -> str:
    """Times that no calendar holds, which only a broken clock gives, become ''."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
