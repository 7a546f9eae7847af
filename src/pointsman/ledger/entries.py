"""What is recorded: one Entry for each attempt, and a Body where prompts and answers are kept."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ..core import Finish, Nanos, Usage, Weighed

Status = Literal["ok", "broken", "failed", "cancelled"]

MAX_FEATURES = 256
"""Bytes that the feature vector of one entry may have."""


class Entry(Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One attempt: one try at one endpoint. Text that does not apply is '', a number that nobody knows is None.

    It holds no prompt and no answer. On disk a field is known by its place: new ones go to the end, with a default.
    An id of 32 lower-case hexadecimal digits (a UUID's `hex`) takes half the room of any other.
    """

    attempt_id: str
    """Unique: an entry that comes twice is stored once."""
    call_id: str
    at: float
    """When the attempt began, in seconds since 1970, UTC."""
    model: str
    endpoint: str
    provider: str
    """The provider that really served, as far as it is known."""
    status: Status
    seconds: float
    """From the start of the attempt to its end."""
    ttft: float | None = None
    """Seconds from the start of the attempt to its first content."""
    dialect: str = ""
    op: str = "chat"
    stream: bool = False
    usage: Usage | None = None
    cost: Nanos | None = None
    list_cost: Nanos | None = None
    """What the same tokens cost at a list price: what a local or free model saved."""
    error: str = ""
    """The `kind` of the error; never its message, which may quote a prompt."""
    upstream_status: int | None = None
    retry: int = 0
    """How many attempts this call had made before."""
    parent_id: str = ""
    """The attempt or call on whose behalf this one was made."""
    run_id: str = ""
    stage: str = ""
    task: str = ""
    complexity: str = ""
    strategy: str = ""
    decision_id: str = ""
    probability: float | None = None
    """With which the policy made this choice."""
    policy: str = ""
    state_version: str = ""
    features: bytes = b""
    """The prompt's feature vector, its version first; at most 256 bytes, b'' where it is switched off."""
    candidates: tuple[Weighed, ...] = ()
    """Read back from the ledger, those that could be chosen come first, then the rejected ones; their scores and
    probabilities have seven digits."""
    key: str = ""
    """Id of the virtual key, never the key itself."""
    user: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()
    version: str = ""
    """Of pointsman."""
    deployment: str = ""
    """'local', 'free' or 'paid': where it ran, and who pays."""
    holds: tuple[str, ...] = ()
    """Names of the purses that pay for it."""
    held: Nanos | None = None
    """What was reserved for it in each of them: so much is taken where the cost is unknown."""
    finish: Finish | Literal[""] = ""
    """Why the answer ended, as its model says; '' where it did not come so far, or was recorded by an older version."""
    conversation: str = ""
    """The same for all routed calls of one conversation: a hash, from which no text can be read back. '' for calls that
    named their model, where features are switched off, and from older versions."""

    def __post_init__(self) -> None:
        if len(self.features) > MAX_FEATURES:
            raise ValueError(f"features have {len(self.features)} bytes; an entry holds at most {MAX_FEATURES}")


class Body(Struct, frozen=True, array_like=True):
    """The prompt and the answer of one attempt: stored only when asked for, apart from its entry."""

    attempt_id: str
    at: float
    prompt: bytes
    answer: str
