"""Values that no run could use are errors before the first model is loaded, not hours later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r3v.errors import ConfigError

AT_LEAST = {
    "run.rounds": 0, "run.keep_rounds": 1,
    "data.n_train": 1, "data.n_gate": 1, "data.n_eval": 1,
    "model.lora_r": 1,
    "sample.k": 1, "sample.temperature": 0, "sample.top_k": 0, "sample.max_new_tokens": 1, "sample.slots": 1,
    "sample.shard_size": 1,
    "build.qa": 0, "build.weight_answer": 0, "build.weight_refine": 0, "build.weight_keep": 0, "build.weight_select": 0,
    "train.max_steps": 1, "train.problems_per_step": 1, "train.problems_per_batch": 1,
    "train.max_batch_tokens": 1, "train.max_tokens": 1,
    "train.weight_decay": 0, "train.grad_clip": 0, "train.devices": 1,
    "select.n": 1, "select.temperature": 0, "select.top_k": 0, "select.permutations": 1, "select.max_new_tokens": 1,
    "select.group": 2, "select.refine_rounds": 1,
    "chooser.n": 0, "chooser.k": 2, "chooser.sets": 1,
}  # fmt: skip
ABOVE_ZERO = ("model.lora_alpha", "train.lr", "train.epochs", "train.dpo_beta", "train.simpo_beta")
ABOVE_ZERO += ("sample.top_p", "select.top_p", "chooser.epochs", "chooser.lr", "chooser.beta")
SHARES = ("model.lora_dropout", "sample.top_p", "select.top_p", "train.warmup", "select.fused_weight", "select.sure")
SHARES += ("run.gate_alpha",)


def check_drawn(n: int, temperature: float, fields: tuple[str, str]) -> None:
    """Raise ConfigError where several answers are drawn greedily, which are one answer several times. `fields`: the
    names of the number and of the temperature."""
    if n > 1 and temperature == 0:
        raise ConfigError(
            f"found {fields[0]} {n} with {fields[1]} 0, by which all of them are the same answer; set {fields[1]} "
            f"above 0, or {fields[0]} 1"
        )


def check_numbers(values: Mapping[str, Any]) -> None:
    """`values` are those of the tree by dotted name; None is no number and has no range."""
    for name, value in values.items():
        if isinstance(value, int | float):
            least = AT_LEAST.get(name)
            if least is not None and not value >= least:
                raise ConfigError(f"found {name} {value}, expected at least {least}")
            if name in ABOVE_ZERO and not value > 0:
                raise ConfigError(f"found {name} {value}, expected more than 0")
            if name in SHARES and not 0 <= value <= 1:
                raise ConfigError(f"found {name} {value}, expected a share from 0 to 1")
