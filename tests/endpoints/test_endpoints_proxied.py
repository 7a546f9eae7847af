"""pyreqwest behind our seam: what it raises becomes ours, and shows no key."""

from __future__ import annotations

import pytest

from pointsman.core import Unreachable
from pointsman.endpoints.proxied import ProxiedTransport


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:9/v1", "Bearer sk-secret\nx"),
        ("http://127.0.0.1:9/v1", "Bearer sk-secret\x00"),
        ("http://[127.0.0.1/v1", "Bearer sk-secret"),
        ("nonsense", "Bearer sk-secret"),
    ],
)
async def test_a_key_or_an_address_that_cannot_be_sent_is_unreachable_and_not_shown(url: str, key: str) -> None:
    """A key with a line break, from a file, would crash the call and stand in the log."""
    transport = ProxiedTransport(connect_timeout=1, proxy="http://127.0.0.1:9")
    with pytest.raises(Unreachable) as caught:
        await transport.send("POST", url, {"authorization": key}, b"{}")
    assert "secret" not in caught.value.message
    await transport.close()
