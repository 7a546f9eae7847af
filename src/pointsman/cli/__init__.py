"""The command line: thin commands over the rooms below."""

from .program import main

__all__ = ["main"]
