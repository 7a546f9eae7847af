"""`pointsman compare`: one prompt to many models at once, progress while it runs, then a report."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from ..core import Chat, InvalidCall, NoCandidate
from ..gateway import Gateway, Model, as_chat, new_id
from ..lab import Comparison, Engine, to_html, to_json, to_markdown
from ..lab import compare as compare_engines
from .failures import FAILED, INTERRUPTED
from .opening import open_gateway
from .options import Number, config_option, json_option
from .progress import showing_progress
from .stdin import read_prompt
from .terminal import show_line

Format = Literal["markdown", "json", "html"]

MOST_UNASKED = 8
"""Free tiers have limits, so no more engines are asked than one reads the answers of, unless they are named."""
_MOST_SUGGESTED = 5


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "--models", default="", metavar="A,B,C", help="Models, pools or modes to ask; by default all that cost nothing."
)
@click.option(
    "--timeout", type=Number(0.1, 86_400), default=120, show_default=True, metavar="SECONDS", help="For each engine."
)
@click.option("--system", default="", help="A system message to go before the prompt.")
@click.option("--max-tokens", type=click.IntRange(1, 10_000_000), help="The longest answer, in tokens.")
@click.option(
    "--temperature",
    type=Number(0, 2),
    metavar="0..2",
    help="How freely the models may choose their words. By default 0 where all are local, else each model's own.",
)
@click.option("--format", "report", type=click.Choice(["markdown", "json", "html"]), help="Of the report.")
@click.option("--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write it to a file.")
@json_option
@config_option
def compare(
    prompt: str | None,
    models: str,
    timeout: float,
    system: str,
    max_tokens: int | None,
    temperature: float | None,
    report: Format | None,
    output: Path | None,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Ask many models the same thing and report where they differ.

    All are asked at once, and none that fails or is slow spoils the others. Models that cost money are asked only when
    they are named. Ctrl-C ends it with what has come so far. It exits with 0 where at least one answered.

    \b
    Examples:
      pointsman compare "What is the capital of Australia? One word."
      pointsman compare "Explain this error." --models local/qwen2.5-coder-0.5b,gpt-5-mini < error.log
      pointsman compare "Name a prime over 100." --format html --output report.html
    """
    if as_json and report not in (None, "json"):
        raise click.UsageError(f"--json and --format {report} contradict each other.")
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
    text = read_prompt(prompt).text
    gateway = open_gateway(config_file)
    comparison = asyncio.run(
        _compare(
            gateway,
            _names(models),
            lambda local: as_chat(
                text,
                system=system,
                max_tokens=max_tokens,
                temperature=0.0 if temperature is None and local else temperature,
            ),
            timeout,
        )
    )
    _give(comparison, "json" if as_json else report or "markdown", output)
    if comparison.stopped:
        raise SystemExit(INTERRUPTED)
    if not comparison.succeeded:
        raise SystemExit(FAILED)


async def _compare(gateway: Gateway, names: Sequence[str], chat: Callable[[bool], Chat], timeout: float) -> Comparison:
    """`chat` makes the prompt, told whether all engines are local."""
    async with gateway:
        await gateway.ready()  # its answers may be graded, and learned from
        names = names or _that_cost_nothing(gateway)
        engines = [Engine(name, gateway.find(name)) for name in names]
        prompt = chat(all(name.startswith("local/") for name in names))
        with _stop_at_ctrl_c() as stop, showing_progress(names) as progress:
            return await compare_engines(
                prompt,
                engines,
                timeout=timeout,
                clock=gateway.clock,
                new_id=new_id,
                progress=progress,
                stop=stop,
            )


def _names(models: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    if models and not names:
        raise InvalidCall("--models names no model. `pointsman models` lists them.", param="models")
    return names


def _that_cost_nothing(gateway: Gateway) -> list[str]:
    """The models that can serve now for nothing, local ones first. Raises NoCandidate where there is none."""
    there = [model for model in gateway.roster.everyone() if not model.unavailable]
    free = {model.endpoint: model.name for model in there if _costs_nothing(model)}
    names = sorted(free.values(), key=lambda name: not name.startswith("local/"))
    paid = [model.name for model in sorted(there, key=_price) if not _costs_nothing(model)][:_MOST_SUGGESTED]
    if not names:
        raise NoCandidate(
            "No model that costs nothing can answer here. `pointsman models pull` brings local ones"
            + (f"; others cost money, and are asked when named: --models {','.join(paid)}" if paid else ".")
        )
    if len(names) == 1:
        show_line(_alone(names[0], paid), style="yellow")
    if len(names) > MOST_UNASKED:
        left = ", ".join(names[MOST_UNASKED:])
        show_line(f"{MOST_UNASKED} of {len(names)} are asked; --models can name others: {left}", style="dim")
    return names[:MOST_UNASKED]


def _costs_nothing(model: Model) -> bool:
    """Known to: a price that nobody knows is not one of nothing."""
    price = model.quote.charged
    return price is not None and not (price.input or price.output or price.call)


def _price(model: Model) -> tuple[bool, int]:
    price = model.quote.charged
    return (price is None, (price.output or 0) if price else 0)


def _alone(name: str, paid: Sequence[str]) -> str:
    if paid:
        return f"Only {name} costs nothing here. To add models that cost money: --models {','.join([name, *paid])}"
    return f"Only {name} can answer here. `pointsman models pull` brings more, and so does a provider's key."


@contextmanager
def _stop_at_ctrl_c() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C sets. The second one ends the program as ever."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stopped() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, stopped)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _give(comparison: Comparison, report: Format, output: Path | None) -> None:
    text = {"markdown": to_markdown, "json": to_json, "html": to_html}[report](comparison)
    if output is not None:
        output.write_text(text, "utf-8")
        show_line(f"The report is in {output}")
    elif report == "markdown" and sys.stdout.isatty():
        _show_markdown(text)
    else:
        sys.stdout.write(text)


def _show_markdown(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    Console(highlight=False).print(Markdown(text, code_theme="bw", hyperlinks=False))
