"""The program as a whole: its help, its exit codes, its configuration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_upstream import CANARY, Run

from pointsman.cli.program import COMMANDS, program

SUBCOMMANDS = [
    ("models", "pull"),
    ("models", "ps"),
    ("models", "stop"),
    ("ledger", "export"),
    ("ledger", "show"),
    ("ledger", "path"),
    ("ledger", "verify"),
    ("ledger", "backup"),
    ("ledger", "restore"),
    ("keys", "create"),
    ("keys", "list"),
    ("keys", "revoke"),
    ("config", "check"),
    ("config", "show"),
]
EVERY_COMMAND = [*((name,) for name in COMMANDS), *SUBCOMMANDS]


def test_help_lists_every_command_and_exit_code(start: Run) -> None:
    """What nobody can find is not there."""
    out = start("--help").stdout
    assert all(f"  {name} " in out for name in COMMANDS)
    assert all(f"  {code} " in out for code in (0, 1, 2, 3, 4, 5, 130))


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_shows_examples_in_its_help(run: Run, command: tuple[str, ...]) -> None:
    """A newcomer would have to guess how a command is typed."""
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "pointsman" in done.stdout.split("Example", 1)[1]


def test_the_list_of_commands_says_what_the_commands_say_of_themselves() -> None:
    """The overview and the help of a command would tell two stories."""
    context = program.make_context("pointsman", [], resilient_parsing=True)
    for name in COMMANDS:
        command = program.get_command(context, name)  # type: ignore[attr-defined]
        assert command is not None and command.name == name and command.help


def test_help_starts_no_gateway() -> None:
    """`--help` would take as long as a call."""
    heavy = ("pointsman.gateway", "pointsman.server", "rich", "uvicorn", "asyncio")
    code = f"import sys; import pointsman.cli.program; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_printed(start: Run) -> None:
    """A bug report could not name what it is about."""
    assert start("--version").stdout.startswith("pointsman, version ")


def test_an_unknown_command_is_told_with_the_likely_one(start: Run) -> None:
    """A slip of the pen would cost a look into the help."""
    done = start("rout", "hello")
    assert done.returncode == 2
    assert "Did you mean 'route'?" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("ask", "hello"),
        ("route", "hello"),
        ("models",),
        ("models", "ps"),
        ("cost",),
        ("ledger", "path"),
        ("keys", "list"),
        ("config", "check"),
        ("config", "show"),
        ("serve",),
    ],
    ids=" ".join,
)
def test_a_typo_in_the_configuration_is_told_with_its_place(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A command would go on with a configuration that means something else."""
    file = tmp_path / "wrong.yaml"
    file.write_text("local:\n  official_onyl: true\n", "utf-8")
    done = run(*command, "--config", str(file))
    assert done.returncode == 2
    assert f"{file}:2:" in done.stderr and "'official_only'" in done.stderr


def test_config_errors_are_objects_with_json(run: Run, tmp_path: Path) -> None:
    """A script would have to parse prose."""
    file = tmp_path / "wrong.yaml"
    file.write_text("route: [1]\n", "utf-8")
    done = run("models", "--json", "--config", str(file))
    assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (2, "config")


def test_a_configuration_that_is_not_there_is_a_usage_error(run: Run) -> None:
    """A misspelt path would silently mean the defaults."""
    assert run("config", "check", "--config", "nowhere.yaml").returncode == 2


def test_config_check_counts_what_it_read(run: Run, config: Path) -> None:
    """Nobody could tell whether the right file was checked."""
    out = run("config", "check").stdout
    assert str(config) in out and "1 provider, 7 models, 1 pool, 1 mode and 0 budgets of your own" in out
    counts = json.loads(run("config", "check", str(config), "--json").stdout)
    assert counts == {"file": str(config), "providers": 1, "models": 7, "pools": 1, "modes": 1, "budgets": 0}


@pytest.mark.parametrize("key", ["changeme", "short", "{env: NOT_SET}"])
def test_config_check_finds_what_serve_would_refuse(run: Run, tmp_path: Path, key: str) -> None:
    """A configuration that was checked would keep the server from starting, on the machine that it was made for."""
    file = tmp_path / "open.yaml"
    file.write_text(f"server:\n  host: 0.0.0.0\n  key: {key}\n", "utf-8")
    checked, served = run("config", "check", str(file)), run("serve", "--port", "0", "--config", str(file))
    assert checked.returncode == served.returncode == 2
    assert checked.stderr == served.stderr
    assert f"{file}:3: `server.key`: " in checked.stderr and "changeme" not in checked.stderr


@pytest.mark.parametrize(
    ("yaml", "line", "told"),
    [
        ("budgets:\n  - {scope: server, usd: 5}\n  - {scope: key, usd: 5, timezone: Mars/Base}\n", 3, "'Mars/Base'"),
        ("budgets:\n  - scope: server\n    usd: 5\n    who: ann\n", 4, "nobody's in particular"),
        ("budgets:\n  - scope: serve\n    usd: 5\n", 2, "'server'"),
        ("fallback:\n  premium: [gpt-5]\n  speed:\n    - gpt-5-mini\n    - gpt-5-mino\n", 5, "'gpt-5-mino'"),
        ("pools: {a: {members: [gpt-5], balance: fastst}}\n", 1, "fastest"),
        ("limits: {keys: {request_per_minute: 5}}\n", 1, "'requests_per_minute'"),
        ("timeouts:\n  connect: 5\n  total: 0\n", 3, "total"),
    ],
)
def test_config_check_finds_what_is_wrong_with_budgets_limits_and_fallbacks(
    run: Run, tmp_path: Path, yaml: str, line: int, told: str
) -> None:
    """A budget that is not read as it was meant overspends; a fallback that is not there shows when it is needed."""
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml, "utf-8")
    done = run("config", "check", str(file))
    assert done.returncode == 2
    assert f"{file}:{line}: " in done.stderr and told in done.stderr


def test_a_weak_key_will_do_where_only_this_machine_listens(run: Run, tmp_path: Path) -> None:
    """Trying things out would take a random key."""
    file = tmp_path / "here.yaml"
    file.write_text("server: {key: changeme}\n", "utf-8")
    assert run("config", "check", str(file)).returncode == 0


def test_a_dotenv_file_that_cannot_be_parsed_is_told_without_its_contents(start: Run, tmp_path: Path) -> None:
    """A key would be missing and nobody would know why; or it would be printed. (`start` looks for the canary.)"""
    (tmp_path / ".env").write_text(f'GOOD=1\n\nOTHER_KEY="{CANARY}\n', "utf-8")
    for command in (("models", "ps"), ("config", "show"), ("ledger", "path")):
        done = start(*command)
        assert done.returncode == 0
        assert f"warning: {tmp_path / '.env'}:3: " in done.stderr
        assert "dotenv could not" not in done.stderr and "GOOD" not in done.stderr
    (tmp_path / "needs.yaml").write_text("providers: {openai: {api_key: {env: OTHER_KEY}}}\n", "utf-8")
    done = start("models", "--config", "needs.yaml")
    assert done.returncode == 2 and "warning: " in done.stderr and "OTHER_KEY is not set" in done.stderr


def test_config_show_masks_every_secret(run: Run, home: Path) -> None:
    """A configuration pasted into a bug report would carry its keys along. (`run` looks for the canary.)"""
    (home / "config.yaml").write_text(
        "providers:\n"
        f'  a: {{base_url: "http://me:{CANARY}@127.0.0.1:1/v1?key={CANARY}", api_key: {CANARY}}}\n'
        f'  b: {{base_url: "http://127.0.0.1:1/v1", headers: {{x-secret: {CANARY}}}, api_key: {{env: MINE_KEY}}}}\n'
        f"server: {{key: {CANARY}}}\n"
        f'alerts: {{webhook: "http://me:{CANARY}@127.0.0.1:1/services/{CANARY}?token={CANARY}"}}\n',
        "utf-8",
    )
    out = run("config", "show").stdout
    assert out.count("***") == 7
    assert "webhook: http://***@127.0.0.1:1/***\n" in out
    assert "env: MINE_KEY" in out
    shown = json.loads(run("config", "show", "--json").stdout)
    assert shown["config"]["server"]["key"] == "***"
    assert {file["path"] for file in shown["files"]} >= {str(home / "config.yaml"), str(home / ".env")}


def test_what_config_show_prints_can_be_read_again(run: Run, config: Path, tmp_path: Path) -> None:
    """The output would be no configuration."""
    copy = tmp_path / "copy.yaml"
    copy.write_text(run("config", "show").stdout, "utf-8")
    assert run("config", "check", str(copy)).returncode == 0


def test_a_ledger_that_cannot_be_opened_has_its_own_exit_code(start: Run, home: Path, config: Path) -> None:
    """A script could not tell a damaged record from a failed call."""
    (home / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    for command in (("cost",), ("ledger", "show"), ("ledger", "export"), ("keys", "list")):
        done = start(*command)
        assert (done.returncode, str(home / "ledger.sqlite") in done.stderr) == (4, True)
    assert json.loads(start("cost", "--json").stdout)["error"]["type"] == "ledger"


def test_a_home_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    """It would end in a traceback."""
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    done = run("keys", "create", "a", POINTSMAN_HOME=str(file / "inside"))
    assert done.returncode == 4
    assert str(file) in done.stderr
