"""How much memory is left for a model, so that a shortage is said before it kills."""

from __future__ import annotations

from pathlib import Path

from .models import LocalModel

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def shortage(model: LocalModel, available: int | None) -> str:
    """Why `model` must not be started with `available` bytes of memory; '' where it may (or nobody knows)."""
    if available is None or available >= model.memory:
        return ""
    return (
        f"{model.id} needs about {model.memory / 1e6:.0f} MB of memory and {available / 1e6:.0f} MB are available. "
        "Close something, or use a smaller model."
    )


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Bytes that a new process may use: what the machine has left, or what a container's limit leaves if that is less.

    None where the system does not tell (not Linux).
    """
    known = [left for left in (_left_on_machine(meminfo), _left_in_container(cgroup)) if left is not None]
    return min(known, default=None)


def resident(pid: int) -> int | None:
    """Bytes of memory that a process occupies; None where the system does not tell."""
    return _field(Path(f"/proc/{pid}/status"), "VmRSS:")


def _left_on_machine(meminfo: Path) -> int | None:
    return _field(meminfo, "MemAvailable:")


def _left_in_container(cgroup: Path) -> int | None:
    limit = _number(cgroup / "memory.max")
    used = _number(cgroup / "memory.current")
    if limit is None or used is None:
        return None
    # Cached files count as used, but are given up when memory is asked for.
    cached = _stat(cgroup / "memory.stat", "inactive_file") or 0
    return max(0, limit - used + cached)


def _field(path: Path, name: str) -> int | None:
    """A line such as 'MemAvailable:   123 kB', in bytes."""
    kibibytes = _stat(path, name)
    return None if kibibytes is None else kibibytes * 1024


def _stat(path: Path, name: str) -> int | None:
    for text in _read(path).splitlines():
        words = text.split()
        if len(words) >= 2 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return None


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
