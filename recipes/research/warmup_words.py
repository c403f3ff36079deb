"""The last part of geoworld-tiny's warm-up: words and rules it has never met, and mistakes that only the picture shows.

A model of this size learns the phrases of the families by heart: asked in words it has never seen, it answers with a
phrase that it knows, even where the number stands in the question. So shapes, relations, givens and rules are drawn
here from invented words, new each time, and only reading and following help. The families of the split `novel`, their
words and their pictures stay out.

Slips (`recipes/research/warmup_tasks.py`) show in the arithmetic of a solution. A misreading does not: the rest follows
from it, and only a look at the picture tells.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from r3v import prompts
from r3v.data.geoworld import Item
from r3v.data.geoworld.core import Draft, Given, question_text, rationale_text, reading_text
from r3v.recipes.research.warmup_tasks import (
    BINARY,
    STYLE,
    UNARY,
    Lesson,
    Task,
    ask,
    base_rationale,
    direct,
    follow,
    invented,
    method_shares,
    read,
    read_prompt,
    refine,
    select,
    slip,
    solve,
    solve_with_note,
    write_note,
)

ONSETS = (
    "b", "bl", "d", "dr", "f", "g", "gr", "h", "k", "kl", "l", "m",
    "n", "p", "pl", "r", "s", "st", "t", "tr", "v", "w", "z",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "oo")
CODAS = ("", "b", "d", "ck", "g", "l", "m", "n", "nd", "p", "r", "rt", "s", "st", "t", "x")
KNOWN = ("angle", "side", "base", "line", "point", "circle", "length", "area", "height")
SHAPES = re.compile(r"\b(triangle|quadrilateral|parallelogram|rectangle|square|circle|figure)\b")
RELATIONS = (
    "{p}{q} is a {w} at {p}",
    "{p}{q} is the {w}",
    "{p}{q} is a {w} of {q}{r}",
    "{p}{q} and {p}{r} are {w}s",
    "{p} is the {w} of {q}{r}",
    "{p}{q}{r} is a {w} {v}",
    "{w} {p} lies on {q}{r}",
)
TARGETS = ("{p}{q}", "angle {p}{q}{r}", "the {w}", "the {w} of {v} {p}{q}{r}", "{w} {p}{q}")
LABELS = ("{p}{q}", "angle {p}", "angle {p}{q}{r}", "{w} {p}{q}", "{w} of the {v}", "{w} of {v} {p}{q}{r}")
THEOREMS = (
    "The {w} rule holds",
    "A {w} is {u} to the {v}",
    "A {w} is half of the {v}",
    "The {w} of a {v} is double the {u}",
    "Opposite {w}s of a {v} {u} are equal",
    "The {w}s of a {v} sum to {n}",
    "The {w} of two {v}s and the {u} sum to {n}",
    "The {w} of a {v} is half of the sum of the {u}s",
    "A {w} is a part of the {v}",
)
DIVIDING: tuple[tuple[str, str], ...] = (
    ("divide {c} by the {n}", "{c} / a"),
    ("divide {c} by the first {n} and multiply by the second", "{c} / a, r * b"),
    ("divide {c} by the second {n} and divide the first by this", "{c} / b, a / r"),
)


def word(rng: random.Random) -> str:
    """A word of one or two syllables that means nothing, or now and then one that is known from elsewhere."""
    if rng.random() < 0.2:
        return rng.choice(KNOWN)
    count = rng.choice((1, 1, 2, 2, 3))
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))


def fill(template: str, letters: list[str], rng: random.Random) -> str:
    p, q, r = rng.sample(letters, 3)
    return template.format(p=p, q=q, r=r, w=word(rng), v=word(rng), u=word(rng), n=rng.choice((90, 100, 180, 270, 360)))


def disguise(item: Item, rng: random.Random) -> Draft:
    """The draft under invented words. Givens stated in the text become others; those on the picture stay."""
    draft = item.draft
    letters = sorted({*draft.points, "O", "A", "B", "C"})
    intro = SHAPES.sub(lambda _: word(rng), draft.intro) if rng.random() < 0.7 else draft.intro
    facts = tuple(fill(rng.choice(RELATIONS), letters, rng) if rng.random() < 0.7 else fact for fact in draft.facts)
    givens = draft.givens
    if item.problem.meta["place"] == "text":
        count = rng.choice((1, 2, 2, 3))
        values = rng.sample(range(2, 150 if rng.random() < 0.5 else 40), count)
        same = rng.choice(LABELS) if rng.random() < 0.6 else None
        noun = word(rng)
        texts = [fill((same or rng.choice(LABELS)).replace("{w}", noun), letters, rng) for _ in values]
        givens = tuple(Given(k, text, value, ()) for k, text, value in zip("abc", texts, values, strict=False))
    elif rng.random() < 0.3:
        value = rng.choice([n for n in range(2, 150) if n not in {g.value for g in givens}])
        extra = Given("extra", fill(rng.choice(LABELS[3:]), letters, rng), value, (), text_only=True)
        givens = (*givens, extra) if rng.random() < 0.5 else (extra, *givens)
    target = fill(rng.choice(TARGETS), letters, rng) if rng.random() < 0.7 else draft.target
    return replace(draft, intro=intro, facts=facts, givens=givens, target=target)


def disguised_read(item: Item, rng: random.Random) -> Lesson:
    draft = disguise(item, rng)
    problem = replace(item.problem, question=question_text(draft, str(item.problem.meta["place"])))
    return Lesson(read_prompt(problem).messages[0].text, reading_text(draft))


def noun_of(givens: tuple[Given, ...], rng: random.Random) -> str:
    """How a rule may call the givens: by the word their labels share, or as numbers."""
    heads = {g.label.split()[0] if " " in g.label else "side" for g in givens}
    return heads.pop() if len(heads) == 1 and rng.random() < 0.7 else rng.choice(("number", "value", "given"))


def disguised_note(item: Item, rng: random.Random) -> Lesson:
    """Nothing but the note tells what to compute, in words that are new, as its theorem is."""
    draft = disguise(item, rng)
    values = [g.value for g in draft.givens][:2]
    rules = [*UNARY, *DIVIDING[:1], *((*BINARY, *BINARY, *DIVIDING[1:], *DIVIDING[1:]) if len(values) > 1 else ())]
    for words, rule in rng.sample(rules, len(rules)):
        c = str(rng.choice((60, 90, 120, 180, 240, 360)))
        done = follow(rule.replace("{c}", c), values)
        if done is None:
            continue
        lines, value = done
        theorem = fill(rng.choice(THEOREMS), ["A", "B", "C"], rng)
        note = f"{theorem}, so {words.format(n=noun_of(draft.givens[:2], rng), c=c)}."
        question = question_text(draft, str(item.problem.meta["place"]))
        problem = replace(item.problem, question=question).open()
        text = prompts.solve(problem, STYLE, [note]).messages[0].text
        steps = " ".join(f"{line}." for line in lines)
        return Lesson(text, f"{reading_text(draft)} {theorem}. {steps}\n{STYLE.answer.format(answer=value)}")
    return disguised_read(item, rng)


def misread(item: Item, text: str, rng: random.Random) -> str:
    """The rationale `text` of the item as it would go on from one misread given, or a slip where that ends nowhere.

    Misread is a digit, or which of two numbers belongs where.
    """
    draft = item.draft
    method = next((m for m in (draft.right, *draft.wrong) if rationale_text(draft, m)[0] == text), None)
    for _ in range(4):
        givens = list(draft.givens)
        if len(givens) > 1 and rng.random() < 0.4:
            i, j = rng.sample(range(len(givens)), 2)
            givens[i], givens[j] = replace(givens[i], value=givens[j].value), replace(givens[j], value=givens[i].value)
        else:
            i = rng.randrange(len(givens))
            value = givens[i].value + rng.choice((-30, -20, -10, -5, -2, -1, 1, 2, 5, 10, 20, 30))
            givens[i] = replace(givens[i], value=max(2, value))
        if method is None:
            break
        told, answer = rationale_text(replace(draft, givens=tuple(givens)), method)
        if told != text and re.fullmatch(r"\d+(\.5)?", answer) and answer != "0" and "= -" not in told:
            return told
    return slip(text, rng)


def spoil(item: Item, text: str, rng: random.Random) -> str:
    return misread(item, text, rng) if rng.random() < 0.6 else slip(text, rng)


def habit(item: Item, rng: random.Random) -> str:
    """A rationale as the finished model is to know them: the favourite mistake depends on the family alone.

    A model cannot see the level of a problem, and over the levels of a family the mistakes of `base_rationale` share
    their part out until the right method leads.
    """
    options = [item.rationale, *(text for text, _ in item.wrong)]
    shares = method_shares(str(item.problem.meta["family"]), 0, len(item.wrong))
    return rng.choices(options, weights=shares)[0]


def solve_by_habit(item: Item, rng: random.Random) -> Lesson:
    problem = ask(item.problem, 0.6, rng)
    return Lesson(prompts.solve(problem, STYLE).messages[0].text, habit(item, rng))


def refine_reading(item: Item, rng: random.Random) -> Lesson:
    problem = ask(item.problem, 0.6, rng)
    solution = base_rationale(item, rng)
    shown = spoil(item, solution, rng) if rng.random() < 0.7 else solution
    return Lesson(prompts.refine(problem, STYLE, shown).messages[0].text, solution)


def select_reading(item: Item, rng: random.Random) -> Lesson:
    """One clean copy among solutions with a slip or a misreading."""
    problem = ask(item.problem, 0.6, rng)
    solution = habit(item, rng)
    n = rng.choice((2, 3, 3))
    right = rng.randrange(n)
    shown = [solution if i == right else spoil(item, solution, rng) for i in range(n)]
    answer = solution.rsplit("Answer: ", 1)[1]
    return Lesson(prompts.select(problem, STYLE, shown).messages[0].text, prompts.select_target(STYLE, right, answer))


MIX: dict[Task, float] = {
    read: 0.16,
    disguised_read: 0.14,
    solve: 0.25,
    direct: 0.02,
    solve_with_note: 0.06,
    invented: 0.04,
    disguised_note: 0.12,
    write_note: 0.04,
    refine: 0.02,
    refine_reading: 0.04,
    select: 0.02,
    select_reading: 0.09,
}

"""While the tower learns on."""
JUDGING_MIX: dict[Task, float] = {
    read: 0.10,
    disguised_read: 0.06,
    solve_by_habit: 0.34,
    direct: 0.02,
    solve_with_note: 0.05,
    invented: 0.02,
    disguised_note: 0.08,
    write_note: 0.03,
    refine_reading: 0.04,
    select_reading: 0.26,
}
"""At the end, when the model can read and only then can tell a misreading."""
