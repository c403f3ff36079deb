"""`diagnosis.html`: the heat map with numbers and example failures per cell, self-contained, everything escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from r3v.curriculum.diagnosis.cells import MEANING
from r3v.curriculum.diagnosis.findings import Diagnosis, Example, ModeCell, SkillCell
from r3v.curriculum.diagnosis.heat import modes_shown, order
from r3v.curriculum.diagnosis.judge import sentence
from r3v.io import atomic_write
from r3v.pages.gallery import picture
from r3v.pages.kit import captioned, card, details, page, says, table, tile, whole
from r3v.records import Problem

MAX_PICTURES = 60
"""Pictures put into one page."""
STYLE = """
.heat{font-size:13px}.heat th,.heat td{padding:4px 5px;white-space:nowrap}.heat thead th{font-size:12px}
.heat tbody th{white-space:normal;overflow-wrap:break-word;max-width:170px}
.heat small{display:block;opacity:.75;font-size:11px}
.wide td,.wide th{white-space:normal;overflow-wrap:anywhere}
"""
"""What this page adds to the style of all pages: twelve columns that fit into a card."""


def write_page(path: str | Path, diagnosis: Diagnosis, problems: Mapping[str, Problem] | None = None) -> Path:
    """Write the page of a diagnosis; `problems` (id -> problem) lends the examples their pictures."""
    atomic_write(path, render(diagnosis, problems))
    return Path(path)


def render(diagnosis: Diagnosis, problems: Mapping[str, Problem] | None = None) -> str:
    """The page as HTML."""
    title = f"Diagnosis: {diagnosis.context.get('model', 'model')}"
    pictures = _Pictures(problems or {})
    plain = {k: v for k, v in diagnosis.context.items() if not isinstance(v, dict | list) and v not in ("", None)}
    heading = " · ".join(f"{k}: {v}" for k, v in plain.items())
    body = [
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(heading)}</p>',
        _tiles(diagnosis),
        _heat(diagnosis),
        _limits(diagnosis),
        _judge(diagnosis),
        "<h2>Skills, weakest first</h2>",
        *(_skill(diagnosis, name, pictures) for name in order(diagnosis)),
        details("How the numbers are made", _methods(diagnosis), *_not_asked(diagnosis)),
    ]
    return page(title, body)


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


def _tint(value: float, full: float = 0.5) -> str:
    """A background between none and the page's colour for bad, for light and dark."""
    share = round(70 * min(1.0, max(0.0, value / full)))
    return f"background:color-mix(in srgb,var(--bad) {share}%,transparent)"


def _heat(diagnosis: Diagnosis) -> str:
    modes = modes_shown(diagnosis)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("skill", "problems", "right", "own", *modes))
    rows = "".join(_heat_row(name, diagnosis.skills[name], modes) for name in order(diagnosis))
    caption = (
        "Percentages with 95 % intervals; the stronger the colour, the worse. "
        "right: share of right answers, shrunken. own: chance of a "
        "right answer on a typical problem that needs the skill. * weak beyond chance, + above 0 beyond chance."
    )
    meaning = "".join(f"<br><b>{escape(mode)}</b>: {escape(MEANING[mode])}" for mode in modes)
    return (
        "<h2>Skills and failure modes</h2>"
        + (f'<p class="soft">{meaning.removeprefix("<br>")}</p>' if meaning else "")
        + card(
            captioned(
                caption,
                f'<table class="heat" aria-label="Skills and failure modes"><thead><tr>{head}</tr></thead>'
                f"<tbody>{rows}</tbody></table>",
            )
        )
    )


def _heat_row(name: str, cell: SkillCell, modes: list[str]) -> str:
    rank = f"{cell.rank}. " if cell.rank is not None else ""
    star = " *" if cell.weak else ""
    low, high = cell.ci95
    own = "–" if cell.own is None else whole(100 * cell.own)
    tint = _tint(0.0 if cell.own is None else 1 - cell.own, 0.9)
    right = _with_interval(cell.accuracy, low, high)
    columns = [
        f"<td>{cell.problems}</td>",
        f'<td style="{_tint(1 - cell.accuracy, 0.9) if cell.rank is not None else ""}">{right}</td>',
        f'<td style="{tint}">{own}</td>',
        *(_heat_cell(cell.modes.get(mode)) for mode in modes),
    ]
    shown = escape(f"{rank}{name}{star}").replace(":", ":<wbr>").replace("_", "_<wbr>")
    return f'<tr><th scope="row">{shown}</th>{"".join(columns)}</tr>'


def _with_interval(value: float, low: float, high: float, mark: str = "") -> str:
    return f"{whole(100 * value)}{mark}<small>{whole(100 * low)} to {whole(100 * high)}</small>"


def _heat_cell(cell: ModeCell | None) -> str:
    if cell is None:
        return "<td>–</td>"
    low, high = cell.ci95
    shown = _with_interval(cell.value, low, high, " +" if cell.supported else "")
    return f'<td style="{_tint(cell.value)}" title="{escape(cell.note, quote=True)}">{shown}</td>'


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
    return _wide(table("Methods", ["what", "how"], rows))


def _wide(drawn: str) -> str:
    """A table of sentences, which may break."""
    return f'<div class="wide">{drawn}</div>'


def _not_asked(diagnosis: Diagnosis) -> list[str]:
    """Which aids some problems do not have, and why."""
    missing = diagnosis.context.get("variants_missing")
    if not isinstance(missing, dict) or not missing:
        return []
    rows = [[name, str(count), why] for name, reasons in missing.items() for why, count in reasons.items()]
    return [_wide(table("Problems that were not asked with an aid", ["aid", "problems", "because"], rows))]
