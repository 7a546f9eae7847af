"""The real program, `pointsman serve`, in a process of its own with a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from pointsman.ledger import Entry, Ledger
from prices import with_prices

COMMAND = (sys.executable, "-m", "pointsman", "serve", "--port", "0", "--json")

PROVIDER_KEY = "sk-canary-0123456789abcdefghijklmnopqrstuv"
"""The key that the server holds for its upstreams: no byte of what it says may show it."""

CONFIG = """
providers:
  mine: {{dialect: openai, base_url: "{upstream}/v1", api_key: {key}}}
  claude: {{dialect: anthropic, base_url: "{upstream}/v1", api_key: {key}}}
  hasty: {{dialect: openai, base_url: "{upstream}/v1", timeouts: {{connect: 1, ttft: 0.5, idle: 0.5, total: 1}}}}
  dead: {{dialect: openai, base_url: "http://127.0.0.1:9/v1"}}
  fake: {{dialect: simulated}}
models:
  small: {{provider: mine, context: 32000, max_output: 4000, quality: 0.9, price: {{input: 1, output: 2}}}}
  twin: {{provider: mine, quality: 0.5, price: {{input: 1, output: 2}}}}
  opus: {{provider: claude, context: 200000, quality: 0.1, price: {{input: 5, output: 25}}}}
  voter-1: {{provider: mine, quality: 0.9, price: {{input: 1, output: 2}}}}
  voter-2: {{provider: claude, quality: 0.8, price: {{input: 1, output: 2}}}}
  voter-3: {{provider: mine, quality: 0.7, price: {{input: 1, output: 2}}}}
pools:
  fast: {{members: [small, twin], balance: round_robin}}
modes:
  careful: {{candidates: [small, twin], priority: performance}}
  sealed: {{candidates: [small, twin], local_only: true}}
  several: {{rules: bounds, candidates: [voter-1, voter-2, voter-3]}}
  frail: {{rules: bounds, candidates: [mine/frail-1, mine/frail-2, mine/frail-3]}}
route: {{candidates: [small, twin, opus]}}
retries: {{rounds: 0}}
ledger: {{bodies: {bodies}}}
local: {{enabled: false}}
server: {{max_body_mb: 1, drain: {{grace: 0}}}}
"""


class Running:
    """A server that has said where it is. Used in `with`: it is told to stop at the end."""

    def __init__(self, home: Path, config: str, environment: Mapping[str, str] | None = None) -> None:
        with_prices(home)
        self.home = home
        file = home / "config-of-test.yaml"
        file.write_text(config)
        variables = {"PATH": os.environ["PATH"], "HOME": str(home), "POINTSMAN_HOME": str(home), **(environment or {})}
        self._said = home / "stderr.txt"
        with self._said.open("wb") as errors:
            self.process = subprocess.Popen(
                (*COMMAND, "--config", str(file)), env=variables, cwd=home, stdout=subprocess.PIPE, stderr=errors
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server did not start: {self.stderr}"
        announced = json.loads(line)
        self.url: str = announced["url"]
        self.key: str = announced["key"] or ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def stderr(self) -> str:
        return self._said.read_text()

    def get(self, path: str) -> Any:
        """The JSON at a path of our own API."""
        asked = Request(self.url + path, headers={"authorization": f"Bearer {self.key}"})
        with urlopen(asked, timeout=30) as answer:
            return json.loads(answer.read())

    def text(self, path: str) -> str:
        asked = Request(self.url + path, headers={"authorization": f"Bearer {self.key}"})
        with urlopen(asked, timeout=30) as answer:
            return str(answer.read().decode())

    def entries(self, call: str, least: int = 1) -> list[Entry]:
        """The attempts of one call, the first first; waits for so many."""
        deadline = time.monotonic() + 10
        with Ledger.open(self.home) as ledger:
            while True:
                ledger.flush()
                found = [entry for entry in ledger.queries.entries() if entry.call_id == call]
                if len(found) >= least:
                    return sorted(found, key=lambda entry: entry.retry)
                assert time.monotonic() < deadline, f"{len(found)} attempts of the call {call} are in the ledger"
                time.sleep(0.02)

    def newest(self, model: str) -> Entry:
        """The newest attempt at a model; waits for one."""
        deadline = time.monotonic() + 10
        with Ledger.open(self.home) as ledger:
            while True:
                ledger.flush()
                found = [entry for entry in ledger.queries.entries() if entry.model == model]
                if found:
                    return max(found, key=lambda entry: entry.at)
                assert time.monotonic() < deadline, f"no attempt at {model!r} is in the ledger"
                time.sleep(0.02)

    def stop(self, within: float = 30.0) -> int:
        """Tells it to stop, as a supervisor does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def configured(upstream: str, *, bodies: bool = False) -> str:
    """A configuration whose providers are all at one upstream."""
    return CONFIG.format(upstream=upstream, key=PROVIDER_KEY, bodies=str(bodies).lower())
