"""A program between a run and its engine, so that the engine never outlives the run, however that ends.

    python watch.py COMMAND...

It runs the command in a process group of its own and ends the whole group when its standard input is closed: by the run
on purpose, or by the system when the run has died. Only the standard library is used: it runs as a bare file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

GRACE = 20.0
"""Seconds that the engine has to end by itself."""
PR_SET_PDEATHSIG = 1


def main(command: Sequence[str]) -> int:
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent(os.getpid())
    )
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    _signal(child, signal.SIGKILL)  # what it had started itself
    return code if code >= 0 else 128 - code


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    """On Linux, what makes the engine end even where this program is killed itself."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has gone meanwhile
            os._exit(1)

    return tie


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    _signal(child, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
