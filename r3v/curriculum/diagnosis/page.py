"""`diagnosis.html`: the heat map with numbers and example failures per cell, self-contained, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from r3v.curriculum.diagnosis.cells import MEANING
from r3v.curriculum.diagnosis.findings import Diagnosis, Example, ModeCell, SkillCell
from r3v.curriculum.diagnosis.heat import modes_shown, order, place
from r3v.curriculum.diagnosis.judge import sentence
from r3v.io import atomic_write
from r3v.pages.gallery import picture
from r3v.pages.kit import Cell, card, count, details, page, says, table, tile, tint, whole
from r3v.records import Problem

MAX_PICTURES = 60
"""Pictures put into one page."""
READING = {
    "right": "share of right answers, shrunken",
    "own": "chance of a right answer on a typical problem that needs the skill",
}
"""What the columns mean that every heat map has."""


def write_page(path: str | Path, diagnosis: Diagnosis, problems: Mapping[str, Problem] | None = None) -> Path:
    """Write the page of a diagnosis; `problems` (id -> problem) lends the examples their pictures."""
    atomic_write(path, render(diagnosis, problems))
    return Path(path)


def render(diagnosis: Diagnosis, problems: Mapping[str, Problem] | None = None, nav: str = "") -> str:
    """The page as HTML, below the links of `nav`."""
    title = f"Diagnosis: {diagnosis.context.get('model', 'model')}"
    pictures = _Pictures(problems or {})
    plain = {k: v for k, v in diagnosis.context.items() if not isinstance(v, dict | list) and v not in ("", None)}
    heading = " · ".join(f"{k}: {v}" for k, v in plain.items())
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(heading)}</p>',
        _tiles(diagnosis),
        _heat(diagnosis),
        _limits(diagnosis),
        _judge(diagnosis),
        "<h2>Skills, weakest first</h2>",
        *(_skill(diagnosis, name, pictures) for name in order(diagnosis)),
        details("How the numbers are made", _methods(diagnosis), *_not_asked(diagnosis)),
    ]
    return page(title, body, nav=nav)


def _tiles(diagnosis: Diagnosis) -> str:
    weak = diagnosis.weak
    return (
        '<div class="tiles">'
        + tile(f"{100 * diagnosis.accuracy:.1f} %", "right answers")
        + tile(str(diagnosis.problems), f"probe problems, {diagnosis.answers} answers")
        + tile(str(len(weak)), f"of {len(diagnosis.skills)} skills weak beyond chance", "bad" if weak else "good")
        + tile(str(diagnosis.unavailable), "answers unavailable, left out")
        + "</div>"
    )


def _heat(diagnosis: Diagnosis) -> str:
    """The heat map in two tables: the skills about which something can be said, and, without colours, the others."""
    modes, names = modes_shown(diagnosis), order(diagnosis)
    head = ["skill", "problems", "right", "own", *modes]
    stated = [_heat_row(diagnosis, name, modes) for name in names if diagnosis.skills[name].stated]
    others = [_heat_row(diagnosis, name, modes) for name in names if not diagnosis.skills[name].stated]
    shown = [card(table("Weakest first", head, stated, css="dense"))] if stated else []
    if others:
        told = (
            f"Too few problems for a statement, or no effect of its own: {len(others)} of {count(len(names), 'skill')}"
        )
        shown.append(card(table(told, head, others, css="dense")))
    return f"<h2>Skills and failure modes</h2>{meanings(modes)}{''.join(shown)}"


def meanings(modes: Sequence[str]) -> str:
    """How a heat map with these columns is read."""
    every = {**READING, **{mode: MEANING[mode] for mode in modes}}
    told = "<br>".join(f"<b>{escape(name)}</b>: {escape(meaning)}" for name, meaning in every.items())
    return (
        f'<p class="soft">{told}</p><p class="soft">Percentages with 95 % intervals; the stronger the colour, the '
        "worse. * weak beyond chance, + above 0 beyond chance.</p>"
    )


def _heat_row(diagnosis: Diagnosis, name: str, modes: Sequence[str]) -> list[str | Cell]:
    cell, number = diagnosis.skills[name], place(diagnosis, name)
    shown = f"{number}. {name}" if number else name
    return [
        f"{shown} *" if cell.weak else shown,
        str(cell.problems),
        *right_and_own(cell),
        *(mode_cell(cell.modes.get(mode), cell.stated) for mode in modes),
    ]


def right_and_own(cell: SkillCell) -> list[Cell]:
    """The two cells of a skill's accuracy. No statement, no colour."""
    own = Cell("–") if cell.own is None else Cell(whole(100 * cell.own), css=_tint(1 - cell.own, 0.9, cell.stated))
    return [Cell(whole(100 * cell.accuracy), _interval(*cell.ci95), _tint(1 - cell.accuracy, 0.9, cell.stated)), own]


def mode_cell(cell: ModeCell | None, stated: bool) -> Cell:
    """The cell of a failure mode, or a dash where it was not asked for."""
    if cell is None:
        return Cell("–")
    shown = whole(100 * cell.value) + (" +" if cell.supported else "")
    return Cell(shown, _interval(*cell.ci95), _tint(cell.value, 0.5, stated), cell.note)


def _tint(value: float, full: float, stated: bool) -> str:
    return tint(value, full) if stated else ""


def _interval(low: float, high: float) -> str:
    return f"{whole(100 * low)} to {whole(100 * high)}"


def _limits(diagnosis: Diagnosis) -> str:
    if not diagnosis.limits:
        return ""
    told = "".join(f"<li>{escape(limit)}</li>" for limit in diagnosis.limits)
    return f"<h2>What these data cannot say</h2>{card(f'<ul>{told}</ul>')}"


def _judge(diagnosis: Diagnosis) -> str:
    """What a judge model said, where one was asked."""
    value = diagnosis.context.get("judge")
    if not isinstance(value, dict):
        return ""
    counts = [[mode, str(n)] for mode, n in value["modes"].items()] + [["no mode named", str(value["unnamed"])]]
    drawn = table("Failures by the mode that the judge names", ["mode", "failures"], counts)
    return f"<h2>What a judge model says</h2>{card(f'<p>{escape(sentence(value))}</p>', drawn)}"


class _Pictures:
    """The pictures of the examples, each problem's once, up to the most a page takes."""

    def __init__(self, problems: Mapping[str, Problem]) -> None:
        self._problems, self._shown = problems, set[str]()

    def of(self, problem_id: str) -> str:
        problem = self._problems.get(problem_id)
        if problem is None or problem_id in self._shown or len(self._shown) >= MAX_PICTURES:
            return ""
        self._shown.add(problem_id)
        return "".join(picture(image) for image in problem.images)


def _skill(diagnosis: Diagnosis, name: str, pictures: _Pictures) -> str:
    cell = diagnosis.skills[name]
    lines = []
    if cell.effect is not None and cell.effect_ci95 is not None:
        low, high = cell.effect_ci95
        lines.append(f"own effect {cell.effect:+.2f} ({low:+.2f} to {high:+.2f}) in log-odds")
    if cell.lost is not None:
        lines.append(f"costs {100 * cell.lost:.1f} points on its problems")
    lines.append(f"{cell.problems} problems, {cell.answers} answers, {100 * cell.raw:.1f} % right")
    shown = [f"<h3>{escape(name)}</h3>", f"<p>{escape('; '.join(lines))}</p>"]
    if cell.note:
        shown.append(f'<p class="soft">{escape(cell.note)}</p>')
    for mode, found in cell.modes.items():
        if found.examples:
            summary = f"{mode}: {len(found.examples)} example failures"
            shown.append(details(summary, *(_example(example, mode, pictures) for example in found.examples)))
    return card(*shown)


def _example(example: Example, mode: str, pictures: _Pictures) -> str:
    drawn = pictures.of(example.problem_id)
    asked = f"<p>{escape(example.question)}<br><span class='soft'>right answer: {escape(example.gold)}</span></p>"
    answers = says(f"{example.problem_id}: answer", example.text, "wrong")
    if example.aided:
        answers += says(f"with the aid ({mode})", example.aided, "right")
    inside = f"<div>{asked}{answers}</div>"
    return f'<div class="problem"><div>{drawn}</div>{inside}</div>' if drawn else inside


def _methods(diagnosis: Diagnosis) -> str:
    rows = [[name, told] for name, told in diagnosis.methods.items()]
    rows.append(["correlation of answers to one problem beyond its skills and level", f"{diagnosis.icc:.2f}"])
    return table("Methods", ["what", "how"], rows, css="words")


def _not_asked(diagnosis: Diagnosis) -> list[str]:
    """Which aids some problems do not have, and why."""
    missing = diagnosis.context.get("variants_missing")
    if not isinstance(missing, dict) or not missing:
        return []
    rows = [[name, str(count), why] for name, reasons in missing.items() for why, count in reasons.items()]
    return [table("Problems that were not asked with an aid", ["aid", "problems", "because"], rows, css="words")]
