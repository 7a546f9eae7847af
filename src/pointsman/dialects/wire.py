"""Foreign JSON at the door: read into typed values with errors of ours, and written so that no text can break it."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw

from ..core import BrokenReply, CallRejected, InvalidCall

T = TypeVar("T")
Fields = dict[str, Raw]
"""An object whose values are left as they came, byte for byte."""

FIELDS: msgspec.json.Decoder[Fields] = msgspec.json.Decoder(Fields)
LIST_OF_FIELDS: msgspec.json.Decoder[list[Fields]] = msgspec.json.Decoder(list[Fields])
LIST_OF_RAWS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])

ABSENT = Raw(b"null")
"""The default of a raw field. (msgspec cannot read `Raw | None`.)"""

TRUE = Raw(b"true")
FALSE = Raw(b"false")
STRING = msgspec.json.Decoder(str)
FLAG: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)

MAX_DEPTH = 200
"""Objects and arrays within each other, at most, in the body of a call."""

_SHALLOW = 2 * MAX_DEPTH
"""Bytes that cannot be nested too deep: each level takes two."""

LAYERS = 5
"""So many levels of a body are taken apart to tell its depth: the call, its messages, one of them, its parts, one."""

MOST_KEPT = 1024 * 1024
"""Bytes of a body whose fields are kept until the next one is read."""

MAX_COUNT = 2**53
"""A count past this cannot have come through JSON unharmed."""

_LONE_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)"
    rb"(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_SIGNS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")


def read_call(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body of a call as a typed value. Raises InvalidCall, with `param` where one field is at fault."""
    try:
        if body.isascii():
            return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        pass  # mended below, or told
    try:
        return _decode(decoder, body)
    except UnicodeDecodeError as error:
        raise InvalidCall(f"The body is not valid UTF-8: byte {error.start} is wrong.") from None
    except msgspec.ValidationError as error:
        message, param = _split_place(str(error))
        raise InvalidCall(f"{param}: {message}." if param else f"The body is wrong: {message}.", param=param) from None
    except msgspec.DecodeError as error:
        raise InvalidCall(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidCall(_too_deep()) from None


def read_reply(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """A piece of a reply as a typed value. Raises BrokenReply."""
    try:
        if data.isascii():
            return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError):
        pass  # mended below, or told
    try:
        return _decode(decoder, data)
    except UnicodeDecodeError as error:
        raise BrokenReply(f"The upstream sent bytes that are not UTF-8 (byte {error.start}).") from None
    except msgspec.DecodeError as error:
        raise BrokenReply(f"The upstream sent JSON that cannot be used: {error}.") from None
    except RecursionError:
        raise BrokenReply("The upstream sent JSON that is nested too deep.") from None


def read_fields(body: bytes) -> Mapping[str, Raw]:
    """The fields of a call's body, of a name that stands there twice the last. Raises InvalidCall for a body that is
    no object, and for one that is nested deeper than MAX_DEPTH.

    Those of the last body are kept: it is looked at when it comes in, and again when it goes out.
    """
    global _last_read
    known, fields = _last_read
    if known is not body:
        fields = read_call(FIELDS, body)
        if len(body) > _SHALLOW:
            _check_depth(body.lstrip(), fields)
        if len(body) <= MOST_KEPT:
            _last_read = (body, fields)
    return fields


def read_field(decoder: msgspec.json.Decoder[T], fields: Mapping[str, Raw], name: str) -> T:
    """One of a call's fields as a typed value. Raises InvalidCall, with `param`."""
    try:
        return decoder.decode(fields[name])
    except KeyError:
        raise InvalidCall(f"{name}: Object missing required field `{name}`.", param=name) from None
    except msgspec.ValidationError as error:
        message, place = _split_place(str(error))
        param = f"{name}.{place}" if place else name
        raise InvalidCall(f"{param}: {message}.", param=param) from None
    except msgspec.DecodeError:
        return read_call(decoder, bytes(fields[name]))


def check_messages(fields: Mapping[str, Raw]) -> None:
    """Raises InvalidCall where a call's messages are no list, or an empty one."""
    if "messages" not in fields or bytes(fields["messages"])[:2] != b"[{":
        read_field(_messages, fields, "messages")


def write(value: object) -> bytes:
    """JSON, whatever the strings hold: a lone surrogate, which UTF-8 cannot say, becomes U+FFFD."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(value))


write_fields: Callable[[Fields], bytes] = msgspec.json.Encoder().encode


@lru_cache(1024)
def write_name(name: str) -> Raw:
    """The name of a model as JSON: the same few go out all the time."""
    return Raw(write(name))


def is_there(raw: Raw) -> bool:
    """Whether the field stood there, and was not null."""
    return raw is not ABSENT and bytes(raw) != b"null"


def raw_object(text: str) -> Raw | None:
    """The JSON object that `text` is, byte for byte; None if it is anything else."""
    try:
        data = text.encode()
        _decode(FIELDS, data)
    except (UnicodeEncodeError, msgspec.DecodeError, RecursionError):
        return None
    return Raw(data)


def tool_input(arguments: str) -> Raw:
    """A tool's arguments for a format that wants an object.

    A model may write arguments that are no JSON object. They are kept, wrapped as Anthropic recommends, so that one
    bad call does not make a whole conversation unservable.
    """
    if not arguments.strip():
        return Raw(b"{}")
    return raw_object(arguments) or Raw(write({"INVALID_JSON": arguments}))


def split_data_url(url: str) -> tuple[str, str] | None:
    """(media type, base64 data) of a data URL; None where it is no base64 data URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0], data


def cannot_say(dialect: str, what: str) -> CallRejected:
    """The refusal to encode what a format has no words for."""
    return CallRejected(f"The {dialect} format cannot carry {what}: choose a model of another provider.")


def wrong_part(param: str, found: str, known: str) -> InvalidCall:
    """A piece of a call whose kind we cannot carry to other formats."""
    return InvalidCall(f"{param}: {found!r} is not one of {known}.", param=param)


_messages = msgspec.json.Decoder(Annotated[list[Raw], Meta(min_length=1)])
_last_read: tuple[bytes | None, Fields] = (None, {})


def _check_depth(body: bytes, fields: Fields) -> None:
    if _brackets(body) > MAX_DEPTH and _is_deeper(body, list(fields.values()), MAX_DEPTH, LAYERS):
        raise InvalidCall(_too_deep())


def _is_deeper(value: bytes, inner: list[Raw], most: int, layers: int) -> bool:
    """Whether an object or array is nested deeper than `most`. `inner`: its values."""
    hidden = len(value) - sum(map(len, inner)) if value.startswith(b"{") else 0
    if not layers or hidden > 2 * most:  # keys, and values that a later field of the same name hides
        return _depth(value) > most
    for raw in inner:
        if len(raw) < 2 * most:
            continue
        piece = bytes(raw)
        if piece.startswith((b"{", b"[")) and _brackets(piece) >= most:
            values = read_call(FIELDS, piece).values() if piece.startswith(b"{") else read_call(LIST_OF_RAWS, piece)
            if _is_deeper(piece, list(values), most - 1, layers - 1):
                return True
    return False


def _brackets(data: bytes) -> int:
    """How many open, those within strings too. (`bytes.count` is slower by far: it looks at each byte in turn.)"""
    return 2 * len(data) - len(data.replace(b"[", b"")) - len(data.replace(b"{", b""))


def _depth(value: bytes) -> int:
    """How many objects and arrays stand within each other in a valid JSON value."""
    outside_strings = b"".join(value.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return max(accumulate(array("b", outside_strings.translate(_SIGNS, _NOT_BRACKETS))), default=0)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    if not data.isascii():
        data.decode()  # msgspec does not look into the strings that it skips
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _LONE_SURROGATE.sub(_mend, data)
        if mended == data:
            raise
        return decoder.decode(mended)


def _mend(match: re.Match[bytes]) -> bytes:
    return match[0] if match[2] else match[1] + b"\\ufffd"


def _split_place(message: str) -> tuple[str, str | None]:
    place = _PLACE.search(message)
    if place is not None:
        return message[: place.start()], place[1] or None
    missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
    return message, missing[1] if missing else None


def _too_deep() -> str:
    return f"The body is nested too deep: {MAX_DEPTH} levels are the most."


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(item) for item in value]
    return value
