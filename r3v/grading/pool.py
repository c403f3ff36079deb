"""A few processes that run math-verify, each killed and replaced when a request takes too long.

Plain child processes with pipes, started on first use: nothing is forked from a process that holds torch
threads, no `if __name__ == "__main__"` is needed in the caller's script, and daemonic processes (data loader
workers, Ray actors) may use it too. Threads may call `ask` at the same time. A forked child starts its own
pool.

Time: a request gets CPU_SECONDS of processor time in a worker and is tried once more in another; the wall
limit is a net for a worker that neither works nor dies. Starting a worker (1-2 s, once) is not part of a
request."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

CPU_SECONDS = 0.3
WALL_SECONDS = 60.0
START_SECONDS = 120.0
TRIES = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """`status`: equal, different, canonical (with `text`), bad_answer, bad_gold; failed (too slow) or down
    (no process), with the reason in `text`."""

    status: str
    text: str = ""


class _Worker:
    """One child process. `ask` returns None when the process died or was killed on the way."""

    def __init__(self, cpu_seconds: float) -> None:
        load = f"import sys; sys.path[:] = {sys.path!r}"
        code = f"{load}; from r3v.grading.worker import main; main({cpu_seconds!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self.ready = False

    def _read(self, seconds: float) -> dict[str, str] | None:
        timer = threading.Timer(seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            line = self.process.stdout.readline()  # type: ignore[union-attr]
        finally:
            timer.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def start(self) -> bool:
        """Wait until the worker has loaded sympy. False if it never came up."""
        if not self.ready:
            self.ready = self._read(START_SECONDS) is not None
        return self.ready

    def ask(self, request: Mapping[str, str], wall_seconds: float) -> dict[str, str] | None:
        try:
            self.process.stdin.write(json.dumps(dict(request)) + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except (BrokenPipeError, OSError):
            return None
        return self._read(wall_seconds)

    def close(self) -> None:
        self.process.kill()  # safe to call twice
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # unsent bytes for a dead reader
                pipe.close()  # type: ignore[union-attr]


class Pool:
    """`size` workers, started when first needed and ended by `close`."""

    def __init__(self, size: int = 2, cpu_seconds: float = CPU_SECONDS, wall_seconds: float = WALL_SECONDS) -> None:
        self.size, self.cpu_seconds, self.wall_seconds = size, cpu_seconds, wall_seconds
        self._all: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._changed = threading.Condition()
        self._closed = False

    def ask(self, request: Mapping[str, str], tries: int = TRIES) -> Answer:
        """Send one request; failures are answers, nothing is raised for what a request holds."""
        for _ in range(tries):
            worker = self._take()
            if worker is None:
                return Answer("down", "the grading pool is closed")
            reply = worker.ask(request, self.wall_seconds) if worker.start() else None
            if reply is not None:
                self._put_back(worker)
                return Answer(reply["status"], reply.get("text", ""))
            self._replace(worker)
            if not worker.ready:
                return Answer("down", "the math-verify process did not start; check that math-verify is installed")
        return Answer("failed", f"math-verify needed more than {self.cpu_seconds} s in each of {tries} tries")

    def _take(self) -> _Worker | None:
        with self._changed:
            while not self._closed:
                while len(self._all) < self.size:
                    self._add()
                if self._idle:
                    return self._idle.pop()
                self._changed.wait()
            return None

    def _add(self) -> None:
        """A fresh worker goes behind the others: a second try gets one that is already up."""
        worker = _Worker(self.cpu_seconds)
        self._all.append(worker)
        self._idle.insert(0, worker)
        self._changed.notify()

    def _put_back(self, worker: _Worker) -> None:
        with self._changed:
            self._idle.append(worker)
            self._changed.notify()

    def _replace(self, worker: _Worker) -> None:
        worker.close()
        with self._changed:
            if worker in self._all:
                self._all.remove(worker)
            if not self._closed and worker.ready:
                self._add()
            self._changed.notify()

    def close(self) -> None:
        """Kill the workers. Requests under way answer "failed" or "down"."""
        with self._changed:
            self._closed = True
            workers, self._all, self._idle = self._all, [], []
            self._changed.notify_all()
        for worker in workers:
            worker.close()


_shared: Pool | None = None
_inherited: list[Pool] = []  # pools of the parent, kept so that a forked child neither uses nor collects them
_shared_lock = threading.Lock()


def shared() -> Pool:
    """The pool of this process."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Pool()
        return _shared


def close_shared() -> None:
    """End the shared pool's processes; the next request starts new ones."""
    global _shared
    with _shared_lock:
        pool, _shared = _shared, None
    if pool is not None:
        pool.close()


def _after_fork() -> None:
    global _shared, _shared_lock
    _shared_lock = threading.Lock()
    if _shared is not None:
        _inherited.append(_shared)
        _shared = None


atexit.register(close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
