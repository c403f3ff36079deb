"""Small plane geometry for the families: where the vertices of a figure lie, in true units."""

from __future__ import annotations

import math
from itertools import pairwise

from r3v.data.geoworld.core import Mark, Measure, Point


def at(origin: Point, degrees: float, distance: float) -> Point:
    """The point `distance` away from `origin` in the direction `degrees` (counter-clockwise from the x
    axis).
    """
    r = math.radians(degrees)
    return origin[0] + distance * math.cos(r), origin[1] + distance * math.sin(r)


def triangle(angle_a: float, angle_b: float, base: float = 10.0) -> tuple[Point, Point, Point]:
    """A, B, C with AB = base on the x axis and the given angles at A and B, in degrees."""
    c = 180.0 - angle_a - angle_b
    side = base * math.sin(math.radians(angle_b)) / math.sin(math.radians(c))
    return (0.0, 0.0), (base, 0.0), at((0.0, 0.0), angle_a, side)


def sides(ab: float, bc: float, ca: float) -> tuple[Point, Point, Point]:
    """A, B, C with the given side lengths, AB on the x axis. Raises ValueError where no triangle has them."""
    cosine = (ab * ab + ca * ca - bc * bc) / (2 * ab * ca)
    return (0.0, 0.0), (ab, 0.0), at((0.0, 0.0), math.degrees(math.acos(cosine)), ca)


def between(p: Point, q: Point, share: float = 0.5) -> Point:
    """The point at `share` of the way from p to q; shares outside 0..1 lie on the extension."""
    return p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])


def distance(p: Point, q: Point) -> float:
    return math.hypot(p[0] - q[0], p[1] - q[1])


def bisector_foot(vertex: Point, p: Point, q: Point) -> Point:
    """Where the bisector of the angle p-vertex-q meets pq."""
    a, b = distance(vertex, p), distance(vertex, q)
    return between(p, q, a / (a + b))


def seg(p: str, q: str, dashed: bool = False) -> Mark:
    return Mark("segment", (p, q), dashed)


def path(*names: str) -> tuple[Mark, ...]:
    """Segments from each name to the next."""
    return tuple(seg(p, q) for p, q in pairwise(names))


def polygon(*names: str) -> tuple[Mark, ...]:
    return path(*names, names[0])


def circle(centre: str, through: str) -> Mark:
    return Mark("circle", (centre, through))


def right(p: str, vertex: str, q: str) -> Mark:
    return Mark("right", (p, vertex, q))


def ticks(p: str, q: str, count: int = 1) -> Mark:
    return Mark("ticks", (p, q), count=count)


def angle(p: str, vertex: str, q: str) -> Measure:
    return ("angle", p, vertex, q)


def length(p: str, q: str) -> Measure:
    return ("length", p, q)
