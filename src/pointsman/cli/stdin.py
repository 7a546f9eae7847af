"""The prompt: from the command line, from standard input, or both."""

from __future__ import annotations

import select
import stat
import sys
from os import fstat

import click

from ..core import CallTooLarge, InvalidCall

PATIENCE = 2.0
"""Seconds to wait for a pipe that may have no writer, when the command line has a prompt already."""
MOST_BYTES = 32 << 20


def read_prompt(stated: str | None) -> str:
    """The prompt, then what stands on standard input. Raises InvalidCall for nothing, and for what is not UTF-8."""
    piped = _read(always=stated is None)
    prompt = "\n\n".join(part for part in (stated, piped) if part and part.strip())
    if not prompt:
        raise InvalidCall('The prompt is empty. Try: pointsman ask "Name three colours."', param="prompt")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise InvalidCall("The prompt is not UTF-8 text.", param="prompt") from None
    return prompt


def _read(*, always: bool) -> str:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
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
