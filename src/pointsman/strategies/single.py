"""The plainest strategy: one model answers; the next in the plan is asked when one fails before it has begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core import Ask, AttemptError, Call, CallRejected, ContentFiltered, ContextTooLong, Reply


def single(plan: Sequence[Ask], failed: Callable[[AttemptError], None] = lambda error: None) -> Ask:
    """An Ask that tries `plan` in order up to the commit point. Each failure is told to `failed`.

    Raises the last failure, or at once what another model would refuse as well.
    """

    async def ask(call: Call) -> Reply:
        failure: AttemptError | None = None
        for candidate in plan:
            try:
                return await candidate(call)
            except AttemptError as error:
                failed(error)
                if _is_final(error):
                    raise
                failure = error
        assert failure is not None, "a plan has at least one candidate"
        raise failure

    return ask


def _is_final(error: AttemptError) -> bool:
    """The upstream read the call and refused it as such: another model would too.

    A context that is too long or a content filter is a matter of that model; so is a call that its dialect cannot say,
    which never went out (no upstream status).
    """
    if isinstance(error, ContextTooLong | ContentFiltered):
        return False
    return isinstance(error, CallRejected) and error.upstream_status is not None
