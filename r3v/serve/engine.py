"""A queue of requests and the threads that answer them in batches.

While a batch is in work, what arrives waits and becomes the next one: the busier the server, the larger its batches. A
model in this process has one thread; one behind a server, which batches by itself, has many that take one request each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

A = TypeVar("A")
D = TypeVar("D")
Work = Callable[[Sequence[A]], Sequence[D | Exception]]
"""A batch in; for each of it, in order, the answer or the error."""
GATHER = 0.01
"""Seconds in which requests that come together are gathered into one batch."""


class StoppedError(Exception):
    """The server stops; the request was not begun, or not finished in time."""


class Engine(Generic[A, D]):
    """`opened` makes the work of one thread, in that thread: files and databases belong to whoever opened them.

    Raises what `opened` raises.
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Work[A, D]]], *, batch: int, threads: int) -> None:
        self._opened, self._batch = opened, batch
        self._waiting: deque[tuple[A, Future[D]]] = deque()
        self._busy: set[Future[D]] = set()
        self._changed = threading.Condition()
        self._stopped = False
        ready: list[Future[None]] = [Future() for _ in range(threads)]
        # Daemons: a batch that does not end must not keep the process alive after its grace.
        self._threads = [threading.Thread(target=self._run, args=(r,), name="r3v-serve", daemon=True) for r in ready]
        for thread in self._threads:
            thread.start()
        try:
            for one in ready:
                one.result()
        except BaseException:
            self.close(0)
            raise

    @property
    def load(self) -> int:
        """Requests that wait or are in work."""
        with self._changed:
            return len(self._waiting) + len(self._busy)

    def submit(self, asked: A) -> Future[D]:
        """The answer to come. Cancelling it takes it out of the queue; what is in work goes on. Raises StoppedError."""
        future: Future[D] = Future()
        with self._changed:
            if self._stopped:
                raise StoppedError("the server stops")
            self._waiting.append((asked, future))
            self._changed.notify()
        future.add_done_callback(self._leave)
        return future

    def _leave(self, future: Future[D]) -> None:
        """A request that was cancelled before its turn makes room at once."""
        if future.cancelled():
            with self._changed:
                self._waiting = deque(one for one in self._waiting if one[1] is not future)
                self._changed.notify_all()

    def close(self, grace: float) -> None:
        """Take nothing more, finish what waits and is in work within `grace` seconds, and end. What is left then gets a
        StoppedError."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._busy, grace)
            left = [*(future for _, future in self._waiting), *self._busy]
            self._waiting.clear()
        for future in left:
            _tell(future, StoppedError("the server stops"))
        for thread in self._threads:
            thread.join(1.0)

    def _run(self, ready: Future[None]) -> None:
        try:
            with self._opened() as work:
                ready.set_result(None)
                while taken := self._take():
                    self._answer(work, taken)
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def _take(self) -> list[tuple[A, Future[D]]]:
        """The next batch; nothing when the engine has stopped and nothing waits."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._batch > 1 and not self._stopped:
                    self._changed.wait_for(lambda: len(self._waiting) >= self._batch or self._stopped, GATHER)
                taken = []
                while self._waiting and len(taken) < self._batch:
                    asked, future = self._waiting.popleft()
                    if future.set_running_or_notify_cancel():
                        taken.append((asked, future))
                        self._busy.add(future)
                if taken or (self._stopped and not self._waiting):
                    return taken

    def _answer(self, work: Work[A, D], taken: Sequence[tuple[A, Future[D]]]) -> None:
        try:
            found = work([asked for asked, _ in taken])
        except Exception as error:  # a fault of the work must not end the thread, and with it the server
            found = [error] * len(taken)
        for (_, future), one in zip(taken, found, strict=True):
            _tell(future, one)
        with self._changed:
            self._busy.difference_update(future for _, future in taken)
            self._changed.notify_all()


def _tell(future: Future[D], value: D | Exception) -> None:
    try:
        if isinstance(value, Exception):
            future.set_exception(value)
        else:
            future.set_result(value)
    except InvalidStateError:
        return  # it was given up meanwhile
