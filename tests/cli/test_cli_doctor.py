"""`pointsman doctor`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from cli_upstream import CANARY, Run

from pointsman.gateway.weights import learned_path
from pointsman.routing.learned import LearnedRouter


def checks(run: Run, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", *arguments, **variables)
    report = json.loads(done.stdout)
    assert set(report) == {"ok", "checks"}
    return done.returncode, {check["name"]: check for check in report["checks"]}


def report(run: Run, *arguments: str, **variables: str) -> list[dict[str, Any]]:
    """All checks, those of one name too."""
    found: list[dict[str, Any]] = json.loads(run("doctor", "--json", *arguments, **variables).stdout)["checks"]
    return found


def test_an_empty_machine_has_a_problem_and_advice(run: Run) -> None:
    """A newcomer would not know what to do next."""
    code, found = checks(run)
    assert code == 1
    assert found["verdict"]["state"] == "problem"
    assert found["local models"]["advice"] == "pointsman models pull smollm2-135m qwen2.5-coder-0.5b"
    assert found["openai"]["found"] == "no key: set OPENAI_API_KEY"
    told = run("doctor")
    assert told.returncode == 1 and "✗ verdict" in told.stdout


def test_a_provider_that_answers_is_reachable_and_priced(run: Run, config: Path) -> None:
    """A working setup could not be told from a broken one."""
    code, found = checks(run)
    assert code == 0
    assert found["mine"]["state"] == "ok"
    assert found["mine"]["found"] == "key from MINE_KEY, 7 models, 6 priced; reachable"
    assert found["configuration"]["found"].endswith("1 provider, 7 models, 1 pool")


def test_a_key_that_is_refused_is_found_out(run: Run, config: Path) -> None:
    """A wrong key would only show with the first paid call."""
    code, found = checks(run, MINE_KEY="wrong")
    assert (code, found["mine"]["state"]) == (1, "problem")
    assert "refuses the key (401)" in found["mine"]["found"]


def test_a_provider_that_is_down_is_found_out(run: Run, home: Path) -> None:
    """A mistyped address would only show with the first call."""
    (home / "config.yaml").write_text(
        "providers: {mine: {base_url: 'http://127.0.0.1:9/v1'}}\nmodels: {a: {provider: mine}}\n", "utf-8"
    )
    code, found = checks(run)
    assert (code, found["mine"]["state"]) == (1, "problem")
    assert "cannot be reached" in found["mine"]["found"]


def test_offline_asks_nobody(run: Run, config: Path) -> None:
    """Looking at a machine without a network would take seconds for each provider."""
    code, found = checks(run, "--offline", MINE_KEY="wrong")
    assert (code, found["mine"]["state"]) == (0, "ok")


def test_a_wrong_configuration_does_not_stop_the_doctor(run: Run, home: Path) -> None:
    """The one command that should explain a problem would die of it."""
    (home / "config.yaml").write_text("local:\n  official_onyl: true\n", "utf-8")
    code, found = checks(run)
    assert code == 1
    assert "config.yaml:2:" in found["configuration"]["found"]


def test_a_damaged_ledger_does_not_stop_the_doctor(run: Run, home: Path, config: Path) -> None:
    """As above, for the record."""
    (home / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    code, found = checks(run)
    assert (code, found["ledger"]["state"]) == (0, "problem")


def test_a_home_that_cannot_be_used_is_told_with_its_reason(run: Run, config: Path, tmp_path: Path) -> None:
    """Nobody would know what is in the way; and a model would be called ready whose calls cannot be recorded."""
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    for home in (file, file / "inside"):
        code, found = checks(run, "--config", str(config), POINTSMAN_HOME=str(home))
        assert code == 1
        assert found["home"]["found"] == f"{home} cannot be used: {file} is not a folder"
        assert "nothing can be recorded" in found["verdict"]["found"]
        assert "ledger" not in found


def test_a_folder_that_may_not_be_written_to_is_told(run: Run, config: Path) -> None:
    """As above, for a folder of somebody else's. (Nobody may make a file in /proc/self.)"""
    code, found = checks(run, "--config", str(config), POINTSMAN_HOME="/proc/self/home")
    assert code == 1 and found["verdict"]["state"] == "problem"


def test_a_dotenv_file_that_cannot_be_read_is_told(run: Run, tmp_path: Path) -> None:
    """The missing key would be looked for everywhere else."""
    (tmp_path / ".env").write_bytes(b"A=1\nB=\xff\n")
    _, found = checks(run)
    assert found[".env"]["state"] == "warning"
    assert f"{tmp_path / '.env'}:2: This is not UTF-8 text" in found[".env"]["found"]


def test_a_key_that_counts_as_a_free_tier_says_so(run: Run, home: Path) -> None:
    """Whoever pays for Groq would read of $0, and not know why."""
    _, found = checks(run, "--offline", GROQ_API_KEY="x", OPENAI_API_KEY="x")
    assert "free tier" in found["groq"]["advice"] and "{deployment: paid}" in found["groq"]["advice"]
    assert found["openai"]["advice"] == ""
    (home / "config.yaml").write_text("providers: {groq: {deployment: paid}}\n", "utf-8")
    _, stated = checks(run, "--offline", GROQ_API_KEY="x")
    assert stated["groq"]["advice"] == ""


def test_what_it_says_is_a_sentence_a_stranger_can_read(run: Run, home: Path) -> None:
    """Slips in the one report that newcomers read would cost their trust in the rest."""
    (home / "config.yaml").write_text(
        "providers: {mine: {base_url: 'http://127.0.0.1:9/v1'}}\nmodels: {a: {provider: mine}}\n", "utf-8"
    )
    out = run("doctor").stdout
    assert "1 provider, 1 model, 0 pools" in out
    assert [slip for slip in (".,", "..", " 1 models", " 1 providers", "cannot be reached: ") if slip in out] == []


def test_weak_points_of_a_configuration_are_told(run: Run, config: Path) -> None:
    """What works today would fail on the day that it is needed for."""
    assert checks(run, "--offline")[1]["budgets"]["state"] == "off"
    config.write_text(
        config.read_text("utf-8").replace("members: [echo, unpriced]", "members: [inner, echo]")
        + "budgets: [{scope: server, usd: 5, at_limit: local}]\n"
        + f"alerts: {{webhook: 'http://127.0.0.1:1/{CANARY}'}}\n",
        "utf-8",
    )
    text = config.read_text("utf-8").replace("pools:\n", "pools:\n  inner: {members: [rude, short]}\n")
    config.write_text(text, "utf-8")
    told = [(check["name"], check["state"], check["found"]) for check in report(run, "--offline")]
    assert [one for one in told if one[0] in ("budgets", "pools", "free tier", "shared state")] == [
        ("budgets", "ok", "1 budget, alerts go to the log and http://127.0.0.1:1/***"),
        ("budgets", "warning", "unpriced has no known price: refused under a budget"),
        ("budgets", "warning", "`at_limit: local` leaves nobody to answer: no such model is ready"),
        ("pools", "warning", "inner has 2 models, all at mine: when mine is down, so is inner"),
        ("pools", "warning", "both has 3 models, all at mine: when mine is down, so is both"),
    ]


def test_a_setup_without_weak_points_is_told_of_none(run: Run, config: Path) -> None:
    """Warnings that mean nothing teach people to read past them."""
    text = config.read_text("utf-8").replace(
        "providers:\n", "providers:\n  other: {base_url: 'http://127.0.0.1:9/v1'}\n"
    )
    text = text.replace("unpriced: {provider: mine}", "unpriced: {provider: other, price: {input: 1, output: 1}}")
    config.write_text(f"{text}budgets: [{{scope: server, usd: 5}}]\n", "utf-8")
    names = ("budgets", "pools", "free tier", "shared state")
    found = [check for check in report(run, "--offline", GROQ_API_KEY="x") if check["name"] in names]
    assert [(check["name"], check["state"]) for check in found] == [("budgets", "ok")]
    assert "`alerts: {webhook: URL}`" in found[0]["advice"]


def test_a_free_tier_that_stands_alone_is_told(run: Run) -> None:
    """Past its limits nobody would answer, and nobody would know why."""
    alone = checks(run, "--offline", GROQ_API_KEY="x")[1]
    assert alone["free tier"]["state"] == "warning" and "groq alone serves" in alone["free tier"]["found"]
    assert "free tier" not in checks(run, "--offline", GROQ_API_KEY="x", OPENAI_API_KEY="x")[1]


def test_a_state_that_cannot_be_shared_is_told(run: Run, home: Path, config: Path) -> None:
    """Limits would be kept by each process for itself, and nobody would know."""
    (home / "state.sqlite").write_bytes(b"this is no database" * 100)
    code, found = checks(run, "--offline")
    assert (code, found["shared state"]["state"]) == (0, "warning")
    assert "Calls go on" in found["shared state"]["found"]


def test_the_learned_router_is_told_with_what_it_knows(run: Run, home: Path, config: Path) -> None:
    """Whoever trained a router could not see whether anything is chosen by it."""
    assert checks(run, "--offline")[1]["learned router"]["state"] == "off"
    path = learned_path(home)
    path.parent.mkdir(parents=True)
    fitted("echo", "typo").save(path)
    known = checks(run, "--offline")[1]["learned router"]
    assert known["state"] == "ok" and "typo" in known["advice"]
    assert known["found"].startswith("in use since 20") and known["found"].endswith("models that can serve: echo")
    fitted("typo", "other").save(path)
    assert checks(run, "--offline")[1]["learned router"]["state"] == "warning"
    path.write_bytes(b"A page of text.")
    damaged = checks(run, "--offline")[1]
    assert damaged["learned router"]["state"] == "warning" and damaged["verdict"]["state"] == "ok"
    assert "it is no .npz file" in damaged["learned router"]["found"]
    path.unlink()
    path.mkdir()
    folder = checks(run, "--offline")[1]["learned router"]
    assert folder["state"] == "warning" and "it is a folder" in folder["found"]
    config.write_text(config.read_text("utf-8") + "learning: {enabled: false}\n", "utf-8")
    assert "is not used" in checks(run, "--offline")[1]["learned router"]["found"]


def fitted(*models: str) -> LearnedRouter:
    """One that knows nothing but means."""
    scores = np.ones((2, len(models)))
    return LearnedRouter(pretrained=False).fit(["one", "two"], None, scores, None, models)
