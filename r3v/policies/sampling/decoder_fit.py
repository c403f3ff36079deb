"""Whether a model is built as `decoder` takes it to be: llama's layers, in float32 on the CPU, and not too large."""

from __future__ import annotations

from typing import Any

import torch

from r3v.policies.model.structure import ATTENTION, MLP, base_model, linear_of, text_model, why_no_llama_layer

MOST_BYTES = 512 * 2**20
"""Weights that are copied at most. Larger models spend their time in products anyway."""
_STATIC_ROPE = {"default", "linear", "llama3", "yarn"}


def why_no_structure(model: Any) -> str | None:
    """Why the language model of `model` is not one that `Decoder` can stand for; None when it may be."""
    text = text_model(model)
    if text is None or not all(hasattr(text, name) for name in ("embed_tokens", "layers", "norm", "rotary_emb")):
        return "no language model of embeddings, layers, norm and rotary positions"
    weights = [*text.parameters(), *base_model(model).get_output_embeddings().parameters()]
    if any(w.dtype != torch.float32 or w.device.type != "cpu" for w in weights):
        return "weights that are not float32 on the CPU"
    if sum(w.nbytes for w in weights) > MOST_BYTES:
        return f"more than {MOST_BYTES >> 20} MB of weights"
    rope = getattr(text.rotary_emb, "rope_type", "default")
    if not isinstance(rope, str) or rope not in _STATIC_ROPE:
        return f"rotary positions of type {rope}"
    for module in (text, *text.modules()):
        if "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
            return f"hooks on {type(module).__name__}"
    return next((reason for layer in text.layers if (reason := _why_no_layer(layer, text.norm))), None)


def _why_no_layer(layer: Any, last: Any) -> str | None:
    if reason := why_no_llama_layer(layer):
        return reason
    a, mlp = layer.self_attn, layer.mlp
    norms = [layer.input_layernorm, layer.post_attention_layernorm, last]
    norms += [m for m in (getattr(a, "q_norm", None), getattr(a, "k_norm", None)) if m is not None]
    if len({getattr(norm, "variance_epsilon", None) for norm in norms}) != 1 or norms[0].variance_epsilon is None:
        return "norms with an epsilon of their own"
    found = [linear_of(m) for m in (*(getattr(a, n) for n in ATTENTION), *(getattr(mlp, n) for n in MLP))]
    if any(m is None for m in found):
        return "projections that are more than a linear layer"
    if len({m.bias is None for m in found[:3]}) > 1 or any(m.bias is not None for m in found[4:]):
        return "biases in some of its projections"
    return None
