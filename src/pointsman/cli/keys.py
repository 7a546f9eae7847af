"""`pointsman keys`: the keys that callers of the server bear."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

import click
from msgspec import Struct

from ..core import InvalidCall
from ..gateway import Gateway
from ..ledger import Key, Scope, parse_since
from .options import config_option, json_option
from .terminal import Column, choices, print_json, show_line, show_table

_SPAN = re.compile(r"[0-9]+[mhdw]")


class KeyJson(Struct, frozen=True):
    """What is known of a key. Times in unix seconds."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None


class NewKeyJson(Struct, frozen=True):
    key: str
    """The key itself: shown this once."""
    id: str
    name: str
    scopes: tuple[str, ...]
    expires: float | None


class KeysJson(Struct, frozen=True):
    keys: tuple[KeyJson, ...]


@click.group()
def keys() -> None:
    """Make, list and revoke keys for the server.

    \b
    Examples:
      pointsman keys create laptop
      pointsman keys create ci --scope call --expires 30d
      pointsman keys revoke laptop
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(choices(Scope)),
    multiple=True,
    default=("call", "read"),
    show_default=True,
    help="What it may do; may be given many times.",
)
@click.option("--expires", metavar="WHEN", help="A span such as 24h or 30d, or a date.")
@json_option
@config_option
def create(name: str, scopes: tuple[Scope, ...], expires: str | None, as_json: bool, config_file: Path | None) -> None:
    """Make a key and print it, this once: it is kept nowhere.

    \b
    Examples:
      pointsman keys create laptop
      export OPENAI_API_KEY=$(pointsman keys create ci --scope call --expires 30d)
    """
    end = None if expires is None else read_expiry(expires, time.time())
    text, key = Gateway(config_file).ledger.keys.create(name, scopes=scopes, expires=end)
    if as_json:
        print_json(NewKeyJson(text, key.id, key.name, tuple(sorted(key.scopes)), key.expires))
        return
    print(text)
    show_line(
        f"That is the key {name!r} (id {key.id}, may {', '.join(sorted(key.scopes))}{_until(key)}). It is not shown "
        f"again. `pointsman keys revoke {key.id}` ends it."
    )


@keys.command("list")
@json_option
@config_option
def list_keys(as_json: bool, config_file: Path | None) -> None:
    """List the keys, revoked ones too. Never the keys themselves.

    \b
    Examples:
      pointsman keys list
      pointsman keys list --json
    """
    found = Gateway(config_file).ledger.keys.list()
    if as_json:
        print_json(KeysJson(tuple(_json(key) for key in found)))
    elif found:
        show_table(
            (Column("id"), Column("name", wraps=True), Column("may"), Column("made"), Column("state")),
            [(key.id, key.name, ", ".join(sorted(key.scopes)), _day(key.created), _state(key)) for key in found],
        )
    else:
        show_line("There are no keys. `pointsman keys create NAME` makes one.")


@keys.command()
@click.argument("id_or_name")
@config_option
def revoke(id_or_name: str, config_file: Path | None) -> None:
    """End a key for good. Running servers notice within two seconds.

    \b
    Examples:
      pointsman keys revoke laptop
      pointsman keys revoke k5jq2wzp
    """
    key = Gateway(config_file).ledger.keys.revoke(id_or_name)
    print(f"The key {key.name!r} (id {key.id}) is revoked.")


def read_expiry(text: str, now: float) -> float:
    """A span from `now`, or a date → unix seconds. Raises InvalidCall for a time that has passed."""
    moment = parse_since(text, now)
    if _SPAN.fullmatch(text.strip()):
        moment = 2 * now - moment
    if moment <= now:
        raise InvalidCall(f"{text!r} has passed: such a key would never work.", param="expires")
    return moment


def _json(key: Key) -> KeyJson:
    return KeyJson(key.id, key.name, tuple(sorted(key.scopes)), key.created, key.expires, key.revoked)


def _state(key: Key) -> str:
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    if key.expires is not None and key.expires <= time.time():
        return f"expired {_day(key.expires)}"
    return "works" + _until(key)


def _until(key: Key) -> str:
    return "" if key.expires is None else f" until {_day(key.expires)}"


def _day(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "the end of the calendar"
