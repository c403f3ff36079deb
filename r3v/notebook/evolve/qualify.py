"""Is a notebook good for a solver? Every problem is solved with the notes and without, and the two are compared.

Notes written for one model can hurt another, so a notebook is qualified before another solver uses it. Problems whose
prompt the notes do not change are ties and are solved once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r3v.errors import EngineError
from r3v.notebook.evolve.controls import controls, describe_controls
from r3v.notebook.evolve.meter import Prices, bill
from r3v.notebook.evolve.solving import Asker, Solved, solve
from r3v.notebook.evolve.value import difference
from r3v.notebook.gate.gate import subject_of
from r3v.notebook.retrieval.inject import Recall
from r3v.prompts import Style
from r3v.records import Outcome, Problem
from r3v.stats import mcnemar_exact, paired_bootstrap, wilson


@dataclass(frozen=True, slots=True)
class Row:
    """One problem in both arms; `note` is the first note it was shown, empty where none fitted."""

    problem: str
    subject: str
    note: str
    revision: str
    without: str
    noted: str

    @property
    def available(self) -> bool:
        return Outcome.UNAVAILABLE.value not in (self.without, self.noted)


def qualify(
    recall: Recall,
    asker: Asker,
    style: Style,
    problems: Sequence[Problem],
    *,
    seed: int = 0,
    prices: Prices | None = None,
    by_hand: bool = False,
) -> dict[str, Any]:
    """The report, as JSON values: `verdict` is helps, hurts or unclear (the 95 % interval of the difference decides).
    `by_hand` adds the controls of `r3v.notebook.evolve.controls`.

    Raises EngineError where no problem has an outcome in both arms, DataError as the controls do.
    """
    texts = recall(problems)
    without = solve(asker, style, problems, [()] * len(problems), seed=seed)
    noted = solve(asker, style, problems, texts, seed=seed)
    rows = [_row(recall, a, b) for a, b in zip(without, noted, strict=True)]
    known = [row for row in rows if row.available]
    if not known:
        raise EngineError(f"none of {len(problems)} problems has an answer in both arms; is the engine running?")
    right = [[float(value == Outcome.CORRECT.value) for value in arm] for arm in _arms(known)]
    gain, low, high = paired_bootstrap(right[1], right[0], seed=seed)
    given = {"controls": controls(recall, asker, style, without, noted, seed=seed)} if by_hand else {}
    return {
        "schema": 1,
        "solver": asker.policy.name,
        "notes": recall.name,
        "verdict": "helps" if low > 0 else "hurts" if high < 0 else "unclear",
        "n": len(known),
        "unavailable": len(rows) - len(known),
        "noted": sum(bool(row.note) for row in known),
        "without": _share(right[0]),
        "with": _share(right[1]),
        "difference": gain,
        "ci95": [low, high],
        "p_mcnemar": mcnemar_exact(right[1], right[0]),
        "subjects": _groups(known, "subject"),
        "by_note": _groups([row for row in known if row.note], "note"),
        **given,
        "costs": bill(asker.ledger, {asker.role: prices or Prices()}, asker.stage),
        "rows": [asdict(row) for row in rows],
    }


def _row(recall: Recall, without: Solved, noted: Solved) -> Row:
    hits = recall.shown(noted.problem)
    note = hits[0].note if hits else None
    return Row(
        noted.problem.id,
        subject_of(noted.problem),
        note.id if note else "",
        note.revision if note else "",
        without.verdict.outcome.value,
        noted.verdict.outcome.value,
    )


def _arms(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.without for row in rows], [row.noted for row in rows]


def _share(right: Sequence[float]) -> dict[str, Any]:
    count = int(sum(right))
    return {"accuracy": count / len(right), "ci95": list(wilson(count, len(right)))}


def _groups(rows: Sequence[Row], name: str) -> dict[str, dict[str, Any]]:
    """For each subject or note: n, shares right, items won and lost, and the difference with Newcombe's interval,
    which treats the arms as independent and so is wide for pairs."""
    found = {}
    for value, n in sorted(Counter(getattr(row, name) for row in rows).items()):
        own = [row for row in rows if getattr(row, name) == value]
        before, after = ([outcome == Outcome.CORRECT.value for outcome in arm] for arm in _arms(own))
        gain, low, high = difference(sum(after), n, sum(before), n)
        won = sum(b and not a for a, b in zip(before, after, strict=True))
        lost = sum(a and not b for a, b in zip(before, after, strict=True))
        found[value] = {
            "n": n, "without": sum(before) / n, "with": sum(after) / n, "won": won, "lost": lost,
            "difference": gain, "ci95": [low, high],
        }  # fmt: skip
    return found


def exposures_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Data of `retrieved` events for `r3v.notebook.evolve.value`: each noted problem once shown and once withheld."""
    return [
        {"note": row["note"], "revision": row["revision"], "problem": row["problem"], "withheld": withheld,
         "outcome": row[arm], "solver": report["solver"]}
        for row in report["rows"]
        if row["note"]
        for withheld, arm in ((False, "noted"), (True, "without"))
    ]  # fmt: skip


def describe(report: dict[str, Any]) -> str:
    """The report for the terminal."""
    low, high = report["ci95"]
    lines = [
        f"solver {report['solver']}: the notes {'help' if report['verdict'] == 'helps' else report['verdict']}"
        if report["verdict"] != "unclear"
        else f"solver {report['solver']}: no difference is shown",
        f"without {100 * report['without']['accuracy']:.1f} %, with {100 * report['with']['accuracy']:.1f} %: "
        f"{100 * report['difference']:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f}, "
        f"McNemar p {report['p_mcnemar']:.4f}), n {report['n']}, {report['noted']} were shown a note, "
        f"{report['unavailable']} unavailable",
    ]
    for name, cell in report["by_note"].items():
        lines.append(
            f"  {name:<48} n {cell['n']:>4}  {100 * cell['without']:5.1f} -> {100 * cell['with']:5.1f} %  "
            f"won {cell['won']}, lost {cell['lost']}"
        )
    if "controls" in report:
        lines += describe_controls(report["controls"])
    return "\n".join(lines)
