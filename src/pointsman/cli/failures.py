"""What a failure looks like from outside: an exit code, and a message or an error object."""

from __future__ import annotations

from msgspec import Struct

from ..core import (
    AttemptError,
    CallError,
    ConfigError,
    InvalidCall,
    LedgerError,
    NoCandidate,
    OverBudget,
    PointsmanError,
    RateLimited,
    UnknownModel,
)
from .terminal import print_json, show_line

FAILED = 1
USAGE = 2
NO_CANDIDATE = 3
LEDGER = 4
OVER_BUDGET = 5
INTERRUPTED = 130

EPILOG = """\b
Exit codes:
  0    done
  1    the call failed: the model, its provider, the network or a limit
  2    the command line or the configuration is wrong
  3    no model can serve the call as it was asked
  4    the ledger cannot be read or written
  5    a budget has no room for the call: `pointsman budgets`
  130  interrupted

`pointsman COMMAND --help` shows examples. Every command takes --config FILE; without it the file that POINTSMAN_CONFIG
names is read, or config.yaml in POINTSMAN_HOME (~/.pointsman)."""


class Failure(Struct, frozen=True, omit_defaults=True):
    type: str
    message: str
    retry_after: float | None = None
    """Seconds after which the same call may succeed; left out where nobody knows."""


class FailureObject(Struct, frozen=True):
    """What `--json` prints when there is nothing else to print."""

    error: Failure


def exit_code(error: PointsmanError) -> int:
    if isinstance(error, ConfigError | InvalidCall | UnknownModel):
        return USAGE
    if isinstance(error, NoCandidate):
        return NO_CANDIDATE
    if isinstance(error, OverBudget):
        return OVER_BUDGET
    return LEDGER if isinstance(error, LedgerError) else FAILED


def failure(error: PointsmanError) -> Failure:
    wait = error.retry_after if isinstance(error, AttemptError | CallError) else None
    return Failure(error.kind, error.message, wait)


def tell(error: PointsmanError, *, as_json: bool) -> None:
    """To standard error for people, as an object on standard output for programs."""
    if as_json:
        print_json(FailureObject(failure(error)))
    else:
        show_line(f"pointsman: {_in_words(error)}")


def _in_words(error: PointsmanError) -> str:
    """The message, with whose it is and what to do next where it does not say so itself."""
    text = error.message
    if isinstance(error, AttemptError) and error.endpoint and error.endpoint not in text:
        text = f"{error.endpoint}: {text}"
    if isinstance(error, OverBudget):
        return f"{text}\n`pointsman budgets` shows how each budget stands."
    if isinstance(error, RateLimited) and error.upstream_status is None:
        return f"{text}\nNothing was sent. `pointsman route --explain` shows who can serve now."
    return text
