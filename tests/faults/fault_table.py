"""What an upstream may do wrong, as rows: what it does, and what that comes to for a caller.

Before the commit point a fault fails the attempt: another endpoint serves, or the caller hears of it in the caller's
own dialect. After it the reply breaks: it never ends as if it were whole.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from upstream import (
    ANSWER,
    JSON,
    SSE,
    Plan,
    anthropic_answer,
    anthropic_event,
    anthropic_events,
    chunk,
    error,
    head,
    openai_answer,
    openai_chunk,
    openai_events,
    stream,
    whole,
)

KEY = "sk-canary-0123456789abcdefghijklmnopqrstuv"
"""The key that every upstream of these tests is given."""
ALL = ("openai", "anthropic", "gemini", "ollama")
EVENTS = ("openai", "anthropic", "gemini")
"""Those that stream server-sent events, and not lines."""
BOTH = ("openai", "anthropic")
OPENAI = ("openai",)
ANTHROPIC = ("anthropic",)


class Fails(Struct, frozen=True):
    """Before the commit point, with an error of this kind. `retry_after` in seconds, where that is the point."""

    kind: str
    retry_after: float | None = None


class Breaks(Struct, frozen=True):
    """After the commit point, with an error of this kind."""

    kind: str


class Serves(Struct, frozen=True):
    """The answer comes whole. `usage`: (read, written), or None where it must be our own estimate. `tools`: the
    arguments of each tool call. `passed`: bytes that must reach a caller of the same dialect."""

    text: str = ANSWER
    usage: tuple[int, int] | None = (9, 5)
    tools: tuple[str, ...] = ()
    passed: bytes = b""


Outcome = Fails | Breaks | Serves


class Speech(Struct, frozen=True):
    """How an upstream of one dialect says things."""

    name: str
    answer: Callable[..., dict[str, Any]]
    events: Callable[[], list[bytes]]
    first: int
    """The position of the first event that says anything."""

    def begun(self) -> list[bytes]:
        """A stream up to its first content."""
        return self.events()[: self.first + 1]

    def silent(self) -> list[bytes]:
        """A stream before its first content."""
        return self.events()[: self.first]

    def without(self, *fields: str, **others: object) -> dict[str, Any]:
        """An answer with some fields left out, others put in."""
        return {name: value for name, value in self.answer().items() if name not in fields} | others


def gemini_answer(text: str = ANSWER, finish: str | None = "STOP") -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if finish is None:
        return {"candidates": [candidate]}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}
    return {"candidates": [candidate | {"finishReason": finish}], "usageMetadata": usage}


def gemini_events() -> list[bytes]:
    middle = len(ANSWER) // 2
    answers = (gemini_answer(ANSWER[:middle], None), gemini_answer(ANSWER[middle:], None), gemini_answer(""))
    return [b"data: " + json.dumps(answer).encode() + b"\n\n" for answer in answers]


def ollama_answer(text: str = ANSWER, done: bool = True) -> dict[str, Any]:
    answer = {"model": "m", "message": {"role": "assistant", "content": text}, "done": done}
    return answer | {"done_reason": "stop", "prompt_eval_count": 9, "eval_count": 5} if done else answer


def ollama_events() -> list[bytes]:
    middle = len(ANSWER) // 2
    pieces = ("", ANSWER[:middle], ANSWER[middle:])
    answers = [*(ollama_answer(piece, False) for piece in pieces), ollama_answer("")]
    return [json.dumps(answer).encode() + b"\n" for answer in answers]


SPEECHES = {
    "openai": Speech("openai", openai_answer, openai_events, 1),
    "anthropic": Speech("anthropic", anthropic_answer, anthropic_events, 3),
    "gemini": Speech("gemini", gemini_answer, gemini_events, 0),
    "ollama": Speech("ollama", ollama_answer, ollama_events, 1),
}
Act = Callable[[Speech], Plan]


class Row(Struct, frozen=True):
    """`stream` and `whole`: what comes of it where the caller streams, and where not; None where it is no matter."""

    number: int
    case: str
    behaviour: str
    act: Act
    stream: Outcome | None
    whole: Outcome | None
    dialects: tuple[str, ...] = ALL
    url: str = ""
    """In place of the upstream's."""

    @property
    def name(self) -> str:
        return f"{self.number:02}-{self.case}"


def failing(number: int, case: str, behaviour: str, act: Act, kind: str, **fields: Any) -> Row:
    """A fault before the commit point, whatever was asked."""
    return Row(number, case, behaviour, act, Fails(kind), Fails(kind), **fields)


def served(number: int, case: str, behaviour: str, act: Act, outcome: Serves, **fields: Any) -> Row:
    """What the caller need not notice, whatever was asked."""
    return Row(number, case, behaviour, act, outcome, outcome, **fields)


def breaking(number: int, case: str, behaviour: str, act: Act, kind: str, **fields: Any) -> Row:
    """A stream that fails after its first content. A caller who wanted one answer has seen nothing of it yet."""
    return Row(number, case, behaviour, act, Breaks(kind), Fails(kind), **fields)


def usage_of(counts: object) -> Act:
    """A good reply with these counts, streamed or whole as a caller's `stream` says: see `played`."""
    return lambda speech: whole(speech.answer() | {"usage": counts})


def same(steps: Sequence[Any]) -> Act:
    return lambda speech: list(steps)


def body_of(speech: Speech) -> bytes:
    return json.dumps(speech.answer()).encode()


def packed(data: bytes) -> Act:
    return lambda speech: whole(data, headers={**JSON, "content-encoding": "gzip"})


def events_of(change: Callable[[list[bytes]], list[bytes]]) -> Act:
    """A good stream whose events went through `change`."""
    return lambda speech: stream(change(speech.events()))


def raw_stream(change: Callable[[bytes], bytes]) -> Act:
    return lambda speech: stream([change(b"".join(speech.events()))])


def after_content(*steps: Any) -> Act:
    """A stream that has begun to speak, then `steps`."""
    return lambda speech: [head(200, SSE), *(chunk(event) for event in speech.begun()), *steps]


def on_two_lines(event: bytes) -> bytes:
    """The same event with its JSON broken after its first comma."""
    before, comma, after = event.partition(b", ")
    return before + comma + b"\ndata: " + after if comma and b"[DONE]" not in event else event


def at_every_byte(speech: Speech) -> Plan:
    text = b"".join(speech.events()).replace(b"Points", "Pöints 🚂".encode())
    return [head(200, SSE), *(chunk(text[i : i + 1]) for i in range(len(text))), chunk(b"")]


def slow(data: bytes, *, seconds: float) -> list[Any]:
    return [step for i in range(len(data)) for step in (data[i : i + 1], seconds)]


def refused(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Act:
    return lambda speech: whole({"type": "error", "error": body}, status, {**JSON, **(headers or {})})


def waiting(*headers: tuple[str, str]) -> Act:
    return lambda speech: error(429, "slow down", headers=dict(headers), type="rate_limit_error")


def rate_limited(number: int, case: str, behaviour: str, wait: float | None, *headers: tuple[str, str]) -> Row:
    outcome = Fails("rate_limited", wait)
    return Row(number, case, behaviour, waiting(*headers), outcome, outcome)


def big_event(speech: Speech) -> Plan:
    text = "x" * 1_000_000
    if speech.name == "openai":
        return stream(openai_events([text]))
    return stream(anthropic_events({"type": "text", "text": text}))


def tool_pieces() -> list[dict[str, Any]]:
    """Two tool calls, a piece of each in turn."""
    return [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "left", "arguments": ""}},
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "right", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a": '}},
        {"index": 1, "function": {"arguments": '{"b": '}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 1, "function": {"arguments": "2}"}},
    ]


def anthropic_tool(pieces: Sequence[str]) -> list[bytes]:
    """A stream with one tool call, its arguments in these pieces."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    start, ping, *_, finish, stop = anthropic_events()
    return [
        start,
        ping,
        anthropic_event("content_block_start", index=0, content_block=block),
        *(anthropic_event("content_block_delta", index=0, delta=delta) for delta in deltas),
        anthropic_event("content_block_stop", index=0),
        finish.replace(b"end_turn", b"tool_use"),
        stop,
    ]


def cut_tool_call(speech: Speech) -> Plan:
    """A tool call whose arguments are no JSON, in a stream."""
    if speech.name == "anthropic":
        return stream(anthropic_tool(['{"city": ', '"Par']))
    function = {"name": "weather", "arguments": '{"city": "Par'}
    return stream(openai_events([], tools=[{"index": 0, "id": "c", "type": "function", "function": function}]))


def tool_answer(arguments: str) -> Act:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    return lambda speech: whole(openai_answer("", tool_calls=[call]))


def without_usage(events: list[bytes]) -> list[bytes]:
    return [event for event in events if b'"choices": []' not in event]


UNTRUE = {
    "openai": {"prompt_tokens": -2_000_000, "completion_tokens": -1, "total_tokens": -2_000_001},
    "anthropic": {"input_tokens": -2_000_000, "output_tokens": -1},
}
HUGE = {
    "openai": {"prompt_tokens": 2**63, "completion_tokens": 2**63, "total_tokens": 2**63},
    "anthropic": {"input_tokens": 2**63, "output_tokens": 2**63},
}
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BOMB = gzip.compress(b" " * (40 * 1024 * 1024), 1)
NEXT = "The next endpoint serves; where there is none the caller hears of it."
UNSEEN = "The caller sees a whole answer."
SHOWN = "The caller sees an error event and no end; the ledger says `broken`."
COUNTED = "The answer passes; the ledger holds our own estimate, marked as one."

CONNECTION = (
    failing(1, "refused", NEXT, same([]), "unreachable", url="http://127.0.0.1:9/v1"),
    failing(2, "reset", NEXT, same(["reset"]), "broken_reply"),
    failing(2, "closed", NEXT, same(["close"]), "broken_reply"),
    failing(4, "no-such-name", NEXT, same([]), "unreachable", url="http://nobody.invalid/v1"),
    failing(8, "half-closed", NEXT, same(["half-close", "hang"]), "broken_reply"),
    failing(
        9,
        "slow-head",
        "The time-out until the first content, or the total one, ends it; the next endpoint serves.",
        same([b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n", 0.1] * 100]),
        "timeout",
    ),
    failing(
        10,
        "slow-body",
        "The total time-out ends it, however many bytes have come; the next endpoint serves.",
        lambda speech: [head(200, JSON, length=len(body_of(speech))), *slow(body_of(speech), seconds=0.1)],
        "timeout",
    ),
    failing(
        10,
        "slow-stream",
        "A stream that drips is ended by the time-out until its first content.",
        lambda speech: [head(200, SSE), *[chunk(b":"), 0.1] * 100],
        "timeout",
        dialects=EVENTS,
    ),
    failing(
        13,
        "redirect",
        "It is not followed: the key stays where it belongs. The next endpoint serves.",
        same(whole(b"", 307, {"location": "http://elsewhere.example/v1/chat"})),
        "upstream_failed",
    ),
)

HTTP = (
    failing(
        15, "html", NEXT, same(whole(b"<!doctype html><p>Sign in", 200, {"content-type": "text/html"})), "broken_reply"
    ),
    failing(15, "html-as-json", NEXT, same(whole(b"<!doctype html><p>Sign in")), "broken_reply"),
    failing(16, "empty", NEXT, same(whole(b"")), "broken_reply"),
    failing(16, "no-content", NEXT, same([b"HTTP/1.1 204 No Content\r\n\r\n"]), "broken_reply"),
    failing(16, "empty-stream", NEXT, same(stream([])), "broken_reply"),
    failing(16, "only-the-end", NEXT, same(stream([b"data: [DONE]\n\n"])), "broken_reply", dialects=OPENAI),
    failing(16, "only-stop", NEXT, same(stream([anthropic_event("message_stop")])), "broken_reply", dialects=ANTHROPIC),
    failing(
        17,
        "length-too-long",
        NEXT,
        lambda speech: [head(length=len(body_of(speech)) + 100) + body_of(speech), "close"],
        "broken_reply",
    ),
    failing(
        17,
        "length-too-long-and-open",
        "The time-out ends it; the next endpoint serves.",
        lambda speech: [head(length=len(body_of(speech)) + 100) + body_of(speech), "hang"],
        "timeout",
    ),
    failing(
        18,
        "length-too-short",
        NEXT,
        lambda speech: [head(length=len(body_of(speech)) - 10) + body_of(speech)],
        "broken_reply",
    ),
    failing(19, "bomb", "It is cut at 32 MB; the next endpoint serves.", packed(BOMB), "broken_reply"),
    served(
        19,
        "gzip-unasked",
        "gzip that nobody asked for is unpacked.",
        lambda speech: packed(gzip.compress(body_of(speech)))(speech),
        Serves(),
    ),
    served(
        19,
        "gzip-stream-unasked",
        "The same in a stream.",
        lambda speech: stream([gzip.compress(b"".join(speech.events()))], headers={**SSE, "content-encoding": "gzip"}),
        Serves(),
    ),
    failing(20, "no-gzip", NEXT, packed(b"this is no gzip"), "broken_reply"),
    failing(20, "cut-gzip", NEXT, lambda speech: packed(gzip.compress(body_of(speech))[:-9])(speech), "broken_reply"),
    failing(20, "unknown-coding", NEXT, same(whole(b"x", headers={**JSON, "content-encoding": "br"})), "broken_reply"),
    failing(
        21,
        "large-head",
        NEXT,
        lambda speech: whole(speech.answer(), headers={**JSON, **{f"x-{i}": "y" * 1000 for i in range(66)}}),
        "broken_reply",
    ),
    *(
        failing(22, str(status), NEXT, lambda speech, status=status: error(status), kind)
        for status, kind in ((500, "upstream_failed"), (502, "upstream_failed"), (503, "overloaded"), (504, "timeout"))
    ),
    failing(
        22,
        "body-cut",
        "A status counts also where its body cannot be read.",
        same([head(503, JSON, length=1000) + b"{", "close"]),
        "overloaded",
    ),
    failing(23, "529", NEXT, lambda speech: error(529, type="overloaded_error"), "overloaded"),
    rate_limited(24, "seconds", "The next endpoint serves; the wait is kept.", 7.0, ("retry-after", "7")),
    rate_limited(
        25,
        "date",
        "The wait is counted by the upstream's own clock.",
        90.0,
        ("date", "Sat, 01 Aug 2026 10:00:00 GMT"),
        ("retry-after", "Sat, 01 Aug 2026 10:01:30 GMT"),
    ),
    rate_limited(26, "negative", "The wait is at least nothing.", 0.0, ("retry-after", "-5")),
    rate_limited(26, "absurd", "The wait is at most an hour.", 3600.0, ("retry-after", "1e12")),
    rate_limited(26, "infinite", "What is no number of seconds is no wait.", None, ("retry-after", "inf")),
    rate_limited(27, "absent", NEXT, None),
    failing(
        28,
        "key-quoted",
        "The key is blanked everywhere; the next endpoint serves.",
        lambda speech: error(401, f"Incorrect API key provided: {KEY}.", type="authentication_error"),
        "key_rejected",
    ),
    failing(
        29,
        "openai",
        "An endpoint with more room serves; where there is none the caller hears that the prompt is too long.",
        refused(400, {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"}),
        "context_too_long",
        dialects=OPENAI,
    ),
    failing(
        29,
        "anthropic",
        "The same.",
        refused(400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}),
        "context_too_long",
        dialects=ANTHROPIC,
    ),
    failing(
        30,
        "filter",
        "Another provider's policy may differ: the next endpoint is asked.",
        refused(400, {"message": "blocked", "code": "content_filter"}),
        "content_filtered",
    ),
    failing(31, "whole", NEXT, lambda speech: error(200, "boom", type="api_error"), "upstream_failed"),
    failing(31, "overloaded", NEXT, lambda speech: error(200, "busy", type="overloaded_error"), "overloaded"),
    failing(
        31,
        "stream",
        NEXT,
        lambda speech: stream(
            [
                *speech.silent(),
                b'event: error\ndata: {"type": "error", "error": {"type": "api_error", "message": "x"}}\n\n',
            ]
        ),
        "upstream_failed",
        dialects=BOTH,
    ),
    failing(32, "404", NEXT, refused(404, {"message": "no such model", "code": "model_not_found"}), "model_gone"),
    Row(33, "json", "It is turned into a stream.", lambda speech: whole(speech.answer()), Serves(), None),
    Row(34, "stream", "It is gathered to one answer.", lambda speech: stream(speech.events()), None, Serves()),
)

BODY = (
    *(
        failing(
            35,
            word.decode().lower(),
            NEXT,
            lambda speech, word=word: whole(body_of(speech)[:-1] + b', "x": ' + word + b"}"),
            "broken_reply",
        )
        for word in (b"NaN", b"Infinity", b"-Infinity")
    ),
    failing(36, "whole", NEXT, lambda speech: whole(body_of(speech).replace(b"Points", b"Po\xffnts")), "broken_reply"),
    breaking(
        36,
        "stream",
        SHOWN,
        events_of(lambda events: [*events[:-3], events[-3].replace(b"{", b'{"x": "\xc3\x28", ', 1), *events[-2:]]),
        "broken_reply",
        dialects=BOTH,
    ),
    failing(37, "whole", NEXT, same(whole(DEEP)), "broken_reply"),
    failing(
        37,
        "unknown-field",
        NEXT,
        lambda speech: whole(body_of(speech)[:-1] + b', "x": ' + DEEP + b"}"),
        "broken_reply",
    ),
    breaking(
        37,
        "stream",
        SHOWN,
        after_content(chunk(b"data: " + DEEP + b"\n\n"), chunk(b"")),
        "broken_reply",
        dialects=EVENTS,
    ),
    served(
        38,
        "text",
        "The last one counts.",
        lambda speech: whole(
            body_of(speech)
            .replace(b'"content": "Points', b'"content": "no", "content": "Points')
            .replace(b'"text": "Points', b'"text": "no", "text": "Points')
        ),
        Serves(),
        dialects=BOTH,
    ),
    failing(
        39, "whole", NEXT, lambda speech: whole(openai_answer() | {"choices": []}), "broken_reply", dialects=OPENAI
    ),
    failing(
        39, "null", NEXT, lambda speech: whole(speech.without("choices", "content")), "broken_reply", dialects=BOTH
    ),
    failing(
        39,
        "stream",
        NEXT,
        same(stream([openai_chunk(None), openai_chunk(None), b"data: [DONE]\n\n"])),
        "broken_reply",
        dialects=OPENAI,
    ),
    served(40, "absent", COUNTED, lambda speech: whole(speech.without("usage")), Serves(usage=None), dialects=BOTH),
    served(41, "null", COUNTED, usage_of(None), Serves(usage=None), dialects=BOTH),
    served(
        42, "negative", COUNTED, lambda speech: usage_of(UNTRUE[speech.name])(speech), Serves(usage=None), dialects=BOTH
    ),
    served(43, "huge", COUNTED, lambda speech: usage_of(HUGE[speech.name])(speech), Serves(usage=None), dialects=BOTH),
    served(43, "text", COUNTED, usage_of("many"), Serves(usage=None), dialects=BOTH),
    served(
        44,
        "total",
        "The parts count, not their total.",
        usage_of({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 999}),
        Serves(),
        dialects=OPENAI,
    ),
    served(
        45,
        "whole",
        "They pass unchanged: the caller's program decides.",
        tool_answer('{"city": "Par'),
        Serves("", tools=('{"city": "Par',)),
        dialects=OPENAI,
    ),
    served(45, "stream", "The same in a stream.", cut_tool_call, Serves("", tools=('{"city": "Par',)), dialects=BOTH),
    served(
        46,
        "whole",
        "It becomes U+FFFD where it must be written anew.",
        lambda speech: whole(body_of(speech).replace(b"Points", b"\\ud83dPoints")),
        Serves("\ufffd" + ANSWER),
    ),
    served(
        46,
        "stream",
        "The same in a stream.",
        events_of(lambda events: [event.replace(b'"Points', b'"\\ud83dPoints') for event in events]),
        Serves("\ufffd" + ANSWER),
    ),
    served(
        47,
        "whole",
        "A caller of the same dialect gets them.",
        lambda speech: whole(speech.answer() | {"x_new": {"a": [1]}}),
        Serves(passed=b'"x_new": {"a": [1]}'),
    ),
)

STREAM = (
    served(48, "crlf", UNSEEN, raw_stream(lambda text: text.replace(b"\n", b"\r\n")), Serves(), dialects=EVENTS),
    served(48, "cr", UNSEEN, raw_stream(lambda text: text.replace(b"\n", b"\r")), Serves(), dialects=EVENTS),
    served(
        49,
        "two-lines",
        UNSEEN,
        events_of(lambda events: [on_two_lines(event) for event in events]),
        Serves(),
        dialects=EVENTS,
    ),
    served(
        50,
        "comments",
        UNSEEN,
        events_of(lambda events: [piece for event in events for piece in (b": alive\n\n", event)]),
        Serves(),
        dialects=EVENTS,
    ),
    served(51, "bom", UNSEEN, raw_stream(lambda text: b"\xef\xbb\xbf" + text), Serves(), dialects=EVENTS),
    served(52, "bytes", UNSEEN, at_every_byte, Serves(ANSWER.replace("Points", "Pöints 🚂"))),
    served(53, "megabyte", UNSEEN, big_event, Serves("x" * 1_000_000), dialects=BOTH),
    served(54, "twice", "The caller sees one end.", events_of(lambda events: [*events, events[-1]]), Serves()),
    breaking(55, "no-end", SHOWN, after_content(chunk(b"")), "broken_reply"),
    breaking(55, "closed", SHOWN, after_content("close"), "broken_reply"),
    breaking(56, "cut", SHOWN, after_content(chunk(b'data: {"choices": [{"del\n\n'), chunk(b"")), "broken_reply"),
    breaking(56, "cut-and-closed", SHOWN, after_content(chunk(b'data: {"choices": [{"del'), "close"), "broken_reply"),
    breaking(57, "reset", SHOWN, after_content(0.05, "reset"), "broken_reply"),
    breaking(58, "silence", "The time-out between two chunks ends it. " + SHOWN, after_content("hang"), "timeout"),
    breaking(
        58,
        "signs-of-life",
        "Signs of life do not outlast the total time-out. " + SHOWN,
        after_content(*[chunk(b": alive\n\n"), 0.1] * 100),
        "timeout",
        dialects=EVENTS,
    ),
    failing(
        58,
        "only-signs-of-life",
        "Comments, pings and roles are no content: the time-out until the first content ends it, the next serves.",
        lambda speech: [
            head(200, SSE),
            *[step for _ in range(100) for event in speech.silent() for step in (chunk(event), chunk(b": x\n\n"), 0.1)],
        ],
        "timeout",
        dialects=BOTH,
    ),
    breaking(
        59,
        "error",
        SHOWN,
        after_content(
            chunk(b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}\n\n'),
            chunk(b""),
        ),
        "overloaded",
        dialects=BOTH,
    ),
    served(
        60,
        "more",
        "It is ignored.",
        lambda speech: stream([*speech.events(), *speech.begun()]),
        Serves(),
        dialects=("openai", "anthropic", "ollama"),
    ),
    served(61, "none", COUNTED, events_of(without_usage), Serves(usage=None), dialects=OPENAI),
    served(
        62,
        "alternating",
        "Each call is whole.",
        same(stream(openai_events([], tools=tool_pieces()))),
        Serves("", tools=('{"a": 1}', '{"b": 2}')),
        dialects=OPENAI,
    ),
    served(
        63,
        "unknown",
        "They pass to a caller of the same dialect, others do not see them.",
        events_of(lambda events: [*events[:3], anthropic_event("brand_new", x=1), *events[3:]]),
        Serves(passed=b"event: brand_new\n"),
        dialects=ANTHROPIC,
    ),
)

TABLE: tuple[Row, ...] = (*CONNECTION, *HTTP, *BODY, *STREAM)

PATIENT = "{connect: 5, ttft: 20, idle: 20, total: 60}"
HASTY = "{connect: 5, ttft: 0.25, idle: 0.25, total: 0.25}"
HASTY_ONCE_BEGUN = "{connect: 5, ttft: 5, idle: 0.3, total: 1}"


def timeouts(row: Row) -> str:
    """What waits for a time-out is not repeated for every caller, and need not wait long."""
    if isinstance(row.stream, Breaks) and row.stream.kind == "timeout":
        return HASTY_ONCE_BEGUN
    return HASTY if row.stream == Fails("timeout") and row.number != 22 else PATIENT
