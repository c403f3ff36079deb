"""Floating-point operations of the stages of a round, and minutes from stated rates of known cards.

The rates are those of data sheets, the shares of them that are reached are assumptions: minutes are estimates, and say
so. A probe on the card itself replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass

from r3v.plan.shape import Shape
from r3v.plan.stages import Precision, weight_bytes
from r3v.plan.work import Draw, Fit, Work

REACHED = 0.4
"""Share of a card's dense 16-bit rate that prefills and fits are taken to reach."""
STREAMED = 0.6
"""Share of a card's bandwidth that a decoding step is taken to reach."""
LAUNCH = 10e-6
"""Seconds from one small operation of a decoding step to the next, which no larger card shortens."""
OPERATIONS = {"none": 129, "nf4": 153, "int8": 153}
"""Operations of a layer in a decoding step, counted on three layers of Qwen2.5-VL with an adapter."""
RAGGED = 1.15
"""Steps of decoding over those of full slots: the last samples run alone."""


@dataclass(frozen=True)
class Card:
    """GiB of memory, dense 16-bit operations and bytes a second, of the maker's data sheet."""

    gib: float
    flops: float
    bandwidth: float


CARDS = {
    "RTX 3090": Card(24, 71e12, 936e9),
    "RTX 4090": Card(24, 165e12, 1008e9),
    "L4": Card(24, 121e12, 300e9),
    "L40S": Card(48, 362e12, 864e9),
    "A100 80GB": Card(80, 312e12, 2039e9),
    "H100 80GB": Card(80, 989e12, 3350e9),
}


@dataclass(frozen=True)
class Count:
    """What a stage of one round takes. read: tokens of prompts and continuations that are computed without being
    drawn; drawn: tokens drawn one at a time; steps: of decoding; trained: tokens through a fit."""

    name: str
    read: int
    drawn: int
    steps: int
    trained: int
    flops: float


@dataclass(frozen=True)
class Rates:
    """Tokens a second: of prefills and scoring, of decoding with all slots, of a fit."""

    read: float
    drawn: float
    trained: float
    source: str


def counts(shape: Shape, p: Precision, work: Work) -> list[Count]:
    """Sampling, fit and evaluation (greedy, candidates and their scores) of one round."""
    found = [_drawn("sample", shape, p, work, work.sample), _drawn("evaluate", shape, p, work, work.evaluate)]
    if work.fit is not None:
        found.insert(1, _fitted(shape, p, work, work.fit))
    return found


def _drawn(name: str, shape: Shape, p: Precision, work: Work, draw: Draw) -> Count:
    drawn = draw.problems * draw.each * draw.answer
    read = draw.problems * (work.prompt + draw.scored)
    steps = round(RAGGED * drawn / max(1, min(draw.slots, draw.problems * draw.each)))
    dense = 2 * (shape.linear + shape.adapter(p.r))
    # The picture and the question are computed once for all orders of candidates.
    flops = dense * (read + drawn) + _seeing(shape, work, draw.problems)
    flops += 2 * shape.hidden * shape.vocabulary * (drawn + draw.problems * draw.scored)
    flops += _attending(shape, read * work.prompt / 2 + drawn * (work.prompt + draw.answer / 2))
    return Count(name, read, drawn, steps, 0, flops)


def _fitted(shape: Shape, p: Precision, work: Work, fit: Fit) -> Count:
    tries = round(fit.tries * fit.epochs)
    one, targets = fit.trie_tokens(work.prompt), fit.targets(work.prompt)
    if not fit.fused:
        one += (len(fit.branches) - 1) * work.prompt
    times = 3 if fit.checkpointing else 2  # forward, again, and the gradient of the input
    tokens = tries * one
    flops = 2 * shape.linear * tokens * times + 2 * shape.adapter(p.r) * tokens * (times + 1)
    flops += _attending(shape, tokens * one / 2) * (times + 1)
    flops += 4 * shape.hidden * shape.vocabulary * tries * targets + _seeing(shape, work, tries)
    return Count("fit", 0, 0, 0, tokens, flops)


def _attending(shape: Shape, pairs: float) -> float:
    return 4.0 * pairs * shape.decoder.heads * shape.decoder.width * shape.layers


def _seeing(shape: Shape, work: Work, pictures: int) -> float:
    return 2.0 * pictures * work.picture.patches * shape.weights["vision"]


def rates_of(card: str, shape: Shape, p: Precision, work: Work) -> Rates:
    """Estimated rates of a card by its name in `CARDS`."""
    c = CARDS[card]
    token = 2.0 * (shape.linear + shape.adapter(p.r))
    read = REACHED * c.flops / token
    step = max(
        sum(weight_bytes(shape, p).values()) / (STREAMED * c.bandwidth),
        LAUNCH * OPERATIONS[p.quantization] * shape.layers,
    )
    trained = 0.0
    if work.fit is not None:
        count = _fitted(shape, p, work, work.fit)
        trained = REACHED * c.flops / (count.flops / max(1, count.trained))
    return Rates(read, work.sample.slots / step, trained, f"estimated from the data sheet of {card}")


def minutes(count: Count, rates: Rates, slots: int) -> float:
    """Minutes of a stage at these rates; `slots`: those the decoding rate holds for."""
    seconds = count.read / rates.read if count.read else 0.0
    seconds += count.steps * slots / rates.drawn if count.steps else 0.0
    seconds += count.trained / rates.trained if count.trained else 0.0
    return seconds / 60
