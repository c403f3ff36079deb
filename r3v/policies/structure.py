"""How a model is put together: what lies under its wrappers, and whether its decoder layers are llama's."""

from __future__ import annotations

from typing import Any

from torch import nn

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
HEAD_NORMS = ("q_norm", "k_norm")
_CHILDREN = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}


def base_model(model: Any) -> Any:
    """The transformers model under a peft wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def text_model(model: Any) -> Any:
    """The language model inside a vision-language model; None where there is none of the usual names."""
    for owner in (base_model(model), getattr(base_model(model), "model", None)):
        for name in ("language_model", "text_model"):
            if hasattr(owner, name):
                return getattr(owner, name)
    return None


def why_uneven(model: Any) -> str | None:
    """Why keys and values of all layers do not fit into two blocks of one shape; None when they do."""
    shapes: set[tuple[Any, Any]] = set()
    for module in (text_model(model) or base_model(model)).modules():
        if not hasattr(module, "layer_idx"):
            continue
        key, value = (getattr(module, name, None) for name in ("qk_head_dim", "v_head_dim"))
        if key is not None and value is not None and key != value:
            return f"values of another width ({value}) than keys ({key})"
        if hasattr(module, "k_proj"):
            shapes.add((getattr(module.k_proj, "out_features", None), getattr(module, "head_dim", None)))
    return "layers whose keys and values have different shapes" if len(shapes) > 1 else None


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


def why_no_llama_layer(layer: Any, *, head_norms: bool = True) -> str | None:
    """Why a decoder layer is not made of llama's parts (attention, gated SiLU, two norms); None when it is.

    `head_norms`: with norms of queries and keys, as Qwen3 has them, it counts as one too.
    """
    kinds = {name: {child for child, _ in module.named_children()} for name, module in layer.named_children()}
    if set(kinds) != _CHILDREN:
        return f"layers of {', '.join(sorted(kinds))}"
    heads = kinds["self_attn"] - {"rotary_emb"}
    if heads != set(ATTENTION) and not (head_norms and heads == {*ATTENTION, *HEAD_NORMS}):
        return f"attention of {', '.join(sorted(heads))}"
    activation = getattr(layer.mlp, "act_fn", None)
    if kinds["mlp"] - {"act_fn"} != set(MLP) or not _is_silu(activation):
        return f"{type(layer.mlp).__name__} with {type(activation).__name__}"
    return None


def _is_silu(activation: Any) -> bool:
    return isinstance(activation, nn.SiLU) or type(activation).__name__ == "SiLUActivation"
