"""Every setting of `r3v reinforce`, as one tree of frozen dataclasses. Nothing here costs an import.

`data`, `model` and `select` are the groups of the other commands; the rest is this loop's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from r3v.errors import ConfigError
from r3v.reflection.settings import check_select
from r3v.run.fixed import ALWAYS, Table
from r3v.run.logs import check_logs
from r3v.settings.checks import check_numbers
from r3v.settings.config import DataConfig, ModelConfig, SelectConfig, TrainConfig, check_pixels
from r3v.settings.tree import flatten

LossName = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo"]


@dataclass(frozen=True)
class ReinforceRun:
    """Where a run lives and how long it goes on."""

    dir: str = "checkpoints/runs/reinforce"
    """Run folder; an existing one is resumed."""
    seed: int = 0
    """Seed of everything that is drawn; another one is another run."""
    iterations: int = 40
    """Iterations after the base evaluation: sample groups, grade, update. May be raised later."""
    eval_every: int = 10
    """Iterations between two evaluations. Each such block is a round of the run, with an adapter and a report."""
    gate_alpha: float = 0.05
    """Largest chance that a round whose model is no worse is refused (exact sign test on the gate problems, paired with
    the best accepted round)."""
    keep_rounds: int | None = None
    """Once so many newer rounds are closed, older ones give up what neither resuming nor reports nor the accepted model
    need (such as their adapters); None keeps everything."""
    log: tuple[str, ...] = ()
    """Where curves go beside the run's own report: csv, tensorboard, wandb, mlflow (extra `log`)."""
    checkpoint_every: int = 1
    """Iterations between two checkpoints; a killed run loses at most so many."""


@dataclass(frozen=True)
class GroupConfig:
    """Groups of samples. They are drawn at temperature 1 from the whole vocabulary, because the ratios of the loss
    compare probabilities of that distribution; there is no temperature to set."""

    problems: int = 16
    """Groups per iteration that have something to teach."""
    n: int = 8
    """Samples per group."""
    dynamic: bool = True
    """Groups whose rewards are all equal are replaced by other problems' (DAPO's dynamic sampling); off: they stay,
    with advantage 0."""
    max_draws: float = 3.0
    """Bound on the replacing: at most this many times `problems` problems are asked in an iteration."""
    max_new_tokens: int = 384
    """Longest answer in tokens."""
    slots: int = 32
    """Sequences decoded at once."""
    overlong: Literal["none", "mask", "soft", "soft_mask"] = "mask"
    """Answers cut off at `max_new_tokens`: trained like others; left out of the loss (their rewards stay in the group's
    mean); a penalty that grows over the last `overlong_buffer` tokens; or both (DAPO, arXiv 2503.14476, sec. 3.4)."""
    overlong_buffer: int = 64
    """soft: tokens before the limit over which the penalty grows to its full size."""
    overlong_penalty: float = 1.0
    """soft: taken off the reward of an answer as long as the limit."""


@dataclass(frozen=True)
class RewardConfig:
    """What a verdict is worth. UNAVAILABLE is worth nothing at all, not zero: such samples are skipped."""

    correct: float = 1.0
    """Reward of a right answer."""
    wrong: float = 0.0
    """Reward of a wrong one."""
    unparsed: float = 0.0
    """Reward of a reply in which no answer is found."""
    format: float = 0.1
    """Added when the reply ends the way the prompt style asks: one answer line, the last one."""
    scale: Literal["auto", "group", "batch", "none"] = "auto"
    """Advantages are divided by the standard deviation of the group, of the whole batch, or not. auto: not for dr_grpo,
    the group's for the others."""


@dataclass(frozen=True)
class UpdateConfig:
    """One iteration's optimiser steps, and the loss."""

    loss: LossName = "dapo"
    """Which objective, each with its clipping and averaging: grpo, dr_grpo, dapo, gspo or cispo."""
    clip_low: float | None = None
    """Clip of the ratio below 1; None is the loss's own (0.2; gspo 3e-4; cispo has none)."""
    clip_high: float | None = None
    """Clip above 1; None is the loss's own (0.2; dapo 0.28; gspo 4e-4; cispo has none). Higher than `clip_low` is
    clip-higher."""
    ratio_cap: float | None = None
    """Bound on the ratio of tokens with negative advantage (grpo, dr_grpo, dapo)."""
    weight_max: float | None = None
    """cispo: bound on its weight; None is 5."""
    beta: float = 0.0
    """Weight of KL(policy || base model with the adapter off)."""
    lr: float = 1e-4
    """Largest learning rate (AdamW)."""
    warmup: float = 0.05
    """Share of the iterations over which the learning rate rises."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """Learning rate by iteration."""
    epochs: int = 1
    """Passes over the groups of an iteration."""
    problems_per_step: int = 8
    """Groups (tries) per optimiser step."""
    problems_per_batch: int = 8
    """Groups (tries) per forward pass."""
    max_batch_tokens: int | None = None
    """Most padded tokens in one forward pass, as `max_batch_tokens` of `r3v train`."""
    max_tokens: int = 2048
    """Longest branch in tokens, image included; longer ones are dropped and counted, never cut."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's two decay rates of the moments."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; longer ones are cut to it."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the updates; the sampler uses the same weights."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    fuse: bool = True
    """One row per group, shared tokens computed once; a failed parity self-test switches this off with a warning."""


@dataclass(frozen=True)
class DriftConfig:
    """The sampler's log-probabilities against the trainer's, under the same weights."""

    old: Literal["auto", "sampler", "trainer"] = "auto"
    """Denominator of the ratio: the sampler's log-probabilities; the trainer's, computed again (one more forward pass)
    and corrected by truncated importance weights; auto: the sampler's while the drift is within `tolerance`."""
    tolerance: float = 1e-3
    """auto: largest mean absolute difference, in nats per token."""
    probe: int = 2
    """Groups per iteration on which the drift is measured before the first update."""
    importance_cap: float = 2.0
    """Truncation of the importance weights p_trainer / p_sampler."""


@dataclass(frozen=True)
class ReinforceConfig:
    """Everything a reinforcement run needs to be repeated."""

    run: ReinforceRun = field(default_factory=ReinforceRun)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    train: UpdateConfig = field(default_factory=UpdateConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    select: SelectConfig = field(default_factory=lambda: SelectConfig(selectors=("greedy",)))


FIXED = Table(
    first={
        "run": "evaluate", "run.dir": ALWAYS, "run.iterations": ALWAYS, "run.checkpoint_every": ALWAYS,
        "run.keep_rounds": ALWAYS, "run.log": ALWAYS, "run.eval_every": "practise", "run.gate_alpha": "accept",
        "data": "evaluate", "data.n_train": "practise",
        "model": "evaluate", "model.force": ALWAYS,
        "group": "practise", "group.slots": ALWAYS, "reward": "practise", "train": "practise", "drift": "practise",
        "train.max_batch_tokens": ALWAYS,
        "select": "evaluate",
    },
    begun={
        "evaluate": ("round_00/.*.parts/*", "round_00/*.parquet", "round_00/stages.json"),
        "practise": ("state/last.pt",),
        "accept": ("round_01/DONE",),
    },
    length="run.iterations",
)  # fmt: skip
"""Which stage of `r3v reinforce` reads a setting first; from then on it is fixed for the run."""

PRACTISED = replace(FIXED, first={**FIXED.first, "run.iterations": "practise", "model.adapter": ALWAYS})
"""The same for the iterations alone, whose adapter is where another loop stands: a path that may be moved with it."""


def block_end(start: int, run: ReinforceRun) -> int:
    """Where the block of iterations that begins after number `start` ends: at the next multiple of `eval_every`, or at
    the last iteration."""
    return min((start // run.eval_every + 1) * run.eval_every, run.iterations)


def train_config(config: ReinforceConfig) -> TrainConfig:
    """What `R3VModule` takes. The schedule is this loop's own, by iteration, so the fits have a constant rate."""
    u = config.train
    return TrainConfig(
        loss=u.loss,
        lr=u.lr,
        warmup=0.0,
        schedule="constant",
        epochs=float(u.epochs),
        problems_per_step=u.problems_per_step,
        problems_per_batch=min(u.problems_per_batch, u.problems_per_step),
        max_batch_tokens=u.max_batch_tokens,
        max_tokens=u.max_tokens,
        weight_decay=u.weight_decay,
        betas=u.betas,
        grad_clip=u.grad_clip,
        precision=u.precision,
        gradient_checkpointing=u.gradient_checkpointing,
        fuse=u.fuse,
    )


def loss_options(config: ReinforceConfig) -> dict[str, Any]:
    """The options of `make_loss(config.train.loss)` that are set. Raises ConfigError for one the loss has not."""
    u = config.train
    options: dict[str, Any] = {
        name: getattr(u, name)
        for name in ("clip_low", "clip_high", "ratio_cap", "weight_max")
        if getattr(u, name) is not None
    }
    known = {"clip_low", "clip_high"} if u.loss == "gspo" else {"clip_low", "clip_high", "ratio_cap"}
    known = {"weight_max"} if u.loss == "cispo" else known
    for name in options:
        if name not in known:
            raise ConfigError(f"found train.{name}, which {u.loss} does not have; it has {', '.join(sorted(known))}")
    if u.beta:
        options["beta"] = u.beta
    if u.loss == "dr_grpo":
        options["max_tokens"] = config.group.max_new_tokens
    return options


def advantage_scale(config: ReinforceConfig) -> Literal["group", "batch", "none"]:
    """`reward.scale` with `auto` resolved: Dr. GRPO (arXiv 2503.20783) does not divide."""
    if config.reward.scale != "auto":
        return config.reward.scale
    return "none" if config.train.loss == "dr_grpo" else "group"


def check(config: ReinforceConfig) -> None:
    """Raise ConfigError for sizes below 1 and for settings that contradict each other."""
    at_least_one = {
        "run.iterations": config.run.iterations,
        "run.eval_every": config.run.eval_every,
        "run.checkpoint_every": config.run.checkpoint_every,
        "group.problems": config.group.problems,
        "group.max_draws": config.group.max_draws,
        "group.max_new_tokens": config.group.max_new_tokens,
        "group.slots": config.group.slots,
        "train.epochs": config.train.epochs,
        "train.problems_per_step": config.train.problems_per_step,
        "train.problems_per_batch": config.train.problems_per_batch,
        "drift.probe": config.drift.probe,
    }
    if config.train.max_batch_tokens is not None:
        at_least_one["train.max_batch_tokens"] = config.train.max_batch_tokens
    if config.run.keep_rounds is not None:
        at_least_one["run.keep_rounds"] = config.run.keep_rounds
    for name, value in at_least_one.items():
        if value < 1:
            raise ConfigError(f"found {name} {value}, expected at least 1")
    if config.group.n < 2:
        raise ConfigError(f"found group.n {config.group.n}, expected at least 2: an advantage compares the samples")
    if config.model.lora_dropout:
        raise ConfigError(
            f"found model.lora_dropout {config.model.lora_dropout}, expected 0: with dropout the trainer's "
            "probabilities are not the sampler's, and every ratio is noise"
        )
    if "soft" in config.group.overlong and not 1 <= config.group.overlong_buffer <= config.group.max_new_tokens:
        raise ConfigError(
            f"found group.overlong_buffer {config.group.overlong_buffer}, expected 1 to group.max_new_tokens "
            f"{config.group.max_new_tokens}"
        )
    if config.drift.importance_cap < 1:
        raise ConfigError(f"found drift.importance_cap {config.drift.importance_cap}, expected at least 1")
    if "greedy" not in config.select.selectors:
        raise ConfigError("found select.selectors without greedy, which is the number runs are compared by; add it")
    if not 0 <= config.run.gate_alpha <= 1:
        raise ConfigError(f"found run.gate_alpha {config.run.gate_alpha}, expected a share from 0 to 1")
    loss_options(config)
    check_numbers(flatten(config))
    check_logs(config.run.log)
    check_pixels(config.model)
    check_select(config.select)
