"""What is left of an upstream's limits, as its headers tell."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pointsman.dialects.limits import LONGEST_RESET, Window, remaining

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()

SAID = {
    "openai": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Window("requests", "requests", 59, 1, 1), Window("tokens", "tokens", 149984, 360, 16 / 360)],
    ),
    "groq": (
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        [
            Window("requests", "requests", 14370, 179.56, 30 / 179.56),
            Window("tokens", "tokens", 17997, 7.66, 3 / 7.66),
        ],
    ),
    "cerebras": (
        {
            "x-ratelimit-limit-requests-day": "1000000000",
            "x-ratelimit-remaining-requests-day": "999997455",
            "x-ratelimit-reset-requests-day": "33011.382867097855",
            "x-ratelimit-remaining-tokens-minute": "999998298",
            "x-ratelimit-reset-tokens-minute": "11.382867097854614",
        },
        [
            Window("requests-day", "requests", 999997455, 33011.382867097855),
            Window("tokens-minute", "tokens", 999998298, 11.382867097854614),
        ],
    ),
    "mistral": (
        {
            "x-ratelimit-limit-tokens-minute": "5000000",
            "x-ratelimit-remaining-tokens-minute": "4999911",
            "x-ratelimit-tokens-query-cost": "52",
            "x-ratelimit-limit-req-minute": "720",
            "x-ratelimit-remaining-req-minute": "717",
        },
        [Window("tokens-minute", "tokens", 4999911, 60), Window("req-minute", "requests", 717, 60)],
    ),
    "mistral by size": (
        {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499979", "ratelimitbysize-reset": "47"},
        [Window("tokens", "tokens", 499979, 47)],
    ),
    "mistral by size, of a minute": (
        {"x-ratelimitbysize-remaining-minute": "1200", "x-ratelimitbysize-remaining-month": "9000000"},
        [Window("tokens-minute", "tokens", 1200, 60)],
    ),
    "anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:02Z",
            "anthropic-ratelimit-tokens-limit": "80000",
            "anthropic-ratelimit-tokens-remaining": "80000",
            "anthropic-ratelimit-tokens-reset": "2026-11-21T13:00:10+01:00",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "0",
            "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:01:00Z",
        },
        [
            Window("requests", "requests", 49, 2, 0.5),
            Window("tokens", "tokens", 80000, 10),
            Window("output-tokens", "part", 0, 60, 8000 / 60),
        ],
    ),
    "openrouter": (
        {
            "x-ratelimit-limit": "50",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(int((NOON + 3600) * 1000)),
        },
        [Window("requests", "requests", 0, 3600)],
    ),
    "ietf, apart": (
        {"ratelimit-limit": "100", "ratelimit-remaining": "50", "ratelimit-reset": "5"},
        [Window("requests", "requests", 50, 5)],
    ),
    "ietf, in one": (
        {"ratelimit": "limit=100, remaining=50, reset=5"},
        [Window("requests", "requests", 50, 5)],
    ),
    "ietf, with policies": (
        {"ratelimit": '"burst";r=50;t=30, "daily";r=999;t=8000'},
        [Window("requests", "requests", 50, 30)],
    ),
}


@pytest.mark.parametrize("provider", SAID)
def test_what_a_provider_says_is_left_is_read(provider: str) -> None:
    """A limit that isn't read is found out by being refused."""
    headers, windows = SAID[provider]
    found = remaining({"date": "today", **headers, "content-type": "application/json"}, NOON)
    assert found is not None
    assert [(w.name, w.kind, w.left) for w in found.windows] == [(w.name, w.kind, w.left) for w in windows]
    assert [(w.seconds, w.refill) for w in found.windows] == [
        pytest.approx((w.seconds, w.refill), abs=1e-3) for w in windows
    ]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("20ms", 0.02),
        ("1s", 1),
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("12", 12),
        ("0.5", 0.5),
        (str(int(NOON) + 30), 30),
        (str(int(NOON * 1000) + 30_000), 30),
        ("2026-11-21T12:00:30Z", 30),
        ("2026-11-21T12:00:30", 30),
    ],
)
def test_every_way_to_say_when_is_understood(said: str, seconds: float) -> None:
    """A reset that is misread holds an account back for years, or not at all."""
    found = remaining({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": said}, NOON)
    assert found is not None
    assert found.windows[0].seconds == pytest.approx(seconds)


@pytest.mark.parametrize("left", ["-1", "nan", "inf", "1e300", "many", "", "9" * 100])
def test_an_absurd_amount_is_ignored(left: str) -> None:
    """An upstream that says -1 for 'no limit' would never be called again."""
    assert remaining({"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": "1s"}, NOON) is None


@pytest.mark.parametrize(
    "reset", ["", "-5", "0", "soon", "1e99", "99999d", "9999-99-99T00:00:00Z", "2020-01-01T00:00Z"]
)
def test_an_absurd_reset_is_ignored(reset: str) -> None:
    """An account would be held back for ever by one wrong header."""
    assert remaining({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset}, NOON) is None


@given(
    some.dictionaries(
        some.sampled_from([name for headers, _ in SAID.values() for name in headers]), some.text(max_size=60)
    )
)
def test_rubbish_is_never_an_error_nor_an_absurd_window(headers: dict[str, str]) -> None:
    """A call that was served would fail for what its upstream wrote into a header."""
    found = remaining(headers, NOON)
    for window in found.windows if found else ():
        assert window.left >= 0
        assert 0 < window.seconds <= LONGEST_RESET
        assert 0 <= window.refill < float("inf")


def test_no_such_header_says_nothing() -> None:
    """A local server has no limits."""
    assert remaining({}, NOON) is None
    assert remaining({"content-type": "text/event-stream", "x-request-id": "1"}, NOON) is None
