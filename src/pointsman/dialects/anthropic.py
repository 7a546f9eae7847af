"""The Anthropic messages format."""

from __future__ import annotations

from .anthropic_calls import decode_call, pass_call, peek
from .anthropic_encode import encode_call
from .anthropic_replies import decode_answer, encode_answer, encode_error
from .anthropic_stream import Encoder, decoder
from .dialect import Dialect, Door
from .failures import read_failure


def _path(model: str, stream: bool) -> str:
    return "/messages"


def _auth(key: str) -> dict[str, str]:
    version = {"anthropic-version": "2023-06-01"}
    return {"x-api-key": key, **version} if key else version


ANTHROPIC = Dialect(
    name="anthropic",
    path=_path,
    auth=_auth,
    encode_call=encode_call,
    pass_call=pass_call,
    decode_answer=decode_answer,
    decoder=decoder,
    decode_error=read_failure,
    models_path="/models",
    door=Door(
        peek=peek,
        decode_call=decode_call,
        encode_answer=encode_answer,
        encoder=Encoder,
        encode_error=encode_error,
    ),
)
