"""`pointsman keys`: the keys that callers of the server bear."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import astuple

from ..core import InvalidCall, Nanos, PointsmanError, show_usd, to_usd
from ..ledger import Key, Scope, parse_since
from ..ledger.keys import MOST_A_MINUTE, Window
from .opening import open_gateway
from .options import Usd, config_option, json_option
from .terminal import Column, choices, count, print_json, show_line, show_table

_SPAN = re.compile(r"[0-9]+[mhdw]")


class NameTaken(PointsmanError):
    """Two keys of one name could not be told apart in a list, nor revoked by it."""

    kind = "name_taken"


class KeyJson(Struct, frozen=True):
    """What is known of a key. Times in unix seconds."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None
    revoked: float | None
    models: tuple[str, ...]
    """Patterns of what it may name; none: everything."""
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget_usd: str | None
    budget_window: str | None
    user: str


class NewKeyJson(KeyJson, frozen=True, kw_only=True):
    key: str
    """The key itself: shown this once."""


class KeysJson(Struct, frozen=True):
    keys: tuple[KeyJson, ...]


class BudgetType(click.ParamType[tuple[Nanos, Window]]):
    """US dollars for each day or month: '5/day'. Without a word for the time it is a month's, as in a configuration."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Nanos, Window]:
        if isinstance(value, tuple):
            return value
        amount, slash, window = str(value).partition("/")
        if slash and window not in choices(Window):
            self.fail(f"{value!r} is no budget, such as 5/day or 100/month.", param, ctx)
        return Usd().convert(amount, param, ctx), "day" if window == "day" else "month"


class PatternsType(click.ParamType[tuple[str, ...]]):
    """Patterns with commas between. None at all is refused: a variable that is not set must not mean everything."""

    name = "patterns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        patterns = tuple(part.strip() for part in str(value).split(","))
        if not all(patterns):
            self.fail(f"{value!r} holds an empty name. Leave the option out for a key for every model.", param, ctx)
        return patterns


class NotEmpty(click.ParamType[str]):
    """The same for a name."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("It is empty. Leave the option out instead.", param, ctx)
        return str(value)


@click.group()
def keys() -> None:
    """Make, list and revoke keys for the server.

    \b
    Examples:
      pointsman keys create laptop
      pointsman keys create ci --scope call --expires 30d
      pointsman keys create guest --models 'gpt-4o*,fast' --rpm 60 --budget 5/day
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
@click.option(
    "--models",
    type=PatternsType(),
    metavar="PATTERNS",
    help="What calls may name as their model, with commas between and * as a wildcard. Everything, if left out.",
)
@click.option("--rpm", type=click.IntRange(1, MOST_A_MINUTE), metavar="NUMBER", help="Requests a minute.")
@click.option(
    "--tpm",
    type=click.IntRange(1, MOST_A_MINUTE),
    metavar="NUMBER",
    help="Tokens a minute, of prompts and answers together.",
)
@click.option("--budget", type=BudgetType(), metavar="USD/day|month", help="What its calls may cost in all.")
@click.option("--user", type=NotEmpty(), metavar="NAME", help="For whom its calls count, whatever they say.")
@json_option
@config_option
def create(
    name: str,
    scopes: tuple[Scope, ...],
    expires: str | None,
    models: tuple[str, ...] | None,
    rpm: int | None,
    tpm: int | None,
    budget: tuple[Nanos, Window] | None,
    user: str | None,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Make a key and print it, this once: it is kept nowhere. What it may do cannot be changed later.

    \b
    Examples:
      pointsman keys create laptop
      export OPENAI_API_KEY=$(pointsman keys create ci --scope call --expires 30d)
      pointsman keys create guest --models 'gpt-4o*,fast' --rpm 60 --tpm 100000 --budget 5/day
    """
    end = None if expires is None else read_expiry(expires, time.time())
    own = open_gateway(config_file).ledger.keys
    twin = next((key for key in own.list() if key.name == name and key.revoked is None), None)
    if twin is not None:
        raise NameTaken(
            f"There is a key {name!r} already (id {twin.id}, {_state(twin)}). Take another name, or end that one "
            f"first: pointsman keys revoke {twin.id}"
        )
    amount, window = budget or (None, "month")
    text, key = own.create(
        name,
        scopes=scopes,
        expires=end,
        models=models or (),
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        budget=amount,
        budget_window=window,
        user=user or "",
    )
    if as_json:
        print_json(NewKeyJson(*astuple(_json(key)), key=text))
        return
    print(text)
    bounds = "".join(f", {bound}" for bound in (_models(key), *_bounds(key)) if bound)
    show_line(
        f"That is the key {name!r} (id {key.id}, may {', '.join(sorted(key.scopes))}{_until(key)}{bounds}). It is not "
        f"shown again. `pointsman keys revoke {key.id}` ends it."
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
    found = open_gateway(config_file).ledger.keys.list()
    if as_json:
        print_json(KeysJson(tuple(_json(key) for key in found)))
    elif found:
        show_table(
            (
                Column("id"),
                Column("name", wraps=True),
                Column("may", wraps=True),
                Column("models", wraps=True),
                Column("within", wraps=True),
                Column("state", wraps=True),
            ),
            [_cells(key) for key in found],
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
    key = open_gateway(config_file).ledger.keys.revoke(id_or_name)
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
    return KeyJson(
        id=key.id,
        name=key.name,
        scopes=tuple(sorted(key.scopes)),
        created=key.created,
        expires=key.expires,
        revoked=key.revoked,
        models=key.models,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        budget_usd=None if key.budget is None else to_usd(key.budget),
        budget_window=None if key.budget is None else key.budget_window,
        user=key.user,
    )


def _cells(key: Key) -> tuple[str, ...]:
    scopes, models, within = ", ".join(sorted(key.scopes)), ", ".join(key.models) or "all", ", ".join(_bounds(key))
    return key.id, key.name, scopes, models, within or "-", f"{_state(key)}, made {_day(key.created)}"


def _models(key: Key) -> str:
    return f"the models {', '.join(key.models)}" if key.models else ""


def _bounds(key: Key) -> list[str]:
    """What it has in a minute, what it may cost, and whose it is, in words."""
    bounds = []
    if key.requests_per_minute is not None:
        bounds.append(f"{count(key.requests_per_minute, 'request')}/min")
    if key.tokens_per_minute is not None:
        bounds.append(f"{count(key.tokens_per_minute, 'token')}/min")
    if key.budget is not None:
        bounds.append(f"{show_usd(key.budget)}/{key.budget_window}")
    if key.user:
        bounds.append(f"as {key.user}")
    return bounds


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
