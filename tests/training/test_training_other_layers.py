"""Layers that are named like Llama's and compute otherwise are trained fused, with the self-test's consent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import NAMES
from training_examples import examples_of
from transformers import AutoModelForImageTextToText, GlmConfig, GraniteConfig, LlavaConfig

from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training.fit import fit

TEXTS: dict[str, Any] = {
    "granite": lambda shape: GraniteConfig(
        **shape, residual_multiplier=0.22, attention_multiplier=0.1, logits_scaling=4.0, embedding_multiplier=3.0
    ),
    "glm": lambda shape: GlmConfig(**shape | {"partial_rotary_factor": 0.5}),
}
"""Multipliers on what a layer adds; rotary positions on half of each head."""
CONFIG = ModelConfig(path=NAMES["llava"], lora_r=2)


def built(kind: str) -> Loaded:
    """A tiny LLaVA whose language model is of another family."""
    loaded = load(CONFIG, dry_run=True)
    old = loaded.model.config.text_config
    names = (
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id", "head_dim"),
    )
    shape = {name: value for name in names if (value := getattr(old, name, None)) is not None}
    whole = loaded.model.config.to_dict() | {"text_config": TEXTS[kind](shape).to_dict()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(LlavaConfig(**whole)).eval()
    return replace(loaded, model=model)


@pytest.mark.parametrize("kind", TEXTS)
def test_they_are_fused_and_learn_what_they_learn_plainly(kind: str, tmp_path: Path) -> None:
    """No ParityWarning (warnings are errors here), and the same losses as one branch per row."""
    examples = [e for n in (2, 3) for e in examples_of(n)]
    done = {}
    for fuse in (True, False):
        train = TrainConfig(fuse=fuse, max_steps=2, lr=1e-2, epochs=2, problems_per_step=2, problems_per_batch=2)
        done[fuse] = fit(built(kind), examples, train=train, model=CONFIG, out=tmp_path / str(fuse), seed=0)
        assert done[fuse].fused == fuse
    assert done[True].losses == pytest.approx(done[False].losses, rel=1e-4)
    assert done[True].losses[1] < done[True].losses[0]
