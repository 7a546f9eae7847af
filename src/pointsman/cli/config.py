"""`pointsman config`: check the configuration, or show what is in force, with secrets masked."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click
import msgspec
from msgspec import Struct, structs

from ..core.plain import plain_text
from ..gateway import Config, Environment
from ..gateway.config import read_config
from ..gateway.specs import FromEnv, ProviderSpec
from ..server.exposure import check_exposure
from .opening import open_environment, open_gateway
from .options import config_option, json_option
from .terminal import count, print_json, show_line

MASK = "***"


class CheckedJson(Struct, frozen=True):
    file: str | None
    providers: int
    models: int
    pools: int
    modes: int
    budgets: int


class LookedForJson(Struct, frozen=True):
    what: str
    path: str
    found: bool
    used: bool


class ShownJson(Struct, frozen=True):
    files: tuple[LookedForJson, ...]
    config: Config


@click.group()
def config() -> None:
    """Check the configuration, or show what is in force. None is needed to start.

    \b
    Examples:
      pointsman config check pointsman.yaml
      pointsman config show
    """


@config.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@json_option
@config_option
def check(file: Path | None, as_json: bool, config_file: Path | None) -> None:
    """Read the configuration as every command does. Exit code 2, with file and line, where it is wrong.

    \b
    Examples:
      pointsman config check
      pointsman config check pointsman.yaml
    """
    gateway = open_gateway(file or config_file)
    check_exposure(gateway, gateway.config.server.host)
    read = file or config_file or gateway.environment.config_file
    own = gateway.config
    counts = CheckedJson(
        None if read is None else str(read),
        len(own.providers),
        len(own.models),
        len(own.pools),
        len(own.modes),
        len(own.budgets),
    )
    if as_json:
        print_json(counts)
        return
    where = f"{counts.file} is right" if counts.file else "There is no configuration file, and none is needed"
    show_line(
        f"{where}: {count(counts.providers, 'provider')}, {count(counts.models, 'model')}, "
        f"{count(counts.pools, 'pool')}, {count(counts.modes, 'mode')} and {count(counts.budgets, 'budget')} "
        "of your own.",
        file=sys.stdout,
    )


@config.command()
@json_option
@config_option
def show(as_json: bool, config_file: Path | None) -> None:
    """Show the configuration in force, defaults included, as YAML. Secrets are masked.

    \b
    Examples:
      pointsman config show
      pointsman config show --config pointsman.yaml --json
    """
    environment = open_environment()
    masked = mask(read_config(config_file, environment).config)
    files = looked_for(environment, config_file)
    if as_json:
        print_json(ShownJson(files, masked))
        return
    import yaml

    for file in files:
        state = "used" if file.used else "there, not used" if file.found else "not there"
        print(f"# {file.what}: {plain_text(file.path)} ({state})")
    values = msgspec.to_builtins(masked, str_keys=True, order="deterministic")
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")


def looked_for(environment: Environment, stated: Path | None) -> tuple[LookedForJson, ...]:
    """Every file that a configuration or a key may come from, the strongest first."""
    own = environment.home / "config.yaml"
    used = stated or environment.config_file
    files = [LookedForJson("configuration", str(used), used.exists(), True)] if used not in (None, own) and used else []
    files.append(LookedForJson("configuration", str(own), own.exists(), used == own))
    homes = dict.fromkeys((Path.cwd(), Path(environment.variables.get("HOME") or Path.home())))
    for folder in homes:
        file = folder / ".env"
        files.append(LookedForJson("keys", str(file), file.is_file(), file.is_file()))
    return tuple(files)


def mask(own: Config) -> Config:
    """The same configuration without its secrets; the names of variables stay."""
    return structs.replace(
        own,
        providers={name: _masked_provider(spec) for name, spec in own.providers.items()},
        server=structs.replace(own.server, key=_masked(own.server.key)),
        alerts=structs.replace(own.alerts, webhook=own.alerts.webhook and without_secrets(own.alerts.webhook)),
    )


def without_secrets(webhook: str) -> str:
    """Whoever knows the path of a webhook may post to it."""
    parts = urlsplit(_without_login(webhook))
    return urlunsplit(parts._replace(path=f"/{MASK}", query="", fragment=""))


def _masked_provider(spec: ProviderSpec) -> ProviderSpec:
    return structs.replace(
        spec,
        api_key=_masked(spec.api_key),
        headers=dict.fromkeys(spec.headers, MASK),
        base_url=None if spec.base_url is None else _without_login(spec.base_url),
    )


def _masked(secret: str | FromEnv | None) -> str | FromEnv | None:
    return MASK if isinstance(secret, str) and secret else secret


def _without_login(url: str) -> str:
    """Whatever stands before an @, or in a query, may be a secret."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{MASK}@{host}" if at and login else host, query=parts.query and MASK))
