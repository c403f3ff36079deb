"""Signals to a command: at once, or when held work is safe; the exit codes that shells and schedulers understand."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from r3v.run import signals
from r3v.run.signals import Stopped, held, leave, pending, watched


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def stopped_by(work: Callable[[], None]) -> Stopped:
    """The `Stopped` that ends the work."""
    with pytest.raises(Stopped) as stopped, watched():
        work()
    assert not pending(), "nothing is left for the next command"
    return stopped.value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_ends_the_work_at_once(number: int, code: int) -> None:
    before = signal.getsignal(number)

    def work() -> None:
        send(number)
        raise AssertionError("went on")

    assert stopped_by(work).exit_code == code
    assert signal.getsignal(number) is before


def test_held_work_asks_and_leaves() -> None:
    steps = []

    def work() -> None:
        with held():
            for step in range(5):
                if step == 2:
                    send(signal.SIGTERM)
                steps.append(step)
                if pending():
                    leave()

    stopped_by(work)
    assert steps == [0, 1, 2]


def test_a_held_signal_counts_at_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with held():
            send(signal.SIGUSR1)
            done.append("block")
        done.append("after it")

    assert stopped_by(work).number == signal.SIGUSR1
    assert done == ["block"]


def test_a_second_signal_does_not_wait() -> None:
    def work() -> None:
        with held():
            send(signal.SIGTERM)
            send(signal.SIGINT)
            raise AssertionError("went on")

    assert stopped_by(work).number == signal.SIGINT


def test_a_patient_process_waits_all_the_same() -> None:
    with pytest.raises(Stopped), watched(patient=True):
        _send_twice()
    assert not pending()


def _send_twice() -> None:
    with held():
        send(signal.SIGINT)
        send(signal.SIGTERM)
        assert pending()


def test_an_error_of_held_work_is_not_hidden_by_a_signal() -> None:
    def work() -> None:
        with held():
            send(signal.SIGTERM)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), watched():
        work()
    assert not pending()


def test_handlers_of_a_library_are_put_back() -> None:
    with watched():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signals.rewatch()
        with pytest.raises(Stopped):
            send(signal.SIGTERM)


def test_other_threads_are_left_alone() -> None:
    found = []

    def work() -> None:
        with watched():
            found.append(signal.getsignal(signal.SIGUSR1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGUSR1)]
