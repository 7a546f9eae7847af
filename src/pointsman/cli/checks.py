"""What `doctor` looks at. Each check says what was found, and what to do where that is not well."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..core import AttemptError, ConfigError, LedgerError
from ..dialects import DIALECTS
from ..endpoints.local import MODELS, LocalHost, installed
from ..gateway import Config, Environment, Gateway, Model, Provider, open_transport, read_environment
from ..gateway.specs import FromEnv
from .check import Check, State
from .learned import in_use
from .terminal import count
from .weak_points import weak_points

PATIENCE = 3.0
"""Seconds to wait for a provider."""
LITTLE_DISK = 1 << 30


async def examine(config_file: Path | None, *, offline: bool) -> tuple[list[Check], bool]:
    """The checks, and whether anything can serve."""
    environment = read_environment()
    checks = [_python(), _home(environment.home)]
    can_record = checks[-1].state != "problem"
    checks += [Check(".env", "warning", problem) for problem in environment.problems]
    try:
        gateway = Gateway(config_file, environment=environment)
        checks.append(_config(gateway, config_file))
    except ConfigError as error:
        gateway = Gateway(Config(), environment=environment)
        checks.append(Check("configuration", "problem", error.message, "The rest is told as if there were none."))
    if can_record:
        checks.append(_ledger(gateway))
    async with gateway:
        models = list(gateway.roster.everyone())
        checks += [_engine(), _local_models(environment.home), await _host(environment.home), _ollama(gateway, models)]
        providers = await _providers(gateway, models, offline=offline)
        learned = in_use(gateway, models)
        weak = list(weak_points(gateway, models, can_record=can_record))
    checks += [*providers, learned, *weak]
    broken = {check.name for check in providers if check.state == "problem"}
    can_serve = can_record and any(not model.unavailable and model.provider not in broken for model in models)
    checks.append(_verdict(models, can_serve, can_record=can_record))
    return checks, can_serve


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _home(home: Path) -> Check:
    existing = next(folder for folder in (home, *home.absolute().parents) if os.path.lexists(folder))
    why = ""
    if not existing.is_dir():
        why = f"{existing} is not a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        why = f"{existing} is not yours to write to" if existing == home else f"{existing} lets you make nothing in it"
    else:
        locked = next((file for file in (home / "ledger.sqlite", home / "journal") if _is_locked(file)), None)
        why = f"{locked} is not yours to write to" if locked else ""
    if why:
        advice = "Calls are not served unrecorded: make it writable, or let POINTSMAN_HOME name a folder that is."
        return Check("home", "problem", f"{home} cannot be used: {why}", advice)
    free = shutil.disk_usage(existing).free
    state: State = "ok" if free > LITTLE_DISK else "warning"
    advice = "" if state == "ok" else "Free some: the local models take 0.6 GB."
    return Check("home", state, f"{home}, {free / 1e9:.1f} GB free", advice)


def _is_locked(file: Path) -> bool:
    return file.exists() and not os.access(file, os.W_OK)


def _config(gateway: Gateway, stated: Path | None) -> Check:
    own = gateway.config
    file = stated or gateway.environment.config_file
    if file is None:
        return Check("configuration", "ok", "none, and none is needed")
    counts = ((own.providers, "provider"), (own.models, "model"), (own.pools, "pool"))
    return Check("configuration", "ok", f"{file}: {', '.join(count(len(named), word) for named, word in counts)}")


def _ledger(gateway: Gateway) -> Check:
    file = gateway.environment.home / "ledger.sqlite"
    try:
        gateway.ledger.flush()
        rows = gateway.ledger.queries.cost("status")
    except LedgerError as error:
        return Check("ledger", "problem", error.message)
    attempts = sum(row.attempts for row in rows)
    found = f"{file}, {count(attempts, 'attempt')} recorded, {file.stat().st_size / 1e6:.1f} MB"
    if gateway.ledger.damaged:
        where = gateway.environment.home / "journal" / "damaged"
        return Check(
            "ledger", "warning", f"{found}; {count(gateway.ledger.damaged, 'damaged piece')}", f"Look in {where}."
        )
    return Check("ledger", "ok", found)


def _engine() -> Check:
    if find_spec("xllamacpp") is None:
        return Check(
            "engine",
            "warning",
            "xllamacpp, which runs local models, is not installed",
            'pip install "pointsman[local]"',
        )
    return Check("engine", "ok", "xllamacpp, for local models")


def _local_models(home: Path) -> Check:
    here = installed(home)
    wanted = [model.name for model in MODELS.values() if not model.on_request and model.name not in here]
    advice = f"pointsman models pull {' '.join(wanted)}" if wanted else ""
    if not here:
        return Check("local models", "warning", "none pulled yet", advice)
    return Check("local models", "warning" if wanted else "ok", ", ".join(f"local/{name}" for name in here), advice)


async def _host(home: Path) -> Check:
    status = await LocalHost(home).status()
    if status is None:
        return Check("model host", "off", "not running: the first call to a local model starts it")
    names = ", ".join(model.model for model in status.models) or "no model yet"
    return Check("model host", "ok", f"pid {status.pid}, runs {names}")


def _ollama(gateway: Gateway, models: Sequence[Model]) -> Check:
    if not (gateway.config.local.ollama and gateway.config.local.enabled):
        return Check("ollama", "off", "not looked for: the configuration says so (`local.ollama` or `local.enabled`)")
    served = [model.id for model in models if model.provider == "ollama" and not model.unavailable]
    url = gateway.roster.providers["ollama"].base_url
    if not served:
        return Check("ollama", "off", f"none found at {url}")
    return Check("ollama", "ok", f"{count(len(served), 'model')} at {url}")


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
        Check(provider.name, "off", provider.unavailable.removeprefix("has "), _where_to_get_a_key(provider))
        for provider in gateway.roster.providers.values()
        if provider.unavailable
    ]
    return [*checks, *without]


async def _provider(environment: Environment, provider: Provider, models: Sequence[Model], *, offline: bool) -> Check:
    facts = [_key(environment, provider), *_priced(provider, models)]
    advice = _free_tier(provider)
    if offline or provider.dialect == "simulated":
        return Check(provider.name, "ok", ", ".join(facts), advice)
    state, found, remedy = await _reach(provider)
    return Check(provider.name, state, f"{', '.join(facts)}; {found}", f"{remedy} {advice}".strip())


def _key(environment: Environment, provider: Provider) -> str:
    """The name of the variable; never the key."""
    stated = provider.spec.api_key
    if isinstance(stated, FromEnv):
        return f"key from {stated.env}"
    if stated is not None:
        return "key in the configuration"
    found = environment.first(provider.row.key_env) if provider.row else None
    return f"key from {found[0]}" if found else "no key"


def _priced(provider: Provider, models: Sequence[Model]) -> list[str]:
    served = [model for model in models if model.provider == provider.name]
    priced = [model for model in served if model.quote.charged is not None]
    if not served:
        return ["no models"]
    if len(priced) == len(served):
        return [f"{count(len(served), 'model')}, {'priced' if len(served) == 1 else 'all priced'}"]
    return [f"{count(len(served), 'model')}, {len(priced) or 'none'} priced"]


def _free_tier(provider: Provider) -> str:
    """A key says nothing about who pays; a paid account that is taken for a free one has its costs told as nothing."""
    row = provider.row
    if row is None or row.deployment != "free" or provider.spec.deployment is not None:
        return ""
    covered = [pattern for pattern in (row.free_tier.covers if row.free_tier else ()) if pattern != "*"]
    what = f" for {', '.join(covered)}" if covered else ""
    return (
        f"Taken for a free tier{what}, whose calls count as $0. If this key is billed, state it: "
        f"providers: {{{provider.name}: {{deployment: paid}}}}"
    )


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
        why = error.message.rstrip(".") if isinstance(error, AttemptError) else f"no answer in {PATIENCE:g} s"
        return "problem", why, "Check the network, or its `base_url`."
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


def _verdict(models: Sequence[Model], can_serve: bool, *, can_record: bool) -> Check:
    ready = sum(not model.unavailable for model in models)
    if can_serve:
        return Check("verdict", "ok", f"{ready} of {count(len(models), 'model')} can serve")
    if not can_record:
        return Check("verdict", "problem", "nothing can serve, since nothing can be recorded", "See `home` above.")
    if ready:
        return Check("verdict", "problem", "nothing can serve", "See the providers above, or pull a local model.")
    return Check(
        "verdict", "problem", "nothing can serve", "Pull a local model, set a provider's key, or start Ollama."
    )
