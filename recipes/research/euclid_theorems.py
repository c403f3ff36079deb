"""The theorem book of the world euclid, and how much of GeoQA it covers.

    python -m r3v.recipes.research.euclid_theorems table --out docs/theorems.md [--geoqa DIR]
    python -m r3v.recipes.research.euclid_theorems coverage --geoqa DIR

`table` looks through problems until every rule has an example, and writes one row for each: the theorems it stands
for, the rule, what it says, and a step of a problem that anyone can make again. `coverage` reads the annotation of
GeoQA's training split (formalgeo_raw_text.jsonl and join_multiple_choice.jsonl in DIR) and says which share of the
problems uses none but theorems of that table; nothing of the test split is looked at. Half a minute on one core.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from r3v.data.euclid import CONSTRUCTIONS, RULES, Item, make
from r3v.data.euclid.words import sentence
from r3v.data.sets.theorems import theorems_of
from r3v.errors import DataError
from r3v.io import atomic_write

SPLIT, SEED = "train", 0
ROUNDS = 40
"""How many problems of each construction are looked through at most."""
LONG = 150


@dataclass(frozen=True, slots=True)
class Example:
    """A step of a problem: of which construction and number, and its sentence."""

    construction: str
    index: int
    question: str
    step: str

    @property
    def cost(self) -> tuple[bool, int]:
        return len(self.step) > LONG, len(self.question) + len(self.step)


def example(rule: str, construction: str, index: int) -> Example:
    """The first step of this problem that follows `rule`. Raises DataError where there is none."""
    item = make(SPLIT, SEED, index, construction)
    found = dict(steps_of(item)).get(rule)
    if found is None:
        raise DataError(f"found no step by rule {rule!r} in problem {index} of construction {construction!r}")
    return Example(construction, index, item.problem.question, found)


def steps_of(item: Item) -> Iterator[tuple[str, str]]:
    """(rule, sentence) of each step, the last first, so that a dict keeps the first of each rule."""
    for node in reversed(item.steps):
        yield node.rule, sentence(item.names, node)


def search(rounds: int = ROUNDS, enough: int = 6) -> dict[str, Example]:
    """An example for every rule that occurs: the shortest met until all are found, after `enough` rounds at least."""
    best: dict[str, Example] = {}
    for index in range(rounds):
        if index >= enough and len(best) == len(RULES):
            break
        for construction in CONSTRUCTIONS:
            item = make(SPLIT, SEED, index, construction)
            for rule, step in dict(steps_of(item)).items():
                found = Example(construction, index, item.problem.question, step)
                if rule not in best or found.cost < best[rule].cost:
                    best[rule] = found
    return best


def row(rule: str, found: Example) -> str:
    tags = ", ".join(RULES[rule].tags) or "(none)"
    cells = [tags, rule, RULES[rule].says, found.question, found.step, f"{found.construction} {found.index}"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(examples: dict[str, Example], covered: str = "") -> str:
    """The page: rules in the order of the table RULES."""
    lines = [
        "# Theorems",
        "",
        f"The world `euclid` knows {len(RULES)} rules. Each stands for one or more theorems of FormalGeo (first "
        "column); rules without a theorem pass equalities on. The last column names a problem where the rule occurs, "
        'as construction and number, for `r3v.data.euclid.make("train", 0, number, construction)`.',
        "",
        *([covered, ""] if covered else []),
        "| theorems | rule | what it says | question | step | problem |",
        "|---|---|---|---|---|---|",
        *(row(rule, examples[rule]) for rule in RULES if rule in examples),
        "",
        "Made by `python -m r3v.recipes.research.euclid_theorems table`.",
    ]
    return "\n".join(lines) + "\n"


def read_table(text: str) -> dict[str, tuple[tuple[str, ...], str, str, int]]:
    """Rows of the page: rule -> (theorems, step, construction, number)."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 6 and cells[1] in RULES:
            tags = () if cells[0] == "(none)" else tuple(cells[0].split(", "))
            construction, number = cells[5].split(" ")
            found[cells[1]] = (tags, cells[4], construction, int(number))
    return found


def training_theorems(folder: Path) -> list[frozenset[str]]:
    """The theorems that each GeoQA training problem uses. Raises DataError for a folder without the two files."""
    return [frozenset(names) for names in theorems_of(folder).values()]


def coverage(problems: Sequence[frozenset[str]], known: Iterable[str]) -> tuple[int, Counter[str]]:
    """How many problems use none but known theorems, and how often each unknown one is used."""
    tags = frozenset(known)
    return sum(problem <= tags for problem in problems), Counter(t for p in problems for t in p - tags)


def occurring(examples: Iterable[str]) -> set[str]:
    """The theorems of the rules that have an example, and the one that only some places of a rule bring along."""
    tags = {tag for rule in examples for tag in RULES[rule].tags}
    return tags | ({"parallel_property_collinear_extend"} if "alternate_angles" in examples else set())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)
    make_table = sub.add_parser("table", help="write the page of theorems")
    make_table.add_argument("--out", type=Path, default=Path("docs/theorems.md"))
    make_table.add_argument("--rounds", type=int, default=ROUNDS, help="problems of each construction at most")
    make_table.add_argument("--geoqa", type=Path, help="folder of the joined GeoQA data, to state the coverage")
    cover = sub.add_parser("coverage", help="how much of GeoQA's training split the page covers")
    cover.add_argument("--geoqa", type=Path, required=True)
    cover.add_argument("--table", type=Path, default=Path("docs/theorems.md"))
    args = parser.parse_args(argv)
    if args.command == "table":
        examples = search(args.rounds)
        said = stated(training_theorems(args.geoqa), examples) if args.geoqa else ""
        atomic_write(args.out, table(examples, said))
        missing = [rule for rule in RULES if rule not in examples]
        print(f"{len(examples)} of {len(RULES)} rules have an example; none for: {', '.join(missing) or '-'}")
        return 1 if missing else 0
    problems = training_theorems(args.geoqa)
    examples = read_table(args.table.read_text(encoding="utf-8"))
    print(stated(problems, examples))
    for tag, count in coverage(problems, occurring(examples))[1].most_common():
        print(f"{count:5d}  {tag}")
    return 0


def stated(problems: Sequence[frozenset[str]], examples: Iterable[str]) -> str:
    covered, _ = coverage(problems, occurring(list(examples)))
    return (
        f"Of GeoQA's {len(problems):,} training problems, {covered:,} ({100 * covered / len(problems):.1f} %) use none "
        "but theorems of this page in the solution that FormalGeo annotates."
    )


if __name__ == "__main__":
    raise SystemExit(main())
