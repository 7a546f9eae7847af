"""What was recorded, and the keys: `cost`, `ledger` and `keys`."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from cli_upstream import Run


@pytest.fixture
def spent(run: Run, config: Path) -> None:
    """Two calls with a price and one without."""
    run("ask", "hello", "--model", "echo", "--tag", "a", "--tag", "b")
    run("ask", "hello", "--model", "echo")
    run("ask", "hello", "--model", "unpriced")


def test_costs_are_summed_and_the_unknown_is_told(run: Run, spent: None) -> None:
    """A call without a price would look as if it were free."""
    out = run("cost", "--since", "1h").stdout
    assert "echo" in out and "$0.000040" in out
    assert "≥ $0.000040: 1 attempt with unknown cost" in out


def test_costs_in_json_are_decimal_strings(run: Run, spent: None) -> None:
    """Sums of floats drift."""
    report = json.loads(run("cost", "--by", "model", "--json").stdout)
    rows = {row["group"]: row for row in report["rows"]}
    assert report["by"] == "model"
    assert rows["echo"]["cost_usd"] == "0.00004" and rows["echo"]["attempts"] == 2
    assert rows["unpriced"]["unknown_costs"] == 1 and rows["unpriced"]["saved_usd"] is None
    assert (report["total"]["calls"], report["total"]["cost_usd"]) == (3, "0.00004")


def test_tags_count_in_each_of_their_groups_but_once_in_the_total(run: Run, spent: None) -> None:
    """The total of a report by tag would bill a call twice."""
    report = json.loads(run("cost", "--by", "tag", "--json").stdout)
    assert {row["group"] for row in report["rows"]} == {"", "a", "b"}
    assert report["total"]["attempts"] == 3


def test_a_time_without_calls_has_no_costs(run: Run, spent: None) -> None:
    """An empty report would look like a broken one."""
    done = run("cost", "--until", "2001-01-01")
    assert done.returncode == 0 and "Nothing was recorded" in done.stderr
    assert json.loads(run("cost", "--until", "2001-01-01", "--json").stdout)["rows"] == []


@pytest.mark.parametrize("arguments", [("--since", "yesterday"), ("--by", "colour"), ("--since", "7")])
def test_a_time_or_a_group_that_is_none_is_a_usage_error(run: Run, config: Path, arguments: tuple[str, str]) -> None:
    """A misspelt filter would silently mean everything."""
    assert run("cost", *arguments).returncode == 2


def test_the_ledger_is_exported_as_json_lines_and_csv(run: Run, spent: None, tmp_path: Path) -> None:
    """Nobody could take his record elsewhere."""
    lines = [json.loads(line) for line in run("ledger", "export").stdout.splitlines()]
    assert [line["model"] for line in lines] == ["echo", "echo", "unpriced"]
    assert [line["cost_usd"] for line in lines] == ["0.00002", "0.00002", None]
    target = tmp_path / "out.csv"
    assert run("ledger", "export", "--format", "csv", "--since", "1h", "--output", str(target)).stdout == ""
    rows = list(csv.DictReader(io.StringIO(target.read_text("utf-8"))))
    assert [row["cost_usd"] for row in rows] == ["0.00002", "0.00002", ""]


def test_an_attempt_is_found_by_its_id_and_by_its_call(run: Run, config: Path) -> None:
    """The id that `ask --json` gives would lead nowhere."""
    call_id = json.loads(run("ask", "hello", "--json").stdout)["call_id"]
    by_call = json.loads(run("ledger", "show", call_id, "--json").stdout)["entries"]
    assert [entry["call_id"] for entry in by_call] == [call_id]
    shown = run("ledger", "show", by_call[0]["attempt_id"]).stdout
    assert call_id in shown and "objective:" in shown and "candidate" in shown
    assert by_call[0]["attempt_id"] in run("ledger", "show").stdout
    assert run("ledger", "show", "nothing").returncode == 2


def test_the_path_leads_to_the_ledger(run: Run, spent: None) -> None:
    """The documented way to one's own SQL would be wrong."""
    path = run("ledger", "path").stdout.strip()
    connection = sqlite3.connect(path)
    count = connection.execute("select count(*) from entries").fetchone()
    connection.close()
    assert count[0] >= 2
    assert json.loads(run("ledger", "path", "--json").stdout)["exists"] is True


def test_a_new_key_alone_goes_to_standard_output(run: Run) -> None:
    """`export OPENAI_API_KEY=$(pointsman keys create ci)` would hold advice."""
    done = run("keys", "create", "ci", "--scope", "call", "--expires", "30d")
    assert done.stdout.startswith("pm-") and done.stdout.count("\n") == 1
    assert "not shown again" in done.stderr and done.stdout.strip() not in done.stderr


def test_keys_are_listed_without_the_keys(run: Run) -> None:
    """Whoever may look over a shoulder could call."""
    key = run("keys", "create", "laptop").stdout.strip()
    made = json.loads(run("keys", "create", "ci", "--json").stdout)
    assert set(made) == {"key", "id", "name", "scopes", "expires"}
    for done in (run("keys", "list"), run("keys", "list", "--json")):
        assert "laptop" in done.stdout
        assert key not in done.stdout and made["key"] not in done.stdout
    listed = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert [(one["name"], one["revoked"]) for one in listed] == [("laptop", None), ("ci", None)]


def test_a_revoked_key_is_listed_as_such(run: Run) -> None:
    """A lost key could not be seen to be dead."""
    run("keys", "create", "laptop")
    assert run("keys", "revoke", "laptop").returncode == 0
    assert "revoked" in run("keys", "list").stdout
    assert run("keys", "revoke", "laptop").returncode == 2


@pytest.mark.parametrize("when", ["2001-01-01", "never", "0d"])
def test_a_key_cannot_expire_before_it_is_made(run: Run, when: str) -> None:
    """A key that never works would be handed out."""
    assert run("keys", "create", "a", "--expires", when).returncode == 2


def test_there_is_no_key_without_a_name(run: Run) -> None:
    """A key in the list that nobody can assign."""
    assert run("keys", "create", "").returncode == 2
    assert run("keys", "create", "a\x1b[31m").returncode == 2
