"""The real program in processes of its own, each with a fresh home; and a real upstream on a loopback socket."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cli_forked import Forked
from cli_upstream import CANARY, Run, Upstream

from pointsman.endpoints.local import MODELS, LocalHost
from prices import with_prices


@pytest.fixture
def upstream() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.seen = []  # type: ignore[attr-defined]
    server.asked, server.released = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_prices(tmp_path / "home")


@pytest.fixture
def config(home: Path, upstream: ThreadingHTTPServer) -> Path:
    """One provider with the canary as its key; a priced model, one without a price, and ones that misbehave."""
    names = ("rude", "breaking", "failing", "slow", "short")
    odd = "".join(f"  {name}: {{provider: mine, price: {{input: 1, output: 2}}}}\n" for name in names)
    path = home / "config.yaml"
    path.write_text(
        f"""\
providers:
  mine: {{dialect: openai, base_url: "http://127.0.0.1:{upstream.server_port}/v1", api_key: {{env: MINE_KEY}}}}
models:
  echo: {{provider: mine, price: {{input: 1, output: 2}}, quality: 0.9, context: 8000}}
  unpriced: {{provider: mine}}
{odd}pools:
  both: {{members: [echo, unpriced]}}
modes:
  solid: {{candidates: [echo, unpriced]}}
local: {{ollama: false}}
""",
        "utf-8",
    )
    return path


@pytest.fixture
def variables(home: Path) -> dict[str, str]:
    """A machine on which nothing is set but the key of the test's provider."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "POINTSMAN_HOME": str(home),
        "MINE_KEY": CANARY,
        "LANG": "C.UTF-8",
    }


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    with Forked() as running:
        yield running


@pytest.fixture
def run(forked: Forked, variables: dict[str, str], tmp_path: Path) -> Run:
    """Runs the program to its end, in a process that is forked from one that has imported it."""

    def run(*arguments: str, stdin: str | bytes = "", **more: str) -> subprocess.CompletedProcess[str]:
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        return told(forked.run(arguments, given, {**variables, **more}, tmp_path))

    return run


@pytest.fixture
def start(variables: dict[str, str], tmp_path: Path) -> Run:
    """Runs the program to its end, in a process that is started as users start it."""

    def start(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pointsman", *arguments],
            input=stdin.encode(),
            capture_output=True,
            env={**variables, **more},
            cwd=tmp_path,
            timeout=120,
            check=False,
        )
        return told(done)

    return start


def told(done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[str]:
    """As text. Whatever the program prints, the canary is not in it."""
    text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert CANARY not in text.stdout + text.stderr
    assert "Traceback" not in text.stderr, text.stderr
    return text


@pytest.fixture
def home_with_model(home: Path, model_cache: Path) -> Iterator[Path]:
    """A home with smollm2-135m in it, and no host left behind."""
    model = MODELS["smollm2-135m"]
    model.path(home).parent.mkdir(parents=True)
    model.path(home).symlink_to(model.path(model_cache))
    yield home
    asyncio.run(LocalHost(home).stop())
