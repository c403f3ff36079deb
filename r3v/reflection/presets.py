"""Named recipes as values of the config tree: R3V as we run it, as it was published, and its relatives.

A preset fills only the fields the user left alone. Presets fix what is sampled, built, restarted and
weighted; the optimiser's settings stay those of the recipe, because they belong to a model, and comparisons
want them equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from r3v.errors import ConfigError
from r3v.settings.config import Config


@dataclass(frozen=True, slots=True)
class Preset:
    """`values`: dotted config name -> value. `source`: where the method is from, and what differs here."""

    name: str
    source: str
    values: Mapping[str, Any]


_FUSED = {
    "sample.noise": "arithmetic",
    "build.pool": "cumulative",
    "build.order": "diverse",
    "build.positives": 2,
    "build.refine": 1,
    "build.keep": 1,
    "build.select": 2,
    "build.select_mix": "random",
    "build.select_min": 2,
    "build.select_max": 4,
    "build.select_none": 0.15,
    "build.select_target": "index_answer",
    "build.unparsed_negatives": False,
    "build.filters": ("computed_last", "steps_hold"),
    "build.hint": False,
    "build.prefix": False,
    "build.qa": 0.0,
    "build.prefer": 0,
    "build.weight_answer": 1.0,
    "build.weight_refine": 0.5,
    "build.weight_keep": 0.25,
    "build.weight_select": 0.5,
    "run.restart": "base",
    "train.loss": "reflection",
    "train.loss_reduction": "kind",
    "select.noise": "arithmetic",
    "select.sure": 1.0,
    "select.target": "index_answer",
}
_ANSWERS = {
    **_FUSED,
    "build.positives": 4,
    "build.qa": 1.0,
    "build.refine": 0,
    "build.keep": 0,
    "build.select": 0,
    "build.select_target": "solution",
    "select.sure": 0.9,
    "select.target": "solution",
}
_PUBLISHED = {
    "sample.k": 3,
    "sample.temperature": 0.9,
    "sample.top_p": 0.95,
    "sample.top_k": 50,
    "sample.noise": "independent",
    "build.pool": "cumulative",
    "build.order": "newest",
    "build.positives": 1,
    "build.refine": 1,
    "build.keep": 0,
    "build.select": 2,
    "build.select_mix": "published",
    "build.select_min": 3,
    "build.select_max": 3,
    "build.select_none": 0.0,
    "build.select_target": "answer",
    "build.unparsed_negatives": True,
    "build.filters": (),
    "build.hint": False,
    "build.prefix": False,
    "build.qa": 1.0,
    "build.prefer": 0,
    "build.weight_answer": 1.0,
    "build.weight_refine": 1.0,
    "build.weight_keep": 1.0,
    "build.weight_select": 1.0,
    "run.restart": "base",
    "train.loss": "reflection",
    "train.loss_reduction": "tokens",
    "select.n": 3,
    "select.temperature": 0.9,
    "select.top_p": 0.95,
    "select.top_k": 50,
    "select.noise": "independent",
    "select.sure": 1.0,
    "select.target": "answer",
}
_STAR = {**_PUBLISHED, "build.refine": 0, "build.select": 0, "train.loss": "nll"}
_REJECTION = {**_STAR, "build.order": "diverse", "build.qa": 0.0}

PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            "r3v",
            "Ours, as measured best on geoworld-tiny: the rounds teach answers alone, all unlike right ones whose "
            "calculations hold and direct ones; choosing is taught to an adapter of its own (chooser.n), and without "
            "it self_select compares solutions told again.",
            _ANSWERS,
        ),
        Preset(
            "r3v-fused",
            "One adapter that answers, refines, keeps and selects: two diverse positives whose calculations hold, "
            "refine and keep pairs, select sets of different answers with all-wrong ones, index and answer as target, "
            "weights per kind.",
            _FUSED,
        ),
        Preset(
            "r3v-paper",
            "arXiv 2411.00855 as its code does it: newest right and wrong candidate of the cumulative "
            "pool, answer-only "
            "select target, direct-answer pairs mixed in, one token mean over everything, fresh adapter "
            "each round. "
            "There is no GPT-written seed.",
            _PUBLISHED,
        ),
        Preset(
            "star",
            "The baseline of arXiv 2411.00855: r3v-paper without refine and select, which is iterated "
            "rejection "
            "sampling (STaR, arXiv 2203.14465, without rationalisation).",
            _STAR,
        ),
        Preset(
            "star-rationalization",
            "STaR, arXiv 2203.14465: never-solved problems are sampled again with the answer as a hint.",
            {**_STAR, "build.hint": True},
        ),
        Preset(
            "star-dpo",
            "DPO (arXiv 2305.18290) on newest right over newest wrong; goes on from the adapter of a star "
            "run given as "
            "model.adapter.",
            {
                **_STAR,
                "build.positives": 0,
                "build.qa": 0.0,
                "build.prefer": 1,
                "run.restart": "continue",
                "train.loss": "dpo",
            },
        ),
        Preset(
            "rft",
            "Rejection-sampling fine-tuning, arXiv 2308.01825: one round, every different right rationale.",
            {**_REJECTION, "build.positives": 100, "run.rounds": 1},
        ),
        Preset(
            "rest-em",
            "ReST-EM, arXiv 2312.06585: each round trains the base on the newest round's right "
            "rationales, at most 10 a "
            "problem.",
            {**_REJECTION, "build.pool": "newest", "build.order": "newest", "build.positives": 10},
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset called `name`. Raises ConfigError naming the nearest."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"found build.preset {name!r}, expected one of {', '.join(PRESETS)}.{hint}")
    return PRESETS[name]


def apply_preset(config: Config, explicit: Collection[str] = ()) -> Config:
    """`config` with the values of preset `config.build.preset`, except for the dotted names in `explicit`; on a server
    and on vLLM, whose noise is their own, candidates stay independent.

    Raises ConfigError for an unknown preset.
    """
    chosen = preset(config.build.preset)
    served = config.server.url or config.policy.engine == "vllm"
    values = {n: v for n, v in chosen.values.items() if not (served and n.endswith(".noise"))}
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in values.items():
        if dotted not in explicit:
            section, name = dotted.split(".")
            sections.setdefault(section, {})[name] = value
    return replace(
        config,
        **{f.name: replace(getattr(config, f.name), **sections[f.name]) for f in fields(config) if f.name in sections},
    )
