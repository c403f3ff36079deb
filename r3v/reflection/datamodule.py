"""The LightningDataModule: from examples, or from problems by bootstrapping with the live model.

Batches are whole problems. How they are encoded comes from the module that is being fitted, how many there
are in an optimiser step from `train.problems_per_step`, and how a step is divided from the Trainer (devices,
accumulation).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from r3v.errors import ConfigError, DataError
from r3v.policies.base import Policy
from r3v.records import Example, Problem
from r3v.settings.config import BuildConfig, SampleConfig, TrainConfig
from r3v.training.layout.trie import group_examples
from r3v.training.loader import StepLoader, check_division


class R3VDataModule(pl.LightningDataModule):
    """Training examples.

    examples: a list, or the path of an `examples.parquet`, whose images are found in `problems`. Without
    examples, `problems` are sampled with `policy` (default: the live model of the module being fitted),
    graded and built into examples in `prepare_data`, on one process; `dir` keeps candidates and examples, so
    an interrupted bootstrap goes on where it stopped. order depends on (seed, epoch) alone.
    Raises ConfigError when there is nothing to learn from.
    """

    def __init__(
        self,
        examples: Sequence[Example] | str | Path | None = None,
        *,
        problems: Sequence[Problem] | None = None,
        policy: Policy | None = None,
        dir: str | Path | None = None,
        train: TrainConfig | None = None,
        sample: SampleConfig | None = None,
        build: BuildConfig | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.examples, self.problems, self.policy = examples, problems, policy
        self.dir = None if dir is None else Path(dir)
        self.train_config = train
        self.sample, self.build = sample or SampleConfig(), build or BuildConfig()
        self.seed = seed
        if examples is None and (problems is None or dir is None):
            raise ConfigError(
                "found no examples, expected `examples`, or `problems` with a `dir` that keeps what is sampled"
            )
        if isinstance(examples, (str, Path)) and problems is None:
            raise ConfigError("found a path of examples without `problems`; they hold the images, give them too")
        self._loader: StepLoader | None = None

    @property
    def _examples_path(self) -> Path:
        if isinstance(self.examples, (str, Path)):
            return Path(self.examples)
        assert self.dir is not None
        return self.dir / "examples.parquet"

    def prepare_data(self) -> None:
        """Bootstrap and build, where there are no examples yet. Lightning calls this on one process."""
        if self.examples is None and not self._examples_path.exists():
            assert self.problems is not None
            assert self.dir is not None
            module = _module(self.trainer)
            policy = self.policy if self.policy is not None else module.policy()
            bootstrap_examples(policy, self.problems, self.dir, self.sample, self.build, module.config, self.seed)

    def _train_examples(self) -> Sequence[Example]:
        if self.examples is not None and not isinstance(self.examples, (str, Path)):
            return self.examples
        from r3v.rollout.shards import read_examples

        assert self.problems is not None
        return read_examples(self._examples_path, {p.id: p for p in self.problems})

    def setup(self, stage: str) -> None:
        if stage == "fit" and self._loader is None:
            examples = self._train_examples()
            if not examples:
                raise DataError("found no training example, expected at least one", file=self.dir)
            self._loader = self._make_loader(examples)

    def _make_loader(self, examples: Sequence[Example]) -> StepLoader:
        trainer: Any = self.trainer
        module = _module(trainer)
        config = self.train_config or module.train_config
        return StepLoader(
            groups=group_examples(examples),
            maker=module.maker(),
            per_step=config.problems_per_step,
            seed=self.seed,
            world=trainer.world_size,
            rank=trainer.global_rank,
            accumulate=check_division(config, trainer.world_size, trainer.accumulate_grad_batches),
            cache_bytes=0 if trainer.max_epochs == 1 else StepLoader.cache_bytes,
        )

    def train_dataloader(self) -> StepLoader:
        assert self._loader is not None
        loader = self._loader
        loader.place = lambda: self._place(loader)
        return loader

    def _place(self, loader: StepLoader) -> tuple[int, int]:
        trainer: Any = self.trainer
        if trainer.accumulate_grad_batches != loader.accumulate:
            raise ConfigError(
                f"found accumulate_grad_batches {trainer.accumulate_grad_batches} in the middle of a fit "
                f"that began with "
                f"{loader.accumulate}, expected it to stay: denominators are known in advance. "
                "Remove the GradientAccumulationScheduler and set train.problems_per_step"
            )
        return trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready


def _module(trainer: Any) -> Any:
    from r3v.training.module import R3VModule

    module = trainer.lightning_module if trainer is not None else None
    if not isinstance(module, R3VModule):
        raise ConfigError(
            f"R3VDataModule found {type(module).__name__} being fitted, expected an R3VModule: encoding "
            f"and loss are its"
        )
    return module


def bootstrap_examples(
    policy: Policy,
    problems: Sequence[Problem],
    dir: Path,
    sample: SampleConfig,
    build: BuildConfig,
    model: Any,
    seed: int,
) -> None:
    """Sample, grade and build into `dir`: `candidates/*.parquet`, then `examples.parquet`."""
    from r3v.prompts import style
    from r3v.reflection.build import build_examples
    from r3v.rollout.pool import Pool
    from r3v.rollout.rollout import bootstrap, rescue
    from r3v.rollout.shards import write_examples

    words = style(model.prompt_style)
    bootstrap(policy, problems, dir / "candidates", sample=sample, style=words, seed=seed)
    pool = Pool([dir / "candidates"])
    rescued = rescue(policy, problems, pool, dir, build=build, sample=sample, style=words, seed=seed)
    examples, _ = build_examples(
        pool, problems, build, words, seed, letters=model.letters, rescued=rescued, policy=policy
    )
    write_examples(dir / "examples.parquet", examples, {p.id: p for p in problems})
