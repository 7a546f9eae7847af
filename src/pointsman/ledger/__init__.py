"""What happened: every attempt is an entry, journaled before its reply ends and drained into SQLite.

What needs an event loop is loaded when it is first asked for, so that commands start without one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .alerts import Alert
from .backup import Backup, Restored, back_up, restore
from .entries import MAX_FEATURES, Body, Entry, Status
from .export import csv_lines, jsonl
from .feedback import Feedback, Feedbacks, Graded, Learned, MeanScore, Why, automatic
from .keys import Key, KeyRing, Keys, Scope
from .ledger import REAL_CLOCK, Ledger
from .queries import CUT_SHORT, By, Chosen, CostRow, PerformanceRow, Queries, Speed, Spread, parse_since
from .rules import AtLimit, BudgetRule, BudgetScope, Window
from .shared_state import SharedState
from .standing import BudgetStatus
from .states import StoredState
from .verify import Finding, Verified, verify

if TYPE_CHECKING:
    from .budgets import Budgets, Hold

__all__ = [
    "CUT_SHORT",
    "MAX_FEATURES",
    "REAL_CLOCK",
    "Alert",
    "AtLimit",
    "Backup",
    "Body",
    "BudgetRule",
    "BudgetScope",
    "BudgetStatus",
    "Budgets",
    "By",
    "Chosen",
    "CostRow",
    "Entry",
    "Feedback",
    "Feedbacks",
    "Finding",
    "Graded",
    "Hold",
    "Key",
    "KeyRing",
    "Keys",
    "Learned",
    "Ledger",
    "MeanScore",
    "PerformanceRow",
    "Queries",
    "Restored",
    "Scope",
    "SharedState",
    "Speed",
    "Spread",
    "Status",
    "StoredState",
    "Verified",
    "Why",
    "Window",
    "automatic",
    "back_up",
    "csv_lines",
    "jsonl",
    "parse_since",
    "restore",
    "verify",
]


def __getattr__(name: str) -> object:
    if name in ("Budgets", "Hold"):
        return getattr(import_module(".budgets", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
