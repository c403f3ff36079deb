"""The flags of `--notebook`, by name, as whoever takes them gives them: a command line, or keywords of a harness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from r3v.errors import ConfigError
from r3v.notebook.retrieval.inject import Recall, open_recall
from r3v.notebook.retrieval.scoring import RetrievalConfig, with_preset
from r3v.prompts import style
from r3v.settings.config import Config

VALUES = (
    "threshold", "top_k", "keys", "note_limit", "note_images", "retrieval", "embedder", "fusion", "image_weight",
    "note_index",
)  # fmt: skip
"""Flags with a value beside `notebook` and `notebook_ref`; none of them has a meaning without a notebook."""
SWITCHES = ("unqualified", "no_events")


def retrieval_config(given: Mapping[str, Any]) -> RetrievalConfig:
    """The RetrievalConfig of these flags, None for one that is not given. Raises ConfigError for an unknown preset."""
    cfg = RetrievalConfig()
    if given.get("retrieval"):
        cfg = with_preset(cfg, given["retrieval"])
    names = ("embedder", "fusion", "image_weight", "threshold", "top_k", "keys")
    values: dict[str, Any] = {name: given.get(name) for name in names}
    values |= {own: given.get(f"note_{own}") for own in ("limit", "images", "index")}
    return replace(cfg, **{name: value for name, value in values.items() if value is not None})


@contextmanager
def recall_with(
    given: Mapping[str, Any], policy: Any, config: Config, say: Callable[[str], None], *, measures: bool = False
) -> Iterator[Recall]:
    """The notes of `given["notebook"]`, open inside the block; who `measures` is only warned of notes that are not
    qualified for the solver. Raises ConfigError, RunError."""
    with open_recall(
        given["notebook"], policy, style(config.model.prompt_style), retrieval_config(given),
        ref=given.get("notebook_ref") or "head", record=not given.get("no_events"), seed=config.run.seed, say=say,
        unqualified="allow" if given.get("unqualified") else "warn" if measures else "refuse",
    ) as recall:  # fmt: skip
        yield recall


def check_alone(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for flags of notes without a notebook."""
    alone = [f"--{name.replace('_', '-')}" for name in VALUES if given.get(name) is not None]
    if alone and not given.get("notebook"):
        raise ConfigError(f"found {', '.join(alone)} without --notebook FILE")
