"""The most memory that each stage of a round holds at once, part by part, in bytes on one device.

Every stage has the device for itself: it loads the model, and gives it back. `usable` is what a card has left for
tensors: the driver's context and what the allocator loses between blocks are taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from r3v.plan.activations import (
    Arithmetic,
    adapter_copies,
    fit_bytes_per_token,
    head_bytes,
    key_value_bytes,
    passing,
    vision_bytes_per_patch,
)
from r3v.plan.free import FRAGMENTS
from r3v.plan.serving import GROWTH, LOGIT_BYTES, MOST
from r3v.plan.shape import Shape
from r3v.plan.work import Draw, Fit, Work

GIB = 2**30
CONTEXT = 0.75 * GIB
"""Bytes of the driver's context and kernels; an estimate, no GPU was measured."""
AHEAD = 32
"""Prompts prefilled ahead of need."""
DRAW_BYTES = 48
"""Bytes of a logit while a token is drawn under top-p: in float32 as it is, masked, scaled, its share, sorted with its
order, summed; and the distribution in float64."""
SCORES = 256 * 2**20
"""As `attention_math.SCORES_BYTES`."""


@dataclass(frozen=True)
class Precision:
    """How a model is held: quantization and dtype of `model`, rank and dropout of its adapter, precision of the fit."""

    quantization: Literal["none", "nf4", "int8"]
    dtype: str
    r: int
    dropout: float = 0.0
    precision: str = "bf16-mixed"

    @property
    def size(self) -> int:
        """Bytes of an activation in the forward pass."""
        return 2 if self.quantization != "none" or self.dtype in ("bfloat16", "float16") else 4

    def arithmetic(self, device: str = "cuda") -> Arithmetic:
        mixed = "mixed" in self.precision
        return Arithmetic(2 if mixed else self.size, mixed, self.r, self.dropout, device)


@dataclass(frozen=True)
class Stage:
    """One stage and its parts in bytes; `moment` names when they are all there."""

    name: str
    parts: Mapping[str, float]
    moment: str

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def usable(gib: float) -> float:
    """Bytes for tensors on a card of so many GiB."""
    return gib * GIB * (1 - FRAGMENTS) - CONTEXT


def weight_bytes(shape: Shape, p: Precision) -> dict[str, float]:
    """Bytes of the weights by part. nf4: half a byte each, one byte of scale for 64 of them, and for 256 of those four
    (double quantisation, Dettmers et al. 2023, arXiv 2305.14314); int8: one byte, and four for each row."""
    numbers, quantised = dict(shape.weights), shape.quantisable
    if p.quantization == "none":
        size = 4 if p.dtype == "float32" else 2
        return {name: float(n * size) for name, n in numbers.items()}
    left = numbers["linears"] - quantised
    one = 0.5 + 1 / 64 + 4 / 64 / 256 if p.quantization == "nf4" else 1 + 4 / shape.hidden
    return {name: float(2 * n) for name, n in numbers.items()} | {"linears": quantised * one + 2 * left}


def sampling_stage(name: str, shape: Shape, p: Precision, work: Work, draw: Draw, kept: float) -> Stage:
    """Drawing answers. `kept`: bytes of prompts kept for who asks again."""
    kv = key_value_bytes(shape, p.size)
    slots = min(draw.slots, max(1, draw.problems * draw.each))
    ahead = min(AHEAD, max(1, MOST.prefill_tokens // work.prompt))
    prompts = -(-slots // draw.each) + ahead
    tokens = max(MOST.prefill_tokens, work.prompt)
    parts = {
        **_held(shape, p),
        "keys and values of slots": GROWTH * slots * (draw.new_tokens + 64) * kv,
        "keys and values of prompts": prompts * work.prompt * kv + kept,
        # The cache of the call and its copy in one block, and what passes through a layer.
        "prefill": tokens * (kv + p.size * passing(shape.decoder)),
        "vision": _seen(shape, p, work, tokens),
        "draws": slots * shape.vocabulary * DRAW_BYTES,
    }
    return Stage(name, parts, "a prefill beside full slots")


def scoring_stage(name: str, shape: Shape, p: Precision, work: Work, draw: Draw, kept: float) -> Stage:
    """Scoring candidates: prompts grow from shared roots, and twigs of logits from them."""
    kv = key_value_bytes(shape, p.size)
    tokens = max(MOST.score_tokens, work.prompt + draw.each * draw.answer)
    parts = {
        **_held(shape, p),
        "keys and values of prompts": 2 * tokens * kv + kept,
        "forward": tokens * p.size * passing(shape.decoder) + SCORES,
        "vision": _seen(shape, p, work, tokens),
        "logits": max(MOST.score_logits, draw.new_tokens * shape.vocabulary) * LOGIT_BYTES,
    }
    return Stage(name, parts, "logits of continuations")


def fit_stage(shape: Shape, p: Precision, work: Work, fit: Fit, device: str = "cuda") -> Stage:
    """The backward pass of one forward pass, with gradients of earlier ones of the step waiting."""
    a = p.arithmetic(device)
    adapter = shape.adapter(p.r)
    targets = fit.targets(work.prompt) * max(1, fit.pass_tokens(work.prompt) // fit.trie_tokens(work.prompt))
    tokens = fit.pass_tokens(work.prompt)
    opened = 2 * 2 * max(q.ins * q.outs for q in shape.decoder.products) if p.quantization != "none" else 0
    parts = {
        **weights(shape, p),
        "adapter": 4.0 * adapter,
        "its 16-bit copies": float(adapter_copies(shape, a)),
        # Those of the pass at hand are found beside those of the passes before, so that a pass can be done again.
        "gradients": 8.0 * adapter,
        "optimiser": 8.0 * adapter,
        "reference": 4.0 * adapter if fit.reference else 0.0,
        "activations": tokens * fit_bytes_per_token(shape, a, checkpointing=fit.checkpointing, fused=fit.fused)
        + ancestors(shape, a, fit, work.prompt, tokens),
        "vision": work.picture.patches
        * max(1, tokens // fit.trie_tokens(work.prompt))
        * vision_bytes_per_patch(shape, a)
        + 2 * work.picture.tokens * shape.hidden * a.size,
        "opened weights": float(opened),
        "loss head": float(head_bytes(shape, targets, a)),
    }
    return Stage("fit", parts, "the loss head, or the first layer of the backward pass")


def ancestors(shape: Shape, a: Arithmetic, fit: Fit, prompt: int, tokens: int) -> float:
    """Bytes of the keys and values that tree attention copies for each later branch: those of the common question,
    written out for every head. With checkpointing of one layer at a time."""
    if not fit.fused or not fit.branches:
        return 0.0
    later = (len(fit.branches) - 1) * prompt * (tokens / fit.trie_tokens(prompt))
    one = later * 2 * shape.decoder.heads * shape.decoder.width * a.size
    return one if fit.checkpointing else one * shape.layers


def export_stage(shape: Shape, p: Precision) -> Stage:
    """Merging into 16-bit weights, whatever the fit quantised; they are gone before the result is read back."""
    size = 4 if p.dtype == "float32" and p.quantization == "none" else 2
    parts = {
        "weights": float(sum(shape.weights.values()) * size),
        "adapter": 4.0 * shape.adapter(p.r),
        "merged layer": 3.0 * size * max(q.ins * q.outs for q in shape.decoder.products),
    }
    return Stage("export", parts, "a layer is merged")


def most_batch_tokens(shape: Shape, p: Precision, work: Work, fit: Fit, free: float, device: str = "cuda") -> int:
    """Padded tokens of a pass that `free` bytes hold beside all that does not grow with them."""
    stage = fit_stage(shape, p, work, fit, device)
    growing = stage.parts["activations"] + stage.parts["vision"]
    left = free - (stage.total - growing)
    return max(0, int(left / (growing / max(1, fit.pass_tokens(work.prompt)))))


def weights(shape: Shape, p: Precision) -> dict[str, float]:
    found = weight_bytes(shape, p)
    return {"weights": sum(found.values())}


def _held(shape: Shape, p: Precision) -> dict[str, float]:
    """Weights and the adapter while sampling: in float32, and the 16-bit copy it computes with; with float32 weights
    the adapter is folded in, and the originals are kept."""
    adapter = shape.adapter(p.r)
    folded = 4.0 * sum(q.ins * q.outs for q in shape.decoder.products if q.adapted) * shape.layers
    return {**weights(shape, p), "adapter": 4.0 * adapter + (2.0 * adapter if p.size == 2 else folded)}


def _seen(shape: Shape, p: Precision, work: Work, tokens: int) -> float:
    if shape.vision is None:
        return 0.0
    pictures = max(1, tokens // work.prompt)
    return pictures * (
        work.picture.patches * p.size * passing(shape.vision) + 2 * work.picture.tokens * shape.hidden * p.size
    )
