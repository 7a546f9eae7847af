"""How soon a model that became worse is found by its grades, and how often one is accused that is as it was.

Grades are drawn with fixed seeds and learned as a gateway learns them (`pointsman.routing.learn`), some at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from random import Random
from statistics import fmean, median

from msgspec import Struct

from pointsman.core import Chat, Message, Text
from pointsman.routing import Grade, RouteState, changed_models, learn, read_prompt
from pointsman.routing.contexts import context_of
from pointsman.routing.learned import Reader

TEXTS = {
    "poem": [f"Write a poem about {what}." for what in ("the sea", "autumn", "my cat", "old age", "bread", "rain")],
    "sum": [f"What is {number} times {number + 9}?" for number in (12, 27, 31, 48, 56, 73)],
    "code": [f"Write a {where} function that {what}." for where in ("Go", "Rust") for what in ("sorts", "parses CSV")],
    "french": [f"Translate '{what}' into French." for what in ("bread", "rain", "a clock", "snow")],
    "chat": [f"Hello, how was {what}?" for what in ("your day", "the game", "the trip")],
}
KINDS = tuple(TEXTS)
UNEVEN = {"poem": 0.9, "sum": 0.7, "code": 0.5, "french": 0.8, "chat": 0.7}
"""How good a model is at each."""
STEADY = 6_000
"""Grades of a model that stays as it is."""
AFTER = 400
"""Grades after a fall, or a change of what is asked."""


class Stream(Struct, frozen=True, kw_only=True):
    """Grades of one model."""

    name: str
    good: Callable[[int, str], float]
    """By place and kind of prompt: the probability of a good answer."""
    kind: Callable[[Random, int], str] = lambda dice, _: dice.choice(KINDS)
    profile: float = 0.7
    reliability: float = 1.0
    exact: bool = False
    """The grade is that probability itself, not yes or no."""
    at_once: int = 10


def steady() -> list[Stream]:
    turns: Callable[[Random, int], str] = lambda _, place: KINDS[place // 60 % len(KINDS)]  # noqa: E731
    uneven: Callable[[int, str], float] = lambda _, kind: UNEVEN[kind]  # noqa: E731
    levels = ((0.7, 0.7), (0.7, 0.5), (0.7, 0.9), (0.95, 0.5), (0.2, 0.8), (0.3, 0.9))
    return [
        *(Stream(name=f"good {good:g}, profile {said:g}", good=_always(good), profile=said) for good, said in levels),
        Stream(name="always 0.95, profile 0.5, 500 at once", good=_always(0.95), profile=0.5, exact=True, at_once=500),
        Stream(name="thumbs of reliability 0.4", good=_always(0.8), profile=0.6, reliability=0.4),
        Stream(name="kinds from 0.5 to 0.9, mixed", good=uneven),
        Stream(name="kinds from 0.5 to 0.9, 60 of each in turn", good=uneven, kind=turns),
        Stream(name="the same, 50 at once", good=uneven, kind=turns, at_once=50),
    ]


def other_mixes() -> list[tuple[int, Stream]]:
    """The model stays as it is, and is asked for code after so many poems."""
    return [
        (
            poems,
            Stream(
                name=f"{poems} poems at 0.9, then code at {code:g}",
                good=_step(poems, 0.9, code),
                kind=lambda _, place, poems=poems: "poem" if place < poems else "code",  # type: ignore[misc]
                at_once=5,
            ),
        )
        for poems in (60, 300)
        for code in (0.6, 0.3)
    ]


def falls() -> list[tuple[int, Stream]]:
    found = []
    for before in (20, 40, 64, 115, 500):
        step = _step(before, 0.9, 0.1)
        found += [
            (before, Stream(name=f"0.9 to 0.1 after {before}, always the same", good=step, exact=True, at_once=5)),
            (before, Stream(name=f"0.9 to 0.1 after {before}, yes or no", good=step, at_once=5)),
            (before, Stream(name=f"0.9 to 0.1 after {before}, thumbs of 0.4", good=step, reliability=0.4, at_once=5)),
        ]
    for before in (300, 1_000):
        found.append((before, Stream(name=f"0.75 to 0.65 after {before}", good=_step(before, 0.75, 0.65))))
    return found


def alarms(stream: Stream, count: int, seed: int) -> list[int]:
    """After how many of these grades an alarm came, each time."""
    dice, state, found = Random(seed), RouteState(), []
    for start in range(0, count, stream.at_once):
        grades = [_grade(stream, place, dice) for place in range(start, min(start + stream.at_once, count))]
        before, state = state, learn(state, grades)
        found += [min(start + stream.at_once, count)] * len(changed_models(before, state))
    return found


def _grade(stream: Stream, place: int, dice: Random) -> Grade:
    kind = stream.kind(dice, place)
    good = stream.good(place, kind)
    score = good if stream.exact else float(dice.random() < good)
    if dice.random() >= (1 + stream.reliability) / 2:
        score = 1 - score
    return Grade("a", dice.choice(CONTEXTS[kind]), score, stream.profile, stream.reliability)


def _always(good: float) -> Callable[[int, str], float]:
    return lambda _, __: good


def _step(before: int, high: float, low: float) -> Callable[[int, str], float]:
    return lambda place, _: high if place < before else low


def _contexts() -> dict[str, list[tuple[float, ...]]]:
    reader = Reader()
    prompts = {
        kind: [read_prompt(Chat((Message("user", (Text(text),)),))) for text in texts] for kind, texts in TEXTS.items()
    }
    return {
        kind: [context_of(prompt, reader.read(prompt.question)) for prompt in each] for kind, each in prompts.items()
    }


CONTEXTS = _contexts()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    print(f"{len(seeds)} streams each\n\nfalse alarms in {STEADY:,} grades")
    for stream in steady():
        print(f"  {fmean(len(alarms(stream, STEADY, seed)) for seed in seeds):5.2f}  {stream.name}", flush=True)
    print("\nstreams with a false alarm")
    for before, stream in other_mixes():
        print(f"  {sum(bool(alarms(stream, before + AFTER, seed)) for seed in seeds):5}  {stream.name}", flush=True)
    print("\nfalls that were found; after how many grades (median, most); alarms before")
    for before, stream in falls():
        told = [alarms(stream, before + (AFTER if before < 300 else 1_000), seed) for seed in seeds]
        delays = sorted(min(late) - before for each in told if (late := [at for at in each if at > before]))
        when = f"{median(delays):5g} {delays[-1]:5}" if delays else f"{'':11}"
        early = sum(at <= before for each in told for at in each)
        print(f"  {len(delays):5} {when} {early:3}  {stream.name}", flush=True)


if __name__ == "__main__":
    main()
