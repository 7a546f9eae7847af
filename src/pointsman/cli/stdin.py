"""The prompt: from the command line, from standard input, or both."""

from __future__ import annotations

import re
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
    replaced: int = 0
    """In how many places bytes that are no UTF-8 text stood; U+FFFD stands there now."""

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
    """The prompt, and what stands on standard input. Bytes that are no text are replaced, which is told on standard
    error. Raises InvalidCall for nothing: with `may_be_empty` only where nothing was given at all, not even an empty
    prompt or an empty file."""
    instruction, in_prompt = _NO_TEXT.subn("\ufffd", stated or "")
    material, in_material = text_of(_read(always=stated is None))
    given = Given(instruction, material, replaced=in_prompt + in_material)
    if not given.text and not (may_be_empty and (stated is not None or _is_given())):
        raise InvalidCall('The prompt is empty. Try: pointsman ask "Name three colours."', param="prompt")
    tell_replaced("The prompt", in_prompt)
    tell_replaced("Standard input", in_material)
    return given


_NO_TEXT = re.compile("[\ud800-\udfff]")
"""What Python makes of an argument's bytes that are no text."""


def text_of(data: bytes) -> tuple[str, int]:
    """Bytes as text, and in how many places there was none: U+FFFD stands there."""
    try:
        return data.decode(), 0
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        return text, text.count("\ufffd") - data.count("\ufffd".encode())


def tell_replaced(what: str, places: int) -> None:
    if places:
        counted = f"{places} place{'s' * (places > 1)}"
        click.echo(f"{what} is not all UTF-8 text: what is none was replaced, in {counted}.", err=True)


def _is_given() -> bool:
    """Standard input is something else than a terminal, at which somebody would have to type."""
    return not (sys.stdin is None or sys.stdin.closed or sys.stdin.isatty())


def _read(*, always: bool) -> bytes:
    if not _is_given():
        return b""
    if not always and not _comes():
        click.echo(
            f"Nothing came on standard input within {PATIENCE:.0f} s, so it was left out. (Without PROMPT it is waited "
            "for.)",
            err=True,
        )
        return b""
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise CallTooLarge(f"Standard input has more than {MOST_BYTES >> 20} MB: no model takes so much.")
    return data


def _comes() -> bool:
    """A file is there; a pipe or a socket may have been inherited from a program that never writes to it."""
    kind = fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return True
    return bool(select.select([sys.stdin], [], [], PATIENCE)[0])
