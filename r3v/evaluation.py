"""Measure a policy: candidates are sampled once per problem, and every selector chooses among the same ones.

One row per problem and selector goes to Parquet, the failures too; the numbers are counted from the rows. Rows of
finished shards survive a kill. Selector `oracle` knows the gold and is an upper bound; no other selector sees it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r3v.config import SelectConfig
from r3v.errors import ConfigError, EngineError, RunError
from r3v.grading import grade
from r3v.io import atomic_path
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Style, solve
from r3v.records import Candidate, Outcome, Problem, Verdict
from r3v.stats import wilson

Row = dict[str, Any]
SAMPLE = "sample"
"""Name under which the candidates themselves are kept as rows; not a selector."""
_SETTINGS = b"r3v.evaluation"


def metric_name(selector: str, n: int) -> str:
    """`greedy` stands alone; every other selector chooses among n: `fused@3`."""
    return selector if selector == "greedy" else f"{selector}@{n}"


def evaluate(
    policy: Policy,
    problems: Sequence[Problem],
    selectors: Sequence[str],
    select: SelectConfig,
    style: Style,
    seed: int,
    *,
    out: str | Path,
    max_new_tokens: int = 384,
    shard: int = 64,
    say: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Write the rows of all problems to `out` (Parquet) and return the eval block.

    The block maps `greedy`, `majority@3`, ... to `{"accuracy", "n", "ci95", "unparsed"}`: shares of the n problems
    whose verdict is available, with the 95 % Wilson interval. An engine that fails on a problem gives UNAVAILABLE
    rows for it.

    Raises ConfigError for unknown or repeated selectors; RunError where `out` was written with other settings.
    """
    check_selectors(selectors)
    out = Path(out)
    settings = _settings(policy, problems, selectors, select, style, seed, max_new_tokens)
    if not out.exists():
        parts = out.with_name(f".{out.stem}.parts")
        for start in range(0, len(problems), shard):
            path = parts / f"part-{start // shard:05d}.parquet"
            if path.exists() and _written_with(path) == settings:
                continue
            chunk = [problems[i] for i in range(start, min(start + shard, len(problems)))]
            write_rows(path, _rows(policy, chunk, selectors, select, style, seed, max_new_tokens), settings)
            if say:
                say(f"evaluated {start + len(chunk)} of {len(problems)}")
        rows = [row for path in sorted(parts.glob("part-*.parquet")) for row in read_rows(path)]
        write_rows(out, rows, settings)
        shutil.rmtree(parts)
    elif _written_with(out) != settings:
        raise RunError(f"{out}: written with other settings; delete it or choose another file")
    return block(read_rows(out), selectors, select.n)


def check_selectors(selectors: Sequence[str]) -> None:
    """Raise ConfigError for a selector that does not exist, is named twice, or none at all."""
    from r3v.reflection.selector import SELECTORS

    known = ("greedy", *(name for name in SELECTORS if name != "greedy"))
    for name in selectors:
        if name not in known:
            raise ConfigError(f"found selector {name!r}, expected one of {', '.join(known)}")
    if len(set(selectors)) != len(selectors) or not selectors:
        raise ConfigError(f"found selectors {list(selectors)}, expected at least one and each once")


def _settings(
    policy: Policy,
    problems: Sequence[Problem],
    selectors: Sequence[str],
    select: SelectConfig,
    style: Style,
    seed: int,
    max_new_tokens: int,
) -> str:
    """Everything the rows depend on, as JSON."""
    digest = hashlib.sha256("\n".join(f"{p.id} {p.kind} {p.answer}" for p in problems).encode()).hexdigest()[:16]
    drawn = {k: v for k, v in asdict(select).items() if k != "selectors"}
    value = {"policy": policy.name, "problems": digest, "n": len(problems), "selectors": list(selectors)}
    return json.dumps({**value, "select": drawn, "style": style.name, "seed": seed, "max_new_tokens": max_new_tokens})


def _rows(
    policy: Policy,
    problems: Sequence[Problem],
    selectors: Sequence[str],
    select: SelectConfig,
    style: Style,
    seed: int,
    max_new_tokens: int,
) -> list[Row]:
    """The rows of a shard. If the engine fails on the whole, each problem is asked alone."""
    try:
        return _ask(policy, problems, selectors, select, style, seed, max_new_tokens)
    except EngineError as error:
        if len(problems) == 1:
            lost = Verdict(Outcome.UNAVAILABLE, None, f"engine failed: {error}")
            return [_row(problems[0], s, metric_name(s, select.n), "", lost, 0) for s in selectors]
        return [
            row for p in problems for row in _rows(policy, [p], selectors, select, style, seed, max_new_tokens)
        ]


def _ask(
    policy: Policy,
    problems: Sequence[Problem],
    selectors: Sequence[str],
    select: SelectConfig,
    style: Style,
    seed: int,
    max_new_tokens: int,
) -> list[Row]:
    prompts_P = [solve(problem, style) for problem in problems]
    rows: list[Row] = []
    if "greedy" in selectors:
        greedy = SamplingParams(temperature=0.0, max_new_tokens=max_new_tokens)
        for problem, (candidate,) in zip(problems, policy.generate(prompts_P, 1, greedy, seed=seed), strict=True):
            rows.append(_candidate_row(problem, "greedy", "greedy", candidate))
    others = [name for name in selectors if name != "greedy"]
    if not others:
        return rows
    params = SamplingParams(select.temperature, select.top_p, select.top_k, max_new_tokens)
    candidates_PN = policy.generate(prompts_P, select.n, params, seed=seed)
    for problem, candidates_N in zip(problems, candidates_PN, strict=True):
        rows += [_candidate_row(problem, SAMPLE, SAMPLE, candidate) for candidate in candidates_N]
    for name in others:
        rows += _chosen_rows(policy, problems, candidates_PN, name, select, style, seed, max_new_tokens)
    return rows


def _candidate_row(problem: Problem, selector: str, metric: str, candidate: Candidate) -> Row:
    verdict = grade(problem, candidate.text)
    return _row(
        problem, selector, metric, candidate.text, verdict, len(candidate.token_ids), candidate.index, candidate.stop
    )


def _row(
    problem: Problem,
    selector: str,
    metric: str,
    text: str,
    verdict: Verdict,
    tokens: int,
    index: int | None = None,
    stop: str = "",
    scores: Sequence[float] = (),
) -> Row:
    return {
        "problem_id": problem.id,
        "selector": selector,
        "metric": metric,
        "outcome": verdict.outcome.value,
        "answer": verdict.extracted,
        "gold": problem.gold_text,
        "reason": verdict.reason,
        "index": index,
        "text": text,
        "stop": stop,
        "tokens": tokens,
        "scores": [float(score) for score in scores],
        "skills": list(problem.skills),
        "family": str(problem.meta.get("family", "")),
        "level": str(problem.meta.get("level", "")),
        "source": problem.source,
    }


def block(rows: Iterable[Row], selectors: Sequence[str], n: int) -> dict[str, dict[str, Any]]:
    """The eval block of these rows, in the order of `selectors`."""
    by_metric: dict[str, list[str]] = {metric_name(name, n): [] for name in selectors}
    for row in rows:
        if row["metric"] in by_metric:
            by_metric[row["metric"]].append(row["outcome"])
    return {metric: cell(outcomes) for metric, outcomes in by_metric.items()}


def cell(outcomes: Sequence[str]) -> dict[str, Any]:
    """Accuracy with its interval, n, and the unparsed rate. UNAVAILABLE leaves the denominator, UNPARSED does not."""
    available = [outcome for outcome in outcomes if outcome != Outcome.UNAVAILABLE.value]
    n, right = len(available), available.count(Outcome.CORRECT.value)
    low, high = wilson(right, n) if n else (0.0, 1.0)
    return {
        "accuracy": right / n if n else 0.0,
        "n": n,
        "ci95": [low, high],
        "unparsed": available.count(Outcome.UNPARSED.value) / n if n else 0.0,
    }


def breakdown(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """`{"skill" | "family" | "level": {value: {metric: cell}}}`; a problem counts once under each of its skills."""
    grouped: dict[str, dict[str, dict[str, list[str]]]] = {"skill": {}, "family": {}, "level": {}}
    for row in rows:
        if row["selector"] == SAMPLE:
            continue
        values = [("skill", s) for s in row["skills"]]
        values += [(name, row[name]) for name in ("family", "level") if row[name]]
        for name, value in values:
            grouped[name].setdefault(value, {}).setdefault(row["metric"], []).append(row["outcome"])
    return {
        name: {
            value: {metric: cell(found) for metric, found in metrics.items()}
            for value, metrics in sorted(values.items())
        }
        for name, values in grouped.items()
    }


def accuracy_by_problem(rows: Iterable[Row], metric: str) -> dict[str, bool]:
    """Problem id -> right or not, for paired comparisons; UNAVAILABLE problems are left out."""
    return {
        row["problem_id"]: row["outcome"] == Outcome.CORRECT.value
        for row in rows
        if row["metric"] == metric and row["outcome"] != Outcome.UNAVAILABLE.value
    }


def tokens_per_problem(rows: Iterable[Row]) -> dict[str, float]:
    """Metric -> generated tokens per problem, sampling included: what an answer costs."""
    sums: dict[str, int] = {}
    problems: dict[str, set[str]] = {}
    for row in rows:
        sums[row["metric"]] = sums.get(row["metric"], 0) + row["tokens"]
        problems.setdefault(row["metric"], set()).add(row["problem_id"])
    return {metric: total / len(problems[metric]) for metric, total in sums.items() if metric != SAMPLE}


def write_rows(path: str | Path, rows: Sequence[Row], settings: str = "") -> None:
    """Write rows as Parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int64()
    other = {"index": whole, "tokens": whole, "scores": pa.list_(pa.float64()), "skills": pa.list_(text)}
    names = list(rows[0]) if rows else ["problem_id", "selector", "metric", "outcome"]
    schema = pa.schema([(name, other.get(name, text)) for name in names], {_SETTINGS: settings.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary, compression="zstd")


def read_rows(path: str | Path) -> list[Row]:
    """The rows of an evaluation file. Raises RunError for a missing or damaged one."""
    return _table(path).to_pylist()


def _table(path: str | Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, use_threads=False)
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found; evaluate first") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path}: not a whole Parquet file ({error}); delete it and run the same command again") from error


def _written_with(path: Path) -> str:
    metadata: Mapping[bytes, bytes] = _table(path).schema.metadata or {}
    return metadata.get(_SETTINGS, b"").decode()
