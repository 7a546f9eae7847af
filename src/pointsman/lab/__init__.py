"""Trying models against each other. It knows an Ask, not the gateway."""

from .compare import Comparison, Engine, EngineResult, Failure, Progress, compare
from .page import to_html
from .report import to_markdown
from .wire import to_json

__all__ = [
    "Comparison",
    "Engine",
    "EngineResult",
    "Failure",
    "Progress",
    "compare",
    "to_html",
    "to_json",
    "to_markdown",
]
