"""What answers are held against: each other so far. Pure: text in, a verdict out."""

from .agreement import Agreement, Cluster, agreement
from .sameness import says_the_same

__all__ = ["Agreement", "Cluster", "agreement", "says_the_same"]
