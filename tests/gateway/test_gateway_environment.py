"""What the machine says: variables, .env files, the home, and secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.core import ConfigError
from pointsman.gateway import read_environment
from pointsman.gateway.specs import FromEnv


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """(working directory, user's home)."""
    made = tmp_path / "work", tmp_path / "user"
    for folder in made:
        folder.mkdir()
    return made


def test_a_variable_wins_over_the_working_folder_and_that_over_the_home(tmp_path: Path) -> None:
    """A key that is set for one project would lose against an old one."""
    work, user = folders(tmp_path)
    (work / ".env").write_text("A=work\nB=work\n")
    (user / ".env").write_text("A=user\nB=user\nC=user\n")
    variables = read_environment({"A": "own"}, directory=work, user_home=user).variables
    assert (variables["A"], variables["B"], variables["C"]) == ("own", "work", "user")


def test_a_variable_that_is_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    """An empty line in a .env file would hide a key, and calls would go out without one."""
    work, user = folders(tmp_path)
    (work / ".env").write_text("A=\nB='  '\n")
    (user / ".env").write_text("A=user\n")
    environment = read_environment({}, directory=work, user_home=user)
    assert environment.first(["B", "A"]) == ("A", "user")
    assert environment.first(["B"]) is None


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"KEY=plain", "plain"),
        (b"export KEY=plain", "plain"),
        (b'KEY="in quotes"', "in quotes"),
        (b"KEY=plain # comment", "plain"),
        (b"KEY=a$HOME$(id)", "a$HOME$(id)"),
        (b"\xef\xbb\xbfKEY=plain", "plain"),
        (b"KEY=plain\r\nB=1\r\n", "plain"),
        (b"no line of any kind\nKEY=plain", "plain"),
    ],
)
def test_a_dotenv_file_is_read_as_people_write_them(tmp_path: Path, content: bytes, value: str) -> None:
    """A key would be read wrong, and refused by its provider."""
    work, user = folders(tmp_path)
    (work / ".env").write_bytes(content)
    assert read_environment({}, directory=work, user_home=user).variables["KEY"] == value


@pytest.mark.parametrize("content", [b"\xff\xfe\x00KEY=1", b"", b"\x00" * 100])
def test_a_dotenv_file_of_rubbish_is_passed_over(tmp_path: Path, content: bytes) -> None:
    """A stray file in the working folder would stop everything."""
    work, user = folders(tmp_path)
    (work / ".env").write_bytes(content)
    assert read_environment({"A": "1"}, directory=work, user_home=user).variables["A"] == "1"


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"A=1\nno line of any kind\n", 2), (b"\n\n# c\n\nKEY='open\nA=1\n", 5), (b"A=1\n\xff\n", 2), (b"A=1\n", None)],
)
def test_what_cannot_be_read_is_named_by_file_and_line_only(tmp_path: Path, content: bytes, line: int | None) -> None:
    """A key would be missing without a word, or a secret stand in the warning."""
    work, user = folders(tmp_path)
    (work / ".env").write_bytes(content)
    problems = read_environment({}, directory=work, user_home=user).problems
    assert [problem.partition(": ")[0] for problem in problems] == ([f"{work / '.env'}:{line}"] if line else [])
    told = "".join(problems).replace(str(work), "").replace("left open", "")
    assert "open" not in told
    assert "kind" not in told


def test_one_file_that_is_both_is_read_once(tmp_path: Path) -> None:
    """Whoever stands in his home would be told everything twice."""
    work, _ = folders(tmp_path)
    (work / ".env").write_text("rubbish of some kind\n")
    assert len(read_environment({}, directory=work, user_home=work).problems) == 1


def test_a_folder_called_dotenv_is_passed_over(tmp_path: Path) -> None:
    """A virtual environment of that name would stop everything."""
    work, user = folders(tmp_path)
    (work / ".env").mkdir()
    assert dict(read_environment({}, directory=work, user_home=user).variables) == {}


def test_the_home_moves_by_its_variable_and_only_by_the_users_own(tmp_path: Path) -> None:
    """A folder that somebody sent could redirect the ledger, or name a configuration."""
    work, user = folders(tmp_path)
    (work / ".env").write_text("POINTSMAN_HOME=/elsewhere\nPOINTSMAN_CONFIG=/elsewhere.yaml\nHOME=/elsewhere\n")
    plain = read_environment({}, directory=work, user_home=user)
    assert (plain.home, plain.config_file) == (user / ".pointsman", None)
    moved = read_environment({"POINTSMAN_HOME": str(tmp_path / "moved")}, directory=work, user_home=user)
    assert moved.home == tmp_path / "moved"


def test_the_configuration_is_the_one_named_else_the_one_in_the_home(tmp_path: Path) -> None:
    """A configuration would be ignored, or demanded."""
    work, user = folders(tmp_path)
    home = user / ".pointsman"
    home.mkdir()
    (home / "config.yaml").write_text("{}")
    assert read_environment({}, directory=work, user_home=user).config_file == home / "config.yaml"
    named = read_environment({"POINTSMAN_CONFIG": "/my.yaml"}, directory=work, user_home=user)
    assert named.config_file == Path("/my.yaml")


def test_reading_the_environment_writes_nothing(tmp_path: Path) -> None:
    """A look at the settings would leave files behind."""
    work, user = folders(tmp_path)
    read_environment({}, directory=work, user_home=user)
    assert list(user.iterdir()) == list(work.iterdir()) == []


def test_a_secret_is_what_is_stated_or_what_its_variable_holds(tmp_path: Path) -> None:
    """A call would go out with the wrong key, or with none."""
    work, user = folders(tmp_path)
    environment = read_environment({"MY_KEY": " k \n"}, directory=work, user_home=user)
    assert environment.secret("plain", where="x") == "plain"
    assert environment.secret(None, where="x") == ""
    assert environment.secret(FromEnv(env="MY_KEY"), where="x") == "k"
    with pytest.raises(ConfigError, match="OTHER_KEY"):
        environment.secret(FromEnv(env="OTHER_KEY"), where="x")
