"""Counters and histograms in Prometheus' text format. Our own, since one increment must not cost a microsecond."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

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


class Figures:
    """Of one model."""

    __slots__ = ("outcomes", "input", "output", "cost", "unpriced", "ttft", "seconds")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        """Attempts by the word for how they ended: 'ok', 'cancelled', or an error's kind."""
        self.input = 0
        self.output = 0
        self.cost = 0
        """Nano-dollars, of what is known."""
        self.unpriced = 0
        self.ttft = Histogram()
        self.seconds = Histogram()

    def count(self, entries: Sequence[Entry]) -> None:
        outcomes, ttft, seconds = self.outcomes, self.ttft, self.seconds
        for entry in entries:
            outcome = entry.error or entry.status
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            usage, cost = entry.usage, entry.cost
            if usage is not None:
                self.input += usage.input + usage.cache_read + usage.cache_write + usage.cache_write_1h
                self.output += usage.output + usage.reasoning
            if cost is None:
                self.unpriced += 1
            else:
                self.cost += cost
            if entry.ttft is not None:
                ttft.observe(entry.ttft)
            if outcome == "ok":
                seconds.observe(entry.seconds)


class Metrics:
    """What this process has served since it started."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], int] = {}
        self._models: dict[str, Figures] = {}

    def answered(self, door: str, status: int) -> None:
        """A door has answered a call; 499 when its client had gone."""
        key = (door, status)
        self._answers[key] = self._answers.get(key, 0) + 1

    def attempted(self, entries: Sequence[Entry]) -> None:
        """Attempts have ended. Names come from callers (`provider/anything`), so only so many get a label."""
        by_model: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_model[entry.model].append(entry)
        for model, those in by_model.items():
            figures = self._models.get(model)
            if figures is None:
                name = model if len(self._models) < MOST_MODELS else "other"
                figures = self._models.setdefault(name, Figures())
            figures.count(those)

    def render(self, *, ready: bool, in_flight: int) -> bytes:
        """The text that Prometheus scrapes."""
        return ("\n".join(self._lines(ready, in_flight)) + "\n").encode()

    def _lines(self, ready: bool, in_flight: int) -> Iterator[str]:
        yield from _head("pointsman_ready", "gauge", "1 while entries reach the ledger.")
        yield f"pointsman_ready {int(ready)}"
        yield from _head("pointsman_calls_in_flight", "gauge", "Calls that are under way.")
        yield f"pointsman_calls_in_flight {in_flight}"
        yield from _head("pointsman_answers_total", "counter", "Calls answered, by door and HTTP status.")
        for (door, status), count in self._answers.items():
            yield f'pointsman_answers_total{{door="{door}",status="{status}"}} {count}'
        models = [(f'model="{_label(name)}"', figures) for name, figures in self._models.items()]
        yield from _head("pointsman_attempts_total", "counter", "Attempts, by model and outcome.")
        for model, figures in models:
            for outcome, count in figures.outcomes.items():
                yield f'pointsman_attempts_total{{{model},outcome="{outcome}"}} {count}'
        yield from _head("pointsman_tokens_total", "counter", "Tokens, by model and direction.")
        for model, figures in models:
            yield f'pointsman_tokens_total{{{model},direction="input"}} {figures.input}'
            yield f'pointsman_tokens_total{{{model},direction="output"}} {figures.output}'
        yield from _head("pointsman_cost_usd_total", "counter", "Known cost in US dollars, by model.")
        for model, figures in models:
            yield f"pointsman_cost_usd_total{{{model}}} {figures.cost / 1e9}"
        yield from _head("pointsman_unpriced_attempts_total", "counter", "Attempts whose cost is not known, by model.")
        for model, figures in models:
            yield f"pointsman_unpriced_attempts_total{{{model}}} {figures.unpriced}"
        yield from _head("pointsman_ttft_seconds", "histogram", "Time to the first content, by model.")
        for model, figures in models:
            yield from figures.ttft.lines("pointsman_ttft_seconds", model)
        yield from _head("pointsman_attempt_seconds", "histogram", "Time of an attempt that ended well, by model.")
        for model, figures in models:
            yield from figures.seconds.lines("pointsman_attempt_seconds", model)


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
