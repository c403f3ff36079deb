"""What a note can do at most, and what any note does: the right page of the theorem book given by hand, and a wrong
one of equal length.

Retrieval has no part in it, so the right page is an upper bound for a notebook of such notes; and as a longer prompt
alone may help or hurt, the wrong page stands beside it. Every comparison is paired on the same problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from r3v.errors import DataError
from r3v.notebook.evolve.book import Page, TheoremBook
from r3v.notebook.evolve.solving import Asker, Solved, solve
from r3v.notebook.retrieval.inject import Recall, note_text
from r3v.prompts import Style
from r3v.records import Outcome
from r3v.run.controls import paired

NONE, OWN, RIGHT, WRONG = "no note", "notebook", "right note", "wrong note"
_PAIRS = ((RIGHT, NONE), (WRONG, NONE), (RIGHT, WRONG), (OWN, RIGHT))
"""(figure, what it is compared with)."""


def controls(
    recall: Recall, asker: Asker, style: Style, without: Sequence[Solved], noted: Sequence[Solved], *, seed: int = 0
) -> dict[str, Any]:
    """Ask the problems that name a theorem with both pages, in the form that `recall` shows notes in; JSON values.

    `without` and `noted` are all problems as they were solved without a note and with the notebook's. `n` problems
    have a page, `unnamed` have none. `characters`: mean length of both texts. `rules`: per page, how many problems,
    and how many of them are right without a note, with the right one and with the wrong one.

    Raises DataError where no problem has a page.
    """
    book = TheoremBook()
    texts = {page.rule: note_text(page.note, recall.limit, recall.form) for page in book.pages}
    picked = [(i, page) for i, s in enumerate(without) if (page := book.page(s.problem))]
    if not picked:
        raise DataError(
            f"found no page of the theorem book for the skills of {len(without)} problems",
            field="skills",
            fix="Take data that name theorems (geoqa:DIR?split=dev&skills=theorems)",
        )
    problems = [without[i].problem for i, _ in picked]
    right = [page for _, page in picked]
    wrong = [book.beside(problem, page, texts) for problem, page in zip(problems, right, strict=True)]
    arms = {NONE: [without[i] for i, _ in picked], OWN: [noted[i] for i, _ in picked]}
    for name, pages in ((RIGHT, right), (WRONG, wrong)):
        shown = [(texts[page.rule],) for page in pages]
        arms[name] = solve(asker, style, problems, shown, seed=seed)
    rows = [
        {"problem_id": s.problem.id, "metric": name, "outcome": s.verdict.outcome.value}
        for name, solved in arms.items()
        for s in solved
    ]
    return {
        "n": len(picked),
        "unnamed": len(without) - len(picked),
        "characters": {
            name: sum(len(texts[page.rule]) for page in pages) / len(pages)
            for name, pages in ((RIGHT, right), (WRONG, wrong))
        },
        "paired": [paired(rows, a, rows, b, b).to_dict() for a, b in _PAIRS],
        "rules": _rules(right, arms),
        "rows": [
            {
                "problem": problem.id,
                "pages": {RIGHT: right[k].rule, WRONG: wrong[k].rule},
                "outcomes": {name: solved[k].verdict.outcome.value for name, solved in arms.items()},
            }
            for k, problem in enumerate(problems)
        ],
    }


def _rules(right: Sequence[Page], arms: Mapping[str, Sequence[Solved]]) -> dict[str, dict[str, int]]:
    """Rule -> problems with an answer in every arm, and those of them that are right in each."""
    told = (NONE, RIGHT, WRONG)
    kept = [k for k in range(len(right)) if all(arms[a][k].verdict.outcome is not Outcome.UNAVAILABLE for a in told)]
    counts = Counter(right[k].rule for k in kept)
    return {
        rule: {"n": n, **{a: sum(arms[a][k].verdict.correct for k in kept if right[k].rule == rule) for a in told}}
        for rule, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    }


def describe_controls(found: Mapping[str, Any]) -> list[str]:
    """The controls for the terminal, one line each."""
    long = found["characters"]
    lines = [
        f"given by hand to {found['n']} problems ({found['unnamed']} name no theorem of the book): the right page, "
        f"{long[RIGHT]:.0f} characters, and a wrong one, {long[WRONG]:.0f}"
    ]
    for pair in found["paired"]:
        own = pair["accuracy"] + pair["difference"]
        lines.append(
            f"  {pair['figure']:<10} {100 * own:5.1f} %, {pair['control']:<10} {100 * pair['accuracy']:5.1f} %: "
            f"{100 * pair['difference']:+.1f} ({100 * pair['low']:+.1f} to {100 * pair['high']:+.1f}), won "
            f"{pair['wins']}, lost {pair['losses']}, p {pair['p']:.4f}, n {pair['n']}"
        )
    return lines
