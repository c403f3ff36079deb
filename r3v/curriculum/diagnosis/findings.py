"""What a diagnosis says: frozen records of skills and failure modes, written to and read from `diagnosis.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.io import write_json

SCHEMA = 1


@dataclass(frozen=True)
class DiagnosisConfig:
    """How sure a diagnosis has to be before it says something."""

    min_problems: int = 10
    """Fewer probe problems than this support no statement about a cell."""
    level: float = 0.95
    """Level of the intervals. "Weak" is said at this level over all skills together (Holm)."""
    examples: int = 2
    """Example failures kept for each cell."""
    example_chars: int = 800
    """Longest example text kept."""


@dataclass(frozen=True)
class Example:
    """One failure: the answer to the problem, and the answer with the aid where the cell is about an aid."""

    problem_id: str
    question: str
    gold: str
    text: str
    aided: str = ""


@dataclass(frozen=True)
class ModeCell:
    """One skill and one failure mode: a share or gain in [-1, 1] with its interval, over `problems` problems.

    `supported`: the interval lies above 0 and there are enough problems; otherwise `note` says why not.
    """

    value: float
    ci95: tuple[float, float]
    problems: int
    supported: bool
    note: str = ""
    examples: tuple[Example, ...] = ()


NO_STATEMENT = "no statement"
"""How a note ends where a cell has too few problems."""


@dataclass(frozen=True)
class SkillCell:
    """One skill. `raw` is right / answers, `accuracy` its posterior mean with interval.

    `own`: chance of a right answer on a typical problem that needs this skill; `effect`: its own effect in log-odds
    with interval; `lost`: the accuracy it costs on its problems. None where they cannot be separated. `rank` 1 is the
    weakest. `together`: other skills that are on exactly the same problems. `everywhere`: on every problem.
    """

    problems: int
    answers: int
    raw: float
    accuracy: float
    ci95: tuple[float, float]
    own: float | None
    own_sd: float | None
    effect: float | None
    effect_ci95: tuple[float, float] | None
    lost: float | None
    rank: int | None
    weak: bool
    together: tuple[str, ...]
    everywhere: bool
    note: str
    modes: dict[str, ModeCell]

    @property
    def stated(self) -> bool:
        """Whether the data support a statement about the skill: it is ranked, and by enough problems."""
        return self.rank is not None and not self.note.endswith(NO_STATEMENT)


@dataclass(frozen=True)
class Diagnosis:
    """All cells of one probe set. `ranking`: skills from the weakest, one of each group that cannot be told apart
    first, the others of the group right behind it. `limits`: what the data cannot support, in words."""

    skills: dict[str, SkillCell]
    ranking: tuple[str, ...]
    problems: int
    answers: int
    unavailable: int
    accuracy: float
    icc: float
    methods: dict[str, str]
    limits: tuple[str, ...]
    context: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, schema 1."""
        return {"schema": SCHEMA, **asdict(self)}

    @property
    def weak(self) -> tuple[str, ...]:
        """The skills that are weak beyond chance, weakest first."""
        return tuple(name for name in self.ranking if self.skills[name].weak)


def write_diagnosis(path: str | Path, diagnosis: Diagnosis) -> None:
    """Write `diagnosis.json` (schema 1), whole or not at all."""
    write_json(path, diagnosis.to_dict())


def read_diagnosis(path: str | Path) -> Diagnosis:
    """The diagnosis in a file. Raises RunError for a missing, damaged or newer one."""
    try:
        value = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found; make it with `r3v diagnose`") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: damaged ({error}); run `r3v diagnose` again") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        raise RunError(f"{path}: found schema {found!r}, expected {SCHEMA}; run `r3v diagnose` again")
    return from_dict(value)


def from_dict(value: Mapping[str, Any]) -> Diagnosis:
    """The inverse of `Diagnosis.to_dict`."""
    fields = {k: v for k, v in value.items() if k != "schema"}
    skills = {name: _skill_from(row) for name, row in fields.pop("skills").items()}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Diagnosis(skills=skills, **values)


def _skill_from(row: Mapping[str, Any]) -> SkillCell:
    modes = {}
    for mode, cell in row["modes"].items():
        examples = tuple(Example(**example) for example in cell["examples"])
        modes[mode] = ModeCell(**{**cell, "ci95": tuple(cell["ci95"]), "examples": examples})
    pairs = {k: tuple(v) for k, v in row.items() if isinstance(v, list)}
    return SkillCell(**{**row, **pairs, "modes": modes})
