"""`sampler`: K = 8 samples of each problem, prompts of 128 to 800 tokens with an image, answers of 20 to 200 tokens.

Ours is the slot decoder, the peer transformers' `generate(num_return_sequences=8)` in the static batch that measured
fastest. Both produce the same numbers of tokens for the same prompts: a random model has no natural end, so each
sample's length is drawn beforehand. What they compute is compared first on natural ends: greedy text equal, and the
first three sampled tokens of many samples from one distribution (chi-square).

The limit is the time of the parts alone: each prompt prefilled once (in batches of similar length), and all tokens
at one measured full decode step for every `slots` of them, half-way through an answer. What is lost against it is
scheduling, refilling, and slots that stand idle at the end. The end weighs the less the more problems there are, so the
details tell the share of the limit for `MANY` problems too (ours alone: the peer's time grows with the problems).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from r3v.bench.generating import Transformers, same_distribution, uneven_lengths
from r3v.bench.harness import BenchError, Case, Growth, Result, Settings, grown, measure, timed
from r3v.bench.models import STYLE, bench_problem, small_idefics
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.forward import prefill
from r3v.policies.model.loaded import Loaded
from r3v.policies.sampling.decode import Job, Sampler
from r3v.policies.sampling.noise import noise_key
from r3v.policies.sampling.sharing_check import why_not_shared
from r3v.prompts import solve

K = 8
SLOTS = 64
PROBLEMS = 12
MANY = 36
MOST = 200
ROWS = (8, 16, 32, 64)
LEAST_QUESTION = 4
P_LEAST = 1e-4
"""The chi-square test fails below this; seeds are fixed, so it fails always or never."""


class Paced(Sampler):
    """The slot decoder with answer lengths given beforehand, per job and sample, in place of stop tokens."""

    lengths: Sequence[Sequence[int]]

    def _ended(self, rows: Tensor, token: Tensor, count: Tensor) -> Tensor:
        limits = [0 if o is None else self.lengths[o.job][o.sample] for o in self.owner]
        return count >= torch.tensor(limits, device=count.device)[rows]


def sampler(settings: Settings) -> dict[str, Result]:
    """Case K8."""
    loaded = small_images(small_idefics())
    loaded.model.to(settings.device)
    with torch.inference_mode():
        side = Sides(loaded, settings)
        result = measure(side.case(), settings)
        return {"K8": replace(result, details=side.details())}


def growth(settings: Settings) -> tuple[Growth, ...]:
    """Our sampling against the number of samples of each problem, and of problems."""
    return grown(
        "r3v.bench.sampler:cost",
        ("samples of each problem", "k", (1, 2, 4, 8, 16), ""),
        ("problems", "problems", (4, 8, 16, 32), ""),
    )


def cost(problems: int = PROBLEMS, k: int = K) -> dict[str, float]:
    """Seconds of our sampling on the CPU; for a fresh process."""
    settings = Settings()
    with torch.inference_mode():
        side = Sides(small_images(small_idefics()), settings, problems=problems, k=k)
        return {"seconds": timed(side.ours, settings, times=3)}


def small_images(loaded: Loaded) -> Loaded:
    """The model with a processor that makes 64 tokens of an image, so that prompts can be short too."""
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    edge = {"longest_edge": 128}
    images = Idefics3ImageProcessorPil(size=edge, max_image_size=edge, do_image_splitting=False)
    old: Any = loaded.processor
    processor = Idefics3Processor(images, old.tokenizer, image_seq_len=64, chat_template=old.chat_template)
    model: Any = loaded.model
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    return replace(loaded, processor=processor, encoder=encoder)


class Sides:
    """Ours and the peer on the same prompts and lengths."""

    def __init__(
        self, loaded: Loaded, settings: Settings, *, problems: int = PROBLEMS, slots: int = SLOTS, k: int = K
    ) -> None:
        self.loaded, self.settings, self.slots, self.k = loaded, settings, slots, k
        self.model, self.encoder = loaded.model, loaded.encoder
        self.prompts = prompts_of(self.encoder, problems)
        self.lengths = [uneven_lengths(settings.seed * 1000 + i, k) for i in range(problems)]
        self.reason = why_not_shared(self.model)
        self.peer = Transformers(self.model, self.encoder)

    def case(self) -> Case:
        some = range(0, len(self.prompts), 3)
        prompts, lengths = [self.prompts[i] for i in some], [self.lengths[i] for i in some]
        self.peer.choose_rows(ROWS, lambda: self.peer.sample(prompts, self.k, MOST, lengths=lengths))
        return Case(
            ours=self.ours,
            peer=self.theirs,
            check=self.check,
            peer_name=f"transformers generate, {self.peer.rows} rows at once",
            limit=lambda _, peer_s: peer_s / self.least_seconds(),
            goal=2.5,
            goal_of_limit=0.8,
        )

    def jobs(self) -> list[Job]:
        seed = self.settings.seed
        return [Job(e, tuple(noise_key(seed, str(i), k) for k in range(self.k))) for i, e in enumerate(self.prompts)]

    def paced(self, lengths: Sequence[Sequence[int]], slots: int) -> Paced:
        params = SamplingParams(temperature=0.9, max_new_tokens=MOST)
        options = {"slots": slots, "shared": self.reason is None}
        made = Paced(self.model, self.encoder, params, **options)
        made.lengths = lengths
        return made

    def ours(self) -> float:
        done = list(self.paced(self.lengths, self.slots).run(self.jobs()))
        _right_lengths({(d.job, d.sample): len(d.ids) for d in done}, self.lengths)
        return float(len(done))

    def theirs(self) -> float:
        torch.manual_seed(self.settings.seed)
        found = self.peer.sample(self.prompts, self.k, MOST, lengths=self.lengths)
        _right_lengths({(i, k): len(ids) for i, row in enumerate(found) for k, ids in enumerate(row)}, self.lengths)
        return float(sum(map(len, found)))

    def least_seconds(self) -> float:
        """Seconds per sample of the parts alone; see the module docstring."""
        ordered = sorted(self.prompts, key=lambda e: len(e.ids))
        half = len(ordered) // 2
        fill = sum(
            timed(lambda part=part: prefill(self.model, self.encoder, part), self.settings, times=3)
            for part in (ordered[:half], ordered[half:])
        )
        tokens = sum(map(sum, self.lengths))
        samples = len(self.prompts) * self.k
        # Every answer's first token comes from the prefill.
        return (fill + (tokens - samples) / self.slots * self.step_seconds()) / samples

    def step_seconds(self) -> float:
        """One step with every slot busy, half-way through answers of mean length, on prompts from all over."""
        mean = sum(map(sum, self.lengths)) // (len(self.prompts) * self.k)
        spread = self.jobs()[:: max(1, len(self.prompts) * self.k // self.slots)][: -(-self.slots // self.k)]
        made = self.paced([[MOST] * self.k] * len(spread), self.slots)
        steps = made.steps(spread)
        for _ in range(mean // 2):
            next(steps)
        return timed(lambda: next(steps), self.settings, times=9)

    def check(self) -> str:
        """Greedy text equal, and sampled tokens of one distribution."""
        some = self.prompts[:: max(1, len(self.prompts) // 3)][:3]
        how = {"shared": self.reason is None}
        compare_greedy(self.model, self.encoder, some, **how)
        p = compare_samples(self.model, self.encoder, some[0], self.settings.seed, **how)
        return f"greedy text equal on {len(some)} prompts, sampled tokens alike (least chi-square p {p:.2g})"

    def details(self) -> dict[str, float | str]:
        many = Sides(self.loaded, self.settings, problems=MANY, slots=self.slots)
        seconds = timed(many.ours, self.settings, times=3) / (MANY * self.k)
        return {
            f"of_limit_{MANY}_problems": many.least_seconds() / seconds,
            "parameters": float(sum(p.numel() for p in self.model.parameters())),
            "problems": float(len(self.prompts)),
            "slots": float(self.slots),
            "prompt_tokens_least": float(min(len(e.ids) for e in self.prompts)),
            "prompt_tokens_most": float(max(len(e.ids) for e in self.prompts)),
            "answer_tokens_mean": sum(map(sum, self.lengths)) / (len(self.prompts) * self.k),
            "prompts_shared": "yes" if self.reason is None else f"no: {self.reason}",
        }


def prompts_of(encoder: Encoder, n: int, low: int = 128, high: int = 800) -> list[Encoded]:
    """n prompts with an image, their lengths spread evenly from about `low` to `high` tokens, in mixed order."""
    found = []
    for i in range(n):
        wanted = low + (high - low) * ((i * 5) % n) // max(1, n - 1)
        short = bench_problem(i, encoder, question_tokens=LEAST_QUESTION, side=128)
        missing = wanted - len(encoder.prompt(solve(short, STYLE)).ids)
        problem = bench_problem(i, encoder, question_tokens=LEAST_QUESTION + max(0, missing), side=128)
        found.append(encoder.prompt(solve(problem, STYLE)))
    return found


def compare_greedy(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[Encoded],
    *,
    shared: bool,
    most: int = 24,
) -> None:
    """Raise BenchError unless ours and `generate` continue each prompt with the same likeliest tokens."""
    params = SamplingParams(temperature=0.0, max_new_tokens=most)
    made = Sampler(model, encoder, params, slots=2, shared=shared)
    ours = {d.job: list(d.ids) for d in made.run([Job(e, (0,)) for e in prompts])}
    theirs = Transformers(model, encoder, rows=1).sample(prompts, 1, most, temperature=0.0)
    for i, (expected,) in enumerate(theirs):
        if ours[i] != expected:
            raise BenchError(f"prompt {i}: greedy ids {ours[i][:8]}... are not generate's {expected[:8]}...")


def compare_samples(
    model: Any,
    encoder: Encoder,
    prompt: Encoded,
    seed: int,
    *,
    shared: bool,
    n: int = 192,
    most: int = 3,
) -> float:
    """The least p over positions of the chi-square test between our samples and `generate`'s.

    Raises BenchError below P_LEAST.
    """
    params = SamplingParams(temperature=0.9, max_new_tokens=most)
    keys = tuple(noise_key(seed, "distribution", i) for i in range(n))
    made = Sampler(model, encoder, params, slots=64, shared=shared)
    ours = [d.ids for d in made.run([Job(prompt, keys)])]
    torch.manual_seed(seed)
    (theirs,) = Transformers(model, encoder, rows=n).sample([prompt], n, most)
    least = 1.0
    for at in range(most):
        left, right = ([ids[at] for ids in some if len(ids) > at] for some in (ours, theirs))
        least = min(least, same_distribution(left, right))
    if least < P_LEAST:
        raise BenchError(f"sampled tokens differ in distribution from generate's: chi-square p {least:.1e}")
    return least


def _right_lengths(found: dict[tuple[int, int], int], lengths: Sequence[Sequence[int]]) -> None:
    wanted = {(i, k): n for i, row in enumerate(lengths) for k, n in enumerate(row)}
    if found != wanted:
        raise BenchError(f"{sum(found.get(at) != n for at, n in wanted.items())} samples are not as long as asked for")
