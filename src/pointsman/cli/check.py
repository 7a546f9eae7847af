"""What `doctor` says of one thing."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

State = Literal["ok", "warning", "problem", "off"]


class Check(Struct, frozen=True):
    name: str
    state: State
    found: str
    advice: str = ""
