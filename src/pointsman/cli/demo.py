"""`pointsman demo`: offline and real. An answer, a disagreement, a model killed in mid-answer, and the bill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import structs

from ..core import AttemptError, Broken, Call, Reply, Served, show_usd
from ..core.plain import plain_line, plain_text
from ..endpoints.local import MODELS, LocalHost, installed
from ..endpoints.simulated import Script, SimulatedEndpoint
from ..gateway import Config, Environment, Gateway, as_chat, new_id, read_environment
from ..gateway.config import read_config
from ..gateway.roster import LOCAL
from ..lab import Engine, compare
from ..ledger import REAL_CLOCK
from .failures import FAILED
from .options import config_option
from .terminal import show_line

ANSWERED = "Write a Python function that reverses a string."
DISPUTED = "What is the capital of Australia? One word."
LONG = "Write a long story about an old railway pointsman and his last night at work."
PIECES_BEFORE_THE_KILL = 25
_MOST_TOKENS = 600
_MOST_LINES = 8
_QUOTED = 4
"""Columns before what a model wrote."""
_TIMEOUT = 300.0
_IDLE = 60.0
"""Seconds after which the demo's model host ends if the demo was killed and could not end it."""


@click.command()
@config_option
def demo(config_file: Path | None) -> None:
    """See it work offline: an answer, a disagreement, a broken stream.

    It runs the models of this machine in a temporary home of its own, so it sends nothing, costs nothing and leaves
    your ledger as it is. It exits with 0 only where each part was seen to do what it says.

    \b
    Examples:
      pointsman models pull
      pointsman demo
    """
    environment = read_environment()
    local = read_config(config_file, environment).config.local
    config = Config(local=structs.replace(local, enabled=True, ollama=False, idle=_IDLE))
    with tempfile.TemporaryDirectory(prefix="pointsman-demo-", ignore_cleanup_errors=True) as folder:
        home = _home_with_models(Path(folder), environment.home)
        shown = asyncio.run(_show(config, home))
    done = sum(shown)
    _say(f"{done} of {len(shown)} parts did what they say.")
    if done < len(shown):
        raise SystemExit(FAILED)


def _home_with_models(home: Path, users: Path) -> Path:
    """A model host of our own can be killed there without hurting anybody's calls. The files are only linked to."""
    for name in installed(users):
        path = MODELS[name].path(home)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(MODELS[name].path(users).absolute())
    return home


async def _show(config: Config, home: Path) -> list[bool]:
    _say("All of this happens on this machine, in a temporary home: your ledger stays as it is.")
    gateway = Gateway(config, environment=Environment(home=home, variables={}))
    try:
        async with gateway:
            local = [model for model in gateway.roster.everyone() if model.provider == LOCAL]
            models = [model.name for model in local if not model.unavailable]
            if not models:
                return await _without_models([f"{model.name} {model.unavailable}" for model in local])
            parts = [await _answer(gateway, models[0]), await _disagreement(gateway, models)]
            parts.append(await _kill(gateway, models[0], LocalHost(home)))
            return [*parts, _bill(gateway)]
    finally:
        await LocalHost(home).stop()


async def _answer(gateway: Gateway, model: str) -> bool:
    _part(1, f"An answer, from {model}", ANSWERED)
    try:
        reply = await gateway.ask(ANSWERED, model=model, temperature=0.0, max_tokens=_MOST_TOKENS)
        answer = await reply.read()
    except AttemptError as error:
        return _did_not(error.message)
    _quote(answer.text)
    _say(f"  finished after {_seconds(reply)}")
    return answer.finish == "stop" and "def " in answer.text


async def _disagreement(gateway: Gateway, models: Sequence[str]) -> bool:
    _part(2, "Two models that disagree", DISPUTED)
    if len(models) < 2:
        return _did_not(f"It takes two, and only {models[0]} is here: `pointsman models pull` brings more.")
    comparison = await compare(
        as_chat(DISPUTED, temperature=0.0, max_tokens=_MOST_TOKENS),
        [Engine(name, gateway.find(name)) for name in models[:2]],
        timeout=_TIMEOUT,
        clock=gateway.clock,
        new_id=new_id,
    )
    for result in comparison.engines:
        what = result.text if result.status == "ok" else f"{result.status}: {result.error and result.error.message}"
        _say(f"  {result.name}: {plain_line(what, 100)}")
    if len(comparison.agreement.clusters) < 2:
        return _did_not("They did not disagree.")
    _say("  So one model's word is not enough. `pointsman compare` shows who says what.")
    return True


async def _kill(gateway: Gateway, model: str, host: LocalHost) -> bool:
    """Only a reply that ends as Broken, with no finish, and stands as broken in the ledger has done as it should."""
    _part(3, f"{model} is killed in the middle of its answer", LONG)
    call = gateway.call(as_chat(LONG, temperature=0.0, max_tokens=_MOST_TOKENS), model=model)
    try:
        async with await host.lease(model) as lease, await gateway(call) as reply:
            broken = await _read_and_kill(reply, lease.pid)
    except AttemptError as error:
        return _did_not(error.message)
    if broken is None:
        return _did_not("It came to its end before it was killed.")
    _say(f"  ended as broken, not finished: {plain_line(broken.error.message, 160)}")
    gateway.ledger.flush()
    entry = next((entry for entry in gateway.ledger.queries.recent() if entry.call_id == call.id), None)
    _say(f"  in the ledger: {f'{entry.status} ({entry.error})' if entry else 'nothing'}")
    ending = reply.ending
    return entry is not None and entry.status == "broken" and ending is not None and ending.finish is None


async def _read_and_kill(reply: Reply, pid: int) -> Broken | None:
    """Reads a reply and kills -9 the process that writes it. None where the reply did not break."""
    text: list[str] = []
    pieces = 0
    async for item in reply:
        if isinstance(item, Broken):
            return item
        text.append(item.text)
        pieces += 1
        if pieces == PIECES_BEFORE_THE_KILL:
            _quote("".join(text))
            _say(f"  kill -9 {pid}, after {pieces} pieces")
            os.kill(pid, signal.SIGKILL)
    return None


def _bill(gateway: Gateway) -> bool:
    _part(4, "What the ledger has of it")
    gateway.ledger.flush()
    entries = list(gateway.ledger.queries.entries())
    for entry in entries:
        tokens = f"{entry.usage.input_tokens} in, {entry.usage.output_tokens} out" if entry.usage else "tokens unknown"
        _say(f"  {entry.model:<26} {entry.status:<7} {entry.seconds:5.1f} s  {tokens:<18} {show_usd(entry.cost)}")
    costs = [entry.cost for entry in entries]
    _say(f"  {len(entries)} attempts, {'cost unknown' if None in costs else show_usd(sum(c or 0 for c in costs))}")
    return bool(entries) and all(cost == 0 for cost in costs)


async def _without_models(reasons: Sequence[str]) -> list[bool]:
    """The third part alone, and simulated."""
    _say("No local model can run, so there is no real answer to show. `pointsman models pull` brings two.")
    for reason in reasons:
        _say(f"  {reason}")
    _part(3, "A stream that breaks in the middle (SIMULATED: it follows a script, no model runs)", LONG)
    script = Script(text="The old pointsman lit his lamp and waited for the last train.", breaks_after=6)
    served = Served("simulated/story", "simulated/story", "simulated")
    ask = SimulatedEndpoint(served, script, REAL_CLOCK)
    text: list[str] = []
    broken = None
    async with await ask(Call(id=new_id(), model=served.model, chat=as_chat(LONG), stream=True)) as reply:
        async for item in reply:
            if isinstance(item, Broken):
                broken = item
            else:
                text.append(item.text)
    _quote("".join(text))
    if broken is not None:
        _say(f"  ended as broken, not finished: {broken.error.message}")
    return [False, False, broken is not None and reply.ending is not None and reply.ending.status == "broken", False]


def _seconds(reply: Reply) -> str:
    ending = reply.ending
    return f"{ending.seconds:.1f} s" if ending else "an unknown time"


def _part(number: int, title: str, prompt: str = "") -> None:
    _say(f"\n{number}. {title}")
    if prompt:
        _say(f"  > {prompt}")


def _quote(text: str) -> None:
    lines = plain_text(text).strip().splitlines()
    for line in lines[:_MOST_LINES]:
        _say(f"  | {line}")
    if len(lines) > _MOST_LINES:
        _say(f"  | … {len(lines) - _MOST_LINES} more lines")


def _did_not(why: str) -> bool:
    _say(f"  This was not shown. {plain_line(why)}")
    return False


def _say(line: str) -> None:
    show_line(line, file=sys.stdout, hang=_QUOTED if line.startswith("  | ") else 0)
    sys.stdout.flush()
