"""Run several presets at equal budget and put them in one table and one plot, with paired intervals.

Equal budget means: the same problems, the same number of samples per problem and round (what a preset with hints or
prefixes draws beyond them for never-solved problems is counted and shown), and the same number of training tokens per
round. The first preset sets the budget; every other one trains as many epochs, or as much of one,
as use the tokens of the first one's fit of that round, to the nearest whole optimiser step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError
from r3v.io import atomic_write, write_json
from r3v.precision import decided_for_run
from r3v.records import Problem
from r3v.reflection.loop import Stages, train
from r3v.reflection.settings import read
from r3v.reflection.stages import DRY, read_json, real_stages
from r3v.run.evaluation import accuracy_by_problem, read_rows
from r3v.settings.config import Config
from r3v.settings.tree import get_field, set_field
from r3v.stats import mean_interval, paired_bootstrap

Say = Callable[[str], None]
Count = Callable[[Sequence[Problem], Path, Config], int]
SHARED = ("sample.k", "sample.temperature", "sample.top_p", "sample.top_k", "select.n", "run.rounds")
SHARED_SELECT = ("select.temperature", "select.top_p", "select.top_k", "select.noise")
"""What every preset of a comparison takes from the recipe, so that budget and test are equal."""


@dataclass(frozen=True)
class Entry:
    """One preset: its accuracy per metric (mean over seeds), and the paired difference to the first preset."""

    preset: str
    accuracy: dict[str, float]
    interval: dict[str, tuple[float, float]]
    difference: dict[str, tuple[float, float, float]]
    samples: int
    tokens: int


def compare(
    presets: Sequence[str],
    recipe: str | Path,
    flags: Sequence[str],
    out: str | Path,
    *,
    seeds: int = 1,
    dry_run: bool = False,
    stages: Stages | None = None,
    count: Count | None = None,
    say: Say = print,
) -> str:
    """Run every preset with every seed below `out`, write `compare.json`, `compare.md` and `compare.svg`, and return
    the table. Interrupted comparisons are resumed. Raises ConfigError for fewer than two or repeated presets."""
    if len(presets) < 2 or len(set(presets)) != len(presets) or seeds < 1:
        raise ConfigError(
            f"found presets {list(presets)} and seeds {seeds}, expected two or more different presets, a seed or more"
        )
    folder, stages, count = Path(out), stages or real_stages(dry_run), count or one_pass_counter(dry_run)
    budgets: dict[int, list[int]] = {}
    every = {(p, s): preset_config(p, recipe, flags, folder, s, dry_run) for p in presets for s in range(seeds)}
    if any(config.chooser.n for config in every.values()):
        raise ConfigError("found chooser.n in a comparison of presets, which compares rounds; leave it away")
    for preset in presets:
        for seed in range(seeds):
            config = decided_for_run(every[preset, seed])
            say(f"{preset}, seed {seed}")
            limited = stages if seed not in budgets else with_token_budget(stages, budgets[seed], count)
            train(config, limited, recipe=str(recipe), say=say)
            budgets.setdefault(seed, fit_tokens(Path(config.run.dir)))
    entries = [summary(preset, presets[0], folder, seeds) for preset in presets]
    text = markdown(entries, seeds)
    atomic_write(folder / "compare.md", text)
    atomic_write(folder / "compare.svg", plot(entries))
    write_json(
        folder / "compare.json",
        {"schema": 1, "recipe": str(recipe), "seeds": seeds, "presets": [_plain(e) for e in entries]},
    )
    return text


def preset_config(
    preset: str, recipe: str | Path, flags: Sequence[str], folder: Path, seed: int, dry_run: bool
) -> Config:
    """The recipe under another preset, with what makes budgets equal taken from the recipe."""
    shared = read(recipe, flags).config
    config = read(recipe, [*flags, f"--build.preset={preset}"]).config
    for name in (*SHARED, *SHARED_SELECT):
        config = set_field(config, name, get_field(shared, name))
    for name, value in (DRY if dry_run else {}).items():
        config = set_field(config, name, value)
    run = replace(config.run, dir=str(run_folder(folder, preset, seed)), seed=shared.run.seed + seed, name=preset)
    return replace(config, run=run)


def run_folder(folder: Path, preset: str, seed: int) -> Path:
    return folder / f"{preset}-seed{seed}"


def fit_tokens(run: Path) -> list[int]:
    """Training tokens of each round's fit, from its report."""
    value = read_json(run / "run.json")
    numbers = [entry["round"] for entry in value["rounds"] if entry["round"] > 0]
    return [int(read_json(run / f"round_{n:02d}" / "report.json")["fit"]["tokens"]) for n in numbers]


def with_token_budget(stages: Stages, budget: Sequence[int], count: Count) -> Stages:
    """The same stages; the fit of round t has as many epochs as use `budget[t - 1]` tokens, and its report says so."""

    def fit(problems: Any, examples: Path, start: Any, out: Path, config: Config, number: int) -> dict[str, Any]:
        epochs = budget[number - 1] / max(1, count(problems, examples, config))
        limited = replace(config, train=replace(config.train, epochs=epochs))
        return {**stages.fit(problems, examples, start, out, limited, number), "epochs": epochs}

    return replace(stages, fit=fit)


def one_pass_counter(dry_run: bool = False) -> Count:
    """Counts the tokens that one epoch over an examples file sends through the model, with the model's own encoder."""

    def count(problems: Sequence[Problem], examples: Path, config: Config) -> int:
        from r3v.policies.model.loading import load
        from r3v.rollout.shards import read_examples
        from r3v.training.layout.trie import TrieStats, build_trie, group_examples
        from r3v.training.module import R3VModule

        loaded = load(replace(config.model, adapter=None), dry_run=dry_run)
        module = R3VModule(loaded, config.train, config=config.model)
        total = TrieStats()
        for group in group_examples(read_examples(examples, {p.id: p for p in problems})):
            total += build_trie(group, module.encoder, model=module.model, max_tokens=module.max_tokens)[1]
        return total.tokens if module.path == "fused" else total.tokens_unfused

    return count


def summary(preset: str, first: str, folder: Path, seeds: int) -> Entry:
    """The accepted model of every seed on the evaluation problems. One seed: Wilson interval; several: Student's t
    over seeds. Differences to `first` are paired by problem (bootstrap), right answers averaged over seeds."""
    values = [read_json(run_folder(folder, preset, seed) / "run.json") for seed in range(seeds)]
    finals = [value["rounds"][value["accepted_round"]] for value in values]
    accuracy, interval, difference = {}, {}, {}
    for metric in finals[0]["eval"]:
        cells = [final["eval"][metric] for final in finals]
        mean, low, high = mean_interval([cell["accuracy"] for cell in cells])
        accuracy[metric] = mean
        interval[metric] = tuple(cells[0]["ci95"]) if seeds == 1 else (low, high)
        if preset != first:
            difference[metric] = paired(folder, preset, first, metric, seeds)
    entries = [entry for value in values for entry in value["rounds"]]
    samples = sum(e["pool"].get("candidates", 0) + e["examples"].get("rescue_samples", 0) for e in entries)
    tokens = sum(sum(fit_tokens(run_folder(folder, preset, seed))) for seed in range(seeds))
    return Entry(preset, accuracy, interval, difference, samples, tokens)


def paired(folder: Path, preset: str, first: str, metric: str, seeds: int) -> tuple[float, float, float]:
    """Mean difference in accuracy (preset minus first) over the problems both could be asked, with its interval."""
    a, b = (_right(folder, name, metric, seeds) for name in (preset, first))
    shared = sorted(a.keys() & b.keys())
    return paired_bootstrap([a[i] for i in shared], [b[i] for i in shared])


def _right(folder: Path, preset: str, metric: str, seeds: int) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    for seed in range(seeds):
        run = run_folder(folder, preset, seed)
        accepted = read_json(run / "run.json")["accepted_round"]
        rows = read_rows(run / f"round_{accepted:02d}" / "eval.parquet")
        for problem, right in accuracy_by_problem(rows, metric).items():
            found.setdefault(problem, []).append(right)
    return {problem: sum(rights) / len(rights) for problem, rights in found.items()}


def markdown(entries: Sequence[Entry], seeds: int) -> str:
    """The table: accuracy per metric, and under it the paired difference to the first preset."""
    metrics = list(entries[0].accuracy)
    lines = [
        "| preset | samples | training tokens | " + " | ".join(metrics) + " |",
        "|---|" + "---:|" * (len(metrics) + 2),
    ]
    for e in entries:
        cells = []
        for metric in metrics:
            low, high = e.interval[metric]
            text = f"{100 * e.accuracy[metric]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            if metric in e.difference:
                d, low, high = e.difference[metric]
                text += f"<br>{100 * d:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
            cells.append(text)
        lines.append(f"| {e.preset} | {e.samples:,} | {e.tokens:,} | " + " | ".join(cells) + " |")
    note = (
        f"Accuracy in % with 95 % intervals, {seeds} seed(s); second line: difference to {entries[0].preset}, paired."
    )
    return "\n".join([*lines, "", note]) + "\n"


def plot(entries: Sequence[Entry]) -> str:
    """An SVG file: for every metric, the paired difference of each preset to the first one, with its interval."""
    from r3v.pages.charts import difference_chart
    from r3v.pages.kit import standalone

    rows = []
    for metric in entries[0].accuracy:
        for e in entries[1:]:
            value, low, high = e.difference[metric]
            rows.append((f"{e.preset}, {metric}", 100 * value, 100 * low, 100 * high))
    return standalone(difference_chart(f"Points more or less than {entries[0].preset}", rows))


def _plain(e: Entry) -> dict[str, Any]:
    """JSON values; an interval that does not exist (infinite) is null."""

    def finite(values: Sequence[float]) -> list[float] | None:
        return list(values) if all(math.isfinite(v) for v in values) else None

    return {
        "preset": e.preset,
        "accuracy": e.accuracy,
        "ci95": {name: finite(values) for name, values in e.interval.items()},
        "difference": {name: finite(values) for name, values in e.difference.items()},
        "samples": e.samples,
        "training_tokens": e.tokens,
    }
