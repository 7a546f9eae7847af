"""The environment and the gateway that a command works with."""

from __future__ import annotations

from pathlib import Path

from ..gateway import Environment, Gateway, read_environment
from .terminal import show_line


def open_environment() -> Environment:
    """Says on standard error what could not be read of the .env files."""
    environment = read_environment()
    for problem in environment.problems:
        show_line(f"warning: {problem}", style="yellow")
    return environment


def open_gateway(config_file: Path | None, *, workers: int | None = None) -> Gateway:
    """The same for a command that needs all of it. Raises ConfigError."""
    return Gateway(config_file, environment=open_environment(), workers=workers)
