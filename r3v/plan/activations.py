"""Bytes of a pass through a model, by formula: what a layer saves for the backward pass, keys and values, the head.

Counted are the tensors that autograd keeps: inputs of adapters (autocast makes each linear layer its own 16-bit copy),
what norms normalise (in float32), queries, keys, values and output of attention, and the feed-forward part's factors.
Frozen linear layers keep nothing. `tests/plan` compares them with what torch saves, at widths not used here.
"""

from __future__ import annotations

from dataclasses import dataclass

from r3v.plan.shape import Layer, Shape

CHUNK_LOGITS = {"cpu": 2**26, "cuda": 2**27}
"""As `r3v.losses.logprobs`, which is torch alone and knows no plan."""


@dataclass(frozen=True)
class Arithmetic:
    """In what a fit computes. size: bytes of an activation. casts: adapters in float32 on a 16-bit base, under
    autocast, so that each adapted layer casts its input for itself. r, dropout: of the adapter. device: cuda or cpu."""

    size: int = 2
    casts: bool = True
    r: int = 64
    dropout: float = 0.0
    device: str = "cuda"

    @property
    def mask(self) -> int:
        """Bytes of dropout's mask for a value; a CPU keeps float32 noise."""
        return 0 if not self.dropout else 1 if self.device == "cuda" else 4


def layer_bytes(layer: Layer, a: Arithmetic, *, repeated: bool = False) -> float:
    """Bytes that one token of a layer with adapters keeps until the backward pass. `repeated`: keys and values are
    written out for every query head, as tree attention does."""
    norms = sum(4 * n + 4 for n in layer.norms) if a.size == 2 else sum(a.size * n + 4 for n in layer.norms)
    norms += sum(a.size * (n + 2) for n in layer.plain_norms)
    return norms + _attention(layer, a, repeated) + _forward(layer, a) + _adapters(layer, a)


def _attention(layer: Layer, a: Arithmetic, repeated: bool) -> float:
    query = layer.heads * layer.width
    other = query if repeated else layer.key_heads * layer.width
    joined = next((p.outs for p in layer.products if p.outs == 3 * p.ins and "attn" in p.owner), 0)
    # Values that were cut out of one product keep all of it alive.
    kept = query + other + (joined or other) + query
    return a.size * kept + 4 * layer.heads


def _forward(layer: Layer, a: Arithmetic) -> float:
    """The input of the activation, and of a gate both factors; x sigmoid(1.702 x) is a product of two as well."""
    factors = 3 if layer.gated else 2 if layer.activation == "quick_gelu" else 1
    return a.size * factors * layer.inner


def _adapters(layer: Layer, a: Arithmetic) -> float:
    adapted = [p for p in layer.products if p.adapted]
    middle = a.size * a.r * len(adapted)
    if a.casts or a.dropout:
        return middle + sum((a.size + a.mask) * p.ins for p in adapted)
    # Layers of one input share it: the first ones of attention, those into the feed-forward part, the last one of it.
    # The last one of attention takes attention's output, which lies as it needs it unless heads were cut out of one
    # product.
    inside = [p for p in adapted if "attn" in p.owner or "attention" in p.owner]
    first = {(p.owner, p.ins) for p in adapted if p not in inside} | {("", p.ins) for p in inside[:1]}
    copied = inside[-1].ins if inside and any(p.outs == 3 * p.ins for p in inside) else 0
    return middle + a.size * (sum(ins for _, ins in first) + copied)


def fit_bytes_per_token(shape: Shape, a: Arithmetic, *, checkpointing: bool, fused: bool = True) -> float:
    """Bytes of activations for each padded token of a pass through the decoder.

    With checkpointing each layer keeps its input, and one layer at a time all it needs."""
    one = layer_bytes(shape.decoder, a, repeated=fused)
    norm = 4 * shape.hidden + 4
    if not checkpointing:
        return shape.layers * one + norm + backward_bytes(shape, a)
    return shape.layers * a.size * shape.hidden + one + norm + backward_bytes(shape, a)


def backward_bytes(shape: Shape, a: Arithmetic) -> float:
    """Bytes of a token's gradients inside a layer at their most, which is at its widest product: that of the product's
    output, and the adapter's on its way through casts and dropout in float32."""
    inner = shape.decoder.inner
    if not a.casts:
        return 2 * a.size * inner
    return 10 * inner + 2 * shape.hidden if a.dropout else 6 * inner + 6 * shape.hidden


def vision_bytes_per_patch(shape: Shape, a: Arithmetic) -> float:
    """Bytes for each patch: saved by adapted blocks, or what passes through one block of a frozen tower."""
    if shape.vision is None:
        return 0.0
    if any(p.adapted for p in shape.vision.products):
        return shape.vision_layers * layer_bytes(shape.vision, a)
    return a.size * passing(shape.vision)


def passing(layer: Layer) -> int:
    """Numbers of one token that a layer holds at once without gradients: the residual stream and its norm in float32,
    and the feed-forward part's factors or queries, keys and values, whichever are more."""
    across = min(p.ins for p in layer.products)
    attention = (2 * layer.heads + 2 * layer.key_heads) * layer.width
    return 4 * across + max((3 if layer.gated else 2) * layer.inner, attention + 2 * across)


def key_value_bytes(shape: Shape, size: int) -> int:
    """Bytes of one token's keys and values in all layers."""
    return shape.key_value_numbers * size


def head_bytes(shape: Shape, targets: int, a: Arithmetic) -> int:
    """Most bytes of the loss head over so many target tokens: a chunk of logits in 16 bit, in float32 and their powers
    in 16 bit, of which two exist at once; the hidden states and their slopes."""
    rows = min(targets, max(1, CHUNK_LOGITS[a.device] // shape.vocabulary))
    chunk = rows * shape.vocabulary * (4 + (a.size if a.size < 4 else 4))
    return chunk + 2 * targets * shape.hidden * a.size


def adapter_copies(shape: Shape, a: Arithmetic) -> int:
    """Bytes of the 16-bit copies of adapters that autocast keeps for a pass."""
    return shape.adapter(a.r) * a.size if a.casts else 0
