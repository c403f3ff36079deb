"""Requests and replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class TokenCounts:
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass
class Instance:
    """`args`: (context, doc_to_messages, generation_kwargs, doc_id, task, split), as tasks of messages make them."""

    request_type: str
    arguments: tuple[Any, ...]
    idx: int = 0

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments
