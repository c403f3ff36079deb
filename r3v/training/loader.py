"""Batches of a fit, made ahead of time in a background thread.

Encoding (chat template, tokenizer, image processor) costs a tenth of a step of a small model, so it runs
beside the step. A plain iterable rather than a torch DataLoader: its order is a function of (seed, epoch),
it can start at any batch of any epoch (a resumed fit goes on where it stopped), and each batch knows the
denominators of its whole step.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import Tensor

from r3v.errors import ConfigError
from r3v.records import Example
from r3v.settings.config import TrainConfig
from r3v.training.layout.batching import Batch
from r3v.training.layout.order import divide, plan_epoch
from r3v.training.layout.trie import Trie, TrieStats

T = TypeVar("T")
Place = Callable[[], tuple[int, int]]


@dataclass(frozen=True)
class BatchMaker:
    """How examples become batches; the pieces are the module's.

    trie: examples of one problem -> (Trie or None, TrieStats). collate: tries -> Batch.
    counts: Batch -> units it adds to each kind's denominator (K).
    """

    trie: Callable[[Sequence[Example]], tuple[Trie | None, TrieStats]]
    collate: Callable[[Sequence[Trie]], Batch]
    counts: Callable[[Batch], Tensor]


@dataclass
class StepLoader:
    """Iterable over the batches of one device; `len` is batches per pass.

    groups: examples of each problem. per_step: problems per optimiser step over all devices and accumulation.
    world, rank, accumulate: how a step is divided. epochs: epochs in one pass. place: (epoch, batch within
    the pass) at which the next pass starts. max_steps: steps in one pass at most. cache_bytes: memory for
    tries seen before.
    """

    groups: Sequence[Sequence[Example]]
    maker: BatchMaker
    per_step: int
    seed: int
    world: int = 1
    rank: int = 0
    accumulate: int = 1
    epochs: float = 1.0
    max_steps: int | None = None
    place: Place = lambda: (0, 0)
    ahead: int = 3
    cache_bytes: int = 256 * 2**20
    _cache: dict[int, tuple[Trie | None, TrieStats]] = field(default_factory=dict)
    _cached_bytes: int = 0

    def __post_init__(self) -> None:
        self._sizes = [_size(group) for group in self.groups]

    @property
    def steps(self) -> int:
        """Optimiser steps in one pass."""
        per_epoch = -(-len(self.groups) // self.per_step)
        steps = max(1, round(per_epoch * self.epochs)) if self.groups else 0
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        # The place is asked for when the first batch is wanted: by then a resumed trainer knows where it
        # stands.
        epoch, start = self.place()
        if start >= len(self):
            return
        yield from in_background(self._batches(epoch, start), self.ahead)

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep: the order follows from (seed, epoch) and `place` tells where to go on."""
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["seed"] != self.seed:
            raise ValueError(f"found a checkpoint of seed {state['seed']}, expected {self.seed}")

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Batches from number `start` of the pass that begins with `epoch`."""
        first = start // self.accumulate
        per_epoch = max(1, -(-len(self.groups) // self.per_step))
        plan: list[list[int]] = []
        planned = -1
        for step in range(first, self.steps):
            extra = step // per_epoch
            if extra != planned:
                plan = plan_epoch(self._sizes, self.per_step, seed=self.seed, epoch=epoch + extra)
                planned = extra
            again = epoch + extra > 0
            batches = self._step(plan[step % per_epoch], again)
            yield from batches[start - step * self.accumulate :] if step == first else batches

    def _step(self, indices: Sequence[int], again: bool) -> list[Batch]:
        """This device's batches of one step, each with the denominators of the device's whole share."""
        parts = divide(indices, self.world * self.accumulate)[self.rank :: self.world]
        batches = [self._batch(part, again) for part in parts]
        total_K = sum((self.maker.counts(b) for b in batches[1:]), self.maker.counts(batches[0]))
        return [replace(b, step_denominators_K=total_K) for b in batches]

    def _batch(self, indices: Sequence[int], again: bool) -> Batch:
        made = [self._trie(i) for i in indices]
        stats = sum((s for _, s in made), TrieStats())
        # Drops are told once, not once an epoch.
        stats = replace(stats, dropped={}) if again else stats
        return replace(self.maker.collate([t for t, _ in made if t is not None]), stats=stats)

    def _trie(self, index: int) -> tuple[Trie | None, TrieStats]:
        if index in self._cache:
            return self._cache[index]
        made = self.maker.trie(self.groups[index])
        size = _bytes(made[0])
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[index] = made
            self._cached_bytes += size
        return made


def _size(group: Sequence[Example]) -> int:
    """Characters of the row, roughly: the longest prompt once, every branch's own text."""
    texts = [sum(len(m.text) for m in e.prompt.messages) for e in group]
    return sum(texts) - (len(texts) - 1) * min(texts) + sum(len(e.target) for e in group)


def _bytes(trie: Trie | None) -> int:
    if trie is None:
        return 0
    tensors = [v for v in (*vars(trie).values(), *trie.images.values(), *trie.path_BL) if isinstance(v, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)


def in_background(items: Iterator[T], ahead: int) -> Iterator[T]:
    """The same items, up to `ahead` of them made before they are asked for, by one thread.

    An exception of the thread is raised here; leaving the loop early ends the thread.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def offer(item: tuple[str, Any]) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
        except Exception as error:  # not swallowed: the consumer raises it
            offer(("error", error))
        else:
            offer(("end", None))

    thread = threading.Thread(target=work, name="r3v-batches", daemon=True)
    thread.start()
    try:
        while True:
            what, value = ready.get()
            if what == "end":
                return
            if what == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()


def check_division(config: TrainConfig, world: int, accumulate: int) -> int:
    """`accumulate`, if the problems of a step so divided fit in a forward pass. Raises ConfigError
    otherwise."""
    fit, wanted = config.problems_per_batch, config.problems_per_step
    if -(-wanted // (world * accumulate)) > fit:
        needed = -(-wanted // (world * fit))
        raise ConfigError(
            f"train.problems_per_step {wanted} over {world} device(s) and {accumulate} accumulated batch(es) is "
            f"more than train.problems_per_batch {fit} at once; set accumulate_grad_batches={needed} in the "
            "Trainer or raise train.problems_per_batch"
        )
    return accumulate


def accumulation(config: TrainConfig, world: int) -> int:
    """Batches to accumulate so that a step of `problems_per_step` fits `problems_per_batch` on each
    device."""
    return max(1, -(-config.problems_per_step // (world * config.problems_per_batch)))
