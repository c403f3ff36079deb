"""Where the labels of a figure go: a small search for the place that covers the least ink and no other label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
Measure = Callable[[str, bool], tuple[float, float]]
"""Width and height of the ink of a text, which is a letter or not, in pixels."""

BLOCKED = 1e4
"""The cost of covering another label; no other cost comes near it."""
_PAD = 1.5


class Placer:
    """Places labels one after the other on a picture of which it knows the ink.

    `unit` scales all distances; 1.0 suits letters about 13 pixels high. With `lattice` (pixels across, down) labels sit
    on a lattice, as characters do on a terminal.
    """

    def __init__(
        self,
        grey: np.ndarray,
        points: Sequence[Point],
        measure: Measure,
        unit: float = 1.0,
        lattice: tuple[int, int] | None = None,
    ) -> None:
        self.height, self.width = grey.shape
        self._points, self._ink_size, self._unit, self._lattice = points, measure, unit, lattice
        self._middle = (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
        ink_HW = (255.0 - grey.astype(np.float64)) / 255.0
        self._sum = np.zeros((self.height + 1, self.width + 1))
        self._sum[1:, 1:] = ink_HW.cumsum(0).cumsum(1)
        self._taken: list[Box] = []
        self.cost = 0.0

    def angle(self, text: str, p: Point, vertex: Point, q: Point) -> Box:
        """Inside the angle p-vertex-q, near the vertex."""
        start = math.atan2(p[1] - vertex[1], p[0] - vertex[0])
        end = math.atan2(q[1] - vertex[1], q[0] - vertex[0])
        opening = (end - start + math.pi) % (2 * math.pi) - math.pi
        u = self._unit
        far = max(26.0 * u, min(40.0 * u, math.dist(p, vertex), math.dist(q, vertex)))
        others = [point for point in self._points if math.dist(point, vertex) > 2.0]

        def candidates() -> Iterable[tuple[Point, float]]:
            for share in (0.5, 0.42, 0.58, 0.34, 0.66):
                turn = start + opening * share
                distance = 12.0 * u
                while distance <= far:
                    at = (vertex[0] + distance * math.cos(turn), vertex[1] + distance * math.sin(turn))
                    nearest = min((math.dist(at, other) for other in others), default=distance)
                    yield at, 0.3 * distance + 6 * abs(share - 0.5) + 1.5 * max(0.0, distance + 3 - nearest)
                    distance += 1.5 * u

        return self._best(text, False, candidates())

    def side(self, text: str, p: Point, q: Point) -> Box:
        """Beside the middle of the segment pq, rather on the side away from the middle of the figure."""
        length = math.dist(p, q) or 1.0
        nx, ny = -(q[1] - p[1]) / length, (q[0] - p[0]) / length
        width, height = self._ink_size(text, False)
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
        u = self._unit

        def candidates() -> Iterable[tuple[Point, float]]:
            for base in (8.5, 9.5, 11.0, 12.5, 14.5):
                distance = base * u
                for k in range(24):
                    turn = k * math.pi / 12
                    gap = abs((turn - away + math.pi) % (2 * math.pi) - math.pi)
                    at = (point[0] + distance * math.cos(turn), point[1] + distance * math.sin(turn))
                    yield at, 1.1 * (base - 8.5) + 0.5 * gap

        return self._best(text, True, candidates())

    def _best(self, text: str, letter: bool, candidates: Iterable[tuple[Point, float]]) -> Box:
        width, height = self._ink_size(text, letter)
        columns = 1 if letter else len(text)
        half_w, half_h = width / 2 + _PAD, height / 2 + _PAD
        tried = list(candidates)
        best, chosen = self._cheapest(tried, half_w, half_h, columns)
        if best >= BLOCKED:
            (x, y), _ = tried[0]
            anywhere = product(range(0, self.width, 3), range(0, self.height, 3))
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
            inside_x, inside_y, moved = self._moved(x, y, half_w, half_h, columns)
            box = (inside_x - half_w, inside_y - half_h, inside_x + half_w, inside_y + half_h)
            cost = bias + 1.5 * moved + 1.6 * self._ink(box) + self._overlap(box)
            if cost < best:
                best, chosen = cost, box
        return best, chosen

    def _moved(self, x: float, y: float, half_w: float, half_h: float, columns: int) -> tuple[float, float, float]:
        """The nearest centre that lies in the picture and on the lattice, and how far that is beyond half a cell."""
        if self._lattice is None:
            inside_x = min(max(x, half_w + 0.5), self.width - half_w - 0.5)
            inside_y = min(max(y, half_h + 0.5), self.height - half_h - 0.5)
            return inside_x, inside_y, abs(inside_x - x) + abs(inside_y - y)
        across, down = self._lattice
        inside_x = _snap(x, half_w + 0.5, self.width, across, columns % 2 * across / 2)
        inside_y = _snap(y, half_h + 0.5, self.height, down, 0.0)
        moved = max(0.0, abs(inside_x - x) - across / 2) + max(0.0, abs(inside_y - y) - down / 2)
        return inside_x, inside_y, moved

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
