"""What a chat template puts between a prompt and its reply, whether it opens a thought there, and what ends a reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from r3v.errors import ModelError
from r3v.thoughts import marked, opened

PROBE = "probe of the reply"
Render = Callable[[list[dict[str, Any]], bool], str]
"""Chat and whether a reply is to follow -> text."""


@dataclass(frozen=True)
class ReplyFormat:
    """lead: what a model writes before a reply without a thought, such as the end of the thought that the prompt opens.
    opened: the opening tag that a prompt ends with, blanks included, or nothing. eot_id: the token that ends a reply.
    """

    lead: str
    opened: str
    eot_id: int

    def written(self, text: str) -> str:
        """A reply as the model would write it after the prompt; `read` is the inverse.

        A thought that the text holds is the reply's own; a text without one comes after an empty one where the template
        has thoughts.
        """
        tag = self.opened.strip()
        if tag and text.startswith(tag):
            return text.removeprefix(self.opened if text.startswith(self.opened) else tag)
        return text if marked(text) else self.lead + text

    def read(self, written: str) -> str:
        """What the model wrote, as a text that stands by itself: the tag of the thought that the prompt opened is put
        before it, an empty thought is left out."""
        if self.lead and written.startswith(self.lead):
            return written[len(self.lead) :]
        return self.opened + written


def reply_format(render: Render, tokenizer: Any, special: set[int], owner: str) -> ReplyFormat:
    """The format that a template shows for a probe. `special`: ids that can end a turn. Where a template that opens
    thoughts drops them from history, the empty one is ended as those of DeepSeek-R1 and Qwen are: by the closing tag
    and an empty line. Raises ModelError where nothing ends a reply.
    """
    chat: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
    opening = render(chat, True)
    whole = render([*chat, {"role": "assistant", "content": [{"type": "text", "text": PROBE}]}], False)
    start = whole.rfind(PROBE)
    lead, tag = whole[len(opening) : start] if whole.startswith(opening) else "", ""
    if (thought := opened(opening)) is not None:
        tag, closes = thought
        if closes not in lead:
            lead = ("\n" if tag.endswith("\n") else "") + f"{closes}\n\n"
    after = tokenizer(whole[start + len(PROBE) :].lstrip(), add_special_tokens=False)["input_ids"]
    if start >= 0 and after and int(after[0]) in special:
        return ReplyFormat(lead, tag, int(after[0]))
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"found no end-of-turn token: the chat template of {owner} puts none after a reply and its tokenizer has "
            "no eos_token. Set one of the two"
        )
    return ReplyFormat(lead, tag, int(tokenizer.eos_token_id))
