"""Where the labels of a figure go: a small search for the place that covers the least ink and no other
label.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from r3v.data.geoworld.core import Point
from r3v.data.geoworld.glyphs import ink_size

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

BLOCKED = 1e4
"""The cost of covering another label; no other cost comes near it."""
LATTICE = (8, 4)
"""Labels sit on a lattice of so many pixels across and down, as characters do on a terminal: the columns of digits then
coincide with the patches of a vision tower, and a small one learns each digit in two places instead of in 64."""
_PAD = 1.5


class Placer:
    """Places labels one after the other on a picture of which it knows the ink."""

    def __init__(self, grey: np.ndarray, size: int, points: Sequence[Point]) -> None:
        self.size, self._points = size, points
        self._middle = (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
        ink_HW = (255.0 - grey.astype(np.float64)) / 255.0
        self._sum = np.zeros((size + 1, size + 1))
        self._sum[1:, 1:] = ink_HW.cumsum(0).cumsum(1)
        self._taken: list[Box] = []
        self.cost = 0.0

    def angle(self, text: str, p: Point, vertex: Point, q: Point) -> Box:
        """Inside the angle p-vertex-q, near the vertex."""
        start = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
        end = math.atan2(q[1] - vertex[1], q[0] - vertex[0])
        opening = (end - start + math.pi) % (2 * math.pi) - math.pi
        far = max(26.0, min(40.0, math.dist(p, vertex), math.dist(q, vertex)))
        others = [point for point in self._points if math.dist(point, vertex) > 2.0]

        def candidates() -> Iterable[tuple[Point, float]]:
            for share in (0.5, 0.42, 0.58, 0.34, 0.66):
                turn = start + opening * share
                distance = 12.0
                while distance <= far:
                    at = (vertex[0] + distance * math.cos(turn), vertex[1] + distance * math.sin(turn))
                    nearest = min((math.dist(at, other) for other in others), default=distance)
                    yield at, 0.3 * distance + 6 * abs(share - 0.5) + 1.5 * max(0.0, distance + 3 - nearest)
                    distance += 1.5

        return self._best(text, False, candidates())

    def side(self, text: str, p: Point, q: Point) -> Box:
        """Beside the middle of the segment pq, rather on the side away from the middle of the figure."""
        length = math.dist(p, q) or 1.0
        nx, ny = -(q[1] - p[1]) / length, (q[0] - p[0]) / length
        width, height = ink_size(text, False)
        clear = abs(nx) * width / 2 + abs(ny) * height / 2 + 2.2
        out = (p[0] + q[0]) / 2 - self._middle[0], (p[1] + q[1]) / 2 - self._middle[1]
        outer = 1 if nx * out[0] + ny * out[1] >= 0 else -1

        def candidates() -> Iterable[tuple[Point, float]]:
            for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
                x, y = p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])
                for extra in (0.0, 1.5, 3.0, 5.0):
                    for sign in (1, -1):
                        offset = sign * (clear + extra)
                        inner = 5.0 if sign != outer else 0.0
                        yield (x + nx * offset, y + ny * offset), 1.2 * extra + 14 * abs(share - 0.5) + inner

        return self._best(text, False, candidates())

    def letter(self, text: str, point: Point) -> Box:
        """Beside a point, rather away from the middle of the figure."""
        away = math.atan2(point[1] - self._middle[1], point[0] - self._middle[0])

        def candidates() -> Iterable[tuple[Point, float]]:
            for distance in (8.5, 9.5, 11.0, 12.5, 14.5):
                for k in range(24):
                    turn = k * math.pi / 12
                    gap = abs((turn - away + math.pi) % (2 * math.pi) - math.pi)
                    at = (point[0] + distance * math.cos(turn), point[1] + distance * math.sin(turn))
                    yield at, 1.1 * (distance - 8.5) + 0.5 * gap

        return self._best(text, True, candidates())

    def _best(self, text: str, letter: bool, candidates: Iterable[tuple[Point, float]]) -> Box:
        width, height = ink_size(text, letter)
        columns = 1 if letter else len(text)
        half_w, half_h = width / 2 + _PAD, height / 2 + _PAD
        tried = list(candidates)
        best, chosen = self._cheapest(tried, half_w, half_h, columns)
        if best >= BLOCKED:
            (x, y), _ = tried[0]
            anywhere = product(range(0, self.size, 3), repeat=2)
            best, chosen = self._cheapest(
                (((float(u), float(v)), 4 + 0.6 * math.dist((u, v), (x, y))) for u, v in anywhere),
                half_w,
                half_h,
                columns,
            )
        self._taken.append(chosen)
        self.cost = max(self.cost, best)
        return chosen

    def _cheapest(
        self, candidates: Iterable[tuple[Point, float]], half_w: float, half_h: float, columns: int
    ) -> tuple[float, Box]:
        """The cheapest of the (centre, bias) candidates, each moved into the picture and onto the lattice first."""
        best, chosen = math.inf, (0.0, 0.0, 0.0, 0.0)
        for (x, y), bias in candidates:
            if bias >= best:
                continue
            inside_x = _snap(x, half_w + 0.5, self.size, LATTICE[0], columns % 2 * LATTICE[0] / 2)
            inside_y = _snap(y, half_h + 0.5, self.size, LATTICE[1], 0.0)
            moved = max(0.0, abs(inside_x - x) - LATTICE[0] / 2) + max(0.0, abs(inside_y - y) - LATTICE[1] / 2)
            box = (inside_x - half_w, inside_y - half_h, inside_x + half_w, inside_y + half_h)
            cost = bias + 1.5 * moved + 1.6 * self._ink(box) + self._overlap(box)
            if cost < best:
                best, chosen = cost, box
        return best, chosen

    def _ink(self, box: Box) -> float:
        x0, y0 = int(box[0]), int(box[1])
        x1, y1 = math.ceil(box[2]), math.ceil(box[3])
        s = self._sum
        return float(s[y1, x1] - s[y0, x1] - s[y1, x0] + s[y0, x0])

    def _overlap(self, box: Box) -> float:
        for other in self._taken:
            if box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]:
                return BLOCKED
        return 0.0


def _snap(v: float, room: float, size: int, step: int, phase: float) -> float:
    """The lattice point nearest to `v` that keeps `room` from both edges."""
    low, high = math.ceil((room - phase) / step), math.floor((size - room - phase) / step)
    return phase + step * min(max(round((v - phase) / step), low), high)
