"""The `Encoder` of one model: what sampling, scoring and training ask of its processor.

Suffixes: L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from r3v.policies.model.encode.encoded import Encoded, joined
from r3v.policies.model.encode.pictures import CACHE_BYTES, Pictures
from r3v.policies.model.encode.positions import positions_of
from r3v.policies.model.encode.prompt import PromptTokens
from r3v.policies.model.encode.reply import reply_format
from r3v.policies.model.encode.special import ids_of, image_token_id, special_ids, special_pattern, tags_of
from r3v.policies.model.encode.target import ReplyTokens, fingerprint_of
from r3v.policies.model.encode.template import ChatTemplate
from r3v.policies.model.encode.token_types import TokenTypes
from r3v.records import Candidate, Prompt


class Encoder:
    """Chat template, tokenizer and image processor of one model.

    `eot_id` is the token that ends a reply, `stop_ids` are all that do (the generation configuration may name
    more), `banned_ids` may never be sampled: image and other special tokens except those that stop or mark a thought.
    `min_pixels` scales smaller images up and `max_pixels` larger ones down before the processor sees them. `thinking`
    switches the thoughts of templates that know `enable_thinking` on or off. Raises ModelError when the processor has
    no chat template that can be used, a template without that switch, or the model no end-of-turn token.
    """

    def __init__(
        self,
        processor: Any,
        model_config: Any,
        *,
        generation_config: Any = None,
        max_pixels: int | None = None,
        min_pixels: int | None = None,
        thinking: bool | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.config = model_config
        self.max_pixels, self.min_pixels, self.thinking = max_pixels, min_pixels, thinking
        self.image_token_id: int | None = image_token_id(processor, model_config)
        expanded = None
        if self.image_token_id is not None:
            expanded = str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))
        self.placeholder = getattr(processor, "image_token", None) or expanded
        tags = tags_of(self.tokenizer)
        self._special = special_pattern(self.tokenizer, self.placeholder, set(tags.values()))
        special = special_ids(self.tokenizer, model_config)
        self._template = ChatTemplate(processor, thinking)
        self._template.check(pictures=self.image_token_id is not None)
        self.reply = reply_format(self._template, self.tokenizer, special, type(processor).__name__)
        self.eot_id = self.reply.eot_id
        self.stop_ids = frozenset({self.eot_id} | ids_of(getattr(generation_config, "eos_token_id", None)))
        self.banned_ids = tuple(sorted(special - self.stop_ids - set(tags)))
        pictures = Pictures(processor, self.tokenizer, min_pixels, max_pixels, cache_bytes)
        types = TokenTypes(special)
        self.prompts = PromptTokens(
            processor, self.tokenizer, pictures, types, self.image_token_id, self.placeholder, expanded
        )
        self._fingerprint: str | None = None
        self._replies = ReplyTokens(self.tokenizer, self.reply, tags, self._plain)

    def prompt(self, prompt: Prompt) -> Encoded:
        """Token ids up to the start of the reply, and the pixel inputs. Raises ImageError, ModelError."""
        return self.prompts.encoded(prompt, self._render(prompt))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over what ids of a reply depend on: vocabulary, chat template, `thinking`."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self.processor, self.tokenizer, self.thinking, self.eot_id)
        return self._fingerprint

    def target(self, text: str, *, ended: bool = True) -> tuple[int, ...]:
        """Ids of a reply, as the model would sample them after a prompt: ending in `eot_id` unless it was cut off (not
        `ended`), after an empty thought where the template has thoughts and the text none."""
        return self._replies.target(text, ended=ended)

    def sampled(self, reply: str | Candidate) -> tuple[int, ...]:
        """Ids of a given reply: those that were sampled, or its text's where they are another tokenizer's or none."""
        return self._replies.sampled(reply, lambda: self.fingerprint)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sampled reply; the inverse of `target` for text that survives tokenisation. A thought that the
        prompt opened gets its opening tag again, an empty one is left out."""
        return self._replies.decode(ids)

    def positions(self, model: Any, ids: Sequence[int], images: Mapping[str, Tensor]) -> Tensor:
        """Position ids, shape L, or 3 L for models with M-RoPE (time, height, width)."""
        return positions_of(model, ids, images, self.image_token_id)

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Pixel inputs of several rows as one; see `encoded.joined`."""
        return joined(images)

    def _plain(self, text: str) -> str:
        """Text from data or models cannot smuggle in control tokens: a space breaks each one up."""
        return self._special.sub(lambda m: m.group()[0] + " " + m.group()[1:], text)

    def _render(self, prompt: Prompt) -> str:
        chat = prompt.chat()
        for message in chat:
            for part in message["content"]:
                if part["type"] == "text":
                    part["text"] = self._plain(part["text"])
        return self._template(chat, True)
