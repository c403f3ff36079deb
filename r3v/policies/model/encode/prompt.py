"""Token ids of a prompt, the short way where it can be: the processor is asked what the placeholder of an image
becomes, the answer is kept, and every further prompt with the image costs one text tokenisation.

The first prompt with images is compared with the processor's own full call; a processor for which the short way differs
is called in full from then on.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from r3v.errors import ModelError
from r3v.policies.model.encode.encoded import Encoded
from r3v.policies.model.encode.pictures import Pictures
from r3v.policies.model.encode.token_types import TokenTypes, aligned_of
from r3v.records import Prompt, image_hash


class PromptTokens:
    """Rendered prompts as ids. `image_token_id` is None for a model that takes no pictures; `placeholder` stands for
    one in the text and `expanded` is the token that it is expanded to."""

    def __init__(
        self,
        processor: Any,
        tokenizer: Any,
        pictures: Pictures,
        types: TokenTypes,
        image_token_id: int | None,
        placeholder: str | None,
        expanded: str | None,
    ) -> None:
        self.processor, self.tokenizer = processor, tokenizer
        self._pictures, self._types = pictures, types
        self._image_token_id, self._placeholder, self._expanded = image_token_id, placeholder, expanded
        self.short_way: bool | None = None
        """Whether the short way gives what the full call does; None before the first prompt with images."""
        self._by_processor: bool | None = None

    def encoded(self, prompt: Prompt, text: str) -> Encoded:
        """The prompt, rendered as `text`. Raises ImageError, ModelError."""
        if not prompt.images:
            return Encoded(self._without_pictures(text))
        if self._image_token_id is None or self._placeholder is None:
            raise ModelError(f"found a prompt with images for {type(self.processor).__name__}, which takes none")
        key = tuple(image_hash(image) for image in prompt.images)
        pictures = self._pictures.of(key, prompt.images, self._placeholder)
        name = ",".join(key)
        if pictures.replacements is None or self.short_way is False:
            ids, output = self._pictures.full_call(text, prompt.images)
            return Encoded(ids, pictures.tensors, name, aligned_of(output))
        ids = self._expand(text, pictures.replacements)
        if self.short_way is None or not self._types.known(ids):
            full, output = self._pictures.full_call(text, prompt.images)
            if not self._types.learn(full, aligned_of(output)):
                self.short_way = False
                return Encoded(full, pictures.tensors, name, aligned_of(output))
            self.short_way = ids == full
            if not self.short_way:
                warnings.warn(
                    f"{type(self.processor).__name__} does not tokenise image placeholders as its "
                    "replacement text says; every prompt takes its full call (slower, same result)",
                    stacklevel=3,
                )
                ids = full
        return Encoded(ids, pictures.tensors, name, self._types.of(ids))

    def _without_pictures(self, text: str) -> tuple[int, ...]:
        """By the tokenizer, or by the processor where that adds something (a BOS)."""
        ids = self._tokens(text)
        if self._by_processor is None and self.processor is not self.tokenizer:
            try:
                self._by_processor = self._processed(text) != ids
            except (TypeError, ValueError, AttributeError, KeyError, IndexError):
                self._by_processor = False  # it wants a picture
        return self._processed(text) if self._by_processor else ids

    def _processed(self, text: str) -> tuple[int, ...]:
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": False} if bos is not None and text.startswith(bos) else {}
        return tuple(self.processor(text=[text], return_tensors="pt", **options)["input_ids"][0].tolist())

    def _tokens(self, text: str) -> tuple[int, ...]:
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": False} if bos is not None and text.startswith(bos) else {}
        return tuple(int(i) for i in self.tokenizer(text, **options)["input_ids"])

    def _expand(self, text: str, replacements: Sequence[str]) -> tuple[int, ...]:
        """Tokenise with every run of image tokens written once, then repeat the id: runs make up most of a
        prompt.
        """
        assert self._placeholder is not None
        assert self._expanded is not None
        runs: list[int] = []
        run = re.compile(f"(?:{re.escape(self._expanded)})+")

        def collapse(match: re.Match[str]) -> str:
            runs.append(len(match.group()) // len(self._expanded or ""))
            return self._expanded or ""

        pieces = text.split(self._placeholder)
        if len(pieces) != len(replacements) + 1:
            raise ModelError(
                f"the chat template wrote {len(pieces) - 1} image placeholders for {len(replacements)} images"
            )
        joined = pieces[0]
        for replacement, piece in zip(replacements, pieces[1:], strict=True):
            joined += run.sub(collapse, replacement) + piece
        counts = iter(runs)
        ids: list[int] = []
        for token in self._tokens(joined):
            ids.extend([token] * next(counts) if token == self._image_token_id else [token])
        return tuple(ids)
