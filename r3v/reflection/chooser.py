"""A second adapter that only chooses among candidates, taught after the last round.

A model that has learned from a problem no longer errs on it as it errs on a new one, so what it learns there about
choosing does not carry over: its select examples are its own past, and a head fitted on them is no better than a vote
(docs/log/reflection.md). The chooser therefore learns from problems that no round has seen. The accepted model samples
them; wherever a set of its candidates holds right and wrong answers, the right solution told again under the select
prompt is preferred to each wrong one by its log-probability per token (`losses.simpo`), which is what `self_select`
compares at test time. It begins from the accepted adapter and leaves that one as it is, so answers stay the same.

The fair gate decides whether it is used: `fused` on the gate problems with the chooser and without it, paired.

`teach` resumes like a round of the loop, in the folder `chooser` of the run: candidates, examples.parquet, adapter,
eval.parquet, gate.parquet and gate_without.parquet, report.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, RunError
from r3v.io import write_json
from r3v.records import Problem
from r3v.reflection.loop import CHOOSER, Splits, Stages, adapter_of, finished, write_run
from r3v.reflection.settings import FIXED
from r3v.reflection.stages import read_json
from r3v.run.core import Run, answered, open_run, stage
from r3v.run.evaluation import metric_name, read_rows
from r3v.run.gate import decide
from r3v.settings.config import Config

SELECTORS = ("greedy", "majority", "likelihood", "self_select", "fused", "oracle")
"""What the chooser is measured beside."""
JUDGED_BY = "fused"
"""The selector whose answers with and without the chooser are compared."""


def teach(
    config: Config,
    stages: Stages,
    *,
    recipe: str = "",
    say: Callable[[str], None] = print,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Teach and measure the chooser of a finished run, or merely report it; returns the content of `run.json`.

    `dry_run`: random weights solve nothing, so direct answers, which the loss passes over, stand in for the pairs.
    Raises ConfigError where `data.train` holds no problem beyond those of the rounds, or the run is not finished;
    RunError where its chooser was begun with other settings; otherwise what `r3v.reflection.loop.train` raises.
    """
    with open_run(config, FIXED, recipe=recipe, say=say, rounds=config.run.rounds) as run:
        if not finished(run):
            raise ConfigError(
                f"{run.folder}: a chooser is taught after the last round; run `r3v train` to its end first"
            )
        folder = run.folder / CHOOSER
        _same_settings(folder, config, run.accepted)
        if not (folder / "report.json").exists():
            report = _teach(run, folder, stages, say, dry_run)
            write_json(folder / "report.json", report)
        return write_run(run)


def _same_settings(folder: Path, config: Config, accepted: int) -> None:
    """Keep the settings a chooser is begun with, and the round it weighs; raise RunError where they were others."""
    path, now = folder / "settings.json", {**asdict(config.chooser), "accepted_round": accepted}
    if not path.exists():
        folder.mkdir(exist_ok=True)
        write_json(path, now)
    before = read_json(path)
    other = [f"{name} was {before.get(name)}, is {value}" for name, value in now.items() if before.get(name) != value]
    if other:
        raise RunError(
            f"{folder}: this chooser was begun with other settings ({'; '.join(other)}). Use those, or move the folder "
            "away to teach another one"
        )


def _teach(run: Run, folder: Path, stages: Stages, say: Callable[[str], None], dry_run: bool) -> dict[str, Any]:
    config, number = lessons(run.config, direct=dry_run), run.config.run.rounds + 1
    splits, fresh = problems_of(run.config, stages)
    answers = adapter_of(run)
    candidates, examples, adapter = folder / "candidates", folder / "examples.parquet", folder / "adapter"

    def sampler() -> Any:
        return stages.policy(config, answers)

    def fit() -> dict[str, Any]:
        return stages.fit(fresh, examples, answers, adapter, config, number)

    def measure() -> dict[str, Any]:
        asked = choosing(run.config, adapter)
        return stages.evaluate(stages.policy(asked, answers), splits.eval, SELECTORS, folder / "eval.parquet", asked)

    def judge() -> dict[str, Any]:
        metric = metric_name(JUDGED_BY, config.select.n)
        rows = []
        for asked, name in ((run.config, "gate_without.parquet"), (choosing(run.config, adapter), "gate.parquet")):
            path = folder / name
            measured = stages.evaluate(stages.policy(asked, answers), splits.gate, (JUDGED_BY,), path, asked)
            answered(path, measured, len(splits.gate), metric)
            rows.append(read_rows(path))
        return decide(
            *rows, alpha=config.run.gate_alpha, against="choosing without the chooser", metric=metric
        ).to_dict()

    say(f"chooser: {len(fresh)} further problems, candidates of round {run.accepted}")
    done = {
        "sample": stage(folder, "sample", lambda: stages.sample(sampler(), fresh, candidates, config, number)),
        "build": stage(folder, "build", lambda: stages.build(fresh, [candidates], examples, config, number, sampler)),
        "fit": stage(folder, "fit", fit),
        "evaluate": stage(folder, "evaluate", measure),
        "accept": stage(folder, "accept", judge),
    }
    say(f"chooser: {'accepted' if done['accept']['accepted'] else 'not accepted'}: {done['accept']['reason']}")
    return {
        "accepted_round": run.accepted,
        "accepted": done["accept"]["accepted"],
        "reason": done["accept"]["reason"],
        "decision": done["accept"],
        "problems": len(fresh),
        "eval": done["evaluate"]["eval"],
        "pool": done["sample"],
        "examples": done["build"],
        "seconds": {name: result["seconds"] for name, result in done.items()},
    }


def problems_of(config: Config, stages: Stages) -> tuple[Splits, Sequence[Problem]]:
    """The splits of the run, and the problems its rounds have not learned from, at most `chooser.n`."""
    splits = stages.load(config.data)
    known = {p.id for p in (*splits.train, *splits.gate, *splits.eval)}
    first = config.data.n_train
    more = [] if first is None else stages.load(replace(config.data, n_train=first + config.chooser.n)).train
    fresh = [p for p in more if p.id not in known][: config.chooser.n]
    if not fresh:
        raise ConfigError(
            f"found no problem of {config.data.train} beyond data.n_train {first}; a chooser learns from problems that "
            "the rounds have not seen, so train the rounds on fewer (data.n_train)"
        )
    return splits, fresh


def lessons(config: Config, direct: bool = False) -> Config:
    """The settings under which the chooser's candidates are drawn, its pairs built, and it is fitted. `direct`: build
    direct answers as well."""
    c = config.chooser
    build = replace(
        config.build, positives=0, refine=0, keep=0, prefer=0, qa=float(direct), hint=False, prefix=False, filters=(),
        select=c.sets, select_min=config.select.n, select_max=config.select.n, select_none=0.0, select_mix="drawn",
        select_target="solution", select_pairs=True, weight_select=1.0, unparsed_negatives=False,
    )  # fmt: skip
    train = replace(config.train, loss="simpo", lr=c.lr, epochs=c.epochs, simpo_beta=c.beta, kind_weights={})
    # Candidates are drawn as test time draws them.
    s = config.select
    sample = replace(config.sample, k=c.k, temperature=s.temperature, top_p=s.top_p, top_k=s.top_k)
    sample = replace(sample, max_new_tokens=s.max_new_tokens, noise=s.noise)
    return replace(config, build=build, train=train, sample=sample)


def choosing(config: Config, adapter: Path) -> Config:
    """The config with candidates weighed by the chooser."""
    return replace(config, select=replace(config.select, adapter=str(adapter), target="solution"))
