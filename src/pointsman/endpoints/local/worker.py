"""The process of one model: llama.cpp's own server, on 127.0.0.1, until the host lets go of it.

Started by the host as `python -m pointsman.endpoints.local.worker`. One JSON line of `Settings` comes in on stdin, one
of `Listening` goes out on stdout when the model is loaded. The end of stdin is the order to end, so the worker cannot
outlive its host, however that died.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

NO_ENGINE = 78
"""The exit status that says: xllamacpp is not installed."""
HTTP_THREADS = 64
"""Each connection that waits or streams occupies one; they are idle nearly always."""
_PROMPT_CACHE_MEBIBYTES = 128
_SET_PARENT_DEATH_SIGNAL = 1


class Settings(Struct, frozen=True):
    """What to serve. `context` in tokens for each of `slots` answers at a time; `threads` that compute."""

    path: str
    id: str
    api_key: str
    context: int
    slots: int
    threads: int


class Listening(Struct, frozen=True):
    url: str


def main() -> int:
    _die_with_parent()
    # Whatever the engine prints belongs in the log: stdout is the line to the host alone.
    host = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Unbuffered: a thread inside a buffered read would abort the interpreter when we end by ourselves.
    orders = os.fdopen(0, "rb", buffering=0, closefd=False)
    settings = msgspec.json.decode(orders.readline(), type=Settings)
    threading.Thread(target=_end_with, args=[orders], daemon=True).start()
    try:
        import xllamacpp  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        print(f"The engine cannot be loaded: {error}", file=sys.stderr)
        return NO_ENGINE
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, settings))
    except RuntimeError as error:
        print(f"The engine cannot serve {settings.path}: {error}", file=sys.stderr)
        return 1
    host.write(msgspec.json.encode(Listening(server.listening_address)) + b"\n")
    threading.Event().wait()
    return 0


def _parameters(engine: Any, settings: Settings) -> Any:
    parameters = engine.CommonParams()
    parameters.model.path = str(Path(settings.path))
    parameters.model_alias = {settings.id}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [settings.api_key]
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.context * settings.slots
    # A prompt that does not fit is refused with a 400; shifting would silently forget its beginning.
    parameters.ctx_shift = False
    parameters.cache_prompt = True
    parameters.cache_ram_mib = _PROMPT_CACHE_MEBIBYTES
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.n_threads_http = HTTP_THREADS
    # Repacking the weights would cost a second copy of them in memory, for no speed worth it.
    parameters.no_extra_bufts = True
    parameters.offline = True
    # Unless a call says otherwise: models this small are right more often when they take the likeliest word.
    parameters.sampling.temp = 0.0
    return parameters


def _end_with(orders: FileIO) -> None:
    while orders.read(4096):
        pass
    os._exit(0)


def _die_with_parent() -> None:
    """Linux only: the kernel kills us when the host dies, even while the engine holds the interpreter."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
