"""Which tokens mean something beside their text: of pictures, of control, of thoughts."""

from __future__ import annotations

import re
from typing import Any

from r3v.thoughts import TAGS


def ids_of(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(v) for v in value} if isinstance(value, (list, tuple)) else {int(value)}


def image_token_id(processor: Any, config: Any) -> int | None:
    for owner, name in (
        (config, "image_token_id"),
        (config, "image_token_index"),
        (processor, "image_token_id"),
    ):
        value = getattr(owner, name, None)
        if isinstance(value, int):
            return value
    return None


def special_ids(tokenizer: Any, config: Any) -> set[int]:
    """Special tokens of the tokenizer, and the vision tokens the model's configuration names."""
    ids = {int(i) for i in tokenizer.all_special_ids}
    ids |= {int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    names = (
        "image_token_id",
        "image_token_index",
        "video_token_id",
        "vision_start_token_id",
        "vision_end_token_id",
    )
    for name in (*names, "boi_token_index", "eoi_token_index", "vision_token_id"):
        ids |= ids_of(getattr(config, name, None))
    return ids


def tags_of(tokenizer: Any) -> dict[int, str]:
    """Special tokens that mark a thought: part of what a model writes, unlike other special tokens."""
    tags = {tag for pair in TAGS for tag in pair}
    return {int(i): str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special and str(t) in tags}


def special_pattern(tokenizer: Any, placeholder: str | None, allowed: set[str]) -> re.Pattern[str]:
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    tokens |= set(tokenizer.all_special_tokens) | ({placeholder} if placeholder else set())
    tokens -= allowed
    listed = "|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True) if len(t) > 1)
    return re.compile(listed or r"(?!)")
