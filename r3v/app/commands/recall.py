"""`--notebook` and its flags: the notes that a command shows to the solver."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from r3v.app.parser import positive


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
    from r3v.notebook.retrieval.flags import retrieval_config as of

    return of(vars(args))


@contextmanager
def recall_of(args: argparse.Namespace, policy: Any, config: Any, *, measures: bool = False) -> Iterator[Any]:
    """The Recall of `--notebook`, or None without it; a command that `measures` is only warned of notes that are not
    qualified for the solver. Raises ConfigError for its flags given alone."""
    from r3v.app.commands.common import note
    from r3v.notebook.retrieval.flags import check_alone, recall_with

    if args.notebook is None:
        check_alone(vars(args))
        yield None
        return
    with recall_with(vars(args), policy, config, note, measures=measures) as recall:
        yield recall
