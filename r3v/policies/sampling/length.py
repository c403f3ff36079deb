"""A prompt longer than the model: transformers warns once and computes on, with positions that were never taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r3v.errors import PromptError
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.structure import base_model
from r3v.records import Prompt


def check_length(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[Prompt],
    encoded: Sequence[Encoded],
    replies: Sequence[int] | None = None,
) -> None:
    """Raise PromptError where prompts leave no position for an answer or, with `replies`, for the given reply of so
    many tokens (its last one is read by nobody). The error names the first of them and lists the problems of all. With
    M-RoPE a picture takes fewer positions than it has tokens."""
    config = getattr(base_model(model), "config", None)
    limit = getattr(config.get_text_config(), "max_position_embeddings", None) if config is not None else None
    if limit is None:
        return
    room = [1] * len(prompts) if replies is None else [max(0, n - 1) for n in replies]
    too_long = [
        i
        for i, (one, n) in enumerate(zip(encoded, room, strict=True))
        if len(one.ids) + n > limit and int(encoder.positions(model, one.ids, one.images).max()) + 1 + n > limit
    ]
    if not too_long:
        return
    prompt, one = prompts[too_long[0]], encoded[too_long[0]]
    pictures = one.ids.count(encoder.image_token_id) if encoder.image_token_id is not None else 0
    left = "none for an answer" if replies is None else f"fewer than the {replies[too_long[0]]:,} tokens of a reply"
    more = f" ({len(too_long) - 1} more such prompts)" if len(too_long) > 1 else ""
    raise PromptError(
        f"problem {prompt.problem_id!r}: its prompt has {len(one.ids):,} tokens, {pictures:,} of them of pictures, and "
        f"{type(base_model(model)).__name__} has {limit:,} positions, which leaves {left}{more}. Lower "
        "model.max_pixels, show fewer or shorter notes and candidates, or leave the problem out",
        dict.fromkeys(prompts[i].problem_id for i in too_long),
    )
