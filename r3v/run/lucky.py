"""Lucky positives: right answers whose rationale is wrong. How many there are, by the judgement of two people.

A grader sees the answer alone. So a fixed number of right answers is drawn, written down with an empty column for each
of two judges who work on their own, and counted once both have judged: the share with its interval, and how far the two
agree beyond chance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, DataError
from r3v.io import atomic_write, make_folder
from r3v.prompts import question_text
from r3v.records import Outcome, Problem
from r3v.stats import wilson

JUDGES = ("judge_1", "judge_2")
RIGHT, LUCKY = "right", "lucky"
FORM = """# Right answers to judge

{n} right answers of `{metric}`, drawn by the hash of their problem's id with seed {seed}. Judge the rationale, not the
answer: `{right}` where every step follows from question and picture and leads to the answer, `{lucky}` where a step is
false, is about another figure, or does not lead there. A step left out is no fault. Write the word into your own column
of `lucky.jsonl`, without looking at the other.
"""


def draw(rows: Sequence[Mapping[str, Any]], metric: str, n: int, seed: int) -> list[Mapping[str, Any]]:
    """`n` right answers of a metric, one a problem: those whose problem has the smallest sha256 of "seed id".

    Raises ConfigError where there are none, or the rows hold no such metric.
    """
    found = [row for row in rows if row["metric"] == metric]
    if not found:
        there = ", ".join(sorted({row["metric"] for row in rows}))
        raise ConfigError(f"found no rows of {metric!r}, expected one of {there or 'nothing'}")
    right = {row["problem_id"]: row for row in found if row["outcome"] == Outcome.CORRECT.value}
    if not right:
        raise ConfigError(f"found no right answer among {len(found)} of {metric}, so there is nothing to judge")
    order = sorted(right, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    return [right[name] for name in order[:n]]


def publish(
    out: str | Path, drawn: Sequence[Mapping[str, Any]], problems: Mapping[str, Problem], metric: str, seed: int
) -> Path:
    """Write `lucky.jsonl`, a line an answer with the columns of both judges, and `lucky.md`, the form to read it by.

    The JSON Lines hold no question and no picture, so they may be published where the data set may not. Raises
    ConfigError where judgements are there already, or a problem is not among `problems`.
    """
    out = make_folder(out)
    path = out / "lucky.jsonl"
    if path.exists():
        raise ConfigError(f"{path}: found judgements already; count them, or choose another --out")
    missing = [row["problem_id"] for row in drawn if row["problem_id"] not in problems]
    if missing:
        raise ConfigError(f"found no problem {missing[0]!r} in the data set; name the one that was measured")
    lines, form = [], [FORM.format(n=len(drawn), metric=metric, seed=seed, right=RIGHT, lucky=LUCKY)]
    for number, row in enumerate(drawn, 1):
        problem = problems[row["problem_id"]]
        lines.append(
            {
                "number": number,
                "problem_id": problem.id,
                "pictures": [Path(image.describe()).name for image in problem.images],
                "gold": problem.gold_text,
                "rationale": row["text"],
                **dict.fromkeys(JUDGES, ""),
            }
        )
        pictures = " ".join(f"![picture]({image.describe()})" for image in problem.images)
        said = "\n".join(f"> {line}" for line in row["text"].strip().splitlines())
        asked = question_text(problem).replace("\n", "\n\n")
        form.append(f"## {number}. {problem.id}\n\n{pictures}\n\n{asked}\n\nGold: {problem.gold_text}\n\n{said}\n")
    atomic_write(out / "lucky.md", "\n".join(form))
    atomic_write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


@dataclass(frozen=True)
class Judged:
    """What two judges found. `lucky`: how many each calls lucky, of the `n` that both judged; `agreed`: how many both
    call the same; `kappa`: Cohen's (1960), None where chance alone would agree on all."""

    n: int
    missing: int
    lucky: tuple[int, int]
    agreed: int
    kappa: float | None

    def lines(self) -> list[str]:
        """For the terminal: each judge's share with its 95 % Wilson interval, and the agreement."""
        told = []
        for judge, count in zip(JUDGES, self.lucky, strict=True):
            low, high = wilson(count, self.n)
            share, interval = 100 * count / self.n, f"{100 * low:.1f} to {100 * high:.1f}"
            told.append(f"{judge}: {count} of {self.n} lucky, {share:.1f} % ({interval})")
        kappa = "not defined (one of them says the same of all)" if self.kappa is None else f"{self.kappa:.2f}"
        told.append(f"agreement: {self.agreed} of {self.n}, Cohen's kappa {kappa}")
        return [*told, f"not judged by both: {self.missing}"] if self.missing else told


def count(path: str | Path) -> Judged:
    """Count a filled file. Raises DataError for a word that is no judgement, or where nothing is judged by both."""
    pairs: list[tuple[bool, bool]] = []
    missing = 0
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", file=path, fix="Check the path") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            words = [str(row[judge]).strip().casefold() for judge in JUDGES]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a line of this file ({error})", file=path, row=str(number)) from error
        for judge, word in zip(JUDGES, words, strict=True):
            if word not in ("", RIGHT, LUCKY):
                raise DataError(f"found {word!r}, expected {RIGHT} or {LUCKY}", file=path, row=str(number), field=judge)
        if "" in words:
            missing += 1
        else:
            pairs.append((words[0] == LUCKY, words[1] == LUCKY))
    if not pairs:
        raise DataError("nothing is judged by both", file=path, fix=f"Fill in {' and '.join(JUDGES)}")
    n, lucky = len(pairs), (sum(a for a, _ in pairs), sum(b for _, b in pairs))
    agreed = sum(a == b for a, b in pairs)
    chance = (lucky[0] * lucky[1] + (n - lucky[0]) * (n - lucky[1])) / n**2
    return Judged(n, missing, lucky, agreed, None if chance == 1 else (agreed / n - chance) / (1 - chance))
