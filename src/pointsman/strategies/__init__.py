"""How models are put to work on a call: so far, one after the other until one has begun to answer."""

from .single import Choice, Plan, Retries, single

__all__ = ["Choice", "Plan", "Retries", "single"]
