"""Calls, candidates and decisions for the tests of decisions."""

from __future__ import annotations

from random import Random
from typing import Any

from pointsman.core import Call, Chat, Message, Needs, Part, Priority, Text, Tool, from_usd
from pointsman.routing import (
    EXPLORATION,
    NO_FORECAST,
    Candidate,
    Chain,
    Conversation,
    Decision,
    Exploration,
    Forecast,
    Objective,
    RouteState,
    read_prompt,
)

PRIORITIES: tuple[Priority, ...] = ("performance", "balanced", "frugal")
SIMPLE = "Hello!"
HARD = "Prove this theorem step by step, analyze the edge cases, and compare it with the algorithm in depth."


def call(
    prompt: str = SIMPLE, *parts: Part, needs: Needs | None = None, max_tokens: int | None = None, tools: bool = False
) -> Call:
    chat = Chat((Message("user", (Text(prompt), *parts)),), max_tokens=max_tokens, tools=(Tool("f"),) if tools else ())
    return Call(id="1", model="auto", chat=chat, needs=needs or Needs())


def candidate(name: str, quality: float | None = 0.6, **known: Any) -> Candidate:
    """One at a dollar per million tokens of which all is known, but for what `known` changes."""
    plain: dict[str, Any] = {
        "deployment": "paid",
        "context": 8_000,
        "max_output": 4_000,
        "capabilities": frozenset({"tools", "json", "image"}),
        "input_price": from_usd(1),
        "output_price": from_usd(1),
        "quality": quality,
        "ttft": 0.5,
        "output_rate": 100.0,
    }
    return Candidate(name=name, **(plain | known))


def decide(
    candidates: list[Candidate],
    asked: Call | None = None,
    *,
    priority: Priority = "frugal",
    state: RouteState | None = None,
    chains: dict[str, Chain] | None = None,
    forecast: Forecast = NO_FORECAST,
    conversation: Conversation | None = None,
    exploration: Exploration | None = EXPLORATION,
    seed: int = 0,
) -> Decision:
    asked = asked or call()
    return Objective(priority, chains or {}, exploration=exploration)(
        asked,
        read_prompt(asked.chat),
        candidates,
        state or RouteState(),
        Random(seed),
        forecast=forecast,
        conversation=conversation,
    )
