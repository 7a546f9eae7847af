"""What answers are held against: each other so far. Pure: text in, a verdict out."""

from .agreement import Agreement, Cluster, agree, agreement
from .sameness import says_the_same

__all__ = ["Agreement", "Cluster", "agree", "agreement", "says_the_same"]
