"""Word problems: ladders, slopes, trees and their shadows, ponds that cannot be measured across."""

from __future__ import annotations

import math
from random import Random

from r3v.data.euclid.exact import number
from r3v.data.euclid.figure import Figure, mid, sided
from r3v.data.euclid.figures.base import TRIPLES, construction, fair, length

O = (0.0, 0.0)  # noqa: E741


@construction
def ladder(f: Figure, r: Random) -> None:
    a, b, _c = r.choice(TRIPLES[:6])
    f.at(C=O, A=(0.0, float(max(a, b))), B=(float(min(a, b)), 0.0))
    f.join("AC", "BC", "AB")
    f.say("", ("right", "A", "C", "B"))
    f.opening = r.choice(
        (
            "a ladder AB leans against a vertical wall AC, and BC is the level ground",
            "the ladder AB leans on the wall AC and its foot B stands on the level ground BC",
        )
    )
    f.story = {
        "length A B": "the length of the ladder AB",
        "length A C": "the height AC that the ladder reaches",
        "length B C": "the distance BC from the foot of the ladder to the wall",
    }
    f.goals = f.offers = [length(*s) for s in ("AB", "AC", "BC")]


@construction
def slope(f: Figure, r: Random) -> None:
    angle = r.choice((30, 45, 60, 30))
    rise = r.choice((1, 2, 3, 4, 5, 6, 10, 20, 50, 100))
    run = rise / math.tan(math.radians(angle))
    f.at(C=O, A=(-run, 0.0), B=(0.0, float(rise)))
    f.points["C"] = (0.0, 0.0)
    f.join("AB", "BC", "AC")
    f.say("", ("right", "A", "C", "B"))
    thing = r.choice(("slope", "escalator", "dam"))
    f.opening = r.choice(
        (
            f"the {thing} AB rises from the level ground AC to B above C",
            f"AB is the {thing} and BC is its vertical height above the ground AC",
        )
    )
    f.say(f"the angle of the {thing} angle BAC = {angle}", ("value", ("angle", "A", "B", "C"), number(angle)))
    f.story = {
        "length A B": f"the length of the {thing} AB",
        "length B C": "the height BC",
        "length A C": "the level distance AC",
    }
    f.goals = f.offers = [length(*s) for s in ("AB", "AC", "BC")]


@construction
def elevation(f: Figure, r: Random) -> None:
    angle = r.choice((30, 45, 60))
    away = r.choice((6, 9, 10, 12, 15, 20, 30, 50, 60))
    f.at(B=O, A=(0.0, away * math.tan(math.radians(angle))), C=(float(away), 0.0))
    f.join("AB", "BC", "AC")
    f.say("", ("right", "A", "B", "C"))
    thing = r.choice(("tree", "tower", "flagpole", "building"))
    f.opening = f"the {thing} AB stands on the level ground BC"
    f.say(
        f"the angle of elevation of its top A seen from C is {angle}",
        ("value", ("angle", "C", "A", "B"), number(angle)),
    )
    f.story = {"length A B": f"the height of the {thing} AB", "length B C": "the distance BC"}
    f.goals = f.offers = [length("A", "B"), length("B", "C")]


@construction
def shadow(f: Figure, r: Random) -> None:
    """A person CD and a tree AB whose shadows end at the same point E."""
    f.gives = (3,)
    k, small, near = r.randint(2, 6), r.choice((1, 2, 1.5)), r.choice((1, 2, 3, 4))
    f.at(E=O, D=(float(near), 0.0), B=(float(near * k), 0.0), C=(float(near), small), A=(near * k * 1.0, small * k))
    stretch = near * k / (small * k)
    fair(0.5 < stretch < 3.5)
    f.line("EDB")
    f.line("ECA")
    f.join("CD", "AB")
    f.say("", ("right", "A", "B", "E"), ("right", "C", "D", "E"))
    thing = r.choice(("tree", "flagpole", "street lamp", "tower"))
    who = r.choice(("a student", "a post", "a person", "a bamboo pole"))
    f.opening = f"{who} CD and the {thing} AB stand upright on the level ground EB, and E, C and A are on a line"
    f.story = {
        "length A B": f"the height of the {thing} AB",
        "length C D": "CD",
        "length D E": "DE",
        "length B D": "BD",
        "length B E": "BE",
    }
    f.goals = [length("A", "B"), length("A", "B"), length("B", "E"), length("C", "D")]
    f.offers = [length(*s) for s in ("CD", "DE", "BD", "BE", "AB")]


@construction
def pond(f: Figure, r: Random) -> None:
    """A pond AB measured by a midline or by similar triangles."""
    de = r.randint(4, 30)
    oa, ob = 1.3 * de * r.uniform(0.8, 1.2), 1.3 * de * r.uniform(0.8, 1.2)
    o, a, b = sided(2 * de, 2 * ob * 0.8, 2 * oa * 0.8)
    f.at(C=o, A=a, B=b, D=mid(o, a), E=mid(o, b))
    f.line("CDA")
    f.line("CEB")
    f.join("AB", "DE")
    f.say("take a point C from which A and B can be reached")
    f.say("D and E are the midpoints of AC and BC", ("mid", "D", "A", "C"), ("mid", "E", "B", "C"))
    f.opening = r.choice(
        (
            "the distance between A and B across a pond cannot be measured directly",
            "the length of tunnel AB cannot be directly measured",
        )
    )
    f.story = {"length A B": "the distance AB"}
    f.goals, f.offers = [length("A", "B"), length("D", "E")], [length("D", "E"), length("A", "B")]


@construction
def walk(f: Figure, r: Random) -> None:
    """A walk east and north: the way back is the hypotenuse."""
    a, b, _c = r.choice(TRIPLES[:5])
    f.at(A=O, B=(float(a), 0.0), C=(float(a), float(b)))
    f.join("AB", "BC", "AC")
    f.say("", ("right", "A", "B", "C"))
    f.opening = r.choice(
        (
            "a ship sails east from A to B and then north from B to C",
            "someone walks east from A to B and then north to C",
        )
    )
    f.story = {"length A C": "the distance from A to C", "length A B": "AB", "length B C": "BC"}
    f.goals, f.offers = [length("A", "C"), length("B", "C")], [length("A", "B"), length("B", "C"), length("A", "C")]
