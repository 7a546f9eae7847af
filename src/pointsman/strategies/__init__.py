"""How models are put to work on a call: one after the other, until one has begun to answer; or several at once."""

from .at_once import AtOnce, Group
from .consensus import consensus
from .race import race
from .single import Choice, Plan, Retries, single

__all__ = ["AtOnce", "Choice", "Group", "Plan", "Retries", "consensus", "race", "single"]
