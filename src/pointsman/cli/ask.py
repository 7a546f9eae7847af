"""`pointsman ask`: the answer goes to standard output as it comes; the decision and the bill to standard error."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
from msgspec import Struct

from ..core import AttemptError, Broken, Call, Caller, Finish, Nanos, Priority, Reply
from ..core.answers import Gathered
from ..core.plain import plain_text
from ..endpoints.local import LocalHost
from ..gateway import Gateway, as_chat
from ..gateway.foreseen import asked_quality, foresee
from ..gateway.quality import Quality
from ..ledger import Entry
from ..routing import Decision
from .bill import (
    CostJson,
    UsageJson,
    bill_line,
    cost_json,
    decision_line,
    failures_line,
    usage_json,
)
from .candidates import no_candidate, show_candidates
from .failures import FAILED, Failure, failure
from .opening import open_gateway
from .options import Number, config_option, json_option, needs_options, read_needs
from .stdin import read_prompt
from .terminal import Cleaner, print_json, show_line, width_of
from .wrapping import Wrapper

_DIM = "dim"
_TICK_SECONDS = 0.5


class WeighedJson(Struct, frozen=True):
    model: str
    score: float | None
    probability: float
    rejected: str | None


class AgreedJson(Struct, frozen=True):
    """Of a consensus."""

    say_so: int
    asked: int


class DecisionJson(Struct, frozen=True):
    id: str
    task: str
    complexity: str
    policy: str
    reason: str
    quality_met: bool | None
    """Whether the model has the quality that was asked for, as far as it is known; null where none was."""
    agreed: AgreedJson | None
    """Null where no consensus was asked."""
    candidates: tuple[WeighedJson, ...]


class AnswerJson(Struct, frozen=True):
    """What `ask --json` prints."""

    text: str
    """All that came, though it broke off."""
    model: str
    endpoint: str
    finish: Finish | None
    """Null where it broke off."""
    usage: UsageJson | None
    cost: CostJson
    ttft_ms: float | None
    """From the asking, whatever failed before."""
    seconds: float
    call_id: str
    decision: DecisionJson | None
    """Null for a call that named its model."""
    error: Failure | None
    """What broke it off."""


@click.command()
@click.argument("prompt", required=False)
@needs_options
@click.option("--system", default="", help="A system message to go before the prompt.")
@click.option("--temperature", type=Number(0, 2), metavar="0..2", help="How freely the model may choose its words.")
@click.option("--timeout", type=Number(0.1, 86_400), metavar="SECONDS", help="For all of it, whatever is tried again.")
@click.option("--tag", "tags", multiple=True, help="A mark for the ledger; may be given many times.")
@click.option("--explain", is_flag=True, help="Show the candidates first.")
@json_option
@config_option
def ask(
    prompt: str | None,
    model: str,
    priority: Priority | None,
    budget: Nanos | None,
    max_latency: float | None,
    quality: float | None,
    local_only: bool,
    max_tokens: int | None,
    task: str,
    system: str,
    temperature: float | None,
    timeout: float | None,
    tags: tuple[str, ...],
    explain: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Answer a prompt with the model that serves it best.

    The answer is all that goes to standard output. What stands on standard input is added to PROMPT.

    \b
    Examples:
      pointsman ask "Write a Python function that reverses a string."
      echo "I love trains." | pointsman ask "Positive or negative? One word." --local-only
      pointsman ask "Prove that there are infinitely many primes." --priority performance --budget 0.02
    """
    given = read_prompt(prompt)
    gateway = open_gateway(config_file)
    call = gateway.call(
        as_chat(given.text, system=system, max_tokens=max_tokens, temperature=temperature),
        model=model,
        needs=read_needs(priority, budget, max_latency, quality, local_only),
        task=given.task(gateway, model, task),
        caller=Caller(tags=tags),
        timeout=timeout,
    )
    asyncio.run(_ask(gateway, call, explain=explain, as_json=as_json))


async def _ask(gateway: Gateway, call: Call, *, explain: bool, as_json: bool) -> None:
    entries: list[Entry] = []
    gateway.observe(entries.append)
    async with gateway:
        # Of a model that is named nothing is forecast unless somebody asks: it would be waited for, and decide nothing.
        is_weighed = explain or gateway.is_weighed(call) or asked_quality(gateway, call) is not None
        foreseen = foresee(gateway, call, learned=is_weighed)
        if explain:
            show_candidates(foreseen, sys.stderr)
            show_line(foreseen.reason)
        if not foreseen.plan and not _may_another_serve(gateway, call.model):
            raise no_candidate(foreseen, gateway)
        if not is_weighed:
            gateway.read_vectors()
        started = time.monotonic()
        async with _waiting(await _what_is_waited_for(gateway, foreseen.chosen if foreseen.plan else call.model)):
            reply = await gateway(call)
        ttft = time.monotonic() - started
        quality = Quality(asked_quality(gateway, call), foreseen.candidates)
        async with reply:
            if as_json:
                await _print_object(call, reply, entries, foreseen, quality, started, ttft)
            else:
                await _print_text(call, reply, entries, quality, started, ttft)


def _may_another_serve(gateway: Gateway, name: str) -> bool:
    """Whether more is asked than what was foreseen: a pool's members that are out of order, and those that take over
    from what a call names."""
    config = gateway.config
    return name in config.pools or (config.fallback.named and gateway.roster.find(name) is not None)


async def _what_is_waited_for(gateway: Gateway, name: str) -> str:
    if not name.startswith("local/") or not sys.stderr.isatty():
        return f"asking {name}"
    status = await LocalHost(gateway.environment.home).status()
    runs = status is not None and any(f"local/{model.model}" == name for model in status.models)
    return f"asking {name}" if runs else f"loading {name}"


@asynccontextmanager
async def _waiting(what: str) -> AsyncIterator[None]:
    """A line on the terminal that counts the seconds, and is gone afterwards. Nothing in a pipe."""
    if not sys.stderr.isatty():
        yield
        return
    counting = asyncio.create_task(_count(plain_text(what)))
    try:
        yield
    finally:
        counting.cancel()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


async def _count(what: str) -> None:
    started = time.monotonic()
    while True:
        sys.stderr.write(f"\r\x1b[K… {what}, {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
        await asyncio.sleep(_TICK_SECONDS)


async def _print_text(
    call: Call, reply: Reply, entries: list[Entry], quality: Quality, started: float, ttft: float
) -> None:
    cleaner = Cleaner(for_terminal=sys.stdout.isatty())
    wrapper = Wrapper(lambda: width_of(sys.stdout))
    finish: Finish | None = None
    error = None
    last, is_empty = "", True
    async for item in reply:
        if isinstance(item, Broken):
            error = item.error
            break
        finish = item.finish or finish
        shown = _write(wrapper.feed(cleaner.feed(item.text + item.refusal)))
        last, is_empty = shown or last, is_empty and not shown.strip()
    shown = _write(wrapper.feed(cleaner.end()) + wrapper.end())
    last, is_empty = shown or last, is_empty and not shown.strip()
    if last and not last.endswith("\n"):
        _write("\n")
    if error is not None:
        show_line(f"broken: {error.message}", style="bold red")
    elif is_empty:
        show_line(f"{reply.served.model} wrote no text (it ended with: {finish or 'stop'}).", style="yellow")
    elif finish == "length":
        show_line("cut off: the model reached its limit of tokens.", style="yellow")
    _print_bill(call, reply, entries, quality, started, ttft)
    if error is not None:
        click.get_current_context().exit(FAILED)


def _write(text: str) -> str:
    sys.stdout.write(text)
    sys.stdout.flush()
    return text


def _print_bill(call: Call, reply: Reply, entries: list[Entry], quality: Quality, started: float, ttft: float) -> None:
    entry = _answering(entries, reply)
    shortfall = quality.shortfall(entry.model)
    if shortfall:
        show_line(shortfall, style="yellow")
    failures = failures_line(entries)
    if failures:
        show_line(failures, style=_DIM)
    agreed = reply.provenance.agreed
    show_line(decision_line(entry, seconds=time.monotonic() - started, ttft=ttft, agreed=agreed), style=_DIM)
    show_line(bill_line(entry, call.tally), style=_DIM)


async def _print_object(
    call: Call,
    reply: Reply,
    entries: list[Entry],
    foreseen: Decision,
    quality: Quality,
    started: float,
    ttft: float,
) -> None:
    gathered = Gathered()
    error: AttemptError | None = None
    async for item in reply:
        if isinstance(item, Broken):
            error = item.error
            break
        gathered.add(item)
    answer = gathered.answer()
    entry = _answering(entries, reply)
    print_json(
        AnswerJson(
            text=answer.text or answer.refusal,
            model=entry.model,
            endpoint=entry.endpoint,
            finish=None if error else answer.finish,
            usage=usage_json(entry.usage),
            cost=cost_json(entry, call.tally),
            ttft_ms=round(ttft * 1000, 1),
            seconds=round(time.monotonic() - started, 3),
            call_id=call.id,
            decision=_decision_json(entry, reply, entries, foreseen, quality),
            error=None if error is None else failure(error),
        )
    )
    if error is not None:
        click.get_current_context().exit(FAILED)


def _answering(entries: Sequence[Entry], reply: Reply) -> Entry:
    """The attempt whose words were shown: of several at once it need not be the last."""
    return next((entry for entry in entries if entry.attempt_id == reply.attempt_id), entries[-1])


def _decision_json(
    entry: Entry, reply: Reply, entries: Sequence[Entry], foreseen: Decision, quality: Quality
) -> DecisionJson | None:
    if not entry.decision_id:
        return None
    together = foreseen.together.models if foreseen.together else foreseen.plan[:1]
    chosen = entry.model in together
    agreed = reply.provenance.agreed
    return DecisionJson(
        id=entry.decision_id,
        task=entry.task,
        complexity=entry.complexity,
        policy=entry.policy,
        reason=foreseen.reason if chosen else failures_line(entries),
        quality_met=quality.is_met(entry.model),
        agreed=None if agreed is None else AgreedJson(*agreed),
        candidates=tuple(WeighedJson(c.model, c.score, c.probability, c.rejected or None) for c in entry.candidates),
    )
