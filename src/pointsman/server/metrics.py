"""Counters and histograms in Prometheus' text format. Our own, since one increment must not cost a microsecond."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..ledger import Entry

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds."""

MOST_MODELS = 500


class Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        seen = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {seen}'
        yield f"{name}_sum{{{labels}}} {self.total}"
        yield f"{name}_count{{{labels}}} {seen}"


class Metrics:
    """What this process has served since it started."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], int] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._tokens: dict[tuple[str, str], int] = {}
        self._cost: dict[str, int] = {}
        self._unpriced: dict[str, int] = {}
        self._ttft: dict[str, Histogram] = {}
        self._seconds: dict[str, Histogram] = {}

    def answered(self, door: str, status: int) -> None:
        """A door has answered a call; 499 when its client had gone."""
        key = (door, status)
        self._answers[key] = self._answers.get(key, 0) + 1

    def attempted(self, entry: Entry) -> None:
        """An attempt has ended."""
        model = self._bounded(entry.model)
        outcome = (model, entry.error or entry.status)
        self._attempts[outcome] = self._attempts.get(outcome, 0) + 1
        if entry.usage is not None:
            for way, tokens in (("input", entry.usage.input_tokens), ("output", entry.usage.output_tokens)):
                self._tokens[model, way] = self._tokens.get((model, way), 0) + tokens
        if entry.cost is None:
            self._unpriced[model] = self._unpriced.get(model, 0) + 1
        else:
            self._cost[model] = self._cost.get(model, 0) + entry.cost
        if entry.ttft is not None:
            self._histogram(self._ttft, model).observe(entry.ttft)
            self._histogram(self._seconds, model).observe(entry.seconds)

    def render(self, *, ready: bool) -> bytes:
        """The text that Prometheus scrapes."""
        return ("\n".join(self._lines(ready)) + "\n").encode()

    def _bounded(self, model: str) -> str:
        """The name as a label. Names come from callers (`provider/anything`), so only so many get one of their own."""
        if model in self._cost or model in self._unpriced or len(self._cost) + len(self._unpriced) < MOST_MODELS:
            return model
        return "other"

    def _histogram(self, of: dict[str, Histogram], model: str) -> Histogram:
        found = of.get(model)
        if found is None:
            found = of[model] = Histogram()
        return found

    def _lines(self, ready: bool) -> Iterator[str]:
        yield from _head("pointsman_ready", "gauge", "1 while entries reach the ledger.")
        yield f"pointsman_ready {int(ready)}"
        yield from _head("pointsman_answers_total", "counter", "Calls answered, by door and HTTP status.")
        for (door, status), count in self._answers.items():
            yield f'pointsman_answers_total{{door="{door}",status="{status}"}} {count}'
        yield from _head("pointsman_attempts_total", "counter", "Attempts, by model and outcome.")
        for (model, outcome), count in self._attempts.items():
            yield f'pointsman_attempts_total{{model="{_label(model)}",outcome="{outcome}"}} {count}'
        yield from _head("pointsman_tokens_total", "counter", "Tokens, by model and direction.")
        for (model, way), count in self._tokens.items():
            yield f'pointsman_tokens_total{{model="{_label(model)}",direction="{way}"}} {count}'
        yield from _head("pointsman_cost_usd_total", "counter", "Known cost in US dollars, by model.")
        for model, nanos in self._cost.items():
            yield f'pointsman_cost_usd_total{{model="{_label(model)}"}} {nanos / 1e9}'
        yield from _head("pointsman_unpriced_attempts_total", "counter", "Attempts whose cost is not known, by model.")
        for model, count in self._unpriced.items():
            yield f'pointsman_unpriced_attempts_total{{model="{_label(model)}"}} {count}'
        yield from _head("pointsman_ttft_seconds", "histogram", "Time to the first content, by model.")
        for model, histogram in self._ttft.items():
            yield from histogram.lines("pointsman_ttft_seconds", f'model="{_label(model)}"')
        yield from _head("pointsman_attempt_seconds", "histogram", "Time of a whole attempt, by model.")
        for model, histogram in self._seconds.items():
            yield from histogram.lines("pointsman_attempt_seconds", f'model="{_label(model)}"')


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
