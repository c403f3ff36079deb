"""The library in four functions: `r3v.train`, `r3v.load`, `r3v.select`, `r3v.evaluate`.

    value = r3v.train("geoworld_tiny", run={"dir": "runs/first", "rounds": 1}, data={"n_train": 200})
    model = r3v.load("runs/first")
    r3v.select(model, "How large is the angle?", "figure.png", choices=["35", "55"]).answer
    r3v.evaluate(model, "geoworld:test", limit=100)["eval"]["greedy"]["accuracy"]

Fields of a recipe are keyword arguments: a whole group as a mapping (`train={"lr": 1e-4}`), or one field by its dotted
name (`**{"train.lr": 1e-4}`). docs/fields.md lists them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError
from r3v.policies.base import Policy
from r3v.precision import decided_for_run
from r3v.records import FileImage, Problem
from r3v.reflection.asked import model_settings
from r3v.reflection.settings import Settings, check_select, check_unused, read
from r3v.reflection.stages import DRY, make_policy, real_stages
from r3v.selection.selector import ORACLE, Selection, selector_of
from r3v.settings.config import Config
from r3v.settings.tree import fill, names_of, set_field

Say = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """A model that is loaded and ready to be asked, with the settings it is asked with: what `load` returns."""

    policy: Policy
    config: Config


def train(
    recipe: str | Path | None = None, *, dry_run: bool = False, report: bool = True, say: Say = print, **fields: Any
) -> dict[str, Any]:
    """Self-train a model, as `r3v train RECIPE`: sample, grade, build, fit, measure, accept, for some rounds.

    recipe: a YAML file or the name of one that comes with the library; None is the defaults. dry_run: random tiny
    weights and a few problems. report: keep `report.html` in the run folder up to date. say: takes each line of
    progress. fields: of the recipe, see above; they win over it.

    The same call goes on where an earlier one was interrupted, and a finished run is only reported. Returns the content
    of `run.json`: `accepted_round`, and in `rounds` what each measured.
    Raises R3VError: ConfigError for values that cannot be used (before anything is loaded), DataError, ModelError,
    RunError.
    """
    config = training_settings(recipe, flags_of(fields), dry_run)
    return train_with(config, str(recipe or ""), dry_run=dry_run, report=report, say=say)


def load(source: str | Path = "geoworld-tiny", *, adapter: str | Path | None = None, **fields: Any) -> Model:
    """Load what is to be asked.

    source: a run folder (the model of its accepted round, with its chooser and its settings), or a model: a folder, a
    hub name, `geoworld-tiny` or `smolgeo`. adapter: a LoRA folder to put on it. fields: of the recipe, see above.

    Raises R3VError where it cannot be loaded.
    """
    run = source if (Path(source) / "run.json").is_file() else None
    model, lora = None if run else str(source), None if adapter is None else str(adapter)
    config = model_settings(model, lora, run, flags=flags_of(fields))
    return Model(make_policy(config.model, config), config)


def select(
    model: Model | str | Path,
    question: str,
    images: str | Path | Sequence[str | Path] = (),
    *,
    choices: Sequence[str] | None = None,
    kind: str = "number",
    n: int = 8,
    method: str = "fused",
) -> Selection:
    """Sample `n` answers to a question about pictures and choose one; as `r3v select`.

    model: what `load` returned, or what it takes. images: files. choices: the options, in order; without them `kind`
    (number, text, expression) says how answers are compared. method: a selector, such as fused, majority or greedy.
    Returns a Selection: `answer`, `chosen`, and `candidates` with their `scores`.
    Raises ConfigError for an unknown method and options that cannot be told apart, ImageError for a file that is no
    picture, EngineError.
    """
    asked = model if isinstance(model, Model) else load(model)
    files = [images] if isinstance(images, str | Path) else images
    problem = question_problem(question, files, choices, kind, method)
    config = replace(asked.config, select=replace(asked.config.select, n=n, selectors=(method,)))
    check_select(config.select)
    return selector_of(asked.policy, config).select(problem, n, method, config.run.seed)


def evaluate(
    model: Model | str | Path,
    data: str,
    *,
    limit: int | None = None,
    selectors: Sequence[str] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Measure a model on a data spec; as `r3v eval`.

    limit: the first problems only. selectors: default those of the settings. n: candidates for each problem. out: the
    rows, a Parquet file, which an interrupted call goes on with. Returns `eval` (for each selector accuracy, 95 %
    interval and n), `breakdown` by kind of problem, and more.
    Raises ConfigError, DataError, EngineError.
    """
    from r3v.data import load as load_data

    asked = model if isinstance(model, Model) else load(model)
    config = asked.config
    chosen = replace(
        config.select, n=config.select.n if n is None else n, selectors=tuple(selectors or config.select.selectors)
    )
    config = replace(config, select=chosen)
    check_select(chosen)
    problems = load_data(
        data, limit=limit, skip_bad=config.data.skip_bad, open=config.data.open, grader=config.data.grader
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(out) if out is not None else Path(folder) / "rows.parquet"
        return real_stages().evaluate(asked.policy, problems, chosen.selectors, rows, config)


# ---- parts that the commands share ---------------------------------------------------------------


def training_settings(recipe: str | Path | None, flags: Sequence[str], dry_run: bool = False) -> Config:
    """The settings of a training: recipe, flags, preset, every value looked at. Raises ConfigError."""
    settings = read(recipe, flags)
    check_unused(settings.config, names_of(flags))
    return decided_for_run(dry(settings, flags) if dry_run else settings.config)


def dry(settings: Settings, flags: Sequence[str] = ()) -> Config:
    """The config of a dry run: small, in a folder of its own unless the command line names one."""
    config = settings.config
    config = set_field(config, "chooser.n", min(config.chooser.n, 4))  # thousands as a rule, and a flag as a rule
    return fill(config, {**DRY, "run.dir": f"{config.run.dir}-dry-run"}, flags)


def train_with(config: Config, recipe: str, *, dry_run: bool, report: bool, say: Say) -> dict[str, Any]:
    """The rounds, and the chooser where there is to be one."""
    from r3v.reflection.loop import train as run_loop

    stages = real_stages(dry_run, say=say, report=report)
    value = run_loop(config, stages, recipe=recipe, say=say)
    if config.chooser.n:
        from r3v.reflection.chooser import teach

        value = teach(config, stages, recipe=recipe, say=say, dry_run=dry_run)
        stages.report(Path(config.run.dir))
    return value


def flags_of(fields: Mapping[str, Any]) -> list[str]:
    """Fields as the flags of a command line: groups given as mappings, or fields by their dotted names."""
    flags = []
    for name, value in fields.items():
        if isinstance(value, Mapping) and "." not in name:
            flags += flags_of({f"{name}.{leaf}": below for leaf, below in value.items()})
        else:
            told = value if isinstance(value, str) else str(value) if isinstance(value, Path) else json.dumps(value)
            flags.append(f"--{name}={told}")
    return flags


def question_problem(
    question: str, images: Sequence[str | Path], choices: Sequence[str] | None, kind: str, method: str
) -> Problem:
    """A question as a Problem. Its gold is a placeholder, which no selector sees. Raises ConfigError, ImageError."""
    from r3v.data.images import decode

    given = [choice.strip() for choice in choices or ()]
    twice = [choice for i, choice in enumerate(given) if choice in given[:i]]
    if twice:
        raise ConfigError(f"found --choices with {twice[0]!r} twice: no answer could tell them apart; give each once")
    if method == ORACLE:
        raise ConfigError("found --method oracle, which needs the gold answer; choose another selector, such as fused")
    files = tuple(FileImage(str(path)) for path in images)
    for file in files:
        decode(file)
    return Problem(
        id="question",
        question=question,
        answer="A" if choices else "0",
        kind="choice" if choices else kind,  # type: ignore[arg-type]
        images=files,
        choices=tuple(choices) if choices else None,
    )
