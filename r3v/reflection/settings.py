"""The settings of `r3v train`: recipe and flags, then the preset on what nobody set, then every value looked at.

What no run could use is an error before the first model is loaded, not hours later.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from r3v.errors import ConfigError
from r3v.reflection.build import check_build
from r3v.reflection.presets import apply_preset
from r3v.run.evaluation import check_selectors
from r3v.run.fixed import ALWAYS, POLICY, SERVER_ALWAYS, Table
from r3v.run.logs import check_logs
from r3v.settings.checks import check_drawn, check_numbers
from r3v.settings.cluster import check_engine
from r3v.settings.config import Config, SelectConfig, check_pixels
from r3v.settings.tree import flatten, read_tree
from r3v.training.precision import check_precision

_SELECT_EXAMPLES = (
    "build.select_min", "build.select_max", "build.select_none", "build.select_target", "build.select_mix",
    "build.select_pairs", "build.weight_select",
)  # fmt: skip


_CHOOSER = ("chooser.k", "chooser.sets", "chooser.lr", "chooser.epochs", "chooser.beta")

FIXED = Table(
    first={
        "run": "evaluate", "run.dir": ALWAYS, "run.rounds": ALWAYS, "run.keep_rounds": ALWAYS, "run.log": ALWAYS,
        "run.restart": "fit", "run.gate_alpha": "accept",
        "data": "evaluate", "data.n_train": "sample",
        "model": "evaluate", "model.lora_r": "fit", "model.lora_alpha": "fit", "model.lora_dropout": "fit",
        "model.lora_targets": "fit", "model.force": ALWAYS,
        "sample": "sample", "sample.slots": ALWAYS,
        "build": "build",
        # How a step is spread over devices and cut for their memory has no part in what is learned.
        "train": "fit", "train.strategy": ALWAYS, "train.devices": ALWAYS, "train.problems_per_batch": ALWAYS,
        "train.max_batch_tokens": ALWAYS,
        "train.gradient_checkpointing": ALWAYS,
        "select": "evaluate",
        "chooser": ALWAYS,  # keeps its own settings
        "server": "evaluate", **SERVER_ALWAYS,
        **POLICY,
    },
    begun={
        "evaluate": ("round_00/.*.parts/*", "round_00/*.parquet", "round_00/stages.json"),
        "sample": ("round_*/candidates/*.parquet",),
        "build": ("round_*/examples.parquet", "round_*/hint/*.parquet", "round_*/prefix/*.parquet"),
        "fit": ("round_*/.fit/*", "round_*/adapter/*"),
        "accept": ("round_01/DONE",),
    },
)  # fmt: skip
"""Which stage of `r3v train` reads a setting first; from then on it is fixed for the run."""


@dataclass(frozen=True)
class Settings:
    """A config with its preset applied, and the dotted names of the fields the user set."""

    config: Config
    explicit: frozenset[str]


def read(recipe: str | Path | None = None, flags: Sequence[str] = (), preset: bool = True) -> Settings:
    """The settings of `r3v train`: as `read_tree`, then the preset on what nobody set, then every value looked at.
    Raises ConfigError."""
    config, explicit = read_tree(Config, recipe, flags)
    if preset:
        config = apply_preset(config, explicit)
    check_config(config)
    return Settings(config, explicit)


def check_config(config: Config) -> None:
    """Raise ConfigError for a number out of its range, for a selector, filter, precision or log that does not exist,
    and for contradictions."""
    check_numbers(flatten(config))
    check_build(config.build)
    check_logs(config.run.log)
    check_pairs(config)
    check_pixels(config.model)
    check_engine(config.policy, config.server.url)
    check_precision(config.train.precision, config.model)
    check_drawn(config.sample.k, config.sample.temperature, ("sample.k", "sample.temperature"))
    check_select(config.select)


def check_select(select: SelectConfig) -> None:
    """Raise ConfigError for selectors that do not exist, or that would choose among copies of one answer."""
    check_selectors(select.selectors)
    if set(select.selectors) != {"greedy"}:
        check_drawn(select.n, select.temperature, ("select.n", "select.temperature"))


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
