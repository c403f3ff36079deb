"""How the quantities, lines and facts of one figure are called, in the question and in the solution alike."""

from __future__ import annotations

from r3v.data.euclid.figure import Fact, Figure, Quantity, Ray, parts_of

SIGNS = {"sum": "+", "difference": "-", "ratio": ":"}
FIGURES = {4: "quadrilateral", 5: "pentagon", 6: "hexagon"}


class Names:
    """The words for one figure. An angle is called by one letter where its vertex has two arms only."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def quantity(self, q: Quantity) -> str:
        """ "angle ABC", "angle 1", "DE", "the radius of circle O", "arc AB", "the area of triangle ABC", ..."""
        if " ".join(q) in self.figure.story:
            return self.figure.story[" ".join(q)]
        kind, at = q[0], q[1:]
        match kind:
            case "angle":
                return self.angle(q)
            case "length":
                return "".join(at)
            case "radius" | "diameter":
                return f"the {kind} of circle {at[0]}"
            case "arc":
                return f"arc {at[1]}{at[2]}"
            case "sin" | "cos" | "tan":
                return f"{kind} {self.angle(('angle', *at))}"
            case "area" | "perimeter":
                return f"the {kind} of {self.polygon(at)}"
            case "disc":
                return f"the area of circle {at[0]}"
            case "round":
                return f"the circumference of circle {at[0]}"
            case "sector":
                return f"the area of sector {at[1]}{at[0]}{at[2]}"
            case "curve":
                return f"the length of arc {at[1]}{at[2]}"
            case "segment":
                return "the area of the shaded part"
            case "gap":
                return f"the distance from {at[0]} to {at[1]}{at[2]}"
            case "sum" | "difference" | "ratio":
                a, b = map(self.quantity, parts_of(q))
                return f"{a} {SIGNS[kind]} {b}"
        raise ValueError(f"found quantity {q!r}, expected one with a name")

    def angle(self, q: Quantity) -> str:
        if q in self.figure.numbered:
            return f"angle {self.figure.numbered[q]}"
        vertex = q[1]
        if len(self.figure.rays[vertex]) == 2 and self.figure.short_names and vertex not in self.figure.circles:
            return f"angle {vertex}"
        p, r = (self.arm(self.figure.ray_of[vertex, name]) for name in q[2:])
        return f"angle {p}{vertex}{r}"

    def arm(self, ray: Ray) -> str:
        """The letter that stands for an arm: the farthest with a letter on it."""
        shown = [p for p in ray.points if p not in self.figure.hidden]
        return shown[-1] if shown else ray.points[-1]

    def polygon(self, at: tuple[str, ...]) -> str:
        name = "".join(at)
        if len(at) == 3:
            return f"triangle {name}"
        for clause in self.figure.clauses:
            for fact in clause.facts:
                if set(fact[1:]) == set(at) and fact[0] in SHAPES and len(fact) == 5:
                    return f"{SHAPES[fact[0]]} {self.spelt(at)}"
        return f"{FIGURES[len(at)]} {self.spelt(at)}"

    def spelt(self, at: tuple[str, ...]) -> str:
        """The corners of a quadrilateral in the order in which the question names them."""
        for clause in self.figure.clauses:
            for fact in clause.facts:
                if fact[0] in SHAPES and set(fact[1:]) == set(at) and "".join(fact[1:]) in clause.text:
                    return "".join(fact[1:])
        for names in self.figure.polygons:
            if set(names) == set(at):
                return "".join(names)
        return "".join(at)

    def line(self, index: int) -> str:
        names = [p for p in self.figure.lines[index] if p not in self.figure.hidden]
        if " ".join(("line", *self.figure.lines[index])) in self.figure.story:
            return "line " + self.figure.story[" ".join(("line", *self.figure.lines[index]))]
        return names[0] + names[-1]

    def fact(self, fact: Fact) -> str:
        """A fact in words, for a solution."""
        kind, at = fact[0], fact[1:]
        match kind:
            case "eq":
                return f"{self.quantity(at[0])} = {self.quantity(at[1])}"
            case "para":
                return f"{self.line(at[0])} is parallel to {self.line(at[1])}"
            case "similar" | "congruent":
                return f"triangle {''.join(at[0])} is {kind} to triangle {''.join(at[1])}"
            case "mid":
                return f"{at[0]} is the midpoint of {at[1]}{at[2]}"
            case "bis":
                return f"{at[0]}{at[2]} bisects angle {at[1]}{at[0]}{at[3]}"
            case "touches":
                return f"{self.line(at[0])} is tangent to circle {at[2]} at {at[1]}"
            case "perpbis":
                return f"{self.line(at[0])} is the perpendicular bisector of {at[1]}{at[2]}"
            case "diameter":
                return f"{at[0]}{at[1]} is a diameter"
        if kind in SHAPES:
            return f"{self.spelt(at)} is {'an' if SHAPES[kind][0] in 'aeio' else 'a'} {SHAPES[kind]}"
        raise ValueError(f"found fact {fact!r}, expected one with words")


SHAPES = {
    "pgram": "parallelogram",
    "rectangle": "rectangle",
    "rhombus": "rhombus",
    "square": "square",
    "trapezium": "trapezoid",
    "isotrap": "isosceles trapezoid",
}
