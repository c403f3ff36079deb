"""Workers on a Ray cluster: started, handed work one piece at a time, and replaced when they die.

Work is a function of (policy, item). It goes to the object store once and is unpacked once by each worker; the items
are pulled one by one as workers become free, so neither side ever holds all of them.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from r3v.errors import ConfigError, EngineError, R3VError
from r3v.policies.base import Chooser, Policy
from r3v.settings.cluster import RayConfig, check

T = TypeVar("T")
R = TypeVar("R")
Make = Callable[[], Policy]
Say = Callable[[str], None]
_REACH = 5.0
"""Seconds the head node may take to accept a connection."""


class Worker:
    """What runs on the cluster: one policy, and the work it was handed last."""

    def __init__(self, folder: str) -> None:
        # Paths of a recipe are relative to where the command was started.
        if os.path.isdir(folder):
            os.chdir(folder)
        self._policy: Policy | None = None
        self._key, self._work = -1, None

    def load(self, make: Make) -> tuple[str, bool]:
        """Make the policy; its name, and whether it has a way of its own to choose."""
        self._policy = make()
        return self._policy.name, isinstance(self._policy, Chooser)

    def do(self, key: int, held: list[Any], item: Any) -> Any:
        """Work number `key`, whose object reference is in `held`, on one item."""
        if key != self._key:
            import ray  # type: ignore[import-not-found]

            self._key, self._work = key, ray.get(held[0])
        return self._work(self._policy, item)  # type: ignore[misc]


@dataclass
class _Task:
    place: int
    item: Any
    deaths: int = 0


def connect(config: RayConfig) -> Any:
    """The `ray` module, connected. Raises ConfigError when it is missing, EngineError when no cluster answers."""
    check(config)
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        raise ConfigError(
            f"found policy.ray.address {config.address!r}, but ray is not installed ({error}); "
            "pip install 'r3v[ray]', or leave the field empty"
        ) from error
    if ray.is_initialized():
        return ray
    if config.address not in ("auto", "local") and "://" not in config.address:
        _reach(config.address)
    more = {"include_dashboard": False} if config.address == "local" else {}
    try:
        ray.init(address=config.address, log_to_driver=False, logging_level="ERROR", **more)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EngineError(
            f"policy.ray.address {config.address}: cannot join the cluster ({_first_line(error)}). Start it with "
            "`ray start --head` with the same versions of Python and Ray, and the same RAY_AUTH_MODE and token, as here"
        ) from error
    return ray


def _reach(address: str) -> None:
    """Ray itself waits a minute for a head node that is not there and then ends the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"found policy.ray.address {address!r}, expected HOST:PORT, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except OSError as error:
        raise EngineError(
            f"policy.ray.address {address}: nothing answers there ({error}); "
            "`ray start --head --port=6379` starts a head node, `ray status` shows a running one"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _room(ray: Any, gpus: float, cpus: float) -> int:
    """How many workers fit on the nodes that are up."""
    room = 0
    for node in ray.nodes():
        has = node["Resources"] if node["Alive"] else {}
        fits = [int(has.get(name, 0) / need) for name, need in (("GPU", gpus), ("CPU", cpus)) if need]
        room += min(fits, default=0)
    return room


class Workers:
    """The workers of one policy. They end with this object.

    Raises ConfigError, EngineError, and whatever R3VError `make` raises on the cluster.
    """

    def __init__(self, make: Make, config: RayConfig, say: Say | None = None) -> None:
        self._ray = connect(config)
        self._make, self._config, self._say = make, config, say or (lambda line: None)
        gpus = config.gpus if config.gpus is not None else float(self._ray.cluster_resources().get("GPU", 0) > 0)
        self.resources = {"num_gpus": gpus, "num_cpus": config.cpus}
        self.count = config.actors or max(1, _room(self._ray, gpus, config.cpus))
        self._idle: list[Any] = []
        self._busy: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._lost = self._works = 0
        self.name, self.chooses = "", False
        try:
            for _ in range(self.count):
                self._start()
            self._first()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End every worker; what it was doing is given up."""
        if self._ray.is_initialized():
            for actor in (*self._idle, *self._busy, *self._starting.values()):
                self._ray.kill(actor)
        self._idle, self._busy, self._starting, self.count = [], [], {}, 0

    def each(self, work: Callable[[Policy, T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        """(place, work(policy, item)) for every item, as they are done. An item whose worker dies goes to another.

        Raises EngineError where workers keep dying, and the R3VError that the work raised.
        """
        if not self.count:
            raise EngineError("the workers have been closed; make a new policy")
        self._works += 1
        key, held = self._works, [self._ray.put(work)]
        fresh = (_Task(place, item) for place, item in enumerate(items))
        waiting: deque[_Task] = deque(islice(fresh, 1))
        running: dict[Any, tuple[Any, _Task]] = {}
        try:
            while waiting or running:
                while waiting and self._idle:
                    actor, task = self._idle.pop(), waiting.popleft()
                    self._busy.append(actor)
                    running[actor.do.remote(key, held, task.item)] = (actor, task)
                    if not waiting:
                        waiting.extend(islice(fresh, 1))
                for ref in self._wait(list(running)):
                    actor, task = running.pop(ref)
                    self._busy.remove(actor)
                    if (value := self._result(ref, actor, task)) is None:
                        waiting.append(task)
                    else:
                        yield task.place, value[0]
        finally:
            # Given up in the middle: these workers are busy with what nobody waits for.
            for actor, _ in running.values() if self.count and self._ray.is_initialized() else ():
                self._busy.remove(actor)
                self._ray.kill(actor)
                self._start()

    # ---- inside ----------------------------------------------------------------------------------

    def _start(self) -> None:
        options = {**self.resources, "max_restarts": 0, "max_task_retries": 0}
        actor = self._ray.remote(Worker).options(**options).remote(os.getcwd())
        self._starting[actor.load.remote(self._make)] = actor

    def _first(self) -> None:
        end = time.monotonic() + self._config.wait
        while not self._idle:
            left = end - time.monotonic()
            if left <= 0:
                raise self._no_room()
            self._arrived(self._ray.wait(list(self._starting), num_returns=1, timeout=left)[0])

    def _wait(self, running: list[Any]) -> list[Any]:
        """Finished references of `running`; workers that have started by then are idle."""
        watched = [*running, *self._starting]
        done, _ = self._ray.wait(watched, num_returns=1, timeout=None if running else self._config.wait)
        if not done:
            raise self._no_room()
        self._arrived([ref for ref in done if ref in self._starting])
        return [ref for ref in done if ref in running]

    def _arrived(self, refs: Iterable[Any]) -> None:
        for ref in refs:
            actor = self._starting.pop(ref)
            try:
                found = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                self._ray.kill(actor)
                raise self._cause(error) from error
            except self._ray.exceptions.RayError as error:
                self._died(actor, error)
                continue
            if self.name and found[0] != self.name:
                raise EngineError(
                    f"workers disagree about the model: found {found[0]} and {self.name}; every node must see the "
                    "same files under the same paths"
                )
            self.name, self.chooses = found
            self._idle.append(actor)

    def _result(self, ref: Any, actor: Any, task: _Task) -> tuple[Any] | None:
        """The value of a finished task in a tuple, None where its worker died."""
        try:
            value = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            self._idle.append(actor)
            raise self._cause(error) from error
        except self._ray.exceptions.RayError as error:
            self._died(actor, error)
            task.deaths += 1
            if task.deaths > self._config.retries:
                raise EngineError(
                    f"the same work ended {task.deaths} workers (policy.ray.retries {self._config.retries}): "
                    f"{_first_line(error)}"
                ) from error
            return None
        self._idle.append(actor)
        self._lost = 0
        return (value,)

    def _died(self, actor: Any, error: BaseException) -> None:
        """Start another worker in the place of one that died, or whose node cannot be reached. Raises EngineError when
        they die without a result."""
        self._ray.kill(actor)
        self._lost += 1
        if self._lost > self._config.retries + self.count:
            raise EngineError(f"{self._lost} workers died one after the other: {_first_line(error)}") from error
        self._say(f"ray: a worker died and is replaced ({_first_line(error)})")
        self._start()

    def _cause(self, error: Any) -> R3VError:
        if isinstance(error.cause, R3VError):
            return error.cause
        lines = str(error.cause or error).strip().splitlines()
        return EngineError(f"a worker failed: {lines[-1] if lines else type(error).__name__}")

    def _no_room(self) -> EngineError:
        asked = ", ".join(f"{value:g} {name[4:-1].upper()}" for name, value in self.resources.items())
        kinds = ("GPU", "CPU")
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        found = ", ".join(f"{free.get(kind, 0):g} of {total.get(kind, 0):g} {kind}" for kind in kinds)
        return EngineError(
            f"no worker was ready after policy.ray.wait {self._config.wait:g} s; each asks for {asked} "
            f"(policy.ray.gpus, policy.ray.cpus), the cluster has {found} free"
        )
