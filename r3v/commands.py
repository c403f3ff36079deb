"""What each command does once its arguments are read; `r3v.cli` is the only caller."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r3v import __version__
from r3v.checks import check_config, check_unused
from r3v.config import Config
from r3v.errors import ConfigError
from r3v.io import atomic_write, write_json
from r3v.notebook.retrieve_commands import recall_of
from r3v.settings import Settings, fill, names_of, read, set_field, to_yaml, write_beside
from r3v.stages import DRY, make_policy, read_json, real_stages, with_adapter


def train(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.loop import train as run_loop

    settings = read(args.recipe, rest)
    check_unused(settings.config, names_of(rest))
    config = dry(settings, rest) if args.dry_run else settings.config
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    stages = real_stages(args.dry_run, say=note)
    value = run_loop(config, stages, recipe=str(args.recipe), say=note)
    if config.chooser.n:
        from r3v.chooser import teach

        value = teach(config, stages, recipe=str(args.recipe), say=note, dry_run=args.dry_run)
    print(run_table(value))
    if "chooser" in value:
        print(f"with the chooser of {value['chooser']['problems']} further problems:")
        print(block_table(value["chooser"]["eval"]))
    if not args.no_report:
        from r3v.report import write_report

        print(f"report: {write_report(config.run.dir)}")
    return 0


def dry(settings: Settings, flags: Sequence[str] = ()) -> Config:
    """The config of a dry run: small, in a folder of its own unless the command line names one."""
    config = settings.config
    config = set_field(config, "chooser.n", min(config.chooser.n, 4))  # thousands as a rule, and a flag as a rule
    return fill(config, {**DRY, "run.dir": f"{config.run.dir}-dry-run"}, flags)


def note(line: str) -> None:
    """Progress goes to stderr, so that stdout holds results only."""
    print(line, file=sys.stderr, flush=True)


def model_config(args: argparse.Namespace, rest: Sequence[str]) -> Config:
    """The config of a command that takes --model, --adapter, --run and --recipe. Raises ConfigError."""
    flags, recipe, run = list(rest), args.recipe, args.run
    if run and recipe:
        raise ConfigError("found --run and --recipe, expected one of them: a run has its settings with it")
    for name, value in (("model.path", args.model), ("model.adapter", args.adapter)):
        if value is not None:
            flags.append(f"--{name}={value}")
    if not run:
        return read(recipe, flags).config
    config = run_settings(Path(run), flags)
    accepted = read_json(Path(run) / "run.json")["accepted_round"]
    if accepted and args.adapter is None:
        config = with_adapter(config, Path(run) / f"round_{accepted:02d}" / "adapter")
    return _with_chooser(config, Path(run), args)


def _with_chooser(config: Config, run: Path, args: argparse.Namespace) -> Config:
    """With the run's chooser where it has one, unless another adapter answers or another one is to choose."""
    from r3v.chooser import choosing
    from r3v.loop import CHOOSER

    report = run / CHOOSER / "report.json"
    if args.adapter or config.select.adapter or not report.exists():
        return config
    of, accepted = read_json(report)["accepted_round"], read_json(run / "run.json")["accepted_round"]
    if of != accepted:
        note(f"{run}: the chooser was taught on round {of} and round {accepted} is accepted, so it is not used")
        return config
    return choosing(config, run / CHOOSER / "adapter")


MEASURED = ("data", "model", "select", "server")
"""The settings that every kind of run shares, and that measuring its model needs."""


def run_settings(run: Path, flags: Sequence[str]) -> Config:
    """The settings of a run folder, with flags on top. Of a run with a config tree of its own (`r3v reinforce`), the
    sections in `MEASURED`. Raises ConfigError."""
    import tempfile

    import yaml

    path = run / "config.yaml"
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        tree = None  # the reader below says what is wrong
    if not isinstance(tree, dict) or "build" in tree:
        return read(path, flags).config
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "config.yaml"
        shared.write_text(yaml.safe_dump({name: tree[name] for name in MEASURED if name in tree}))
        return read(shared, flags).config


def eval(args: argparse.Namespace, rest: list[str]) -> int:
    import tempfile

    from r3v.data import load

    config = model_config(args, rest)
    config = set_field(config, "data.open", args.open or config.data.open)
    if args.n is not None:
        config = set_field(config, "select.n", args.n)
    if args.selectors:
        config = set_field(config, "select.selectors", tuple(args.selectors.split(",")))
    check_config(config)
    if args.out and Path(args.out).suffix == ".parquet":
        raise ConfigError(f"found --out {args.out}, expected a name for JSON: the rows go beside it as .parquet")
    problems = load(
        args.data, limit=args.limit, skip_bad=config.data.skip_bad, open=config.data.open, grader=config.data.grader
    )
    policy = make_policy(config.model, config, say=note)
    with tempfile.TemporaryDirectory() as folder, recall_of(args, policy, config, measures=True) as recall:
        rows = Path(args.out).with_suffix(".parquet") if args.out else Path(folder) / "rows.parquet"
        found = real_stages(say=note, notes=recall).evaluate(policy, problems, config.select.selectors, rows, config)
        told = {"notes": recall.name} if recall else {}
    print(block_table(found["eval"]))
    print(endings(found["unparsed_endings"]), end="")
    if args.out:
        told |= {"data": args.data, "open": config.data.open, "model": policy.name}
        write_json(args.out, {"schema": 1, **told, **found})
        write_beside(config, args.out)
    return 0


def select(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.prompts import style
    from r3v.reflection.selector import Selector

    config = model_config(args, rest)
    problems: Sequence[Any] = (
        load(
            args.data, limit=args.limit, open=config.data.open, skip_bad=config.data.skip_bad, grader=config.data.grader
        )
        if args.data
        else [question_problem(args)]
    )
    policy = make_policy(config.model, config, say=note)
    lines = []
    with recall_of(args, policy, config) as recall:
        selector = Selector(policy, style(config.model.prompt_style), config.select, config.model.letters, recall)
        for start in range(0, len(problems), 32):
            chunk = [problems[i] for i in range(start, min(start + 32, len(problems)))]
            for chosen in selector.select_many(chunk, args.n, [args.method], config.run.seed)[args.method]:
                lines.append(json.dumps(selection_dict(chosen), ensure_ascii=False))
                if not args.out:
                    print(lines[-1] if args.data else selection_text(chosen), flush=True)
    if args.out:
        atomic_write(args.out, "".join(f"{line}\n" for line in lines))
        write_beside(config, args.out)
    return 0


def question_problem(args: argparse.Namespace) -> Any:
    """The question of the command line as a Problem. Its gold is a placeholder, which no selector sees."""
    from r3v.data.images import decode
    from r3v.records import FileImage, Problem
    from r3v.reflection.selector import ORACLE

    if args.method == ORACLE:
        raise ConfigError("found --method oracle, which needs the gold answer; choose another selector, such as fused")
    images = tuple(FileImage(path) for path in args.image)
    for image in images:
        decode(image)
    return Problem(
        id="question",
        question=args.question,
        answer="A" if args.choices else "0",
        kind="choice" if args.choices else args.kind,
        images=images,
        choices=tuple(args.choices) if args.choices else None,
    )


def selection_dict(chosen: Any) -> dict[str, Any]:
    """A Selection as JSON values."""
    return {
        "problem_id": chosen.problem_id,
        "method": chosen.method,
        "answer": chosen.answer,
        "text": chosen.chosen.text,
        "tokens": chosen.tokens,
        "candidates": [
            {"text": c.text, "score": score} for c, score in zip(chosen.candidates, chosen.scores, strict=True)
        ],
    }


def selection_text(chosen: Any) -> str:
    """A Selection for people: the chosen rationale, then every candidate with its score."""
    lines = [
        chosen.chosen.text.strip(),
        "",
        f"chosen answer: {chosen.answer}  ({chosen.method}, {chosen.tokens} tokens)",
    ]
    for candidate, score in sorted(zip(chosen.candidates, chosen.scores, strict=True), key=lambda pair: -pair[1]):
        lines.append(f"  {score:6.3f}  {' / '.join(candidate.text.split(chr(10)))[:140]}")
    return "\n".join(lines)


def sample(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load

    config = model_config(args, rest)
    if args.k is not None:
        config = set_field(config, "sample.k", args.k)
    problems = load(
        args.data,
        limit=args.limit,
        open=args.open or config.data.open,
        skip_bad=config.data.skip_bad,
        grader=config.data.grader,
    )
    policy = make_policy(config.model, config, say=note)
    with recall_of(args, policy, config) as recall:
        stats = real_stages(notes=recall).sample(policy, problems, Path(args.out), config, 0)
    write_beside(config, args.out)
    print(json.dumps(stats, indent=2))
    return 0


def data_check(args: argparse.Namespace, rest: list[str]) -> int:
    from tqdm import tqdm

    from r3v.data.check import check, render

    result = check(args.spec, args.model, limit=args.limit, progress=lambda rows: tqdm(rows, desc="check", unit="row"))
    print(render(result))
    if args.skip_bad and result.bad:
        print(f"going on without {len(result.bad)} bad rows, {result.good} are left")
    return 0 if result.ok or args.skip_bad else 1


def data_make(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data.geoworld import write_dataset

    print(f"wrote {args.n} problems to {write_dataset(args.split, args.n, args.out, args.seed)}")
    return 0


def export(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.export import export as merge

    result = merge(model_config(args, rest), args.out)
    print(json.dumps(asdict(result), indent=2, default=str))
    return 0


def report(args: argparse.Namespace, rest: list[str]) -> int:
    if read_json(Path(args.run) / "run.json").get("kind") == "evolve":
        from r3v.curriculum.spiral_page import write_report as write_spiral

        print(write_spiral(args.run, args.out))
        return 0
    from r3v.report import write_report

    print(write_report(args.run, args.out, problems=args.gallery))
    return 0


def compare(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.compare import compare as run_presets

    print(run_presets(args.presets, args.recipe, rest, args.out, seeds=args.seeds, dry_run=args.dry_run, say=note))
    return 0


def filters(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.data.geoworld import rationale_is_right
    from r3v.prompts import style
    from r3v.reflection.filters import measure_filters
    from r3v.reflection.store import read_shards

    config = read(Path(args.run) / "config.yaml", rest).config
    if not config.data.train.startswith("geoworld"):
        raise ConfigError(
            f"found data.train {config.data.train!r}; only GeoWorld can tell whether a rationale is right"
        )
    folders = sorted(Path(args.run).glob("round_*/candidates"))
    if not folders:
        raise ConfigError(f"found no round_*/candidates in {args.run}, expected the folder of a run that has sampled")
    problems = {p.id: p for p in load(config.data.train, limit=config.data.n_train, open=config.data.open)}
    policy = make_policy(config.model, config, say=note) if args.grounded else None
    graded = ((problems[g.candidate.problem_id], g) for folder in folders for g in read_shards(folder))
    rows = measure_filters(graded, rationale_is_right, style=style(config.model.prompt_style), policy=policy)
    print(filter_table(rows))
    if args.out:
        write_json(args.out, {"schema": 1, "run": str(args.run), "filters": [row.to_dict() for row in rows]})
    return 0


def filter_table(rows: Sequence[Any]) -> str:
    """Rows of `measure_filters` for the terminal, shares in % with their 95 % intervals."""
    lines = [f"{'filter':<14} {'kept':>6} {'really right':>13} {'95 % interval':>15} {'right ones lost':>16}"]
    for row in rows:
        low, high = row.precision_ci95
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{row.name:<14} {row.kept:>6} {100 * row.precision:>12.1f}% {interval:>15} {100 * row.cost:>15.1f}%"
        )
    return "\n".join([*lines, f"n = {rows[0].n if rows else 0} candidates graded correct"])


def version(args: argparse.Namespace, rest: list[str]) -> int:
    print(f"r3v {__version__}")
    return 0


def endings(found: Sequence[tuple[str, int]]) -> str:
    """The commonest ends of answers that named none, a line each; nothing where every answer was read."""
    if not found:
        return ""
    return "commonest endings of unparsed answers:\n" + "".join(f"{n:>6}  {end}\n" for end, n in found)


def block_table(block: Mapping[str, Mapping[str, Any]]) -> str:
    """The eval block for the terminal, percentages with their 95 % intervals."""
    lines = [f"{'selector':<16} {'accuracy':>8}  {'95 % interval':<15} {'unparsed':>8} {'n':>6}"]
    for name, cell in block.items():
        low, high = cell["ci95"]
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{name:<16} {100 * cell['accuracy']:>7.1f}%  {interval:<15} {100 * cell['unparsed']:>7.1f}% {cell['n']:>6}"
        )
    return "\n".join(lines)


def run_table(value: Mapping[str, Any]) -> str:
    """`run.json` for the terminal: a line per round, a column per selector; * marks the accepted round."""
    names = list(value["rounds"][0]["eval"])
    lines = [f"{'round':<7}" + "".join(f"{name:>15}" for name in names) + f"{'seconds':>10}"]
    for entry in value["rounds"]:
        mark = "*" if entry["round"] == value["accepted_round"] else " "
        cells = [entry["eval"][name] for name in names]
        shown = "".join(f"{_with_half_width(cell):>15}" for cell in cells)
        lines.append(f"{entry['round']:<6}{mark}{shown}{sum(entry['seconds'].values()):>10.0f}")
    n = value["rounds"][0]["eval"][names[0]]["n"]
    return "\n".join([*lines, f"accuracy in %, half width of the 95 % interval, n = {n}; * is the accepted round"])


def _with_half_width(cell: Mapping[str, Any]) -> str:
    low, high = cell["ci95"]
    return f"{100 * cell['accuracy']:.1f} ±{50 * (high - low):.1f}"
