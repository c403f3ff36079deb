"""The picture of a GeoWorld problem: black strokes, slanted vertex letters, upright numbers on white, to
scale.

Drawn at four times the size and averaged down. Labels go where they cover the least ink; if a number
cannot be placed well, the figure is turned and tried again.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from r3v.data.geoworld.core import Draft, Item, Mark, Point
from r3v.data.geoworld.glyphs import glyph
from r3v.data.geoworld.place import BLOCKED, Box, Placer

SIZE = 112
SCALE = 4
STROKE = 1.3
MARGIN = 14.5
_TURNS = {1: 10.0, 2: 30.0, 3: 75.0, 4: 180.0, 5: 180.0}
_GOOD = 14.0
_TRIES = 6
_MOST_TRIES = 60


@dataclass(frozen=True, slots=True)
class Label:
    """A number or a letter on the picture; `given` is the key of the given a number states."""

    text: str
    kind: str
    box: Box
    given: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies on the picture: points in pixels (y down), pixels per unit, boxes of the
    labels.
    """

    points: dict[str, Point]
    scale: float
    labels: tuple[Label, ...]
    cost: float


def render(item: Item) -> bytes:
    """PNG bytes of the picture, `SIZE` x `SIZE`, 8-bit grey."""
    picture, _ = draw(item)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def draw(item: Item) -> tuple[Image.Image, Layout]:
    """The picture and its layout, the best of a few turns of the figure."""
    meta = item.problem.meta
    level, place = meta["level"], meta["place"]
    rng = random.Random(f"layout|{meta['family']}|{level}|{meta['seed']}|{meta['split']}")
    best: tuple[float, Image.Image, Layout] | None = None
    for attempt in range(_MOST_TRIES):
        found = _attempt(item.draft, level, place == "figure", rng)
        if best is None or found[1].cost < best[0]:
            best = (found[1].cost, *found)
        if best[0] <= _GOOD or (attempt + 1 >= _TRIES and best[0] < BLOCKED):
            break
    assert best is not None
    return best[1], best[2]


def _attempt(draft: Draft, level: int, numbers: bool, rng: random.Random) -> tuple[Image.Image, Layout]:
    turn = rng.uniform(-_TURNS[level], _TURNS[level])
    points, scale = _fit(draft, turn, level > 1 and rng.random() < 0.5, rng)
    shown = [g for g in draft.givens if numbers and not g.text_only]
    canvas = Image.new("L", (SIZE * SCALE, SIZE * SCALE), 255)
    pen = ImageDraw.Draw(canvas)
    for mark in draft.marks:
        _stroke(pen, mark, points)
    for g in shown:
        if g.measure[0] == "angle":
            _arc(pen, *(points[p] for p in g.measure[1:]))
    centre = _centre(draft, points)
    if centre is not None:
        _dot(pen, points["O"])
    placer = Placer(np.asarray(canvas.reduce(SCALE)), SIZE, list(points.values()))
    labels = []
    order = sorted(shown, key=lambda g: _room(g.measure, points))
    for g in order:
        at = [points[p] for p in g.measure[1:]]
        text = str(g.value)
        box = placer.angle(text, *at) if g.measure[0] == "angle" else placer.side(text, *at)
        labels.append(Label(text, "number", box, g.key))
    for name, point in points.items():
        if name not in draft.hidden:
            labels.append(Label(name, "letter", placer.letter(name, point)))
    for label in labels:
        _write(canvas, label)
    return canvas.reduce(SCALE), Layout(points, scale, tuple(labels), placer.cost)


def _room(measure: Sequence[str], points: dict[str, Point]) -> float:
    """Numbers with the least room are placed first: narrow angles, then short sides."""
    at = [points[p] for p in measure[1:]]
    if measure[0] == "angle":
        return abs(_opening(*at))
    return 1000.0 + math.dist(at[0], at[1])


def _centre(draft: Draft, points: dict[str, Point]) -> Point | None:
    circles = [m for m in draft.marks if m.kind == "circle"]
    return points[circles[0].points[0]] if circles and circles[0].points[0] not in draft.hidden else None


def _fit(draft: Draft, turn: float, mirror: bool, rng: random.Random) -> tuple[dict[str, Point], float]:
    """Turn (degrees), mirror and scale the figure into the picture; returns pixel points and pixels per
    unit.
    """
    r = math.radians(turn)
    cos, sin = math.cos(r), math.sin(r)
    world = {}
    for name, (x, y) in draft.points.items():
        x = -x if mirror else x
        world[name] = (x * cos - y * sin, -(x * sin + y * cos))
    xs, ys = [p[0] for p in world.values()], [p[1] for p in world.values()]
    for mark in draft.marks:
        if mark.kind == "circle":
            (cx, cy), edge = world[mark.points[0]], world[mark.points[1]]
            radius = math.dist((cx, cy), edge)
            xs += [cx - radius, cx + radius]
            ys += [cy - radius, cy + radius]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    room = SIZE - 2 * MARGIN
    scale = room / max(width, height) * rng.uniform(0.95, 1.0)
    dx = (SIZE - scale * width) / 2 - scale * min(xs) + rng.uniform(-1.5, 1.5)
    dy = (SIZE - scale * height) / 2 - scale * min(ys) + rng.uniform(-1.5, 1.5)
    return {name: (x * scale + dx, y * scale + dy) for name, (x, y) in world.items()}, scale


def _up(p: Point) -> tuple[float, float]:
    return p[0] * SCALE, p[1] * SCALE


def _line(pen: ImageDraw.ImageDraw, p: Point, q: Point, width: float = STROKE) -> None:
    pen.line([_up(p), _up(q)], fill=0, width=round(width * SCALE))


def _dot(pen: ImageDraw.ImageDraw, p: Point) -> None:
    x, y = _up(p)
    pen.ellipse([x - 6, y - 6, x + 6, y + 6], fill=0)


def _stroke(pen: ImageDraw.ImageDraw, mark: Mark, points: dict[str, Point]) -> None:
    at = [points[name] for name in mark.points]
    if mark.kind == "segment" and mark.dashed:
        _dashes(pen, at[0], at[1])
    elif mark.kind == "segment":
        _line(pen, at[0], at[1])
    elif mark.kind == "circle":
        (x, y), radius = _up(at[0]), math.dist(at[0], at[1]) * SCALE
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=0, width=round(STROKE * SCALE))
    elif mark.kind == "right":
        _square(pen, at[0], at[1], at[2])
    elif mark.kind == "ticks":
        _ticks(pen, at[0], at[1], mark.count)


def _dashes(pen: ImageDraw.ImageDraw, p: Point, q: Point, dash: float = 3.6) -> None:
    length = math.dist(p, q)
    count = max(1, round(length / dash)) | 1
    for i in range(0, count, 2):
        a, b = i / count, (i + 1) / count
        _line(pen, _along(p, q, a), _along(p, q, b))


def _along(p: Point, q: Point, share: float) -> Point:
    return p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])


def _unit(p: Point, q: Point) -> Point:
    length = math.dist(p, q) or 1.0
    return (q[0] - p[0]) / length, (q[1] - p[1]) / length


def _square(pen: ImageDraw.ImageDraw, p: Point, vertex: Point, q: Point, size: float = 6.0) -> None:
    (ux, uy), (vx, vy) = _unit(vertex, p), _unit(vertex, q)
    a = (vertex[0] + ux * size, vertex[1] + uy * size)
    c = (vertex[0] + vx * size, vertex[1] + vy * size)
    _line(pen, a, (a[0] + vx * size, a[1] + vy * size), 1.0)
    _line(pen, c, (c[0] + ux * size, c[1] + uy * size), 1.0)


def _ticks(pen: ImageDraw.ImageDraw, p: Point, q: Point, count: int) -> None:
    ux, uy = _unit(p, q)
    mx, my = _along(p, q, 0.5)
    for i in range(count):
        shift = (i - (count - 1) / 2) * 3
        x, y = mx + ux * shift, my + uy * shift
        _line(pen, (x - uy * 3.5, y + ux * 3.5), (x + uy * 3.5, y - ux * 3.5), 1.0)


def _opening(p: Point, vertex: Point, q: Point) -> float:
    """The signed angle from the arm to p to the arm to q in radians, in picture coordinates."""
    a = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
    b = math.atan2(q[1] - vertex[1], q[0] - vertex[0])
    return (b - a + math.pi) % (2 * math.pi) - math.pi


def _arc(pen: ImageDraw.ImageDraw, p: Point, vertex: Point, q: Point) -> None:
    opening = _opening(p, vertex, q)
    radius = 8.0 if abs(opening) > 0.9 else 10.5
    start = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
    steps = 12
    path = [
        _up(
            (
                vertex[0] + radius * math.cos(start + opening * i / steps),
                vertex[1] + radius * math.sin(start + opening * i / steps),
            )
        )
        for i in range(steps + 1)
    ]
    pen.line(path, fill=0, width=SCALE, joint="curve")


def _write(canvas: Image.Image, label: Label) -> None:
    """Put a label on the picture, numbers on a white box."""
    mask = glyph(label.text, label.kind == "letter", SCALE)
    x0, y0, x1, y1 = label.box
    if label.kind == "number":
        box = [round(v * SCALE) for v in (x0, y0, x1, y1)]
        canvas.paste(255, (box[0], box[1], box[2], box[3]))
    x = round((x0 + x1) / 2 * SCALE - mask.width / 2)
    y = round((y0 + y1) / 2 * SCALE - mask.height / 2)
    canvas.paste(0, (x, y), mask)
