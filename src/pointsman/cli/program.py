"""The program: its commands, each imported only when it is asked for, and what a failure looks like from outside."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from .. import __version__
from ..core import PointsmanError
from .failures import EPILOG, FAILED, INTERRUPTED, USAGE, exit_code, tell
from .options import wants_json

COMMANDS: Mapping[str, str] = {
    "ask": "Answer a prompt with the model that serves it best.",
    "route": "Show which model would get a prompt, and why. Calls nothing.",
    "replay": "Decide recorded calls by another policy; what would that have brought?",
    "compare": "Ask many models the same thing and report where they differ.",
    "demo": "See it work offline: an answer, a disagreement, a broken stream.",
    "serve": "Serve the OpenAI and Anthropic APIs on this machine.",
    "models": "Compare models; pull local ones.",
    "cost": "What was spent, by model, task, key or day.",
    "budgets": "How each budget stands, and when it is filled again.",
    "feedback": "Say how good an answer was: routing learns from it.",
    "ledger": "Look into the record of every attempt; check it, back it up.",
    "keys": "Make, list and revoke keys for the server.",
    "config": "Check the configuration, or show what is in force.",
    "train": "Fit the learned router on graded answers, and report before it is used.",
    "bench": "Measure the learned router on recorded outcomes.",
    "doctor": "What is configured, reachable and priced, and what to do.",
}
"""Each stands in the file of its name, as a click command of its name. Held here so that help imports none of them."""


def main() -> None:
    # A program that was started without one of them (`>&-`) has None there.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # as long as the program
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark: no answer is lost for the sake of one.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        program(prog_name="pointsman")
    except SystemExit as ended:
        _leave(ended.code)


def _leave(code: str | int | None) -> NoReturn:
    """Ends without finalizing the interpreter: the HTTP client's threads may still let go of Python objects, and one
    that does so while the interpreter ends aborts the process. Whatever must be closed was closed by its owner."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else FAILED)


class Program(click.Group):
    """The commands of COMMANDS. Turns our errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, 1)
            hint = f"Did you mean '{near[0]}'?" if near else "`pointsman --help` lists them."
            raise click.UsageError(f"There is no command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except PointsmanError as error:
            self._debug(ctx)
            tell(error, as_json=wants_json(ctx))
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            self._debug(ctx)
            click.echo("\npointsman: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read us has gone, as `head` does. What is still buffered has nowhere to go either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(FAILED)
        except OSError as error:
            self._debug(ctx)
            where = f": {error.filename}" if error.filename else ""
            click.echo(f"pointsman: {error.strerror or error}{where}", err=True)
            ctx.exit(USAGE if isinstance(error, PermissionError | FileNotFoundError) else FAILED)

    def _debug(self, ctx: click.Context) -> None:
        if ctx.params.get("debug"):
            traceback.print_exc()


@click.command(
    cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
@click.version_option(__version__, prog_name="pointsman")
def program(debug: bool) -> None:
    """Send each prompt to the model that serves it best: on this machine where that is good enough, elsewhere when
    you have a key. Every call is recorded with its cost.

    \b
    Examples:
      pointsman models pull
      pointsman ask "Write a Python function that reverses a string."
      pointsman serve
    """
