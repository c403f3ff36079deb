"""The pages of `r3v ui` that no run writes by itself: the list, the head of a run's page, the comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from r3v.app.ui.compare import Comparison
from r3v.app.ui.curves import Series, thinned
from r3v.app.ui.standing import NOTEBOOK, TURN, Standing
from r3v.pages import charts
from r3v.pages.charts import point
from r3v.pages.kit import Cell, card, count, link, page, percent, points, table, tile

LIVE, LIST = 10, 60
"""Seconds after which the curves of a run in work, and the list that has one, are asked for again. The page of a run is
not: who reads in it keeps the place."""


def address(name: str, kind: str = "run") -> str:
    """Of the page of a run, a diagnosis or a notebook; names may hold bytes that are no text."""
    return f"/{kind}/{quote(name, errors='surrogateescape')}"


def home() -> str:
    return link("All runs", "/")


def ago(seconds: float) -> str:
    """How long ago, in one unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 10)):
        if seconds >= length:
            return f"{int(seconds // (1 if unit == 's' else length))} {unit} ago"
    return "just now"


# ---- the list


def list_page(folder: Path, found: Sequence[Standing], now: float | None = None) -> str:
    """All runs below the folder, the one that changed last first."""
    now = time.time() if now is None else now
    rows = [
        [
            Cell(one.name, one.kind, link=_link(one)),
            _state(one),
            one.rounds,
            _gate(one),
            ago(now - one.changed) if one.changed else "",
        ]
        for one in sorted(found, key=lambda one: (-one.changed, one.name))
    ]
    title = f"Runs in {folder.name}"
    body = [f'<h1>{escape(title)}</h1><p class="soft">{escape(str(folder))}</p>']
    if rows:
        head = ["run", "state", "rounds", "gate, % right", "last change"]
        body.append(card(table(count(len(rows), "run"), head, rows, css="stack")))
        body.append(_chooser([one for one in found if one.gate is not None]))
    else:
        body.append(
            "<p>No runs here yet. A run of <code>r3v train</code>, <code>r3v evolve</code> or "
            "<code>r3v reinforce</code> appears as soon as it begins, wherever its <code>run.dir</code> lies below "
            "this folder; so do notebooks and diagnoses.</p>"
        )
    return page(title, body, refresh=LIST if any(one.alive for one in found) else 0)


def _link(one: Standing) -> str:
    return f"{address(one.name, 'notebook')}/-/" if one.kind == NOTEBOOK else address(one.name)


def _state(one: Standing) -> Cell:
    if one.wrong:
        return Cell(one.stage or "cannot be read", one.wrong, "bad")
    return Cell(one.stage, "in work" if one.alive else "", "good" if one.alive else "")


def _gate(one: Standing) -> Cell:
    if one.gate is None:
        return Cell("")
    low, high = one.gate["ci95"]
    shown = f"{100 * low:.1f} to {100 * high:.1f}, n = {one.gate['n']}"
    return Cell(f"{100 * one.gate['accuracy']:.1f}", shown)


def _chooser(found: Sequence[Standing]) -> str:
    """A form that leads to the comparison of two runs."""
    if len(found) < 2:
        return ""
    names = sorted(one.name for one in found)

    def choice(field: str, label: str, chosen: str) -> str:
        options = "".join(f"<option{' selected' if name == chosen else ''}>{escape(name)}</option>" for name in names)
        return f'<label>{label} <select name="{field}">{options}</select></label>'

    return (
        '<h2>Compare two runs</h2><form method="get" action="/compare" class="bar">'
        f"{choice('a', 'this run', names[0])}{choice('b', 'with', names[1])}<button>Compare</button></form>"
    )


# ---- a run


def run_page(
    found: Standing,
    links: Mapping[str, str],
    live: Mapping[str, Series],
    body: Sequence[str] = (),
    *,
    refresh: bool = False,
    now: float | None = None,
) -> str:
    """The page of a run: where it stands, the curves so far, then `body`, what its learner's own page says. `refresh`:
    the browser asks again and again while the run is in work."""
    now = time.time() if now is None else now
    nav = home() + "".join(link(name, to) for name, to in links.items())
    state = _state(found)
    changed = f" · changed {ago(now - found.changed)}" if found.changed else ""
    head = [
        f'<h1>{escape(found.name)}</h1><p class="soft">{escape(found.kind)}{escape(changed)}</p><div class="tiles">',
        tile(found.stage or "cannot be read", "in work" if found.alive else "not in work", state.css),
        tile(found.rounds or "–", f"{TURN.get(found.kind, 'round')}s done"),
    ]
    if found.gate is not None:
        gate = _gate(found)
        head.append(tile(f"{gate.text} %", f"of the gate problems right ({gate.small})"))
    head.append("</div>")
    if found.wrong:
        head.append(f'<p class="error">{escape(found.wrong)}</p>')
    return page(found.name, [*head, *_curves(live), *body], nav=nav, refresh=LIVE if refresh and found.alive else 0)


def _curves(live: Mapping[str, Series]) -> list[str]:
    if not live:
        return []
    drawn = []
    for title, series in live.items():
        thin = {name: thinned(values) for name, values in series.items()}
        each = max(n for _, n in thin.values())
        unit = "step" if each == 1 else f"mean of {each} steps"
        lines = {name: values for name, (values, _) in thin.items()}
        drawn.append(
            card(f"<h3>{escape(title)}</h3>", charts.keys(list(lines)), charts.curve_chart(title, lines, unit=unit))
        )
    return ["<h2>Step by step</h2><p class='soft'>Thin: every step; bold: running mean.</p>", *drawn]


# ---- two runs


def compare_page(names: tuple[str, str], found: Comparison) -> str:
    """What differs between two runs, and what each measured."""
    title = "Two runs compared"
    nav = home() + "".join(link(name, address(name)) for name in names)
    sides = [f"{name} (round {side.number})" for name, side in zip(names, found.sides, strict=True)]
    metrics = list(dict.fromkeys(name for side in found.sides for name in side.cells))
    rows: list[list[str | Cell]] = [
        [name, *(_measured(side.cells.get(name)) for side in found.sides), _difference(found, name)] for name in metrics
    ]
    told = (
        f"On {count(found.common, 'problem')} that both were measured on, the difference is paired: 95 % bootstrap "
        "interval, exact sign test."
        if found.common
        else "They were measured on different problems, so that nothing can be paired: differences between the columns "
        "are differences of the problems too."
    )
    if found.other:
        told += f" {count(found.other, 'problem')} of the same name have another answer and are left out."
    fields = [[name, Cell(a), Cell(b)] for name, a, b in found.fields]
    return page(
        title,
        [
            f"<h1>{title}</h1><p class='soft'>{escape(names[0])} and {escape(names[1])}</p>",
            f"<h2>Accuracy of the accepted rounds</h2><p class='soft'>{escape(told)}</p>",
            _drawn(names, found, metrics),
            card(table("Accuracy in % (95 % interval)", ["", *sides, "second minus first"], rows, css="stack")),
            "<h2>Settings that differ</h2>",
            card(table(count(len(fields), "setting"), ["", *names], fields, css="words"))
            if fields
            else "<p>None but the folder.</p>",
        ],
        nav=nav,
    )


def _drawn(names: tuple[str, str], found: Comparison, metrics: Sequence[str]) -> str:
    both = [name for name in metrics if all(name in side.cells for side in found.sides)]
    if not both:
        return ""
    first, second = (side.cells for side in found.sides)
    rows = [(name, point(0, first[name], False), point(1, second[name])) for name in both]
    return card(charts.change_chart("Accuracy of the accepted rounds", rows, names))


def _measured(cell: Mapping[str, object] | None) -> Cell:
    if cell is None:
        return Cell("–")
    share, *more = percent(cell).split("\n")
    return Cell(share, f"{', '.join(more)}, n = {cell['n']}")


def _difference(found: Comparison, metric: str) -> Cell:
    pair = found.pairs.get(metric)
    if pair is None:
        return Cell("–")
    css = "good" if pair.low > 0 else "bad" if pair.high < 0 else ""
    interval = f"{points(100 * pair.low)} to {points(100 * pair.high)}"
    told = f"{interval}; {pair.wins} won, {pair.losses} lost of {pair.n}, p {pair.p:.2g}"
    return Cell(points(100 * pair.difference), told, css)


def told_page(title: str, text: str) -> str:
    """A page that says one thing: what is missing or wrong."""
    return page(title, [f"<h1>{escape(title)}</h1>", f'<p class="error">{escape(text)}</p>'], nav=home())
