"""Bodies of calls as attackers may write them: names that stand there twice or are spelled oddly, and depth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.core import InvalidCall
from pointsman.dialects import DIALECTS, Door, Target

DOORS = {name: dialect.door for name, dialect in DIALECTS.items() if dialect.door is not None}
MESSAGES = '[{"role":"user","content":"hi"}]'

names = st.sampled_from(["model", "messages", "stream", "stream_options", "max_tokens", "n", "stop", "x", "métrique"])
values = {
    "model": st.sampled_from(['"auto"', '"gpt-5"', '"a\\u0062c"', '"é"']),
    "messages": st.sampled_from(
        [MESSAGES, ' [ {"role":"user","content":"\\"model\\":\\"dear\\""}]', '[{"model":"x"}]']
    ),
    "stream": st.sampled_from(["true", "false", "null"]),
    "stream_options": st.sampled_from(['{"include_usage": true}', '{"include_usage":false,"y":1}', "null", "{}"]),
    "max_tokens": st.sampled_from(["7", "1000", "null"]),
    "n": st.sampled_from(["1", "128"]),
}
anything = st.sampled_from(["1.50", '"model"', "null", '{"model":"dear","n":9}', "[[]]", '"\\ud83d\\ude00"'])


@st.composite
def fields(draw: st.DrawFn) -> tuple[str, str]:
    """A name, spelled plainly or by an escape, and its value: JSON both."""
    name = draw(names)
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}" if draw(st.booleans()) else name
    return f'"{escaped}"', draw(values.get(name, anything))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Valid calls, in which any name may stand several times."""
    needed = [('"model"', draw(values["model"])), ('"messages"', draw(values["messages"]))]
    rows = draw(st.permutations([*needed, *draw(st.lists(fields(), max_size=6))]))
    gap = draw(st.sampled_from(["", " ", "\n  "]))
    return ("{" + ",".join(f"{gap}{name}:{gap}{value}" for name, value in rows) + gap + "}").encode()


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs), "a name stands there twice"
    return dict(pairs)


@pytest.mark.parametrize("name", DOORS)
@given(data=st.data(), cap=st.none() | st.integers(1, 99))
def test_a_name_that_stands_there_twice_means_the_same_to_us_and_to_the_upstream(
    name: str, data: st.DataObject, cap: int | None
) -> None:
    """A caller could be allowed and billed for one model, or one answer, and get another."""
    body = data.draw(bodies())
    seen = DOORS[name].peek(body)
    meant = json.loads(body)
    assert (seen.model, seen.stream) == (meant["model"], meant.get("stream") is True)
    assert seen.max_tokens == meant.get("max_tokens")
    target = Target(data.draw(st.sampled_from(["real", seen.model])), cap=cap)
    passed = json.loads(DIALECTS[name].pass_call(body, target, seen.stream), object_pairs_hook=once)
    for changed in ("model", "stream", "max_tokens", "stream_options"):
        if changed == "max_tokens" and cap is None or changed == "stream_options" and name != "openai":
            assert passed.get(changed, 0) == meant.get(changed, 0)
        passed.pop(changed, None), meant.pop(changed, None)
    assert passed == meant


@given(body=bodies(), other=bodies(), cap=st.none() | st.integers(1, 99))
def test_what_goes_out_has_what_it_must(body: bytes, other: bytes, cap: int | None) -> None:
    """A stream would come without its usage, a cap be left out, or the fields of one call go out with another."""
    openai = DIALECTS["openai"]
    stream = DOORS["openai"].peek(body).stream
    DOORS["openai"].peek(other)
    passed = json.loads(openai.pass_call(body, Target("real", cap=cap), stream))
    assert passed["model"] == "real"
    assert passed.get("stream", False) is stream
    meant = json.loads(body)
    asked = {**(meant.get("stream_options") or {}), "include_usage": True} if stream else None
    assert passed.get("stream_options") == asked
    assert passed.get("max_tokens") == (meant.get("max_tokens") if cap is None else cap)
    assert openai.pass_call(body, Target("real", cap=cap), stream) == openai.pass_call(
        bytes(bytearray(body)), Target("real", cap=cap), stream
    )


def deep(levels: int, inside: str = "1") -> str:
    return '[{"a":' * (levels // 2) + "[" * (levels % 2) + inside + "]" * (levels % 2) + "}]" * (levels // 2)


def wide(bracketed: str) -> str:
    """Messages as an agent's: many, and with brackets in their text."""
    return json.dumps([{"role": "user", "content": [{"type": "text", "text": bracketed}]} for _ in range(30)])


PLACES = {
    "a field": (1, '{"model":"auto","messages":%s,"x":%s}'),
    "a message": (3, '{"model":"auto","messages":[{"role":"user","content":"hi","y":%s},{"x":%s}]}'),
    "a hidden field": (1, '{"model":"auto","messages":%s,"x":%s,"x":1}'),
    "a hidden field of a message": (3, '{"model":"auto","z":%s,"messages":[{"role":"user","x":%s,"x":1}]}'),
}
"""How many levels are around it, and the body. What a later field of the same name hides is sent on in a message."""


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ["plain", '}]"\\[{' * 40])
def test_depth_is_told_from_width_wherever_it_is(door: Door, place: str, text: str) -> None:
    """Long conversations would be refused, or nesting that breaks programs behind us would come through."""
    around, body = PLACES[place]
    assert door.peek((body % (wide(text), deep(200 - around))).encode()).model == "auto"
    assert door.peek((body % (MESSAGES, "[" * (200 - around) + "]" * (200 - around))).encode()).model == "auto"
    least = "[" * (201 - around) + "]" * (201 - around)
    for more in (deep(201 - around), least, deep(400, json.dumps(text)), "[" * 5 + deep(300) + ',"}"' + "]" * 5):
        with pytest.raises(InvalidCall, match="nested too deep"):
            door.peek((body % (wide(text), more)).encode())


def test_brackets_in_names_are_no_depth() -> None:
    """A schema with odd property names would be refused."""
    properties = {f'{{[{i}"\\ud800': {"type": "object"} for i in range(300)}
    body = {"model": "auto", "messages": json.loads(MESSAGES), "x": [{"properties": properties}]}
    assert DOORS["openai"].peek(json.dumps(body).encode()).model == "auto"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"user": 5}, "user"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stream_options": []}, "stream_options"),
        ({"messages": None}, "messages"),
        ({"max_tokens": 5, "max_completion_tokens": "x"}, "max_completion_tokens"),
    ],
)
def test_the_field_at_fault_is_named_at_the_door(fields: dict[str, object], param: str) -> None:
    """A caller would not know which field of a call is at fault."""
    body = {"model": "auto", "messages": json.loads(MESSAGES), **fields}
    with pytest.raises(InvalidCall) as refused:
        DOORS["openai"].peek(json.dumps(body).encode())
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")
