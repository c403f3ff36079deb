"""An answer in the words of the chat-completions API: whole, or as a stream of events."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from r3v.records import Candidate
from r3v.serve.asked import Asked
from r3v.serve.solve import Done

PIECE = re.compile(r"\S*\s*|\s+", re.DOTALL)


@dataclass(frozen=True)
class Head:
    """What every part of one answer begins with. `created`: seconds since 1970."""

    id: str
    created: int
    model: str

    def to_dict(self, object: str) -> dict[str, Any]:
        return {"id": self.id, "object": object, "created": self.created, "model": self.model}


def completion(head: Head, asked: Asked, done: Done) -> dict[str, Any]:
    """The whole answer."""
    choices = []
    for i, candidate in enumerate(done.choices):
        message = {"role": "assistant", "content": candidate.text, "refusal": None}
        choices.append({"index": i, "message": message, **_end(candidate), "logprobs": _logprobs(done, i)})
    return {**head.to_dict("chat.completion"), "choices": choices, "usage": usage(done), "r3v": told(asked, done)}


def usage(done: Done) -> dict[str, int]:
    """Tokens of the prompt once, and all that were sampled and scored for it, not those of the answer alone."""
    total = done.tokens_in + done.tokens_out
    return {"prompt_tokens": done.tokens_in, "completion_tokens": done.tokens_out, "total_tokens": total}


def told(asked: Asked, done: Done) -> dict[str, Any]:
    """The field `r3v`: how the answer was chosen, and from what."""
    chosen = done.selection
    candidates = [
        {"text": c.text, "score": _finite(score), **_end(c)}
        for c, score in zip(chosen.candidates, chosen.scores, strict=True)
    ]
    how = {"how": chosen.details["how"]} if "how" in chosen.details else {}
    return {
        "method": asked.method, "n": asked.n, "answer": chosen.answer, **how, "prompt": asked.prompt,
        "seed": asked.seed, "temperature": asked.params.temperature, "candidates": candidates,
    }  # fmt: skip


def chunks(head: Head, asked: Asked, done: Done) -> Iterator[dict[str, Any]]:
    """The answer piece by piece, behind the `opening`: a choice after the other, then how it was chosen, then the
    usage where it was asked for."""
    for i, candidate in enumerate(done.choices):
        logprobs = _logprobs(done, i)
        for piece in pieces(candidate.text):
            yield _chunk(head, i, {"content": piece}, logprobs=logprobs)
            logprobs = None  # all of them come with the first piece
    for i, candidate in enumerate(done.choices):
        own = {"r3v": told(asked, done)} if i + 1 == len(done.choices) else {}
        yield {**_chunk(head, i, {}, **_end(candidate)), **own}
    if asked.stream_usage:
        yield {**head.to_dict("chat.completion.chunk"), "choices": [], "usage": usage(done)}


def opening(head: Head, asked: Asked) -> list[dict[str, Any]]:
    """What a stream begins with, before there is an answer."""
    return [_chunk(head, i, {"role": "assistant", "content": ""}) for i in range(asked.shown)]


def pieces(text: str, size: int = 32) -> Iterator[str]:
    """The text in pieces of whole words, each of about `size` characters."""
    kept = ""
    for word in PIECE.findall(text):
        kept += word
        if len(kept) >= size:
            yield kept
            kept = ""
    if kept:
        yield kept


def event(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, allow_nan=False)}\n\n"


def _chunk(head: Head, index: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None, **more}
    return {**head.to_dict("chat.completion.chunk"), "choices": [choice]}


def _finite(score: float) -> float | None:
    """JSON knows no infinity, the score of what cannot win."""
    return score if math.isfinite(score) else None


def _end(candidate: Candidate) -> dict[str, str]:
    return {"finish_reason": "stop" if candidate.stop == "eos" else "length"}


def _logprobs(done: Done, choice: int) -> dict[str, Any] | None:
    return {"content": [_token(*pair) for pair in done.logprobs[choice]], "refusal": None} if done.logprobs else None


def _token(text: str, logprob: float) -> dict[str, Any]:
    # A part of a character has no bytes of its own that could be told.
    own: list[int] | None = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": own, "top_logprobs": []}
