"""`r3v diagnose`: ask a rotating held-out probe set, with counterfactual variants, and say what is weak."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3v.app.parser import at_least, model_flags, nearest, positive
from r3v.app.trees import fields_help
from r3v.errors import ConfigError, DataError
from r3v.policies.base import Policy
from r3v.prompts import style
from r3v.records import Problem
from r3v.settings.config import Config, SampleConfig

if TYPE_CHECKING:
    from r3v.curriculum.diagnosis.cells import ProbeRecord
    from r3v.curriculum.diagnosis.findings import Diagnosis, DiagnosisConfig
    from r3v.curriculum.diagnosis.judge import Judge

Handler = Callable[[argparse.Namespace, list[str]], int]


def register(commands: Any) -> argparse.ArgumentParser:
    """Add `diagnose` to the subparsers of the command line. The handler is imported when it runs."""
    text = "find the weak skills of a model: skill x failure mode, with intervals"
    p = commands.add_parser("diagnose", help=text, description=text, add_help=False)
    fields_help(p, "train", listed=False)
    p.set_defaults(handler=run, takes_fields=True)
    model_flags(p)
    p.add_argument("--data", required=True, help="data spec of the probes, such as geoworld:gate")
    p.add_argument("--iteration", type=at_least(0), default=0, help="each iteration asks other probes (default 0)")
    p.add_argument("--seed", type=int, default=0, help="another series of probe sets (default 0)")
    p.add_argument("--n", type=positive, default=480, help="probe problems (default 480)")
    p.add_argument("--k", type=positive, default=4, help="answers per problem and variant (default 4)")
    p.add_argument(
        "--variants",
        default="all",
        help="aids to ask again with: all (default), none, or some of numbers,described,named,round_numbers,one_rule",
    )
    p.add_argument("--categories", choices=("skills", "image-types", "clusters"), default="skills")
    p.add_argument("--vectors", help="for clusters: .npz with `ids` [N] and `vectors` [N, D] of the problems")
    p.add_argument("--open", action="store_true", help="ask without choices, so that a lucky letter counts for nothing")
    p.add_argument("--judge", help="a model that names the failure mode of wrong answers, beside what the aids say")
    p.add_argument("--judge-url", help="address of the OpenAI-compatible server of --judge (default: load it here)")
    p.add_argument("--judge-key-env", default="", help="environment variable with the key of --judge-url")
    p.add_argument("--judge-price", type=float, default=0.0, help="price of a million output tokens of --judge")
    p.add_argument("--out", default="diagnosis", help="folder of diagnosis.json, diagnosis.html and the answers")
    return p


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler: measure, write, print the heat map. An interrupted call goes on where it stopped."""
    from r3v.app.commands.common import model_config, note
    from r3v.curriculum.diagnosis.heat import heat_map
    from r3v.curriculum.diagnosis.judge import sentence
    from r3v.reflection.stages import make_policy
    from r3v.settings.tree import write_beside

    variants = variants_of(args.variants)
    config = model_config(args, [*rest, f"--sample.k={args.k}"])
    problems = probe_problems(args, config)
    vectors = read_vectors(args.vectors) if args.categories == "clusters" else None
    policy, judge = make_policy(config.model, config), judge_of(args, config)
    diagnosis = measure(
        policy,
        problems,
        Path(args.out),
        config,
        variants=variants,
        k=args.k,
        iteration=args.iteration,
        seed=args.seed,
        data=args.data,
        categories=args.categories,
        vectors=vectors,
        judge=judge,
    )
    write_beside(config, Path(args.out) / "diagnosis.json")
    print(heat_map(diagnosis))
    if "judge" in diagnosis.context:
        print(sentence(diagnosis.context["judge"]))
    note(f"wrote {Path(args.out) / 'diagnosis.json'} and {Path(args.out) / 'diagnosis.html'}")
    return 0


def variants_of(named: str) -> tuple[str, ...] | None:
    """The aids that `--variants` names, None for all. Raises ConfigError with the nearest."""
    from r3v.curriculum.diagnosis.cells import AIDS

    if named in ("all", "none"):
        return None if named == "all" else ()
    found = tuple(named.split(","))
    for name in found:
        if name not in AIDS:
            near = nearest(name, tuple(AIDS))
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"found --variants {name!r}, expected all, none, or some of {', '.join(AIDS)}{hint}")
    return found


def judge_of(args: argparse.Namespace, config: Config) -> Judge | None:
    """The judge that the flags name, None for none. Raises ConfigError for a server without a judge."""
    from r3v.curriculum.diagnosis.judge import Judge

    if not args.judge:
        if args.judge_url:
            raise ConfigError("found --judge-url without --judge, expected the name of the model there")
        return None
    if args.judge_url:
        from r3v.policies.server.policy import OpenAIPolicy
        from r3v.settings.server import ServerConfig

        server = ServerConfig(
            url=args.judge_url, model=args.judge, api_key_env=args.judge_key_env, logprobs=False,
            prices={"output": args.judge_price},
        )  # fmt: skip
        return Judge(OpenAIPolicy(server))
    from r3v.reflection.stages import make_policy

    model = replace(config.model, path=args.judge, adapter=None)
    return Judge(make_policy(model, replace(config, server=type(config.server)())), args.judge_price)


def probe_problems(args: argparse.Namespace, config: Config) -> list[Problem]:
    """The probes of the iteration that the flags name, without choices where these are not wanted."""
    from r3v.curriculum.diagnosis.probes import probe_set
    from r3v.data.source import open_form

    problems = probe_set(args.data, args.n, args.iteration, args.seed)
    return [open_form(p) for p in problems] if args.open or config.data.open else problems


def measure(
    policy: Policy,
    problems: Sequence[Problem],
    out: Path,
    config: Config,
    *,
    variants: Sequence[str] | None = None,
    k: int = 4,
    iteration: int = 0,
    seed: int = 0,
    data: str = "",
    categories: str = "skills",
    vectors: Mapping[str, Any] | None = None,
    diagnosis_config: DiagnosisConfig | None = None,
    judge: Judge | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Ask the probes and write `out`/diagnosis.json, diagnosis.html and answers/; returns the diagnosis.

    Sampling follows `config.sample` apart from `k`. `variants`: aids to ask again with, None for all. `vectors`:
    problem id -> embedding, for `clusters`. `judge` is asked about every wrong answer; its opinions are in
    `out`/judge.json and, with their agreement with the aids, in the diagnosis's context.
    """
    from r3v.curriculum.diagnosis.ask import ask, probes_of
    from r3v.curriculum.diagnosis.cells import AIDS
    from r3v.curriculum.diagnosis.diagnosis import diagnose
    from r3v.curriculum.diagnosis.findings import write_diagnosis
    from r3v.curriculum.diagnosis.page import write_page
    from r3v.curriculum.diagnosis.probes import probe_seed

    counted = categories_of(problems, categories, policy, vectors, seed)
    probes, missing = probes_of(problems, tuple(AIDS) if variants is None else variants)
    sample: SampleConfig = replace(config.sample, k=k)
    noise = probe_seed(seed, iteration) % 2**31
    words = style(config.model.prompt_style)
    records = ask(
        policy, probes, out / "answers", sample=sample, style=words, seed=noise, categories=counted, progress=progress
    )
    context = {
        "model": policy.name,
        "data": data,
        "iteration": iteration,
        "seed": seed,
        "k": k,
        "categories": categories,
        "variants_missing": missing,
    }
    if judge is not None:
        context["judge"] = _judged(judge, problems, records, out)
    diagnosis = diagnose(records, diagnosis_config, context)
    write_diagnosis(out / "diagnosis.json", diagnosis)
    write_page(out / "diagnosis.html", diagnosis, {p.id: p for p in problems})
    return diagnosis


def _judged(judge: Judge, problems: Sequence[Problem], records: Sequence[ProbeRecord], out: Path) -> dict[str, Any]:
    from r3v.curriculum.diagnosis.judge import ask_judge, summary
    from r3v.io import write_json

    opinions, meter = ask_judge(judge, {p.id: p for p in problems}, records, out)
    value = summary(opinions, meter, judge)
    write_json(out / "judge.json", {"schema": 1, **value, "opinions": [asdict(o) for o in opinions]})
    return value


def categories_of(
    problems: Sequence[Problem], how: str, policy: Policy, vectors: Mapping[str, Any] | None, seed: int
) -> dict[str, tuple[str, ...]]:
    """Problem id -> what its answers are counted under. Raises DataError where an embedding is missing."""
    from r3v.curriculum.diagnosis.categories import by_cluster, by_image_type, by_skills

    if how == "skills":
        return by_skills(problems)
    if how == "image-types":
        return by_image_type(problems, policy)
    if how != "clusters":
        raise ConfigError(f"found categories {how!r}, expected skills, image-types or clusters")
    found = vectors or {}
    absent = [p.id for p in problems if p.id not in found]
    if absent:
        raise DataError(
            f"found no embedding for {len(absent)} of {len(problems)} problems",
            row=absent[0],
            fix="Give --vectors an .npz that holds every probe problem's id",
        )
    return by_cluster({p.id: found[p.id] for p in problems}, seed)


def read_vectors(path: str | None) -> dict[str, Any]:
    """Problem id -> embedding, from an .npz with `ids` and `vectors`. Raises ConfigError or DataError."""
    import zipfile

    import numpy as np

    if path is None:
        raise ConfigError("found --categories clusters without --vectors, expected an .npz with `ids` and `vectors`")
    try:
        with np.load(path, allow_pickle=False) as found:
            ids, vectors = found["ids"], found["vectors"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read embeddings ({error})",
            file=path,
            fix="Write them with numpy.savez(path, ids=..., vectors=...)",
        ) from error
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise DataError(
            f"found {len(ids)} ids and vectors of shape {vectors.shape}, expected one row of vectors per id", file=path
        )
    return {str(name): vector for name, vector in zip(ids, vectors, strict=True)}
