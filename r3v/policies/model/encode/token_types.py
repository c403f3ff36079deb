"""What a processor says of each token beside its id: whether it is text or part of a picture.

Some families (Gemma 3 and 4, Molmo2, PaliGemma) let the tokens of a picture see each other, and learn from these types
which they are; the marks around a picture may count as its parts. So the types are the processor's own, passed on as
they are. They are a function of the token id in every known family, so they are learnt from full calls of the processor
and looked up for prompts that take the short way; where they are not, every prompt takes the full call.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

TYPES = ("token_type_ids", "mm_token_type_ids")
"""Arguments of models that hold the types of tokens: 0 for text."""
_BESIDE = ("input_ids", "attention_mask")
_NAME = re.compile(r"(token_type_ids|seq_mask|attention_mask|labels)$")


def aligned_of(output: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The outputs of a processor's call for one prompt that have one number for each token, but ids and padding."""
    shape = tuple(output["input_ids"].shape)
    return {
        name: tuple(int(v) for v in value[0].tolist())
        for name, value in output.items()
        if name not in _BESIDE and isinstance(value, Tensor) and tuple(value.shape) == shape and _NAME.search(name)
    }


class TokenTypes:
    """Types by token id, as far as they have been seen. An id that is not special is text until seen otherwise."""

    def __init__(self, special: Collection[int]) -> None:
        self._special = frozenset(special)
        self._seen: dict[str, dict[int, int]] = {}
        self._ids: set[int] = set()

    def learn(self, ids: Sequence[int], aligned: Mapping[str, Sequence[int]]) -> bool:
        """Note the types of a prompt; False where one id has two types, so that they cannot be looked up."""
        self._ids |= set(ids) & self._special
        for name, values in aligned.items():
            known = self._seen.setdefault(name, {})
            for token, value in zip(ids, values, strict=True):
                if known.setdefault(token, value) != value:
                    return False
        return True

    def known(self, ids: Sequence[int]) -> bool:
        """Whether every special token of these has been seen."""
        return (set(ids) & self._special) <= self._ids

    def of(self, ids: Sequence[int]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(known.get(token, 0) for token in ids) for name, known in self._seen.items()}


def names_of(aligned: Iterable[Mapping[str, Any]]) -> list[str]:
    """Arguments that may hold something of each token: the usual two, and what these processors' outputs name."""
    given = (name for some in aligned for name in some if not name.endswith("labels"))
    return list(dict.fromkeys((*TYPES, *given)))


def types_of(encoded: Any, name: str, image_token_id: int | None) -> tuple[int, ...]:
    """Types of a prompt's tokens: the processor's, 0 for what follows (a reply); without any, 1 for image tokens."""
    ids, given = encoded.ids, encoded.aligned.get(name)
    if given is not None:
        return (*given[: len(ids)], *(0,) * (len(ids) - len(given)))
    return tuple(int(token == image_token_id) for token in ids)
