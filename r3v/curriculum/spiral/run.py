"""The folder of a spiral: its closed turns, what is spent, and the reports that are written from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from r3v.curriculum.diagnosis.findings import Diagnosis, read_diagnosis
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.curriculum.spiral.guard import METRIC, final_report, weakest_quarter
from r3v.curriculum.spiral.practice import read_problems
from r3v.curriculum.spiral.state import Say, Standing
from r3v.errors import RunError
from r3v.io import atomic_write, write_json
from r3v.records import Problem
from r3v.reflection.loop import RUN_SCHEMA
from r3v.run.evaluation import read_rows

STAGES = ("mixture", "generate", "score", "learn", "evaluate", "accept", "diagnose")
"""The stages of a turn, in order; turn 0 has `evaluate` and `diagnose` alone."""
FREE = ("evaluate",)
"""Stages whose answers are measurements: they cost money, but no samples or tokens of the budget."""


class OverBudget(Exception):
    """A limit of the budget is reached; the message says which. Never leaves `evolve`."""


@dataclass
class Spiral:
    """A run folder that this process holds, and its closed turns."""

    folder: Path
    config: SpiralConfig
    recipe: str
    say: Say
    reports: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None

    def turn(self, number: int) -> Path:
        return self.folder / f"round_{number:02d}"

    @property
    def accepted(self) -> int:
        return next(r["round"] for r in reversed(self.reports) if r["accepted"])

    @property
    def best(self) -> int:
        """The accepted turn with the best gate accuracy, the newest of equals."""
        known = [r for r in self.reports if r["accepted"]]
        return max(known, key=lambda r: (r["gate"][METRIC]["accuracy"], r["round"]))["round"]

    @property
    def standing(self) -> Standing:
        """Where the accepted turn stands; before any, what the recipe names."""
        if not self.reports:
            return self.start
        return Standing.from_dict(self.reports[self.accepted]["standing"], self.folder)

    @property
    def start(self) -> Standing:
        adapter, notebook = self.config.model.adapter, self.config.note.start
        return Standing(Path(adapter) if adapter else None, Path(notebook) if notebook else None)

    def spent(self) -> dict[str, float]:
        """Samples, tokens, money and seconds of all stages so far, those of an unfinished turn included."""
        total = {"samples": 0, "tokens": 0, "money": 0.0, "seconds": 0.0}
        for folder in sorted(self.folder.glob("round_*")):
            for name, result in stages_done(folder).items():
                for what in total:
                    if what in ("money", "seconds") or name not in FREE:
                        total[what] += result.get(what, 0)
        total["money"] += total["seconds"] / 3600 * self.config.budget.price_hour
        return {name: round(value, 6) for name, value in total.items()}

    def afford(self, what: str) -> None:
        """Raises OverBudget where a limit is reached before `what`."""
        spent = self.spent()
        for name in ("samples", "tokens", "money"):
            limit = getattr(self.config.budget, name)
            if limit is not None and spent[name] >= limit:
                raise OverBudget(f"budget.{name}: spent {spent[name]:g} of {limit:g} before {what}")


# ---- reports -------------------------------------------------------------------------------------


def stages_done(folder: Path) -> dict[str, dict[str, Any]]:
    """What the finished stages of a turn said. Raises RunError for a damaged file."""
    path = folder / "stages.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: damaged ({error}); delete it to do the turn again") from error


def diagnosis_of(run: Spiral, number: int) -> Diagnosis:
    return read_diagnosis(run.turn(number) / "diagnosis" / "diagnosis.json")


def earlier_practice(run: Spiral, number: int) -> list[Problem]:
    """All items practised before turn `number`, each once."""
    found: dict[str, Problem] = {}
    for turn in range(1, number):
        found |= {p.id: p for p in read_problems(run.turn(turn) / "practice.parquet")}
    return list(found.values())


def close(
    run: Spiral, number: int, done: Mapping[str, dict[str, Any]], now: Standing, accepted: bool, reason: str
) -> dict[str, Any]:
    """Write `report.json`, then `DONE`."""
    measured, folder = done["evaluate"], run.turn(number)
    report = {
        "schema": RUN_SCHEMA,
        "round": number,
        "accepted": accepted,
        "reason": reason,
        "standing": now.to_dict(run.folder),
        "gate": measured["gate"],
        "eval": measured["eval"],
        "breakdown": measured.get("breakdown", {}),
        "guard": _plain(done.get("accept", {})),
        "mixture": _plain(done.get("mixture", {})),
        "generate": _plain(done.get("generate", {})),
        "practice": _plain(done.get("score", {})),
        "learn": _plain(done.get("learn", {})),
        "diagnosis": summary(diagnosis_of(run, number)),
        "spent": {
            what: sum(result.get(what, 0) for name, result in done.items() if what == "money" or name not in FREE)
            for what in ("samples", "tokens", "money")
        },
        "seconds": {name: done[name]["seconds"] for name in STAGES if name in done},
    }
    write_json(folder / "report.json", report)
    atomic_write(folder / "DONE", "")
    return report


def _plain(result: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if k != "seconds"}


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


def write_run(run: Spiral) -> dict[str, Any]:
    """`run.json`: one entry for each closed turn, what is spent, and the comparison of start and end."""
    value: dict[str, Any] = {
        "schema": RUN_SCHEMA,
        "recipe": run.recipe,
        "kind": "evolve",
        "preset": run.config.run.preset,
        "learners": list(run.config.learn.kind),
        "mixture": run.config.mixture.kind,
        "accepted_round": run.accepted if run.reports else None,
        "stopped": run.stopped,
        "spent": run.spent(),
        "budget": {name: getattr(run.config.budget, name) for name in ("samples", "tokens", "money")},
        "rounds": [{k: v for k, v in r.items() if k not in ("schema", "breakdown")} for r in run.reports],
        "final": None,
    }
    if run.reports:
        rows = {r["round"]: read_rows(run.turn(r["round"]) / "eval.parquet") for r in run.reports}
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
