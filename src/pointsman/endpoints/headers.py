"""The headers of a reply. Few of them are ever looked at, so that nothing is done for one before somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MOST_NAMES = 1024


class Headers(Mapping[str, str]):
    """Headers by their names in lower case, decoded when one is asked for."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return str(self._values[name], "latin-1").strip()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class LateHeaders(Mapping[str, str]):
    """The same of a head whose names are known, and whose values are not taken apart yet. It ends at `end`."""

    __slots__ = ("_names", "_data", "_end", "_values")

    def __init__(self, names: tuple[str, ...], data: bytes, end: int) -> None:
        self._names = names
        self._data = data
        self._end = end
        self._values: dict[str, bytes] | None = None

    def __getitem__(self, name: str) -> str:
        if self._values is None:
            lines = self._data[: self._end].split(b"\r\n")[1:-2]
            self._values = {name: line.partition(b":")[2] for name, line in zip(self._names, lines, strict=True)}
        return str(self._values[name], "latin-1").strip()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Names(dict[bytes, str]):
    """Names as they are written → in lower case. They are the same ones again and again."""

    def __missing__(self, written: bytes) -> str:
        name = written.decode("latin-1").lower()
        if len(self) >= MOST_NAMES:
            self.clear()
        if len(written) <= 64:
            self[written] = name
        return name


lower = _Names().__getitem__
"""The name of a header in lower case."""
