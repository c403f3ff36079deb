"""One adapter answers, another one weighs the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v.policies.base import Given, Policy, SamplingParams, Score
from r3v.policies.model.adapters.files import beside, weights_hash
from r3v.policies.model.adapters.taught import Usage
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Candidate, Prompt
from r3v.settings.config import ModelConfig

NAME = "chooser"
"""The second adapter's name inside the model."""


@dataclass(frozen=True)
class WithChooser:
    """Samples from `answering`, scores with `choosing`, which `turn` is entered for."""

    answering: Policy
    choosing: Policy
    turn: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def name(self) -> str:
        return f"{self.answering.name}, chosen by {self.choosing.name}"

    @property
    def model(self) -> Any:
        """The model that answers."""
        return getattr(self.answering, "model", None)

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
        """See `Policy.generate`."""
        return self.answering.generate(prompts, n, params, seed=seed, round=round, first_index=first_index)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """See `Policy.score`."""
        with self.turn():
            return self.choosing.score(prompts, continuations)


def with_chooser(
    answering: HFPolicy, adapter: str | Path, config: ModelConfig, *, dry_run: bool = False, usage: Usage | None = None
) -> WithChooser:
    """A policy whose candidates are weighed by the adapter in folder `adapter`: on the same base weights where an
    adapter answers too, on weights of its own where the base model itself does. `usage` is what
    the adapter is checked against besides. Raises ModelError for a folder that is no adapter, or whose adapter was
    taught with something else.
    """
    model, slots = answering.model, answering.slots
    if not hasattr(model, "peft_config"):
        alone = replace(config, adapter=str(adapter))
        return WithChooser(answering, HFPolicy.from_config(alone, slots=slots, dry_run=dry_run, usage=usage))
    (first,) = model.active_adapters
    beside(replace(answering.loaded, usage=usage or Usage()), adapter, NAME)

    @contextmanager
    def turn() -> Iterator[None]:
        model.set_adapter(NAME)
        try:
            yield
        finally:
            model.set_adapter(first)

    name = f"{answering.name.split('+')[0]}+{weights_hash(adapter)}"
    return WithChooser(answering, HFPolicy(answering.loaded, slots=slots, name=name), turn)
