"""Decoder layers of llama-like models with a backward pass of their own, for the length of a fit in float32 on a CPU.

Of a fit of a small model less than half is matrix products; most of the rest are passes over tensors that are larger
than the cache, forward and backward: norms, rotations, gates, residual sums. Here a layer is two functions around
attention, computed `ROWS` tokens at a time, so that what lies between two products stays in the cache. Query, key and
value are one product; W + s B A (see `lora`) is made once for all tokens, with the norm's weight folded in; what has to
be kept for the way back are the normed inputs and the products. After the last layer only the
tokens before a target are wanted, so of all others it computes keys and values alone.

A layer that is anything but that (norms of heads, other activations, trained weights, dropout of an adapter, a cache,
autocast, few tokens) goes its own way, which is decided at each call; so does the reference of the self-test.

Suffixes: X tokens of all rows, E width, I inner width, H query heads, G key-value heads, D head width, O outputs, K
inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from r3v.losses.products import library, ordered, product, product_plus
from r3v.policies.model.exchange import as_own, exchange, put_back
from r3v.policies.model.rotary import signed, swapped
from r3v.policies.model.structure import ATTENTION, MLP, why_no_llama_layer
from r3v.training.layout.attention import ASKED, RUNS
from r3v.training.lora import TOKENS_PER_RANK, plain_adapter

ROWS = {"torch": 512, "onednn": 2048}
"""Tokens computed at a time. Where products are faster, calls count for more: a fit of `r3v bench round` took 12
to 13 s with 512, 10 with 1024 and 8 to 9.6 with 4096; a step of a larger model makes no difference."""
Pair = tuple[Tensor, Tensor] | None


def quicken(model: Any) -> None:
    """Exchange the forward of the model's decoder layers that are llama's, until `restore`."""
    exchange(model, _is_llama_layer, _forward)


def restore(model: Any) -> None:
    """Put the layers' own forward back."""
    put_back(model, _forward)


def _is_llama_layer(layer: Any) -> bool:
    return why_no_llama_layer(layer, head_norms=False) is None


@dataclass(frozen=True)
class _Part:
    """Linear layers with one input as one: weights O K, adapters' (A, B) with their scales, the norm's weight K."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]
    scales: tuple[float, ...]
    norm: Tensor | None

    @property
    def inputs(self) -> int:
        return int(self.weights[0].shape[1])

    @property
    def bias(self) -> Tensor | None:
        some = [b for b in self.biases if b is not None]
        return torch.cat(some) if some else None

    def merged(self, pairs: Sequence[Pair]) -> Tensor:
        """W + s B A of all layers, times the norm's weight; O K."""
        whole = self.weights[0].new_empty(sum(len(w) for w in self.weights), self.weights[0].shape[1])
        rows = whole.split([len(w) for w in self.weights])
        for into, weight, pair, scale in zip(rows, self.weights, pairs, self.scales, strict=True):
            if pair is None:
                into.copy_(weight)
            else:
                torch.addmm(weight, pair[1], pair[0], alpha=scale, out=into)
        return whole if self.norm is None else whole.mul_(self.norm)


class _Gradients:
    """Gradients of a part's adapters, summed over chunks of tokens."""

    def __init__(self, part: _Part, pairs: Sequence[Pair]) -> None:
        self.part, self.pairs = part, pairs
        self.present = [i for i, pair in enumerate(pairs) if pair is not None]
        if not self.present:
            return
        downs = torch.cat([self._pair(i)[0] for i in self.present])
        self.down_RK = downs if part.norm is None else downs * part.norm
        self.ranks = [len(self._pair(i)[0]) for i in self.present]
        self.down = torch.zeros_like(downs)
        self.ups_RO = [torch.zeros_like(self._pair(i)[1].t()) for i in self.present]

    def _pair(self, i: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[i]
        assert pair is not None
        return pair

    def add(self, grads: Sequence[Tensor], input_XK: Tensor) -> None:
        """Of one chunk: gradients X O of each layer's output, without gaps in memory, and what all of them read."""
        if not self.present:
            return
        low_RX = product(input_XK, self.down_RK).t().contiguous().split(self.ranks)
        for n, i in enumerate(self.present):
            self.ups_RO[n] = product_plus(low_RX[n], grads[i].t(), self.ups_RO[n])
        asked_RX = torch.cat([product(grads[i], self._pair(i)[1].t()).t() for i in self.present])
        self.down = product_plus(asked_RX, input_XK.t(), self.down)

    def found(self) -> list[Tensor | None]:
        """Gradients of A and B of each layer, in order; None where there is no adapter."""
        out: list[Tensor | None] = [None] * (2 * len(self.pairs))
        if not self.present:
            return out
        down = self.down if self.part.norm is None else self.down * self.part.norm
        for n, (i, one) in enumerate(zip(self.present, down.split(self.ranks), strict=True)):
            scale = self.part.scales[i]
            out[2 * i], out[2 * i + 1] = one * scale, self.ups_RO[n].t().contiguous() * scale
        return out


def _backwards(part: _Part, pairs: Sequence[Pair]) -> list[Tensor]:
    """The weights of a part's layers for the way back, K O each."""
    return [ordered(w.t()) for w in part.merged(pairs).split([len(w) for w in part.weights])]


def _summed(grads: Sequence[Tensor], weights_KO: Sequence[Tensor]) -> Tensor:
    """Gradient of the input of layers that read the same, X K."""
    whole = product(grads[0], weights_KO[0])
    for grad, weight_KO in zip(grads[1:], weights_KO[1:], strict=True):
        whole = product_plus(grad, weight_KO, whole)
    return whole


def _norm(hidden: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """hidden / its root mean square, and 1 / that."""
    inverse = (hidden * hidden).mean(-1, keepdim=True).add_(eps).rsqrt_()
    return hidden * inverse, inverse


def _norm_backward(grad: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    mean = (grad * normed).mean(-1, keepdim=True)
    return torch.addcmul(grad, normed, mean, value=-1.0).mul_(inverse)


@dataclass(frozen=True)
class _Tokens:
    """Which of the X = R L tokens are real, in chunks that are computed at a time, and which are padding."""

    chunks: tuple[slice, ...]
    padding: tuple[slice, ...]


def _tokens(mask: Any, rows: int, length: int) -> _Tokens:
    """Tokens of a batch; a tree mask tells where its rows end."""
    runs = getattr(mask, RUNS, None)
    if runs is None:
        return _Tokens(_cut_up(0, rows * length), ())
    ends = [row[-1].end if row else 0 for row in runs.rows]
    chunks = [c for r, end in enumerate(ends) for c in _cut_up(r * length, r * length + end)]
    return _Tokens(tuple(chunks), tuple(slice(r * length + end, (r + 1) * length) for r, end in enumerate(ends)))


def _cut_up(begin: int, end: int) -> tuple[slice, ...]:
    """Even chunks of as many tokens as are computed at a time."""
    parts = max(1, -(-(end - begin) // ROWS[library()]))
    cuts = [begin + (end - begin) * i // parts for i in range(parts + 1)]
    return tuple(slice(a, b) for a, b in pairwise(cuts) if b > a)


def _cleared(tensor: Tensor, tokens: _Tokens) -> Tensor:
    """Zeros at padding, which nothing computes."""
    for some in tokens.padding:
        tensor[some] = 0
    return tensor


def _paired(flat: Sequence[Tensor | None]) -> list[Pair]:
    return [None if a is None or b is None else (a, b) for a, b in zip(flat[::2], flat[1::2], strict=True)]


class _Inputs(torch.autograd.Function):
    """Hidden states X E -> rotated query X H D and key X G D, and value X G D."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        tokens: _Tokens,
        part: _Part,
        eps: float,
        width: int,
        *flat: Tensor | None,
    ) -> tuple[Tensor, ...]:
        X = len(hidden)
        weight_OK, bias = ordered(part.merged(_paired(flat))), part.bias
        groups = len(part.weights[1]) // width
        made = hidden.new_empty(X, sum(map(len, part.weights)) // width, width)
        kept = [_norm(hidden[c], eps) for c in tokens.chunks]
        for c, (normed, _) in zip(tokens.chunks, kept, strict=True):
            out = product(normed, weight_OK, bias).view(len(normed), -1, width)
            turned = out[:, :-groups]
            torch.addcmul(turned * cos[c], swapped(turned), sin[c], out=made[c, :-groups])
            made[c, -groups:] = out[:, -groups:]
        _cleared(made, tokens)
        ctx.part, ctx.tokens, ctx.present = part, tokens, [t is not None for t in flat]
        ctx.save_for_backward(cos, sin, *(t for pair in kept for t in pair), *(t for t in flat if t is not None))
        heads = made.shape[1] - 2 * groups
        return made[:, :heads], made[:, heads:-groups], made[:, -groups:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin, *some = ctx.saved_tensors
        chunks, part = ctx.tokens.chunks, ctx.part
        kept, pairs = some[: 2 * len(chunks)], _unpacked(ctx.present, some[2 * len(chunks) :])
        query, key, value = grads
        gradients = _Gradients(part, pairs)
        weights_KO = _backwards(part, pairs) if ctx.needs_input_grad[0] else None
        back = None if weights_KO is None else _cleared(query.new_empty(len(query), part.inputs), ctx.tokens)
        for c, normed, inverse in zip(chunks, kept[::2], kept[1::2], strict=True):
            turned = [torch.addcmul(swapped(t[c] * sin[c]), t[c], cos[c]) for t in (query, key)]
            each = [t.reshape(len(normed), -1) for t in (*turned, value[c])]
            gradients.add(each, normed)
            if back is not None and weights_KO is not None:
                back[c] = _norm_backward(_summed(each, weights_KO), normed, inverse)
        return back, None, None, None, None, None, None, *gradients.found()


class _Rest(torch.autograd.Function):
    """Hidden states and what attention found, X E each -> hidden states after the layer."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        found: Tensor,
        tokens: _Tokens,
        parts: tuple[_Part, ...],
        eps: float,
        *flat: Tensor | None,
    ) -> Tensor:
        pairs = _paired(flat)
        merged = [p.merged(some) for p, some in zip(parts, _cut(pairs), strict=True)]
        out_OK, gate_OK, up_OK, down_OK = map(ordered, (merged[0], *merged[1].chunk(2), merged[2]))
        out = torch.empty_like(hidden)
        kept: list[Tensor] = []
        for c in tokens.chunks:
            middle = product_plus(found[c], out_OK, hidden[c])
            normed, inverse = _norm(middle, eps)
            gate, up = product(normed, gate_OK), product(normed, up_OK)
            out[c] = product_plus(silu(gate).mul_(up), down_OK, middle)
            kept += (normed, inverse, gate, up)
        _cleared(out, tokens)
        ctx.parts, ctx.tokens, ctx.present = parts, tokens, [t is not None for t in flat]
        ctx.save_for_backward(found, *kept, *(t for t in flat if t is not None))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found, *some = ctx.saved_tensors
        (grad,) = grads
        chunks = ctx.tokens.chunks
        kept, pairs = some[: 4 * len(chunks)], _cut(_unpacked(ctx.present, some[4 * len(chunks) :]))
        (out_KO,), wide_KO, (down_KO,) = (_backwards(p, own) for p, own in zip(ctx.parts, pairs, strict=True))
        for_out, for_wide, for_down = (_Gradients(p, own) for p, own in zip(ctx.parts, pairs, strict=True))
        back, back_found = (_cleared(torch.empty_like(t), ctx.tokens) for t in (grad, found))
        for n, c in enumerate(chunks):
            normed, inverse, gate, up = kept[4 * n : 4 * n + 4]
            above, opened = grad[c], silu(gate)
            for_down.add([above], opened * up)
            wanted = product(above, down_KO)
            both = [torch.ops.aten.silu_backward(wanted * up, gate), wanted.mul_(opened)]
            for_wide.add(both, normed)
            torch.add(above, _norm_backward(_summed(both, wide_KO), normed, inverse), out=back[c])
            for_out.add([back[c]], found[c])
            back_found[c] = product(back[c], out_KO)
        return back, back_found, None, None, None, *for_out.found(), *for_wide.found(), *for_down.found()


def _unpacked(present: Sequence[bool], some: Sequence[Tensor]) -> list[Pair]:
    left = iter(some)
    return _paired([next(left) if there else None for there in present])


def _cut(pairs: Sequence[Pair]) -> tuple[Sequence[Pair], Sequence[Pair], Sequence[Pair]]:
    """Adapters of o, of gate and up, of down."""
    return pairs[:1], pairs[1:3], pairs[3:]


# ---- a layer ---------------------------------------------------------------------------------------


def _forward(layer: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    found = None if args else _parts(layer, hidden_states, kwargs)
    if found is None:
        return type(layer).forward(layer, hidden_states, *args, **kwargs)
    first, rest, flat = found
    attention = layer.self_attn
    R, L, E = hidden_states.shape
    width = int(attention.head_dim)
    hidden = hidden_states.reshape(R * L, E)
    cos, sin = (t.expand(R, -1, -1).reshape(R * L, 1, width) for t in kwargs.pop("position_embeddings"))
    mask = kwargs.pop("attention_mask")
    tokens = _tokens(mask, R, L)
    eps = layer.input_layernorm.variance_epsilon
    made = _Inputs.apply(hidden, cos, signed(sin), tokens, first, eps, width, *flat[:6])
    heads = [t.view(R, L, -1, width).transpose(1, 2) for t in made]  # pyright: ignore[reportOptionalIterable]
    attend = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    dropout = attention.attention_dropout if attention.training else 0.0
    seen, _ = attend(attention, *heads, mask, dropout=dropout, scaling=attention.scaling, **kwargs)
    eps, seen, asked = layer.post_attention_layernorm.variance_epsilon, seen.reshape(R * L, -1), _asked(attention, mask)
    if asked is not None:
        hidden, seen = hidden.index_select(0, asked), seen.index_select(0, asked)
        tokens = _Tokens(_cut_up(0, len(asked)), ())
    out: Any = _Rest.apply(hidden, seen, tokens, rest, eps, *flat[6:])
    if asked is not None:
        out = out.new_zeros(R * L, E).index_copy(0, asked, out)
    return out.view(R, L, E)


def _asked(attention: Any, mask: Any) -> Tensor | None:
    """In the last layer the tokens whose hidden states are wanted after it, where the mask tells; of all others only
    keys and values are. None: all tokens."""
    asked = getattr(mask, ASKED, None)
    last = attention.layer_idx == attention.config.num_hidden_layers - 1
    return asked.unique() if last and asked is not None else None


def _parts(
    layer: Any, hidden: Tensor, kwargs: dict[str, Any]
) -> tuple[_Part, tuple[_Part, ...], list[Tensor | None]] | None:
    """The layer in parts, and (A, B) of each of its seven linear layers; None where it has to go its own way."""
    past = kwargs.get("cache") if kwargs.get("past_key_values") is None else kwargs["past_key_values"]
    norms = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
    plain = hidden.dtype == torch.float32 and hidden.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if as_own() or past is not None or not plain or kwargs.get("position_embeddings") is None:
        return None
    if "attention_mask" not in kwargs or layer.self_attn.config._attn_implementation not in ALL_ATTENTION_FUNCTIONS:
        return None
    if any(n.requires_grad or n.dtype != torch.float32 for n in norms):
        return None
    modules = [getattr(layer.self_attn, n) for n in ATTENTION] + [getattr(layer.mlp, n) for n in MLP]
    found = [_linear(module, hidden) for module in modules]
    if any(one is None for one in found):
        return None
    some = [one for one in found if one is not None]
    flat: list[Tensor | None] = [t for _, pair, _ in some for t in (pair or (None, None))]
    if any(base.bias is not None for base, _, _ in some[3:]) or len({b.bias is None for b, _, _ in some[:3]}) > 1:
        return None

    def part(a: int, b: int, norm: Tensor | None) -> _Part:
        bases = [base for base, _, _ in some[a:b]]
        scales = tuple(scale for _, _, scale in some[a:b])
        return _Part(tuple(base.weight for base in bases), tuple(base.bias for base in bases), scales, norm)

    return part(0, 3, norms[0]), (part(3, 4, None), part(4, 6, norms[1]), part(6, 7, None)), flat


def _linear(module: Any, x: Tensor) -> tuple[nn.Linear, Pair, float] | None:
    """Frozen linear layer, adapter's (A, B) and scale; None for anything else or too few tokens for the rank."""
    pair, scale, base = None, 1.0, module
    if type(module) is not nn.Linear:
        name = plain_adapter(module, x) if hasattr(module, "lora_A") else None
        if name is None:
            return None
        base = module.base_layer
        pair, scale = (module.lora_A[name].weight, module.lora_B[name].weight), float(module.scaling[name])
        if x.numel() // x.shape[-1] < TOKENS_PER_RANK * len(pair[0]):
            return None
    frozen = type(base) is nn.Linear and not any(p.requires_grad for p in base.parameters())
    return (base, pair, scale) if frozen and base.weight.dtype == torch.float32 else None
