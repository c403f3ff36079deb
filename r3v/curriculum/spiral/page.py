"""`report.html` of a spiral: the heat maps of all diagnoses side by side, what was practised, and what came of it.

One self-contained file, no script, nothing fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from r3v.curriculum.diagnosis.findings import Diagnosis, SkillCell, read_diagnosis
from r3v.curriculum.diagnosis.heat import modes_shown, order
from r3v.curriculum.diagnosis.page import meanings, mode_cell, right_and_own
from r3v.errors import RunError
from r3v.io import atomic_write
from r3v.pages import charts
from r3v.pages.charts import point
from r3v.pages.kit import Cell, card, count, details, page, percent, points, table, tile

Json = Mapping[str, Any]


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write `RUN/report.html` (or `out`); returns its path. Raises RunError where the folder is no spiral."""
    target = Path(out) if out is not None else Path(run) / "report.html"
    atomic_write(target, page(*render(Path(run))))
    return target


def render(folder: Path) -> tuple[str, list[str]]:
    """Title and body of the page. Raises what `write_report` raises."""
    try:
        value = json.loads((folder / "run.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(f"{folder}: cannot read run.json ({error}), expected a run folder of `r3v evolve`") from error
    if value.get("kind") != "evolve" or not value["rounds"]:
        raise RunError(f"{folder}: found no closed iteration of `r3v evolve`; run it first")
    diagnoses = [
        read_diagnosis(folder / f"round_{r['round']:02d}" / "diagnosis" / "diagnosis.json") for r in value["rounds"]
    ]
    settings = (folder / "config.yaml").read_text()
    title = f"Spiral: {Path(value['recipe'] or 'run').stem}"
    told = (
        f"{count(len(value['rounds']) - 1, 'iteration')} · preset {value['preset']} · mixture {value['mixture']} · "
        f"learner {' then '.join(value['learners'])}"
    )
    stopped = f'<p class="bad">Stopped: {escape(value["stopped"])}</p>' if value["stopped"] else ""
    return title, [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(told)}</p>',
        stopped,
        _tiles(value),
        _accuracy(value["rounds"]),
        _heat(value["rounds"], diagnoses),
        _practice(value["rounds"]),
        _skills(value["final"]),
        _spent(value),
        details("Settings of the run", f"<pre><code>{escape(settings)}</code></pre>"),
    ]


def _name(turn: Json) -> str:
    return "start" if turn["round"] == 0 else f"iteration {turn['round']}"


def _gain(found: Json, what: str) -> str:
    if found["difference"] is None:
        return tile("–", f"points on {what}: no problem in common")
    low, high = found["ci95"]
    css = "good" if low > 0 else "bad" if high < 0 else ""
    told = f"points on {what} ({points(100 * low)} to {points(100 * high)}), n = {found['end']['n']}"
    return tile(points(100 * found["difference"]), told, css)


def _tiles(value: Json) -> str:
    final, spent = value["final"], value["spent"]
    return (
        '<div class="tiles">'
        + tile(f"{100 * final['end']['accuracy']:.1f} %", f"greedy, {_name(value['rounds'][final['accepted']])}")
        + _gain(final, "all problems")
        + _gain(final["weakest_quarter"], "the weakest quarter of skills")
        + tile(f"{spent['samples']:,.0f}", f"answers drawn, {spent['tokens']:,.0f} tokens")
        + tile(f"{spent['seconds'] / 60:.1f} min", "all stages together")
        + "</div>"
    )


def _accuracy(turns: Sequence[Json]) -> str:
    names = list(turns[0]["eval"])
    series = {n: [point(t["round"], t["eval"][n], t["accepted"]) for t in turns] for n in names}
    rows = [
        [_name(t), *(percent(t["eval"][n]) for n in names), percent(t["gate"]["greedy"]),
         "yes" if t["accepted"] else "no"]
        for t in turns
    ]  # fmt: skip
    return (
        "<h2>Accuracy by iteration</h2><p class='soft'>On the evaluation problems, 95 % Wilson intervals. Hollow "
        "points: not accepted, so that the next iteration began where the one before stood.</p>"
        + card(charts.keys(names), charts.rounds_chart("Accuracy by iteration", series, "iteration", "start"))
        + card(table("Accuracy in % (95 % interval)", ["", *names, "gate, greedy", "accepted"], rows))
        + "".join(f"<p class='soft'>{escape(_name(t))}: {escape(t['reason'])}.</p>" for t in turns[1:])
    )


# ---- heat maps -----------------------------------------------------------------------------------


def _heat(turns: Sequence[Json], diagnoses: Sequence[Diagnosis]) -> str:
    """One row for each skill, weakest at the start first; one group of columns for each diagnosis."""
    modes = list(dict.fromkeys(mode for found in diagnoses for mode in modes_shown(found)))
    names = list(dict.fromkeys(name for found in diagnoses for name in order(found)))
    columns = ["right", "own", *modes]
    groups = [
        (f"{_name(t)}: {100 * found.accuracy:.0f} % of {found.problems} probes", len(columns))
        for t, found in zip(turns, diagnoses, strict=True)
    ]
    rows = [[name, *(c for found in diagnoses for c in _cells(found.skills.get(name), modes))] for name in names]
    caption = (
        "Each diagnosis asks new problems. Weakest skill at the start first; without colour: too few problems for a "
        "statement."
    )
    drawn = table(caption, ["skill", *columns * len(turns)], rows, css="dense", groups=groups)
    limits = "".join(
        f"<li>{escape(_name(t))}: {escape(limit)}</li>"
        for t, found in zip(turns, diagnoses, strict=True)
        for limit in found.limits
    )
    told = details("What these data cannot say", f"<ul>{limits}</ul>") if limits else ""
    return f"<h2>Heat maps</h2>{meanings(modes)}{card(drawn)}{told}"


def _cells(cell: SkillCell | None, modes: Sequence[str]) -> list[Cell]:
    """A skill's cells of one diagnosis, a line before the first."""
    if cell is None:
        return [Cell("–", css="edge"), *[Cell("–")] * (1 + len(modes))]
    right, own = right_and_own(cell)
    first = replace(
        right,
        text=f"{right.text} *" if cell.weak else right.text,
        css=f"edge {right.css}".strip(),
        tip=f"{count(cell.problems, 'problem')}. {cell.note}".strip(),
    )
    return [first, own, *(mode_cell(cell.modes.get(m), cell.stated) for m in modes)]


# ---- practice, skills, spending ------------------------------------------------------------------


def _practice(turns: Sequence[Json]) -> str:
    done = [t for t in turns if t["round"]]
    if not done:
        return ""
    skills = list(dict.fromkeys(skill for t in done for skill in t["mixture"]["weights"]))
    skills.sort(key=lambda s: -max(t["mixture"]["weights"].get(s, 0.0) for t in done))
    rows = [
        [skill, *(Cell(f"{100 * t['mixture']['weights'].get(skill, 0.0):.1f}",
                       count(t["practice"]["cells"].get(skill, 0), "item")) for t in done)]
        for skill in skills
    ]  # fmt: skip
    counts = [
        [_name(t), str(t["generate"]["made"]), str(t["generate"]["kept"]), _counts(t["generate"]["dropped"]),
         _counts(t["practice"]["left"]), str(t["practice"]["filled"]), str(t["practice"]["replayed"]),
         str(t["practice"]["items"])]
        for t in done
    ]  # fmt: skip
    head = ["", "made", "passed", "dropped", "not chosen", "filled up", "repeated", "practised"]
    return (
        "<h2>What was practised</h2>"
        + card(table("Share of the mixture in %, and items practised", ["skill", *map(_name, done)], rows))
        + card(table("Items", head, counts))
    )


def _counts(found: Json) -> str:
    return "\n".join(f"{name} {count}" for name, count in found.items()) or "0"


def _skills(final: Json) -> str:
    drawn = [
        (name, point(0, sides["start"], False), point(1, sides["end"]))
        for name, sides in final["skills"].items()
        if sides["start"]["n"] and sides["end"]["n"]
    ]
    if not drawn:
        return ""
    drawn.sort(key=lambda row: row[1].value)
    chart = charts.change_chart("Greedy accuracy by skill", drawn, ("start", "end"))
    rows = [
        [name, str(sides["end"]["n"]), percent(sides["start"]), percent(sides["end"]),
         "yes" if name in final["weakest_quarter"]["skills"] else ""]
        for name, sides in final["skills"].items()
    ]  # fmt: skip
    head = ["skill", "n", "start", "end", "weakest quarter"]
    return "<h2>By skill</h2>" + card(chart) + details("The numbers", card(table("Accuracy in %", head, rows)))


def _spent(value: Json) -> str:
    turns = value["rounds"]
    rows = [
        [_name(t), *(f"{t['spent'][name]:,g}" for name in ("samples", "tokens", "money")),
         f"{sum(t['seconds'].values()):.0f}"]
        for t in turns
    ]  # fmt: skip
    bars = {_name(t): dict(t["seconds"]) for t in turns}
    return (
        "<h2>What it cost</h2>"
        + card(charts.stacked_chart("Seconds by stage", bars, " s"))
        + card(table("Spent, evaluations aside", ["", "answers", "tokens", "money", "seconds of all stages"], rows))
    )
