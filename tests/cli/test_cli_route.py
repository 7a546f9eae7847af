"""`pointsman route`: it shows a decision and calls nothing."""

import json
import re
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_upstream import Run


def test_route_shows_the_choice_and_calls_nothing(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """Looking would cost money."""
    done = run("route", "Write a Python function that reverses a string.")
    assert done.returncode == 0
    assert done.stdout.startswith("→ echo\nSimple coding")
    assert upstream.seen == []  # type: ignore[attr-defined]
    assert json.loads(run("ledger", "show", "--json").stdout)["entries"] == []


def test_explain_lists_who_can_serve_and_groups_the_others(run: Run, config: Path) -> None:
    """Seventy lines about missing keys would hide the two that matter."""
    out = run("route", "hello", "--explain").stdout
    assert [word for word in ("score", "chosen", "quality", "cost", "seconds") if word not in out] == []
    assert re.search(r"^Read as chat \(\d+%(; \w+ \d+%)?\) and simple \(\d+%(; moderate \d+%)?\)\.$", out, re.MULTILINE)
    assert re.search(r"^echo .* 0\.90 ±0\.15 +\$[\d.]+ ±[\d.]+ +unknown$", out, re.MULTILINE)
    assert re.search(r"^  echo = [+-]\d\.\d{3} quality \((assumed|stated)\) ", out, re.MULTILINE)
    assert "models need OPENAI_API_KEY" in out
    assert "local/smollm2-135m is not here yet: pointsman models pull smollm2-135m" in out
    assert len(out.splitlines()) < 40


def test_json_holds_every_candidate(run: Run, config: Path) -> None:
    """A script could not tell why a model was passed over."""
    done = run("route", "hello", "--json", "--priority", "performance")
    route = json.loads(done.stdout)
    assert set(route) == {
        *("task", "complexity", "tasks", "complexities"),
        *("chosen", "reason", "together", "policy", "candidates"),
    }
    assert next(iter(route["tasks"])) == route["task"] and sum(route["tasks"].values()) == pytest.approx(1, abs=0.01)
    assert next(iter(route["complexities"])) == "simple"
    assert (route["chosen"], route["policy"]) == ("echo", "objective:performance")
    first = route["candidates"][0]
    assert set(first) == {
        "model",
        "deployment",
        "rejected",
        "score",
        "probability",
        "quality",
        "expected_cost_usd",
        "expected_seconds",
        "score_sd",
        "quality_sd",
        "cost_sd_usd",
        "seconds_sd",
        "quality_source",
        "seconds_source",
        "terms",
    }
    assert first["score"] == pytest.approx(sum(first["terms"].values()))
    assert (first["model"], first["rejected"], first["probability"]) == ("echo", None, 1.0)
    assert isinstance(first["expected_cost_usd"], str)
    by_name = {candidate["model"]: candidate for candidate in route["candidates"]}
    assert by_name["unpriced"]["expected_cost_usd"] is None
    assert by_name["gpt-5"]["rejected"] == "has no key: set OPENAI_API_KEY" and by_name["gpt-5"]["score"] is None


def test_a_mode_narrows_the_candidates(run: Run, config: Path) -> None:
    """`--model` would mean nothing here."""
    route = json.loads(run("route", "hello", "--model", "solid", "--json").stdout)
    assert {candidate["model"] for candidate in route["candidates"]} == {"echo", "unpriced"}


def test_a_pool_shows_its_members(run: Run, config: Path, upstream: ThreadingHTTPServer) -> None:
    """Nobody could see who would get the calls to a pool, or why one of its members never does."""
    done = run("route", "hello", "--model", "both", "--explain")
    assert done.returncode == 0
    assert done.stdout.startswith("→ both\nboth is a pool (p2c): each call goes to one of echo, unpriced.\n")
    assert "score" not in done.stdout
    assert "both is a pool" in run("ask", "hello", "--model", "both", "--explain").stderr
    route = json.loads(run("route", "hello", "--model", "both", "--json").stdout)
    assert (route["chosen"], route["policy"]) == ("both", "pool:p2c")
    assert {candidate["model"]: candidate["score"] for candidate in route["candidates"]} == {
        "echo": None,
        "unpriced": None,
    }
    private = run("route", "hello", "--model", "both", "--local-only")
    assert (private.returncode, private.stdout) == (3, "")
    assert "echo is paid, and the call must stay on this machine" in private.stderr


def test_no_candidate_is_printed_and_has_its_exit_code(run: Run) -> None:
    """A script would take silence for a choice."""
    done = run("route", "hello", "--json")
    route = json.loads(done.stdout)
    assert (done.returncode, route["chosen"]) == (3, None)
    assert all(candidate["rejected"] for candidate in route["candidates"])
    told = run("route", "hello")
    assert told.returncode == 3 and "pointsman models pull" in told.stderr


def test_a_batch_is_a_prompt_a_line(run: Run, config: Path, tmp_path: Path) -> None:
    """A list of prompts would need a loop that starts the program for each."""
    file = tmp_path / "prompts.txt"
    file.write_text("hello\n\nWrite a Python function that adds.\n", "utf-8")
    lines = run("route", "--batch", str(file)).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["echo", "echo"]
    assert lines[1].split("\t")[1:] == ["coding", "simple", "Write a Python function that adds."]
    refused = run("route", "--batch", str(file), "--explain")
    assert refused.returncode == 2 and "--json has all candidates" in " ".join(refused.stderr.split())


def test_a_batch_of_json_lines_gives_json_lines(run: Run, config: Path, tmp_path: Path) -> None:
    """Prompts of several lines could not be told apart."""
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "one\\ntwo", "id": 98765432109876543210, "task": [1]}\n{"prompt": ""}\n', "utf-8")
    one, two = map(json.loads, run("route", "--batch", str(file), "--json").stdout.splitlines())
    assert (one["prompt"], two["prompt"]) == ("one\ntwo", "")
    assert (one["id"], one["task"], one["given"]) == (98765432109876543210, "chat", {"task": [1]})
    assert "given" not in two and two["chosen"] == "echo"
    assert run("route", "--batch", str(file)).stdout.splitlines()[1] == "echo\tchat\tsimple\t"


@pytest.mark.parametrize(("arguments", "stdin"), [(("",), ""), ((), ""), ((), " \n"), (("  ",), "")])
def test_an_empty_prompt_is_decided_too(run: Run, config: Path, arguments: tuple[str, ...], stdin: str) -> None:
    """A program that checks what it would send would fall over the one prompt that is empty."""
    done = run("route", *arguments, "--explain", stdin=stdin)
    assert done.returncode == 0 and done.stdout.startswith("→ echo\nSimple chat")
    assert "There is no text to read; taken for chat" in done.stdout
    assert run("ask", *arguments, stdin=stdin).returncode == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt": "a"}\n{"promt": "b"}\n',
        '{"prompt": "a"}\n{"prompt": 7}\n',
        '{"prompt": "a"}\n[]\n',
        '{"prompt": "a"}\nrubbish\n',
    ],
)
def test_a_broken_line_of_a_batch_is_named(run: Run, config: Path, tmp_path: Path, text: str) -> None:
    """One line of ten thousand would have to be searched for."""
    file = tmp_path / "prompts.jsonl"
    file.write_text(text, "utf-8")
    done = run("route", "--batch", str(file))
    assert done.returncode == 2
    assert f"{file}:2:" in done.stderr


def test_a_batch_without_prompts_is_a_usage_error(run: Run, config: Path, tmp_path: Path) -> None:
    """An empty file would look like success."""
    file = tmp_path / "prompts.txt"
    file.write_text("\n\n", "utf-8")
    assert run("route", "--batch", str(file)).returncode == 2


def test_what_is_no_text_is_replaced_and_decided_all_the_same(run: Run, config: Path, tmp_path: Path) -> None:
    """A program that pipes whatever it has into the router would get no decision for some of it."""
    file = tmp_path / "prompt.bin"
    file.write_bytes(b"Write a Python function \xff that adds.\n\x7fELF\x00\xfe\xff\n")
    done = run("route", "--batch", str(file), "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["task"], first["replaced"], second["replaced"]) == ("coding", 1, 2)
    assert "3 places" in done.stderr
    assert first["prompt"] == "Write a Python function \ufffd that adds."
    assert json.loads(run("route", "--json", stdin=file.read_bytes()).stdout)["replaced"] == 3
    stated = run("route", "Write a Python \udcff function that adds.", "--json")
    assert json.loads(stated.stdout)["replaced"] == 1 and "1 place." in stated.stderr


def test_lines_of_json_among_plain_ones_are_read_as_what_they_are(run: Run, config: Path, tmp_path: Path) -> None:
    """The JSON itself would be taken for the prompt, and nobody would know."""
    file = tmp_path / "mixed.txt"
    file.write_text('hello\n{"prompt": "Write a Python function that adds.", "id": 1}\n{"promt": "b"}\n', "utf-8")
    done = run("route", "--batch", str(file), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["prompt"] for line in lines] == ["hello", "Write a Python function that adds.", '{"promt": "b"}']
    assert lines[1]["id"] == 1
    assert f"{file}:3: " in done.stderr and f"{file}:2" not in done.stderr
