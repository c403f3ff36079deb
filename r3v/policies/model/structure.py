"""What lies under a model's wrappers."""

from __future__ import annotations

from typing import Any


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
