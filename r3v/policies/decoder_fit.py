"""Whether a model is built as `decoder` takes it to be: llama's layers, in float32 on the CPU, and not too large."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

MOST_BYTES = 512 * 2**20
"""Weights that are copied at most. Larger models spend their time in products anyway."""
_STATIC_ROPE = {"default", "linear", "llama3", "yarn"}
_PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj"}


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
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return f"hooks on {type(module).__name__}"
    return next((reason for layer in text.layers if (reason := _why_no_layer(layer, text.norm))), None)


def _why_no_layer(layer: Any, last: Any) -> str | None:
    kinds = {name: {child for child, _ in module.named_children()} for name, module in layer.named_children()}
    expected = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
    if set(kinds) != expected:
        return f"layers of {', '.join(sorted(kinds))}"
    a, mlp = layer.self_attn, layer.mlp
    heads = kinds["self_attn"] - {"rotary_emb"}
    if heads not in (_PROJECTIONS, _PROJECTIONS | {"q_norm", "k_norm"}):
        return f"attention of {', '.join(sorted(heads))}"
    if kinds["mlp"] != {"gate_proj", "up_proj", "down_proj", "act_fn"} or not _is_silu(mlp.act_fn):
        return f"{type(mlp).__name__} with {type(getattr(mlp, 'act_fn', None)).__name__}"
    norms = [layer.input_layernorm, layer.post_attention_layernorm, last]
    norms += [m for m in (getattr(a, "q_norm", None), getattr(a, "k_norm", None)) if m is not None]
    if len({getattr(norm, "variance_epsilon", None) for norm in norms}) != 1 or norms[0].variance_epsilon is None:
        return "norms with an epsilon of their own"
    linears = [a.q_proj, a.k_proj, a.v_proj, a.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    found = [linear_of(m) for m in linears]
    if any(m is None for m in found):
        return "projections that are more than a linear layer"
    if len({m.bias is None for m in found[:3]}) > 1 or any(m.bias is not None for m in found[4:]):
        return "biases in some of its projections"
    return None


def _is_silu(activation: Any) -> bool:
    return isinstance(activation, nn.SiLU) or type(activation).__name__ == "SiLUActivation"


def linear_of(module: Any) -> Any:
    """The linear layer of a module: itself, or the one under adapters that are folded into it; None for more."""
    if type(module) is nn.Linear:
        return module
    if not hasattr(module, "lora_A"):
        return None
    base = module.get_base_layer()
    # Folded into the weight, or switched off; with both, peft would take the adapter out of the weight again.
    folded = type(base) is nn.Linear and bool(module.merged) != bool(module.disable_adapters)
    return base if folded else None


def base_model(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def text_model(model: Any) -> Any:
    for owner in (base_model(model), getattr(base_model(model), "model", None)):
        for name in ("language_model", "text_model"):
            if hasattr(owner, name):
                return getattr(owner, name)
    return None
