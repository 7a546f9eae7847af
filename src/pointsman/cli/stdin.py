"""The prompt: from the command line, from standard input, or both."""

from __future__ import annotations

import select
import stat
import sys
from os import fstat

import click
from msgspec import Struct

from ..core import CallTooLarge, InvalidCall
from ..gateway import Gateway, as_chat
from ..routing import read_prompt as measure

PATIENCE = 2.0
"""Seconds to wait for a pipe that may have no writer, when the command line has a prompt already."""
MOST_BYTES = 32 << 20


class Given(Struct, frozen=True):
    """What was given to be answered. Either may be ''."""

    instruction: str
    """From the command line."""
    material: str
    """From standard input."""

    @property
    def text(self) -> str:
        return "\n\n".join(part for part in (self.instruction, self.material) if part.strip())

    def task(self, gateway: Gateway, model: str, stated: str) -> str:
        """The type of task as far as it must be stated, else '': what is asked stands in the instruction, and material
        beside it would be taken for the question."""
        mode = gateway.config.modes.get(model)
        if stated or (mode and mode.task) or not (self.instruction.strip() and self.material.strip()):
            return stated
        return measure(as_chat(self.instruction)).task


def read_prompt(stated: str | None, *, may_be_empty: bool = False) -> Given:
    """The prompt, and what stands on standard input. Raises InvalidCall for what is not UTF-8, and for nothing: with
    `may_be_empty` only where nothing was given at all, not even an empty prompt or an empty file."""
    given = Given(stated or "", _read(always=stated is None))
    if not given.text and not (may_be_empty and (stated is not None or _is_given())):
        raise InvalidCall('The prompt is empty. Try: pointsman ask "Name three colours."', param="prompt")
    try:
        given.text.encode()
    except UnicodeEncodeError:
        raise InvalidCall("The prompt is not UTF-8 text.", param="prompt") from None
    return given


def _is_given() -> bool:
    """Standard input is something else than a terminal, at which somebody would have to type."""
    return not (sys.stdin is None or sys.stdin.closed or sys.stdin.isatty())


def _read(*, always: bool) -> str:
    if not _is_given():
        return ""
    if not always and not _comes():
        click.echo(
            f"Nothing came on standard input within {PATIENCE:.0f} s, so it was left out. (Without PROMPT it is waited "
            "for.)",
            err=True,
        )
        return ""
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise CallTooLarge(f"Standard input has more than {MOST_BYTES >> 20} MB: no model takes so much.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidCall(f"Standard input is not UTF-8 text (at byte {error.start}).", param="prompt") from None


def _comes() -> bool:
    """A file is there; a pipe or a socket may have been inherited from a program that never writes to it."""
    kind = fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return True
    return bool(select.select([sys.stdin], [], [], PATIENCE)[0])
