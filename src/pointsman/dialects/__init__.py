"""The wire formats, each going both ways: bytes in, values out, and nothing else happens here.

Gemini and Ollama have the endpoint's half only. Where a stream was asked and JSON came (the content type tells), read
it by `decode_answer`; where JSON was asked and a stream came, feed it to a `decoder` and gather the deltas.
"""

from .anthropic import ANTHROPIC
from .dialect import Dialect, Door, Peek, StreamDecoder, StreamEncoder
from .gemini import GEMINI
from .ollama import OLLAMA
from .openai import OPENAI
from .quirks import QUIRKS, Note, Quirk, Target

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (OPENAI, ANTHROPIC, GEMINI, OLLAMA)}

__all__ = [
    "DIALECTS",
    "QUIRKS",
    "Dialect",
    "Door",
    "Note",
    "Peek",
    "Quirk",
    "StreamDecoder",
    "StreamEncoder",
    "Target",
]
