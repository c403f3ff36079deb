"""Who writes lessons: a model, GeoWorld's symbolic teacher, or a saboteur; and how replies are read and checked. The
theorem book is in `r3v.notebook.evolve.book`."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.notebook.gate.gate import subject_of
from r3v.notebook.store.identity import normal_text
from r3v.notebook.store.note import Note, canonical
from r3v.prompts import Style
from r3v.records import Problem, Prompt, Verdict

LONGEST = 600
"""Characters of guidance; longer replies are not rules."""


@dataclass(frozen=True)
class Failure:
    """A problem that was solved wrongly: what was said, how it was graded, and the notes that were shown."""

    problem: Problem
    text: str
    verdict: Verdict
    shown: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """What a supervisor says of one failure."""

    subject: str
    guidance: str
    example: str = ""
    anti_pattern: str = ""
    applicability: str = ""
    prompt_hash: str = ""


class Supervisor(Protocol):
    """Writes lessons. `name` goes into the notes as their author."""

    @property
    def name(self) -> str: ...

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        """One for each failure, None where there is none to give. Engine failures are None, never raised."""
        ...


Ask = Callable[[Sequence[Prompt], int], Sequence[str | None]]
"""(prompts, seed) -> a reply each, None where the engine failed; such as `r3v.notebook.evolve.solving.Asker.ask`."""


def lesson_hash(subject: str, guidance: str) -> str:
    """sha256 over the normalised words of a lesson: the name of its tombstone."""
    return hashlib.sha256(canonical([normal_text(subject), normal_text(guidance)])).hexdigest()


# ---- supervisors -------------------------------------------------------------------------------------


@dataclass
class PolicySupervisor:
    """Any model, the solver itself or a stronger one, asked by `prompts.write_note` through `ask`.

    A reply may name its parts (`Subject:`, `Guidance:`, `Applies when:`, `Avoid:`, `Example:`, one a line); a reply
    without them is the guidance, and its subject is the problem's.
    """

    name: str
    style: Style
    ask: Ask
    seed: int = 0
    subject: Callable[[Problem], str] = subject_of

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        asked = [words.write_note(f.problem, self.style, f.text) for f in failures]
        replies = self.ask(asked, self.seed)
        return [
            None if reply is None else parse(reply, default=self.subject(f.problem), prompt_hash=prompt.hash)
            for f, prompt, reply in zip(failures, asked, replies, strict=True)
        ]


class Symbolic:
    """GeoWorld's own note of each problem: what a perfect teacher would write. Other problems get none."""

    name = "geoworld"

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        from r3v.data.geoworld import item_of

        found: list[Lesson | None] = []
        for failure in failures:
            if "family" not in failure.problem.meta or failure.problem.source != "geoworld":
                found.append(None)
                continue
            item = item_of(failure.problem)
            found.append(Lesson(subject_of(failure.problem), item.note, example=item.rationale))
        return found


_SWAPS = (
    ("subtract", "add"), ("halve", "double"), ("multiply", "divide"), ("half", "double"), ("equal", "unequal"),
    ("180", "360"), ("90", "45"), ("sum", "difference"), ("right", "left"), ("more", "less"), ("always", "never"),
)  # fmt: skip


@dataclass
class Sabotaged:
    """Another supervisor, a seeded share of whose subjects get a wrong rule: operations and numbers are exchanged."""

    inner: Supervisor
    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ConfigError(f"found a sabotaged share of {self.share}, expected 0 to 1")

    @property
    def name(self) -> str:
        return f"{self.inner.name} sabotaged"

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        return [
            replace(lesson, guidance=sabotage(lesson.guidance), example="") if lesson and self.hits(lesson) else lesson
            for lesson in self.inner.lessons(failures)
        ]

    def hits(self, lesson: Lesson) -> bool:
        """Whether this lesson is spoilt; the same for all lessons of one subject."""
        return random.Random(f"sabotage|{self.seed}|{normal_text(lesson.subject)}").random() < self.share


def sabotage(guidance: str) -> str:
    """The rule with operations and constants exchanged, or denied where there is nothing to exchange."""
    table = {a: b for pair in _SWAPS for a, b in (pair, pair[::-1])}
    pattern = re.compile(r"\b(" + "|".join(sorted(table, key=len, reverse=True)) + r")\b")
    spoilt = pattern.sub(lambda m: table[m.group()], guidance)
    return spoilt if spoilt != guidance else f"It is wrong that {guidance[:1].lower()}{guidance[1:]}"


SUPERVISORS: dict[str, Callable[..., Supervisor]] = {
    "policy": PolicySupervisor,
    "symbolic": lambda *_, **__: Symbolic(),
}
"""Name in the recipe -> maker, called with the arguments of `PolicySupervisor`."""


# ---- replies -----------------------------------------------------------------------------------------

_PARTS = {
    "subject": "subject", "guidance": "guidance", "note": "guidance", "rule": "guidance", "example": "example",
    "avoid": "anti_pattern", "anti-pattern": "anti_pattern", "applies when": "applicability",
}  # fmt: skip
_PART = re.compile(r"^\W*(" + "|".join(_PARTS) + r")\W*:\s*(.*)$", re.IGNORECASE)


def parse(reply: str, *, default: str, prompt_hash: str = "") -> Lesson:
    """A reply as a lesson; lines before the first named part, or all of them, are the guidance."""
    found: dict[str, list[str]] = {}
    part = "guidance"
    for line in reply.strip().splitlines():
        named = _PART.match(line)
        if named:
            part = _PARTS[named.group(1).lower()]
            line = named.group(2)
        if line.strip():
            found.setdefault(part, []).append(line.strip())
    texts = {name: " ".join(lines) for name, lines in found.items()}
    subject = texts.pop("subject", "").strip(" *_#`")[:80] or default
    guidance = texts.pop("guidance", "")
    return Lesson(subject, guidance, prompt_hash=prompt_hash, **texts)


def unusable(lesson: Lesson, problem: Problem) -> str | None:
    """Why a lesson cannot be a note: empty, too long, no rule but a solution, or a loop; None if it can."""
    text = lesson.guidance.strip()
    pieces = text.split()
    if len(pieces) < 3 or sum(c.isalpha() for c in text) < len(text) / 3:
        return "no rule in it"
    if len(text) > LONGEST:
        return "too long"
    if re.search(r"\banswer\s*(is|:)\s*\S*\d", text, re.IGNORECASE):
        return "states an answer"
    if len(pieces) >= 12 and len(set(pieces)) < len(pieces) / 3:
        return "repeats itself"
    return None
