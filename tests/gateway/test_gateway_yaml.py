"""Configuration files: a slip is told with file, line and the likely spelling; rubbish never crashes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from pointsman.core import ConfigError
from pointsman.gateway import Config, Environment, Gateway, as_chat
from pointsman.gateway.config import READY_MODES
from pointsman.gateway.specs import FromEnv, PriceSpec
from pointsman.gateway.yaml_file import load, parse

LEAST = """\
providers:
  mine: {dialect: openai, base_url: "http://127.0.0.1:9001/v1", api_key: {env: MY_KEY}}
models:
  gpt-4o-mini: {provider: mine}
pools:
  fast: {members: [gpt-4o-mini, local/qwen2.5-coder-0.5b], balance: p2c}
"""

WHOLE = """\
providers:
  mine:
    dialect: anthropic
    base_url: https://models.example.com/v1
    api_key: plain
    deployment: paid
    headers: {x-team: red}
    timeouts: {connect: 1, ttft: 2.5, idle: 3, total: 4}
    enabled: false
models:
  one:
    provider: mine
    id: one-2026
    context: 32000
    max_output: 4000
    capabilities: [tools, image]
    price: {input: 0.15, output: "0.60", cache_read: 0}
    quality: 0.7
    rubrics: {coding: {performance: 8, speed: 4.5}}
pools:
  both: {members: [one, auto], balance: round_robin}
modes:
  reviewer: {candidates: ["one", "gpt-*"], priority: balanced, task: coding, max_cost: 0.01, max_latency: 20}
route:
  priority: performance
  candidates: ["*"]
  chains: {coding: {local: [local/smollm2-135m], paid: [one]}}
ledger: {bodies: true, features: false}
local: {enabled: false, official_only: true, idle: 10, threads: 2, ollama: false}
server: {host: 0.0.0.0, port: 9000, key: {env: SERVER_KEY}, max_body_mb: 1.5}
timeouts: {total: 60}
"""


def read(text: str) -> Config:
    return parse(text, Config, file="config.yaml")[0]


def checked(folder: Path, text: str, **variables: str) -> Gateway:
    """A gateway of this text: read, and held against what there is."""
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return Gateway(path, environment=Environment(home=folder / "home", variables=variables))


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value)


def test_the_least_that_works_is_read(tmp_path: Path) -> None:
    """The configuration of the README would be refused."""
    config = checked(tmp_path, LEAST, MY_KEY="k").config
    assert config.providers["mine"].api_key == FromEnv(env="MY_KEY")
    assert config.pools["fast"].members == ("gpt-4o-mini", "local/qwen2.5-coder-0.5b")


def test_every_setting_is_read(tmp_path: Path) -> None:
    """A documented setting would be a typo."""
    config = checked(tmp_path, WHOLE).config
    assert config.models["one"].price == PriceSpec(input=0.15, output="0.60", cache_read=0)
    assert config.models["one"].capabilities == {"tools", "image"}
    assert config.models["one"].rubrics["coding"].speed == 4.5
    assert config.route.chains["coding"].paid == ("one",)
    assert (config.server.port, config.server.key, config.timeouts.total) == (9000, FromEnv(env="SERVER_KEY"), 60)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "~", "---\n", "{}", "\ufeff", "\ufeff{}"])
def test_a_file_that_says_nothing_changes_nothing(text: str) -> None:
    """A fresh file could not be saved before it is filled."""
    assert read(text) == Config()


@pytest.mark.parametrize(
    ("text", "line", "path", "likely"),
    [
        ("provider: {}", 1, "provider", "providers"),
        ("\nservers: {}", 2, "servers", "server"),
        ("providers:\n  mine:\n    base_ulr: http://x", 3, "providers.mine.base_ulr", "base_url"),
        ("providers:\n  m: {api_key: {evn: X}}", 2, "providers.m.api_key.evn", "env"),
        ("providers:\n  m: {timeouts: {ttfb: 1}}", 2, "providers.m.timeouts.ttfb", "ttft"),
        ("models:\n  m:\n    provider: p\n    conext: 1", 4, "models.m.conext", "context"),
        ("models:\n  m: {provider: p, price: {inputs: 1, output: 1}}", 2, "models.m.price.inputs", "input"),
        (
            "models:\n  m: {provider: p, rubrics: {coding: {perfomance: 1}}}",
            2,
            "models.m.rubrics.coding.perfomance",
            "performance",
        ),
        ("pools:\n  p:\n    member: []", 3, "pools.p.member", "members"),
        ("modes:\n  m: {prority: frugal}", 2, "modes.m.prority", "priority"),
        ("route:\n  chains: {coding: {locals: []}}", 2, "route.chains.coding.locals", "local"),
        ("ledger: {body: true}", 1, "ledger.body", "bodies"),
        ("local: {enable: true}", 1, "local.enable", "enabled"),
        ("timeouts: {idel: 3}", 1, "timeouts.idel", "idle"),
        ("pools:\n  p: {members: [a], balance: p2d}", 2, "pools.p.balance", "p2c"),
        ("providers:\n  p: {dialect: opanai}", 2, "providers.p.dialect", "openai"),
        ("models:\n  m: {provider: p, capabilities: [tool]}", 2, "models.m.capabilities.0", "tools"),
    ],
)
def test_a_slip_is_told_with_its_place_and_the_likely_spelling(text: str, line: int, path: str, likely: str) -> None:
    """A setting would be ignored in silence, or the user would have to search for it."""
    message = complaint(text)
    assert message.startswith(f"config.yaml:{line}: `{path}`:")
    assert f"Did you mean {likely!r}?" in message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("- a", "Here stands a list, and a map is needed"),
        ("hello", "Here stands 'hello', and a map is needed"),
        ("providers:", "`providers`: Here stands nothing, and a map is needed"),
        ("models: {m: }", "`models.m`: Here stands nothing, and a map with provider"),
        ("models: {m: {}}", "`models.m`: The key 'provider' is missing"),
        ("models: {m: {provider: 1}}", "Here stands 1, and text is needed"),
        ("pools: {p: {members: fast}}", "Here stands 'fast', and a list is needed"),
        ("server: {port: eight}", "Here stands 'eight', and a whole number from 0 up to 65,535 is needed"),
        ("server: {port: 65536}", "a whole number from 0 up to 65,535 is needed"),
        ("server: {port: 80.5}", "Here stands 80.5, and a whole number"),
        ("local: {threads: 0}", "a whole number from 1 up to 1,024 is needed"),
        ("local: {enabled: maybe}", "Here stands 'maybe', and true or false is needed"),
        ("timeouts: {ttft: -1}", "a number above 0 up to 86,400 is needed"),
        ("timeouts: {ttft: .inf}", "Here stands inf, and a number above 0"),
        ("timeouts: {ttft: .nan}", "Here stands nan, and a number above 0"),
        ("models: {m: {provider: p, quality: 7}}", "a number from 0 up to 1 is needed"),
        ("models: {m: {provider: p, context: 0}}", "a whole number from 1"),
        ("models: {m: {provider: p, price: {input: abc, output: 1}}}", "text such as '0.15' is needed"),
        ("models: {m: {provider: p, price: {input: -1, output: 1}}}", "a number from 0"),
        ("modes: {m: {max_cost: cheap}}", "Here stands 'cheap', and a number from 0"),
        ("providers: {m: {base_url: example.com}}", "text such as 'http://127.0.0.1:9001/v1' is needed"),
        ("providers: {m: {api_key: {env: ''}}}", "text that is not empty is needed"),
        ("providers: {m: {api_key: 12}}", "Here stands 12, and text or a map with env is needed"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_needed(text: str, wanted: str) -> None:
    """A bad value would be found out by the first call, hours later."""
    message = complaint(text)
    assert message.startswith("config.yaml:1: ")
    assert wanted in message


@pytest.mark.fault(100, "The tag is refused, with its line.")
@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("server: {port: 1", 2, "This is not YAML"),
        ("server:\n\tport: 1", 2, "This is not YAML"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ('a: "\\ud800"', 1, "This is not YAML"),
        ("server: {port: 1}\nserver: {port: 2}", 2, "The key 'server' stands here twice"),
        ("local:\n  idle: 1\n  idle: 2", 3, "The key 'idle' stands here twice"),
        ('\nproviders: !!python/object/apply:os.system ["true"]', 2, "The tag"),
        ("providers:\n  !!python/name:os.system x: {}", 2, "The tag"),
        ("models: {m: {provider: 2026-01-01}}", 1, "text such as a date in quotes"),
        ("providers:\n  a: &a {dialect: openai}\n  b:\n    <<: *a", 4, "Merge keys"),
        ("[a, b]: c", 1, "A key must be a word"),
        ('server: {port: !!int ""}', 1, "cannot be read as int"),
        ("local: {enabled: !!bool maybe}", 1, "cannot be read as bool"),
        ("server: {port: " + "9" * 5000 + "}", 1, "cannot be read as int"),
        ("[" * 3000 + "]" * 3000, 1, "more than a configuration can be"),
        ("a: &a [*a]", 1, "more than a configuration can be"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, line: int, part: str) -> None:
    """A configuration could run code, eat the memory, or end in a traceback."""
    message = complaint(text)
    assert message.startswith(f"config.yaml:{line}: ")
    assert part in message
    assert len(message) < 400


@pytest.mark.fault(99, "It is refused before it unfolds.")
def test_aliases_that_unfold_to_millions_are_refused() -> None:
    """A file of a few lines would fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "unfolds to more" in complaint("\n".join(lines))


def test_an_alias_that_is_used_as_one_is_read() -> None:
    """YAML's own way to say a thing once would not work."""
    config = read("timeouts: &t {ttft: 7}\nproviders: {a: {timeouts: *t}}")
    assert config.providers["a"].timeouts == config.timeouts


def test_nesting_without_end_does_not_kill_the_process() -> None:
    """libyaml's composer recurses in C: the process would die without a word."""
    program = (
        "from pointsman.core import ConfigError\n"
        "from pointsman.gateway import Config\n"
        "from pointsman.gateway.yaml_file import parse\n"
        "for opened in ('[', '{a: ', '- ', '? '):\n"
        "    try:\n"
        "        parse(opened * 300_000, Config, file='c')\n"
        "    except ConfigError as error:\n"
        "        print(error.line)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.split()) == (0, ["1"] * 4), ran.stderr


@given(some.text(max_size=80))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_configuration_or_a_complaint(text: str) -> None:
    """A stray key press would end in a traceback."""
    try:
        read(text)
    except ConfigError as error:
        assert str(error).startswith("config.yaml")


@given(some.integers(0, len(WHOLE)), some.sampled_from(list("[]{}:,&*!|>'\"%@`~<-?#\t\n\0é7")))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_wrong_character_anywhere_is_a_complaint_at_worst(place: int, character: str) -> None:
    """A stray key press in a long file would end in a traceback."""
    for text in (WHOLE[:place], WHOLE[:place] + character + WHOLE[place:], WHOLE[:place] + character):
        try:
            read(text)
        except ConfigError as error:
            assert str(error).startswith("config.yaml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The user would not learn which of his files is meant."""
    binary = tmp_path / "latin.yaml"
    binary.write_bytes(b"providers: \xff\xfe")
    for path, part in (
        (tmp_path / "none.yaml", "There is no such file"),
        (tmp_path, "cannot be read"),
        (binary, "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=part) as refused:
            load(path, Config)
        assert str(refused.value).startswith(f"{path}: ")
        assert refused.value.file == str(path)


URL = 'base_url: "http://127.0.0.1:9/v1"'


@pytest.mark.fault(97, "Pools that lead back to themselves are refused, with the way.")
@pytest.mark.fault(98, "It is refused with its line and the nearest name.")
@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (f"providers:\n  mine: {{{URL}}}\nmodels:\n  a: {{provider: mien}}", 4, "There is no provider 'mien'. Did you"),
        ("models:\n  a: {provider: opnai}", 2, "Did you mean 'openai'?"),
        ("models:\n  a:\n    provider: zzz", 3, "There is no provider 'zzz'. Known: "),
        (
            f"providers: {{mine: {{{URL}}}}}\nmodels: {{abc: {{provider: mine}}}}\npools:\n  p: {{members: [abd]}}",
            4,
            "'abc'",
        ),
        (
            "pools:\n  p:\n    members:\n      - gpt-5\n      - nonesuch-at-all",
            5,
            "There is no model 'nonesuch-at-all'",
        ),
        ("pools:\n  p: {members: []}", 2, "A pool needs a member"),
        ("route: {candidates: [auto]}", 1, "'auto' is a mode: here stand models"),
        ("route: {candidates: [zzz-zzz]}", 1, "There is no model 'zzz-zzz'."),
        ("modes:\n  x: {candidates: [y]}\n  y: {candidates: [x]}", 2, "'y' is a mode: here stand models"),
        ("modes:\n  x: {candidates: [p]}\npools: {p: {members: [gpt-5]}}", 2, "'p' is a pool: here stand models"),
        ("modes:\n  m: {task: codign}", 2, "There is no task 'codign'. Did you mean 'coding'?"),
        ("models:\n  a: {provider: openai, rubrics: {codign: {performance: 1}}}", 2, "Did you mean 'coding'?"),
        ("route:\n  chains:\n    codign: {}", 3, "Did you mean 'coding'?"),
        ("route:\n  chains:\n    coding:\n      paid: [nonesuch-at-all]", 4, "There is no model 'nonesuch-at-all'"),
        ("pools:\n  p: {members: [p]}", 2, "The pools go in a circle: p → p."),
        ("pools:\n  a: {members: [gpt-5, b]}\n  b: {members: [a]}", None, "The pools go in a circle: "),
        ("pools:\n  gpt-5: {members: [auto]}\nmodels:\n  gpt-5: {provider: openai}", 2, "is a model and a pool"),
        ("modes: {x: {}}\npools: {x: {members: [gpt-5]}}", 1, "is a pool and a mode"),
        (f"providers:\n  x: {{{URL}}}\nmodes: {{x: {{}}}}", 2, "is a mode too"),
        (f"providers:\n  local: {{{URL}}}", 2, "'local' is this machine's own"),
        (f"providers:\n  a/b: {{{URL}}}", 2, "A provider's name has no '/'"),
        ("\nproviders:\n  mine: {dialect: openai}", 3, "It needs a `base_url`"),
        ("pools:\n  auto: {members: [gpt-5]}", 2, "'auto' is a mode that is always there"),
        ("models:\n  private: {provider: openai}", 2, "'private' is a mode that is always there"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_its_place(
    tmp_path: Path, text: str, line: int | None, part: str
) -> None:
    """A pool would lose a member, or call itself without end, at the first call."""
    with pytest.raises(ConfigError) as refused:
        checked(tmp_path, text)
    assert part in str(refused.value) and "Known: ." not in str(refused.value)
    assert line is None or refused.value.line == line
    assert refused.value.file == str(tmp_path / "config.yaml")


def test_a_web_of_pools_is_checked_in_no_time(tmp_path: Path) -> None:
    """Thirty pools of two would be walked through a billion times."""
    pools = [f"  p{n}: {{members: [p{n + 1}, p{n + 1}]}}" for n in range(300)]
    checked(tmp_path, "\n".join(["pools:", *pools, "  p300: {members: [gpt-5]}"]))


def test_the_ready_modes_are_those_that_the_check_knows(tmp_path: Path) -> None:
    """A pool could take the name of a mode, and one of the two would never be reached."""
    names = [listed.name for listed in checked(tmp_path, "{}").listed() if listed.owner == "pointsman"]
    assert sorted(names) == sorted(READY_MODES)


def test_a_mode_replaces_a_ready_one(tmp_path: Path) -> None:
    """`auto` could not be made one's own."""
    asked = checked(tmp_path, "modes: {auto: {priority: balanced}}")
    assert asked.decide(asked.call(as_chat("Hello!"))).policy == "objective:balanced"


@pytest.mark.fault(101, "The configuration is refused; the message names the variable alone.")
def test_a_missing_secret_names_only_its_variable(tmp_path: Path) -> None:
    """A key would stand in a log, or the user would not know which one is missing."""
    with pytest.raises(ConfigError) as refused:
        checked(tmp_path, LEAST, OTHER_KEY="sk-very-secret")
    assert "The variable MY_KEY is not set" in str(refused.value)
    assert refused.value.line == 2
    assert "sk-very-secret" not in str(refused.value)


@pytest.mark.fault(104, "A key that was pasted badly is not shown either.")
@pytest.mark.parametrize("key", ["sk-very\nsecret", "sk-very‑secret", "“sk-very-secret”"])
def test_a_key_that_was_pasted_badly_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    """Every call would fail, with the key in its traceback."""
    with pytest.raises(ConfigError, match="MY_KEY holds a line break, or a character") as refused:
        checked(tmp_path, LEAST, MY_KEY=key)
    assert "very" not in str(refused.value)
