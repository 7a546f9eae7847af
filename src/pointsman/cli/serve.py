"""`pointsman serve`: the server, and what to paste where so that clients use it."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import click
from msgspec import Struct

from ..server.run import serve as serve_gateway
from ..server.run import serve_with_workers
from .opening import open_gateway
from .options import config_option, json_option
from .terminal import print_json

NO_KEY = "YOUR-KEY"
OPEN_FILES = 65_536
"""That many, where the system lets us: each client holds one, and each call another."""


class ServingJson(Struct, frozen=True):
    url: str
    key: str | None
    """The key that was made because there was none; null where there was one."""


@click.command()
@click.option("--host", help="The address to listen at; 127.0.0.1 unless the configuration says otherwise.")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 takes any free one; 8484 unless configured otherwise.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve; 1 unless configured otherwise.")
@click.option("--inherited", type=int, hidden=True, help="The socket that a parent has bound.")
@click.option("--quiet", is_flag=True, help="Print the URL, and a key that was made; no settings.")
@json_option
@config_option
def serve(
    host: str | None,
    port: int | None,
    workers: int | None,
    inherited: int | None,
    quiet: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Serve the OpenAI and Anthropic APIs on this machine, until told to stop. A page at / shows each decision.

    \b
    Examples:
      pointsman serve
      pointsman serve --port 0 --json
      pointsman serve --host 0.0.0.0 --config pointsman.yaml
    """
    _allow_many_files()
    gateway = open_gateway(config_file, workers=workers)
    own = gateway.config.server
    at, through = own.host if host is None else host, own.port if port is None else port

    def announce(url: str, key: str) -> None:
        if as_json:
            print_json(ServingJson(url, key or None))
        else:
            print(f"pointsman serves at {url}")
            print(_about_key(key, has_own=own.key is not None))
            if not quiet:
                print(settings(reachable(url), key or NO_KEY))
                print(f"Each decision is shown at {reachable(url)}/ in a browser. Ctrl-C stops it.")
        # A parent process reads this through a pipe, while we go on.
        sys.stdout.flush()

    if own.workers == 1 or inherited is not None:
        serve_gateway(gateway, host=at, port=through, announce=announce, inherited=inherited)
        return

    def command(descriptor: int) -> list[str]:
        given = ["--config", str(config_file)] if config_file is not None else []
        worker = ["--host", at, "--workers", str(own.workers), "--inherited", str(descriptor), "--json", *given]
        return [sys.executable, "-m", "pointsman", "serve", *worker]

    serve_with_workers(gateway, host=at, port=through, announce=announce, command=command)


def reachable(url: str) -> str:
    """Where a client of this machine finds a server that listens at every address."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def settings(url: str, key: str) -> str:
    """Ready to be pasted."""
    return f"""
OpenAI SDK, and whatever else reads these two:
  export OPENAI_BASE_URL={url}/v1
  export OPENAI_API_KEY={key}

  from openai import OpenAI
  messages = [{{"role": "user", "content": "Hello"}}]
  answer = OpenAI().chat.completions.create(model="auto", messages=messages)
  print(answer.choices[0].message.content)

Claude Code:
  export ANTHROPIC_BASE_URL={url}
  export ANTHROPIC_AUTH_TOKEN={key}
  export ANTHROPIC_MODEL=auto

Open WebUI (Settings > Connections > OpenAI API):
  URL  {url}/v1
  Key  {key}

curl:
  curl {url}/v1/chat/completions \\
    -H "Content-Type: application/json" \\
    -H "Authorization: Bearer {key}" \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""


def _allow_many_files() -> None:
    """A shell gives a thousand: fewer than clients that are merely connected."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _about_key(key: str, *, has_own: bool) -> str:
    if key:
        return f"key  {key}\n     Made now, and shown this once. `pointsman keys create NAME` makes another."
    if has_own:
        return "key  `server.key` of the configuration, or one that `pointsman keys create NAME` made"
    return "key  one that you have: `pointsman keys list` names them, `pointsman keys create NAME` makes another"
