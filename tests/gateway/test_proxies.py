"""Machines that reach the world through a proxy."""

import asyncio
from pathlib import Path

import pytest
from gateway_samples import NO_OLLAMA, gateway, serving

from pointsman.gateway import read_environment

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"through"},"finish_reason":"stop"}]}'


async def test_a_call_goes_through_the_proxy_that_the_environment_names(tmp_path: Path) -> None:
    """In a company's network no hosted model could be reached."""
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
        )
        await writer.drain()
        writer.close()

    config = 'providers: {far: {base_url: "http://models.example/v1"}}\n' + NO_OLLAMA
    async with serving(proxy) as address, gateway(tmp_path, config, {"HTTP_PROXY": address}) as asked:
        reply = await asked.ask("Hi", model="far/x", stream=False)
        assert (await reply.read()).text == "through"
    assert seen == [b"POST http://models.example/v1/chat/completions HTTP/1.1\r\n"]


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.example.com/v1", "http://p:1"),
        ("http://api.example.com/v1", ""),
        ("https://inside.corp.example/v1", ""),
        ("https://corp.example/v1", ""),
        ("https://127.0.0.1:9001/v1", ""),
        ("https://localhost/v1", ""),
    ],
)
def test_a_proxy_is_for_what_it_is_named_for(tmp_path: Path, url: str, proxy: str) -> None:
    """A call to this machine, or to the company's own network, would go out to the proxy."""
    variables = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "corp.example, other.example"}
    assert read_environment(variables, directory=tmp_path, user_home=tmp_path).proxy_for(url) == proxy
