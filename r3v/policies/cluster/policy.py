"""`RayPolicy`: any other policy, once on each worker of a Ray cluster, behind the `Policy` protocol.

    policy = ray_policy(lambda: HFPolicy.from_config(model), RayConfig(address="auto", gpus=0.5))

Prompts travel with their images by reference (a path, or what draws the picture); a worker reads the bytes itself, so
every node must see the files under the same paths. A candidate depends on its problem, index and seed alone, so it
does not matter which worker makes it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from r3v.policies.base import Choice, Given, Policy, SamplingParams, Score
from r3v.policies.cluster.workers import Make, Say, Workers
from r3v.records import Candidate, Prompt
from r3v.settings.cluster import RayConfig

T = TypeVar("T")
R = TypeVar("R")
LARGEST = 64
"""Most prompts handed to a worker at once; a worker that dies loses no more than these."""


class RayPolicy:
    """Samples and scores on the workers, which end when the policy is closed or forgotten.

    Raises ConfigError, EngineError, and what `make` raises on the cluster.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._finish = weakref.finalize(self, workers.close)

    @property
    def name(self) -> str:
        """The name of the policy on the workers: candidates are the same as without a cluster."""
        return self._workers.name

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int,
        params: SamplingParams,
        *,
        seed: int = 0,
        round: int = 0,
        first_index: int = 0,
    ) -> list[list[Candidate]]:
        """`n` candidates per prompt, the prompts divided among the workers; see `Policy.generate`."""

        def work(policy: Policy, part: Sequence[Prompt]) -> list[list[Candidate]]:
            return policy.generate(part, n, params, seed=seed, round=round, first_index=first_index)

        return self._divided(work, prompts)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """Log-probabilities of the continuations, the prompts divided among the workers."""

        def work(policy: Policy, part: Sequence[tuple[Prompt, Sequence[Given]]]) -> list[list[Score]]:
            return policy.score([prompt for prompt, _ in part], [texts for _, texts in part])

        return self._divided(work, list(zip(prompts, continuations, strict=True)))

    def spread(self, work: Callable[[Policy, T], R], items: Iterable[T]) -> Iterator[R]:
        """`work(policy, item)` of every item as it is done, in no order; see `r3v.policies.base.Spread`."""
        return (value for _, value in self._workers.each(work, items))

    def close(self) -> None:
        """End the workers. The policy cannot be used afterwards."""
        self._finish()

    def __enter__(self) -> RayPolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _divided(self, work: Callable[[Policy, Sequence[Any]], list[R]], asked: Sequence[Any]) -> list[R]:
        size = min(LARGEST, max(1, -(-len(asked) // max(1, self._workers.count))))
        parts = [asked[start : start + size] for start in range(0, len(asked), size)]
        found = dict(self._workers.each(work, parts)) if parts else {}
        return [item for place in range(len(parts)) for item in found[place]]


class ChoosingRayPolicy(RayPolicy):
    """A RayPolicy whose workers weigh given replies in a way of their own, as servers do."""

    def choose_index(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, seed: int = 0, solutions: bool = False
    ) -> list[Choice]:
        """One Choice for each prompt; see `r3v.policies.base.Chooser`."""

        def work(policy: Any, part: Sequence[tuple[Prompt, Sequence[str]]]) -> list[Choice]:
            asked, options = [prompt for prompt, _ in part], [texts for _, texts in part]
            return policy.choose_index(asked, options, seed=seed, solutions=solutions)

        return self._divided(work, list(zip(prompts, options, strict=True)))


def ray_policy(make: Make, config: RayConfig, say: Say | None = None) -> RayPolicy:
    """The policy that `make` makes, on every worker of the cluster of `config`.

    `make` must be a function that pickles; it runs on the workers. `say` is told of workers that died. Returns when
    the first worker has loaded; the others join as they come.
    """
    workers = Workers(make, config, say)
    return (ChoosingRayPolicy if workers.chooses else RayPolicy)(workers)
