"""What nf4 and int8 touch, family by family: the linear layers of the language model, never the tower, the projector or
the head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, NAMES, need_torchvision

from r3v.policies.model.loading import load
from r3v.policies.model.quantised import kept_whole, quantised_names
from r3v.policies.model.structure import base_model
from r3v.policies.model.tiny import random_tiny
from r3v.settings.config import ModelConfig

WHOLE = {
    "qwen2_vl": ["model.visual", "lm_head"],
    "qwen2_5_vl": ["model.visual", "lm_head"],
    "qwen3_vl": ["model.visual", "lm_head"],
    "llava": ["model.vision_tower", "model.multi_modal_projector", "lm_head"],
    "idefics3": ["model.vision_model", "model.connector", "lm_head"],
    "gemma3": ["model.vision_tower", "lm_head"],  # its projector is one bare matrix, which nothing quantises
}
LAYER = (*(f"mlp.{n}_proj" for n in ("down", "gate", "up")), *(f"self_attn.{n}_proj" for n in "koqv"))


def text(family: str) -> str:
    return "model.text_model" if family == "idefics3" else "model.language_model"


def test_every_family_is_listed() -> None:
    assert set(WHOLE) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_kept_whole(family: str) -> None:
    if family.startswith("qwen"):
        need_torchvision()
    assert sorted(kept_whole(random_tiny(family)[0])) == sorted(WHOLE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_nf4_quantises_the_language_model_alone(family: str) -> None:
    """Three layers of seven matrices each: 21 modules, by name; tower, projector and head in bfloat16."""
    if family.startswith("qwen"):
        need_torchvision()
    loaded = load(ModelConfig(path=NAMES[family], quantization="nf4", device="cpu"), dry_run=True)
    expected = {f"{text(family)}.layers.{i}.{part}" for i in range(3) for part in LAYER}
    assert set(quantised_names(loaded.model)) == expected
    rest = [p for name, p in loaded.model.named_parameters() if not name.startswith(text(family))]
    assert rest
    assert {p.dtype for p in rest} == {torch.bfloat16}


def test_int8_quantises_the_language_model_alone() -> None:
    loaded = load(ModelConfig(path=NAMES["llava"], quantization="int8", device="cpu"), dry_run=True)
    names = quantised_names(loaded.model)
    assert len(names) == 21
    assert all(name.startswith("model.language_model.layers.") for name in names)


def test_a_language_model_without_a_usual_name_is_found_by_its_embeddings() -> None:
    """The child that holds the token embeddings is the language model; its neighbours are kept whole."""
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eyes = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
            self.positions = nn.Embedding(2, 2)
            self.words: Any = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
            self.out = nn.Linear(2, 3)

        def get_input_embeddings(self) -> Any:
            return self.words[0]

        def get_output_embeddings(self) -> Any:
            return self.out

    assert kept_whole(base_model(Model())) == ["eyes", "out"]
