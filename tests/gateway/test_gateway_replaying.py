"""Recorded traffic of a gateway decided anew, as a program may ask for it."""

from pathlib import Path

import pytest
from gateway_samples import gateway
from graded_calls import TWO, grade, served

from pointsman.core import InvalidCall
from pointsman.gateway.replaying import named_policy, replayed


async def test_a_program_replays_what_its_gateway_recorded(tmp_path: Path) -> None:
    """It could be done on the command line alone."""
    async with gateway(tmp_path, TWO) as asked:
        grade(asked, await served(asked), 1.0)
        result = replayed(asked, lambda models: named_policy(f"always:{max(models)}", models))
        assert (len(result.traffic.decisions), result.quality.observed, result.policy) == (1, 1, "always:two")
        with pytest.raises(InvalidCall, match="'one'"):
            replayed(asked, lambda models: named_policy("always:onne", models))


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_replay_can_be_ended_all_along(tmp_path: Path, turns: int) -> None:
    """A server would read years of traffic for a client that has left."""

    def going_on() -> None:
        left.pop()

    async with gateway(tmp_path, TWO) as asked:
        grade(asked, await served(asked), 1.0)
        left = [None] * turns  # one of grades, one of entries, one of decisions
        with pytest.raises(IndexError):
            replayed(asked, lambda models: named_policy("cheapest", models), going_on=going_on)
