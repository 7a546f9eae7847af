"""What upstreams send, written by hand after their references: whole replies and streams, and what they mean."""

from __future__ import annotations

import json

from pointsman.core import Usage


def sse(*events: object, done: bool = False) -> bytes:
    """Data-only events, each a line of JSON."""
    written = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return written + (b"data: [DONE]\n\n" if done else b"")


def named(*events: dict[str, object]) -> bytes:
    """Events that bear their type as name."""
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def chunk(delta: dict[str, object] | None = None, finish: str | None = None, **fields: object) -> dict[str, object]:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **fields}


OPENAI_WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini-2026",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hé 😀", "reasoning_content": "hm", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 999,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        "system_fingerprint": "fp",
    },
    ensure_ascii=False,
).encode()

OPENAI_USAGE = Usage(input=30, cache_read=60, cache_write=10, output=30, reasoning=20, service_tier="default")

OPENAI_TEXT = (
    b"\xef\xbb\xbf: keep-alive\n\n"
    + sse(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "let me"}),
        chunk({"reasoning": " see"}),
    )
    + b"data: "
    + json.dumps(chunk({"content": "Hé 😀"}), ensure_ascii=False).encode()
    + b"\n\n"
    + sse(
        chunk({"content": " there", "new_field": {"kept": True}}),
        chunk({}, "stop"),
        {
            "id": "c1",
            "choices": [],
            "service_tier": "default",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
        },
        done=True,
    )
)


def _piece(arguments: str, **fields: object) -> dict[str, object]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return chunk({"tool_calls": [{**fields, "function": {**name, "arguments": arguments}}]})


OPENAI_TOOLS = sse(
    _piece("", index=0, id="a", type="function", name="add"),
    _piece('{"x":', index=0),
    _piece('{"y":', index=1, id="b", type="function", name="sub"),
    _piece("1}", index=0),
    _piece("2}", index=1),
    chunk({}, "tool_calls"),
    done=True,
)

OPENAI_TOOLS_ALL_ZERO = sse(
    _piece('{"x":', index=0, id="a", name="add"),
    _piece("1}", index=0),
    _piece('{"y":', index=0, id="b", name="sub"),
    _piece("2}", index=0),
    chunk({}, "stop"),
    done=True,
)

OPENAI_TOOLS_NO_INDEX = sse(
    _piece('{"x":', id="a", name="add"),
    _piece("1}", id="a"),
    _piece('{"y":', id="b", name="sub"),
    _piece("2}"),
    chunk({}, "tool_calls"),
    done=True,
)

OPENAI_TOOLS_REPEATED = sse(
    _piece('{"x":', index=0, id="a", name="add"),
    _piece('{"y":', index=0, id="b", name="sub"),
    _piece("1}", index=0, id="a", name="add"),
    _piece("2}", index=0, id="b", name="sub"),
    chunk({}, "tool_calls"),
    done=True,
)

ANTHROPIC_WHOLE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Hi"},
            {"type": "text", "text": " you"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": 30,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            "output_tokens_details": {"thinking_tokens": 12},
            "service_tier": "standard",
        },
    }
).encode()

ANTHROPIC_USAGE = Usage(
    input=10, cache_read=20, cache_write=3, cache_write_1h=4, output=18, reasoning=12, service_tier="standard"
)

ANTHROPIC_STREAM = named(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5",
            "content": [],
            "stop_reason": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 1,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 7,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
                "service_tier": "standard",
            },
        },
    },
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hé 😀"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "an_event_of_tomorrow", "index": "not a number of today"} | {"index": 0},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t1", "name": "add", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"x":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 12}},
    },
    {"type": "message_stop"},
)

GEMINI_PARTS: list[dict[str, object]] = [
    {"text": "hm", "thought": True},
    {"text": "Hi"},
    {"functionCall": {"name": "add", "args": {"x": 1}}, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "sub", "args": {"y": 2}}},
]

GEMINI_COUNTS = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 60,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 112,
}

GEMINI_USAGE = Usage(input=40, cache_read=60, output=5, reasoning=7)

GEMINI_WHOLE = json.dumps(
    {
        "candidates": [{"content": {"parts": GEMINI_PARTS, "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": GEMINI_COUNTS,
        "modelVersion": "gemini-3-pro",
        "responseId": "r1",
    }
).encode()

GEMINI_STREAM = sse(
    *(
        {
            "candidates": [
                {
                    "content": {"parts": [part], "role": "model"},
                    **({"finishReason": "STOP"} if part is GEMINI_PARTS[-1] else {}),
                }
            ],
            "usageMetadata": GEMINI_COUNTS,
            "responseId": "r1",
        }
        for part in GEMINI_PARTS
    )
).replace(b"\n", b"\r\n")

OLLAMA_LAST = {"done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 9, "total_duration": 1}

OLLAMA_WHOLE = json.dumps(
    {
        "model": "qwen3",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {
            "role": "assistant",
            "content": "Hi",
            "thinking": "hm",
            "tool_calls": [
                {"function": {"name": "add", "arguments": {"x": 1}}},
                {"function": {"name": "sub", "arguments": {"y": 2}}},
            ],
        },
        **OLLAMA_LAST,
    }
).encode()

OLLAMA_STREAM = lines(
    {"model": "qwen3", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
    {"model": "qwen3", "message": {"role": "assistant", "content": "Hé 😀"}, "done": False},
    {
        "model": "qwen3",
        "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]},
        "done": False,
    },
    {"model": "qwen3", "message": {"role": "assistant", "content": ""}, **OLLAMA_LAST},
)

STREAMS: dict[str, tuple[str, bytes]] = {
    "openai text": ("openai", OPENAI_TEXT),
    "openai text, CRLF": ("openai", OPENAI_TEXT.replace(b"\n", b"\r\n")),
    "openai text, CR": ("openai", OPENAI_TEXT.replace(b"\n", b"\r")),
    "openai tools": ("openai", OPENAI_TOOLS),
    "openai tools, all of index 0": ("openai", OPENAI_TOOLS_ALL_ZERO),
    "openai tools, no index": ("openai", OPENAI_TOOLS_NO_INDEX),
    "openai tools, id and name in each piece, index 0": ("openai", OPENAI_TOOLS_REPEATED),
    "anthropic": ("anthropic", ANTHROPIC_STREAM),
    "gemini": ("gemini", GEMINI_STREAM),
    "ollama": ("ollama", OLLAMA_STREAM),
}
