"""Values that no run could use are errors before the first model is loaded, not hours later."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from r3v.config import Config, check_pixels
from r3v.errors import ConfigError

AT_LEAST = {
    "run.rounds": 0,
    "data.n_train": 1, "data.n_gate": 1, "data.n_eval": 1,
    "model.lora_r": 1,
    "sample.k": 1, "sample.temperature": 0, "sample.top_k": 0, "sample.max_new_tokens": 1, "sample.slots": 1,
    "sample.shard_size": 1,
    "build.qa": 0, "build.weight_answer": 0, "build.weight_refine": 0, "build.weight_keep": 0, "build.weight_select": 0,
    "train.max_steps": 1, "train.problems_per_step": 1, "train.problems_per_batch": 1, "train.max_tokens": 1,
    "train.weight_decay": 0, "train.grad_clip": 0, "train.devices": 1,
    "select.n": 1, "select.temperature": 0, "select.top_k": 0, "select.permutations": 1, "select.max_new_tokens": 1,
    "select.group": 2, "select.refine_rounds": 1,
    "chooser.n": 0, "chooser.k": 2, "chooser.sets": 1,
}  # fmt: skip
ABOVE_ZERO = ("model.lora_alpha", "train.lr", "train.epochs", "train.dpo_beta", "train.simpo_beta")
ABOVE_ZERO += ("sample.top_p", "select.top_p", "chooser.epochs", "chooser.lr", "chooser.beta")
SHARES = ("model.lora_dropout", "sample.top_p", "select.top_p", "train.warmup", "select.fused_weight", "select.sure")
_SELECT_EXAMPLES = (
    "build.select_min", "build.select_max", "build.select_none", "build.select_target", "build.select_mix",
    "build.select_pairs", "build.weight_select",
)  # fmt: skip
_CHOOSER = ("chooser.k", "chooser.sets", "chooser.lr", "chooser.epochs", "chooser.beta")


def check_config(config: Config) -> None:
    """Raise ConfigError for a number out of its range, an unknown selector or filter, and contradictions in `build`."""
    from r3v.evaluation import check_selectors
    from r3v.reflection.build import check_build
    from r3v.settings import flatten

    check_numbers(flatten(config))
    check_selectors(config.select.selectors)
    check_build(config.build)
    check_pairs(config)
    check_pixels(config.model)


def check_pairs(config: Config) -> None:
    """Raise ConfigError where pairs are built that the loss leaves out, or there is nothing to choose from."""
    if config.build.select_pairs and config.train.loss not in ("dpo", "simpo"):
        raise ConfigError(
            f"found build.select_pairs with train.loss {config.train.loss}, which learns nothing from pairs; set "
            "train.loss to simpo or dpo"
        )
    if config.chooser.n and config.select.n < 2:
        raise ConfigError(f"found chooser.n {config.chooser.n} with select.n {config.select.n}: expected 2 or more")


def check_unused(config: Config, given: Collection[str]) -> None:
    """Raise ConfigError for a field in `given` (dotted names) that a training run would take and ignore."""
    c, selectors = config, config.select.selectors
    for names, used, need in (
        (_SELECT_EXAMPLES, c.build.select > 0, "build.select above 0"),
        (("build.weight_refine",), c.build.refine > 0, "build.refine above 0"),
        (("build.weight_keep",), c.build.keep > 0, "build.keep above 0"),
        (_CHOOSER, c.chooser.n > 0, "chooser.n above 0"),
        (("train.dpo_beta",), c.train.loss == "dpo", "train.loss dpo"),
        (("train.simpo_beta",), c.train.loss == "simpo", "train.loss simpo"),
        (("select.refine_rounds",), "refine" in selectors, "refine among select.selectors"),
        (("select.group",), "tournament" in selectors, "tournament among select.selectors"),
    ):
        unused = [name for name in names if name in given]
        if unused and not used:
            raise ConfigError(f"found {unused[0]}, which has no effect without {need}; set that too, or leave it out")


def check_select_target(config: Config) -> None:
    """Raise ConfigError where selection would ask in another way than training teaches."""
    taught, asked = config.build.select_target, config.select.target
    if config.build.select and taught != asked and not config.select.adapter:
        raise ConfigError(
            f"found build.select_target {taught} and select.target {asked}: the model would be asked in another way "
            "than it learns; set both to the same, or build.select to 0"
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
