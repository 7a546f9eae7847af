"""`pointsman feedback`: how good the answer to a call was."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import click
from msgspec import Struct

from ..core import InvalidCall
from ..ledger import Entry, Feedback, Ledger
from .opening import open_gateway
from .options import Number, config_option, json_option
from .terminal import print_json, show_line


class FeedbackJson(Struct, frozen=True):
    """What was graded."""

    call_id: str
    model: str
    task: str
    score: float
    source: Literal["user", "judge"]
    reliability: float


@click.command()
@click.argument("call_id", required=False)
@click.option("--last", is_flag=True, help="The latest call, instead of a CALL_ID.")
@click.option("--good", is_flag=True, help="As good as it gets: a score of 1.")
@click.option("--bad", is_flag=True, help="Of no use: a score of 0.")
@click.option("--score", type=Number(0, 1), metavar="0..1", help="Something between.")
@click.option(
    "--source",
    type=click.Choice(["user", "judge"]),
    default="user",
    show_default=True,
    help="Who says it. A user and a judge may both grade a call.",
)
@click.option(
    "--reliability",
    type=Number(0, 1),
    metavar="0..1",
    default=1.0,
    show_default=True,
    help="How much it is to be believed.",
)
@json_option
@config_option
def feedback(
    call_id: str | None,
    last: bool,
    good: bool,
    bad: bool,
    score: float | None,
    source: Literal["user", "judge"],
    reliability: float,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Say how good the answer to a call was: what is routed later learns from it.

    The beginning of a CALL_ID will do, and so will that of one of its attempts; `pointsman ledger show` lists them. A
    second grade of the same source takes the place of the first.

    \b
    Examples:
      pointsman feedback --last --good
      pointsman feedback 019c1e0f6c3a --score 0.8
      pointsman feedback 019c1e0f6c3a --bad --json
      pointsman feedback 019c1e0f6c3a --score 0.6 --source judge --reliability 0.5
    """
    given = [one for one in (1.0 if good else None, 0.0 if bad else None, score) if one is not None]
    if len(given) != 1:
        raise click.UsageError("Say one of --good, --bad and --score.")
    if (call_id is None) != last:
        raise click.UsageError("Name a call by the beginning of its id, or say --last.")
    gateway = open_gateway(config_file)
    ledger = gateway.ledger
    ledger.flush()
    call_id = _latest(ledger) if call_id is None else _one_call(ledger, call_id)
    elected = gateway.elected.find(call_id)
    entry = _answer_to(ledger, call_id, elected)
    ledger.feedback.add(
        Feedback(call_id, time.time(), given[0], source=source, reliability=reliability, attempt_id=elected)
    )
    told = FeedbackJson(entry.call_id, entry.model, entry.task, given[0], source, reliability)
    if as_json:
        print_json(told)
    else:
        task = f" ({told.task})" if told.task else ""
        by = " by a judge" if source == "judge" else ""
        show_line(f"Graded with {told.score:g} of 1{by}: {told.model}{task}, call {told.call_id}.", file=sys.stdout)


def _latest(ledger: Ledger) -> str:
    """The id of the latest call. Raises InvalidCall where there is none."""
    entry = next(iter(ledger.queries.recent(1)), None)
    if entry is None:
        raise InvalidCall("Nothing was recorded yet, so there is no latest call.", param="last")
    return entry.call_id


def _one_call(ledger: Ledger, beginning: str) -> str:
    """The id of the one call that is meant. Raises InvalidCall."""
    found = {entry.call_id for entry in ledger.queries.find(beginning)} if beginning else set()
    if len(found) == 1:
        return found.pop()
    problem = (
        f"{len(found)} calls begin with {beginning!r}: give more of the id."
        if found
        else f"The ledger has no call {beginning!r}."
    )
    raise InvalidCall(f"{problem} `pointsman ledger show` lists the latest.", param="call_id")


def _answer_to(ledger: Ledger, call_id: str, attempt_id: str) -> Entry:
    entry = ledger.feedback.target(call_id, attempt_id)
    if entry is None:
        raise InvalidCall(
            f"The call {call_id!r} has no answer to grade: it failed, or was stopped before it began. "
            f"`pointsman ledger show {call_id}` shows its attempts.",
            param="call_id",
        )
    return entry
