"""Memories of uneven shape are known before they are stacked, and a relative of a family is not played by it."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from r3v.policies.model.structure import why_uneven
from r3v.policies.model.tiny import family_of


def layers(*attentions: dict[str, Any]) -> Any:
    """A model of attention modules with these attributes; `k` is the width of the keys of a layer."""
    model = nn.Module()
    for i, told in enumerate(attentions):
        module: Any = nn.Module()
        module.layer_idx = i
        for name, value in told.items():
            if name == "k":
                module.k_proj = nn.Linear(2, value)
            else:
                setattr(module, name, value)
        model.add_module(str(i), module)
    return model


def test_layers_of_different_shapes_have_no_slots() -> None:
    """Gemma 4's wide layers; values narrower than keys (multi-head latent attention); and plain ones."""
    assert why_uneven(layers({"k": 8, "head_dim": 4}, {"k": 8, "head_dim": 4})) is None
    assert "different shapes" in str(why_uneven(layers({"k": 8, "head_dim": 4}, {"k": 8, "head_dim": 8})))
    assert "different shapes" in str(why_uneven(layers({"k": 8, "head_dim": 4}, {"k": 16, "head_dim": 4})))
    assert "values of another width (4) than keys (6)" in str(why_uneven(layers({"qk_head_dim": 6, "v_head_dim": 4})))
    assert why_uneven(layers({"qk_head_dim": 4, "v_head_dim": 4})) is None


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", None),
        ("qwen3_vl_moe", None),
        ("llava-hf/llava-1.5-7b-hf", "llava"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", None),
        ("llava-hf/llava-v1.6-mistral-7b-hf", None),
        ("llava_next", None),
        ("google/gemma-3-4b-it", "gemma3"),
        ("google/gemma-3n-E4B-it", None),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", "idefics3"),
    ],
)
def test_relatives_are_told_apart(name: str, family: str | None) -> None:
    assert family_of(name) == family
