"""The language model of llama-like families in few kernels, for small models in float32 on a CPU.

A decode step of such a model costs less arithmetic than calls: transformers makes some sixty a layer, with modules,
hooks and argument checks around them. `Decoder` makes a third as many on tensors alone. Query, key and value are one
product; norms are folded into the products that follow them; weights stand as products read them best; gates and sums
with the residual happen inside products. It holds a copy of the weights for that, made again
whenever one of them was written to (a training step, an adapter folded in).

Prompts go through the model's own forward, whose language model is exchanged for the time of the call, so that
whatever a family does with pictures stays its own. `why_no_decoder` says where all this does not apply, and compares
the logits with the model's own before anything relies on it.

Suffixes: N layers, R rows, T new tokens, X rows of a matrix of tokens (R T), E width, H key-value heads, L padded
length, D head width, S slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast

from r3v.errors import ModelError
from r3v.policies.model.calls import bias_of, stacked
from r3v.policies.model.rotary import signed, swapped
from r3v.policies.model.structure import base_model, linear_of, text_model
from r3v.policies.sampling.cache import SlotMemory
from r3v.policies.sampling.decoder_fit import why_no_structure
from r3v.policies.sampling.shared import Ancestor, attend_rows, attend_step

ROWS = 512
"""Tokens computed at a time, so that what lies between two products stays in the cache."""
_TABLE = 1024


class Packed:
    """A copy of a frozen weight O K, and of its bias, by columns: products of few rows read it faster."""

    def __init__(self, weight_OK: Tensor, bias_O: Tensor | None = None) -> None:
        self.inputs = int(weight_OK.shape[1])
        self.weight_KO, self.bias_O = weight_OK.t().contiguous(), None if bias_O is None else bias_O.clone()

    def __call__(self, x_XK: Tensor) -> Tensor:
        """x W^T + b, shape X O."""
        return x_XK.mm(self.weight_KO) if self.bias_O is None else torch.addmm(self.bias_O, x_XK, self.weight_KO)

    def silu(self, x_XK: Tensor) -> Tensor:
        """silu(x W^T + b), shape X O."""
        return silu(self(x_XK), inplace=True)

    def times(self, x_XK: Tensor, other_XO: Tensor) -> Tensor:
        """(x W^T + b) * other, shape X O."""
        return self(x_XK).mul_(other_XO)

    def plus(self, x_XK: Tensor, other_XO: Tensor) -> Tensor:
        """x W^T + b + other, shape X O; `other` may be overwritten."""
        other_XO.addmm_(x_XK, self.weight_KO)
        return other_XO if self.bias_O is None else other_XO.add_(self.bias_O)


@dataclass(frozen=True)
class _Layer:
    """Weights of a layer; norms before them are folded in."""

    qkv: Packed
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Packed
    gate: Packed
    up: Packed
    down: Packed


class Decoder:
    """The language model of `model` on copies of its weights; call `refresh` before use, in evaluation mode.

    Raises ModelError where `why_no_structure` has a reason.
    """

    def __init__(self, model: Any) -> None:
        reason = why_no_structure(model)
        if reason is not None:
            raise ModelError(f"found {reason}, expected a llama-like model in float32 on the CPU")
        self.model = model
        self._text = text_model(model)
        attention_of = self._text.layers[0].self_attn
        self.width = int(attention_of.head_dim)
        self.heads = linear_of(attention_of.q_proj).weight.shape[0] // self.width
        self.groups = linear_of(attention_of.k_proj).weight.shape[0] // self.width
        self.scale = float(attention_of.scaling)
        self._head = base_model(model).get_output_embeddings()
        self._state: tuple[Any, ...] | None = None
        self._cos = self._sin = torch.zeros(0)

    def refresh(self) -> None:
        """Copy the weights again if one of them was written to or exchanged."""
        weights = [*self._text.parameters(), *self._head.parameters()]
        # Weights made in inference mode do not count what is written to them.
        counted = not any(p.is_inference() for p in weights)
        state = tuple((p.data_ptr(), p._version) for p in weights) if counted else None
        if state is not None and state == self._state:
            return
        with torch.inference_mode():
            self._layers = [self._copied(layer) for layer in self._text.layers]
            head = linear_of(self._head)
            self._last = Packed(_folded(head.weight, self._text.norm), head.bias)
            self._eps = torch.tensor([float(self._text.norm.variance_epsilon)])
            width = self._layers[0].qkv.inputs
            self._mean = torch.full((width, 1), 1.0 / width)
            self._mean_of_head = torch.full((self.width, 1), 1.0 / self.width)
            self._grow(_TABLE)
        self._state = state

    # ---- calls -----------------------------------------------------------------------------------

    def step(self, memory: SlotMemory, seen: Ancestor, token_S: Tensor, position_S: Tensor) -> Tensor:
        """Logits S V after one token for each slot, which is written to column `now` of the memory."""
        bias, spans = memory.bias(), memory.spans()
        low, end = memory.low, memory.now + 1
        if bias is not None:
            bias = bias.expand(-1, self.groups, -1, -1).contiguous()

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = memory.keys[layer], memory.values[layer]
            keys[:, :, memory.now], values[:, :, memory.now] = key, value
            query = query.reshape(len(query), self.groups, -1, self.width)
            return attend_step(
                query, keys[:, :, low:end], values[:, :, low:end], [seen], bias, spans, layer, self.scale
            )

        hidden_XE = self._run(self._text.embed_tokens(token_S), *self._turns(position_S), attend)
        return self.logits(hidden_XE)

    def rows(self, seen: Sequence[Ancestor], ids_RT: Tensor, place_RT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states X E (for `logits`) of rows of text that see `seen` and, causally, themselves; their keys and
        values N R H T D."""
        R, T = ids_RT.shape
        kept = self._room(R, T)
        turns, attend = self._turns(place_RT.reshape(-1)), self._attending(kept, seen, None)
        hidden_XE = self._run(self._text.embed_tokens(ids_RT.reshape(-1)), *turns, attend)
        return hidden_XE, *kept

    def logits(self, hidden_XE: Tensor) -> Tensor:
        """Logits X V of hidden states of `step` and `rows`, before the last norm."""
        return self._last(self._normed(hidden_XE))

    def prefill(self, inputs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Last logits R V, keys and values N R H L D of the model's own forward on left-padded prompts."""
        from r3v.policies.model.calls import past_of

        cache = DynamicCache()
        with self._exchanged() as made:
            logits = self.model(**inputs, **past_of(self.model, cache), use_cache=True).logits[:, -1]
        keys, values = made if made else stacked(cache)
        return logits, keys, values

    # ---- inside ----------------------------------------------------------------------------------

    def _run(self, hidden: Tensor, cos: Tensor, sin: Tensor, attend: Any) -> Tensor:
        """All layers on `hidden` X E, which may be overwritten; `attend` takes a layer's number, query X J D, key and
        value X H D."""
        X, both = len(hidden), self.heads + self.groups
        chunks = [slice(a, a + ROWS) for a in range(0, X, ROWS)]
        parts = [hidden[c] for c in chunks]
        for n, layer in enumerate(self._layers):
            if len(chunks) == 1:
                made, value = self._turned(layer, parts[0], cos, sin)
            else:
                made, value = hidden.new_empty(X, both, self.width), hidden.new_empty(X, self.groups, self.width)
                for c, part in zip(chunks, parts, strict=True):
                    made[c], value[c] = self._turned(layer, part, cos[c], sin[c])
            out = attend(n, made[:, : self.heads], made[:, self.heads :], value).view(X, -1)
            for i, c in enumerate(chunks):
                middle = layer.out.plus(out[c], parts[i])
                normed = self._normed(middle)
                parts[i] = layer.down.plus(layer.up.times(normed, layer.gate.silu(normed)), middle)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _turned(self, layer: _Layer, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated queries and keys X (J + H) D, and values."""
        both = self.heads + self.groups
        made = layer.qkv(self._normed(hidden)).view(len(hidden), -1, self.width)
        heads = made[:, :both]
        if layer.q_norm is not None and layer.k_norm is not None:
            heads = self._normed_heads(heads) * torch.cat([layer.q_norm, layer.k_norm])
        return torch.addcmul(heads * cos, swapped(heads), sin), made[:, both:]

    def _normed(self, hidden: Tensor) -> Tensor:
        """Divided by its root mean square; the weight of the norm is in the product that follows."""
        return hidden * torch.addmm(self._eps, hidden * hidden, self._mean).rsqrt_()

    def _normed_heads(self, heads: Tensor) -> Tensor:
        square = (heads * heads).view(-1, self.width)
        return heads * torch.addmm(self._eps, square, self._mean_of_head).rsqrt_().view(*heads.shape[:2], 1)

    def _turns(self, place_X: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines X 1 D of these positions."""
        if int(place_X.max()) >= len(self._cos):
            self._grow(int(place_X.max()) + 1)
        return self._cos.index_select(0, place_X)[:, None], self._sin.index_select(0, place_X)[:, None]

    def _grow(self, positions: int) -> None:
        from r3v.policies.model.encode import has_three_positions

        place = torch.arange(-(-positions // _TABLE) * _TABLE)[None]
        cos, sin = self._text.rotary_emb(
            torch.zeros(1), place.expand(3, 1, -1) if has_three_positions(self.model) else place
        )
        self._cos, self._sin = cos[0], signed(sin[0])

    def _attending(self, kept: tuple[Tensor, Tensor], seen: Sequence[Ancestor], bias: Tensor | None) -> Any:
        """Attention of rows to `seen` and, causally, themselves, for `_run`; keys and values are left in `kept`."""
        _, R, _, T, _ = kept[0].shape

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            for into, part in zip(kept, (key, value), strict=True):
                into[layer] = part.view(R, T, self.groups, self.width).transpose(1, 2)
            query = query.reshape(R, T, self.heads, self.width).transpose(1, 2)
            out = attend_rows(query, kept[0][layer], kept[1][layer], seen, layer, self.scale, bias)
            return out.transpose(1, 2).reshape(R * T, -1)

        return attend

    def _room(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        shape = (len(self._layers), rows, self.groups, length, self.width)
        return torch.empty(shape), torch.empty(shape)

    def _copied(self, layer: Any) -> _Layer:
        a, mlp = layer.self_attn, layer.mlp
        some = [linear_of(m) for m in (a.q_proj, a.k_proj, a.v_proj)]
        biases = [m.bias for m in some if m.bias is not None]
        norms = [
            getattr(a, name).weight.expand(count, 1, -1).reshape(count, -1) if hasattr(a, name) else None
            for name, count in (("q_norm", self.heads), ("k_norm", self.groups))
        ]
        out, gate, up, down = (linear_of(m) for m in (a.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        before, between = layer.input_layernorm, layer.post_attention_layernorm
        return _Layer(
            qkv=Packed(_folded(torch.cat([m.weight for m in some]), before), torch.cat(biases) if biases else None),
            q_norm=norms[0],
            k_norm=norms[1],
            out=Packed(out.weight, out.bias),
            gate=Packed(_folded(gate.weight, between)),
            up=Packed(_folded(up.weight, between)),
            down=Packed(down.weight),
        )

    @contextmanager
    def _exchanged(self) -> Iterator[list[Tensor]]:
        """The model's language model is this one; the list gets keys and values, or stays empty where a call wants
        something else (features added between layers, other masks) and the model's own was used."""
        made: list[Tensor] = []
        text = self._text

        def forward(
            inputs_embeds: Tensor | None = None,
            attention_mask: Tensor | None = None,
            position_ids: Tensor | None = None,
            **more: Any,
        ) -> Any:
            plain = all(v is None for k, v in more.items() if k not in ("cache", "past_key_values", "use_cache"))
            if not plain or inputs_embeds is None or position_ids is None or getattr(attention_mask, "ndim", 0) != 2:
                own = {"inputs_embeds": inputs_embeds, "attention_mask": attention_mask, "position_ids": position_ids}
                return type(text).forward(text, **own, **more)
            assert attention_mask is not None
            hidden, keys, values = self._padded(inputs_embeds, attention_mask, position_ids)
            made[:] = [keys, values]
            return BaseModelOutputWithPast(last_hidden_state=hidden)

        text.forward = forward
        try:
            yield made
        finally:
            del text.forward

    def _padded(self, embedded_RTE: Tensor, mask_RL: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normed hidden states R T E, keys and values of left-padded rows without a past."""
        R, T, E = embedded_RTE.shape
        kept = self._room(R, T)
        cos, sin = self._text.rotary_emb(embedded_RTE, position_ids)
        bias = None if bool(mask_RL.all()) else bias_of(mask_RL.bool(), embedded_RTE.dtype)[:, None, None, :]
        turns = (cos.reshape(R * T, 1, -1), signed(sin).reshape(R * T, 1, -1))
        hidden = self._run(embedded_RTE.reshape(R * T, E).clone(), *turns, self._attending(kept, (), bias))
        return (self._normed(hidden) * self._text.norm.weight).view(R, T, E), *kept


def _folded(weight_OI: Tensor, norm: Any) -> Tensor:
    """The weight after a norm, with the norm's own."""
    return weight_OI * norm.weight


@torch.inference_mode()
def why_no_decoder(model: Any) -> str | None:
    """Why a `Decoder` cannot stand for `model`, None when it can: three tokens by the model's own forward with the
    language model exchanged, two rows of two after them, and a step after those must have the logits of one call of
    the model. Call it in evaluation mode, of a model for which `why_not_shared` has no reason.
    """
    from r3v.policies.model.encode import has_three_positions
    from r3v.policies.sampling.shared import ancestor

    reason = why_no_structure(model)
    if reason is not None:
        return reason
    decoder = Decoder(model)
    size = int(base_model(model).config.get_text_config().vocab_size)
    ids = torch.tensor([[i * size // 9 % size for i in (1, 2, 3, 4, 5, 6)]])
    place = torch.arange(6)[None]
    places = place.expand(3, 1, 6) if has_three_positions(model) else place
    try:
        decoder.refresh()
        expected = model(input_ids=ids, position_ids=places, use_cache=False).logits[0]
        ones = torch.ones(1, 3, dtype=torch.long)
        inputs = {"input_ids": ids[:, :3], "attention_mask": ones, "position_ids": places[..., :3]}
        first, keys, values = decoder.prefill(inputs)
        block = ancestor([(keys, values, [(0, 3)])], [0, 0])
        hidden, *more = decoder.rows([block], ids[:, 3:5].expand(2, 2), place[:, 3:5].expand(2, 2))
        memory = SlotMemory(keys[:, 0], 2, 4)
        memory.now = 2
        for slot in range(2):
            memory.place(slot, more[0][:, slot], more[1][:, slot])
        last = decoder.step(memory, block, ids[0, 5:].expand(2), place[0, 5:].expand(2))
    except (TypeError, RuntimeError, AttributeError) as error:
        return f"a language model of its own kind ({str(error).splitlines()[0][:120]})"
    found = torch.cat([first, decoder.logits(hidden[2:]), last[1:]])
    gap, scale = float((found - expected[2:]).abs().max()), float(expected.abs().max())
    return None if gap <= 1e-4 * max(scale, 1.0) else f"other logits by its weights alone (by {gap:.2g})"
