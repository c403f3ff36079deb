"""A server that this process has started: waited for with progress, known to be alive or not, stopped for certain."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from r3v.errors import EngineGoneError
from r3v.io import make_folder
from r3v.policies.engine import watch

TOLD = 15.0
"""Seconds between two words about a start that takes long."""
SHOWN = 12
"""Last lines of the output that an error shows."""
ERRORS = 6
"""Lines before them that name an error."""
ENDING = 5.0
"""Seconds between a lost connection and the end of the process that had it."""
STOP = watch.GRACE + 10.0
AGAIN = "The same command goes on from the last finished shard"


class Engine:
    """`command(port)` running under `watch.py`, its output in `log`. Making one waits until it answers /health.

    `start`: seconds until it must answer. `say` hears of a long start. Raises EngineGoneError with the last lines of
    its output where it ends before, or does not answer in time.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        start: float = 1800.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.key, self.port, self.log = secrets.token_urlsafe(32), free_port(), log
        self._command, self._say = list(command(self.port)), say or (lambda line: None)
        make_folder(log.parent)
        environment = {**os.environ, **(env or {}), "VLLM_API_KEY": self.key}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-u", watch.__file__, *self._command],
                stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment, start_new_session=True,
            )  # fmt: skip
        self._finish = weakref.finalize(self, _stop, self._process)
        try:
            self._wait(start)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def tail(self) -> str:
        """The last lines of its output that name an error, where there are some, and its last lines, without its key:
        what is said at the end of a process is often not what ended it."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError as error:
            lines = [f"({error})"]
        named = [line for line in lines[:-SHOWN] if re.search(r"\w(Error|Exception)\b", line)][-ERRORS:]
        lines = [*named, *(["..."] if named else []), *lines[-SHOWN:]]
        return "\n".join(f"  | {line[:400]}" for line in lines).replace(self.key, "[key]") or "  | (no output)"

    def lost(self, why: str) -> EngineGoneError:
        return EngineGoneError(f"{why}. Its last lines, of {self.log}:\n{self.tail()}\n{AGAIN}")

    def must_answer(self, last: bool) -> None:
        """To be called where a request got no answer; `last`: it will not be made again. Raises EngineGoneError."""
        if last:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDING)  # its connections close before it has ended
        if not self.alive:
            raise self.lost(f"the engine ended with code {self._process.returncode}")
        if last:
            raise self.lost("the engine runs but does not answer")

    def stop(self) -> None:
        """End it and everything it has started; returns when its memory is free."""
        self._finish()

    def _wait(self, start: float) -> None:
        begun = told = time.monotonic()
        while not self._healthy():
            now = time.monotonic()
            if not self.alive:
                raise self.lost(f"the engine ended with code {self._process.returncode} before it answered")
            if now - begun > start:
                raise self.lost(f"the engine did not answer within {start:.0f} s (policy.vllm.start)")
            if now - told > TOLD:
                told = now
                last = self.tail().splitlines()[-1].removeprefix("  | ")
                self._say(f"the engine is starting, {now - begun:.0f} s: {last[:160]}")
            time.sleep(0.2)
        self._say(f"the engine answers after {time.monotonic() - begun:.0f} s")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_port() -> int:
    """A port of loopback that nobody listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
