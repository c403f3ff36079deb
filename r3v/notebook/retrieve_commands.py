"""`r3v notebook calibrate` and `r3v notebook reembed`, and the `--notebook` flags of commands that solve."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from r3v.errors import ConfigError


def register(commands: Any) -> None:
    """Add both commands to the subparsers of `r3v notebook`. Imports nothing heavy."""
    p = _add(commands, "calibrate", "set the threshold of retrieval from your own items", _calibrate)
    p.add_argument("--data", required=True, help="data spec of the items, such as geoworld:gate")
    p.add_argument("--limit", type=int, help="use the first items only")
    p.add_argument(
        "--fpr", type=float, default=0.05, help="problems that may be given an unfitting note (default 0.05)"
    )
    p.add_argument("--pool", type=int, help="keys a problem meets (default: as many as the notebook holds, at least 1)")
    p.add_argument("--by", default="auto", help="what makes items related: auto, family, skill or none")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", action="store_true", help="print JSON instead of text")
    p = _add(commands, "reembed", "make the vectors of all notes and their sources for an embedder", _reembed)
    p.add_argument("--data", action="append", default=[], help="data spec with source problems the notebook lacks")


def retrieval_flags(p: argparse.ArgumentParser) -> None:
    """`--notebook FILE` and how its notes are found, for commands that solve."""
    p.add_argument("--notebook", help="solve with the notes of this notebook")
    p.add_argument("--notebook-ref", default="head", help="branch, tag or commit (default head)")
    p.add_argument("--threshold", type=float, help="least score of a note (default: the calibrated one)")
    p.add_argument("--top-k", type=int, help="most notes per problem (default 1)")
    p.add_argument("--keys", choices=("source", "note", "both"), help="what of a note is compared (default source)")
    p.add_argument("--note-limit", type=int, help="longest note in a prompt, in characters (default 600)")
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
    from r3v.notebook.scoring import RetrievalConfig, with_preset

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
    from r3v.commands import note
    from r3v.notebook.inject import open_recall
    from r3v.prompts import style

    words = style(config.model.prompt_style)
    with open_recall(
        args.notebook, policy, words, retrieval_config(args), ref=args.notebook_ref, record=not args.no_events,
        seed=config.run.seed, say=note,
        unqualified="allow" if args.unqualified else "warn" if measures else "refuse",
    ) as recall:  # fmt: skip
        yield recall


def _add(commands: Any, name: str, text: str, handler: Any) -> argparse.ArgumentParser:
    p = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=handler, takes_fields=True)
    p.add_argument("file", help="the notebook")
    p.add_argument("--ref", default="head", help="branch, tag or commit (default head)")
    p.add_argument("--model", help="the solver, for embedder self: folder, hub name or geoworld-tiny (default)")
    p.add_argument("--adapter", help="its LoRA folder")
    p.add_argument("--run", help="a run folder: its settings, and the adapter of its accepted round")
    p.add_argument("--recipe", help="take settings from this recipe")
    embedder_flags(p)
    return p


def _embedder(args: argparse.Namespace, cfg: Any, config: Any) -> Any:
    """The embedder; the solver is loaded only for `self`."""
    from r3v.notebook.embed import make_embedder

    if cfg.embedder.partition(":")[0] != "self":
        return make_embedder(cfg.embedder)
    from r3v.stages import make_policy

    return make_embedder(cfg.embedder, make_policy(config.model, config))


def _load(specs: Sequence[str], config: Any, limit: int | None = None) -> list[Any]:
    from r3v.data import load

    found: list[Any] = []
    for spec in specs:
        problems = load(spec, limit=limit, skip_bad=config.data.skip_bad, open=config.data.open)
        found += [problems[i] for i in range(len(problems))]
    return found


def _calibrate(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.commands import model_config
    from r3v.io import write_json
    from r3v.notebook.calibrate import calibrate, describe
    from r3v.notebook.keys import sources_of
    from r3v.notebook.scoring import calibration_file, choose_fusion, read_calibrations
    from r3v.notebook.store import Notebook

    config, cfg = model_config(args, rest), retrieval_config(args)
    with Notebook.open(args.file) as notebook:
        notes = notebook.notes(args.ref)
    path = calibration_file(args.file)
    kept = read_calibrations(path)
    embedder = _embedder(args, cfg, config)
    found = calibrate(
        _load([args.data], config, args.limit), embedder, fusion=choose_fusion(embedder, cfg.fusion),
        image_weight=cfg.image_weight, rate=args.fpr, pool=args.pool or max(1, len(sources_of(notes))), by=args.by,
        notes=list(notes.values()), seed=args.seed, data=args.data,
    )  # fmt: skip
    same = (found.identities, found.fusion, found.image_weight)
    kept = [old for old in kept if (old.identities, old.fusion, old.image_weight) != same]
    write_json(path, [one.to_dict() for one in (*kept, found)])
    print(json.dumps(found.to_dict(), indent=2) if args.json else f"{describe(found)}\nwrote {path}")
    return 0


def _reembed(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.commands import model_config, note
    from r3v.notebook.identity import source_hash
    from r3v.notebook.keys import reembed
    from r3v.notebook.scoring import choose_fusion
    from r3v.notebook.store import Notebook

    config, cfg = model_config(args, rest), retrieval_config(args)
    known = {source_hash(problem): problem for problem in _load(args.data, config)}
    embedder = _embedder(args, cfg, config)
    fusion = choose_fusion(embedder, cfg.fusion)
    with Notebook.open(args.file) as notebook:
        notes = notebook.notes(args.ref)
        made = reembed(notebook, notes, embedder, fusion, known=known, say=note)
    print(f"{args.file}: embedded {made['sources']} source problems and {made['notes']} notes")
    return 0
