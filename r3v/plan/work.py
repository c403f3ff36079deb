"""What a recipe asks for, in counts: answers, tokens of a prompt, tries of a fit. The stages follow from this alone.

Lengths that nobody knows before a run are assumptions with a name, and a plan tells them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from r3v.plan.shape import Shape

PICTURE = (448, 448)
"""Width and height of a picture, unless the caller knows better; `model.min_pixels` and `max_pixels` then apply."""
TEXT = 220
"""Tokens of a question with the words around it, the picture left out."""
ANSWERED = 0.5
"""Length of an answer as a share of the most new tokens."""
ASKED_ANEW = 60
"""Tokens by which the prompt of another kind of example (refine, keep, select) differs from the plain question."""
SHORT = 16
"""Tokens of an answer alone, or of a number of a candidate."""
UNKNOWN = 1000
"""Problems where a recipe names no limit: the sizes of data sets are not read."""


@dataclass(frozen=True)
class Picture:
    """Tokens and patches of one picture."""

    tokens: int
    patches: int


def picture_of(
    shape: Shape, size: tuple[int, int] = PICTURE, least: int | None = None, most: int | None = None
) -> Picture:
    """A picture of this width and height between these limits of pixels, as the Qwen processors round it; families of
    one picture size have their own number of tokens."""
    if shape.vision is None:
        return Picture(0, 0)
    if shape.fixed_tokens is not None:
        return Picture(shape.fixed_tokens, shape.fixed_tokens * shape.merge)
    width, height = size
    edge = shape.patch * math.isqrt(shape.merge)
    if least and width * height < least:
        scale = math.sqrt(least / (width * height))
        width, height = math.ceil(width * scale), math.ceil(height * scale)
    if most and width * height > most:
        scale = math.sqrt(most / (width * height))
        width, height = math.floor(width * scale), math.floor(height * scale)
    tokens = max(1, round(width / edge)) * max(1, round(height / edge))
    return Picture(tokens, tokens * shape.merge)


@dataclass(frozen=True)
class Branch:
    """An example of a problem: tokens shown after the common question, and tokens it is trained on."""

    shown: int
    target: int


@dataclass(frozen=True)
class Fit:
    """One fit. tries: problems with examples; branches: those of one problem."""

    tries: int
    branches: tuple[Branch, ...]
    epochs: float
    per_step: int
    per_batch: int
    max_tokens: int
    max_batch_tokens: int | None
    checkpointing: bool
    fused: bool
    mixed: bool
    reference: bool = False

    def trie_tokens(self, prompt: int) -> int:
        """Tokens of a problem's trie: the question once, and of every branch that is no longer than `max_tokens` what
        it has of its own."""
        return prompt + sum(b.shown + b.target for b in self._kept(prompt))

    def targets(self, prompt: int) -> int:
        return sum(b.target for b in self._kept(prompt))

    def _kept(self, prompt: int) -> list[Branch]:
        return [b for b in self.branches if prompt + b.shown + b.target <= self.max_tokens]

    def pass_tokens(self, prompt: int) -> int:
        """Padded tokens of one forward pass; no trie is cut for a budget unless memory runs out."""
        one = self.trie_tokens(prompt)
        whole = one * min(self.per_batch, self.per_step)
        if self.max_batch_tokens is None:
            return whole
        return max(one, self.max_batch_tokens // max(1, one) * one) if whole > self.max_batch_tokens else whole


@dataclass(frozen=True)
class Draw:
    """Answers drawn: to so many problems, so many each, at most so many tokens, in so many slots. score: tokens that
    selectors read of each problem besides, and prompts of that."""

    problems: int
    each: int
    new_tokens: int
    slots: int
    scored: int = 0
    score_prompts: int = 0

    @property
    def answer(self) -> int:
        return max(1, round(self.new_tokens * ANSWERED))


@dataclass(frozen=True)
class Work:
    """A round. prompt: tokens of a question with its picture. rounds: how often all of it is done."""

    prompt: int
    picture: Picture
    sample: Draw
    evaluate: Draw
    fit: Fit | None
    rounds: int
    known: bool
    """Whether the recipe says how many problems there are."""
