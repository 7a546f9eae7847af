"""`pointsman budgets`, and what the other commands say where money or a limit is used up."""

import json
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_upstream import Run, in_a_terminal

ROOMY = """budgets:
  - {scope: server, usd: 20, window: month, timezone: Europe/Berlin}
  - {scope: tag, usd: "0.0001", window: day, at_limit: local}
  - {scope: user, usd: 1, window: request}
"""
EMPTY = 'budgets: [{scope: server, usd: "0.000001"}]\n'


def with_more(config: Path, yaml: str) -> None:
    config.write_text(config.read_text("utf-8") + yaml, "utf-8")


@pytest.fixture
def spent(run: Run, config: Path) -> None:
    """20 millionths of a dollar, of a server's budget and of one for a tag."""
    with_more(config, ROOMY)
    assert run("ask", "hello", "--model", "echo", "--tag", "mine", "--max-tokens", "20").returncode == 0


def test_without_budgets_the_lines_are_shown_that_make_one(run: Run, config: Path) -> None:
    """A newcomer would have to look for how budgets are written; or find lines that do not work."""
    done = run("budgets")
    assert done.returncode == 0
    assert done.stdout.startswith(f"No budget is configured: calls cost what they cost. Three lines in {config} make")
    assert json.loads(run("budgets", "--json").stdout) == {"budgets": []}
    lines = done.stdout.partition("\n\n")[2]
    assert len(lines.splitlines()) == 3
    with_more(config, lines)
    assert "server-month#1: $20.00 a month for the whole server" in run("budgets").stdout


def test_each_purse_is_shown_and_fits_a_terminal(run: Run, variables: dict[str, str], spent: None) -> None:
    """Nobody would know what is left, or until when it will do."""
    out = run("budgets").stdout
    server, tag, user = out.split("\n\n")
    assert "at the limit calls that cost money are refused" in server and "00:00 CET" in server
    assert "everybody  $0.000020  $20.00" in server
    assert "tag-day#1: $0.00010 a day for each tag; at the limit models of this machine take over" in tag
    assert "  mine  $0.000020  $0.000080" in tag
    assert user == "user-request#1: $1.00 a call for each user; at the limit calls that cost money are refused\n"
    shown = in_a_terminal({**variables, "NO_COLOR": "1", "TERM": "dumb"}, "budgets")
    assert all(len(line.rstrip("\r")) <= 80 for line in shown.split("\n")) and "$0.000080" in shown


def test_money_is_decimal_text_in_json(run: Run, spent: None) -> None:
    """Sums of floats drift."""
    server, tag, user = json.loads(run("budgets", "--json").stdout)["budgets"]
    assert (server["limit_usd"], server["window"], server["timezone"]) == ("20", "month", "Europe/Berlin")
    (purse,) = tag["purses"]
    assert (purse["who"], purse["spent_usd"], purse["left_usd"]) == ("mine", "0.00002", "0.00008")
    assert purse["burn_per_hour_usd"] == "0.000000833" and purse["resets"] > 1e9
    assert (purse["lost_usd"], purse["leased_usd"], purse["alerts"]) == ("0", "0", [])
    assert user["purses"] == []


def test_the_budgets_of_keys_are_shown_by_their_names(run: Run, config: Path) -> None:
    """Nobody knows a key by its id; and a budget for a key that is not there binds nobody."""
    with_more(config, "budgets:\n  - {scope: key, who: ann, usd: 3}\n  - {scope: key, who: anna, usd: 3}\n")
    assert run("keys", "create", "ann", "--budget", "5/day").returncode == 0
    out = run("budgets").stdout
    assert "$3.00 a month for the key ann; " in out and "$5.00 a day for the key ann; " in out
    assert [line.split()[0] for line in out.splitlines() if "  $0  " in line] == ["ann", "ann"]
    purses = [purse for one in json.loads(run("budgets", "--json").stdout)["budgets"] for purse in one["purses"]]
    assert [purse["name"] for purse in purses] == ["ann", "ann"] and all(purse["who"] != "ann" for purse in purses)
    found = [check["found"] for check in json.loads(run("doctor", "--offline", "--json").stdout)["checks"]]
    assert "there is no key 'anna', for which there is a budget" in found


def test_a_purse_that_is_spent_and_one_that_will_be_are_told(run: Run, config: Path) -> None:
    """It would be found out by the first call that is refused."""
    wordy = "models:\n  wordy: {provider: mine, id: echo, price: {input: 0, output: 10}}\n"
    config.write_text(config.read_text("utf-8").replace("models:\n", wordy), "utf-8")
    with_more(config, 'budgets:\n  - {scope: tag, usd: "0.00004", window: month}\n')
    # The upstream writes five tokens where one was asked for, which come to more than there is.
    assert run("ask", "hello", "--model", "wordy", "--max-tokens", "1", "--tag", "a").returncode == 0
    assert run("ask", "hello", "--model", "echo", "--max-tokens", "1", "--tag", "b").returncode == 0
    out = run("budgets").stdout
    assert "  a: it is spent; calls that cost money are refused." in out
    table = {line.split()[0]: line.split() for line in out.splitlines()}
    assert table["b"][1:3] == ["$0.000020", "$0.000020"]
    a, b = json.loads(run("budgets", "--json").stdout)["budgets"][0]["purses"]
    assert (a["left_usd"], a["spent_usd"]) == ("0", "0.00005")
    assert ("b: at this rate it is spent by" in out) == (float(b["forecast_usd"]) > 0.00004)
    checks = json.loads(run("doctor", "--offline", "--json").stdout)["checks"]
    told = [check["found"] for check in checks if check["name"] == "budgets"]
    assert "tag-month#1 ($0.000040 a month) is spent for 1 tag" in told


def test_a_call_over_budget_says_so_and_has_its_exit_code(
    run: Run, config: Path, upstream: ThreadingHTTPServer
) -> None:
    """A script could not tell an empty purse from a broken provider, nor a person where to look."""
    with_more(config, EMPTY)
    done = run("ask", "hello", "--model", "echo")
    assert (done.returncode, done.stdout) == (5, "")
    assert "budget 'server-month#1'" in done.stderr and "filled again at" in done.stderr
    assert "`pointsman budgets` shows how each budget stands." in done.stderr
    error = json.loads(run("ask", "hello", "--model", "echo", "--json").stdout)["error"]
    assert error["type"] == "over_budget" and error["retry_after"] > 0
    unknown = run("ask", "hello", "--model", "unpriced")
    assert unknown.returncode == 5 and "unknown" in unknown.stderr
    compared = run("compare", "hello", "--models", "echo")
    assert compared.returncode == 1 and "over_budget" in compared.stdout
    assert upstream.seen == []  # type: ignore[attr-defined]


@pytest.fixture
def limited(run: Run, config: Path) -> None:
    """One call a minute, which was made."""
    text = config.read_text("utf-8").replace("{dialect: openai,", "{limits: {requests_per_minute: 1}, dialect: openai,")
    config.write_text(text, "utf-8")
    assert run("ask", "hello", "--model", "echo").returncode == 0


def test_a_limit_that_is_used_up_is_told_with_when_to_come_back(run: Run, limited: None) -> None:
    """Whoever reads it would take the model for gone."""
    done = run("ask", "hello", "--model", "echo")
    assert done.returncode == 3
    assert "echo cannot serve this call: The account mine has a limit that is used up: try again in " in done.stderr
    error = json.loads(run("ask", "hello", "--model", "echo", "--json").stdout)["error"]
    assert error["type"] == "no_candidate" and 0 < error["retry_after"] <= 60
    routed = run("ask", "hello", "--model", "solid")
    assert routed.returncode == 3 and "The first of them may serve again in " in routed.stderr
    pooled = run("ask", "hello", "--model", "both")
    assert pooled.returncode == 1 and "Nothing was sent." in pooled.stderr


def test_explain_shows_what_is_full_with_when_it_comes_back(run: Run, limited: None) -> None:
    """A model would be missing, and nobody could tell why, or for how long."""
    out = run("route", "hello", "--explain").stdout
    assert "echo, unpriced and 5 more: The account mine has a limit that is used up: try again in " in out
    candidates = json.loads(run("route", "hello", "--json").stdout)["candidates"]
    rejected = {one["model"]: one["rejected"] for one in candidates}
    assert "try again in" in rejected["echo"]


def test_at_the_limit_of_a_named_model_the_stated_fallback_answers(
    run: Run, config: Path, upstream: ThreadingHTTPServer
) -> None:
    """The command line would refuse a call that the server serves."""
    url = f'base_url: "http://127.0.0.1:{upstream.server_port}/v1", api_key: {{env: MINE_KEY}}'
    text = config.read_text("utf-8").replace(
        "providers:\n", f"providers:\n  other: {{{url}, limits: {{requests_per_minute: 1}}}}\n"
    )
    text = text.replace("models:\n", "models:\n  narrow: {provider: other, id: echo, price: {input: 1, output: 2}}\n")
    config.write_text(f"{text}fallback: {{named: true, speed: [echo]}}\n", "utf-8")
    assert "→ narrow" in run("ask", "hello", "--model", "narrow").stderr
    again = run("ask", "hello", "--model", "narrow")
    assert again.returncode == 0 and "→ echo" in again.stderr
