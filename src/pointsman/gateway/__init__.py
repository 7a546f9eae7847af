"""Where everything is put together: configuration in, one Ask out."""

from .beliefs import Belief
from .blocking import BlockingGateway
from .connections import open_transport
from .directory import Listed
from .environment import Environment, read_environment
from .gates import ANSWER_TOKENS
from .gateway import Gateway, as_chat, new_id
from .roster import Model, Provider
from .specs import Config

__all__ = [
    "ANSWER_TOKENS",
    "Belief",
    "BlockingGateway",
    "Config",
    "Environment",
    "Gateway",
    "Listed",
    "Model",
    "Provider",
    "as_chat",
    "new_id",
    "open_transport",
    "read_environment",
]
