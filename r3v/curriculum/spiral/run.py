"""What a spiral keeps in its run folder: where it stands, what is spent, and the reports that are written from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r3v.curriculum.diagnosis.findings import Diagnosis, read_diagnosis
from r3v.curriculum.spiral.guard import final_report, weakest_quarter
from r3v.curriculum.spiral.practice import read_problems
from r3v.curriculum.spiral.state import Standing
from r3v.io import write_json
from r3v.records import Problem
from r3v.run.core import RUN_SCHEMA, Run, close_round, stages_done, without_seconds
from r3v.run.evaluation import read_rows

STAGES = ("mixture", "generate", "score", "learn", "evaluate", "accept", "diagnose")
"""The stages of a turn, in order; turn 0 has `evaluate` and `diagnose` alone."""
FREE = ("evaluate",)
"""Stages whose answers are measurements: they cost money, but no samples or tokens of the budget."""


class OverBudget(Exception):
    """A limit of the budget is reached; the message says which. Never leaves `evolve`."""


def standing_of(run: Run) -> Standing:
    """Where the accepted turn stands; before any, what the recipe names."""
    if not run.reports:
        adapter, notebook = run.config.model.adapter, run.config.note.start
        return Standing(Path(adapter) if adapter else None, Path(notebook) if notebook else None)
    return Standing.from_dict(run.reports[run.accepted]["standing"], run.folder)


def held_by(standing: Standing, folder: Path) -> set[int]:
    """The turns in whose folders the files of a standing lie."""
    inside = [path.relative_to(folder).parts[0] for path in (standing.adapter, standing.notebook)
              if path is not None and path.is_relative_to(folder)]  # fmt: skip
    return {int(name.removeprefix("round_")) for name in inside if name.startswith("round_")}


def spent(run: Run) -> dict[str, float]:
    """Samples, tokens, money and seconds of all stages so far, those of an unfinished turn included."""
    total = {"samples": 0, "tokens": 0, "money": 0.0, "seconds": 0.0}
    for folder in sorted(run.folder.glob("round_*")):
        for name, result in stages_done(folder).items():
            for what in total:
                if what in ("money", "seconds") or name not in FREE:
                    total[what] += result.get(what, 0)
    total["money"] += total["seconds"] / 3600 * run.config.budget.price_hour
    return {name: round(value, 6) for name, value in total.items()}


def afford(run: Run, what: str) -> None:
    """Raises OverBudget where a limit is reached before `what`."""
    so_far = spent(run)
    for name in ("samples", "tokens", "money"):
        limit = getattr(run.config.budget, name)
        if limit is not None and so_far[name] >= limit:
            raise OverBudget(f"budget.{name}: spent {so_far[name]:g} of {limit:g} before {what}")


# ---- reports -------------------------------------------------------------------------------------


def diagnosis_of(run: Run, number: int) -> Diagnosis:
    return read_diagnosis(run.round_folder(number) / "diagnosis" / "diagnosis.json")


def earlier_practice(run: Run, number: int) -> list[Problem]:
    """All items practised before turn `number`, each once."""
    found: dict[str, Problem] = {}
    for turn in range(1, number):
        found |= {p.id: p for p in read_problems(run.round_folder(turn) / "practice.parquet")}
    return list(found.values())


def close(
    run: Run, number: int, done: Mapping[str, dict[str, Any]], now: Standing, accepted: bool, reason: str
) -> dict[str, Any]:
    """Write `report.json`, then `DONE`."""
    measured = done["evaluate"]
    report = {
        "schema": RUN_SCHEMA,
        "round": number,
        "accepted": accepted,
        "reason": reason,
        "standing": now.to_dict(run.folder),
        "gate": measured["gate"],
        "eval": measured["eval"],
        "breakdown": measured.get("breakdown", {}),
        "guard": without_seconds(done.get("accept", {})),
        "mixture": without_seconds(done.get("mixture", {})),
        "generate": without_seconds(done.get("generate", {})),
        "practice": without_seconds(done.get("score", {})),
        "learn": without_seconds(done.get("learn", {})),
        "diagnosis": summary(diagnosis_of(run, number)),
        "spent": {
            what: sum(result.get(what, 0) for name, result in done.items() if what == "money" or name not in FREE)
            for what in ("samples", "tokens", "money")
        },
        "seconds": {name: done[name]["seconds"] for name in STAGES if name in done},
    }
    return close_round(run.round_folder(number), report)


def summary(found: Diagnosis) -> dict[str, Any]:
    """What `run.json` keeps of a diagnosis; the whole of it is in `diagnosis.json`."""
    kept = ("problems", "answers", "accuracy", "ci95", "own", "rank", "weak")
    return {
        **{name: getattr(found, name) for name in ("problems", "answers", "unavailable", "accuracy", "icc")},
        "weak": list(found.weak),
        "ranking": list(found.ranking),
        "skills": {name: {k: v for k, v in asdict(cell).items() if k in kept} for name, cell in found.skills.items()},
        "limits": list(found.limits),
    }


def write_run(run: Run, stopped: str | None = None) -> dict[str, Any]:
    """`run.json`: one entry for each closed turn, what is spent, the limit that stopped it, and the comparison of start
    and end."""
    value: dict[str, Any] = {
        "schema": RUN_SCHEMA,
        "recipe": run.recipe,
        "kind": "evolve",
        "preset": run.config.run.preset,
        "learners": list(run.config.learn.kind),
        "mixture": run.config.mixture.kind,
        "accepted_round": run.accepted if run.reports else None,
        "stopped": stopped,
        "spent": spent(run),
        "budget": {name: getattr(run.config.budget, name) for name in ("samples", "tokens", "money")},
        "rounds": [{k: v for k, v in r.items() if k not in ("schema", "breakdown")} for r in run.reports],
        "final": None,
    }
    if run.reports:
        rows = {r["round"]: read_rows(run.round_folder(r["round"]) / "eval.parquet") for r in run.reports}
        weakest = weakest_quarter(run.reports[0]["diagnosis"]["ranking"])
        data = {"data": run.config.data.eval, "open": run.config.data.open}
        value["final"] = {**data, **final_report(rows, run.accepted, weakest, run.config.run.seed)}
    write_json(run.folder / "run.json", value)
    return value


def turn_line(report: Mapping[str, Any]) -> str:
    """One line for the terminal."""
    numbers = "  ".join(f"{name} {100 * cell['accuracy']:.1f}%" for name, cell in report["eval"].items())
    verdict = "accepted" if report["accepted"] else "not accepted"
    weak: Sequence[str] = report["diagnosis"]["weak"]
    told = f"weak: {', '.join(weak[:4])}{' ...' if len(weak) > 4 else ''}" if weak else "no skill stands out as weak"
    return f"iteration {report['round']}: {numbers}  [{verdict}: {report['reason']}]  {told}"
