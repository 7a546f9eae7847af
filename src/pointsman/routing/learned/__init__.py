"""The learned router, and how it reads a prompt. It imports numpy, and is itself imported when it is first needed."""

from .lexical import FEATURES, LEXICAL, Feature
from .reading import CONTEXT, SENTENCE, Reader, Reading, Readings, context, pack, unpack
from .router import Estimates, LearnedRouter
from .words import Terms, clip_text

__all__ = [
    "CONTEXT",
    "FEATURES",
    "LEXICAL",
    "SENTENCE",
    "Estimates",
    "Feature",
    "LearnedRouter",
    "Reader",
    "Reading",
    "Readings",
    "Terms",
    "clip_text",
    "context",
    "pack",
    "unpack",
]
