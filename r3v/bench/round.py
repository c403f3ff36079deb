"""`round`: one whole round of recipes/geoworld_tiny.yaml, smaller, against TRL's SFTTrainer and `generate`.

A round is: sample every training problem, grade, build the examples, fit a LoRA on them for the recipe's epochs,
measure it on the gate problems (greedy) and the evaluation problems (all selectors). Ours is what `r3v train` runs. The
peer has the same grading, builder, prompts and selectors, but samples with `generate` and scores with plain forward
calls, each in the static batch that measured fastest, and fits with SFTTrainer on the same examples as rows of their
own, in its fastest batch with as many examples to a step. It fits on the examples that ours built, so that both learn
from the same number of rows; its merged weights are what it measures.

The details tell the ratio of each stage, and how many tokens a fit that shares nothing computes for each one of ours
(`fit_tokens_ratio`): the most that sharing prompts can gain there, since the rest of a fit is the same products.

Checked first: the gate's greedy texts equal, and the log-probabilities of the examples' targets equal to 1e-3.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from r3v.bench.generating import Transformers
from r3v.bench.harness import BenchError, Case, Result, Settings, measure, timed
from r3v.bench.selector import PeerPolicy
from r3v.bench.updates import trl_settings
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoder
from r3v.policies.model.forward import inputs_of
from r3v.policies.model.loading import add_lora, load
from r3v.policies.sampling.hf import HFPolicy
from r3v.prompts import solve_all, style
from r3v.records import Example
from r3v.reflection.settings import read
from r3v.reflection.stages import load_splits, real_stages
from r3v.rollout.shards import read_examples
from r3v.settings.config import Config
from r3v.settings.tree import recipe_folder
from r3v.training.layout.trie import target_ids

SIZES = {"n_train": 96, "n_gate": 24, "n_eval": 48}
"""Problems; the recipe has 1,000, 400 and 400."""
ROWS = (32, 64, 128)
BATCHES = (4, 8, 16, 32)


def round_(settings: Settings) -> dict[str, Result]:
    """Case geoworld_tiny."""
    with tempfile.TemporaryDirectory() as folder:
        side = Sides(recipe(settings), Path(folder), settings)
        found = measure(side.case(), settings)
        return {"geoworld_tiny": replace(found, details={**side.details(), **side.stage_details()})}


def recipe(settings: Settings) -> Config:
    """The recipe with fewer problems. Raises BenchError where the recipes are not installed."""
    path = recipe_folder() / "geoworld_tiny.yaml"
    if not path.exists():
        raise BenchError(f"{path} is missing, expected the recipe that this benchmark repeats")
    config = read(path).config
    model = replace(config.model, device=settings.device)
    return replace(config, data=replace(config.data, **SIZES), model=model)


class Sides:
    """Ours and the peer on the same problems."""

    def __init__(self, config: Config, folder: Path, settings: Settings) -> None:
        self.config, self.folder, self.settings = config, folder, settings
        self.stages = real_stages()
        self.splits = load_splits(config.data)
        self.calls = 0
        self.spent: dict[tuple[str, str], list[float]] = {}
        self.fit_tokens = self.row_tokens = 0
        self.examples: list[Example] = []
        self.rows, self.scored, self.batch = ROWS[0], ROWS[0], BATCHES[0]

    def case(self) -> Case:
        out = self._ours("once")
        self.examples = read_examples(out / "examples.parquet", {p.id: p for p in self.splits.train})
        encoder = load(self.config.model).encoder
        lengths = [len(encoder.prompt(e.prompt).ids) + len(target_ids(e, encoder)) for e in self.examples]
        self.row_tokens = sum(lengths)
        self._choose()
        return Case(
            ours=self.ours,
            peer=self.theirs,
            check=self.check,
            peer_name=f"SFTTrainer (batch {self.batch}) and generate ({self.rows} rows)",
            goal=3.0,
        )

    def details(self) -> dict[str, float | str]:
        sizes = {name: float(size) for name, size in SIZES.items()}
        return {**sizes, "k": float(self.config.sample.k), "examples": float(len(self.examples))}

    def stage_details(self) -> dict[str, float | str]:
        """Of the pairs so far: the median ratio of each stage, and seconds of ours."""
        alone = self.row_tokens * self.config.train.epochs
        found: dict[str, float | str] = {"fit_tokens_ratio": alone / self.fit_tokens}
        for stage in ("sample", "fit", "measure"):
            ours, peer = (self.spent[side, stage][self.settings.warmup :] for side in ("ours", "peer"))
            found[f"{stage}_ratio"] = statistics.median(b / a for a, b in zip(ours, peer, strict=True))
            found[f"{stage}_s"] = statistics.median(ours)
        return found

    def _timed(self, side: str, stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.spent.setdefault((side, stage), []).append(time.perf_counter() - started)
        return result

    # ---- ours ------------------------------------------------------------------------------------

    def ours(self) -> float:
        self._ours("ours")
        return 1.0

    def _ours(self, side: str) -> Path:
        out, config, stages = self._fresh(), self.config, self.stages

        def fit() -> dict[str, Any]:
            return stages.fit(self.splits.train, out / "examples.parquet", None, out / "adapter", config, 1)

        self._timed(side, "sample", lambda: self._sample(stages.policy(config, None), out))
        self.fit_tokens = self._timed(side, "fit", fit)["tokens"]
        self._timed(side, "measure", lambda: self._measure(stages.policy(config, out / "adapter"), out))
        return out

    # ---- the peer --------------------------------------------------------------------------------

    def theirs(self) -> float:
        out = self._fresh()
        loaded = load(self.config.model)
        self._timed("peer", "sample", lambda: self._sample(self._peer(loaded.model, loaded.encoder), out))
        model = self._timed("peer", "fit", lambda: self._trainer(loaded).fit())
        self._timed("peer", "measure", lambda: self._measure(self._peer(model, loaded.encoder), out))
        return 1.0

    def _peer(self, model: Any, encoder: Encoder) -> PeerPolicy:
        made = PeerPolicy(model.eval(), encoder)
        made.sampler.rows, made.scorer.rows = self.rows, self.scored
        return made

    def _trainer(self, loaded: Any) -> Trainer:
        per_problem = len(self.examples) / len({e.problem_id for e in self.examples})
        return Trainer(loaded, self.examples, self.config, self.batch, per_problem)

    def _choose(self) -> None:
        """The fastest static batches of the peer, each found on a part of the work."""
        loaded = load(self.config.model)
        words = style(self.config.model.prompt_style)
        prompts = [loaded.encoder.prompt(p) for p in solve_all(self.splits.train[:32], words)]
        work = Transformers(loaded.model.eval(), loaded.encoder)
        sample = self.config.sample
        with torch.inference_mode():
            work.choose_rows(ROWS, lambda: work.sample(prompts, sample.k, sample.max_new_tokens))
            self.rows = work.rows
            some = self.examples[:64]
            asked = [loaded.encoder.prompt(e.prompt) for e in some]
            targets = [[loaded.encoder.target(e.target)] for e in some]
            work.choose_rows(ROWS, lambda: work.score(asked, targets))
        self.scored = work.rows
        trainer = self._trainer(loaded)
        seconds = {
            batch: timed(lambda batch=batch: trainer.one(batch), self.settings, times=2) / batch for batch in BATCHES
        }
        self.batch = min(seconds, key=lambda b: seconds[b])

    # ---- both ------------------------------------------------------------------------------------

    def _fresh(self) -> Path:
        self.calls += 1
        out = self.folder / str(self.calls)
        out.mkdir()
        return out

    def _sample(self, policy: Any, out: Path) -> None:
        train, candidates = self.splits.train, out / "candidates"
        self.stages.sample(policy, train, candidates, self.config, 1)
        self.stages.build(train, [candidates], out / "examples.parquet", self.config, 1, lambda: policy)

    def _measure(self, policy: Any, out: Path) -> None:
        self.stages.evaluate(policy, self.splits.gate, ("greedy",), out / "gate.parquet", self.config)
        selectors = self.config.select.selectors
        self.stages.evaluate(policy, self.splits.eval, selectors, out / "eval.parquet", self.config)

    def check(self) -> str:
        """Same greedy texts, same log-probabilities of the targets."""
        loaded = load(self.config.model)
        ours, peer = HFPolicy(loaded), self._peer(loaded.model, loaded.encoder)
        prompts = solve_all(self.splits.gate, style(self.config.model.prompt_style))
        params = SamplingParams(temperature=0.0, max_new_tokens=self.config.select.max_new_tokens)
        mine, other = (policy.generate(prompts, 1, params) for policy in (ours, peer))
        unlike = sum(a[0].text != b[0].text for a, b in zip(mine, other, strict=True))
        some = self.examples[:24]
        asked, targets = [e.prompt for e in some], [[e.target] for e in some]
        gap = max(
            abs(a.total - b.total)
            for left, right in zip(ours.score(asked, targets), peer.score(asked, targets), strict=True)
            for a, b in zip(left, right, strict=True)
        )
        if unlike or gap > 1e-3:
            raise BenchError(f"round: {unlike} greedy texts differ from generate's, log-probabilities by {gap:.1e}")
        return f"{len(prompts)} greedy texts equal, {len(some)} target log-probabilities within {gap:.0e}"


class Trainer:
    """SFTTrainer on examples as rows, with as many examples to a step as the recipe's problems have."""

    def __init__(
        self, loaded: Any, examples: Sequence[Example], config: Config, batch: int, per_problem: float
    ) -> None:
        try:
            from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise BenchError(f"round compares with TRL, which is missing: {error}. pip install trl") from error
        from datasets import Dataset

        self.encoder: Encoder = loaded.encoder
        self.model = add_lora(loaded.model, config.model, config.run.seed).train()
        self.examples = examples
        per_step = max(1, round(config.train.problems_per_step * per_problem))
        self.folder = tempfile.TemporaryDirectory()
        args = SFTConfig(
            **trl_settings(self.folder.name, device=config.model.device, half=False, rate=config.train.lr),
            save_strategy="no",
            logging_strategy="no",
            max_length=None,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            lr_scheduler_type="cosine",
            num_train_epochs=config.train.epochs,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=max(1, round(per_step / batch)),
        )
        self.trainer: Any = SFTTrainer(
            model=self.model,
            args=args,
            train_dataset=Dataset.from_dict({"row": list(range(len(examples)))}),
            processing_class=loaded.processor,
            data_collator=self._collate,
        )

    def fit(self) -> Any:
        """Train for all epochs; the model with its update folded in."""
        self.trainer.train()
        self.folder.cleanup()
        return self.trainer.model.merge_and_unload()

    def one(self, batch: int) -> None:
        """Forward and backward of one micro-batch."""
        inputs = self._collate([{"row": i % len(self.examples)} for i in range(batch)])
        self.trainer.current_gradient_accumulation_steps = 1
        self.trainer.training_step(self.trainer.model, inputs, (inputs["labels"] != -100).sum())
        self.trainer.model.zero_grad(set_to_none=True)

    def _collate(self, rows: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        whole, targets = [], []
        for row in rows:
            example = self.examples[row["row"]]
            prompt, ids = self.encoder.prompt(example.prompt), target_ids(example, self.encoder)
            whole.append(replace(prompt, ids=(*prompt.ids, *ids)))
            targets.append(len(ids))
        inputs, _ = inputs_of(self.model, self.encoder, whole)
        inputs.pop("position_ids")
        labels = torch.full_like(inputs["input_ids"], -100)
        for row, n in enumerate(targets):
            labels[row, -n:] = inputs["input_ids"][row, -n:]
        return {**inputs, "labels": labels}
