"""pointsman sends each prompt to the model, or the few models together, that serve it best.

from pointsman import Gateway

async with Gateway() as gateway:
    reply = await gateway.ask("Write a haiku about points and trains.")
    print((await reply.read()).text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .core import Answer, Broken, Call, Chat, Delta, Message, Needs, PointsmanError, Reply, Text, Usage
    from .gateway import BlockingGateway, Config, Gateway
    from .routing import Decision

_HOMES = {
    **dict.fromkeys(
        (
            "Answer",
            "Broken",
            "Call",
            "Chat",
            "Delta",
            "Message",
            "Needs",
            "PointsmanError",
            "Reply",
            "Text",
            "Usage",
        ),
        "core",
    ),
    **dict.fromkeys(("BlockingGateway", "Config", "Gateway"), "gateway"),
    "Decision": "routing",
}

__all__ = [
    "Answer",
    "BlockingGateway",
    "Broken",
    "Call",
    "Chat",
    "Config",
    "Decision",
    "Delta",
    "Gateway",
    "Message",
    "Needs",
    "PointsmanError",
    "Reply",
    "Text",
    "Usage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Names are loaded when they are first used, so that `import pointsman` costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
