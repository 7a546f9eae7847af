"""Two models, calls to them, and grades of these calls."""

from __future__ import annotations

from typing import Any

from gateway_samples import NO_OLLAMA

from pointsman.core import Needs
from pointsman.gateway import Gateway, as_chat
from pointsman.ledger import Entry, Feedback

TWO = (
    "providers: {sim: {dialect: simulated, deployment: local}}\n"
    "models:\n"
    "  one: {provider: sim, quality: 0.62}\n"
    "  two: {provider: sim, quality: 0.6}\n"
    "route: {priority: performance, candidates: [one, two]}\n" + NO_OLLAMA
)


async def served(
    asked: Gateway, prompt: str = "What is a railway point?", *, model: str = "auto", **needs: Any
) -> Entry:
    """The entry of a call."""
    call = asked.call(as_chat(prompt), model=model, needs=Needs(**needs))
    await (await asked(call)).read()
    asked.ledger.flush()
    return next(entry for entry in asked.ledger.queries.recent(5) if entry.call_id == call.id)


def grade(asked: Gateway, entry: Entry, score: float, *, key: str = "") -> None:
    asked.ledger.feedback.add(Feedback(entry.call_id, entry.at, score, key=key))
