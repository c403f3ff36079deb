"""Families about lengths and areas in triangles."""

from __future__ import annotations

from r3v.data.geoworld.core import Draft, Draw, Given, Method
from r3v.data.geoworld.shapes import between, length, polygon, right, seg, sides, ticks

AREA = "The area is half of base times height."
PYTHAGORAS = "The squares of the legs sum to the square of the hypotenuse."
MIDLINE = "A midline is half of the base."
SIMILAR = "Similar triangles have equal ratios."
MEDIAN = "The median to the hypotenuse is half of it."
TRIPLES = (
    (3, 4, 5),
    (6, 8, 10),
    (5, 12, 13),
    (9, 12, 15),
    (8, 15, 17),
    (12, 16, 20),
    (15, 20, 25),
    (7, 24, 25),
    (10, 24, 26),
)


def triangle_area(d: Draw) -> Draft | None:
    """Area from base and height; deep: the height from area and base."""
    a, b, c, e = d.names(4)
    base, high = d.length(6, 20), d.length(4, 14)
    if base * high % 2 or not 0.45 <= high / base <= 1.2:
        return None
    foot = d.rng.uniform(0.3, 0.7) * base
    points = {b: (0.0, 0.0), c: (float(base), 0.0), e: (foot, 0.0), a: (foot, float(high))}
    marks = (*polygon(a, b, c), seg(a, e, dashed=True), right(a, e, c))
    floor = Given("b", f"{b}{c}", base, length(b, c))
    if d.deep:
        whole = Given("w", f"area of triangle {a}{b}{c}", base * high // 2, ("area", a, b, c), text_only=True)
        givens, target, measure = (floor, whole), f"{a}{e}", length(a, e)
        steps: tuple[str, ...] = ("w * 2 = s", "s / b = t")
        wrong = (
            Method("The area is base times height.", ("w / b = t",)),
            Method("The area is the sum of base and height.", ("w - b = t",)),
            Method(AREA, ("w / 2 = s", "s / b = t")),
            Method(AREA, ("w / 2 = t",)),
            Method(AREA, ("b / 2 = t",)),
        )
        note = "The area is half of base times height, so double the area and divide by the base."
    else:
        givens = (floor, Given("h", f"{a}{e}", high, length(a, e)))
        target, measure, steps = (
            f"the area of triangle {a}{b}{c}",
            ("area", a, b, c),
            ("b * h = s", "s / 2 = t"),
        )
        wrong = (
            Method("The area is base times height.", ("b * h = t",)),
            Method("The area is the sum of base and height.", ("b + h = t",)),
            Method("The area is half of the sum.", ("b + h = s", "s / 2 = t")),
        )
        note = "The area is half of base times height, so multiply both lengths and halve."
    return Draft(
        f"In triangle {a}{b}{c}",
        (f"{a}{e} is perpendicular to {b}{c}",),
        givens,
        target,
        measure,
        Method(AREA, steps),
        wrong,
        note,
        ("theorem:triangle_area", "perception:right_angle"),
        points,
        marks,
        variant="height" if d.deep else "plain",
    )


def pythagoras(d: Draw) -> Draft | None:
    """The hypotenuse of a right triangle from its legs; deep: a leg."""
    a, b, c = d.names(3)
    p, q, h = d.rng.choice(TRIPLES[: 4 if d.level == 1 else 6 if d.level == 2 else 9])
    if d.flip():
        p, q = q, p
    pb, pc, pa = (0.0, 0.0), (float(p), 0.0), (0.0, float(q))
    first = Given("p", f"{b}{c}", p, length(b, c))
    if d.deep:
        givens, target, measure = (first, Given("h", f"{a}{c}", h, length(a, c))), f"{a}{b}", length(a, b)
        steps = ("h * h = u", "p * p = v", "u - v = w", "sqrt(w) = t")
        wrong = (
            Method("The legs sum to the hypotenuse.", ("h - p = t",)),
            Method(PYTHAGORAS, ("h * h = u", "p * p = v", "u - v = t")),
            Method("The legs sum.", ("h + p = t",)),
            Method("The squares subtract.", ("h * h = u", "u - p = t")),
        )
        note = f"{PYTHAGORAS[:-1]}, so subtract the squares and take the root."
    else:
        givens, target, measure = (first, Given("q", f"{a}{b}", q, length(a, b))), f"{a}{c}", length(a, c)
        steps = ("p * p = u", "q * q = v", "u + v = w", "sqrt(w) = t")
        wrong = (
            Method("The legs sum to the hypotenuse.", ("p + q = t",)),
            Method(PYTHAGORAS, ("p * p = u", "q * q = v", "u + v = t")),
            Method("The hypotenuse is half of the sum.", ("p + q = s", "s / 2 = t")),
            Method("The hypotenuse is the product.", ("p * q = t",)),
        )
        note = f"{PYTHAGORAS[:-1]}, so add the squares and take the root."
    return Draft(
        f"In triangle {a}{b}{c}",
        (f"{a}{b} is perpendicular to {b}{c}",),
        givens,
        target,
        measure,
        Method(PYTHAGORAS, steps),
        wrong,
        note,
        ("theorem:pythagoras", "perception:right_angle"),
        {a: pa, b: pb, c: pc},
        (*polygon(a, b, c), right(a, b, c)),
        variant="leg" if d.deep else "hypotenuse",
    )


def midline(d: Draw) -> Draft | None:
    """A midline from the base or the base from a midline; deep: the perimeter of the small triangle."""
    a, b, c, e, f = d.names(5)
    base = d.length(8, 30, even=True)
    left, right_side = d.rng.uniform(0.8, 1.2) * base, d.rng.uniform(0.8, 1.2) * base
    p = q = 0
    facts = (f"{e} is the midpoint of {a}{b}", f"{f} is the midpoint of {a}{c}")
    if d.deep:
        p, q = d.length(8, 26), d.length(8, 26)
        if (base + p + q) % 2 or not max(base, p, q) < 0.85 * (base + p + q - max(base, p, q)):
            return None
        if min(base, p, q) / max(base, p, q) < 0.5:
            return None
        left, right_side = p, q
    pb, pc, pa = sides(base, right_side, left)
    points = {a: pa, b: pb, c: pc, e: between(pa, pb), f: between(pa, pc)}
    back = not d.deep and d.flip()
    skills = ["theorem:midline"]
    if d.deep:
        givens: tuple[Given, ...] = (
            Given("b", f"{b}{c}", base, length(b, c)),
            Given("p", f"{a}{b}", p, length(a, b)),
            Given("q", f"{a}{c}", q, length(a, c)),
        )
        target, measure = f"the perimeter of triangle {a}{e}{f}", ("perimeter", a, e, f)
        steps = ("b + p = r", "r + q = s", "s / 2 = t")
        wrong = (
            Method("The perimeter is the sum of the sides.", ("b + p = r", "r + q = t")),
            Method(MIDLINE, ("b / 2 = t",)),
            Method("The perimeter is the sum of the sides.", ("p + q = t",)),
            Method(MIDLINE, ("b / 2 = h", "h + p = s", "s + q = t")),
        )
        note = "A midline is half of the base, so add all sides and halve."
    elif back:
        givens = (Given("m", f"{e}{f}", base // 2, length(e, f)),)
        target, measure, steps = f"{b}{c}", length(b, c), ("m * 2 = t",)
        wrong = (
            Method("A midline equals the base.", (), "m"),
            Method("A midline is double the base.", ("m / 2 = t",)),
            Method("The sides are in ratio 3.", ("m * 3 = t",)),
        )
        note = "A midline is half of the base, so double the length."
    else:
        givens = (Given("b", f"{b}{c}", base, length(b, c)),)
        target, measure, steps = f"{e}{f}", length(e, f), ("b / 2 = t",)
        wrong = (
            Method("A midline equals the base.", (), "b"),
            Method("A midline is double the base.", ("b * 2 = t",)),
            Method("The sides are in ratio 4.", ("b / 4 = t",)),
        )
        note = "A midline is half of the base, so halve the length."
    return Draft(
        f"In triangle {a}{b}{c}",
        facts,
        givens,
        target,
        measure,
        Method(MIDLINE, steps),
        wrong,
        note,
        tuple(skills),
        points,
        (*polygon(a, b, c), seg(e, f)),
        variant="perimeter" if d.deep else "base" if back else "plain",
    )


def similar_ratio(d: Draw) -> Draft | None:
    """The base of a triangle from a parallel to it; deep: the ratio comes from the two parts of a side."""
    a, b, c, e, f = d.names(5)
    ratio = d.rng.choice((2, 3) if d.level < 3 else (2, 3, 4))
    near, small = d.rng.randint(3, 4 + d.level), d.rng.randint(3, 5 + d.level)
    whole, base = near * ratio, small * ratio
    if not 0.55 <= base / whole <= 1.6:
        return None
    pb, pa, pc = sides(whole, d.rng.uniform(0.8, 1.1) * max(whole, base), base)
    points = {a: pa, b: pb, c: pc, e: between(pa, pb, 1 / ratio), f: between(pa, pc, 1 / ratio)}
    first, last = Given("n", f"{a}{e}", near, length(a, e)), Given("m", f"{e}{f}", small, length(e, f))
    if d.deep:
        givens = (first, Given("r", f"{e}{b}", whole - near, length(e, b)), last)
        steps: tuple[str, ...] = ("n + r = w", "w / n = k", "m * k = t")
        wrong = (
            Method(SIMILAR, ("r / n = k", "m * k = t")),
            Method("The sides differ equally.", ("m + r = t",)),
            Method(MIDLINE, ("m * 2 = t",)),
            Method("The sides sum.", ("n + r = t",)),
        )
        note = f"{SIMILAR[:-1]}, so add the parts, divide by the first and multiply by the base."
    else:
        givens = (first, Given("w", f"{a}{b}", whole, length(a, b), text_only=True), last)
        steps = ("w / n = k", "m * k = t")
        wrong = (
            Method("The sides differ equally.", ("w - n = r", "m + r = t")),
            Method(SIMILAR, ("w / n = k", "k + m = t")),
            Method("The base is the sum.", ("w + m = t",)),
            Method("The sides differ equally.", ("w - n = t",)),
        )
        note = "Similar triangles have equal ratios, so divide the sides and multiply by the base."
    return Draft(
        f"In triangle {a}{b}{c}",
        (f"{e}{f} is parallel to {b}{c}",),
        givens,
        f"{b}{c}",
        length(b, c),
        Method(SIMILAR, steps),
        wrong,
        note,
        ("theorem:similar_triangles", "perception:parallel"),
        points,
        (*polygon(a, b, c), seg(e, f)),
        variant="parts" if d.deep else "plain",
    )


def hypotenuse_median(d: Draw) -> Draft | None:
    """The median to the hypotenuse from it or back; deep: from the legs."""
    a, b, c, e = d.names(4)
    facts = [f"{a}{c} is perpendicular to {b}{c}", f"{e} is the midpoint of {a}{b}"]
    back = not d.deep and d.flip()
    if d.deep:
        p, q, h = d.rng.choice([t for t in TRIPLES if t[2] % 2 == 0])
        k = d.rng.choice((1, 2)) if h < 20 else 1
        p, q, h = p * k, q * k, h * k
    else:
        h = d.length(8, 40, even=True)
        p = h * d.rng.uniform(0.55, 0.8)
        q = (h * h - p * p) ** 0.5
    pc, pa, pb = (0.0, 0.0), (0.0, float(p)), (float(q), 0.0)
    points = {a: pa, b: pb, c: pc, e: between(pa, pb)}
    marks = (*polygon(a, b, c), seg(c, e), right(a, c, b), ticks(a, e), ticks(e, b))
    steps: tuple[str, ...]
    if d.deep:
        givens: tuple[Given, ...] = (
            Given("p", f"{a}{c}", int(p), length(a, c)),
            Given("q", f"{b}{c}", int(q), length(b, c)),
        )
        target, measure = f"{c}{e}", length(c, e)
        steps = ("p * p = u", "q * q = v", "u + v = w", "sqrt(w) = h", "h / 2 = t")
        wrong = (
            Method(PYTHAGORAS, steps[:4]),
            Method("The median is half of the sum.", ("p + q = s", "s / 2 = t")),
            Method("The median is the sum.", ("p + q = t",)),
        )
        note = "The median to the hypotenuse is half of it, so add the squares, take the root and halve."
    elif back:
        givens = (Given("m", f"{c}{e}", h // 2, length(c, e)),)
        target, measure, steps = f"{a}{b}", length(a, b), ("m * 2 = t",)
        wrong = (
            Method("The median equals the hypotenuse.", (), "m"),
            Method("The median is double the hypotenuse.", ("m / 2 = t",)),
            Method("The median is a third.", ("m * 3 = t",)),
        )
        note = "The median to the hypotenuse is half of it, so double the length."
    else:
        givens = (Given("h", f"{a}{b}", h, length(a, b)),)
        target, measure, steps = f"{c}{e}", length(c, e), ("h / 2 = t",)
        wrong = (
            Method("The median equals the hypotenuse.", (), "h"),
            Method("The median is double the hypotenuse.", ("h * 2 = t",)),
            Method("The median is a quarter.", ("h / 4 = t",)),
        )
        note = "The median to the hypotenuse is half of it, so halve the length."
    return Draft(
        f"In triangle {a}{b}{c}",
        tuple(facts),
        givens,
        target,
        measure,
        Method(MEDIAN, steps),
        wrong,
        note,
        ("theorem:hypotenuse_median", "perception:right_angle"),
        points,
        marks,
        variant="legs" if d.deep else "hypotenuse" if back else "plain",
    )
