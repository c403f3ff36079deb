"""The stages of the loop on the real parts: datasets, a Hugging Face model, the reflection builder, Lightning.

Every stage loads the model it needs and lets it go, so that sampling, fitting and measuring never share memory.
`dry_run` replaces the weights by a random tiny model of the same family; everything else is real.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, ModelError, RunError
from r3v.machine import machine
from r3v.policies.base import Policy
from r3v.prompts import Notes, style
from r3v.records import ImageSource, Problem, image_hash
from r3v.reflection.loop import Splits, Stages
from r3v.settings.cluster import PolicyConfig, check_engine
from r3v.settings.config import Config, DataConfig, ModelConfig

DRY = {"data.n_train": 4, "data.n_gate": 2, "data.n_eval": 2, "run.rounds": 1, "sample.k": 3}
DRY |= {"sample.max_new_tokens": 12, "select.max_new_tokens": 12, "train.max_steps": 2, "build.qa": 1.0}
"""What `--dry-run` makes small. Random weights solve nothing, so direct-answer examples stand in for solved ones."""


def real_stages(
    dry_run: bool = False,
    say: Callable[[str], None] | None = None,
    notes: Notes | None = None,
    report: bool = False,
) -> Stages:
    """The stages `r3v train` runs. `notes` are shown to the solver when it samples and when it is measured; `report`:
    keep the run's page up to date."""
    told: set[str] = set()

    def policy(config: Config, adapter: Path | None) -> Policy:
        made = make_policy(with_adapter(config, adapter).model, config, dry_run, say, taught=True)
        commit = commit_of(made)
        if say and commit and not config.model.revision and commit not in told:
            told.add(commit)
            say(f"{config.model.path}: no revision is named, found commit {commit}; pin it with --model.revision")
        return made

    def fit(
        problems: Sequence[Problem], examples: Path, start: Path | None, out: Path, config: Config, number: int
    ) -> dict[str, Any]:
        told = _engine_drift(problems, examples.parent / "candidates", config, dry_run, say) if number == 1 else None
        return {**_fit(problems, examples, start, out, config, number, dry_run), **({"drift": told} if told else {})}

    def evaluate(
        policy: Policy, problems: Sequence[Problem], selectors: Sequence[str], out: Path, config: Config
    ) -> dict[str, Any]:
        from r3v.run.evaluation import breakdown, read_rows, tokens_per_problem, unparsed_endings
        from r3v.run.evaluation import evaluate as measure

        if not problems:
            raise ConfigError("found no problem to measure on; check the data spec and its limit")
        words = style(config.model.prompt_style)
        measured = measure(
            policy, problems, selectors, config.select, words, config.run.seed,
            out=out, letters=config.model.letters, notes=notes,
        )  # fmt: skip
        rows = read_rows(out)
        found = {"eval": measured, "breakdown": breakdown(rows), "tokens_per_problem": tokens_per_problem(rows)}
        found["unparsed_endings"] = unparsed_endings(rows)
        return {**found, "revision": commit_of(policy)}

    def sample(policy: Policy, problems: Sequence[Problem], out: Path, config: Config, number: int) -> dict[str, Any]:
        return _sample(policy, problems, out, config, number, notes)

    page = _report if report else lambda folder: None
    return Stages(load_splits, policy, sample, _build, fit, evaluate, partial(check_machine, dry_run=dry_run), page)


def _report(folder: Path) -> None:
    from r3v.pages.report import write_report

    write_report(folder)


def load_splits(data: DataConfig) -> Splits:
    """The three sets. Where `data.gate` is the same spec as `data.train`, gate problems are held out of it: the
    `n_gate` (default a tenth) with the smallest sha256 of their id, whatever the order of the file."""
    from r3v.data import load

    evaluation = load(data.eval, limit=data.n_eval, skip_bad=data.skip_bad, open=data.open, grader=data.grader)
    if data.gate != data.train:
        train = load(data.train, limit=data.n_train, skip_bad=data.skip_bad, open=data.open, grader=data.grader)
        gate = load(data.gate, limit=data.n_gate, skip_bad=data.skip_bad, open=data.open, grader=data.grader)
        return apart(train, gate, evaluation)
    if data.train.startswith("geoworld:"):
        raise ConfigError("data.gate is the same as data.train; use geoworld:gate, which never overlaps with it")
    whole = load(data.train, skip_bad=data.skip_bad, open=data.open, grader=data.grader)
    order = sorted(range(len(whole)), key=lambda i: hashlib.sha256(whole[i].id.encode()).digest())
    size = data.n_gate if data.n_gate is not None else max(1, len(whole) // 10)
    held, kept = order[:size], sorted(order[size:])
    return apart([whole[i] for i in kept[: data.n_train]], [whole[i] for i in held], evaluation)


def apart(train: Sequence[Problem], gate: Sequence[Problem], evaluation: Sequence[Problem]) -> Splits:
    """The sets, without the training problems that show a picture (by its bytes) of the other two. GeoWorld, whose
    splits share no problem by construction, is not drawn for this."""
    measured = {image_hash(image) for problems in (gate, evaluation) for p in problems for image in _files(p)}
    kept = [p for p in train if not any(image_hash(image) in measured for image in _files(p))] if measured else train
    return Splits(kept, gate, evaluation, left_out=len(train) - len(kept))


def _files(problem: Problem) -> Sequence[ImageSource]:
    return () if problem.source == "geoworld" else problem.images


def with_adapter(config: Config, adapter: Path | None) -> Config:
    """The config with another adapter; None keeps the one the config names."""
    return config if adapter is None else replace(config, model=replace(config.model, adapter=str(adapter)))


def make_policy(
    model: ModelConfig,
    config: Config,
    dry_run: bool = False,
    say: Callable[[str], None] | None = None,
    *,
    taught: bool = False,
) -> Policy:
    """A policy on freshly loaded weights, or on the server the config names; what an earlier one held on the device
    is given back first. On a Ray cluster, where the config names one, it is loaded on the workers. A dry run never asks
    a server or a cluster. `taught`: a model is trained on what it samples."""
    if config.select.adapter and not dry_run and (config.server.url or config.policy.ray.address):
        raise ConfigError(
            "select.adapter needs the model in this process or in an engine of the run's own; leave server.url and "
            "policy.ray.address away"
        )
    from r3v.grading import grader_named
    from r3v.policies.model.adapters.taught import Usage

    usage = Usage(config.select.target, grader_named(config.data.grader))
    answers = replace(usage, select_target=None) if config.select.adapter else usage
    if config.policy.engine == "vllm" and not dry_run:
        check_engine(config.policy, config.server.url)
        from r3v.policies.engine.policy import vllm_policy
        from r3v.policies.model.adapters.served import check_served

        for folder, used in ((model.adapter, answers), (config.select.adapter, usage)):
            if folder:
                check_served(folder, model, used)
        run = Path(config.run.dir)
        return vllm_policy(
            config.policy.vllm, model, config.server, run=run if (run / "config.yaml").exists() else None,
            chooser=config.select.adapter or "", say=say,
        )  # fmt: skip
    if config.policy.ray.address and not dry_run:
        from r3v.policies.cluster.policy import ray_policy

        alone = replace(config, policy=PolicyConfig())
        return ray_policy(partial(make_policy, model, alone, taught=taught), config.policy.ray, say)
    if config.server.url and not dry_run:
        from r3v.policies.server.policy import OpenAIPolicy

        return OpenAIPolicy.from_config(config.server, model, say=say, taught=taught, usage=usage)
    from r3v.policies.sampling.hf import HFPolicy

    release()
    made = HFPolicy.from_config(model, slots=config.sample.slots, dry_run=dry_run, usage=answers)
    if not config.select.adapter:
        return made
    from r3v.policies.sampling.chooser import with_chooser

    return with_chooser(made, config.select.adapter, model, dry_run=dry_run, usage=usage)


def commit_of(policy: Policy) -> str | None:
    """The commit that a hub model was resolved to; None for a folder, a server, and what has no commit."""
    return getattr(getattr(getattr(policy, "model", None), "config", None), "_commit_hash", None)


def check_machine(config: Config, dry_run: bool = False) -> None:
    """Raise ConfigError or ModelError for a loss or a strategy that does not exist, and for a device, a package or a
    program that is not here. What the model is sampled on elsewhere (a server, a cluster) is fitted here."""
    from r3v.policies.engine.command import command
    from r3v.policies.model.ready import check_model
    from r3v.training.strategies import check_strategy

    check_loss(config)
    check_model(config.model)
    check_strategy(config.train, config.model)
    if config.policy.engine == "vllm" and not dry_run:
        command(config.policy.vllm, config.model, config.model.path, 0)


def check_loss(config: Config) -> None:
    """Raise ConfigError for a loss or a kind that does not exist, before hours are spent on what it should train on."""
    from r3v.losses import KINDS, make_loss

    try:
        make_loss(config.train.loss)
    except ValueError as error:
        raise ConfigError(f"train.loss: {error}") from error
    unknown = [kind for kind in config.train.kind_weights if kind not in KINDS]
    if unknown:
        raise ConfigError(f"found train.kind_weights {unknown[0]!r}, expected one of {', '.join(KINDS)}")


def release() -> None:
    """Give memory that nothing uses any more back to the device; an engine of the run's own is stopped."""
    import torch

    from r3v.policies.engine.policy import let_go

    gc.collect()
    let_go()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def round_seed(config: Config, number: int) -> int:
    """Seed of round `number`: another noise in each round, another one for each run seed."""
    return config.run.seed * 1000 + number


def _sample(
    policy: Policy, problems: Sequence[Problem], out: Path, config: Config, number: int, notes: Notes | None
) -> dict[str, Any]:
    from r3v.rollout.rollout import bootstrap

    words = style(config.model.prompt_style)
    stats = bootstrap(
        policy, problems, out, sample=config.sample, style=words, seed=round_seed(config, number), round=number,
        notes=notes,
    )  # fmt: skip
    return {k: v for k, v in stats.to_dict().items() if k not in ("seconds", "resumed_shards")}


def _build(
    problems: Sequence[Problem],
    folders: Sequence[Path],
    out: Path,
    config: Config,
    number: int,
    policy: Callable[[], Policy],
) -> dict[str, Any]:
    from r3v.reflection.build import build_examples
    from r3v.rollout.pool import Pool
    from r3v.rollout.rollout import rescue
    from r3v.rollout.shards import regrade_folders, write_examples

    regrade_folders(folders, problems)
    words, pool, build = style(config.model.prompt_style), Pool(folders), config.build
    rescues = build.hint or build.prefix
    engine = policy() if rescues or "grounded" in build.filters else None
    rescued = None
    if rescues and engine is not None:
        rescued = rescue(
            engine, problems, pool, out.parent, build=build, sample=config.sample, style=words,
            seed=round_seed(config, number), round=number,
        )  # fmt: skip
    examples, stats = build_examples(
        pool, problems, build, words, config.run.seed, config.model.letters, rescued=rescued, policy=engine
    )
    write_examples(out, examples, {problem.id: problem for problem in problems})
    more = sum(len(items) for items in rescued.values()) if rescued is not None else 0
    return {"total": len(examples), "rescue_samples": more, **stats.to_dict()}


def _engine_drift(
    problems: Sequence[Problem], folder: Path, config: Config, dry_run: bool, say: Callable[[str], None] | None
) -> dict[str, Any] | None:
    """Where an engine of the run's own has sampled: how far its log-probabilities are from those of the model as it is
    trained. None where the model in this process samples itself, or nothing can be compared."""
    if config.policy.engine == "own" or dry_run:
        return None
    from r3v.policies.engine.drift import ANSWERS, drift
    from r3v.policies.sampling.hf import HFPolicy
    from r3v.prompts import solve
    from r3v.rollout.shards import read_shards

    words, known = style(config.model.prompt_style), {problem.id: problem for problem in problems}
    pairs = ((solve(known[g.candidate.problem_id], words), g.candidate) for g in read_shards(folder))
    same = [(prompt, answer) for prompt, answer in islice(pairs, ANSWERS) if prompt.hash == answer.prompt_hash]
    release()  # the engine
    policy = HFPolicy.from_config(config.model, slots=config.sample.slots)
    found = drift(policy, [prompt for prompt, _ in same], [answer for _, answer in same]) if same else None
    if found is None:
        return None
    if say:
        say(str(found))
    return found.to_dict()


def _fit(
    problems: Sequence[Problem],
    examples: Path,
    start: Path | None,
    out: Path,
    config: Config,
    number: int,
    dry_run: bool,
) -> dict[str, Any]:
    from r3v.grading import grader_named
    from r3v.policies.model.adapters.taught import Usage
    from r3v.policies.model.loading import load
    from r3v.rollout.shards import read_examples
    from r3v.training.fit import fit
    from r3v.training.strategies import wants_workers

    release()
    first = config.model.adapter if config.run.restart == "continue" else None
    usage = Usage(config.build.select_target if config.build.select else None, grader_named(config.data.grader))
    # On several devices each process of the fit loads the model, and this one keeps its memory free.
    base = None if wants_workers(config.train) else load(replace(config.model, adapter=None), dry_run=dry_run)
    items = read_examples(examples, {problem.id: problem for problem in problems})
    if not items:
        raise RunError(
            f"{examples}: no example could be built, so there is nothing to learn from. Sample more (sample.k, "
            "data.n_train), or begin with a model that solves some of the problems"
        )
    result = fit(
        base, items, train=config.train, model=config.model, out=out.parent, adapter=start or first,
        seed=round_seed(config, number), dry_run=dry_run, progress=True, usage=usage,
    )  # fmt: skip
    if result.adapter != out:
        raise ModelError(f"the fit wrote {result.adapter}, expected {out}")
    kept = ("steps", "dropped", "tokens", "tokens_target", "fused")
    told = {name: getattr(result, name) for name in kept}
    return {**told, "losses": list(result.losses), "machine": machine()}


def read_json(path: Path) -> Any:
    """A JSON file of a run. Raises RunError where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found, expected a run folder made by `r3v train`") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); run the same `r3v train` command again") from error
