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
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from r3v import prompts
from r3v.data.geoworld import Item
from r3v.prompts import STYLES
from r3v.records import Message, Problem, Prompt

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
    """The same rationale after one misread or miscalculated number, with another answer at its end."""
    body, answer = text.rsplit("Answer: ", 1)
    spots = list(re.finditer(r"\d+", body))
    spot = rng.choice(spots)
    delta = rng.choice((-20, -10, -5, -2, -1, 1, 2, 5, 10, 20))
    body = body[: spot.start()] + str(max(1, int(spot.group()) + delta)) + body[spot.end() :]
    wrong = str(max(1, round(float(answer)) + delta))
    if wrong == answer:
        wrong += "1"
    tail = body.rfind(f"= {answer}.")
    if tail >= 0:
        body = f"{body[:tail]}= {wrong}.{body[tail + len(answer) + 3 :]}"
    return f"{body}Answer: {wrong}"


def ask(problem: Problem, open_share: float, rng: random.Random) -> Problem:
    """The problem with its choices, or without them."""
    return problem.open() if rng.random() < open_share else problem


def read_prompt(problem: Problem) -> Prompt:
    """Ask for the givens alone."""
    text = f"{prompts.question_text(problem.open())}\n{READ}"
    return Prompt(problem.id, (Message("user", text, problem.images),))


def read(item: Item, rng: random.Random) -> Lesson:
    return Lesson(read_prompt(item.problem).messages[0].text, item.reading)


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


TERMS = (
    "blick",
    "dax",
    "fep",
    "gorp",
    "lune",
    "mib",
    "nurt",
    "pell",
    "quib",
    "rond",
    "sarn",
    "tove",
    "vask",
    "wug",
    "yem",
    "zorp",
)
UNARY: tuple[tuple[str, str], ...] = (
    ("double the {n}", "a * 2"),
    ("halve the {n}", "a / 2"),
    ("subtract the {n} from 90", "90 - a"),
    ("subtract the {n} from 180", "180 - a"),
    ("subtract the {n} from 360", "360 - a"),
    ("subtract the {n} from 180 and halve", "180 - a, r / 2"),
    ("subtract the {n} from 90 and halve", "90 - a, r / 2"),
    ("double the {n} and subtract from 180", "a * 2, 180 - r"),
    ("halve the {n} and subtract from 90", "a / 2, 90 - r"),
)
BINARY: tuple[tuple[str, str], ...] = (
    ("add both {n}s", "a + b"),
    ("add both {n}s and halve", "a + b, r / 2"),
    ("add both {n}s and double", "a + b, r * 2"),
    ("subtract the second {n} from the first", "a - b"),
    ("subtract the second {n} from the first and halve", "a - b, r / 2"),
    ("subtract both {n}s from 180", "180 - a, r - b"),
    ("subtract both {n}s from 360", "360 - a, r - b"),
    ("multiply both {n}s", "a * b"),
    ("multiply both {n}s and halve", "a * b, r / 2"),
    ("divide the first {n} by the second", "a / b"),
)


def follow(rule: str, values: list[int]) -> tuple[list[str], int] | None:
    """The steps of a rule on these values, or None where it leaves the whole numbers from 1 to 400."""
    known = dict(zip("ab", values, strict=False))
    lines = []
    for step in rule.split(", "):
        left, op, right = step.split()
        x, y = (known[v] if v in known else int(v) for v in (left, right))
        result = {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[op]
        if result != int(result) or not 0 < result <= 400:
            return None
        known["r"] = int(result)
        lines.append(f"{x} {op} {y} = {known['r']}")
    return lines, known["r"]


def invented(item: Item, rng: random.Random) -> Lesson:
    """A term nobody knows with a rule drawn anew each time: only the note tells what to compute.

    Falls back to the family's own note where no rule comes out whole on the numbers of the figure.
    """
    values = [int(v) for v in re.findall(r"= (\d+)\b", item.reading)][:2]
    rules = [*UNARY, *(BINARY * 2 if len(values) > 1 else ())]
    for words, rule in rng.sample(rules, len(rules)):
        done = follow(rule, values)
        if done is None:
            continue
        lines, value = done
        noun = "angle" if "angle" in item.reading else rng.choice(("side", "length", "number"))
        theorem = f"The {rng.choice(TERMS)} rule holds"
        term = theorem.split()[1]
        note = f"{theorem}, so {words.format(n=noun)}."
        question = re.sub(r"ind [^.]*\.$", f"ind the {term}.", item.problem.question)
        text = "\n".join([question, STYLE.note.format(note=note), STYLE.solve])
        steps = " ".join(f"{line}." for line in lines)
        return Lesson(text, f"{item.reading} {theorem}. {steps}\n{STYLE.answer.format(answer=value)}")
    return solve_with_note(item, rng)


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
    return Lesson(prompts.select(problem, STYLE, shown).messages[0].text, prompts.select_target(STYLE, right, answer))


Task = Callable[[Item, random.Random], Lesson]
TASKS: tuple[Task, ...] = (read, solve, direct, solve_with_note, invented, write_note, refine, select)
"""All of the first part; the tokenizer is trained on their texts."""
READING_MIX: dict[Task, float] = {read: 0.9, solve: 0.1}
SOLVING_MIX: dict[Task, float] = {
    read: 0.20,
    solve: 0.40,
    direct: 0.03,
    solve_with_note: 0.07,
    invented: 0.10,
    write_note: 0.04,
    refine: 0.08,
    select: 0.08,
}


def lesson(item: Item, mix: Mapping[Task, float], rng: random.Random) -> tuple[str, Lesson]:
    """A task drawn from the mix, and its supervised pair for this item."""
    task = rng.choices(list(mix), weights=list(mix.values()))[0]
    return task.__name__, task(item, rng)
