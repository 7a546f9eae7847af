"""What a failure looks like from outside: an exit code, and a message or an error object."""

from __future__ import annotations

from msgspec import Struct

from ..core import ConfigError, InvalidCall, LedgerError, NoCandidate, PointsmanError, UnknownModel
from .terminal import print_json, show_line

FAILED = 1
USAGE = 2
NO_CANDIDATE = 3
LEDGER = 4
INTERRUPTED = 130

EPILOG = """\b
Exit codes:
  0    done
  1    the call failed: the model, its provider or the network
  2    the command line or the configuration is wrong
  3    no model can serve the call as it was asked
  4    the ledger cannot be read or written
  130  interrupted

`pointsman COMMAND --help` shows examples. Every command takes --config FILE; without it the file that POINTSMAN_CONFIG
names is read, or config.yaml in POINTSMAN_HOME (~/.pointsman)."""


class Failure(Struct, frozen=True):
    type: str
    message: str


class FailureObject(Struct, frozen=True):
    """What `--json` prints when there is nothing else to print."""

    error: Failure


def exit_code(error: PointsmanError) -> int:
    if isinstance(error, ConfigError | InvalidCall | UnknownModel):
        return USAGE
    if isinstance(error, NoCandidate):
        return NO_CANDIDATE
    return LEDGER if isinstance(error, LedgerError) else FAILED


def tell(error: PointsmanError, *, as_json: bool) -> None:
    """To standard error for people, as an object on standard output for programs."""
    if as_json:
        print_json(FailureObject(Failure(error.kind, error.message)))
    else:
        show_line(f"pointsman: {error.message}")
