"""Foreign JSON at the door: read into typed values with errors of ours, and written so that no text can break it."""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from ..core import BrokenReply, CallRejected, InvalidCall

T = TypeVar("T")
Fields = dict[str, Raw]
"""An object whose values are left as they came, byte for byte."""

FIELDS: msgspec.json.Decoder[Fields] = msgspec.json.Decoder(Fields)
LIST_OF_FIELDS: msgspec.json.Decoder[list[Fields]] = msgspec.json.Decoder(list[Fields])

ABSENT = Raw(b"null")
"""The default of a raw field. (msgspec cannot read `Raw | None`.)"""

MAX_DEPTH = 200
"""Objects and arrays within each other, at most, in the body of a call."""

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
        return _decode(decoder, data)
    except UnicodeDecodeError as error:
        raise BrokenReply(f"The upstream sent bytes that are not UTF-8 (byte {error.start}).") from None
    except msgspec.DecodeError as error:
        raise BrokenReply(f"The upstream sent JSON that cannot be used: {error}.") from None
    except RecursionError:
        raise BrokenReply("The upstream sent JSON that is nested too deep.") from None


def check_depth(body: bytes) -> None:
    """Raises InvalidCall for valid JSON that is nested deeper than MAX_DEPTH."""
    if len(body) <= MAX_DEPTH or body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    outside_strings = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside_strings.translate(_SIGNS, _NOT_BRACKETS)
    if max(accumulate(array("b", brackets)), default=0) > MAX_DEPTH:
        raise InvalidCall(_too_deep())


def write(value: object) -> bytes:
    """JSON, whatever the strings hold: a lone surrogate, which UTF-8 cannot say, becomes U+FFFD."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(value))


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
