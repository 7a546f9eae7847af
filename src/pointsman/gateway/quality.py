"""The quality that a call asks for, held against what is expected of the models that were weighed for it."""

from __future__ import annotations

from msgspec import Struct

from ..routing import Considered


class Quality(Struct, frozen=True):
    asked: float | None
    """0 to 1; None for a call that asked for none."""
    candidates: tuple[Considered, ...]

    def is_met(self, model: str) -> bool | None:
        """None where none was asked for, or nobody knows what `model` has."""
        if self.asked is None:
            return None
        found = self._of(model)
        return None if found is None else found >= self.asked

    def shortfall(self, model: str) -> str:
        """A line for people; '' for none."""
        if self.is_met(model) is not False:
            return ""
        better = next((one.model for one in self.candidates if not one.rejected and self.is_met(one.model)), "")
        others = f"{better} has {self._of(better):.2f}" if better else "no candidate reaches it"
        return f"quality {self.asked:.2f} was asked for: {model} has {self._of(model):.2f}, {others}."

    def _of(self, model: str) -> float | None:
        return next((one.quality.value for one in self.candidates if one.model == model and one.quality), None)
