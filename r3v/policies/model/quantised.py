"""Which parts of a model are quantised: the linear layers of its language model, and nothing else.

In 4 bits a vision tower sees little (Qwen2-VL-7B then talks nonsense), its widths are often no multiples of the block
of 64, and it is a tenth of the weights. So tower, projector and output head stay as they are. They are found by where
they stand in the model, not by name: everything that the language model does not hold.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from r3v.policies.model.structure import base_model, text_model


def kept_whole(model: Any) -> list[str]:
    """Full names of the modules that quantisation leaves alone, the largest that hold nothing of the language model,
    and the output head. The model may lie on the meta device.
    """
    base = base_model(model)
    decoder = language_model(base)
    inside = set() if decoder is None else {id(m) for m in decoder.modules()}
    around = {id(m) for m in base.modules() if decoder is not None and any(c is decoder for c in m.modules())}
    head = base.get_output_embeddings()
    names: list[str] = []

    def walk(module: nn.Module, prefix: str) -> None:
        for name, child in module.named_children():
            full = f"{prefix}{name}"
            if child is head:
                names.append(full)
            elif id(child) in around and child is not decoder:
                walk(child, f"{full}.")
            elif id(child) not in inside and decoder is not None and _has_linear(child):
                names.append(full)

    walk(base, "")
    return names


def language_model(model: Any) -> Any:
    """The module that holds the text layers: by its usual name, or the outermost child that holds the token embeddings
    but no others; None for a model that is one whole."""
    found = text_model(model)
    if found is not None:
        return found
    inner = getattr(model, "base_model", model)
    embeddings = inner.get_input_embeddings()
    return next(
        (c for c in inner.children() if c is not embeddings and any(m is embeddings for m in c.modules())), None
    )


def _has_linear(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Linear) for m in module.modules())


def skip_names(source: dict[str, Any]) -> list[str]:
    """`kept_whole` of the model that `from_pretrained(**source)` would load, found without its weights."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(**source)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    return kept_whole(model)


def quantised_names(model: Any) -> list[str]:
    """Full names of the modules whose weights are in 4 or 8 bits."""
    return [name for name, m in model.named_modules() if type(m).__name__ in ("Linear4bit", "Linear8bitLt")]
