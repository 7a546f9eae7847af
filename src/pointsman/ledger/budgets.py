"""Budgets that cannot be overspent: money is leased from SQLite in slices, and spent from memory.

hold = await budgets.reserve(call.caller, most)        # before an attempt; waits only when the slice is used up
ledger.record(Entry(…, holds=hold.purses, held=hold.amount, cost=cost))
hold.settle(cost)                                      # only then
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Literal

from ..core import Caller, Clock, LedgerError, Nanos
from .alerts import Alert
from .intents import Intents
from .ledger import Ledger
from .purses import Answer, Order, trade
from .rules import AtLimit, BudgetRule, bound_by, over_budget, over_one_call, unknown_price
from .slices import Bound, Slice, Want
from .standing import BudgetStatus, standings

TICK = 1.0
"""Seconds between two looks at what lies idle and what is to be told."""
IDLE_TICKS = 3
"""A slice that was not used for so long is given back: another process may need it."""
_PATIENCE = 2.0
"""Seconds to wait for another process's lock, while calls wait for money."""

_STRICTEST: Final[tuple[AtLimit, ...]] = ("refuse", "local", "free")

_Promise = asyncio.Future[LedgerError | None]
"""Kept when a round trip has come back; it gives what went wrong."""


class Hold:
    """Money that is reserved for one attempt. One that is never settled stays reserved as long as the process lives,
    and counts as spent when it ends."""

    __slots__ = ("purses", "amount", "_slices", "_intents")

    def __init__(self, purses: tuple[str, ...], amount: Nanos, slices: Sequence[Slice], intents: Intents) -> None:
        self.purses = purses
        """For `Entry.holds`."""
        self.amount = amount
        """For `Entry.held`: what is reserved in each of the purses."""
        self._slices = slices
        self._intents = intents

    def settle(self, cost: Nanos | None) -> None:
        """The attempt is over, and recorded: what it did not cost is at hand again. None, an unknown cost, takes all
        that was reserved; a cost past that is taken too. 0 where nothing went out. Only the first one counts."""
        slices, self._slices = self._slices, ()
        amount = self.amount
        spent = amount if cost is None else cost if cost > 0 else 0
        for piece in slices:
            piece.left += amount - spent
            piece.spent += spent
            piece.held = held = piece.held - amount
            self._intents.put(piece.place, held)


class Budgets:
    """The budgets of this process, for one event loop. Closed before its ledger."""

    def __init__(
        self, ledger: Ledger, rules: Iterable[BudgetRule], *, clock: Clock, tell: Callable[[Alert], None]
    ) -> None:
        """`tell` is called on the event loop and must return at once. Raises ValueError for two rules of one id."""
        self.rules: tuple[BudgetRule, ...] = ()
        """Where there are none, nothing needs to be reserved."""
        self._ledger = ledger
        self._clock = clock
        self._wall = clock.wall
        self._tell = tell
        self._bound: list[Bound] = []
        self._per_request: list[BudgetRule] = []
        self._slices: dict[str, Slice] = {}
        self._intents = Intents(ledger.journals, lambda: ledger.process)
        self._wants: dict[Slice, Want] = {}
        self._orders: dict[Slice, Order] = {}
        """With which the thread is busy."""
        self._promise: _Promise | None = None
        """Of the next round trip."""
        self._busy: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None
        self._ticks = 0
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        for rule in rules:
            self.add(rule)

    def add(self, rule: BudgetRule) -> None:
        """One more rule, from the next call on. Raises ValueError where its id is taken."""
        if any(rule.id == other.id for other in self.rules):
            raise ValueError("two budgets have the same id")
        self.rules = (*self.rules, rule)
        if rule.window == "request":
            self._per_request.append(rule)
        else:
            self._bound.append(Bound(rule))

    def restriction(self, caller: Caller, most: int = 1) -> Literal["", "refuse", "free", "local"]:
        """What is left to a caller one of whose purses has less than `most`, as far as this process has heard; with
        several such purses the strictest. After an OverBudget, ask with the same `most`."""
        found: set[AtLimit] = set()
        now = self._wall()
        for bound in self._bound:
            for who in bound.whos(caller):
                piece = bound.known(who, now)
                if piece is not None and piece.left < most:
                    piece.used = self._ticks
                    if piece.number and piece.left + piece.free < most:
                        found.add(bound.rule.at_limit)
        return next(one for one in _STRICTEST if one in found) if found else ""

    async def reserve(self, caller: Caller, most: Nanos | None, *, spent_by_call: int = 0) -> Hold:
        """Reserves `most` in every purse that pays for `caller`, or in none. None: the price is unknown.

        `spent_by_call`: what the other attempts of the same call have cost or may still cost. Raises OverBudget, and
        LedgerError when the ledger cannot be asked: then nothing may be spent.
        """
        if self._per_request or most is None:
            self._check_call(caller, most, spent_by_call)
        # An unknown price reserves one nano-dollar, which an empty purse has not.
        need = 1 if most is None else most
        slices: Sequence[Slice] = () if need <= 0 else self._paying(caller)
        for piece in slices:
            if piece.left < need:
                slices = await self._gather(caller, need)
                break
        return self._take(slices, need)

    def at_hand(self, caller: Caller, most: Nanos) -> Hold | None:
        """As `reserve`, from what this process has leased already; None where that must be asked. Nearly all calls are
        paid so."""
        if self._per_request or most <= 0:
            return None
        slices = self._paying(caller)
        for piece in slices:
            if piece.left < most:
                return None
        return self._take(slices, most)

    async def tend(self) -> None:
        """Gives back what lies idle and tells alerts. It happens by itself, every second while there are slices."""
        self._look_around()
        if self._wants:
            await self._round_trip()

    def status(self) -> list[BudgetStatus]:
        """How the budgets stand. Raises LedgerError."""
        return standings(self._ledger.store, self.rules, self._wall())

    def close(self) -> None:
        """Gives back everything but what is reserved, and tells the last alerts. Where that fails, closing the ledger
        gives it back."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        orders = [
            Order(piece.purse, giving=piece.left, alerts=piece.rule.alerts)
            for piece in self._slices.values()
            if piece.number
        ]
        for piece in self._slices.values():
            piece.left = 0
        if self._thread is not None:
            if orders and self._busy is None:
                with suppress(LedgerError):
                    self._ledger.flush()  # so that what was spent last counts, too
                    for order, answer in zip(orders, self._thread.submit(self._trade, orders).result(), strict=True):
                        for alert in _alerts(order, answer):
                            self._tell(alert)
            self._thread.submit(self._disconnect)
            self._thread.shutdown()

    def _take(self, slices: Sequence[Slice], need: int) -> Hold:
        ticks, put = self._ticks, self._intents.put
        for piece in slices:
            piece.left -= need
            piece.held = held = piece.held + need
            piece.used = ticks
            put(piece.place, held)
        names = slices[0].names if len(slices) == 1 else tuple([piece.purse.name for piece in slices])
        return Hold(names, Nanos(need), slices, self._intents)

    def _check_call(self, caller: Caller, most: Nanos | None, spent_by_call: int) -> None:
        for rule in self.rules if most is None else self._per_request:
            if not bound_by(rule, caller):
                continue
            if most is None and not rule.allow_unknown:
                raise unknown_price(rule)
            if rule.window == "request" and (most or 0) + spent_by_call > rule.limit:
                raise over_one_call(rule, most or 0, spent_by_call)

    def _paying(self, caller: Caller) -> list[Slice]:
        wall = self._wall
        now = wall()
        found: list[Slice] = []
        for bound in self._bound:
            if not bound.start <= now < bound.end:
                bound.period(now)
            for who in bound.whos(caller):
                piece = bound.slices.get(who)
                found.append(self._new_slice(bound, who, now) if piece is None else piece)
        return found

    def _new_slice(self, bound: Bound, who: str, now: float) -> Slice:
        purse = bound.purse(who, now)
        piece = self._slices.get(purse.name)  # as after the clock was put back into a period that was over
        if piece is None:
            piece = self._slices[purse.name] = Slice(bound.rule, purse, bound.period(now))
        piece.used = self._ticks
        piece.known_as.append(who)
        bound.slices[who] = piece
        return piece

    async def _gather(self, caller: Caller, need: int) -> list[Slice]:
        """The slices that pay for `caller`, each with at least `need`. Raises OverBudget and LedgerError."""
        asked: set[Slice] = set()
        while True:
            slices = self._paying(caller)
            short = [piece for piece in slices if piece.left < need]
            if not short:
                return slices
            for piece in short:
                if piece in asked and piece.left + piece.free < need:
                    raise self._refusal(piece, need)
            self._ledger.start()
            self._intents.make_room(len(self._wants) + len(self._orders) + len(short))
            for piece in short:
                piece.used = self._ticks
                self._wants.setdefault(piece, Want()).add(need)
            asked.update(short)
            await self._round_trip()

    def _refusal(self, piece: Slice, need: int) -> Exception:
        rule = piece.rule
        return over_budget(
            rule,
            piece.purse.who,
            need,
            free=piece.left + piece.free,
            only_reserved=need + piece.seen + piece.spent <= rule.limit,
            resets=piece.period.end,
            now=self._wall(),
        )

    # The way to SQLite. At most one round trip is under way; what is wanted meanwhile goes with the next one, so that
    # a storm of calls costs a few transactions, and no call waits for more than two.

    async def _round_trip(self) -> None:
        """Waits for the next one. Raises LedgerError when it failed."""
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        if self._busy is not None and self._busy is not loop and self._busy.is_closed():
            # What that loop had leased last stays leased until this process ends.
            self._busy, self._promise, self._orders = None, None, {}
        promise = self._promise = self._promise or loop.create_future()
        if self._busy is None:
            self._send(loop)
        error = await asyncio.shield(promise)
        if error is not None:
            raise LedgerError(error.message) from error

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        promise, self._promise = self._promise, None
        wants, self._wants = self._wants, {}
        self._orders = {piece: want.order(piece) for piece, want in wants.items()}
        for piece, order in self._orders.items():
            piece.left -= order.giving
        self._busy = loop
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="pointsman-budgets")
        done = loop.run_in_executor(self._thread, self._trade, list(self._orders.values()))
        done.add_done_callback(lambda done: self._arrived(loop, promise, done))
        if self._timer is None or self._timer_loop is not loop:
            self._timer, self._timer_loop = loop.call_later(TICK, self._tick, loop), loop

    def _arrived(
        self, loop: asyncio.AbstractEventLoop, promise: _Promise | None, done: asyncio.Future[list[Answer]]
    ) -> None:
        orders, self._orders, self._busy = self._orders, {}, None
        failure = done.exception()
        alerts: list[Alert] = []
        if failure is None:
            alerts = self._apply(orders, done.result())
        for piece, order in orders.items() if failure else ():
            piece.left += order.giving
        if promise is not None:
            if failure is None or isinstance(failure, LedgerError):
                promise.set_result(failure)
            else:  # a fault of ours: those who wait must hear of it
                promise.set_exception(failure)
        if self._closed and self._promise is not None:
            self._promise.set_result(_closed())
        elif not self._closed and (self._wants or self._promise):
            self._send(loop)
        for alert in alerts:
            self._tell(alert)

    def _apply(self, orders: dict[Slice, Order], answers: list[Answer]) -> list[Alert]:
        alerts: list[Alert] = []
        for (piece, order), answer in zip(orders.items(), answers, strict=True):
            piece.left += answer.granted
            piece.free, piece.stored, piece.spent = answer.free, answer.spent, 0
            piece.seen = answer.spent + max(0, answer.lease - piece.left - piece.held)
            if not piece.number:
                piece.number, piece.place = answer.number, self._intents.place(answer.number)
            alerts += _alerts(order, answer)
        return alerts

    def _trade(self, orders: list[Order]) -> list[Answer]:
        """In the thread. Raises LedgerError."""
        ledger = self._ledger
        try:
            with ledger.store.explaining("asked for money"):
                if self._connection is None:
                    self._connection = ledger.store.connect(patience=_PATIENCE)
                return trade(self._connection, ledger.journals, ledger.process, orders, self._wall())
        except LedgerError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._closed:
            return
        self._look_around()
        if self._wants and self._busy is None:
            self._send(loop)
        elif self._slices and self._timer is None:
            self._timer = loop.call_later(TICK, self._tick, loop)

    def _look_around(self) -> None:
        """Forgets slices that are used no more; those that lie idle, are empty or near an alert go with the next round
        trip."""
        self._ticks += 1
        for name, piece in list(self._slices.items()):
            if piece in self._wants or piece in self._orders:
                continue
            idle = self._ticks - piece.used > IDLE_TICKS
            if idle and not piece.left and not piece.held:
                self._forget(name, piece)
            elif piece.left < 0 or (idle and piece.left):
                self._wants[piece] = Want(giving=True)
            elif not idle and piece.number and (not piece.left or piece.nears_alert):
                self._wants[piece] = Want()

    def _forget(self, name: str, piece: Slice) -> None:
        del self._slices[name]
        if piece.number:
            self._intents.free(piece.place)
        for bound in self._bound:
            if bound.rule is piece.rule:
                for who in piece.known_as:
                    if bound.slices.get(who) is piece:
                        del bound.slices[who]


def _alerts(order: Order, answer: Answer) -> list[Alert]:
    purse, spent = order.purse, Nanos(answer.spent)
    return [
        Alert(purse.rule, purse.scope, purse.who, purse.window, purse.period, share, purse.limit, spent)
        for share in answer.alerts
    ]


def _closed() -> LedgerError:
    return LedgerError("The budgets of this process are closed: nothing can be reserved any more.")
