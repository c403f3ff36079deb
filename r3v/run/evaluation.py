"""Measure a policy: candidates are sampled once per problem, and every selector chooses among the same ones.

One row per problem and selector goes to Parquet, the failures too; the numbers are counted from the rows. Rows of
finished shards survive a kill. Selector `oracle` knows the gold and is an upper bound; no other selector sees it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, EngineError, RunError
from r3v.grading import grade, grader_name
from r3v.io import atomic_path
from r3v.policies.base import Policy
from r3v.prompts import Notes, Style, question_text
from r3v.records import Candidate, Outcome, Problem, Verdict
from r3v.rollout.lengths import tell_cut
from r3v.rollout.shards import OLD_GRADER
from r3v.run.progress import task
from r3v.selection.selector import ORACLE, SELECTORS, Selection, Selector
from r3v.settings.config import SelectConfig, kept_settings
from r3v.stats import wilson

Row = dict[str, Any]
SAMPLE = "sample"
"""Name under which the candidates themselves are kept as rows; not a selector."""
PROTOCOL = "protocol"
"""Key of `Problem.meta` that says how the problem is asked (`r3v.run.protocols`), which results depend on."""
_SETTINGS, _GRADER = b"r3v.evaluation", b"r3v.grader"


def metric_name(selector: str, n: int) -> str:
    """`greedy` stands alone; every other selector chooses among n: `fused@3`."""
    return selector if selector == "greedy" else f"{selector}@{n}"


@dataclass(frozen=True)
class _Ask:
    """What stays the same for every problem of an evaluation."""

    selector: Selector
    methods: Sequence[str]
    seed: int

    @property
    def n(self) -> int:
        return self.selector.cfg.n

    def settings(self, problems: Sequence[Problem]) -> str:
        """Everything the rows depend on, as JSON."""
        told = "\n".join(f"{p.id} {p.kind} {p.answer} {question_text(p)}" for p in problems)
        value = {
            "policy": self.selector.policy.name,
            "problems": hashlib.sha256(told.encode()).hexdigest()[:16],
            "methods": list(self.methods),
            "select": kept_settings(self.selector.cfg, "selectors"),
            "style": self.selector.style.name,
            "letters": self.selector.letters,
            "seed": self.seed,
        }
        if self.selector.notes is not None:
            value["notes"] = self.selector.notes.name
        if len(problems) and (how := problems[0].meta.get(PROTOCOL)):
            value["protocol"] = how
        return json.dumps(value, sort_keys=True)

    def rows(self, problems: Sequence[Problem]) -> list[Row]:
        """The rows of some problems. If the engine fails on the whole, each problem is asked alone."""
        try:
            return self._ask(problems)
        except EngineError as error:
            why = str(error)  # its words alone: its frames hold what the failed attempt had made
        if len(problems) == 1:
            lost = Verdict(Outcome.UNAVAILABLE, None, f"engine failed: {why}")
            return [_row(problems[0], m, metric_name(m, self.n), "", lost, 0) for m in self.methods]
        return [row for problem in problems for row in self.rows([problem])]

    def _ask(self, problems: Sequence[Problem]) -> list[Row]:
        rows: list[Row] = []
        candidates_PN: list[list[Candidate]] = [[] for _ in problems]
        if any(method != "greedy" for method in self.methods):
            candidates_PN = self.selector.sample_candidates(problems, self.n, self.seed)
        for problem, candidates_N in zip(problems, candidates_PN, strict=True):
            for c in candidates_N:
                verdict = grade(problem, c.text)
                rows.append(_row(problem, SAMPLE, SAMPLE, c.text, verdict, len(c.token_ids), c.index, c.stop))
        for method in self.methods:
            chosen_P = self.selector.choose_many(method, problems, candidates_PN, self.seed)
            rows += [_selection_row(p, s, self.n) for p, s in zip(problems, chosen_P, strict=True)]
        return rows


def evaluate(
    policy: Policy,
    problems: Sequence[Problem],
    selectors: Sequence[str],
    select: SelectConfig,
    style: Style,
    seed: int,
    *,
    out: str | Path,
    letters: bool = False,
    notes: Notes | None = None,
    shard: int = 256,
) -> dict[str, dict[str, Any]]:
    """Write the rows of all problems to `out` (Parquet) and return the eval block.

    The block maps `greedy`, `majority@3`, ... to `{"accuracy", "n", "ci95", "unparsed"}`: shares of the n problems
    whose verdict is available, with the 95 % Wilson interval. An engine that fails on a problem gives UNAVAILABLE
    rows for it. `notes` are shown to the solver.
    `shard`: problems between two writes, which is what a killed call loses at most; the batch runs empty at the end of
    each.

    Raises ConfigError for unknown or repeated selectors; RunError where `out` was written with other settings.
    """
    check_selectors(selectors)
    ask = _Ask(Selector(policy, style, select, letters, notes), tuple(selectors), seed)
    out, settings = Path(out), ask.settings(problems)
    if not out.exists():
        parts = out.with_name(f".{out.stem}.parts")
        paths = [parts / f"part-{i:05d}.parquet" for i in range(-(-len(problems) // shard))]
        outcomes: list[str] = []
        first = metric_name(selectors[0], select.n)
        with task(f"evaluate {out.stem}", len(problems), "problem") as told:
            for number, path in enumerate(paths):
                stop = min((number + 1) * shard, len(problems))
                if path.exists() and _written_with(path) == settings:
                    told.skip(stop - told.done)
                    continue
                rows = ask.rows([problems[i] for i in range(number * shard, stop)])
                write_rows(path, rows, settings)
                outcomes += [row["outcome"] for row in rows if row["metric"] == first]
                told.reach(stop, right=cell(outcomes)["accuracy"])
        judge = grader_name(problems[0] if len(problems) else None)
        write_rows(out, [row for path in paths for row in read_rows(path)], settings, judge)
        shutil.rmtree(parts, ignore_errors=True)
    elif _written_with(out) != settings:
        raise RunError(f"{out}: written with another model, data or settings; delete it or choose another file")
    else:
        _regraded(out, problems, settings)
    rows = read_rows(out)
    ended = [row["stop"] for row in rows if row["stop"] and row["selector"] in (SAMPLE, "greedy")]
    tell_cut(ended.count("length"), len(ended), "select.max_new_tokens", select.max_new_tokens)
    return block(rows, selectors, select.n)


def _regraded(out: Path, problems: Sequence[Problem], settings: str) -> None:
    """Judge the rows of a file anew where another grader judged them: verdicts only, what was chosen stays chosen."""
    metadata = _table(out).schema.metadata or {}
    if not len(problems) or metadata.get(_GRADER, OLD_GRADER.encode()).decode() == grader_name(problems[0]):
        return
    known, rows, changed = {p.id: p for p in problems}, read_rows(out), 0
    for row in rows:
        if row["outcome"] != Outcome.UNAVAILABLE.value or row["text"]:
            verdict = grade(known[row["problem_id"]], row["text"])
            changed += (row["outcome"], row["answer"]) != (verdict.outcome.value, verdict.extracted)
            row |= {"outcome": verdict.outcome.value, "answer": verdict.extracted, "reason": verdict.reason}
    write_rows(out, rows, settings, grader_name(problems[0]))
    print(f"{out}: {len(rows)} answers judged anew by {grader_name(problems[0])}, {changed} changed", file=sys.stderr)


def unparsed_endings(rows: Iterable[Row], n: int = 10) -> list[tuple[str, int]]:
    """The commonest ends of answers that name none, digits as 0: what a grader or a prompt would have to learn."""
    ends: Counter[str] = Counter()
    for row in rows:
        if row["outcome"] == Outcome.UNPARSED.value and row["selector"] != SAMPLE:
            last = (row["text"].strip() or "(empty)").splitlines()[-1].strip()
            ends[re.sub(r"\d", "0", last[-60:])] += 1
    return ends.most_common(n)


def check_selectors(selectors: Sequence[str]) -> None:
    """Raise ConfigError for a selector that does not exist, is named twice, or none at all."""
    known = (*SELECTORS, ORACLE)
    for name in selectors:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"found selector {name!r}, expected one of {', '.join(known)}{hint}")
    if len(set(selectors)) != len(selectors) or not selectors:
        raise ConfigError(f"found selectors {list(selectors)}, expected at least one and each once")


def _selection_row(problem: Problem, s: Selection, n: int) -> Row:
    c, verdict = s.chosen, grade(problem, s.chosen.text)
    index = c.index if any(c is candidate for candidate in s.candidates) else None
    row = _row(problem, s.method, metric_name(s.method, n), c.text, verdict, s.tokens, index, c.stop, s.scores)
    return {**row, "details": json.dumps(dict(s.details), ensure_ascii=False)}


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
        "details": "{}",
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


def accuracy_by_problem(rows: Iterable[Mapping[str, Any]], metric: str) -> dict[str, bool]:
    """Problem id -> right or not, for paired comparisons; UNAVAILABLE problems are left out."""
    return {
        row["problem_id"]: row["outcome"] == Outcome.CORRECT.value
        for row in rows
        if row["metric"] == metric and row["outcome"] != Outcome.UNAVAILABLE.value
    }


def tokens_per_problem(rows: Iterable[Row]) -> dict[str, float]:
    """Metric -> tokens sampled and scored per problem, the candidates included: what an answer costs."""
    sums: dict[str, int] = {}
    problems: dict[str, set[str]] = {}
    for row in rows:
        sums[row["metric"]] = sums.get(row["metric"], 0) + row["tokens"]
        problems.setdefault(row["metric"], set()).add(row["problem_id"])
    return {metric: total / len(problems[metric]) for metric, total in sums.items() if metric != SAMPLE}


def write_rows(path: str | Path, rows: Sequence[Row], settings: str = "", grader: str = "") -> None:
    """Write rows as Parquet, whole or not at all, with the grader that judged them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int64()
    other = {"index": whole, "tokens": whole, "scores": pa.list_(pa.float64()), "skills": pa.list_(text)}
    names = list(rows[0]) if rows else ["problem_id", "selector", "metric", "outcome"]
    schema = pa.schema(
        [(name, other.get(name, text)) for name in names],
        {_SETTINGS: settings.encode(), _GRADER: (grader or grader_name()).encode()},
    )
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
        raise RunError(
            f"{path}: not a whole Parquet file ({error}); delete it and run the same command again"
        ) from error


def _written_with(path: Path) -> str:
    metadata: Mapping[bytes, bytes] = _table(path).schema.metadata or {}
    return metadata.get(_SETTINGS, b"").decode()
