"""`grpo-step`: sample 8 replies of one problem, grade them, one policy-gradient update; against TRL's GRPOTrainer.

Both sample at temperature 1 without filters up to the same number of tokens, grade with the same function and
update with the same loss (GRPO, no KL term, advantages divided by the group's deviation) and optimiser. Replies of
a random model are all wrong, so that the group would teach nothing: the reward is the grade plus the share of the
letter "e" in the reply. The check takes the peer's replies and compares loss and gradients.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from r3v.bench.harness import BenchError, Case, Result, Settings, measure
from r3v.bench.models import STYLE, bench_problem, large_qwen, small_idefics, with_lora
from r3v.bench.updates import adamw, autocast, copy_trained, finish, gradients, trl_settings
from r3v.grading import grade
from r3v.losses import make_loss, reduce
from r3v.policies.base import SamplingParams
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.structure import base_model
from r3v.policies.sampling.hf import HFPolicy
from r3v.prompts import solve
from r3v.records import Example, Problem
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import Batch, collate
from r3v.training.layout.trie import build_trie

GROUP, NEW_TOKENS, GOAL = 8, 64, 2.0
_GRPO = make_loss("grpo")


def grpo_step(settings: Settings) -> dict[str, Result]:
    """Case K8: eight samples of up to 64 tokens."""
    cuda = settings.device == "cuda"
    make = (lambda: large_qwen("qwen2.5-vl-7b")) if cuda else small_idefics
    ours = Ours(with_lora(make()), settings, side=1024 if cuda else 384)
    peer = Peer(with_lora(make()), ours.problem, settings)
    case = Case(
        ours=ours.step,
        peer=peer.step,
        check=lambda: check(ours, peer),
        peer_name="TRL GRPOTrainer with generate",
        goal=GOAL,
    )
    try:
        return {f"K{GROUP}": measure(case, settings)}
    finally:
        peer.folder.cleanup()


def reward(problem: Problem, text: str) -> float:
    """1 for a right answer, plus the share of "e" in the text."""
    right = grade(problem, text).correct
    return float(right) + text.count("e") / max(1, len(text))


def advantages(rewards: Sequence[float]) -> list[float]:
    """Distance from the group's mean in units of its sample deviation, as TRL computes it."""
    values = torch.tensor(rewards, dtype=torch.float64)
    return ((values - values.mean()) / (values.std() + 1e-4)).tolist()


class Ours:
    """HFPolicy, grading, and one fused update."""

    def __init__(self, loaded: Loaded, settings: Settings, *, side: int) -> None:
        self.settings, self.loaded, self.model = settings, loaded, loaded.model.train()
        self.encoder = loaded.encoder
        self.problem = bench_problem(2, self.encoder, side=side)
        self.prompt = solve(self.problem, STYLE)
        self.policy = HFPolicy(loaded, name="bench-live")
        self.optimizer = adamw(self.model)
        self.half = next(base_model(self.model).parameters()).dtype != torch.float32
        self.seed = 0

    def step(self) -> float:
        self.seed += 1
        params = SamplingParams(temperature=1.0, max_new_tokens=NEW_TOKENS)
        (found,) = self.policy.generate([self.prompt], GROUP, params, seed=self.seed)
        rewards = [reward(self.problem, c.text) for c in found]
        self.loss([c.token_ids for c in found], advantages(rewards))
        finish(self.model, self.optimizer)
        return float(GROUP)

    def loss(self, replies: Sequence[Sequence[int]], values: Sequence[float]) -> Tensor:
        """The group's loss, backward included."""
        with autocast(self.half):
            batch = self._batch(replies, values)
            inputs = batch.loss_inputs(token_logprobs(self.model, batch, "fused"))
            loss, _ = reduce(_GRPO(inputs), None, "kind", {})
        loss.backward()
        return loss.detach()

    def _batch(self, replies: Sequence[Sequence[int]], values: Sequence[float]) -> Batch:
        branches = [
            Example("reinforce", self.problem.id, self.prompt, "", advantage=a, token_ids=tuple(ids))
            for ids, a in zip(replies, values, strict=True)
        ]
        trie, _ = build_trie(branches, self.encoder, model=self.model, max_tokens=4096)
        assert trie is not None
        pad_id = self.encoder.tokenizer.pad_token_id or 0
        batch = collate([trie], pad_id=pad_id, collate_images=self.encoder.collate_images)
        return batch.to(self.settings.device)


class Peer:
    """GRPOTrainer.training_step, which generates, grades and computes the loss, then the same optimiser."""

    def __init__(self, loaded: Loaded, problem: Problem, settings: Settings) -> None:
        try:
            from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise BenchError(f"grpo-step compares with TRL, which is missing: {error}. pip install trl") from error
        from datasets import Dataset
        from PIL import Image

        self.folder = tempfile.TemporaryDirectory()
        half = next(base_model(loaded.model).parameters()).dtype != torch.float32
        config = GRPOConfig(
            **trl_settings(self.folder.name, device=settings.device, half=half),
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            max_completion_length=NEW_TOKENS,
            temperature=1.0,
            top_k=0,
            loss_type="grpo",
            beta=0.0,
            scale_rewards="group",
        )
        text = solve(problem, STYLE).messages[0].text
        image = Image.open(io.BytesIO(problem.images[0].data))  # pyright: ignore[reportAttributeAccessIssue]
        chat = [{"role": "user", "content": text}]
        self.row: dict[str, Any] = {"prompt": chat, "image": image}

        def graded(completions: list[Any], **more: Any) -> list[float]:
            return [reward(problem, c[0]["content"]) for c in completions]

        self.trainer: Any = GRPOTrainer(
            model=loaded.model,
            reward_funcs=graded,
            args=config,
            train_dataset=Dataset.from_list([self.row]),
            processing_class=loaded.processor,
        )
        self.trainer.current_gradient_accumulation_steps = 1
        self.model: Any = self.trainer.model.train()
        self.optimizer = adamw(self.model)

    def rows(self) -> list[dict[str, Any]]:
        return [{**self.row, "prompt": [dict(m) for m in self.row["prompt"]]} for _ in range(GROUP)]

    def step(self) -> float:
        self.trainer.training_step(self.model, self.rows(), None)
        finish(self.model, self.optimizer)
        return float(GROUP)


def check(ours: Ours, peer: Peer) -> str:
    """Loss and gradients on the same replies. Raises BenchError when prompts, losses or gradients differ."""
    copy_trained(peer.model, ours.model)
    made = peer.trainer._generate_and_score_completions(peer.rows())
    prompt = made["prompt_ids"][0][made["prompt_mask"][0].bool()].tolist()
    if tuple(prompt) != tuple(ours.encoder.prompt(ours.prompt).ids):
        raise BenchError(
            f"grpo-step: the peer's prompt has {len(prompt)} tokens, ours {len(ours.encoder.prompt(ours.prompt).ids)}; "
            "expected the same tokens"
        )
    masks = made["completion_mask"].bool()
    replies = [ids[mask].tolist() for ids, mask in zip(made["completion_ids"], masks, strict=True)]
    with autocast(ours.half):
        theirs = peer.trainer.compute_loss(peer.model, made)
    theirs.backward()
    theirs = theirs.detach()
    mine = ours.loss(replies, made["advantages"].double().tolist())
    a, b = gradients(ours.model), gradients(peer.model)
    ours.optimizer.zero_grad(set_to_none=True)
    peer.optimizer.zero_grad(set_to_none=True)
    difference = float((a - b).norm() / b.norm())
    for_loss, for_gradient = (2e-2, 2.5e-1) if ours.half else (1e-4, 1e-3)
    # On fresh samples the loss is minus the mean advantage, which is zero up to rounding.
    if abs(float(mine) - float(theirs)) > for_loss or not difference <= for_gradient:
        raise BenchError(
            f"grpo-step: loss {float(mine):.6f} against the peer's {float(theirs):.6f}, gradients differ by "
            f"{difference:.1e}, expected at most {for_loss:g} and {for_gradient:g}"
        )
    return f"same replies: loss {float(mine):.6f} = {float(theirs):.6f}, gradients differ by {difference:.0e}"
