"""The picture of a problem: strokes to scale, letters and numbers where they cover the least ink.

A layout depends on the item alone; what does not fit is drawn larger and tried again.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from r3v.data.euclid.figure import Figure, Point, Quantity
from r3v.data.euclid.item import Item
from r3v.data.euclid.style import SCALE, Hand, Style, draw_style, glyphs
from r3v.data.placing import BLOCKED, Box, Placer

_TRIES = 5
_GOOD = 16.0
LARGEST = 300


@dataclass(frozen=True, slots=True)
class Label:
    """A text on the picture: kind "letter", "number" (a value), "mark" (the name of an angle) or "line" (of a line)."""

    text: str
    kind: str
    box: Box


@dataclass(frozen=True, slots=True)
class Mark:
    """A right angle, or ticks on a segment, with the points it stands at."""

    kind: str
    points: tuple[str, ...]
    count: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where on the picture: points in pixels (y down), labels, marks."""

    points: dict[str, Point]
    size: tuple[int, int]
    labels: tuple[Label, ...]
    marks: tuple[Mark, ...]
    style: Style
    cost: float


def render(item: Item) -> bytes:
    """PNG bytes of the picture, 8-bit grey."""
    picture, _ = draw(item)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def draw(item: Item) -> tuple[Image.Image, Layout]:
    """The picture and its layout, the best of a few attempts."""
    rng = random.Random(f"euclid|picture|{item.problem.id}")
    style = draw_style(rng, bool(item.figure.opening))
    marks = _marks(item, rng)
    best: tuple[Image.Image, Layout] | None = None
    for _ in range(_TRIES):
        found = _attempt(item, style, marks, rng)
        if best is None or found[1].cost < best[1].cost:
            best = found
        if best[1].cost <= _GOOD:
            break
        turn = style.turn if item.figure.opening else style.turn + rng.uniform(-12, 12)
        style = replace(style, turn=turn, side=min(LARGEST, round(style.side * 1.18)))
    assert best is not None
    if best[1].cost >= BLOCKED:
        best = _attempt(item, replace(style, side=LARGEST), marks, rng)
    return best


def _marks(item: Item, rng: random.Random) -> tuple[Mark, ...]:
    """Marks for what the question leaves to the picture, and now and then for what it says as well."""
    marks: list[Mark] = []
    counts = 0
    for clause in item.figure.clauses:
        must = clause in item.marked
        if clause.optional or not (must or rng.random() < 0.4):
            continue
        for fact in clause.facts:
            if fact[0] == "right":
                marks.append(Mark("right", tuple(fact[1:])))
            elif fact[0] == "eq" and fact[1][0] == "length" == fact[2][0]:
                counts += 1
                marks += [Mark("ticks", tuple(q[1:]), min(counts, 3)) for q in fact[1:]]
    kept: dict[tuple[str, ...], Mark] = {}
    for mark in marks:
        kept.setdefault((mark.kind, *mark.points), mark)
    return tuple(kept.values())


def _attempt(item: Item, style: Style, marks: tuple[Mark, ...], rng: random.Random) -> tuple[Image.Image, Layout]:
    figure = item.figure
    points, size, ends = _fit(figure, style)
    canvas = Image.new("L", (size[0] * SCALE, size[1] * SCALE), 255)
    pen = Pen(ImageDraw.Draw(canvas), style)
    for o, names in figure.circles.items():
        pen.circle(points[o], math.dist(points[o], points[names[0]]))
    for index in range(len(figure.lines)):
        pen.line(*ends[index], dashed=index in figure.dashed)
    for mark in marks:
        at = [points[p] for p in mark.points]
        if mark.kind == "right":
            pen.square(at[0], at[1], at[2])
        else:
            pen.ticks(at[0], at[1], mark.count)
    valued = [(q, _written(q, v.text, style)) for q, v in item.pictured]
    named = [(q, name) for q, name in figure.numbered.items()]
    for q, _ in [*valued, *named]:
        if q[0] == "angle" and (style.arcs or q in figure.numbered):
            for k in range(max(1, style.arcs)):
                pen.arc(*_arms(q, points), extra=2.5 * k)
    for o in figure.circles:
        if o in points and _shown(figure, o):
            pen.dot(points[o])
    if style.dots:
        for name in points:
            if name not in figure.hidden:
                pen.dot(points[name])
    placer = Placer(np.asarray(canvas.reduce(SCALE)), list(points.values()), _measure(style), style.letters.size / 14.5)
    labels = [*_numbers(valued, named, points, placer), *_letters(figure, points, ends, placer)]
    for label in labels:
        _write(canvas, label, style)
    return _finished(canvas, style, rng), Layout(points, size, tuple(labels), marks, style, placer.cost)


def _written(q: Quantity, text: str, style: Style) -> str:
    return f"{text}°" if q[0] == "angle" and style.degree_sign else text


def _shown(figure: Figure, o: str) -> bool:
    return o not in figure.hidden and (figure.centre_shown or any(o in names for names in figure.lines))


def _arms(q: Quantity, points: dict[str, Point]) -> tuple[Point, Point, Point]:
    return points[q[2]], points[q[1]], points[q[3]]


def _measure(style: Style):
    def size(text: str, letter: bool) -> tuple[float, float]:
        mask = glyphs(text, style.letters if letter else style.digits)
        return mask.width / SCALE, mask.height / SCALE

    return size


def _numbers(valued, named, points: dict[str, Point], placer: Placer) -> list[Label]:
    """Values and angle names, those with the least room first."""

    def room(entry: tuple[Quantity, str, str]) -> float:
        q = entry[0]
        if q[0] == "angle":
            p, v, r = _arms(q, points)
            return abs(opening(p, v, r))
        return 10.0 + math.dist(points[q[1]], points[q[2]])

    wanted = sorted([*((q, t, "number") for q, t in valued), *((q, t, "mark") for q, t in named)], key=room)
    labels = []
    for q, text, kind in wanted:
        box = (
            placer.angle(text, *_arms(q, points)) if q[0] == "angle" else placer.side(text, points[q[1]], points[q[2]])
        )
        labels.append(Label(text, kind, box))
    return labels


def _letters(figure: Figure, points: dict[str, Point], ends, placer: Placer) -> list[Label]:
    labels = []
    for name, point in points.items():
        if name not in figure.hidden and (name not in figure.circles or _shown(figure, name)):
            labels.append(Label(name, "letter", placer.letter(name, point)))
    for index, names in enumerate(figure.lines):
        title = figure.story.get(" ".join(("line", *names)))
        if title:
            labels.append(Label(title, "line", placer.letter(title, ends[index][1])))
    return labels


def _fit(figure: Figure, style: Style):
    """Turn, mirror and scale into the picture: pixel points, (width, height), and the drawn ends of every line."""
    r = math.radians(style.turn)
    cos, sin = math.cos(r), math.sin(r)

    def world(p: Point) -> Point:
        x, y = (-p[0] if style.mirror else p[0]), p[1]
        return x * cos - y * sin, -(x * sin + y * cos)

    placed = {name: world(p) for name, p in figure.points.items() if name not in figure.circles or _shown(figure, name)}
    centres = {name: world(figure.points[name]) for name in figure.circles}
    drawn = [(placed[names[0]], placed[names[-1]]) for names in figure.lines]
    xs, ys = [p[0] for p in placed.values()], [p[1] for p in placed.values()]
    for o, names in figure.circles.items():
        radius = figure.distance(o, names[0])
        xs += [centres[o][0] - radius, centres[o][0] + radius]
        ys += [centres[o][1] - radius, centres[o][1] + radius]
    left, top = min(xs), min(ys)
    wide, high = max(xs) - left, max(ys) - top
    room = style.side - 2 * style.margin
    scale = room / max(wide, high)
    width = max(48, math.ceil(wide * scale + 2 * style.margin))
    height = max(48, math.ceil(high * scale + 2 * style.margin))
    dx = (width - wide * scale) / 2 - left * scale
    dy = (height - high * scale) / 2 - top * scale
    place = lambda p: (p[0] * scale + dx, p[1] * scale + dy)  # noqa: E731
    points = {name: place(p) for name, p in {**placed, **centres}.items()}
    ends = [(place(p), place(q)) for p, q in drawn]
    return points, (width, height), ends


class Pen:
    """Strokes on the enlarged canvas, in picture coordinates."""

    def __init__(self, pen: ImageDraw.ImageDraw, style: Style) -> None:
        self.pen, self.style = pen, style
        self.width = max(1, round(style.stroke * SCALE))

    def line(self, p: Point, q: Point, dashed: bool = False, width: int = 0) -> None:
        if not dashed:
            self.pen.line([_up(p), _up(q)], fill=0, width=width or self.width)
            return
        count = max(1, round(math.dist(p, q) / 3.8)) | 1
        for i in range(0, count, 2):
            self.line(_along(p, q, i / count), _along(p, q, (i + 1) / count))

    def circle(self, centre: Point, radius: float) -> None:
        (x, y), r = _up(centre), radius * SCALE
        self.pen.ellipse([x - r, y - r, x + r, y + r], outline=0, width=self.width)

    def dot(self, p: Point) -> None:
        (x, y), r = _up(p), (0.8 + self.style.stroke * 0.6) * SCALE
        self.pen.ellipse([x - r, y - r, x + r, y + r], fill=0)

    def square(self, p: Point, vertex: Point, q: Point) -> None:
        size = min(self.style.side * 0.05, 0.3 * math.dist(p, vertex), 0.3 * math.dist(q, vertex))
        (ux, uy), (vx, vy) = _unit(vertex, p), _unit(vertex, q)
        a = (vertex[0] + ux * size, vertex[1] + uy * size)
        c = (vertex[0] + vx * size, vertex[1] + vy * size)
        corner = (a[0] + vx * size, a[1] + vy * size)
        thin = max(1, round(0.8 * SCALE))
        self.line(a, corner, width=thin)
        self.line(c, corner, width=thin)

    def ticks(self, p: Point, q: Point, count: int) -> None:
        ux, uy = _unit(p, q)
        mx, my = _along(p, q, 0.5)
        for i in range(count):
            shift = (i - (count - 1) / 2) * 3
            x, y = mx + ux * shift, my + uy * shift
            self.line((x - uy * 3.5, y + ux * 3.5), (x + uy * 3.5, y - ux * 3.5), width=max(1, round(0.9 * SCALE)))

    def arc(self, p: Point, vertex: Point, q: Point, extra: float = 0.0) -> None:
        turned = opening(p, vertex, q)
        radius = (8.0 if abs(turned) > 0.9 else 11.0) * self.style.letters.size / 14.0 + extra
        start = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
        path = []
        for i in range(13):
            turn = start + turned * i / 12
            path.append(_up((vertex[0] + radius * math.cos(turn), vertex[1] + radius * math.sin(turn))))
        self.pen.line(path, fill=0, width=max(1, round(0.8 * SCALE)), joint="curve")


def _up(p: Point) -> Point:
    return p[0] * SCALE, p[1] * SCALE


def _along(p: Point, q: Point, share: float) -> Point:
    return p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])


def _unit(p: Point, q: Point) -> Point:
    length = math.dist(p, q) or 1.0
    return (q[0] - p[0]) / length, (q[1] - p[1]) / length


def opening(p: Point, vertex: Point, q: Point) -> float:
    """The signed angle from the arm to p to the arm to q in radians, in picture coordinates."""
    a = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
    b = math.atan2(q[1] - vertex[1], q[0] - vertex[0])
    return (b - a + math.pi) % (2 * math.pi) - math.pi


def _write(canvas: Image.Image, label: Label, style: Style) -> None:
    hand: Hand = style.letters if label.kind in ("letter", "line") else style.digits
    mask = glyphs(label.text, hand)
    x0, y0, x1, y1 = label.box
    if label.kind == "number" and style.white_box:
        canvas.paste(255, (round(x0 * SCALE), round(y0 * SCALE), round(x1 * SCALE), round(y1 * SCALE)))
    x = round((x0 + x1) / 2 * SCALE - mask.width / 2)
    y = round((y0 + y1) / 2 * SCALE - mask.height / 2)
    canvas.paste(0, (x, y), mask)


def _finished(canvas: Image.Image, style: Style, rng: random.Random) -> Image.Image:
    """Averaged down, in the ink and on the paper of the style."""
    picture = canvas.reduce(SCALE)
    if style.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(style.blur))
    if (style.ink, style.paper) != (0, 255):
        span = style.paper - style.ink
        picture = picture.point([style.ink + v * span // 255 for v in range(256)])
    if style.noise:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0.0, style.noise, (picture.height, picture.width))
        grey = np.clip(np.asarray(picture, dtype=np.float32) + noise, 0, 255)
        picture = Image.fromarray(grey.astype(np.uint8))
    return picture
