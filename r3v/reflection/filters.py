"""Filters against lucky positives: rationales whose answer is right and whose reasoning is not.

Each is one named entry of `FILTERS`; `measure_filters` says what each is worth where the truth about the
reasoning is known (GeoWorld). The share of really right rationales among positives in the R3V paper is 8-70
%.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.grading import extract
from r3v.policies.base import Given, Policy, text_of
from r3v.prompts import Style
from r3v.records import LETTERS, BytesImage, Graded, ImageSource, Problem, Prompt
from r3v.reflection.arithmetic import last_value, steps, value_of
from r3v.stats import wilson


def body_of(text: str) -> str:
    """A rationale without its answer line."""
    return text.rsplit("Answer:", 1)[0]


def named_value(problem: Problem, text: str) -> float | None:
    """The number that the answer named in `text` stands for (of a letter: its option's), or None."""
    answer = extract(problem, text)
    if answer is None:
        return None
    if problem.kind == "choice" and problem.choices and answer in LETTERS[: len(problem.choices)]:
        answer = problem.choices[LETTERS.index(answer)]
    return value_of(answer)


def computed_last(problem: Problem, text: str) -> bool:
    """The value computed last is the value of the answer or option named (to 0.5 %).

    Answers that are no numbers cannot be judged and are kept; a number that nothing leads to is dropped.
    """
    named = named_value(problem, text)
    if named is None:
        return True
    computed = last_value(body_of(text))
    return computed is not None and math.isclose(named, computed, rel_tol=5e-3, abs_tol=1e-6)


def steps_hold(problem: Problem, text: str) -> bool:
    """Every "a + b = c" step that can be read holds; a rationale without one is kept."""
    return all(step.holds for step in steps(text))


def long_enough(problem: Problem, text: str) -> bool:
    """More than 50 characters and not beginning with "Answer": the filter of the published GeoQA code."""
    return len(text) > 50 and not text.lstrip().startswith("Answer")


def blank_image(image: ImageSource) -> BytesImage:
    """A mid-grey PNG of the same size."""
    from PIL import Image

    with Image.open(io.BytesIO(image.read())) as picture:
        size = picture.size
    buffer = io.BytesIO()
    Image.new("RGB", size, (128, 128, 128)).save(buffer, format="PNG")
    return BytesImage(buffer.getvalue(), f"blank {size[0]}x{size[1]}")


def without_images(prompt: Prompt) -> Prompt:
    """The same prompt with every image blank."""
    messages = tuple(type(m)(m.role, m.text, tuple(blank_image(image) for image in m.images)) for m in prompt.messages)
    return Prompt(prompt.problem_id, messages)


def grounding(policy: Policy, prompt: Prompt, replies: Sequence[Given]) -> list[float]:
    """Mean log-probability per token of each reply with the images, less the same with blank ones."""
    seen, blind = policy.score([prompt, without_images(prompt)], [replies, replies])
    return [
        a.total / max(1, len(a.logprobs)) - b.total / max(1, len(b.logprobs)) for a, b in zip(seen, blind, strict=True)
    ]


Keep = Callable[[Problem, Sequence[Given], Style, Policy | None], list[bool]]


def _each(rule: Callable[[Problem, str], bool]) -> Keep:
    return lambda problem, replies, style, policy: [rule(problem, text_of(reply)) for reply in replies]


def grounded(problem: Problem, replies: Sequence[Given], style: Style, policy: Policy | None) -> list[bool]:
    """The rationale is less likely without the image. Problems without images are kept. Needs a policy."""
    if policy is None:
        raise ConfigError("filter 'grounded' scores rationales: give build_examples a policy, or leave it out")
    if not problem.images or not replies:
        return [True] * len(replies)
    return [gain > 0.0 for gain in grounding(policy, words.solve(problem, style), replies)]


FILTERS: dict[str, Keep] = {
    "computed_last": _each(computed_last),
    "steps_hold": _each(steps_hold),
    "long_enough": _each(long_enough),
    "grounded": grounded,
}


def keep(
    name: str, problem: Problem, replies: Sequence[Given], style: Style, policy: Policy | None = None
) -> list[bool]:
    """Which replies (texts, or candidates) the filter called `name` keeps. Raises ConfigError for an unknown name."""
    if name not in FILTERS:
        raise ConfigError(f"found filter {name!r} in build.filters, expected one of {', '.join(FILTERS)}")
    return FILTERS[name](problem, replies, style, policy)


@dataclass(frozen=True, slots=True)
class FilterRow:
    """Worth of one filter over n positives, with 95 % Wilson intervals.

    precision: share of the kept positives whose rationale is really right. cost: share of the really right
    ones lost.
    """

    name: str
    n: int
    kept: int
    precision: float
    precision_ci95: tuple[float, float]
    cost: float
    cost_ci95: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def _row(name: str, kept: Sequence[bool], right: Sequence[bool]) -> FilterRow:
    n_kept, n_right = sum(kept), sum(right)
    good = sum(a and b for a, b in zip(kept, right, strict=True))
    lost = n_right - good
    return FilterRow(
        name=name,
        n=len(kept),
        kept=n_kept,
        precision=good / n_kept if n_kept else 0.0,
        precision_ci95=wilson(good, n_kept) if n_kept else (0.0, 1.0),
        cost=lost / n_right if n_right else 0.0,
        cost_ci95=wilson(lost, n_right) if n_right else (0.0, 1.0),
    )


def measure_filters(
    graded: Iterable[tuple[Problem, Graded]],
    is_right: Callable[[Problem, str], bool],
    *,
    style: Style,
    policy: Policy | None = None,
    names: Sequence[str] | None = None,
) -> list[FilterRow]:
    """Precision and cost of each filter, of none, and of all together, over the positives of `graded`.

    `is_right` says whether a rationale is really right. Without a policy the filters that need one are left
    out unless named.
    """
    names = [n for n in FILTERS if policy or n != "grounded"] if names is None else list(names)
    kept: dict[str, list[bool]] = {"none": [], **{name: [] for name in names}}
    right: list[bool] = []
    for problem, item in graded:
        if not item.verdict.correct:
            continue
        text = item.candidate.text
        right.append(is_right(problem, text))
        kept["none"].append(True)
        for name in names:
            kept[name] += keep(name, problem, [item.candidate], style, policy)
    if len(names) > 1:
        kept["all"] = [all(flags) for flags in zip(*(kept[name] for name in names), strict=True)]
    return [_row(name, flags, right) for name, flags in kept.items()]
