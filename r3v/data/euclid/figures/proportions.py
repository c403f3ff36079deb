"""Constructions of similar triangles with whole sides."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.figure import Figure, mid, pair, sided, triangle
from r3v.data.euclid.figures.base import construction, degrees, fair, length


@construction
def parallel_cut(f: Figure, r: Random) -> None:
    """DE parallel to BC with lengths in proportion; sometimes the diagonals BE and CD as well."""
    f.gives = (2, 3)
    m, n = r.randint(1, 6), r.randint(1, 6)
    side = r.choice((1, 2, 0.5)) if m + n < 9 else 1
    total = m + n
    k = r.randint(1, 4)
    other = k * total if k * total <= 24 else total
    base = total * r.randint(1, 3)
    whole = total * (side if side != 0.5 or total % 2 == 0 else 1)
    fair(whole + other > base + 0.8 and base + other > whole + 0.8 and base + whole > other + 0.8)
    p, q, s = sided(base, other, whole)
    f.at(A=p, B=q, C=s, D=mid(p, q, m / total), E=mid(p, s, m / total))
    f.line("ADB")
    f.line("AEC")
    f.join("BC", "DE")
    f.say(
        r.choice(
            (
                "in triangle ABC",
                "in triangle ABC, points D and E are on edges AB and AC respectively",
                "D and E are points on AB and AC of triangle ABC",
            )
        )
    )
    f.say(r.choice(("DE parallel BC", "DE ∥ BC")), ("para", "D", "E", "B", "C"))
    sides = [length(*x) for x in ("AD", "DB", "AB", "AE", "EC", "AC", "DE", "BC")]
    ratios = [
        pair("ratio", length("A", "D"), length("D", "B")),
        pair("ratio", length("A", "D"), length("A", "B")),
        pair("ratio", length("D", "E"), length("B", "C")),
    ]
    areas = [("area", "A", "B", "C"), ("area", "A", "D", "E")]
    f.goals = [*sides, *ratios, *areas]
    f.offers = [*sides, *ratios]
    if r.random() < 0.25:
        f.offers = [*ratios[:2], *areas]
        f.goals = areas
        area = r.randint(1, 5) * total * total
        scale = math.sqrt(area / f.measure(areas[0]))
        f.points = {name: (x * scale, y * scale) for name, (x, y) in f.points.items()}


@construction
def crossing_parallels(f: Figure, r: Random) -> None:
    """AB parallel CD, AD and BC cross at O."""
    f.gives = (2, 3)
    m, n = r.sample(range(1, 7), 2)
    k = r.randint(1, 3)
    oa, ob, ab = m * r.randint(1, 4), m * r.randint(1, 4), m * k
    fair(oa + ob > ab + 0.5 and oa + ab > ob + 0.5 and ob + ab > oa + 0.5)
    o, a, b = sided(ab, ob, oa)
    f.at(O=o, A=a, B=b, D=mid(a, o, 1 + n / m), C=mid(b, o, 1 + n / m))
    f.line("AOD")
    f.line("BOC")
    f.join("AB", "CD")
    f.say(r.choice(("AD and BC intersect at point O", "AD crosses BC at point O")))
    f.say(r.choice(("AB parallel CD", "AB ∥ CD")), ("para", "A", "B", "C", "D"))
    sides = [length(*x) for x in ("AB", "CD", "OA", "OD", "OB", "OC", "AD", "BC")]
    ratios = [pair("ratio", length("O", "B"), length("O", "C")), pair("ratio", length("A", "B"), length("C", "D"))]
    f.goals = [*sides, *ratios]
    if r.random() < 0.25:
        f.goals = [pair("ratio", ("area", "A", "B", "O"), ("area", "C", "D", "O"))]
    f.offers = [*sides, *ratios]


@construction
def similar_inside(f: Figure, r: Random) -> None:
    """D on AC with angle ABD = angle C (mirror similar), or angle ADE = angle C."""
    f.gives = (2, 2, 3)
    ad, dc = r.choice(((1, 3), (4, 5), (2, 6), (3, 9), (4, 12), (9, 7), (1, 8), (2, 16), (5, 15), (3, 24), (8, 10)))
    ab = math.isqrt(ad * (ad + dc))
    bc = r.randint(2, ab + ad + dc - 1)
    fair(ab + bc > ad + dc + 0.7 and abs(ab - bc) < ad + dc - 0.7)
    a, c, b = sided(bc, ab, ad + dc)
    f.at(A=a, C=c, B=b, D=(float(ad), 0.0))
    f.line("ADC")
    f.join("AB", "BC", "BD")
    f.say("in triangle ABC")
    f.say(r.choice(("D is a point on AC", "point D is on AC")))
    f.say("angle ABD = angle C", ("eq", ("angle", "B", "A", "D"), ("angle", "C", "B", "D")))
    f.goals = [length(*x) for x in ("AB", "AD", "DC", "AC", "BD", "BC")]
    f.offers = [length(*x) for x in ("AB", "AD", "DC", "AC", "BC")]
    if r.random() < 0.25:
        f.gives = (2,)
        f.goals = [pair("ratio", ("area", "A", "B", "D"), ("area", "A", "B", "C"))]


@construction
def similar_stated(f: Figure, r: Random) -> None:
    """Triangle ABC similar to triangle DEF."""
    f.gives = (2, 3)
    a, b, c = r.choice(((3, 4, 5), (4, 5, 6), (2, 3, 4), (4, 6, 7), (5, 6, 7), (6, 8, 9)))
    m, n = r.choice(((1, 2), (2, 3), (1, 3), (3, 4), (2, 5)))
    p, q, s = sided(a * m, b * m, c * m)
    u, v, w = sided(a * n, b * n, c * n)
    gap = c * m + 1.5 + 0.2 * c * n
    f.at(A=s, B=p, C=q)
    f.at(D=(w[0] + gap, w[1]), E=(u[0] + gap, 0.0), F=(v[0] + gap, 0.0))
    f.polygon("A", "B", "C")
    f.polygon("D", "E", "F")
    f.say(
        r.choice(("triangle ABC similar triangle DEF", "triangle ABC ~ triangle DEF")),
        ("similar", ("A", "B", "C"), ("D", "E", "F")),
    )
    sides = [length(*x) for x in ("AB", "BC", "AC", "DE", "EF", "DF")]
    ratio = pair("ratio", length("A", "B"), length("D", "E"))
    around = [("perimeter", "A", "B", "C"), ("perimeter", "D", "E", "F")]
    areas = pair("ratio", ("area", "A", "B", "C"), ("area", "D", "E", "F"))
    if r.random() < 0.25:
        alpha, beta = degrees(r, 40, 80), degrees(r, 35, 70)
        p, q, s = triangle(alpha, beta, 4.0)
        u, v, w = triangle(alpha, beta, 5.5)
        f.at(B=p, C=q, A=s, E=(u[0] + 6, 0.0), F=(v[0] + 6, 0.0), D=(w[0] + 6, w[1]))
        f.gives = (2,)
        return
    f.goals = [*sides, *around, areas]
    f.offers = [*sides, ratio, *around]
