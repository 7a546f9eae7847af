"""The real program in a process of its own for each run, without the time that it takes to import it each time.

    python cli_forked.py SOCKET

imports the program and waits. For each message on the socket, which brings four open files, it forks: the child makes
the first of them its arguments, variables and folder, the others its standard streams, and runs the program's `main`.
The answer is the exit status of the child. `Forked` is the other end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

STATUS = 4
"""Bytes of an exit status on the socket."""


class Forked:
    """Runs the program, one run after the other. Used in `with`."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(120)
        with theirs:
            # BLAS starts no threads: they would not survive a fork.
            environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
            command = (sys.executable, __file__, str(theirs.fileno()))
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()], process_group=0
            )

    def run(
        self, arguments: tuple[str, ...], stdin: bytes, variables: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[bytes]:
        request = json.dumps({"arguments": arguments, "variables": dict(variables), "folder": str(folder)})
        with _file(request.encode()) as asked, _file() as out, _file() as errors:
            read_end, write_end = os.pipe()
            socket.send_fds(self._channel, [b"run"], [asked.fileno(), read_end, out.fileno(), errors.fileno()])
            os.close(read_end)
            with suppress(BrokenPipeError), open(write_end, "wb", buffering=0) as pipe:
                pipe.write(stdin)
            answer = self._channel.recv(STATUS)
            assert answer, "the process that forks has died"
            written = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in (out, errors)]
        return subprocess.CompletedProcess(arguments, int.from_bytes(answer, "big", signed=True), *written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._channel.close()
        os.killpg(self._process.pid, signal.SIGKILL)  # with it a run that did not end in time
        self._process.wait()


def _file(content: bytes = b"") -> IO[bytes]:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # whoever asks for it closes it
    file.write(content)
    file.seek(0)
    return file


def wait_for_a_run(channel: socket.socket) -> dict[str, Any]:
    """Comes back in a child alone, with what it is to run and with its standard streams in place."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, 16, 4)
        if not message:
            sys.exit()
        child = os.fork()
        if child == 0:
            channel.close()
            request, *streams = files
            for place, file in enumerate(streams):
                os.dup2(file, place)
            with open(request, "rb") as whole:
                return dict(json.load(whole))
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        channel.send(os.waitstatus_to_exitcode(status).to_bytes(STATUS, "big", signed=True))


if __name__ == "__main__":
    # What most commands import: the others import the rest themselves, as they would have.
    import pointsman.cli.ask
    import pointsman.cli.route
    import pointsman.routing.forecasting  # noqa: F401
    from pointsman.cli import main

    run = wait_for_a_run(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = run["arguments"]
    sys.path[0] = run["folder"]
    os.chdir(run["folder"])
    os.environ.clear()
    os.environ.update(run["variables"])
    main()
