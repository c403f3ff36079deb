"""Rates of this machine, by 20 steps of each kind of work with the recipe's model: minutes measured, not assumed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.app.plan.recipe import Planned
from r3v.plan.cards import Rates

STEPS = 20
PROBLEMS = 4


def probe(planned: Planned, dry_run: bool = False) -> Rates:
    """Tokens a second: scoring prompts with a continuation, 20 decoding steps with the recipe's slots, and 20 optimiser
    steps on problems of the built-in world with two answers of half the most tokens. Loads the model of the recipe (a
    random tiny one if `dry_run`). Raises ModelError, ConfigError."""
    from r3v.data.geoworld import source
    from r3v.policies.base import SamplingParams
    from r3v.policies.model.loading import load
    from r3v.policies.sampling.hf import HFPolicy
    from r3v.prompts import solve, style

    config = planned.config
    slots = getattr(config, planned.draw).slots
    words = style(config.model.prompt_style)
    problems = list(source("gate", PROBLEMS))
    prompts = [solve(problem, words) for problem in problems]
    policy = HFPolicy(load(config.model, dry_run=dry_run), slots=slots)
    each = max(1, slots // PROBLEMS)
    params = SamplingParams(temperature=1.0, max_new_tokens=STEPS)
    policy.generate(prompts[:1], 1, replace(params, max_new_tokens=2))  # what is set up once is no rate
    tokens, seconds = _timed(lambda: policy.generate(prompts, each, params))
    drawn = sum(len(c.token_ids) for row in tokens for c in row) / seconds
    policy.rename(f"{policy.name}-probe")  # prompts that were kept are computed again
    _, seconds = _timed(lambda: policy.score(prompts, [["Answer: 1"]] * len(prompts)))
    read = sum(len(policy.encoder.prompt(prompt).ids) for prompt in prompts) / seconds
    trained = 0.0
    if planned.fit is not None:
        trained = _fit_rate(planned, policy.loaded, problems, prompts)
    return Rates(read, drawn, trained, f"measured here by {STEPS} steps")


def _timed(work: Any) -> tuple[Any, float]:
    import torch

    started = time.perf_counter()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, max(1e-9, time.perf_counter() - started)


def _fit_rate(planned: Planned, loaded: Any, problems: Any, prompts: Any) -> float:
    from r3v.records import Example
    from r3v.settings.config import TrainConfig
    from r3v.training.fit import fit

    config, group = planned.config, getattr(planned.config, planned.fit or "train")
    words = max(4, getattr(config, planned.draw).max_new_tokens // 8)
    examples = [
        Example("answer", problem.id, prompt, " ".join(f"{turn} + {i} = {turn + i}" for i in range(words // 4)))
        for problem, prompt in zip(problems, prompts, strict=True)
        for turn in range(2)
    ]
    shared = ("precision", "gradient_checkpointing", "fuse", "max_tokens", "max_batch_tokens")
    train = TrainConfig(
        problems_per_step=1, problems_per_batch=1, max_steps=STEPS, epochs=float(STEPS),
        **{name: getattr(group, name) for name in shared},
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="r3v-plan-") as folder:
        done = fit(loaded, examples, train=train, model=config.model, out=Path(folder), seed=0, checkpoint_every=0)
    return done.tokens / max(1e-9, done.seconds)
