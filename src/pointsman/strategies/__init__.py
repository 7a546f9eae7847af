"""Ways of using models on one call. Each is an Ask over Asks."""

from .single import single

__all__ = ["single"]
