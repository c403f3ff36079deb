"""`r3v notebook calibrate` and `r3v notebook reembed`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from r3v.app.commands.recall import embedder_flags, retrieval_config
from r3v.app.parser import positive


def register(commands: Any) -> None:
    """Add both commands to the subparsers of `r3v notebook`. Imports nothing heavy."""
    p = _add(commands, "calibrate", "set the threshold of retrieval from your own items", _calibrate)
    p.add_argument("--data", required=True, help="data spec of the items, such as geoworld:gate")
    p.add_argument("--limit", type=positive, help="use the first items only")
    p.add_argument(
        "--fpr", type=float, default=0.05, help="problems that may be given an unfitting note (default 0.05)"
    )
    p.add_argument(
        "--pool", type=positive, help="keys a problem meets (default: as many as the notebook holds, at least 1)"
    )
    p.add_argument("--by", default="auto", help="what makes items related: auto, family, skill or none")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", action="store_true", help="print JSON instead of text")
    p = _add(commands, "reembed", "make the vectors of all notes and their sources for an embedder", _reembed)
    p.add_argument("--data", action="append", default=[], help="data spec with source problems the notebook lacks")


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
    from r3v.embedding.table import make_embedder

    if cfg.embedder.partition(":")[0] != "self":
        return make_embedder(cfg.embedder)
    from r3v.reflection.stages import make_policy

    return make_embedder(cfg.embedder, make_policy(config.model, config))


def _load(specs: Sequence[str], config: Any, limit: int | None = None) -> list[Any]:
    from r3v.data import load

    found: list[Any] = []
    for spec in specs:
        problems = load(spec, limit=limit, skip_bad=config.data.skip_bad, open=config.data.open)
        found += [problems[i] for i in range(len(problems))]
    return found


def _calibrate(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.app.commands.common import model_config
    from r3v.io import write_json
    from r3v.notebook.retrieval.calibrate import calibrate, describe
    from r3v.notebook.retrieval.keys import sources_of
    from r3v.notebook.retrieval.scoring import calibration_file, choose_fusion, read_calibrations
    from r3v.notebook.store.store import Notebook

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
    from r3v.app.commands.common import model_config, note
    from r3v.notebook.retrieval.keys import reembed
    from r3v.notebook.retrieval.scoring import choose_fusion
    from r3v.notebook.store.identity import source_hash
    from r3v.notebook.store.store import Notebook

    config, cfg = model_config(args, rest), retrieval_config(args)
    known = {source_hash(problem): problem for problem in _load(args.data, config)}
    embedder = _embedder(args, cfg, config)
    fusion = choose_fusion(embedder, cfg.fusion)
    with Notebook.open(args.file) as notebook:
        notes = notebook.notes(args.ref)
        made = reembed(notebook, notes, embedder, fusion, known=known, say=note)
    print(f"{args.file}: embedded {made['sources']} source problems and {made['notes']} notes")
    return 0
