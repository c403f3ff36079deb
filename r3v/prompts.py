"""Every word the model sees, in one place: the same functions serve sampling, training and evaluation.

Layout: image(s), then the question (and choices), then everything else, so that all prompts of one problem share
the longest possible prefix (image and question are most of the tokens).

Two styles: `full` for pretrained chat models, `short` for geoworld-tiny, whose context is dear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from r3v.errors import ConfigError
from r3v.records import LETTERS, ImageSource, Message, Problem, Prompt
from r3v.thoughts import spoken

SelectTarget = Literal["solution", "index_answer", "answer"]
"""What select prompts are answered with: the right solution again, word for word; its number and answer; its
answer alone."""


class Notes(Protocol):
    """Who knows what notes a solver is shown (such as `r3v.notebook.retrieval.inject.Recall`).

    Called with problems, it gives the note texts of each, safe to stand in a prompt. A text may bring pictures in an
    attribute `images` (as `r3v.notebook.retrieval.pictures.Pictured` does); they stand behind the problem's own. `name`
    identifies everything they depend on: results with other notes are other results.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, problems: Sequence[Problem]) -> list[tuple[str, ...]]: ...


@dataclass(frozen=True, slots=True)
class Style:
    """The fixed words of one prompt style. Fields with braces are filled by the functions below.

    `thoughts`: what a prompt shows of a solution that its author thought about, `dropped` (what was said alone) or
    `shown` (as it was written).
    """

    name: str
    solve: str
    direct: str
    refine: str
    select: str
    repeat: str
    candidate: str
    chosen: str
    none_right: str
    note: str
    write_note: str
    hint: str
    answer: str = "Answer: {answer}"
    pictured: str = "Image {number} belongs to this note; the question is not about it."
    thoughts: str = "dropped"


STYLES: dict[str, Style] = {
    "full": Style(
        name="full",
        solve=(
            "Solve the problem step by step, as briefly as accuracy allows. "
            "Finish with one line that reads 'Answer: ' followed by your final answer."
        ),
        direct="Reply with one line that reads 'Answer: ' followed by your final answer, nothing else.",
        refine=(
            "Here is a proposed solution:\n{solution}\n\nCheck it against the figure and the question. "
            "If it is right, repeat it; if it is wrong, write a correct one. "
            "Finish with one line that reads 'Answer: ' followed by your final answer."
        ),
        select=(
            "Here are {n} proposed solutions:\n{candidates}\n\nDecide which one is right by checking what each reads "
            "from the figure, its reasoning and its calculation. Reply with the number of the right solution and its "
            "answer, or say that none is right."
        ),
        repeat=(
            "Here are {n} proposed solutions:\n{candidates}\n\nDecide which one is right by checking what each reads "
            "from the figure, its reasoning and its calculation. Reply with the right solution, repeated word for "
            "word, or say that none is right."
        ),
        candidate="[{index}] {solution}",
        chosen="Solution [{index}] is right.\nAnswer: {answer}",
        none_right="None of the solutions is right.",
        note="Guidance that may help (ignore it if it does not apply): {note}",
        write_note=(
            "This solution is wrong:\n{solution}\n\nThe right answer is {answer}. "
            "Write a short general rule that prevents this mistake."
        ),
        hint="Hint: the final answer is {answer}.",
    ),
    "short": Style(
        name="short",
        solve="Solve step by step.",
        direct="Give the answer.",
        refine="Check this: {solution}\nCorrect it.",
        select="{candidates}\nWhich is right?",
        repeat="{candidates}\nSolve step by step.",
        candidate="[{index}] {solution}",
        chosen="[{index}] Answer: {answer}",
        none_right="None",
        note="Note: {note}",
        write_note="Wrong: {solution}\nThe answer is {answer}. Write a note.",
        hint="The answer is {answer}.",
    ),
}


def style(name: str) -> Style:
    """The style called `name`, or that of a file FILE.yaml; with `+thoughts` behind it, solutions are shown in prompts
    together with the thoughts before them. Raises ConfigError for an unknown one."""
    if name.endswith(SHOWN):
        plain = style(name.removesuffix(SHOWN))
        return replace(plain, name=plain.name + SHOWN, thoughts="shown")
    if name.endswith((".yaml", ".yml")):
        return _from_file(Path(name))
    if name not in STYLES:
        raise ConfigError(
            f"found prompt style {name!r}, expected one of {', '.join(sorted(STYLES))}, or FILE.yaml, "
            f"each with or without {SHOWN}"
        )
    return STYLES[name]


SHOWN = "+thoughts"
"""Behind the name of a style: thoughts are shown."""
_PLACES = {
    "refine": ("solution",), "select": ("candidates",), "repeat": ("candidates",), "candidate": ("solution",),
    "chosen": ("answer",), "note": ("note",), "write_note": ("solution", "answer"), "hint": ("answer",),
    "answer": ("answer",), "pictured": ("number",),
}  # fmt: skip
"""What stands in braces in each field; `n` and `index` may stand there too."""


@lru_cache(maxsize=16)
def _from_file(path: Path) -> Style:
    """A style of the user's own: a mapping from the fields of `Style` to their words; `base: full` or `short` gives the
    words of the others. Its name holds a hash of the words, so that samples of other words are other samples."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        found = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"prompt style {path}: cannot read it ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"prompt style {path}: not valid YAML: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError(f"prompt style {path}: expected a mapping from names of words to text, such as `solve: ...`")
    base = found.pop("base", None)
    if base is not None and base not in STYLES:
        raise ConfigError(f"prompt style {path}: found base {base!r}, expected one of {', '.join(sorted(STYLES))}")
    names = [f.name for f in fields(Style) if f.name != "name"]
    unknown = [str(name) for name in found if name not in names]
    needed = [f.name for f in fields(Style) if f.default is MISSING and f.name != "name" and f.name not in found]
    if unknown or (needed and base is None):
        what = f"unknown {', '.join(unknown)}; " if unknown else ""
        what += f"missing {', '.join(needed)}; " if needed and base is None else ""
        raise ConfigError(
            f"prompt style {path}: {what}its words are {', '.join(names)}, and `base: full` gives the rest"
        )
    for name, places in _PLACES.items():
        for place in places:
            if name in found and f"{{{place}}}" not in found[name]:
                raise ConfigError(f"prompt style {path}: {name} has no {{{place}}}; say where it stands")
        _filled(path, name, found.get(name, ""))
    if found.get("thoughts", "dropped") not in ("dropped", "shown"):
        raise ConfigError(f"prompt style {path}: found thoughts {found['thoughts']!r}, expected dropped or shown")
    own = f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return replace(STYLES[base], name=own, **found) if base else Style(name=own, **found)


def _filled(path: Path, name: str, words: str) -> None:
    """Raise ConfigError where the braces of some words cannot be filled."""
    try:
        words.format(**dict.fromkeys(("solution", "candidates", "answer", "note", "number", "n", "index"), ""))
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"prompt style {path}: the braces of {name} cannot be filled ({error}); write {{{{ and }}}} for braces"
        ) from error


def question_text(problem: Problem) -> str:
    """Question and choices, the text part that every prompt of this problem begins with."""
    text = problem.question.strip()
    if problem.unit:
        text += f" (Unit: {problem.unit})"
    if problem.choices:
        listed = " ".join(f"({LETTERS[i]}) {choice}" for i, choice in enumerate(problem.choices))
        text += f"\nChoices: {listed}"
    return text


def _prompt(problem: Problem, *parts: str, pictures: Sequence[ImageSource] = ()) -> Prompt:
    text = "\n".join([question_text(problem), *(part for part in parts if part)])
    return Prompt(problem.id, (Message("user", text, (*problem.images, *pictures)),))


def _noted(problem: Problem, s: Style, notes: Sequence[str], ask: str) -> Prompt:
    """A prompt with notes: each with the numbers of its pictures, counted behind the problem's own."""
    lines: list[str] = []
    pictures: list[ImageSource] = []
    for note in notes:
        lines.append(s.note.format(note=note))
        for image in getattr(note, "images", ()):
            pictures.append(image)
            lines.append(s.pictured.format(number=len(problem.images) + len(pictures)))
    return _prompt(problem, "\n".join(lines), ask, pictures=pictures)


def solve(problem: Problem, s: Style, notes: Sequence[str] = ()) -> Prompt:
    """Ask for a step-by-step rationale that ends in an answer line."""
    return _noted(problem, s, notes, s.solve)


def solve_all(problems: Sequence[Problem], s: Style, notes: Notes | None = None) -> list[Prompt]:
    """`solve` for each problem, with its notes."""
    if notes is None:
        return [solve(problem, s) for problem in problems]
    return [solve(problem, s, texts) for problem, texts in zip(problems, notes(problems), strict=True)]


def direct(problem: Problem, s: Style, notes: Sequence[str] = ()) -> Prompt:
    """Ask for the answer alone."""
    return _noted(problem, s, notes, s.direct)


def solve_with_hint(problem: Problem, s: Style) -> Prompt:
    """Rationalisation (STaR): the gold answer is given away; the target is trained under `solve`, never this prompt."""
    return _prompt(problem, s.hint.format(answer=answer_text(problem)), s.solve)


def shown(s: Style, solution: str) -> str:
    """What a prompt shows of a solution: what was said, without the thoughts before it unless the style shows them.

    Where a thought was cut off nothing was said, so the solution is shown as it stands.
    """
    said = spoken(solution) if s.thoughts == "dropped" else None
    return (said or "").strip() or solution.strip()


def refine(problem: Problem, s: Style, solution: str) -> Prompt:
    """Show one solution (see `shown`) and ask to keep or correct it."""
    return _prompt(problem, s.refine.format(solution=shown(s, solution)))


def select(problem: Problem, s: Style, solutions: Sequence[str], target: SelectTarget = "index_answer") -> Prompt:
    """Show numbered solutions (see `shown`) and ask which is right, in words that fit the `target`."""
    listed = "\n".join(
        s.candidate.format(index=i + 1, solution=shown(s, solution)) for i, solution in enumerate(solutions)
    )
    asked = s.repeat if target == "solution" else s.select
    return _prompt(problem, asked.format(n=len(solutions), candidates=listed))


def select_target(
    s: Style, index: int | None, answer: str, target: SelectTarget = "index_answer", solution: str = ""
) -> str:
    """What the model should reply to `select`. `index` counts from 0; None means that no solution is right.

    `solution` is the one at `index`; only the target of that name needs it.
    """
    if target == "answer":
        return s.answer.format(answer=answer)
    if index is None:
        return s.none_right
    if target == "solution":
        return shown(s, solution)
    return s.chosen.format(index=index + 1, answer=answer)


def write_note(problem: Problem, s: Style, solution: str) -> Prompt:
    """Show a wrong solution (see `shown`) and the right answer, and ask for a general rule."""
    return _prompt(problem, s.write_note.format(solution=shown(s, solution), answer=answer_text(problem)))


def answer_text(problem: Problem, letters: bool = False) -> str:
    """The gold as it stands in targets: the value, or the letter for models that bind letters to options."""
    return problem.answer if letters and problem.kind == "choice" else problem.gold_text


def answer_line(s: Style, answer: str) -> str:
    return s.answer.format(answer=answer)
