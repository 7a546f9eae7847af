"""`pointsman replay`: recorded traffic decided anew by another policy. Nothing is called."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import click
from msgspec import Struct

from ..core import ConfigError, Nanos, show_usd
from ..gateway.replaying import named_policy, not_weighed, replayed
from ..gateway.yaml_file import Lines, load
from ..lab.replay import Comparison, Replay
from ..lab.replay_caches import Caches
from ..lab.replay_json import replay_json
from ..lab.replay_policies import ReplayPolicy, by_weights
from ..lab.traffic import Traffic
from ..ledger import parse_since
from ..routing import Weights
from ..stats.offpolicy import OffPolicyEstimate
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import Column, count, print_json, show_line, show_table


class PolicyFile(Struct, frozen=True, kw_only=True):
    """A policy of one's own."""

    weights: Weights
    models: tuple[str, ...] = ()
    """It may choose among these alone; () for all."""


@click.command()
@click.option(
    "--policy",
    required=True,
    metavar="P",
    help="A priority (performance, balanced, frugal, creative, analytical), logged, cheapest, always:MODEL, or a YAML "
    "file with weights.",
)
@click.option("--since", metavar="WHEN", default="30d", show_default=True, help="30m, 24h, 7d, 2w, or a date.")
@click.option("--until", metavar="WHEN", help="The same; itself not counted.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of what is left to chance."
)
@click.option(
    "--show", type=click.IntRange(0, 1000), default=0, metavar="N", help="Show N decisions that would change."
)
@json_option
@config_option
def replay(
    policy: str, since: str, until: str | None, seed: int, show: int, as_json: bool, config_file: Path | None
) -> None:
    """Decide recorded traffic anew by another policy, and estimate what that would have brought. Calls nothing.

    Quality comes from grades (`pointsman feedback`), cost from what was paid, retries and fallbacks included. Each is
    estimated in three ways (IPS: inverse propensity scores; SNIPS: the same, self-normalised; DR: doubly robust), and
    as the difference to what was logged, which is the sharpest. n_eff is how many outcomes of the policy's own the log
    is worth: below 30 nothing is said, below 200 it is weak. With dates for --since and --until, the same seed gives
    the same bytes.

    A policy of your own is a file: `weights: {quality: 1, cost: 0.5, latency: 0.15}`, and `models: [A, B]` where it may
    choose among these alone.

    \b
    Examples:
      pointsman replay --policy frugal --since 30d
      pointsman replay --policy always:gpt-5-mini --show 10
      pointsman replay --policy mine.yaml --since 2026-11-01 --until 2026-11-15 --json
    """
    now = time.time()
    begin = parse_since(since, now)
    end = None if until is None else parse_since(until, now)
    gateway = open_gateway(config_file)
    result = replayed(gateway, lambda models: read_policy(policy, models), since=begin, until=end, seed=seed, show=show)
    if as_json:
        print_json(replay_json(result, since, until))
    elif result.traffic.decisions:
        _show(result)
    else:
        show_line(_nothing(result.traffic))


def read_policy(text: str, models: Collection[str]) -> ReplayPolicy:
    """As `named_policy`, or that of a file. Raises ConfigError with file and line for what is wrong in it, too."""
    if text.endswith((".yaml", ".yml")) and not text.startswith("always:"):
        return _from_file(Path(text), models)
    return named_policy(text, models, ("FILE.yaml",))


def _from_file(path: Path, models: Collection[str]) -> ReplayPolicy:
    if not path.exists():
        raise ConfigError("There is no such file.", file=str(path))
    policy, lines = load(path, PolicyFile)
    _check_weights(policy.weights, lines)
    for index, model in enumerate(policy.models):
        if models and model not in models:
            raise lines.error(("models", index), not_weighed(model, models))
    return by_weights(path.name, policy.weights, policy.models)


def _check_weights(weights: Weights, lines: Lines) -> None:
    for name in weights.__struct_fields__:
        weight = getattr(weights, name)
        if isinstance(weight, float) and not (isfinite(weight) and weight >= 0):
            raise lines.error(("weights", name), f"Here stands {weight}, and a number from 0 up is needed.")


def _nothing(traffic: Traffic) -> str:
    left_out = sum(traffic.left_out.values())
    if left_out:
        reasons = "".join(f"\n  {number:,}: {why}" for why, number in traffic.left_out.items())
        return f"None of {count(left_out, 'recorded decision')} can be decided anew:{reasons}"
    if traffic.named:
        return (
            f"No decision was recorded in that time: all {count(traffic.named, 'attempt')} were of calls that named "
            "their model. A call of `auto`, or of a mode, is decided."
        )
    return "Nothing was recorded in that time."


def _show(result: Replay) -> None:
    decisions = result.traffic.decisions
    days = " to ".join(dict.fromkeys(_day(decision.at) for decision in (decisions[0], decisions[-1])))
    _say(f"Policy {result.policy} on {count(len(decisions), 'decision')} of {days} (seed {result.seed}).")
    _say(f"\nIt would decide otherwise in {result.changed:,} of {len(decisions):,} ({_share(result)}).\n")
    _show_tasks(result)
    _show_comparison(result.quality, "quality, 0 to 1")
    if result.quality.observed < len(decisions):
        _say(f"Graded: {result.quality.observed:,} of {len(decisions):,}. Nobody knows whether the rest is like them.")
    _show_comparison(result.cost, "cost of a decision")
    _show_savings(result)
    _show_notes(result)
    if result.shown:
        _show_changes(result)


def _show_tasks(result: Replay) -> None:
    show_table(
        (Column("task", wraps=True), Column("decisions", "right"), Column("changed", "right")),
        [(one.task or "-", f"{one.decisions:,}", f"{one.changed:,}") for one in result.by_task],
    )


def _show_comparison(comparison: Comparison, title: str) -> None:
    names = ("value", "95% low", "95% high", "n", "n_eff", "strength")
    print()
    show_table(
        (Column(title, wraps=True), *(Column(name, "left" if name == "strength" else "right") for name in names)),
        [(label, *_cells(estimate, comparison)) for label, estimate in _rows(comparison)],
    )
    if comparison.believed is not None and comparison.believed_logged is not None:
        was, would = (_amount(value, comparison) for value in (comparison.believed_logged, comparison.believed))
        _say(f"Expected beforehand, which is no evidence: {would} a decision, and {was} under what was in force.")


def _rows(comparison: Comparison) -> Iterator[tuple[str, OffPolicyEstimate]]:
    """What cannot be told is said once."""
    ips, snips, robust, difference = comparison.estimates
    yield "as it was", comparison.logged
    if difference.strength == "none":
        yield "policy", difference
        return
    yield from (("policy, IPS", ips), ("policy, SNIPS", snips), ("policy, DR", robust), ("difference", difference))


def _cells(estimate: OffPolicyEstimate, comparison: Comparison) -> Sequence[str]:
    is_difference = estimate.method == "difference"
    amounts = (estimate.value, estimate.low, estimate.high)
    return (
        *("-" if amount is None else _amount(amount, comparison, signed=is_difference) for amount in amounts),
        f"{estimate.n:,}",
        f"{estimate.n_eff:,.0f}",
        estimate.strength,
    )


def _amount(value: float, comparison: Comparison, *, signed: bool = False) -> str:
    shown = f"{value:.3f}" if comparison.outcome == "quality" else show_usd(round(value))
    return f"+{shown}" if signed and value > 0 else shown


def _show_savings(result: Replay) -> None:
    savings = result.savings
    if savings.saved is None or savings.low is None or savings.high is None:
        _say("\nNet savings: the log cannot tell.")
        return
    amounts = (savings.saved, savings.low, savings.high)
    what, over = "Net savings", "of"
    if savings.saved < 0:
        what, over, amounts = "Net extra cost", "over", (-savings.saved, -savings.high, -savings.low)
    value, low, high = map(_usd, amounts)
    weak = f" That is weak: {result.cost.difference.why}." if result.cost.difference.why else ""
    _say(
        f"\n{what}: {value} (95%: {low} to {high}) {over} the {show_usd(savings.spent)} that "
        f"{count(savings.decisions, 'decision')} cost in {count(savings.attempts, 'attempt')}, retries and fallbacks "
        f"included.{weak}{_caches(savings.caches)}"
    )


def _caches(caches: Caches) -> str:
    """What of it is taken off, or is not known."""
    said = []
    if caches.conversations:
        changes = f"the policy changes the model {count(caches.switches, 'time')} where the log kept it"
        anew = (
            f": {caches.rebuilt_tokens:,} tokens would be read anew, and not from a cache; {_usd(caches.rebuilt)} for "
            "that is in the figures above"
        )
        said.append(
            f"In {count(caches.conversations, 'conversation')} of several turns {changes}"
            f"{anew if caches.rebuilt_tokens else ', and loses no cache by it'}."
        )
    if caches.unpriced:
        said.append(f"What that costs is not known of {count(caches.unpriced, 'turn')}.")
    if caches.unknown:
        said.append(
            f"{count(caches.unknown, 'answer')} read from a cache that no earlier turn in this traffic filled: those "
            "caches are taken as kept."
        )
    return "".join(f" {sentence}" for sentence in said)


def _show_notes(result: Replay) -> None:
    if result.notes:
        _say("\nWhat the log cannot tell, and what would help:")
    for note in result.notes:
        _say(f"- {note.problem}" + (f" Would help: {note.help}" if note.help else ""), hang=2)
    said = [*result.remarks, *_left_out(result.traffic)]
    if said:
        _say("")
    for remark in said:
        _say(remark)


def _left_out(traffic: Traffic) -> Iterator[str]:
    yield from (f"Left out, {count(number, 'decision')}: {why}." for why, number in traffic.left_out.items())
    if traffic.unreadable_grades:
        yield (
            f"Left out, {count(traffic.unreadable_grades, 'grade')} of the whole ledger: what stands there is none. "
            "The ledger was changed by other hands, or damaged."
        )


def _show_changes(result: Replay) -> None:
    print()
    show_table(
        (
            *(Column(name) for name in ("time (UTC)", "task")),
            *(Column(name, wraps=True) for name in ("was", "would be")),
            Column("tried with", "right"),
        ),
        [
            (
                f"{datetime.fromtimestamp(one.recorded.at, UTC):%m-%d %H:%M}",
                one.recorded.task,
                one.recorded.model,
                one.model,
                f"{one.recorded.probabilities[one.drawn]:.3f}",
            )
            for one in result.shown
        ],
    )


def _say(text: str, hang: int = 0) -> None:
    show_line(text, file=sys.stdout, hang=hang)


def _share(result: Replay) -> str:
    return f"{result.changed / len(result.traffic.decisions):.0%}"


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _usd(nanos: float) -> str:
    return show_usd(Nanos(round(nanos)))
