"""`pointsman doctor`."""

import json
from pathlib import Path
from typing import Any

from cli_upstream import Run


def checks(run: Run, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", *arguments, **variables)
    report = json.loads(done.stdout)
    assert set(report) == {"ok", "checks"}
    return done.returncode, {check["name"]: check for check in report["checks"]}


def test_an_empty_machine_has_a_problem_and_advice(run: Run) -> None:
    """A newcomer would not know what to do next."""
    code, found = checks(run)
    assert code == 1
    assert found["verdict"]["state"] == "problem"
    assert found["local models"]["advice"] == "pointsman models pull smollm2-135m qwen2.5-coder-0.5b"
    assert found["openai"]["found"] == "set OPENAI_API_KEY"
    told = run("doctor")
    assert told.returncode == 1 and "✗ verdict" in told.stdout


def test_a_provider_that_answers_is_reachable_and_priced(run: Run, config: Path) -> None:
    """A working setup could not be told from a broken one."""
    code, found = checks(run)
    assert code == 0
    assert found["mine"]["state"] == "ok"
    assert found["mine"]["found"] == "reachable, key from MINE_KEY, 6 of 7 models priced"
    assert found["configuration"]["found"].endswith("1 providers, 7 models, 1 pools")


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
