"""What happened: every attempt is an entry, journaled before its reply ends and drained into SQLite."""

from .entries import MAX_FEATURES, Body, Entry, Status
from .export import csv_lines, jsonl
from .keys import Key, KeyRing, Keys, Scope
from .ledger import REAL_CLOCK, Ledger
from .queries import By, CostRow, PerformanceRow, Queries, Speed, Spread, parse_since

__all__ = [
    "MAX_FEATURES",
    "REAL_CLOCK",
    "Body",
    "By",
    "CostRow",
    "Entry",
    "Key",
    "KeyRing",
    "Keys",
    "Ledger",
    "PerformanceRow",
    "Queries",
    "Scope",
    "Speed",
    "Spread",
    "Status",
    "csv_lines",
    "jsonl",
    "parse_since",
]
