"""The OpenAI chat format, which most providers and local servers speak."""

from __future__ import annotations

from .dialect import Dialect, Door
from .failures import read_failure
from .openai_calls import decode_call, pass_call, peek
from .openai_encode import encode_call
from .openai_replies import decode_answer, encode_answer, encode_error
from .openai_stream import Encoder, decoder


def _path(model: str, stream: bool) -> str:
    return "/chat/completions"


def _auth(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


OPENAI = Dialect(
    name="openai",
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
