"""What it costs to read a prompt for the learned router, beside what it costs to do hardly anything with it.

The prompt is a question with four options, of 144 word pieces; then a long text, and one of other scripts. Beside each
stands how many times that is what splitting the same text into words and hashing it takes (SHA-256). Times are CPU time
of the one thread, so that what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable

from pointsman.routing.learned import Reader, context, pack, unpack
from pointsman.routing.learned.reading import PIECES_COUNTED, table

QUESTION = """\
A small cart of mass 2.5 kg rolls without friction along a straight level track at 3.0 m/s and collides with a second \
cart of mass 1.5 kg that is at rest. After the collision the two carts stick together, roll up a ramp that is \
inclined at 30 degrees to the horizontal, and come to rest for an instant before they roll back. Assume that the \
energy which is lost at the bend where the track meets the ramp can be neglected. Which of the following is nearest \
to the distance that the carts travel along the ramp?
A. 0.09 m
B. 0.18 m
C. 0.36 m
D. They never come to rest on the ramp."""
TEXTS = {
    "144 pieces": QUESTION,
    "1 MB": QUESTION * (1_000_000 // len(QUESTION)),
    "other scripts": "Сколько весит тележка, катящаяся по наклонной плоскости? 小车的质量是多少？ " * 6,
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=2_000, help="how often each is done")
    rounds = options.parse_args().rounds
    reader = Reader()
    loaded = _milliseconds(table)
    print(f"the table is loaded once, in {loaded:.0f} ms")
    pieces = len(table().tokenizer.ids(QUESTION, PIECES_COUNTED))
    print(f"the question has {pieces} word pieces\n")
    print(f"{'':16s}{'p50 ms':>10s}{'p95 ms':>10s}   times splitting and hashing")
    for name, text in TEXTS.items():
        reading = reader.read(text)
        packed = pack(reading)
        base = statistics.median(_times(lambda text=text: _hardly_anything(text), rounds))
        _tell(f"read, {name}", _times(lambda text=text: reader.read(text), rounds), base)
        if text is QUESTION:
            _tell("pack", _times(lambda reading=reading: pack(reading), rounds), base)
            _tell("unpack", _times(lambda packed=packed: unpack(packed), rounds), base)
            _tell("context", _times(lambda reading=reading: context(reading), rounds), base)


def _hardly_anything(text: str) -> str:
    read = text[:8_000]
    read.lower().split()
    return hashlib.sha256(read.encode()).hexdigest()


def _times(work: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of each of `rounds`, sorted."""
    return sorted(_milliseconds(work) for _ in range(rounds))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1e3


def _tell(name: str, times: list[float], base: float) -> None:
    middle, late = times[len(times) // 2], times[int(len(times) * 0.95)]
    print(f"{name:20s}{middle:8.3f}{late:10.3f}   {middle / base:.0f}")


if __name__ == "__main__":
    main()
