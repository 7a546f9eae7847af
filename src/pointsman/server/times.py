"""How long a connection may do nothing, in each of its states."""

from __future__ import annotations

from msgspec import Struct


class Times(Struct, frozen=True):
    """Seconds after which a connection is taken for dead, looked at about once a second."""

    idle: float = 75
    """Between two requests, and before the first."""
    head: float = 20
    body: float = 30
    """Between two pieces of a body."""
    stall: float = 120
    """In which a client reads nothing of what waits for it."""
    linger: float = 10
    """For the rest of a body that nobody wants: a client that is cut off while it sends never sees why."""
    quiet: float = 10
    """Without a word in a streamed answer: then it is asked for a sign of life."""
