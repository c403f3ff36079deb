"""A prompt longer than the model: transformers warns once and computes on, with positions that were never taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r3v.errors import PromptError
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.structure import base_model
from r3v.records import Prompt


def check_length(model: Any, encoder: Encoder, prompts: Sequence[Prompt], encoded: Sequence[Encoded]) -> None:
    """Raise PromptError for the first prompt that leaves no position for an answer. With M-RoPE a picture takes fewer
    positions than it has tokens."""
    config = getattr(base_model(model), "config", None)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None
    if limit is None:
        return
    for prompt, one in zip(prompts, encoded, strict=True):
        tokens = len(one.ids)
        if tokens < limit or int(encoder.positions(model, one.ids, one.images).max()) + 1 < limit:
            continue
        pictures = one.ids.count(encoder.image_token_id) if encoder.image_token_id is not None else 0
        raise PromptError(
            f"problem {prompt.problem_id!r}: its prompt has {tokens:,} tokens, {pictures:,} of them of pictures, and "
            f"{type(base_model(model)).__name__} has {limit:,} positions, which leaves none for an answer. Lower "
            "model.max_pixels, show fewer or shorter notes and candidates, or leave the problem out"
        )
