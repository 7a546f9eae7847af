"""`pointsman route test`: expectations that a pipeline checks."""

import json
import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_upstream import Run

PAGE = Path(__file__).parents[2] / "docs" / "assertions.md"


@pytest.fixture
def work(home: Path) -> Path:
    """The configuration of the page."""
    files = dict(re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    (home / "config.yaml").write_text(files["config.yaml"], "utf-8")
    (home / "routing.yaml").write_text(files["routing.yaml"], "utf-8")
    return home


def check(run: Run, work: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    file = work / "mine.yaml"
    file.write_text(text, "utf-8")
    done = run("route", "test", str(file), *arguments, WORK_KEY="x")
    return done.returncode, done.stdout, done.stderr


def test_the_page_holds(run: Run, work: Path) -> None:
    """Whoever copies the page's example would find that it fails."""
    done = run("route", "test", str(work / "routing.yaml"), WORK_KEY="x")
    assert (done.returncode, done.stdout) == (0, "6 assertions: all hold.\n"), done.stdout + done.stderr


FAILING = """\
- prompt: "Hello!"
  expect: {task: chat}
- name: dear
  prompt: "Hello!"
  expect:
    task: [coding, analysis]
    complexity: complex
    model: large
    not_model: sm*
    deployment: local
    max_cost: 0.0000001
    max_seconds: 1
    min_quality: 0.99
    rejected: {small: "context*", large: "*"}
    plan: [large]
"""


def test_a_failure_says_what_was_expected_and_what_was_decided_and_why(run: Run, work: Path) -> None:
    """A red pipeline would send people to guess."""
    code, out, _ = check(run, work, FAILING)
    assert code == 1
    assert "mine.yaml:3: dear" in out
    assert "task: expected coding or analysis, decided chat" in out
    for line in (
        "complexity: expected complex, decided simple",
        "model: expected large, decided small",
        "not_model: expected none of sm*, decided small",
        "deployment: expected local, decided paid",
        "max_seconds: expected at most 1 s, decided unknown",
        "min_quality: expected at least 0.99, decided 0.4",
        "rejected: expected small rejected (context*), decided small: may serve",
        "plan: expected large, decided small",
        "Simple chat",
        "2 assertions: 1 failed.",
    ):
        assert line in out, line
    assert "max_cost: expected at most $1e-07" in out


def test_where_nothing_may_serve_each_reason_is_told(run: Run, work: Path) -> None:
    """Of a plan that is empty nobody could tell why."""
    text = '- prompt: "Hello!"\n  local_only: true\n  expect: {model: large}\n'
    code, out, _ = check(run, work, text)
    assert code == 1 and "model: expected large, decided none" in out
    assert "    large is paid, and the call must stay on this machine\n" in out


def test_json_and_junit_hold_the_same(run: Run, work: Path, tmp_path: Path) -> None:
    """A pipeline could not show which assertion failed."""
    junit = tmp_path / "results.xml"
    code, out, _ = check(run, work, FAILING, "--json", "--junit", str(junit))
    assert code == 1
    results = json.loads(out)
    assert (results["held"], results["failed"]) == (1, 1)
    good, bad = results["assertions"]
    assert (good["held"], good["unmet"], good["line"], good["title"]) == (True, [], 1, "Hello!")
    assert (bad["held"], bad["chosen"], bad["task"], len(bad["unmet"])) == (False, "small", "chat", 11)
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["Hello!", "dear"]
    failure = suite[1][0]
    assert failure.tag == "failure" and "model: expected large, decided small" in (failure.text or "")


def test_junit_can_hold_any_prompt(run: Run, work: Path, tmp_path: Path) -> None:
    """A control character in a prompt would make the report unreadable."""
    junit = tmp_path / "results.xml"
    code, _, _ = check(
        run, work, '- prompt: "\\u0001\\ufffe<&>\\e[31m 👩"\n  expect: {task: coding}\n', "--junit", str(junit)
    )
    assert code == 1
    assert "<&>" in (ElementTree.parse(junit).getroot()[0][0].get("name") or "")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("- prompt: x\n  expct: {task: chat}\n", 2, "Did you mean 'expect'?"),
        ("- prompt: x\n  expect: {tsk: chat}\n", 2, "Did you mean 'task'?"),
        ("- prompt: x\n  expect: {task: codign}\n", 2, "Did you mean 'coding'?"),
        ("- prompt: x\n  expect: {complexity: simpel}\n", 2, "Did you mean 'simple'?"),
        ("- prompt: x\n  expect: {deployment: lokal}\n", 2, "Did you mean 'local'?"),
        ("- prompt: x\n  task: codign\n  expect: {task: coding}\n", 2, "Did you mean 'coding'?"),
        ("- prompt: x\n  priority: frugall\n  expect: {task: chat}\n", 2, "Did you mean 'frugal'?"),
        ("- prompt: x\n  expect: {model: larg}\n", 2, "Did you mean 'large'?"),
        ("- prompt: x\n  expect:\n    rejected:\n      smal: '*'\n", 4, "Did you mean 'small'?"),
        ("- prompt: x\n  expect: {not_model: 'nobody-*'}\n", 2, "There is no model 'nobody-*' here."),
        ("- prompt: x\n  model: larg\n  expect: {task: chat}\n", 2, "larg"),
        ("- prompt: x\n  expect: {max_cost: cheap}\n", 2, "a number"),
        ("- prompt: x\n  expect: {max_cost: .nan}\n", 2, "a number"),
        ("- prompt: x\n  expect: {min_quality: 2}\n", 2, "a number from 0"),
        ("- prompt: x\n  quality: -1\n  expect: {task: chat}\n", 2, "a number"),
        ("- prompt: x\n  max_tokens: 0\n  expect: {task: chat}\n", 2, "a whole number"),
        ("- prompt: x\n- prompt: y\n  expect: {task: chat}\n", 1, "'expect' is missing"),
        ("- prompt: x\n  expect: {}\n", 2, "would always hold"),
        ("- expect: {task: chat}\n", 1, "needs a `prompt` or `messages`"),
        ("- prompt: x\n  messages: []\n  expect: {task: chat}\n", 1, "one of them"),
        ("- messages: []\n  expect: {task: chat}\n", 1, "needs a message"),
        ("- messages: [{role: robot, content: x}]\n  expect: {task: chat}\n", 1, "none of system, user, assistant"),
        ("- just a text\n", 1, "a map is needed"),
        ("prompt: x\n", None, "a list is needed"),
        ("", None, "a list is needed"),
        ("[]\n", None, "no assertions"),
        ("- prompt: x\n  expect: {task: chat\n", 3, "not YAML"),
        ("- &a\n  - *a\n", 1, ""),
        ("- prompt: x\n  prompt: y\n", 2, "twice"),
        ("- prompt: !!python/object:os.system x\n", 1, "tag"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(
    run: Run, work: Path, text: str, line: int | None, message: str
) -> None:
    """A slip would be taken for an assertion that holds."""
    code, out, told = check(run, work, text)
    assert (code, out) == (2, "")
    assert f"mine.yaml:{line}:" in told if line else "mine.yaml:" in told
    assert message in told


def test_a_bomb_of_anchors_is_refused(run: Run, work: Path) -> None:
    """A file of a kilobyte would take all memory of the pipeline."""
    bomb = "- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"- &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    )
    started = time.monotonic()
    code, _, told = check(run, work, bomb)
    assert code == 2 and "unfolds to more" in told
    assert time.monotonic() - started < 60


def test_a_file_that_is_not_there_or_no_text_is_refused(run: Run, work: Path) -> None:
    """A pipeline whose file was moved would be green."""
    assert run("route", "test", str(work / "nowhere.yaml")).returncode == 2
    (work / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    assert run("route", "test", str(work / "mine.yaml")).returncode == 2
    assert run("route", "test", str(work)).returncode == 2


def test_the_word_test_is_a_command_and_after_dashes_a_prompt(run: Run, work: Path) -> None:
    """Whoever tries the router with the word "test" would get a puzzle."""
    alone = run("route", "test", WORK_KEY="x")
    assert alone.returncode == 2 and "pointsman route test [OPTIONS] FILE" in alone.stderr
    assert run("route", "--", "test", WORK_KEY="x").stdout.startswith("→ ")
    assert run("route", "test it, please", "--explain", WORK_KEY="x").stdout.startswith("→ ")
    shown = run("route", "--help").stdout
    assert "route test" in shown and "--explain" in shown
    assert "--junit" in run("route", "test", "--help").stdout


def test_a_second_prompt_is_a_usage_error(run: Run, work: Path) -> None:
    """Half of an unquoted prompt would be passed over."""
    assert run("route", "two", "words", WORK_KEY="x").returncode == 2


ODD = {
    "blank": " \n\t ",
    "a megabyte": "lorem ipsum dolor " * 60_000,
    "control characters": "".join(map(chr, range(1, 256))) * 50,
    "several languages": "Hello 你好 مرحبا Привет שלום ¿qué tal? " * 20,
    "emoji": "👩‍👩‍👧‍👦" * 2_000,
}


@pytest.mark.parametrize("prompt", ODD.values(), ids=ODD.keys())
def test_an_odd_prompt_gets_a_decision_with_a_reason(run: Run, work: Path, prompt: str) -> None:
    """The router would fail where the model might have answered."""
    done = run("route", "--json", "--model", "large", stdin=prompt, WORK_KEY="x")
    route = json.loads(done.stdout)
    assert route["reason"] and route["candidates"]
    is_too_long = len(prompt) > 1_000_000
    assert route["chosen"] == (None if is_too_long else "large")
    assert ("context" in (route["candidates"][0]["rejected"] or "")) == is_too_long


def test_bytes_that_are_no_text_are_decided_and_told(run: Run, work: Path) -> None:
    """Rubbish would get no decision, or be routed as if it meant something, and nobody would know."""
    done = run("route", stdin=b"\xff\xfe\x00\x01" * 1000, WORK_KEY="x")
    assert done.returncode == 0 and done.stdout.startswith("→ large")
    assert "not all UTF-8 text" in done.stderr and "2000 places" in done.stderr
