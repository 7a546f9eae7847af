"""Python imports this by itself where PYTHONPATH leads here. Once there is a file at BROKEN_WHEN, the system calls
that BROKEN_CALLS names fail with the error that BROKEN_WITH names, as on a disk that is dying:

    BROKEN_WHEN=/tmp/now BROKEN_CALLS=fsync,fdatasync BROKEN_WITH=EIO

A seccomp filter, which any process may put on itself: the kernel answers, whoever in the process calls.
"""

import ctypes
import errno
import os
import platform
import struct
import threading
import time
from pathlib import Path

NUMBERS = {
    "x86_64": {"fsync": 74, "fdatasync": 75, "pwrite64": 18, "seccomp": 317},
    "aarch64": {"fsync": 82, "fdatasync": 83, "pwrite64": 68, "seccomp": 277},
}[platform.machine()]
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, ALL_THREADS = 38, 1, 1
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def fail(calls: list[str], error: int) -> None:
    """From now on these system calls of this process, and of its children, fail so."""
    steps = [(LOAD, 0, 0, 0)]
    for position, call in enumerate(calls):
        steps.append((JUMP_IF_EQUAL, len(calls) - position, 0, NUMBERS[call]))
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL | error)]
    program = Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, ALL_THREADS, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "this system lets no process filter its own calls")


def wait(when: Path, calls: list[str], error: int) -> None:
    while not when.exists():
        time.sleep(0.01)
    fail(calls, error)
    when.with_suffix(".done").touch()


if os.environ.get("BROKEN_CALLS"):
    arguments = (
        Path(os.environ["BROKEN_WHEN"]),
        os.environ["BROKEN_CALLS"].split(","),
        getattr(errno, os.environ["BROKEN_WITH"]),
    )
    if arguments[0].exists():
        wait(*arguments)
    else:
        threading.Thread(target=wait, args=arguments, daemon=True).start()
