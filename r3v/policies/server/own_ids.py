"""Whether the token ids that a server returns are those of the model that is to be trained on them.

The same prompt must be the same ids to both (a picture counts as one, however many tokens it is made of), and the ids
of a reply must read as its text. Ids for which either fails are nobody's, and the text of the reply is what is taught.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from r3v.errors import EngineError, ImageError, ModelError
from r3v.policies.server.wire import Reply
from r3v.records import Prompt
from r3v.thoughts import TAGS

if TYPE_CHECKING:
    from r3v.policies.model.encode import Encoder

Say = Callable[[str], None]
_UNSAID = re.compile(r"\s+|" + "|".join(re.escape(tag) for pair in TAGS for tag in pair))
"""Blanks and tags of thoughts, which servers strip and put elsewhere."""


class OwnIds:
    """`fingerprint` of the tokenizer that the ids of a reply belong to, or nothing. `say` is told once why not."""

    def __init__(self, load: Callable[[], Encoder], say: Say | None = None) -> None:
        self._load, self._say = load, say
        self._encoder: Encoder | None = None
        self._asked = False

    def check(self, shown: str, prompt: Prompt, served: Callable[[], Sequence[int]]) -> None:
        """Compare `prompt` with its ids as the server called `shown` has them; done once."""
        if self._asked:
            return
        self._asked = True
        try:
            encoder = self._load()
            same = _once(encoder.prompt(prompt).ids) == _once(served())
            why = "has another tokenizer or chat template than the model to be trained"
        except (EngineError, ImageError, ModelError) as error:
            same, why, encoder = False, f"cannot be compared with the model to be trained ({error})", None
        if same:
            self._encoder = encoder
        elif self._say:
            self._say(f"{shown} {why}: candidates are taught as their text tokenised anew, not as the ids it returned")

    def fingerprint(self, reply: Reply) -> str:
        """Empty where the ids are not known for ours, or are not all that the model wrote."""
        encoder = self._encoder
        if encoder is None or not reply.ids:
            return ""
        ends = reply.ids[-1] in encoder.stop_ids
        if ends is not (reply.stop == "eos"):
            return ""
        text = encoder.decode(reply.ids[:-1] if ends else reply.ids)
        return encoder.fingerprint if _UNSAID.sub("", text) == _UNSAID.sub("", reply.whole) else ""


def _once(ids: Sequence[int]) -> list[int]:
    """Runs of one id as a single one: the placeholders of a picture."""
    return [i for i, _ in groupby(ids)]
