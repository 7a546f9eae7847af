"""`pointsman serve`: what it prints, and that what it prints works."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli_upstream import CANARY


@contextmanager
def serving(variables: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The server in a process of its own, ended as a terminal would end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pointsman", "serve", "--port", "0", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert "Traceback" not in err and CANARY not in err
        assert process.returncode == 0


def chat(url: str, key: str, model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_one_line_of_json_is_enough_to_connect(variables: dict[str, str], config: Path) -> None:
    """A program that starts the server could not find it."""
    with serving(variables, "--json") as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert set(line) == {"url", "key"}
        assert line["key"].startswith("pm-")
        assert chat(line["url"], line["key"], "echo") == "you said: hello"
    with serving(variables, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["key"] is None, "a key is shown once"


def test_settings_are_ready_to_be_pasted(variables: dict[str, str], config: Path) -> None:
    """Somebody with a running server would not know what to type into his client."""
    with serving(variables) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        key = process.stdout.readline().split()[-1]
        printed = ""
        while "Ctrl-C" not in printed:
            printed += process.stdout.readline()
        for setting in (
            f"OPENAI_BASE_URL={url}/v1",
            f"OPENAI_API_KEY={key}",
            f"ANTHROPIC_BASE_URL={url}\n",
            f"ANTHROPIC_AUTH_TOKEN={key}",
            "ANTHROPIC_MODEL=auto",
            "Open WebUI",
            f"curl {url}/v1/chat/completions",
        ):
            assert setting in printed
        assert chat(url, key, "auto") == "you said: hello"


def test_a_key_of_the_configuration_is_not_printed(variables: dict[str, str], config: Path) -> None:
    """A log of the server's start would hold the key to it."""
    config.write_text(config.read_text("utf-8") + "server: {key: {env: MINE_KEY}}\n", "utf-8")
    with serving(variables, "--quiet") as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        assert CANARY not in first + second
        assert "server.key" in second
        assert chat(first.split()[-1], CANARY, "echo") == "you said: hello"


def test_a_port_that_is_taken_is_a_usage_error(variables: dict[str, str], config: Path) -> None:
    """It would end in a traceback, or serve at another place than was asked for."""
    with serving(variables, "--json") as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        command = [sys.executable, "-m", "pointsman", "serve", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60, check=False)
        assert done.returncode == 2
        assert "--port 0" in done.stderr
