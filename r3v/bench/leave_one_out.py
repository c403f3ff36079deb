"""What each fast path is worth: whole stages at the shape of a small real model, with one path left out at a time.

    python -m r3v.bench.leave_one_out sample fit evaluate --cycles 3

The model is an Idefics3 whose language model has the shape of SmolLM2-135M (30 layers of width 576, 9 heads, 3
key-value heads, vocabulary 49,152) behind a tower of 6 layers of width 256 that makes 49 tokens of a picture; its
weights are random, in float32 on the CPU. `--shape tiny` takes geoworld-tiny. Stages, on GeoWorld problems:

    sample     8 samples of each problem in the library's 32 slots
    fit        answer, refine, select and a second answer of each problem, LoRA r=32, 2 problems to a step;
               the self-test of the first batch is left out, because a real fit has hundreds of steps for it
    evaluate   greedy, 3 samples, and a select prompt in 2 orders with 4 continuations for each problem

A few ordinary tokens stand for the end of a turn, so that lengths vary as in a trained model; the tokens of a stage are
counted and times are compared by token.

A cycle runs a stage with everything on and then every variant; each is paired with the former of its cycle. After each
pair are printed the least, median and largest ratio so far: how many times longer the stage takes without the path.
`--out` keeps the pairs in a file, so that several short calls count together. `--alone` counts the time that one thread
had the processor, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from r3v import prompts
from r3v.data.geoworld import item_of, source
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.policies.sampling import cache, hf, scoring, shared
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Example, Problem
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training import module
from r3v.training.fit import fit
from r3v.training.layout import attention

STYLE = prompts.style("short")
STOPS = 8
"""Ordinary tokens that end a turn: of 640 that are drawn about evenly, so a turn has 80 on average before it is cut."""


# ---- the model ---------------------------------------------------------------------------------------


def smol(seed: int = 0) -> Loaded:
    """A random Idefics3 of SmolLM2-135M's shape with the processor of geoworld-tiny."""
    from transformers import AutoModelForImageTextToText, Idefics3Config

    small = load(ModelConfig())
    tokenizer, found = small.encoder.tokenizer, small.model.config
    text = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49152,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "eos_token_id": int(tokenizer.eos_token_id),
        "pad_token_id": 0,
    }
    vision = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = Idefics3Config(
        text_config=text,
        vision_config={**vision, "image_size": found.vision_config.image_size, "patch_size": 8},
        image_token_id=found.image_token_id,
        scale_factor=2,
        tie_word_embeddings=True,
        pad_token_id=0,  # pyright: ignore[reportCallIssue]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        model.tie_weights()
    model.generation_config = small.model.generation_config
    encoder = Encoder(small.processor, model.config, generation_config=model.generation_config)
    return Loaded(model.eval(), small.processor, encoder, f"smol:{seed}", ModelConfig())


SHAPES: dict[str, Callable[[], Loaded]] = {"smol": smol, "tiny": lambda: load(ModelConfig())}


def examples_of(problem: Problem, place: int) -> list[Example]:
    """Four branches of one problem, from GeoWorld's own rationales."""
    item = item_of(problem)
    right, wrong = item.rationale, item.wrong[0][0]
    shown = [right, wrong] if place == 0 else [wrong, right]
    chosen = prompts.select_target(STYLE, place, prompts.answer_text(problem))
    ask = prompts.solve(problem, STYLE)
    return [
        Example("answer", problem.id, ask, right, 1.0),
        Example("answer", problem.id, ask, f"So {right}", 1.0),
        Example("refine", problem.id, prompts.refine(problem, STYLE, wrong), right, 0.5),
        Example("select", problem.id, prompts.select(problem, STYLE, shown), chosen, 0.5),
    ]


# ---- stages ------------------------------------------------------------------------------------------


class Stages:
    """Whole stages on one model; each returns the tokens it was about."""

    def __init__(self, loaded: Loaded, problems: int, most: int, clock: Callable[[], float]) -> None:
        self.loaded, self.clock = loaded, clock
        self.drawn = SamplingParams(temperature=0.9, max_new_tokens=most)
        self.greedy = SamplingParams(temperature=0.0, max_new_tokens=most)
        self.problems = source("train", problems)
        encoder = loaded.encoder
        ordinary = sorted(set(range(len(encoder.tokenizer))) - set(encoder.banned_ids) - encoder.stop_ids)
        encoder.stop_ids = frozenset(random.Random(0).sample(ordinary, STOPS))
        encoder.banned_ids = tuple({*encoder.banned_ids, encoder.eot_id})
        self.asked = [prompts.solve(p, STYLE) for p in self.problems]

    def policy(self) -> HFPolicy:
        """A policy that has asked itself what it can do, and has copied what it copies."""
        made = HFPolicy(self.loaded, name="first")
        made.generate(self.asked[:1], 2, SamplingParams(temperature=0.9, max_new_tokens=2))
        made.rename("fresh")
        return made

    def sample(self, policy: HFPolicy | None) -> float:
        assert policy is not None
        return _tokens(policy.generate(self.asked, 8, self.drawn))

    def evaluate(self, policy: HFPolicy | None) -> float:
        assert policy is not None
        tokens = _tokens(policy.generate(self.asked, 1, self.greedy))
        tokens += _tokens(policy.generate(self.asked, 3, self.drawn))
        asked, options = [], []
        for problem in self.problems:
            item = item_of(problem)
            texts = [item.rationale, *(text for text, *_ in item.wrong[:2])]
            for shown in (texts, texts[::-1]):
                asked.append(prompts.select(problem, STYLE, shown))
                answers = [prompts.select_target(STYLE, i, str(10 * i)) for i in range(len(shown))]
                options.append([*answers, STYLE.none_right])
        return tokens + sum(len(s.token_ids) for row in policy.score(asked, options) for s in row)

    def fit(self, policy: HFPolicy | None) -> float:
        examples = [e for i, p in enumerate(self.problems) for e in examples_of(p, i % 2)]
        train = TrainConfig(problems_per_step=2, problems_per_batch=2, max_tokens=1024)
        with tempfile.TemporaryDirectory() as out, patch.object(module.R3VModule, "_all_have", lambda *_: False):
            fit(self.loaded, examples, train=train, model=self.loaded.config, out=out, seed=0, checkpoint_every=0)
        return 1.0

    def time(self, stage: str, paths: Sequence[str]) -> float:
        """Seconds for a token of this stage, without these paths."""
        with ExitStack() as stack:
            for path in paths:
                stack.enter_context(PATHS[path]())
            policy = None if stage == "fit" else self.policy()
            started = self.clock()
            work = getattr(self, stage)(policy)
            return (self.clock() - started) / work


def _tokens(rows: Sequence[Sequence[Any]]) -> float:
    return float(sum(len(c.token_ids) for row in rows for c in row))


# ---- paths -------------------------------------------------------------------------------------------


def _without(*changes: tuple[Any, str, Any]) -> Callable[[], Any]:
    @contextmanager
    def changed() -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in changes:
                stack.enter_context(patch.object(owner, name, value))
            yield

    return changed


def _nothing(*_: Any) -> None:
    return None


PATHS: dict[str, Callable[[], Any]] = {
    "runs": _without((attention, "SPLIT_ABOVE", 1 << 30)),
    "fuse": _without((module, "why_not_fusable", lambda _: "it is left out")),
    "shared": _without((hf, "why_not_shared", lambda _: "it is left out")),
    "kept": _without((scoring.KeptPrompts, "keep", _nothing)),
    "few": _without(
        (shared, "FEW", 0),
        (shared, "_own_columns", lambda q, k, v, bias, scale, _: shared.attention(q, k, v, bias, scale)),
    ),
    "spans": _without((cache.SlotMemory, "spans", lambda self: ((0, len(self.start_S), 0),))),
}
"""How each path is left out."""
OF = {
    "sample": ("shared", "few", "spans", "kept"),
    "evaluate": ("shared", "few", "spans", "kept"),
    "fit": ("runs", "fuse"),
}
"""The paths that a stage has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=list(OF))
    parser.add_argument("--shape", choices=list(SHAPES), default="smol")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96, help="most tokens of a sample")
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument(
        "--without", nargs="+", help="variants: paths joined by +; default: each path of the stage alone"
    )
    parser.add_argument("--always", default="", help="paths that both sides of a pair do without, joined by +")
    parser.add_argument("--alone", action="store_true", help="processor time of one thread in place of time")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    if settings.alone:
        torch.set_num_threads(1)
    clock = time.process_time if settings.alone else time.perf_counter
    stages = Stages(SHAPES[settings.shape](), settings.problems, settings.tokens, clock)
    always = [path for path in settings.always.split("+") if path]
    kept = json.loads(settings.out.read_text()) if settings.out and settings.out.exists() else {}
    for stage in settings.stages:
        size = f"{settings.problems} problems" + f" of {settings.tokens} tokens" * (stage != "fit")
        stages.time(stage, always)  # memory that is touched for the first time is slow
        for _ in range(settings.cycles):
            all_on = stages.time(stage, always)
            for variant in settings.without or OF[stage]:
                key = f"{settings.shape} {stage} ({size}) -{variant}" + f" (both -{settings.always})" * bool(always)
                pairs = kept.setdefault(key, [])
                pairs.append((all_on, stages.time(stage, [*always, *variant.split("+")])))
                ratios = sorted(without / all_on for all_on, without in pairs)
                seconds = statistics.median(all_on for all_on, _ in pairs)
                shown = " ".join(f"{r:.2f}" for r in (ratios[0], statistics.median(ratios), ratios[-1]))
                print(f"{key:60s} {shown}  n={len(ratios)}  {seconds:.4g} s", flush=True)
                if settings.out:
                    settings.out.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
