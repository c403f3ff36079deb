"""Token ids of a reply, as the model would sample them, and the text of sampled ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r3v.policies.model.encode.reply import ReplyFormat
from r3v.records import Candidate


class ReplyTokens:
    """`tags`: special tokens that mark a thought, by id. `plain` breaks control tokens in given text up."""

    def __init__(self, tokenizer: Any, form: ReplyFormat, tags: Mapping[int, str], plain: Callable[[str], str]) -> None:
        self._tokenizer, self._form, self._tags, self._plain = tokenizer, form, tags, plain

    def target(self, text: str, *, ended: bool = True) -> tuple[int, ...]:
        """See `Encoder.target`."""
        ids = self._tokenizer(self._form.written(self._plain(text)), add_special_tokens=False)["input_ids"]
        return (*(int(i) for i in ids), *([self._form.eot_id] if ended or not ids else []))

    def sampled(self, reply: str | Candidate, fingerprint: Callable[[], str]) -> tuple[int, ...]:
        """See `Encoder.sampled`."""
        if isinstance(reply, str):
            return self.target(reply)
        if reply.token_ids and reply.tokenizer == fingerprint():
            return tuple(reply.token_ids)
        return self.target(reply.text, ended=reply.stop != "length")

    def decode(self, ids: Sequence[int]) -> str:
        """See `Encoder.decode`."""
        pieces: list[list[int]] = [[]]
        text = ""
        for i in ids:
            if i in self._tags:
                text += self._text(pieces.pop()) + self._tags[i]
                pieces.append([])
            else:
                pieces[-1].append(i)
        return self._form.read(text + self._text(pieces.pop()))

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def fingerprint_of(processor: Any, tokenizer: Any, thinking: bool | None, eot_id: int) -> str:
    """16 hexadecimal digits over what ids of a reply depend on: vocabulary, chat template, `thinking`."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    told = json.dumps([vocabulary, template, thinking, eot_id], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
