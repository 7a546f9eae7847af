"""What must not happen: a socket, an import or a file that nobody asked for. Each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

AUDIT = """
import json, sys
reached = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        reached.append([event, str(arguments[1] if event != "socket.getaddrinfo" else arguments[0])])
sys.addaudithook(hook)
"""


def run(program: str, home: Path) -> Any:
    """What the program printed as its last line, as JSON."""
    environment = {**os.environ, "POINTSMAN_HOME": str(home), "HOME": str(home), "OPENAI_API_KEY": "k"}
    ran = subprocess.run(
        [sys.executable, "-c", AUDIT + program], capture_output=True, text=True, timeout=120, env=environment, cwd=home
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_importing_opens_no_socket_and_nothing_heavy(tmp_path: Path) -> None:
    """Every script that uses the library would start slowly, or call home."""
    found = run(
        "import pointsman\n"
        "heavy = ('uvicorn', 'starlette', 'rich', 'click', 'pydantic', 'genai_prices', 'numpy', 'xllamacpp')\n"
        "print(json.dumps([reached, [name for name in heavy if name in sys.modules]]))\n",
        tmp_path,
    )
    assert found == [[], []]
    assert list(tmp_path.iterdir()) == []


def test_the_gateway_imports_nothing_that_only_others_need(tmp_path: Path) -> None:
    """The library would carry a web server."""
    found = run(
        "import pointsman.gateway\n"
        "heavy = ('uvicorn', 'starlette', 'rich', 'click', 'pydantic', 'genai_prices', 'numpy', 'xllamacpp')\n"
        "print(json.dumps([reached, [name for name in heavy if name in sys.modules]]))\n",
        tmp_path,
    )
    assert found == [[], []]


PRIVATE = """
import asyncio
from pointsman.core import NoCandidate
from pointsman.gateway import Gateway
async def main():
    told = []
    async with Gateway("config.yaml") as gateway:
        for arguments in ({"local_only": True}, {"model": "private"}, {"model": "sealed"},
                          {"model": "auto", "local_only": True, "budget": "10", "quality": 1.0}):
            try:
                await gateway.ask("A secret", **arguments)
                told.append("answered")
            except NoCandidate as error:
                told.append(error.reasons.get("cloud", ""))
    print(json.dumps([told, reached]))
asyncio.run(main())
"""


def test_a_private_call_without_a_local_model_reaches_nobody(tmp_path: Path) -> None:
    """What must stay on this machine would leave it when the local model is down."""
    (tmp_path / "config.yaml").write_text(
        'providers: {mine: {base_url: "http://127.0.0.1:9/v1"}}\n'
        "models: {cloud: {provider: mine, price: {input: 0, output: 0}}}\n"
        "modes: {sealed: {local_only: true}}\n"
        "local: {ollama: false, enabled: false}\n"
    )
    told, reached = run(PRIVATE, tmp_path)
    assert told == ["is paid, and the call must stay on this machine"] * 4
    assert reached == []
