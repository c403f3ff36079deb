"""Questions about the picture alone, for eyes that have to learn to read: letters, numbers, marks, what lies on what.

Every answer follows from the layout that was drawn, so it is what the picture shows and not what the text says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from r3v.data.euclid.figure import Figure
from r3v.data.euclid.item import Item
from r3v.data.euclid.make import item_of
from r3v.data.euclid.picture import Layout, draw
from r3v.data.euclid.source import source
from r3v.data.euclid.words import capital
from r3v.records import ImageSource


@dataclass(frozen=True, slots=True)
class Reading:
    """A picture, a question about it and the text that answers it."""

    image: ImageSource
    question: str
    target: str
    task: str


Task = Callable[[Item, Layout, random.Random], tuple[str, str] | None]


def listed(names: list[str]) -> str:
    return ", ".join(names) + "." if names else "None."


def shown_letters(layout: Layout) -> list[str]:
    return sorted(label.text for label in layout.labels if label.kind == "letter")


def letters(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Every letter of a point, in alphabetical order."""
    question = rng.choice(("List the letters.", "Which letters stand in the figure?", "Name the points of the figure."))
    return question, listed(shown_letters(layout))


def numbers(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Every number written in the picture, from left to right."""
    found = sorted((label.box[0], label.text) for label in layout.labels if label.kind in ("number", "mark"))
    if not found and rng.random() < 0.7:
        return None
    question = rng.choice(("Which numbers are written?", "Read the numbers in the figure.", "List the numbers."))
    return question, listed([text for _, text in found])


def values(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """What each number of the picture measures."""
    if not item.pictured:
        return None
    told = [f"{item.names.quantity(q)} = {v.text}" for q, v in item.pictured]
    return rng.choice(("Read the measures in the figure.", "What measures does the figure give?")), listed(sorted(told))


def on_line(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """The points between the ends of a drawn line."""
    lines = [names for names in item.figure.lines if _all_shown(item.figure, layout, (names[0], names[-1]))]
    if not lines:
        return None
    long = [names for names in lines if len(names) > 2]
    if not long and rng.random() < 0.7:
        return None
    names = rng.choice(long if long and rng.random() < 0.85 else lines)
    a, b = (names[0], names[-1]) if rng.random() < 0.5 else (names[-1], names[0])
    between = [p for p in (names if a == names[0] else names[::-1])[1:-1] if p in shown_letters(layout)]
    question = rng.choice(
        ("Which points lie on line {0} besides {1} and {2}?", "Which points lie between {1} and {2}?")
    )
    return question.format(a + b, a, b), listed(between)


def on_circle(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    circles = list(item.figure.circles.items())
    question = rng.choice(("Which points lie on the circle?", "Name the points on the circle."))
    if not circles:
        return (question, "There is no circle.") if rng.random() < 0.2 else None
    return question, listed(sorted(p for p in circles[0][1] if p in shown_letters(layout)))


def centre(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    if not item.figure.circles:
        return None
    o = next(iter(item.figure.circles))
    shown = o in shown_letters(layout)
    return "Which point is the centre of the circle?", f"{o}." if shown else "It is not marked."


def joined(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Whether two points are joined by a drawn line."""
    shown = shown_letters(layout)
    if len(shown) < 3:
        return None
    yes = [two for two in item.figure.line_of if set(two) <= set(shown) and two[0] < two[1]]
    no = [(p, q) for p in shown for q in shown if p < q and (p, q) not in item.figure.line_of]
    pool = yes if not no or rng.random() < 0.5 else no
    if not pool:
        return None
    p, q = rng.choice(pool)
    question = rng.choice(("Is {0}{1} drawn?", "Are {0} and {1} joined by a line?")).format(p, q)
    return question, "Yes." if (p, q) in item.figure.line_of else "No."


def joined_to(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """The nearest points along the lines from one point."""
    shown = shown_letters(layout)
    open_points = [p for p in shown if p in item.figure.rays]
    if not open_points:
        return None
    p = rng.choice(open_points)
    ends = sorted({q for ray in item.figure.rays[p] for q in ray.points[:1]})
    return f"Which points are next to {p} along the lines?", listed([q for q in ends if q in shown])


def marks(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Right angles and equal sides that the picture marks."""
    told = []
    ticks: dict[int, list[str]] = {}
    for mark in layout.marks:
        if mark.kind == "right":
            told.append(f"{_corner(mark.points)} is a right angle")
        else:
            ticks.setdefault(mark.count, []).append("".join(mark.points))
    told += [" = ".join(sorted(dict.fromkeys(names))) for _, names in sorted(ticks.items())]
    question = rng.choice(("What is marked in the figure?", "Which right angles and equal sides are marked?"))
    return (question, listed(told)) if told or rng.random() < 0.15 else None


def marked_right(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Whether a right angle is marked at a vertex."""
    right = {mark.points[1] for mark in layout.marks if mark.kind == "right"}
    pool = [p for p in shown_letters(layout) if len(item.figure.rays.get(p, [])) >= 2]
    if not pool:
        return None
    p = rng.choice(sorted(right) if right and rng.random() < 0.5 else pool)
    return f"Is a right angle marked at {p}?", "Yes." if p in right else "No."


def triangles(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """The triangles whose sides are drawn and carry no other point, or all of them where they are few."""
    shown = set(shown_letters(layout))
    found = ["".join(t) for t in item.figure.triangles if set(t) <= shown]
    if not found or len(found) > 6:
        return None
    return rng.choice(("Name the triangles.", "Which triangles are drawn?")), listed(sorted(found))


def which_angle(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """Where a numbered angle stands."""
    named = [(q, n) for q, n in item.figure.numbered.items() if _all_shown(item.figure, layout, q[1:])]
    if not named:
        return None
    q, n = rng.choice(named)
    a, b = (item.names.arm(item.figure.ray_of[q[1], p]) for p in q[2:])
    if not _all_shown(item.figure, layout, (a, b)):
        return None
    a, b = sorted((a, b))
    return f"Which angle is angle {n}?", f"Angle {a}{q[1]}{b}."


def transcription(item: Item, layout: Layout, rng: random.Random) -> tuple[str, str] | None:
    """The whole drawing in words: lines with their points in order, circles, written measures."""
    shown = set(shown_letters(layout))
    if item.figure.hidden:
        return None
    lines = sorted("".join(min(names, names[::-1])) for names in item.figure.lines)
    told = [f"Lines {', '.join(lines)}."]
    for o, names in item.figure.circles.items():
        on = "".join(sorted(p for p in names if p in shown))
        told.append(f"Circle {o if o in shown else ''} through {on}.".replace("  ", " "))
    told += [f"{capital(item.names.quantity(q))} = {v.text}." for q, v in item.pictured]
    return rng.choice(("Describe the figure.", "What is drawn?", "Transcribe the figure.")), " ".join(told)


def _corner(points: tuple[str, ...]) -> str:
    p, v, q = points
    a, b = sorted((p, q))
    return f"angle {a}{v}{b}"


def _all_shown(figure: Figure, layout: Layout, points: tuple[str, ...]) -> bool:
    shown = shown_letters(layout)
    return all(p in shown and p not in figure.hidden for p in points)


READINGS: dict[Task, float] = {
    letters: 0.16,
    numbers: 0.10,
    values: 0.14,
    on_line: 0.14,
    on_circle: 0.07,
    centre: 0.03,
    joined: 0.06,
    joined_to: 0.06,
    marks: 0.07,
    marked_right: 0.04,
    triangles: 0.04,
    which_angle: 0.03,
    transcription: 0.12,
}
"""How often each task is drawn."""


def reading(item: Item, rng: random.Random) -> Reading:
    """One reading task for the picture of an item, drawn by the shares of `READINGS` from those that fit it."""
    _, layout = draw(item)
    tasks = dict(READINGS)
    while True:
        task = rng.choices(list(tasks), weights=list(tasks.values()))[0]
        found = task(item, layout, rng)
        if found is not None:
            return Reading(item.problem.images[0], found[0], found[1], task.__name__)
        del tasks[task]


def readings(n: int, seed: int = 0, split: str = "train") -> Iterator[Reading]:
    """`n` reading tasks, one for each of the first problems of a split."""
    for problem in source(split, n, seed):
        yield reading(item_of(problem), random.Random(f"euclid|reading|{problem.id}"))


__all__ = ["READINGS", "Reading", "reading", "readings"]
