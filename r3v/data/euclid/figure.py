"""A figure: points with coordinates, what lies on what, and how each quantity is called and measured.

Incidence (which points lie on which drawn line or circle) is read off the picture, as a person does; everything else
(parallel, equal, tangent, ...) has to be said in the text and stands as a fact.

Quantities are tuples: ("angle", V, P, Q) with P, Q the nearest points on its arms in alphabetical order, ("length", P,
Q), ("radius", O), ("arc", O, P, Q) for the smaller arc, ("area", P, Q, R, ...), ("perimeter", P, Q, R, ...) and
("sin" | "cos" | "tan", V, P, Q), ("ratio", ...two lengths...), ("sum", ...).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

Point = tuple[float, float]
Quantity = tuple[str, ...]
Fact = tuple
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Ray:
    """From `vertex` along a drawn line; `points` from near to far, `turn` its direction in degrees."""

    vertex: str
    line: int
    points: tuple[str, ...]
    turn: float


@dataclass(frozen=True, slots=True)
class Clause:
    """Words of the question and the facts they state; an optional clause may be left out where nobody needs it."""

    text: str
    facts: tuple[Fact, ...] = ()
    optional: bool = False


@dataclass(slots=True)
class Figure:
    """Drawn by a construction, then closed by `close`, which finds the rays, angles, segments and triangles."""

    kind: str
    rng: random.Random
    points: dict[str, Point] = field(default_factory=dict)
    lines: list[tuple[str, ...]] = field(default_factory=list)
    over: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    """Lines drawn beyond their first and last point."""
    dashed: set[int] = field(default_factory=set)
    circles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Centre -> the points on the circle, in order round it once the figure is closed."""
    centre_shown: bool = True
    clauses: list[Clause] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Points without a letter on the picture."""
    goals: list[Quantity] = field(default_factory=list)
    """What may be asked; empty: any angle or length."""
    offers: list[Quantity] = field(default_factory=list)
    """What may be given; empty: any angle or length."""
    gives: tuple[int, ...] = (0, 1, 1, 1, 2, 2, 2, 3)
    """How many values to try as givens; drawn with equal chances."""
    story: dict[str, str] = field(default_factory=dict)
    """How a quantity is called in a story: key "length P Q" -> "the length of the ladder"."""
    opening: str = ""
    polygons: list[tuple[str, ...]] = field(default_factory=list)
    """Quadrilaterals (and more) whose sides are drawn, in order."""

    on: dict[str, list[int]] = field(default_factory=dict)
    rays: dict[str, list[Ray]] = field(default_factory=dict)
    ray_of: dict[tuple[str, str], Ray] = field(default_factory=dict)
    line_of: dict[tuple[str, str], int] = field(default_factory=dict)
    angles: dict[Quantity, float] = field(default_factory=dict)
    lengths: dict[Quantity, float] = field(default_factory=dict)
    triangles: list[tuple[str, str, str]] = field(default_factory=list)
    numbered: dict[Quantity, str] = field(default_factory=dict)
    """Angles called by a number or a Greek letter in the picture."""
    short_names: bool = True
    _numbers: tuple[tuple[str, str, str], ...] = ()

    # -- drawing -----------------------------------------------------------------------------------------------

    def at(self, **points: Point) -> None:
        self.points.update(points)

    def put(self, name: str, point: Point) -> Point:
        self.points[name] = point
        return point

    def line(self, names: Sequence[str], over: tuple[bool, bool] = (False, False), dashed: bool = False) -> None:
        """A drawn line through `names` in order; `over` draws it beyond its ends."""
        self.lines.append(tuple(names))
        if over != (False, False):
            self.over[len(self.lines) - 1] = over
        if dashed:
            self.dashed.add(len(self.lines) - 1)

    def join(self, *pairs: Sequence[str]) -> None:
        for pair in pairs:
            self.line(pair)

    def polygon(self, *names: str) -> None:
        """The sides of a polygon whose sides carry no other points."""
        for p, q in zip(names, (*names[1:], names[0]), strict=True):
            self.line((p, q))
        if len(names) > 3:
            self.polygons.append(names)

    def circle(self, centre: str, *points: str) -> None:
        self.circles[centre] = points

    def number(self, *angles: tuple[str, str, str]) -> None:
        """Call these angles 1, 2, ... ; the arms are named by any points on them."""
        self._numbers = angles

    def renumber(self, letters: dict[str, str]) -> None:
        self._numbers = tuple((letters.get(p, p), letters.get(v, v), letters.get(q, q)) for p, v, q in self._numbers)

    def say(self, text: str, *facts: Fact, optional: bool = False) -> None:
        self.clauses.append(Clause(text, facts, optional))

    # -- what follows from the drawing -------------------------------------------------------------------------

    def close(self) -> Figure:
        """Find rays, angles, segments and triangles. Raises ValueError where points coincide."""
        for p, q in combinations(self.points, 2):
            if math.dist(self.points[p], self.points[q]) < 1e-3:
                raise ValueError(f"{p} and {q} coincide in {self.kind}")
        self.on = {p: [] for p in self.points}
        for index, names in enumerate(self.lines):
            for p in names:
                self.on[p].append(index)
            for p, q in combinations(names, 2):
                self.line_of[p, q] = self.line_of[q, p] = index
                self.lengths[self.length_key(p, q)] = math.dist(self.points[p], self.points[q])
            for i, p in enumerate(names):
                for points in (tuple(reversed(names[:i])), names[i + 1 :]):
                    if points:
                        ray = Ray(p, index, points, self.turn(p, points[0]))
                        self.rays.setdefault(p, []).append(ray)
                        for q in points:
                            self.ray_of[p, q] = ray
        for vertex, rays in self.rays.items():
            rays.sort(key=lambda ray: ray.turn)
            for r, s in combinations(rays, 2):
                opening = abs((s.turn - r.turn + 180) % 360 - 180)
                if EPS < opening < 180 - EPS:
                    p, q = sorted((r.points[0], s.points[0]))
                    self.angles[("angle", vertex, p, q)] = opening
        for p, q, r in combinations(sorted(self.points), 3):
            sides = {self.line_of.get((p, q), -1), self.line_of.get((q, r), -2), self.line_of.get((p, r), -3)}
            if len(sides) == 3 and min(sides) >= 0:
                self.triangles.append((p, q, r))
        for centre, names in self.circles.items():
            order = sorted(names, key=lambda p: self.turn(centre, p))
            self.circles[centre] = tuple(order)
        for k, three in enumerate(self._numbers):
            key = self.angle(*three)
            if key is None:
                raise ValueError(f"{three} is no angle of {self.kind}")
            self.numbered[key] = str(k + 1)
        return self

    def turn(self, p: str, q: str) -> float:
        """Direction from p to q in degrees, 0 to 360."""
        (x0, y0), (x1, y1) = self.points[p], self.points[q]
        return math.degrees(math.atan2(y1 - y0, x1 - x0)) % 360

    def distance(self, p: str, q: str) -> float:
        return math.dist(self.points[p], self.points[q])

    # -- keys --------------------------------------------------------------------------------------------------

    @staticmethod
    def length_key(p: str, q: str) -> Quantity:
        return ("length", p, q) if p < q else ("length", q, p)

    def length(self, p: str, q: str) -> Quantity | None:
        """The length pq, or None where it is not drawn."""
        return self.length_key(p, q) if (p, q) in self.line_of else None

    def angle(self, p: str, vertex: str, q: str) -> Quantity | None:
        """The angle p-vertex-q, or None where an arm is not drawn or the angle is flat."""
        r, s = self.ray_of.get((vertex, p)), self.ray_of.get((vertex, q))
        return None if r is None or s is None else self.between(r, s)

    def between(self, r: Ray, s: Ray) -> Quantity | None:
        p, q = r.points[0], s.points[0]
        key = ("angle", r.vertex, p, q) if p < q else ("angle", r.vertex, q, p)
        return key if key in self.angles else None

    def arc(self, centre: str, p: str, q: str) -> Quantity:
        return ("arc", centre, p, q) if p < q else ("arc", centre, q, p)

    def centre_of(self, *names: str) -> str | None:
        """The centre of a circle that all the points lie on."""
        return next((o for o, on in self.circles.items() if all(p in on for p in names)), None)

    # -- measuring ---------------------------------------------------------------------------------------------

    def measure(self, quantity: Quantity) -> float:
        """The value on the coordinates, by a way that knows no rule."""
        kind, names = quantity[0], quantity[1:]
        if kind in ("sum", "difference", "ratio"):
            half = [self.measure(part) for part in parts_of(quantity)]
            return half[0] / half[1] if kind == "ratio" else half[0] + (half[1] if kind == "sum" else -half[1])
        at = [self.points[p] for p in names]
        if kind in ("angle", "sin", "cos", "tan"):
            opening = opening_of(at[1], at[0], at[2])
            return opening if kind == "angle" else getattr(math, kind)(math.radians(opening))
        if kind == "length":
            return math.dist(at[0], at[1])
        if kind in ("radius", "diameter", "disc", "round"):
            radius = math.dist(at[0], self.points[self.circles[names[0]][0]])
            return {
                "radius": radius,
                "diameter": 2 * radius,
                "disc": math.pi * radius**2,
                "round": 2 * math.pi * radius,
            }[kind]
        if kind == "arc":
            return opening_of(at[1], at[0], at[2])
        if kind in ("sector", "curve"):
            share, radius = opening_of(at[1], at[0], at[2]) / 360, math.dist(at[0], at[1])
            return share * math.pi * (radius**2 if kind == "sector" else 2 * radius)
        if kind == "segment":
            share, radius = math.radians(opening_of(at[1], at[0], at[2])), math.dist(at[0], at[1])
            return (share - math.sin(share)) * radius**2 / 2
        if kind == "area":
            return abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(at, [*at[1:], at[0]], strict=True))) / 2
        if kind == "perimeter":
            return sum(math.dist(p, q) for p, q in zip(at, [*at[1:], at[0]], strict=True))
        if kind == "gap":
            return gap_of(at[0], at[1], at[2])
        raise ValueError(f"found quantity {quantity!r}, expected one that can be measured")


def parts_of(quantity: Quantity) -> list[Quantity]:
    """The two quantities that a sum, difference or ratio is of: ("sum", "angle A B C", "angle A B D")."""
    return [tuple(part.split(" ")) for part in quantity[1:]]


def pair(kind: str, a: Quantity, b: Quantity) -> Quantity:
    """The sum, difference or ratio of two quantities, as a quantity."""
    return (kind, " ".join(a), " ".join(b))


def opening_of(p: Point, vertex: Point, q: Point) -> float:
    """The angle p-vertex-q in degrees, 0 to 180."""
    a = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
    b = math.atan2(q[1] - vertex[1], q[0] - vertex[0])
    return abs((math.degrees(b - a) + 180) % 360 - 180)


def gap_of(p: Point, a: Point, b: Point) -> float:
    """The distance of p from the line ab."""
    return abs((b[0] - a[0]) * (a[1] - p[1]) - (a[0] - p[0]) * (b[1] - a[1])) / math.dist(a, b)


# -- places --------------------------------------------------------------------------------------------------------


def polar(origin: Point, degrees: float, distance: float) -> Point:
    r = math.radians(degrees)
    return origin[0] + distance * math.cos(r), origin[1] + distance * math.sin(r)


def mid(p: Point, q: Point, share: float = 0.5) -> Point:
    """The point at `share` of the way from p to q; shares outside 0..1 lie on the extension."""
    return p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])


def meet(p: Point, q: Point, r: Point, s: Point) -> Point:
    """Where the lines pq and rs meet. Raises ValueError for parallel lines."""
    d = (q[0] - p[0]) * (s[1] - r[1]) - (q[1] - p[1]) * (s[0] - r[0])
    if abs(d) < 1e-9:
        raise ValueError("the lines are parallel")
    t = ((r[0] - p[0]) * (s[1] - r[1]) - (r[1] - p[1]) * (s[0] - r[0])) / d
    return mid(p, q, t)


def foot(p: Point, a: Point, b: Point) -> Point:
    """The foot of the perpendicular from p to the line ab."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    return mid(a, b, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy))


def mirror(p: Point, a: Point, b: Point) -> Point:
    """p mirrored in the line ab."""
    f = foot(p, a, b)
    return 2 * f[0] - p[0], 2 * f[1] - p[1]


def second(centre: Point, on: Point, toward: Point) -> Point:
    """The other point of the circle round `centre` through `on` that lies on the line on-toward."""
    f = foot(centre, on, toward)
    return 2 * f[0] - on[0], 2 * f[1] - on[1]


def triangle(alpha: float, beta: float, base: float = 10.0) -> tuple[Point, Point, Point]:
    """A, B, C with AB = base on the x axis and the given angles at A and B, in degrees."""
    c = 180.0 - alpha - beta
    return (0.0, 0.0), (base, 0.0), polar((0.0, 0.0), alpha, base * _sin(beta) / _sin(c))


def sided(a: float, b: float, c: float) -> tuple[Point, Point, Point]:
    """A, B, C with BC = a, CA = b, AB = c, AB on the x axis. Raises ValueError where no triangle has them."""
    return (0.0, 0.0), (c, 0.0), polar((0.0, 0.0), math.degrees(math.acos((b * b + c * c - a * a) / (2 * b * c))), b)


def _sin(degrees: float) -> float:
    return math.sin(math.radians(degrees))


def cyclic(names: Iterable[str]) -> tuple[str, ...]:
    """One spelling of a polygon: from its first letter, towards the smaller neighbour."""
    order = list(names)
    start = order.index(min(order))
    order = order[start:] + order[:start]
    return tuple(order) if order[1] < order[-1] else (order[0], *reversed(order[1:]))
