"""What `r3v bench` shows: a table for the terminal, a bar chart and growth plots as SVG files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from r3v.bench.harness import Growth, Result
from r3v.io import atomic_path
from r3v.pages.charts import COLOURS, HEIGHT, LEFT, TOP, WIDTH, svg, ticks
from r3v.pages.charts import _text as text
from r3v.pages.kit import standalone

Results = Mapping[str, Mapping[str, Result]]
HEAD = ("benchmark", "ratio", "min", "max", "limit", "of limit", "goal", "against")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def rows(results: Results) -> list[tuple[str, ...]]:
    """One row of text cells per case, in the order of `HEAD`."""
    found = []
    for name, cases in results.items():
        for case, r in cases.items():
            goal = "-" if r.goal is None else f"{r.goal:g}x " + ("met" if r.ratio >= r.goal else "missed")
            cells = (_number(r.ratio), _number(r.min), _number(r.max), _number(r.limit), _share(r.of_limit))
            found.append((f"{name} {case}", *cells, goal, r.peer))
    return found


def table(results: Results) -> str:
    """The rows in aligned columns, and below them what was checked and further figures."""
    lines = [HEAD, *rows(results)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    out = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    out.insert(1, "  ".join("-" * w for w in widths))
    for name, cases in results.items():
        for case, r in cases.items():
            notes = [r.check] if r.check else []
            notes += [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in r.details.items()]
            if notes:
                out.append(f"{name} {case}: {'; '.join(notes)}")
    return "\n".join(out)


def laws(growth: Mapping[str, Sequence[Growth]]) -> str:
    """A line for each axis: by what power of the size the seconds grow, and the points."""
    lines = []
    for name, several in growth.items():
        for g in several:
            points = ", ".join(f"{x:g}: {s:.3g} s" + (f" {m / 1e6:.0f} MB" if m else "") for x, s, m in g.points)
            lines.append(f"{name}: {g.law()} ({points})")
    return "\n".join(lines)


def bar_chart(results: Results, title: str) -> str:
    """Bars from 1 (as fast as the peer) to the median ratio, right is better for ours, on a logarithmic axis.

    Whiskers go from least to most, a mark stands at the limit; the peer is named under each bar.
    """
    bars = [(f"{name} {case}", r) for name, cases in results.items() for case, r in cases.items()]
    left, right, row = 190, WIDTH - 70, 40
    bottom = 14 + row * len(bars)
    values = [v for _, r in bars for v in (r.min, r.max, r.limit or 1.0) if v > 0]
    low = min(0, math.floor(math.log2(min(values, default=1.0))))
    high = max(1, math.ceil(math.log2(max(values, default=1.0))))

    def x_of(value: float) -> float:
        return left + (math.log2(max(value, 2.0**low)) - low) / (high - low) * (right - left)

    body = []
    for power in range(low, high + 1):
        x, css = x_of(2.0**power), "grid" if power else "axis"
        body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{bottom}" class="{css}"/>')
        body.append(text(x, bottom + 16, f"{2.0**power:g}x"))
    body.append(text(left, bottom + 34, "bar: median ratio; whisker: least to most; thin mark: limit", "start"))
    for i, (name, r) in enumerate(bars):
        y = 14 + row * i
        tip = f"{name}: {r.ratio:.2f}x ({r.min:.2f} to {r.max:.2f}) against {r.peer}"
        body.append(text(left - 10, y + 13, name, "end"))
        begin, end = sorted((x_of(1.0), x_of(r.ratio)))
        width = max(end - begin, 0.5)
        body.append(f'<rect x="{begin:.1f}" y="{y}" width="{width:.1f}" height="18" rx="2" class="bar c0">')
        body.append(f"<title>{escape(tip)}</title></rect>")
        ends = f'x1="{x_of(r.min):.1f}" x2="{x_of(r.max):.1f}" y1="{y + 9}" y2="{y + 9}"'
        body.append(f'<line {ends} class="whisker c1"/>')
        if r.limit is not None:
            x = x_of(r.limit)
            body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{y + 21}" class="axis"/>')
        body.append(text(right + 8, y + 13, f"{r.ratio:.2f}x", "start"))
        body.append(text(x_of(1.0) + 4, y + 31, f"against {r.peer}", "start"))
    return svg(title, f"{len(bars)} ratios against peers", body, height=bottom + 44)


def growth_chart(title: str, growth: Growth, *, memory: bool = False) -> str:
    """Seconds, or peak memory in MB, over the size."""
    points = [(x, m / 1e6 if memory and m is not None else s) for x, s, m in growth.points if not memory or m]
    unit = "MB" if memory else "s"
    right, bottom = WIDTH - 40, HEIGHT - 50
    across, up = ticks(0.0, max(x for x, _ in points)), ticks(0.0, max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / across[-1] * (right - LEFT), bottom - y / up[-1] * (bottom - TOP)

    body = []
    for tick in up:
        y = place(0, tick)[1]
        body.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        body.append(text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    body += [text(place(tick, 0)[0], bottom + 18, f"{tick:g}") for tick in across]
    body.append(text((LEFT + right) / 2, bottom + 38, f"{growth.axis} ({unit} upwards)"))
    at = [place(x, y) for x, y in points]
    path = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(at))
    css = f"c{int(memory) % COLOURS}"
    body.append(f'<path d="{path}" class="line {css}"/>')
    for (x, y), (size, value) in zip(at, points, strict=True):
        tip = f"<title>{size:g}: {value:.4g} {unit}</title>"
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="dot {css}">{tip}</circle>')
    return svg(title, f"{len(points)} sizes", body)


def write_charts(results: Results, growth: Mapping[str, Sequence[Growth]], stem: Path, device: str) -> list[Path]:
    """`STEM.svg` with the bars, `STEM-growth-BENCHMARK-N.svg` and `...-memory.svg` for each growth. Returns the files
    written."""
    drawings: list[tuple[Path, str]] = []
    if any(results.values()):
        chart = bar_chart(results, f"Ours against peers on {device}")
        drawings.append((stem.with_suffix(".svg"), chart))
    for name, several in growth.items():
        drawings += _growth_drawings(name, several, stem)
    for path, drawing in drawings:
        with atomic_path(path) as part:
            part.write_text(standalone(drawing), encoding="utf-8")
    return [path for path, _ in drawings]


def _growth_drawings(name: str, growths: Sequence[Growth], stem: Path) -> list[tuple[Path, str]]:
    found = []
    for number, growth in enumerate(growths):
        file = f"{stem.stem}-growth-{name}-{number}"
        found.append((stem.with_name(f"{file}.svg"), growth_chart(f"{name}: seconds", growth)))
        if any(m for _, _, m in growth.points):
            chart = growth_chart(f"{name}: memory", growth, memory=True)
            found.append((stem.with_name(f"{file}-memory.svg"), chart))
    return found
