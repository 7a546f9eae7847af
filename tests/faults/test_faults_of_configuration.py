"""Configurations that cannot be used: refused with their place, and a server that runs is not touched by them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import PROVIDER_KEY, Running, configured
from serving import CHAT, ask

from pointsman.core import ConfigError, PointsmanError
from pointsman.gateway import Environment, Gateway
from upstream import Upstream, error

CIRCLE = """
providers:
  mine: {{dialect: openai, base_url: "{url}/v1"}}
models:
  down: {{provider: mine, price: {{input: 1, output: 2}}}}
pools:
  back: {{members: [auto, again]}}
  again: {{members: [down, auto]}}
modes:
  chooser: {{candidates: [down]}}
route: {{candidates: [down]}}
fallback: {{premium: [back, again], speed: [auto], research: [chooser, back], named: true, any_model: true}}
retries: {{rounds: 0}}
local: {{enabled: false}}
"""


@pytest.mark.fault(97, "Stand-ins are those of the outermost plan alone: a call that every one of them fails ends.")
@pytest.mark.parametrize("name", ["down", "back", "again", "chooser", "auto"])
async def test_stand_ins_that_lead_back_end(name: str, upstream: Upstream, home: Path) -> None:
    """One failing provider would keep a call, and the bill, going round until its deadline."""
    upstream.plans["down"] = error(500)
    file = home / "circle.yaml"
    file.write_text(CIRCLE.format(url=upstream.url))
    before = len(upstream.of("down"))
    async with Gateway(environment=Environment(home=home, variables={}, config_file=file)) as gateway:
        with pytest.raises(PointsmanError):
            await gateway.ask("hello", model=name)
    assert 1 <= len(upstream.of("down")) - before <= gateway.config.retries.attempts


@pytest.mark.fault(
    98, "A candidate of a mode or of the route that is neither a model nor a pattern is refused with its line."
)
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("route:\n  candidates: [smal]", "3: `route.candidates.0`: There is no model 'smal'. Did you mean 'small'?"),
        ("modes:\n  m:\n    candidates: ['s*', mall]", "4: `modes.m.candidates.1`: There is no model 'mall'"),
        ("modes: {m: {candidates: [m]}}", "2: `modes.m.candidates.0`: 'm' is a mode: here stand models"),
        (
            "pools: {p: {members: [small]}}\nroute: {candidates: [p]}",
            "3: `route.candidates.0`: 'p' is a pool: here stand models",
        ),
    ],
)
def test_a_candidate_that_leads_nowhere_is_told_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    """A mode would choose among fewer models than stand there, or none, and not say so."""
    file = tmp_path / "config.yaml"
    file.write_text(f"models: {{small: {{provider: openai}}}}\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        Gateway(environment=Environment(home=tmp_path, variables={}, config_file=file))
    assert str(refused.value).startswith(f"{file}:{place}")


def test_a_pattern_that_fits_nothing_yet_is_read(tmp_path: Path) -> None:
    """Models of an Ollama that is not started yet could not be named."""
    file = tmp_path / "config.yaml"
    file.write_text("route: {candidates: ['ollama/*', 'nothing-yet-*', gpt-5]}\n")
    Gateway(environment=Environment(home=tmp_path, variables={}, config_file=file))


@pytest.mark.fault(101, "The server does not start, and says which variable is missing, no other.")
@pytest.mark.fault(102, "It is refused at the next start, with its line; a server that runs keeps what it began with.")
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("\tproviders: [", "This is not YAML"),
        ("pools: {p: {members: [nonesuch]}}", "There is no model 'nonesuch'"),
        (
            "providers: {mine: {dialect: openai, base_url: 'http://x/v1', api_key: {env: NOT_SET}}}",
            "NOT_SET is not set",
        ),
        ("server: {prot: 1}", "Did you mean 'port'?"),
    ],
)
def test_a_configuration_that_cannot_be_used_does_not_reach_a_server_that_runs(
    upstream: Upstream, home: Path, broken: str, told: str
) -> None:
    """A slip of an editor would take the service down."""
    with Running(home, configured(upstream.url)) as server:
        file = home / "config-of-test.yaml"
        good = file.read_text()
        file.write_text(f"{broken}\n")
        variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home), "OTHER": PROVIDER_KEY}
        for command in (("config", "check"), ("serve", "--port", "0")):
            done = subprocess.run(
                (sys.executable, "-m", "pointsman", *command, "--config", str(file)),
                env=variables,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, PROVIDER_KEY in done.stdout + done.stderr) == (2, False)
            assert f"{file}:1: " in done.stderr and told in done.stderr
        assert ask(server).whole and ask(server, stream=True, path=CHAT).whole
        file.write_text(good)
        assert ask(server).whole
        assert server.stop() == 0
