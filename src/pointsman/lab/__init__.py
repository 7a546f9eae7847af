"""Trying models against each other. It knows an Ask, not the gateway."""

from .agreement import Agreement, Cluster, agreement
from .compare import Comparison, Engine, EngineResult, Failure, Progress, compare
from .page import to_html
from .report import to_markdown
from .wire import to_json

__all__ = [
    "Agreement",
    "Cluster",
    "Comparison",
    "Engine",
    "EngineResult",
    "Failure",
    "Progress",
    "agreement",
    "compare",
    "to_html",
    "to_json",
    "to_markdown",
]
