"""What one process has of each purse, in memory."""

from __future__ import annotations

from ..core import Caller
from .periods import Period, period_at, zone_named
from .purses import Order, Purse
from .rules import EVERYBODY, BudgetRule, bound_by


class Slice:
    """In SQLite the lease of this process is `left` + `held` + what is recorded but not drained yet. Nano-dollars."""

    __slots__ = (
        *("rule", "purse", "period", "names", "known_as"),
        *("left", "held", "free", "stored", "seen", "spent", "number", "place", "used"),
    )

    def __init__(self, rule: BudgetRule, purse: Purse, period: Period) -> None:
        self.rule = rule
        self.purse = purse
        self.period = period
        self.names = (purse.name,)
        self.known_as: list[str] = []
        """Keys in the `slices` of its Bound."""
        self.left = 0
        """Less than 0 after attempts that cost more than was reserved."""
        self.held = 0
        """Reserved, for attempts that run."""
        self.free = 0
        """Neither spent nor leased, when SQLite was last asked."""
        self.stored = 0
        """Spent as SQLite knew it then."""
        self.seen = 0
        """Spent as we knew it then: what this process has recorded, but not stored yet, too."""
        self.spent = 0
        """Settled here since then."""
        self.number = 0
        """Of the purse in SQLite; 0 until it was asked."""
        self.place = 0
        """In the Intents."""
        self.used = 0
        """The tick of the last use."""

    @property
    def nears_alert(self) -> bool:
        limit = self.purse.limit
        following = [share for share in self.rule.alerts if share * limit > self.stored]
        return bool(following) and self.seen + self.spent >= (min(following) - 0.05) * limit


class Want:
    """What is wanted of one slice with the next round trip; without a need it is only looked at."""

    __slots__ = ("least", "total", "giving")

    def __init__(self, *, giving: bool = False) -> None:
        self.least = 0
        self.total = 0
        self.giving = giving

    def add(self, need: int) -> None:
        self.least = min(self.least or need, need)
        self.total += need
        self.giving = False

    def order(self, piece: Slice) -> Order:
        """What is lacking (more than what is needed where the slice is in debt), or what is given back."""
        alerts = piece.rule.alerts
        if self.giving or piece.left < 0 and not self.least:
            return Order(piece.purse, giving=piece.left, alerts=alerts)
        least, wanted = self.least - piece.left, self.total - piece.left
        if not self.least or least <= 0:
            return Order(piece.purse, alerts=alerts)
        return Order(piece.purse, least=least, wanted=wanted, alerts=alerts)


class Bound:
    """A rule with its current period and the slices of that."""

    __slots__ = ("rule", "slices", "start", "end", "_zone", "_period", "_is_for_all")

    def __init__(self, rule: BudgetRule) -> None:
        self.rule = rule
        self.slices: dict[str, Slice] = {}
        self._zone = zone_named(rule.timezone)
        self._period = Period("", 0.0, 0.0)
        self.start = self.end = 0.0
        """Of the period, in seconds since 1970."""
        self._is_for_all = rule.scope == "server"

    def whos(self, caller: Caller) -> tuple[str, ...]:
        return EVERYBODY if self._is_for_all else bound_by(self.rule, caller)

    def known(self, who: str, now: float) -> Slice | None:
        if not self.start <= now < self.end:
            self.period(now)
        return self.slices.get(who)

    def period(self, now: float) -> Period:
        if not self.start <= now < self.end:
            assert self.rule.window != "request", "a request has no period"
            self._period = period_at(self.rule.window, self._zone, now)
            self.start, self.end = self._period.start, self._period.end
            self.slices = {}
        return self._period

    def purse(self, who: str, now: float) -> Purse:
        rule, period = self.rule, self.period(now)
        # SQLite and the journal take no halves of surrogate pairs; the journal writes them as question marks too.
        who = who.encode("utf-8", "replace").decode()
        name = f"{rule.scope}:{who}:{rule.window}:{period.name}:{rule.id}"
        return Purse(name, rule.id, rule.scope, who, rule.window, period.name, rule.limit)
