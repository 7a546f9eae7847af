"""`pointsman config`: check the configuration, or show what is in force, with secrets masked."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click
import msgspec
from msgspec import Struct, structs

from ..gateway import Config, Environment, Gateway, read_environment
from ..gateway.config import read_config
from ..gateway.specs import FromEnv, ProviderSpec
from .options import config_option, json_option
from .terminal import plain, print_json

MASK = "***"


class CheckedJson(Struct, frozen=True):
    file: str | None
    providers: int
    models: int
    pools: int
    modes: int


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
    gateway = Gateway(file or config_file)
    read = file or config_file or gateway.environment.config_file
    own = gateway.config
    counts = CheckedJson(
        None if read is None else str(read), len(own.providers), len(own.models), len(own.pools), len(own.modes)
    )
    if as_json:
        print_json(counts)
        return
    where = f"{counts.file} is right" if counts.file else "There is no configuration file, and none is needed"
    print(
        f"{where}: {_count(counts.providers, 'provider')}, {_count(counts.models, 'model')}, "
        f"{_count(counts.pools, 'pool')} and {_count(counts.modes, 'mode')} of your own."
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
    environment = read_environment()
    masked = mask(read_config(config_file, environment).config)
    files = looked_for(environment, config_file)
    if as_json:
        print_json(ShownJson(files, masked))
        return
    import yaml

    for file in files:
        state = "used" if file.used else "there, not used" if file.found else "not there"
        print(f"# {file.what}: {plain(file.path)} ({state})")
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
    )


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


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
