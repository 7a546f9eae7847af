"""What `doctor` looks at. Each check says what was found, and what to do where that is not well."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import Struct

from ..core import AttemptError, ConfigError, LedgerError
from ..dialects import DIALECTS
from ..endpoints.local import MODELS, LocalHost, installed
from ..gateway import Config, Environment, Gateway, Model, Provider, open_transport, read_environment
from ..gateway.specs import FromEnv

State = Literal["ok", "warning", "problem", "off"]

PATIENCE = 3.0
"""Seconds to wait for a provider."""
LITTLE_DISK = 1 << 30


class Check(Struct, frozen=True):
    name: str
    state: State
    found: str
    advice: str = ""


async def examine(config_file: Path | None, *, offline: bool) -> tuple[list[Check], bool]:
    """The checks, and whether anything can serve."""
    environment = read_environment()
    checks = [_python(), _home(environment.home)]
    try:
        gateway = Gateway(config_file, environment=environment)
        checks.append(_config(gateway, config_file))
    except ConfigError as error:
        gateway = Gateway(Config(), environment=environment)
        checks.append(Check("configuration", "problem", error.message, "The rest is told as if there were none."))
    checks.append(_ledger(gateway))
    async with gateway:
        models = list(gateway.roster.everyone())
        checks += [_engine(), _local_models(environment.home), await _host(environment.home), _ollama(gateway, models)]
        providers = await _providers(gateway, models, offline=offline)
    checks += providers
    broken = {check.name for check in providers if check.state == "problem"}
    can_serve = any(not model.unavailable and model.provider not in broken for model in models)
    checks.append(_verdict(models, can_serve))
    return checks, can_serve


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _home(home: Path) -> Check:
    existing = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("home", "problem", f"{home} cannot be written", "Let POINTSMAN_HOME name a folder that can be.")
    free = shutil.disk_usage(existing).free
    state: State = "ok" if free > LITTLE_DISK else "warning"
    advice = "" if state == "ok" else "Free some: the local models take 0.6 GB."
    return Check("home", state, f"{home}, {free / 1e9:.1f} GB free", advice)


def _config(gateway: Gateway, stated: Path | None) -> Check:
    own = gateway.config
    file = stated or gateway.environment.config_file
    if file is None:
        return Check("configuration", "ok", "none, and none is needed")
    return Check(
        "configuration",
        "ok",
        f"{file}: {len(own.providers)} providers, {len(own.models)} models, {len(own.pools)} pools",
    )


def _ledger(gateway: Gateway) -> Check:
    file = gateway.environment.home / "ledger.sqlite"
    try:
        gateway.ledger.flush()
        rows = gateway.ledger.queries.cost("status")
    except LedgerError as error:
        return Check("ledger", "problem", error.message)
    attempts = sum(row.attempts for row in rows)
    found = f"{file}, {attempts:,} attempts, {file.stat().st_size / 1e6:.1f} MB"
    if gateway.ledger.damaged:
        where = gateway.environment.home / "journal" / "damaged"
        return Check("ledger", "warning", f"{found}; {gateway.ledger.damaged} damaged pieces", f"They lie in {where}.")
    return Check("ledger", "ok", found)


def _engine() -> Check:
    if find_spec("xllamacpp") is None:
        return Check("engine", "warning", "xllamacpp is not installed", 'pip install "pointsman[local]"')
    return Check("engine", "ok", "xllamacpp, for local models")


def _local_models(home: Path) -> Check:
    here = installed(home)
    wanted = [model.name for model in MODELS.values() if not model.on_request and model.name not in here]
    advice = f"pointsman models pull {' '.join(wanted)}" if wanted else ""
    if not here:
        return Check("local models", "warning", "none is here", advice)
    return Check("local models", "warning" if wanted else "ok", ", ".join(f"local/{name}" for name in here), advice)


async def _host(home: Path) -> Check:
    status = await LocalHost(home).status()
    if status is None:
        return Check("model host", "off", "does not run; the first call to a local model starts it")
    names = ", ".join(model.model for model in status.models) or "no model yet"
    return Check("model host", "ok", f"pid {status.pid}, runs {names}")


def _ollama(gateway: Gateway, models: Sequence[Model]) -> Check:
    if not (gateway.config.local.ollama and gateway.config.local.enabled):
        return Check("ollama", "off", "is not looked for (`local.ollama`)")
    served = [model.id for model in models if model.provider == "ollama" and not model.unavailable]
    url = gateway.roster.providers["ollama"].base_url
    if not served:
        return Check("ollama", "off", f"no models at {url}")
    return Check("ollama", "ok", f"{len(served)} models at {url}")


async def _providers(gateway: Gateway, models: Sequence[Model], *, offline: bool) -> list[Check]:
    named = gateway.config.providers
    in_use = [
        provider
        for provider in gateway.roster.providers.values()
        if not provider.unavailable and (provider.key or provider.name in named)
    ]
    checks = await asyncio.gather(
        *(_provider(gateway.environment, provider, models, offline=offline) for provider in in_use)
    )
    without = [
        Check(provider.name, "off", provider.unavailable.removeprefix("has no key: "), _where_to_get_a_key(provider))
        for provider in gateway.roster.providers.values()
        if provider.unavailable
    ]
    return [*checks, *without]


async def _provider(environment: Environment, provider: Provider, models: Sequence[Model], *, offline: bool) -> Check:
    facts = [_key(environment, provider), _priced(provider, models)]
    if offline or provider.dialect == "simulated":
        return Check(provider.name, "ok", ", ".join(facts))
    state, found, advice = await _reach(provider)
    return Check(provider.name, state, ", ".join([found, *facts]), advice)


def _key(environment: Environment, provider: Provider) -> str:
    """The name of the variable; never the key."""
    stated = provider.spec.api_key
    if isinstance(stated, FromEnv):
        return f"key from {stated.env}"
    if stated is not None:
        return "key in the configuration"
    found = environment.first(provider.row.key_env) if provider.row else None
    return f"key from {found[0]}" if found else "no key"


def _priced(provider: Provider, models: Sequence[Model]) -> str:
    served = [model for model in models if model.provider == provider.name]
    priced = [model for model in served if model.quote.charged is not None]
    return f"{len(priced)} of {len(served)} models priced"


async def _reach(provider: Provider) -> tuple[State, str, str]:
    """Asks for its list of models, which costs nothing."""
    dialect = DIALECTS[provider.dialect]
    url = provider.base_url.rstrip("/") + dialect.models_path
    transport = open_transport(PATIENCE, proxy=provider.proxy)
    headers = {**(dialect.auth(provider.key) if provider.key else {}), **provider.spec.headers}
    try:
        async with asyncio.timeout(PATIENCE):
            incoming = await transport.send("GET", url, headers, None)
            await incoming.close()
    except (AttemptError, TimeoutError) as error:
        why = error.message if isinstance(error, AttemptError) else f"No answer in {PATIENCE:g} s."
        return "problem", f"cannot be reached: {why}", "Check the network, or its `base_url`."
    finally:
        await transport.close()
    if incoming.status in (401, 403):
        return "problem", f"refuses the key ({incoming.status})", "Set another key."
    if incoming.status >= 500:
        return "warning", f"answers with {incoming.status}", "It has trouble of its own: try later."
    return "ok", "reachable", ""


def _where_to_get_a_key(provider: Provider) -> str:
    if not provider.row or not provider.row.console or provider.spec.enabled is False:
        return ""
    return provider.row.console


def _verdict(models: Sequence[Model], can_serve: bool) -> Check:
    ready = sum(not model.unavailable for model in models)
    if can_serve:
        return Check("verdict", "ok", f"{ready} of {len(models)} models can serve")
    return Check(
        "verdict", "problem", "nothing can serve", "Pull a local model, set a provider's key, or start Ollama."
    )
