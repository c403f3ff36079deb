"""A whole run without a model: GeoWorld, the real sampling, building, evaluation and report, a scripted policy that
gets better each round, and a fit that writes falling losses."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.data.geoworld import item_of
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Problem, Prompt
from r3v.reflection.loop import Splits, Stages, train
from r3v.reflection.stages import load_splits, real_stages
from r3v.settings.config import BuildConfig, Config, DataConfig, ModelConfig, RunConfig, SampleConfig, SelectConfig

STRENGTH = (0.35, 0.55, 0.5, 0.75)
"""Share of right answers of the base and of each round; round 2 is worse than round 1."""


def uniform(*parts: object) -> float:
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def answerer(problems: dict[str, Problem], strength: float):
    """Right with probability `strength` (by a hash of id and index), otherwise one of the item's typical wrong ways,
    and now and then no answer at all. Select prompts get the first candidate's number."""

    def answer(prompt: Prompt, index: int) -> str:
        item = item_of(problems[prompt.problem_id])
        drawn = uniform(prompt.problem_id, index)
        if drawn < strength:
            return f"{item.rationale}"
        if drawn > 0.97:
            return "I cannot read the <figure> & stop."
        return item.wrong[int(drawn * 1000) % len(item.wrong)][0]

    return answer


def config(folder: Path, rounds: int = 2, n: int = 24, selectors: tuple[str, ...] = ()) -> Config:
    chosen = selectors or ("greedy", "majority", "self_select", "fused", "refine", "oracle")
    return Config(
        run=RunConfig(dir=str(folder), rounds=rounds),
        data=DataConfig(n_train=n, n_gate=max(2, n // 2), n_eval=n),
        model=ModelConfig(prompt_style="short"),
        sample=SampleConfig(k=3, shard_size=16),
        build=BuildConfig(),
        select=SelectConfig(selectors=chosen),
    )


def stages(strength: Sequence[float] = STRENGTH) -> Stages:
    real = real_stages()
    by_id: dict[str, Problem] = {}

    def load(data: DataConfig) -> Splits:
        splits = load_splits(data)
        by_id.update({p.id: p for part in (splits.train, splits.gate, splits.eval) for p in part})
        return splits

    def policy(config: Config, adapter: Path | None) -> ScriptedPolicy:
        number = 0 if adapter is None else int(adapter.parent.name.removeprefix("round_"))
        return ScriptedPolicy(answerer(by_id, strength[number]), name=f"scripted-{number}")

    def fit(problems: Any, examples: Path, start: Any, out: Path, config: Config, number: int) -> dict[str, Any]:
        out.mkdir(exist_ok=True)
        losses = [2.0 * math.exp(-i / 15) + 0.4 + 0.2 * uniform(number, i) for i in range(60)]
        return {"steps": 60, "losses": losses, "tokens": 1000, "tokens_target": 100, "fused": True, "dropped": {}}

    return replace(real, load=load, policy=policy, fit=fit)


def run(folder: Path, **kwargs: Any) -> dict[str, Any]:
    return train(config(folder, **kwargs), stages(), recipe="recipes/geoworld_tiny.yaml", say=lambda line: None)
