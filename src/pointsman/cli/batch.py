"""The prompts of a file: `pointsman route --batch FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from ..core import ConfigError, InvalidCall
from .stdin import tell_replaced, text_of

Fields = dict[str, msgspec.Raw]
"""Of a JSON line."""


class BatchLine(Struct, frozen=True):
    """A line that asks something."""

    prompt: str
    fields: Fields = {}
    """What else its object holds."""
    replaced: int = 0
    """As `stdin.Given.replaced`."""
    looks_like_json: bool = False
    """And was taken as a prompt all the same."""


def read_batch(path: Path) -> Sequence[BatchLine]:
    """The prompts of a file. A line that is an object with "prompt" is read as one, any other is a prompt as it stands;
    in a file whose first line begins with "{" all must be such objects. Empty lines are passed over.

    Bytes that are no text are replaced, and what looks like JSON and was taken as a prompt is counted: both are told on
    standard error. Raises ConfigError with the line, and InvalidCall for a file without any.
    """
    numbered = [(number, line) for number, line in enumerate(path.read_bytes().splitlines(), 1) if line.strip()]
    if not numbered:
        raise InvalidCall(f"{path} has no prompts.", param="batch")
    must_be_json = _begins_an_object(numbered[0][1])
    lines = [_read(data, number, path, must_be_json=must_be_json) for number, data in numbered]
    tell_replaced(str(path), sum(line.replaced for line in lines))
    _tell_odd([number for (number, _), line in zip(numbered, lines, strict=True) if line.looks_like_json], path)
    return lines


def _read(data: bytes, number: int, path: Path, *, must_be_json: bool) -> BatchLine:
    text, replaced = text_of(data)
    if not must_be_json and not _begins_an_object(data):
        return BatchLine(text, replaced=replaced)
    try:
        fields = msgspec.json.decode(text, type=Fields)
        return BatchLine(msgspec.json.decode(fields.pop("prompt", b""), type=str), fields, replaced)
    except (msgspec.DecodeError, UnicodeError) as error:
        if not must_be_json:
            return BatchLine(text, replaced=replaced, looks_like_json=True)
        raise ConfigError(
            f'Each line must be a JSON object with "prompt" ({error}).', file=str(path), line=number
        ) from None


def _begins_an_object(data: bytes) -> bool:
    return data.lstrip().startswith(b"{")


def _tell_odd(numbers: Sequence[int], path: Path) -> None:
    if numbers:
        click.echo(
            f'{path}:{numbers[0]}: No JSON object with "prompt", so this line was taken as a prompt'
            f"{f', and {len(numbers) - 1} others like it' if numbers[1:] else ''}.",
            err=True,
        )
