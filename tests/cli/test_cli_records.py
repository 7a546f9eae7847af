"""What was recorded, and the keys: `cost`, `ledger` and `keys`."""

import csv
import io
import json
import re
import sqlite3
from pathlib import Path

import pytest
from cli_upstream import Run, in_a_terminal


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
    assert "≥ $0.000040: the cost of 1 attempt is unknown" in out


def test_a_list_price_that_nobody_knows_is_not_nothing(run: Run, spent: None) -> None:
    """A model without a price would look as if its list said $0, and savings would be made up."""
    done = run("cost")
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["unpriced"][-2:] == ["unknown", "unknown"]
    assert " ".join(lines["total"][-4:]) == "≥ $0.000040 ≥ $0.000040"
    assert "$0 " not in f"{done.stdout} ".replace("\n", " ")
    assert "No list price is known for 1 attempt." in done.stdout
    report = json.loads(run("cost", "--json").stdout)
    assert report["total"]["unknown_list_costs"] == 1 and report["total"]["saved_usd"] is None


def test_a_call_that_failed_at_once_has_no_unknown_list_price(run: Run, config: Path) -> None:
    """Every failure would make the sum a guess, though nothing was used."""
    run("ask", "hello", "--model", "failing")
    total = json.loads(run("cost", "--json").stdout)["total"]
    assert total["attempts"] and (total["unknown_costs"], total["unknown_list_costs"]) == (0, 0)


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
    assert call_id in shown and "objective:" in shown
    assert re.search(r"^candidate +score +probability +quality +cost", shown, re.MULTILINE)
    assert by_call[0]["attempt_id"] in run("ledger", "show").stdout
    assert run("ledger", "show", "nothing").returncode == 2


def test_the_beginning_of_an_id_is_enough_where_it_is_plain(run: Run, spent: None) -> None:
    """Whoever reads ids off a screen would have to type 32 characters."""
    entries = json.loads(run("ledger", "show", "--json").stdout)["entries"]
    for entry in entries:
        found = json.loads(run("ledger", "show", entry["attempt_id"][:16], "--json").stdout)["entries"]
        assert [one["attempt_id"] for one in found] == [entry["attempt_id"]]
    many = run("ledger", "show", entries[0]["attempt_id"][:2])
    assert many.returncode == 2 and "3 attempts or calls begin with" in many.stderr
    assert run("ledger", "show", "%").returncode == 2


def test_the_latest_attempts_fit_a_narrow_terminal(run: Run, variables: dict[str, str], config: Path) -> None:
    """Rows that wrap cannot be read, and an id that is cut off cannot be looked up."""
    name = "a-model-with-a-rather-long-name"
    config.write_text(
        config.read_text("utf-8").replace("models:\n", f"models:\n  {name}: {{provider: mine}}\n"), "utf-8"
    )
    run("ask", "hello", "--model", name)
    plain = {**variables, "NO_COLOR": "1", "TERM": "dumb"}
    out = in_a_terminal(plain, "ledger", "show", columns=80)
    rows = [line.rstrip() for line in out.replace("\r", "").splitlines() if line.strip()]
    assert len(rows) == 2 and max(map(len, rows)) <= 80 and name in rows[1]
    assert name in run("ledger", "show", rows[1].split()[0]).stdout
    wide = in_a_terminal(plain, "ledger", "show", columns=120)
    assert json.loads(run("ledger", "show", "--json").stdout)["entries"][0]["attempt_id"] in wide


def test_what_was_kept_of_a_call_is_shown_and_harmless(run: Run, variables: dict[str, str], config: Path) -> None:
    """Prompts and answers would be kept for nobody; or one of them would move the cursor of whoever reads it."""
    config.write_text(config.read_text("utf-8") + "ledger: {bodies: true}\n", "utf-8")
    call_id = json.loads(run("ask", "hello\x1b[2J there", "--model", "rude", "--json").stdout)["call_id"]
    shown = run("ledger", "show", call_id).stdout
    assert "prompt:\nuser: hello there\n" in shown
    assert "answer:\nred bell done\n" in shown
    terminal = in_a_terminal(variables, "ledger", "show", call_id)
    assert "\x1b[2J" not in terminal and "\x07" not in terminal and "red bell done" in terminal
    (body,) = json.loads(run("ledger", "show", call_id, "--json").stdout)["bodies"]
    assert "hello" in body["prompt"] and "done" in body["answer"]
    assert "bodies" not in json.loads(run("ledger", "show", "--json").stdout)


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
    assert (made["name"], made["scopes"], made["expires"]) == ("ci", ["call", "read"], None)
    for done in (run("keys", "list"), run("keys", "list", "--json")):
        assert "laptop" in done.stdout
        assert key not in done.stdout and made["key"] not in done.stdout
    listed = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert [(one["name"], one["revoked"]) for one in listed] == [("laptop", None), ("ci", None)]


def test_two_keys_of_one_name_are_refused(run: Run) -> None:
    """The wrong one of two would be revoked, or neither."""
    run("keys", "create", "laptop")
    twin = run("keys", "create", "laptop")
    assert (twin.returncode, twin.stdout) == (1, "")
    assert "Take another name" in twin.stderr and "pointsman keys revoke " in twin.stderr
    assert json.loads(run("keys", "create", "laptop", "--json").stdout)["error"]["type"] == "name_taken"
    assert len(json.loads(run("keys", "list", "--json").stdout)["keys"]) == 1
    run("keys", "revoke", "laptop")
    assert run("keys", "create", "laptop").returncode == 0


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


BOUND = ("--models", "gpt-4o*, fast", "--rpm", "60", "--tpm", "100000", "--budget", "5/day", "--user", "ann")


def test_what_a_key_may_do_is_shown(run: Run, variables: dict[str, str]) -> None:
    """Nobody could tell a key for everything from one for a guest."""
    run("keys", "create", "laptop")
    made = run("keys", "create", "guest", *BOUND, "--expires", "30d", "--scope", "call", "--scope", "read")
    words = ("gpt-4o*, fast", "60 requests/min", "100,000 tokens/min", "$5.00/day", "as ann")
    assert all(word in made.stderr for word in words), made.stderr
    assert all(word in run("keys", "list").stdout for word in words)
    shown = in_a_terminal({**variables, "NO_COLOR": "1", "TERM": "dumb"}, "keys", "list", columns=80)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "laptop" in shown and "100,000" in shown and "gpt-4o*" in shown
    first, second = json.loads(run("keys", "list", "--json").stdout)["keys"]
    rights = ("models", "requests_per_minute", "tokens_per_minute", "budget_usd", "budget_window", "user")
    assert [second[right] for right in rights] == [["gpt-4o*", "fast"], 60, 100_000, "5", "day", "ann"]
    assert [first[right] for right in rights] == [[], None, None, None, None, ""]


def test_a_budget_without_a_time_is_for_a_month(run: Run) -> None:
    """It would mean something else than in a configuration."""
    made = json.loads(run("keys", "create", "ci", "--budget", "$100", "--json").stdout)
    assert (made["budget_usd"], made["budget_window"]) == ("100", "month")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--models", ""),
        ("--models", "a,,b"),
        ("--models", "a\x1b[31m"),
        ("--user", ""),
        ("--budget", "5/week"),
        ("--budget", "-1/day"),
        ("--budget", "/day"),
        ("--rpm", "0"),
        ("--tpm", "many"),
        ("--scope", "root"),
    ],
    ids=" ".join,
)
def test_a_right_that_cannot_be_read_makes_no_key(run: Run, wrong: tuple[str, str]) -> None:
    """A variable that is not set would make a key for everything."""
    done = run("keys", "create", "guest", *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(run("keys", "list", "--json").stdout)["keys"] == []
