"""`auto` at the server's door, with prompts that nobody meant to route: each gets a decision with a reason, soon."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from running import Running

CONFIG = """
providers:
  sim: {dialect: simulated, deployment: local}
models:
  echo: {provider: sim, quality: 0.8}
  blind: {provider: sim, quality: 0.9, capabilities: []}
  brief: {provider: sim, quality: 0.9, context: 1000, capabilities: [image, audio, document, tools, json]}
route: {candidates: [blind, brief, echo]}
local: {enabled: false}
server: {max_body_mb: 8}
"""
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("odd") / "home", CONFIG) as running:
        yield running


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
ODD: dict[str, list[dict[str, Any]]] = {
    "nothing": user(""),
    "blanks": user(" \n\t "),
    "a megabyte of words": user("lorem ipsum dolor " * 58_000),
    "a megabyte of one letter": user("a" * 1_000_000),
    "a megabyte of tags": user("<a_file>" * 60_000 + "</a_file>" * 60_000),
    "binary": user("".join(map(chr, range(256))) * 400),
    "several languages": user("Hello 你好 مرحبا Привет שלום ¿qué tal? " * 50),
    "an image alone": user([IMAGE]),
    "twenty images": user([IMAGE] * 20),
    "a system prompt alone": [{"role": "system", "content": "Be brief."}],
    "an answer alone": [{"role": "assistant", "content": "Well."}, *user("?")],
    "ten thousand messages": [{"role": ("user", "assistant")[n % 2], "content": "yes"} for n in range(9_999)],
}


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD.keys())
def test_an_odd_prompt_is_decided_and_answered(sim: Running, messages: list[dict[str, Any]]) -> None:
    """An application would get a fault of ours for what its users typed."""
    body = json.dumps({"model": "auto", "messages": messages, "max_tokens": 20}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {sim.key}"}
    started = time.monotonic()
    with urlopen(Request(f"{sim.url}/v1/chat/completions", body, headers), timeout=60) as answer:
        said = json.load(answer)
        call = answer.headers["x-pointsman-call"]
    assert time.monotonic() - started < 20
    assert said["choices"][0]["finish_reason"] in ("stop", "length")
    (entry,) = sim.entries(call)
    assert entry.task and entry.complexity and entry.features
    rejected = {one.model: one.rejected for one in entry.candidates}
    assert set(rejected) == {"blind", "brief", "echo"} and not rejected[entry.model]
    has_image = any(isinstance(message["content"], list) for message in messages)
    assert ("cannot take image" in rejected["blind"]) == has_image
    if len(body) > 100_000 or len(messages) > 1_000:
        assert "context" in rejected["brief"]
