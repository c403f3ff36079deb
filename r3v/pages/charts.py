"""Charts as inline SVG strings: colours are CSS classes of the page, so light and dark need no second drawing.

Every chart has a title and a description for screen readers, and the page puts the same numbers in a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 130, 16, 40
PLOT, BARS = "chart plot", "chart bars"
"""Classes of drawings: a phone shows the names of a plot's lines above it (`keys`), and bars in their whole width."""
LETTER = 10.2
"""Width of a letter of a label where it is largest, on a phone."""
MOST_WORDS = 5
"""Rounds on an axis that are called by their whole name; of more there stands the number."""
COLOURS = 8
"""Classes c0 .. c7 of the page's style sheet."""


@dataclass(frozen=True)
class Point:
    """A measured share with its 95 % interval; `solid` False draws it hollow (a round that was not accepted)."""

    x: float
    value: float
    low: float
    high: float
    solid: bool = True


def point(x: float, cell: Mapping[str, Any], solid: bool = True) -> Point:
    """The point of a measured share, of `r3v.run.evaluation.cell`."""
    return Point(x, cell["accuracy"], cell["ci95"][0], cell["ci95"][1], solid)


def svg(
    title: str, description: str, body: Sequence[str], width: int = WIDTH, height: int = HEIGHT, css: str = "chart"
) -> str:
    """The drawing in its frame. `css`: `PLOT`, `BARS`, or neither."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}" class="{css}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover [low, high]: steps of 1, 2 or 5 times a power of ten."""
    if high - low < 1e-9:
        high = low + 1.0
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _text(x: float, y: float, text: str, anchor: str = "middle", css: str = "label") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _grid(values: Sequence[float], y_of, right: float, suffix: str) -> list[str]:
    out = []
    for value in values:
        y = y_of(value)
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        out.append(_text(LEFT - 8, y + 4, f"{value:g}{suffix}", "end"))
    return out


def spread_labels(wanted: Sequence[float], gap: float, bottom: float = math.inf) -> list[float]:
    """Label heights in the order given, at least `gap` apart and none below `bottom`, each as near its wish as a sweep
    downwards and one back up allow."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed, last = [0.0] * len(wanted), -math.inf
    for i in order:
        last = max(wanted[i], last + gap)
        placed[i] = last
    last = bottom + gap
    for i in reversed(order):
        last = placed[i] = min(placed[i], last - gap)
    return placed


def keys(names: Sequence[str]) -> str:
    """The names of a chart's lines as HTML, for screens on which their ends are out of sight."""
    marks = "".join(f'<span><i class="key k{i % COLOURS}"></i>{escape(name)}</span>' for i, name in enumerate(names))
    return f'<div class="keys" aria-hidden="true">{marks}</div>'


def rounds_chart(title: str, series: Mapping[str, Sequence[Point]], turn: str = "round", first: str = "base") -> str:
    """Accuracy (%) by round (or what a `turn` is called), one line per selector, whiskers for the intervals, names at
    the right ends."""
    points = [p for line in series.values() for p in line]
    scale = ticks(100 * min(p.low for p in points), 100 * max(p.high for p in points))
    xs = sorted({p.x for p in points})
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(x: float, line: float) -> float:
        width = (right - LEFT) / max(1, len(xs))
        return LEFT + (xs.index(x) + 0.5) * width + (line - (len(series) - 1) / 2) * min(9, width / 10)

    def y_of(value: float) -> float:
        return bottom - (value - scale[0]) / (scale[-1] - scale[0]) * (bottom - TOP)

    body = _grid(scale, y_of, right, "%")
    middle = (len(series) - 1) / 2
    word = f"{turn} " if len(xs) <= MOST_WORDS else ""
    body += [_text(x_of(x, middle), bottom + 20, first if x == 0 else f"{word}{x:g}") for x in xs]
    ends = spread_labels([y_of(100 * line[-1].value) for line in series.values()], 15, bottom)
    for number, (name, line) in enumerate(series.items()):
        css = f"c{number % COLOURS}"
        at = [(x_of(p.x, number), y_of(100 * p.value), p) for p in line]
        path = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y, _) in enumerate(at))
        body.append(f'<path d="{path}" class="line {css}"/>')
        for x, y, p in at:
            low, high = y_of(100 * p.low), y_of(100 * p.high)
            body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" class="whisker {css}"/>')
            when = first if p.x == 0 else f"{turn} {p.x:g}"
            tip = f"{name}, {when}: {100 * p.value:.1f}% ({100 * p.low:.1f} to {100 * p.high:.1f})"
            dot = f"dot {css}" if p.solid else f"dot hollow {css}"
            body.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{dot}"><title>{escape(tip)}</title></circle>'
            )
        body.append(_text(right + 12, ends[number] + 4, name, "start", f"name {css}"))
        x, y = at[-1][0] + 6, at[-1][1]
        body.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{right + 9}" y2="{ends[number]:.1f}" class="lead"/>')
    return svg(title, f"{len(series)} selectors over {len(xs)} {turn}s", body, css=PLOT)


def change_chart(title: str, rows: Sequence[tuple[str, Point, Point]], names: tuple[str, str]) -> str:
    """Horizontal rows: a share before (hollow) and after (solid) with intervals, joined by a line."""
    height = 46 + 24 * len(rows)
    left = max(120, 20 + round(LETTER * max((len(row[0]) for row in rows), default=0)))
    right = WIDTH - 30

    def x_of(share: float) -> float:
        return left + share * (right - left)

    body = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        body.append(f'<line x1="{x_of(tick):.1f}" x2="{x_of(tick):.1f}" y1="24" y2="{height - 20}" class="grid"/>')
        body.append(_text(x_of(tick), height - 4, f"{100 * tick:g}%"))
    body.append(_text(left, 14, f"○ {names[0]}    ● {names[1]}", "start"))
    for i, (name, before, after) in enumerate(rows):
        y = 38 + 24 * i
        body.append(_text(left - 10, y + 4, name, "end"))
        for p, css, at in ((before, "c7", y - 3), (after, "c0", y + 3)):
            ends = f'x1="{x_of(p.low):.1f}" x2="{x_of(p.high):.1f}" y1="{at}" y2="{at}"'
            body.append(f'<line {ends} class="whisker {css}"/>')
            tip = escape(f"{name}: {100 * p.value:.1f}% ({100 * p.low:.1f} to {100 * p.high:.1f})")
            css += "" if p.solid else " hollow"
            body.append(
                f'<circle cx="{x_of(p.value):.1f}" cy="{at}" r="4.5" class="dot {css}"><title>{tip}</title></circle>'
            )
    return svg(title, f"{names[0]} and {names[1]} for {len(rows)} rows", body, height=height, css=BARS)


def curve_chart(
    title: str, series: Mapping[str, Sequence[float]], smooth: float = 0.7, unit: str = "optimiser step"
) -> str:
    """One value per step: the raw curve thin, its exponential mean (bias-corrected) bold, names at the right ends."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    every = [v for line in series.values() for v in line]
    scale = ticks(min(0.0, *every), max(every))
    longest = max(len(line) for line in series.values())

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + step / max(1, longest - 1) * (right - LEFT)
        return x, bottom - (value - scale[0]) / (scale[-1] - scale[0]) * (bottom - TOP)

    body = _grid(scale, lambda v: place(0, v)[1], right, "")
    marks = [1, *(int(t) for t in ticks(0, longest) if t == int(t) and 1 < t <= longest)]
    body += [_text(place(t - 1, 0)[0], bottom + 20, str(t)) for t in marks]
    body.append(_text((LEFT + right) / 2, HEIGHT - 4, unit))
    means = {name: _running_mean(line, smooth) for name, line in series.items()}
    ends = spread_labels([place(0, mean[-1])[1] for mean in means.values()], 15, bottom)
    for number, (name, line) in enumerate(series.items()):
        for css, values in (("raw", line), ("line", means[name])):
            dots = [place(i, v) for i, v in enumerate(values)]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
            body.append(f'<polyline points="{points}" class="{css} c{number % COLOURS}"/>')
        body.append(_text(right + 12, ends[number] + 4, name, "start", f"name c{number % COLOURS}"))
    return svg(title, f"{len(series)} curves over {longest} {unit}s", body, css=PLOT)


def _running_mean(values: Sequence[float], decay: float) -> list[float]:
    total, weight, out = 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + (1 - decay) * value, decay * weight + (1 - decay)
        out.append(total / weight)
    return out


def stacked_chart(title: str, rows: Mapping[str, Mapping[str, float]], unit: str = "") -> str:
    """Horizontal stacked bars with a legend on top; the total stands at the end of each bar."""
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    most = max([sum(row.values()) for row in rows.values()] or [1.0]) or 1.0
    left, right, top = 110, WIDTH - 90, 4
    body, x = [], float(left)
    for number, kind in enumerate(kinds):
        width = 34 + LETTER * len(kind)
        if x > left and x + width > WIDTH:
            x, top = float(left), top + 22
        body.append(f'<rect x="{x:.1f}" y="{top}" width="12" height="12" rx="3" class="bar c{number % COLOURS}"/>')
        body.append(_text(x + 18, top + 10, kind, "start"))
        x += width
    height = top + 40 + 30 * len(rows)
    for i, (name, row) in enumerate(rows.items()):
        y, x = top + 28 + 30 * i, float(left)
        body.append(_text(left - 10, y + 15, name, "end"))
        for number, kind in enumerate(kinds):
            value = row.get(kind, 0.0)
            width = value / most * (right - left)
            if value > 0:
                body.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{max(width - 1, 0.5):.1f}" height="20" rx="2" '
                    f'class="bar c{number % COLOURS}"><title>{escape(f"{kind}: {value:g}{unit}")}</title></rect>'
                )
            x += width
        body.append(_text(x + 6, y + 15, f"{sum(row.values()):,.0f}{unit}", "start"))
    return svg(title, f"{len(rows)} bars of {', '.join(kinds)}", body, height=height, css=BARS)


def difference_chart(title: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Horizontal rows of (name, difference, low, high) in points around a line at zero."""
    height, left, right = 40 + 24 * len(rows), 240, WIDTH - 30
    scale = ticks(min([0.0, *(r[2] for r in rows)]), max([1.0, *(r[3] for r in rows)]))

    def x_of(value: float) -> float:
        return left + (value - scale[0]) / (scale[-1] - scale[0]) * (right - left)

    body = []
    for tick in scale:
        css = "axis" if tick == 0 else "grid"
        body.append(f'<line x1="{x_of(tick):.1f}" x2="{x_of(tick):.1f}" y1="8" y2="{height - 20}" class="{css}"/>')
        body.append(_text(x_of(tick), height - 4, f"{tick:+g}"))
    for i, (name, value, low, high) in enumerate(rows):
        y = 22 + 24 * i
        body.append(_text(left - 10, y + 4, name, "end"))
        body.append(f'<line x1="{x_of(low):.1f}" x2="{x_of(high):.1f}" y1="{y}" y2="{y}" class="whisker c0"/>')
        tip = f"{name}: {value:+.1f} ({low:+.1f} to {high:+.1f})"
        body.append(
            f'<circle cx="{x_of(value):.1f}" cy="{y}" r="4.5" class="dot c0"><title>{escape(tip)}</title></circle>'
        )
    return svg(title, f"{len(rows)} differences with 95 % intervals", body, height=height)
