"""`--notebook` and its flags: the notes that a command shows to the solver."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from r3v.app.parser import positive
from r3v.errors import ConfigError


def retrieval_flags(p: argparse.ArgumentParser) -> None:
    """`--notebook FILE` and how its notes are found, for commands that solve."""
    p.add_argument("--notebook", help="solve with the notes of this notebook")
    p.add_argument("--notebook-ref", default="head", help="branch, tag or commit (default head)")
    p.add_argument("--threshold", type=float, help="least score of a note (default: the calibrated one)")
    p.add_argument("--top-k", type=positive, help="most notes per problem (default 1)")
    p.add_argument("--keys", choices=("source", "note", "both"), help="what of a note is compared (default source)")
    p.add_argument("--note-limit", type=positive, help="longest note in a prompt, in characters (default 600)")
    p.add_argument("--note-images", choices=("auto", "always", "never"), help="show notes with their picture")
    p.add_argument("--note-index", choices=("exact", "faiss"), help="search (default exact; faiss above 100,000 notes)")
    p.add_argument("--retrieval", help="preset of retrieval: m2note-paper (top 1, threshold 0.4)")
    p.add_argument("--unqualified", action="store_true", help="also notes that passed the gate for another model only")
    p.add_argument("--no-events", action="store_true", help="do not log retrievals in the notebook")
    embedder_flags(p)


def embedder_flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("--embedder", help="self (default), lexical, plain, st:NAME or clip:NAME")
    p.add_argument("--fusion", choices=("text", "mixed", "late"), help="what is compared (default mixed, or text)")
    p.add_argument("--image-weight", type=float, help="weight of the image in --fusion late (default 0.5)")


def retrieval_config(args: argparse.Namespace) -> Any:
    """The RetrievalConfig of these flags. Raises ConfigError."""
    from r3v.notebook.retrieval.scoring import RetrievalConfig, with_preset

    cfg = RetrievalConfig()
    if getattr(args, "retrieval", None):
        cfg = with_preset(cfg, args.retrieval)
    names = ("embedder", "fusion", "image_weight", "threshold", "top_k", "keys")
    given: dict[str, Any] = {name: getattr(args, name, None) for name in names}
    given |= {own: getattr(args, f"note_{own}", None) for own in ("limit", "images", "index")}
    return replace(cfg, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def recall_of(args: argparse.Namespace, policy: Any, config: Any, *, measures: bool = False) -> Iterator[Any]:
    """The Recall of `--notebook`, or None without it; a command that `measures` is only warned of notes that are not
    qualified for the solver. Raises ConfigError for its flags given alone."""
    if args.notebook is None:
        flags = ("threshold", "top_k", "keys", "note_limit", "note_images", "retrieval", "embedder", "fusion")
        flags += ("image_weight", "note_index")
        alone = [f"--{name.replace('_', '-')}" for name in flags if getattr(args, name) is not None]
        if alone:
            raise ConfigError(f"found {', '.join(alone)} without --notebook FILE")
        yield None
        return
    from r3v.app.commands.common import note
    from r3v.notebook.retrieval.inject import open_recall
    from r3v.prompts import style

    words = style(config.model.prompt_style)
    with open_recall(
        args.notebook, policy, words, retrieval_config(args), ref=args.notebook_ref, record=not args.no_events,
        seed=config.run.seed, say=note,
        unqualified="allow" if args.unqualified else "warn" if measures else "refuse",
    ) as recall:  # fmt: skip
        yield recall
