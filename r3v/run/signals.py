"""Stopping a run from outside so that the same command goes on.

SIGTERM and SIGUSR1 (what a scheduler sends before its limit) end a command with exit code 75 (EX_TEMPFAIL of
sysexits.h), by which a job script knows that the job is to be put back into the queue; Ctrl-C ends it with 130, as a
shell expects. Work that is whole at any moment (shards, files under temporary names) is left at once. Work that would
be lost, such as the steps of a fit since its last checkpoint, is done in a `held` block: the signal waits there until
the work asks for it (`pending`), writes its checkpoint and leaves with `leave`. A second signal does not wait.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUEUE = 75
"""Exit code of a command that SIGTERM or SIGUSR1 stopped: not an error; the same command goes on."""
INTERRUPTED = 130
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(BaseException):
    """A signal asked the command to end. Not an Exception, so that nothing takes it for a fault of the work."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.number == signal.SIGINT else REQUEUE


class _State:
    """Of the process: how many `held` blocks are open, and the signal that waits for their end."""

    held = 0
    waiting: int | None = None
    patient = False


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.held and (_State.waiting is None or _State.patient):
        _State.waiting = number
        return
    raise Stopped(number)


@contextmanager
def watched(patient: bool = False) -> Iterator[None]:
    """Turn the signals into `Stopped` until the block ends. Only the main thread can; in another one nothing changes.
    `patient`: a second signal waits as well, for a process that is sent the signal of its starter beside its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.patient = patient
    before = {number: signal.signal(number, _handle) for number in STOPPING}
    try:
        yield
    finally:
        _State.waiting = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let a signal wait until `leave` is called or the block ends without an error."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
    leave()


def pending() -> bool:
    """Whether a signal waits."""
    return _State.waiting is not None


def leave() -> None:
    """Raise `Stopped` where a signal waits: the work is safe."""
    if _State.waiting is not None:
        number, _State.waiting = _State.waiting, None
        raise Stopped(number)


def stop() -> None:
    """Raise `Stopped` for the signal that waits, or, where another process of the work got it, for SIGTERM."""
    leave()
    raise Stopped(signal.SIGTERM)


def rewatch() -> None:
    """Put the handlers back in place where a library has set its own since `watched`."""
    if any(signal.getsignal(number) is _handle for number in STOPPING):
        for number in STOPPING:
            signal.signal(number, _handle)
