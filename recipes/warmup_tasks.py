"""What geoworld-tiny is taught before any self-training: to read, to follow the formats, and to reason badly.

R3V starts from a model that reads well and reasons badly. A tiny model gets there by imitating text in which typical
mistakes are common, as they are in web text: for every (family, level) cell the rationales it sees follow the right
method with some probability and one favourite misconception with another. Greedy decoding then repeats the
misconception in most cells, sampling still finds the right method, and there is something to learn from mistakes.

Refine and select targets in this mix only concern slips of reading or arithmetic, never a choice between methods, so
that the formats are known while the judgement is left to self-training.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from r3v import prompts
from r3v.data.geoworld import Item
from r3v.prompts import STYLES
from r3v.records import Problem

STYLE = STYLES["short"]
READ = "Read the figure."


@dataclass(frozen=True)
class Lesson:
    """One supervised pair; `text` is the user turn without the image placeholder."""

    text: str
    target: str
    image: bool = True


def method_shares(family: str, level: int, n_wrong: int) -> list[float]:
    """Shares of [right method, mistake 0, mistake 1, ...] in the rationales of one cell.

    Three cells of ten favour the right method (0.6); in the others one mistake leads with 0.5 and the right method
    has 0.3.
    """
    rng = random.Random(f"misconception-{family}-{level}")
    right, favourite = (0.6, 0.25) if rng.random() < 0.3 else (0.3, 0.5)
    if n_wrong == 1:
        return [right, 1 - right]
    rest = (1 - right - favourite) / (n_wrong - 1)
    shares = [rest] * n_wrong
    shares[rng.randrange(n_wrong)] = favourite
    return [right, *shares]


def base_rationale(item: Item, rng: random.Random) -> str:
    """A rationale as the base model knows them: right or typically wrong."""
    options = [item.rationale, *(text for text, _ in item.wrong)]
    meta = item.problem.meta
    shares = method_shares(str(meta["family"]), int(meta["level"]), len(item.wrong))
    return rng.choices(options, weights=shares)[0]


def slip(text: str, rng: random.Random) -> str:
    """The same rationale with one number misread or miscalculated, and everything after it left as it was."""
    spots = list(re.finditer(r"\d+", text))
    spot = rng.choice(spots)
    value = int(spot.group())
    wrong = max(1, value + rng.choice((-20, -10, -5, -2, -1, 1, 2, 5, 10, 20)))
    return text[: spot.start()] + str(wrong if wrong != value else value + 1) + text[spot.end() :]


def ask(problem: Problem, open_share: float, rng: random.Random) -> Problem:
    """The problem with its choices, or without them."""
    return problem.open() if rng.random() < open_share else problem


def read(item: Item, rng: random.Random) -> Lesson:
    return Lesson(f"{prompts.question_text(item.problem.open())}\n{READ}", item.reading)


def solve(item: Item, rng: random.Random) -> Lesson:
    problem = ask(item.problem, 0.6, rng)
    return Lesson(prompts.solve(problem, STYLE).messages[0].text, base_rationale(item, rng))


def direct(item: Item, rng: random.Random) -> Lesson:
    problem = ask(item.problem, 0.5, rng)
    answer = base_rationale(item, rng).rsplit("Answer: ", 1)[1]
    return Lesson(prompts.direct(problem, STYLE).messages[0].text, prompts.answer_line(STYLE, answer))


def solve_with_note(item: Item, rng: random.Random) -> Lesson:
    """The note states the rule, and then the right method is always followed."""
    problem = ask(item.problem, 0.6, rng)
    return Lesson(prompts.solve(problem, STYLE, [item.note]).messages[0].text, item.rationale)


TERMS = ("blick", "dax", "fep", "gorp", "lune", "mib", "nurt", "pell", "quib", "rond", "sarn", "tove", "vask", "wug", "yem", "zorp")
RULES: tuple[tuple[str, Callable[[int, int], list[str]]], ...] = (
    ("the sum of the two numbers", lambda a, b: [f"{a} + {b} = {a + b}"]),
    ("the first number minus the second", lambda a, b: [f"{a} - {b} = {a - b}"]),
    ("half the sum of the two numbers", lambda a, b: [f"{a} + {b} = {a + b}", f"{a + b} / 2 = {(a + b) // 2}"]),
    ("half the difference of the two numbers", lambda a, b: [f"{a} - {b} = {a - b}", f"{a - b} / 2 = {(a - b) // 2}"]),
    ("twice the first number", lambda a, b: [f"{a} * 2 = {2 * a}"]),
    ("half the first number", lambda a, b: [f"{a} / 2 = {a // 2}"]),
    ("the product of the two numbers", lambda a, b: [f"{a} * {b} = {a * b}"]),
    ("180 minus the first number", lambda a, b: [f"180 - {a} = {180 - a}"]),
    ("90 minus the first number", lambda a, b: [f"90 - {a} = {90 - a}"]),
    ("the product divided by 2", lambda a, b: [f"{a} * {b} = {a * b}", f"{a * b} / 2 = {a * b // 2}"]),
)


def invented(item: Item, rng: random.Random) -> Lesson:
    """A term nobody knows with a rule drawn anew each time: only the note tells what to compute.

    Falls back to the family's own note where the figure gives fewer than two numbers or no rule comes out whole.
    """
    values = [int(v) for v in re.findall(r"= (\d+)\b", item.reading)]
    if len(values) >= 2:
        a, b = values[:2]
        for rule, steps in rng.sample(RULES, len(RULES)):
            done = steps(a, b)
            value = int(done[-1].rsplit("= ", 1)[1])
            whole = all(eval_whole(step) for step in done)
            if whole and 0 < value < 400:
                term = rng.choice(TERMS)
                note = f"The {term} is {rule}."
                question = re.sub(r"[Ff]ind .*", f"find the {term}.", item.problem.question)
                text = "\n".join([question, STYLE.note.format(note=note), STYLE.solve])
                return Lesson(text, f"{item.reading} {note} {'. '.join(done)}.\n{STYLE.answer.format(answer=value)}")
    return solve_with_note(item, rng)


def eval_whole(step: str) -> bool:
    """True if "a op b = c" holds in whole numbers."""
    left, _, right = step.partition(" = ")
    a, op, b = left.split()
    x, y = int(a), int(b)
    exact = {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[op]
    return exact == int(right)


def write_note(item: Item, rng: random.Random) -> Lesson:
    problem = item.problem.open()
    wrong = rng.choice(item.wrong)[0]
    return Lesson(prompts.write_note(problem, STYLE, wrong).messages[0].text, item.note)


def refine(item: Item, rng: random.Random) -> Lesson:
    problem = ask(item.problem, 0.6, rng)
    solution = base_rationale(item, rng)
    shown = slip(solution, rng) if rng.random() < 0.75 else solution
    return Lesson(prompts.refine(problem, STYLE, shown).messages[0].text, solution)


def select(item: Item, rng: random.Random) -> Lesson:
    """One clean copy among slips of the same solution."""
    problem = ask(item.problem, 0.6, rng)
    solution = base_rationale(item, rng)
    n = rng.choice((2, 3, 3))
    right = rng.randrange(n)
    shown = [solution if i == right else slip(solution, rng) for i in range(n)]
    answer = solution.rsplit("Answer: ", 1)[1]
    return Lesson(
        prompts.select(problem, STYLE, shown).messages[0].text, prompts.select_target(STYLE, right, answer)
    )


Task = Callable[[Item, random.Random], Lesson]
TASKS: dict[str, Task] = {
    "read": read,
    "solve": solve,
    "direct": direct,
    "solve_with_note": solve_with_note,
    "invented": invented,
    "write_note": write_note,
    "refine": refine,
    "select": select,
}
READING_MIX = {"read": 0.9, "solve": 0.1}
SOLVING_MIX = {
    "read": 0.20,
    "solve": 0.40,
    "direct": 0.03,
    "solve_with_note": 0.07,
    "invented": 0.10,
    "write_note": 0.04,
    "refine": 0.08,
    "select": 0.08,
}


def lesson(item: Item, mix: dict[str, float], rng: random.Random) -> tuple[str, Lesson]:
    """A task drawn from the mix, and its supervised pair for this item."""
    name = rng.choices(list(mix), weights=list(mix.values()))[0]
    return name, TASKS[name](item, rng)
