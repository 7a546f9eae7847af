"""The rooms stand on floors: a room imports only rooms on lower floors, and some rooms touch no outside world."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pointsman

PACKAGE = Path(pointsman.__file__).parent

FLOORS = {
    "cli": 7,
    "server": 6,
    "gateway": 5,
    "modes": 4,
    "lab": 4,
    "strategies": 3,
    "endpoints": 3,
    "routing": 3,
    "catalog": 3,
    "judging": 2,
    "dialects": 2,
    "ledger": 2,
    "core": 1,
    "stats": 1,
}

PURE = ("core", "stats", "dialects", "routing", "strategies")
OUTSIDE = frozenset(
    {"asyncio", "http", "os", "pyreqwest", "random", "socket", "sqlite3", "subprocess", "threading", "time", "urllib"}
)
ALLOWED_OUTSIDE = {("routing", "random.Random"), ("dialects", "urllib.parse")}
"""A type of dice that are handed in, and the parsing of text."""

ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists())


def imports(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, absolute; imports inside functions and for types counted too."""
    package = ("pointsman", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, node.module) if node.module else base)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_has_a_floor() -> None:
    """A new room that no floor was chosen for could import anything."""
    assert set(ROOMS) <= set(FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_lower_floors(room: str) -> None:
    """An import upwards, or across a floor, makes a circle possible: then nothing can be read or tested alone."""
    wrong = []
    for path in files(room):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "pointsman" or len(parts) < 2 or parts[1] == room or parts[1] not in FLOORS:
                continue
            if FLOORS[parts[1]] >= FLOORS[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("room", [room for room in ROOMS if room in PURE])
def test_a_pure_room_touches_no_outside_world(room: str) -> None:
    """A decision that reads a clock, a socket or a file cannot be replayed."""
    wrong = []
    for path in files(room):
        for name in imports(path):
            allowed = any(
                name == f"{it}" or name.startswith(f"{it}.") for owner, it in ALLOWED_OUTSIDE if owner == room
            )
            if name.split(".")[0] in OUTSIDE and not allowed:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_nobody_imports_a_web_framework() -> None:
    """The server's protocol is our own: a framework would cost more on each call than all else that a call needs."""
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for room in ROOMS
        for path in files(room)
        for name in imports(path)
        if name.split(".")[0] in ("uvicorn", "starlette")
    ]
    assert not wrong


def test_only_the_configuration_reads_the_environment() -> None:
    """A variable that is read elsewhere is a setting that nobody finds."""
    wrong = []
    for room in ROOMS:
        for path in files(room):
            text = path.read_text("utf-8")
            if ("os.environ" in text or "getenv" in text) and path.name != "environment.py":
                wrong.append(str(path.relative_to(PACKAGE)))
    assert not wrong


def test_the_files_of_a_room_form_no_circle() -> None:
    """Two files that import each other are one file that was cut in the wrong place."""
    graph: dict[str, set[str]] = {}
    modules = {module_name(path): path for room in ROOMS for path in files(room)}
    for module, path in modules.items():
        found = set()
        for name in imports(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module and modules[target].name != "__init__.py":
                found.add(target)
        graph[module] = found
    assert not circle(graph)


def module_name(path: Path) -> str:
    parts = ("pointsman", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the graph, or nothing."""
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for target in sorted(graph[node]):
            if found := walk(target, [*way, node]):
                return found
        done.add(node)
        return []

    return next((found for node in graph if (found := walk(node, []))), [])
