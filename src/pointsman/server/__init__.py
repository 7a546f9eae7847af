"""The HTTP doors: OpenAI's and Anthropic's protocols, our own API, the console. Only `cli` imports this room."""

from .app import Application
from .run import serve, serve_with_workers

__all__ = ["Application", "serve", "serve_with_workers"]
