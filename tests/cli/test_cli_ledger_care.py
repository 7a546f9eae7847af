"""`pointsman ledger verify`, `backup` and `restore`."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cli_upstream import Run


@pytest.fixture
def recorded(run: Run, config: Path) -> None:
    assert run("ask", "hello", "--model", "echo").returncode == 0
    assert run("cost").returncode == 0


def attempts(run: Run) -> int:
    return int(json.loads(run("ledger", "verify", "--json").stdout)["entries"])


def test_a_sound_ledger_is_found_sound(run: Run, home: Path, recorded: None) -> None:
    """A check that cannot be read is not made; one that cries wolf is switched off."""
    done = run("ledger", "verify")
    assert done.returncode == 0
    assert done.stdout.startswith(f"✓ {home / 'ledger.sqlite'} is whole: 1 attempt, 0 keys, ")
    told = json.loads(run("ledger", "verify", "--json").stdout)
    assert (told["ok"], told["entries"], told["findings"]) == (True, 1, [])


def test_a_ledger_that_is_not_there_yet_is_no_fault(run: Run, home: Path) -> None:
    """A first night's cron job would send a mail; or the check would make what it looks for."""
    done = run("ledger", "verify")
    assert done.returncode == 0 and "There is no ledger" in done.stdout
    assert not (home / "ledger.sqlite").exists()


def test_what_is_wrong_is_told_with_what_to_do(run: Run, home: Path, recorded: None) -> None:
    """Whoever finds a damaged ledger would be alone with it."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        connection.execute("CREATE TABLE foreign_table (a)")
        connection.commit()
    done = run("ledger", "verify")
    assert done.returncode == 1
    assert "✗ foreign_table is not ours" in done.stdout and "  To do: Stop what uses it" in done.stdout
    assert "One thing is wrong with" in done.stdout
    (home / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    damaged = run("ledger", "verify", "--json")
    told = json.loads(damaged.stdout)
    assert (damaged.returncode, told["ok"]) == (1, False)
    assert all(finding["todo"] for finding in told["findings"])


def test_a_backup_is_put_back_and_what_it_replaces_is_kept(
    run: Run, home: Path, tmp_path: Path, recorded: None
) -> None:
    """A damaged ledger would be the end of the record; or putting one back the end of what came since."""
    file = tmp_path / "backup.sqlite"
    made = run("ledger", "backup", str(file))
    assert made.returncode == 0 and f"{file}: 1 attempt, " in made.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    run("ask", "hello", "--model", "echo")
    assert json.loads(run("ledger", "backup", str(tmp_path / "second"), "--json").stdout)["entries"] == 2
    restored = json.loads(run("ledger", "restore", str(file), "--json").stdout)
    assert restored["entries"] == 1 and Path(restored["kept"]).parent == home
    assert attempts(run) == 1
    again = run("ledger", "restore", restored["kept"])
    assert again.returncode == 0 and "2 attempts." in again.stdout and "is kept, with what was recorded" in again.stdout
    assert attempts(run) == 2


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None], ids=["empty", "rubbish", "missing"])
def test_what_is_no_backup_changes_nothing(run: Run, tmp_path: Path, recorded: None, content: bytes | None) -> None:
    """A slip would cost the ledger."""
    file = tmp_path / "backup.sqlite"
    if content is not None:
        file.write_bytes(content)
    done = run("ledger", "restore", str(file))
    assert done.returncode == 4 and str(file) in done.stderr
    assert attempts(run) == 1


def test_the_ledger_is_never_replaced_by_itself(run: Run, home: Path, tmp_path: Path, recorded: None) -> None:
    """Processes that use it would go on writing to a file without a name."""
    link = tmp_path / "link"
    link.symlink_to(home)
    before = (home / "ledger.sqlite").stat().st_ino
    for command, file in (("backup", home / "ledger.sqlite"), ("backup", link / "ledger.sqlite-wal")):
        assert run("ledger", command, str(file)).returncode == 2
    assert run("ledger", "restore", str(link / "ledger.sqlite")).returncode == 2
    assert (home / "ledger.sqlite").stat().st_ino == before
    assert run("ledger", "backup", str(tmp_path / "nowhere" / "file")).returncode == 4
