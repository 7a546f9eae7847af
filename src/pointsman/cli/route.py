"""`pointsman route`: what would be chosen, and why; and `pointsman route test`. Nothing is called."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from ..core import Call, Nanos, Needs, Priority
from ..core.plain import plain_text
from ..gateway import Gateway, as_chat
from ..gateway.foreseen import foresee, route_json
from ..routing import Decision
from .batch import BatchLine, read_batch
from .candidates import no_candidate, show_candidates
from .failures import NO_CANDIDATE, tell
from .opening import open_gateway
from .options import config_option, json_option, needs_options, read_needs
from .route_test import route_test
from .stdin import read_prompt
from .terminal import print_json, show_line


class PromptOrTest(click.Group):
    """`route PROMPT`, and `route test …`: a command by itself that has another one below it."""

    # Options may stand behind the prompt, as they may in a plain command.
    allow_interspersed_args = True
    allow_extra_args = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """For `test` as the first word the context of that command; the word itself is a prompt after `--`."""
        if args[:1] != ["test"]:
            return super().make_context(info_name, args, parent, **extra)
        above = super().make_context(info_name, [], parent, **extra)
        return self.commands["test"].make_context("test", args[1:], above)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Without the prompt where they are shown for `test`, which has none."""
        params = super().get_params(ctx)
        return params if ctx.command is self else [param for param in params if isinstance(param, click.Option)]


@click.group(cls=PromptOrTest, invoke_without_command=True, subcommand_metavar="| test FILE")
@click.argument("prompt", required=False)
@click.option("--explain", is_flag=True, help="Show all candidates, and why the others cannot serve.")
@click.option(
    "--batch",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help='A prompt a line, or JSON lines with "prompt". Prints model, task, complexity and prompt of each.',
)
@needs_options
@json_option
@config_option
def route(
    prompt: str | None,
    explain: bool,
    batch: Path | None,
    model: str,
    priority: Priority | None,
    budget: Nanos | None,
    max_latency: float | None,
    quality: float | None,
    local_only: bool,
    max_tokens: int | None,
    task: str,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Show which model would get a prompt, and why. Calls nothing.

    --explain shows each candidate's score and, of the best three, what it is the sum of; `chosen`, the probability with
    which it is taken; and what is expected of the call: quality from 0 to 1, cost, seconds. ± is one standard
    deviation. Quality is learned (from graded answers), stated (in the model's profile) or assumed.

    --batch reads each line by itself: an object with "prompt" as JSON, any other line as a prompt. Where the first line
    begins with "{" all must be such objects. With --json each line is given back with its own fields (an "id", say),
    and the decision beside them. A field with the name of one of ours is put into "given".

    Bytes that are no UTF-8 text are replaced by U+FFFD. In how many places is told on standard error, and by --json in
    "replaced".

    \b
    Examples:
      pointsman route "Translate this to German: good morning" --explain
      pointsman route "Prove Fermat's little theorem." --priority performance --json
      pointsman route "hello" --model my-pool --explain
      pointsman route --batch prompts.txt --local-only
      pointsman route test routing.yaml
      pointsman route -- test
    """
    if batch is not None and prompt is not None:
        raise click.UsageError("Give a PROMPT or --batch FILE, not both.")
    if batch is not None and explain and not as_json:
        raise click.UsageError(
            "--explain shows one decision at a time: --batch FILE --json has all candidates of each."
        )
    needs = read_needs(priority, budget, max_latency, quality, local_only)
    given = read_prompt(prompt, may_be_empty=True) if batch is None else None
    lines = [] if batch is None else read_batch(batch)
    prompts = [given.text] if given else [line.prompt for line in lines]
    gateway = open_gateway(config_file)
    task = given.task(gateway, model, task) if given else task
    decisions = asyncio.run(_decide(gateway, prompts, model=model, needs=needs, task=task, max_tokens=max_tokens))
    if batch is not None:
        for line, decision in zip(lines, decisions, strict=True):
            _show_line(line, decision, as_json=as_json)
    elif as_json:
        print_json(_object(decisions[0], given.replaced if given else 0))
    else:
        _show(gateway, decisions[0], explain=explain)
    if not all(decision.plan for decision in decisions):
        click.get_current_context().exit(NO_CANDIDATE)


route.add_command(route_test)


async def _decide(
    gateway: Gateway, prompts: list[str], *, model: str, needs: Needs, task: str, max_tokens: int | None
) -> list[Decision]:
    def call(text: str) -> Call:
        return gateway.call(as_chat(text, max_tokens=max_tokens), model=model, needs=needs, task=task)

    async with gateway:
        return [foresee(gateway, call(text)) for text in prompts]


def _show(gateway: Gateway, decision: Decision, *, explain: bool) -> None:
    if decision.plan:
        show_line(f"→ {decision.chosen}", style="bold", file=sys.stdout)
        show_line(decision.reason, file=sys.stdout)
    if explain:
        show_candidates(decision, sys.stdout)
    if not decision.plan:
        tell(no_candidate(decision, gateway), as_json=False)


def _object(decision: Decision, replaced: int) -> dict[str, object]:
    """What is printed as JSON: with `replaced` only where something was."""
    ours = structs.asdict(route_json(decision))
    return {**ours, "replaced": replaced} if replaced else ours


def _show_line(line: BatchLine, decision: Decision, *, as_json: bool) -> None:
    if not as_json:
        chosen, first = decision.plan[0] if decision.plan else "-", next(iter(line.prompt.strip().splitlines()), "")
        print(f"{chosen}\t{decision.task}\t{decision.complexity}\t{plain_text(first)}")
        return
    ours = {**_object(decision, line.replaced), "prompt": line.prompt}
    others = {name: value for name, value in line.fields.items() if name not in ours}
    given = {name: value for name, value in line.fields.items() if name in ours}
    print_json({**others, **ours, **({"given": given} if given else {})})
