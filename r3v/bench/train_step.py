"""`train-step`: one optimiser step on all branches of one problem, against TRL's SFTTrainer.

Both get the same token ids, labels, pixels, weights and LoRA. The peer is given its best micro-batch (the fastest of
all divisors of the number of branches, measured first); its metrics are its own.
The limit is that of `arithmetic`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from r3v.bench.arithmetic import common_prefix, limit
from r3v.bench.harness import BenchError, Case, Growth, Result, Settings, grown, measure, timed
from r3v.bench.models import bench_problem, large_qwen, reflection_examples, small_idefics, with_lora
from r3v.bench.updates import adamw, autocast, copy_trained, finish, gradients, trl_settings
from r3v.losses import reduce, reflection
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.structure import base_model
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import Batch, collate
from r3v.training.layout.trie import Trie, build_trie

GOALS = {4: 2.4, 8: 3.4}
GOAL_OF_LIMIT = 0.88


def train_step(settings: Settings) -> dict[str, Result]:
    """Cases G4 and G8."""
    if settings.device == "cuda":
        return _on_gpu(settings)
    found: dict[str, Result] = {}
    for branches, goal in GOALS.items():
        side = Sides(small_idefics, branches, settings)
        found[f"G{branches}"] = measure(side.case(goal), settings, details=side.details())
        side.close()
    return found


def _on_gpu(settings: Settings) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for shape in ("qwen2.5-vl-7b", "qwen3-vl-8b"):
        for nf4 in (False, True):
            for branches in GOALS:
                side = Sides(lambda s=shape, q=nf4: large_qwen(s, nf4=q), branches, settings, side=32 * 32)
                name = f"{shape} {'nf4' if nf4 else 'bf16'} G{branches}"
                found[name] = measure(side.case(2.5), settings, details=side.details())
                side.close()
                torch.cuda.empty_cache()
    return found


class Sides:
    """Ours and the peer on one problem with `branches` branches; both own a copy of the same weights."""

    def __init__(
        self,
        make: Callable[[], Loaded],
        branches: int,
        settings: Settings,
        *,
        side: int = 384,
        question_tokens: int = 96,
        with_peer: bool = True,
    ) -> None:
        self.settings, self.branches = settings, branches
        self.loaded = with_lora(make())
        self.encoder = self.loaded.encoder
        self.model: Any = self.loaded.model.train()
        self.half = next(base_model(self.model).parameters()).dtype != torch.float32
        problem = bench_problem(1, self.encoder, side=side, question_tokens=question_tokens)
        examples = reflection_examples(problem, self.encoder, branches)
        trie, _ = build_trie(examples, self.encoder, model=self.model)
        assert trie is not None
        self.trie: Trie = trie
        self.batch = self._collate(True)
        self.optimizer = adamw(self.model)
        self.peer = Peer(with_lora(make()), trie, self._collate(False), settings) if with_peer else None

    def _collate(self, fused: bool) -> Batch:
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        batch = collate([self.trie], fused=fused, pad_id=pad_id, collate_images=self.encoder.collate_images)
        return batch.to(self.settings.device)

    def loss(self) -> Tensor:
        """Token mean over all branches, backward included."""
        with autocast(self.half):
            logprobs_T = token_logprobs(self.model, self.batch, "fused")
            loss, _ = reduce(reflection(self.batch.loss_inputs(logprobs_T)), None, "tokens", {})
        loss.backward()
        return loss.detach()

    def step(self) -> float:
        """One optimiser step; the unit of work is an example."""
        self.loss()
        finish(self.model, self.optimizer)
        return float(self.branches)

    def case(self, goal: float | None) -> Case:
        assert self.peer is not None
        self.peer.choose()
        return Case(
            ours=self.step,
            peer=self.peer.step,
            check=self.check,
            peer_name=f"TRL SFTTrainer, micro-batch {self.peer.micro}",
            limit=limit(self.model, self.trie),
            goal=goal,
            goal_of_limit=None if goal is None else GOAL_OF_LIMIT,
        )

    def check(self) -> str:
        """Same loss and same gradient of every trained weight, from weights that are equal now."""
        assert self.peer is not None
        copy_trained(self.peer.model, self.model)
        ours, theirs = float(self.loss()), float(self.peer.loss())
        mine, other = gradients(self.model), gradients(self.peer.model)
        self.optimizer.zero_grad(set_to_none=True)
        self.peer.optimizer.zero_grad(set_to_none=True)
        difference = float((mine - other).norm() / other.norm())
        for_loss, for_gradient = (2e-2, 2.5e-1) if self.half else (1e-4, 1e-3)
        if abs(ours - theirs) > for_loss * abs(theirs) or not difference <= for_gradient:
            raise BenchError(
                f"train-step: loss {ours:.6f} against the peer's {theirs:.6f}, gradients differ by {difference:.1e}, "
                f"expected at most {for_loss:g} and {for_gradient:g}; both must compute the same before they are timed"
            )
        return f"loss {ours:.6f} = {theirs:.6f}, gradients differ by {difference:.0e}"

    def details(self) -> dict[str, float | str]:
        """Sizes of the work."""
        return {
            "parameters": float(sum(p.numel() for p in self.model.parameters())),
            "prefix_tokens": float(common_prefix(self.trie)),
            "tokens_trie": float(self.trie.tokens),
            "tokens_rows": float(self.trie.tokens_unfused),
            "image_tokens": float(int((self.trie.ids_L == self.encoder.image_token_id).sum())),
        }

    def close(self) -> None:
        if self.peer is not None:
            self.peer.close()


class Peer:
    """SFTTrainer.training_step on the same rows, accumulated over micro-batches, then the same optimiser."""

    def __init__(self, loaded: Loaded, trie: Trie, rows: Batch, settings: Settings) -> None:
        try:
            from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise BenchError(f"train-step compares with TRL, which is missing: {error}. pip install trl") from error
        from datasets import Dataset

        self.trie, self.rows, self.settings = trie, rows, settings
        self.folder = tempfile.TemporaryDirectory()
        half = next(base_model(loaded.model).parameters()).dtype != torch.float32
        config = SFTConfig(
            **trl_settings(self.folder.name, device=settings.device, half=half),
            max_length=None,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        self.trainer: Any = SFTTrainer(
            model=loaded.model,
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[1, 2]]}),
            processing_class=loaded.processor,
            data_collator=lambda rows: rows,
        )
        self.model: Any = self.trainer.model.train()
        self.optimizer = adamw(self.model)
        self.collate = loaded.encoder.collate_images
        self.targets = int(trie.target_T.shape[0])
        self.micro = 1
        self.parts: list[dict[str, Tensor]] = []

    def choose(self) -> None:
        """Take the fastest micro-batch among the divisors of the number of branches."""
        branches = int(self.rows.ids_RL.shape[0])
        seconds: dict[int, float] = {}
        for micro in (m for m in range(1, branches + 1) if branches % m == 0):
            self._cut(micro)
            try:
                seconds[micro] = timed(self.step, self.settings, times=2)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
        self._cut(min(seconds, key=lambda m: seconds[m]))

    def _cut(self, micro: int) -> None:
        self.micro = micro
        self.parts = []
        labels_RL = self._labels()
        for start in range(0, labels_RL.shape[0], micro):
            rows = slice(start, start + micro)
            lengths = self.rows.length_R[rows]
            longest = int(lengths.max())
            index_L = torch.arange(longest, device=lengths.device)
            part = {
                "input_ids": self.rows.ids_RL[rows, :longest],
                "labels": labels_RL[rows, :longest],
                "attention_mask": (index_L[None] < lengths[:, None]).long(),
            }
            images = self.collate([self.trie.images] * len(lengths))
            part |= {k: v.to(self.settings.device) for k, v in images.items()}
            self.parts.append(part)

    def _labels(self) -> Tensor:
        labels = torch.full_like(self.rows.ids_RL, -100).flatten()
        labels[self.rows.source_T + 1] = self.rows.target_T
        return labels.view_as(self.rows.ids_RL)

    def loss(self) -> Tensor:
        if not self.parts:
            self._cut(1)
        self.trainer.current_gradient_accumulation_steps = len(self.parts)
        count = torch.tensor(self.targets, device=self.settings.device)
        found = [self.trainer.training_step(self.model, dict(part), count) for part in self.parts]
        return torch.stack(found).sum()

    def step(self) -> float:
        self.loss()
        finish(self.model, self.optimizer)
        return float(self.rows.ids_RL.shape[0])

    def close(self) -> None:
        self.folder.cleanup()


def growth(settings: Settings) -> tuple[Growth, ...]:
    """Our step against the number of branches and the length of the question."""
    return grown(
        "r3v.bench.train_step:cost",
        ("branches", "branches", (1, 2, 4, 8, 16), ""),
        ("prefix tokens", "question_tokens", (32, 128, 384, 896), "prefix"),
    )


def cost(branches: int = 8, question_tokens: int = 96) -> Mapping[str, float]:
    """Seconds of one of our steps on the CPU, with the tokens its branches share; for a fresh process."""
    settings = Settings()
    side = Sides(small_idefics, branches, settings, question_tokens=question_tokens, with_peer=False)
    return {"seconds": timed(side.step, settings, times=3), "prefix": float(common_prefix(side.trie))}
