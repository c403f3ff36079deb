"""What each command does once its arguments are read; `r3v.app.cli` is the only caller."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r3v.app.commands.common import model_config, note
from r3v.app.commands.recall import recall_of
from r3v.app.commands.tables import block_table, run_table
from r3v.app.trees import check_whose
from r3v.errors import ConfigError
from r3v.io import atomic_write, write_json
from r3v.reflection.settings import read
from r3v.reflection.stages import make_policy, read_json, real_stages
from r3v.settings.tree import to_yaml, write_beside
from r3v.version import __version__


def train(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.api import train_with, training_settings

    check_whose(args.recipe, "train")
    config = training_settings(args.recipe, rest, args.dry_run)
    if args.print_config:
        print(to_yaml(config), end="")
        return 0
    value = train_with(config, str(args.recipe), dry_run=args.dry_run, report=not args.no_report, say=note)
    print(run_table(value))
    if "chooser" in value:
        print(f"with the chooser of {value['chooser']['problems']} further problems:")
        print(block_table(value["chooser"]["eval"]))
        if reason := value["chooser"].get("reason"):
            print(f"the chooser is {'' if value['chooser']['accepted'] else 'not '}used: {reason}")
    if not args.no_report:
        print(f"report: {Path(config.run.dir) / 'report.html'}")
    return 0


def select(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.api import question_problem
    from r3v.data import load
    from r3v.selection.each import Lost, select_each
    from r3v.selection.selector import selector_of

    config = model_config(args, [*rest, f"--select.n={args.n}", f"--select.selectors={args.method}"])
    problems: Sequence[Any] = (
        load(
            args.data, limit=args.limit, open=config.data.open, skip_bad=config.data.skip_bad, grader=config.data.grader
        )
        if args.data
        else [question_problem(args.question, args.image, args.choices, args.kind, args.method)]
    )
    policy = make_policy(config.model, config, say=note)
    lines, lost = [], []
    with recall_of(args, policy, config) as recall:
        selector = selector_of(policy, config, recall)
        for start in range(0, len(problems), 32):
            chunk = [problems[i] for i in range(start, min(start + 32, len(problems)))]
            for chosen in select_each(selector, chunk, args.n, args.method, config.run.seed):
                lost += [chosen] if isinstance(chosen, Lost) else []
                row = chosen.to_dict() if isinstance(chosen, Lost) else selection_dict(chosen)
                lines.append(json.dumps(row, ensure_ascii=False))
                if not args.out and (args.data or not lost):
                    print(lines[-1] if args.data else selection_text(chosen), flush=True)
    if lost and len(lost) == len(problems):
        raise lost[0].error
    if lost:
        note(f"{len(lost)} of {len(problems)} problems got no answer; their lines say why, such as {lost[0].error}")
    if args.out:
        atomic_write(args.out, "".join(f"{line}\n" for line in lines))
        write_beside(config, args.out)
    return 0


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

    config = model_config(args, rest if args.k is None else [*rest, f"--sample.k={args.k}"])
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

    from r3v.data.check import check, leaks_between, render, several

    named = Path(args.spec).suffix in (".yaml", ".yml")
    sets = recipe_sets(args.spec) if named else {"data": args.spec}
    count = _prompt_tokens(args.model) if args.model else None
    ok = True
    for spec in dict.fromkeys(sets.values()):
        result = check(spec, count, limit=args.limit, progress=lambda rows: tqdm(rows, desc="check", unit="row"))
        print(render(result, args.all))
        if args.skip_bad and result.bad:
            print(f"going on without {len(result.bad)} bad rows, {result.good} are left")
        ok = ok and (result.ok or args.skip_bad)
    tests = [*args.against, *((sets["eval"],) if "eval" in sets else ())]
    for spec in dict.fromkeys(sets.values()):
        for test in dict.fromkeys(tests):
            if test != spec:
                print(several(f"problems of {spec} in {test}", leaks_between(spec, test, args.limit), args.all))
    return 0 if ok else 1


def recipe_sets(recipe: str) -> dict[str, str]:
    """The data specs of a recipe of any kind, by the name of their field in `data`, and `probe` for what is diagnosed.
    Raises ConfigError."""
    import yaml

    from r3v.settings.tree import find_recipe

    path = find_recipe(recipe)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error}") from error
    tree = tree if isinstance(tree, dict) else {}
    named = {**(tree.get("data") or {}), "probe": (tree.get("probe") or {}).get("data")}
    found = {k: v for k, v in named.items() if isinstance(v, str) and ":" in v}
    if not found:
        raise ConfigError(f"{path}: found no data set, expected fields such as data.train; name the data spec itself")
    return found


def _prompt_tokens(model: str) -> Callable[[Any], int]:
    """Counts the tokens of a problem's prompt, pictures included, by the processor of a model."""
    from r3v.policies.model.loading import encoder_of
    from r3v.prompts import solve, style
    from r3v.settings.config import ModelConfig

    config = ModelConfig(path=model)
    encoder, words = encoder_of(config), style(config.prompt_style)
    return lambda problem: len(encoder.prompt(solve(problem, words)).ids)


def data_make(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data.geoworld import write_dataset

    print(f"wrote {args.n} problems to {write_dataset(args.split, args.n, args.out, args.seed)}")
    return 0


def export(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.app.share.push import push_merged, ready_to_push
    from r3v.training.export import export as merge

    token = ready_to_push(args)
    config = model_config(args, rest)
    result = merge(config, args.out)
    print(json.dumps(asdict(result), indent=2, default=str))
    if args.push:
        push_merged(args, config, token)
    return 0


def report(args: argparse.Namespace, rest: list[str]) -> int:
    if read_json(Path(args.run) / "run.json").get("kind") == "evolve":
        from r3v.curriculum.spiral.page import write_report as write_spiral

        print(write_spiral(args.run, args.out))
        return 0
    from r3v.pages.report import write_report

    print(write_report(args.run, args.out, problems=args.gallery))
    return 0


def compare(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.reflection.compare import compare as run_presets

    print(run_presets(args.presets, args.recipe, rest, args.out, seeds=args.seeds, dry_run=args.dry_run, say=note))
    return 0


def filters(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.data.geoworld import rationale_is_right
    from r3v.prompts import style
    from r3v.reflection.filters import measure_filters
    from r3v.rollout.shards import read_shards, regrade_folders

    config = read(Path(args.run) / "config.yaml", rest).config
    if not config.data.train.startswith("geoworld"):
        raise ConfigError(
            f"found data.train {config.data.train!r}; only GeoWorld can tell whether a rationale is right"
        )
    folders = sorted(Path(args.run).glob("round_*/candidates"))
    if not folders:
        raise ConfigError(f"found no round_*/candidates in {args.run}, expected the folder of a run that has sampled")
    problems = {p.id: p for p in load(config.data.train, limit=config.data.n_train, open=config.data.open)}
    regrade_folders(folders, list(problems.values()), note)
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


def lucky_draw(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.data import load
    from r3v.run.evaluation import read_rows
    from r3v.run.lucky import draw, publish

    if args.n < 1:
        raise ConfigError(f"found --n {args.n}, expected at least 1")
    drawn = draw(read_rows(Path(args.rows).with_suffix(".parquet")), args.metric, args.n, args.seed)
    path = publish(args.out, drawn, {p.id: p for p in load(args.data)}, args.metric, args.seed)
    print(f"{len(drawn)} right answers to judge: {path}, read by {path.with_suffix('.md')}")
    print(f"then: r3v lucky count {path}")
    return 0


def lucky_count(args: argparse.Namespace, rest: list[str]) -> int:
    from r3v.run.lucky import count

    print("\n".join(count(args.file).lines()))
    return 0


def version(args: argparse.Namespace, rest: list[str]) -> int:
    print(f"r3v {__version__}")
    return 0
