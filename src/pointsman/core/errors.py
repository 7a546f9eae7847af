"""Everything that can go wrong, as one tree.

PointsmanError
├── ConfigError              a configuration file is wrong: file, line, likely spelling
├── LedgerError              the ledger cannot be read or written
├── CallError                the call cannot be served as it was asked
│   ├── InvalidCall          400  the body is not what its dialect promises
│   ├── Unauthenticated      401  no key, or none that we know
│   ├── OverBudget           402  money is spent
│   ├── Forbidden            403  the key has not that right
│   ├── UnknownModel         404  no such model, pool or mode
│   ├── CallTooLarge         413  the body is past the cap
│   ├── OverLimit            429  the key has sent as much as it may for now
│   ├── Busy                 503  a bound of ours is full
│   └── NoCandidate          503  nobody can serve the call now; each candidate with its reason
│       └── Unservable       400  nobody here ever can: what the call asks for rules every candidate out
└── AttemptError             one try at one endpoint failed
    ├── CallRejected         400  the upstream refuses this call: another endpoint would too
    │   ├── ContextTooLong   400  the prompt does not fit the context window
    │   └── ContentFiltered  400  the upstream's content policy refused
    ├── KeyRejected          502  our key is wrong, expired or without rights
    │   └── OutOfCredit      502  our account at the provider is empty
    ├── ModelGone            502  the provider does not know the model (any more)
    ├── RateLimited          429  the provider's limit, with its Retry-After where it gave one
    ├── Overloaded           503  the provider says that it is too busy
    ├── UpstreamFailed       502  any other failure of the upstream
    ├── UpstreamTimeout      504  no answer in time
    ├── Unreachable          502  no connection; for a local model: it is not there or will not start
    └── BrokenReply          502  an answer that is malformed, or was cut off

Every error bears `kind` (one stable word, in the ledger and on the wire), `status` (the HTTP status that a caller
sees) and `blame`: whose fault it was decides what is retried and what is put out of a pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

from .reasons import grouped

Blame = Literal["caller", "key", "upstream", "us"]


UNSENT: Final = "Nothing had been sent."
"""A note on what cancels an attempt that was still on its way to its upstream: nobody can bill for it."""


def was_sent(cancelled: BaseException) -> bool:
    return UNSENT not in getattr(cancelled, "__notes__", ())


class PointsmanError(Exception):
    """The root of the tree. `message` says what was asked, what was found, and what to try."""

    kind: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    blame: ClassVar[Blame] = "us"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(PointsmanError):
    """A configuration that cannot be used.

    `file` and `line` (from 1) say where; both are None when the fault is not in a file.
    """

    kind = "config"

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message)
        self.file = file
        self.line = line


class LedgerError(PointsmanError):
    """The ledger cannot be read or written."""

    kind = "ledger"
    status = 503


class CallError(PointsmanError):
    """The call cannot be served as it was asked."""

    kind = "call"
    status = 400
    blame: ClassVar[Blame] = "caller"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the same call may succeed, if that is known."""


class InvalidCall(CallError):
    """The body is not what its dialect promises. `param` names the field at fault, if one is."""

    kind = "invalid_call"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Unauthenticated(CallError):
    kind = "unauthenticated"
    status = 401


class OverBudget(CallError):
    """Money is spent. `at_limit` says what the caller may still use: nothing ('refuse'), models that cost nothing
    ('free'), or those of this machine ('local')."""

    kind = "over_budget"
    status = 402

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.at_limit: Literal["refuse", "free", "local"] = "refuse"


class Forbidden(CallError):
    kind = "forbidden"
    status = 403


class UnknownModel(CallError):
    """No model, pool or mode of that name. `nearest` holds the likeliest names meant, best first."""

    kind = "unknown_model"
    status = 404

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        hint = f" Did you mean {' or '.join(repr(n) for n in nearest)}?" if nearest else ""
        super().__init__(
            f"There is no model, pool or mode named {name!r}.{hint} `pointsman models` lists what there is."
        )
        self.name = name
        self.nearest = tuple(nearest)


class CallTooLarge(CallError):
    kind = "call_too_large"
    status = 413


class OverLimit(CallError):
    """The key has sent as much as it may for now; `retry_after` says when it may send more."""

    kind = "over_limit"
    status = 429


class Busy(CallError):
    kind = "busy"
    status = 503
    blame: ClassVar[Blame] = "us"


class NoCandidate(CallError):
    """Nothing is left that may serve the call. `reasons` maps each candidate to why it was filtered out; the message
    tells them grouped.

    It may be worth another try later, unlike `Unservable`.
    """

    kind = "no_candidate"
    status = 503

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None) -> None:
        self.reasons = dict(reasons or {})
        lines = "".join(f"\n  {who}: {why}" for who, why in grouped(self.reasons).items())
        super().__init__(message + lines)


class Unservable(NoCandidate):
    """The call asks for more context, other abilities, less money or time than any candidate has: trying again does
    not help."""

    kind = "unservable"
    status = 400


class AttemptError(PointsmanError):
    """One try at one endpoint failed.

    `upstream_status` is the HTTP status that the endpoint gave, `retry_after` the seconds that it asked us to wait;
    both None where it said nothing.
    """

    kind = "attempt"
    status = 502
    blame: ClassVar[Blame] = "upstream"

    def __init__(self, message: str, *, upstream_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.upstream_status = upstream_status
        self.retry_after = retry_after
        self.endpoint = ""
        """The endpoint that failed, once the attempt is recorded."""


class CallRejected(AttemptError):
    kind = "call_rejected"
    status = 400
    blame: ClassVar[Blame] = "caller"


class ContextTooLong(CallRejected):
    kind = "context_too_long"


class ContentFiltered(CallRejected):
    kind = "content_filtered"


class KeyRejected(AttemptError):
    kind = "key_rejected"
    blame: ClassVar[Blame] = "key"


class OutOfCredit(KeyRejected):
    kind = "out_of_credit"


class ModelGone(AttemptError):
    kind = "model_gone"


class RateLimited(AttemptError):
    kind = "rate_limited"
    status = 429
    blame: ClassVar[Blame] = "key"


class Overloaded(AttemptError):
    kind = "overloaded"
    status = 503


class UpstreamFailed(AttemptError):
    kind = "upstream_failed"


class UpstreamTimeout(AttemptError):
    kind = "timeout"
    status = 504


class Unreachable(AttemptError):
    kind = "unreachable"


class BrokenReply(AttemptError):
    kind = "broken_reply"


FAULTS_OF_UPSTREAMS = frozenset(
    error.kind for error in (ModelGone, Overloaded, UpstreamFailed, UpstreamTimeout, Unreachable, BrokenReply)
)
"""Kinds that say something of the model that was asked: not of the key, nor of whoever asked."""
