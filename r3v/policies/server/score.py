"""Log-probabilities of given continuations from vLLM's `prompt_logprobs`, through chat completions.

Each continuation is sent as the assistant's reply with `add_generation_prompt` off, so that the server's own chat
template puts it in place, and its log-probabilities come back as those of the last tokens of the prompt. vLLM
computes them without its prefix cache, so this costs one whole prefill for each continuation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r3v.errors import EngineError
from r3v.policies.base import Score
from r3v.policies.server.client import BadAnswerError, as_json


@dataclass(frozen=True, slots=True)
class Scored:
    """The tokens of a whole prompt, and the log-probability of each but the first (which has none: 0)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    tokens_in: int


def prefix_fields() -> dict[str, Any]:
    """A request that gives the tokens of a prompt up to where the reply begins."""
    return {"max_tokens": 1, "temperature": 0.0, "return_token_ids": True}


def reply_fields(closed: bool) -> dict[str, Any]:
    """A request that gives the tokens of a prompt with its reply; `closed`: with its end-of-turn token."""
    template = {"add_generation_prompt": False, "continue_final_message": not closed}
    return {**prefix_fields(), **template, **({"prompt_logprobs": 0} if closed else {})}


def read_prefix(data: bytes, content_type: str = "") -> Scored:
    """The token ids of a prompt, with zeros for log-probabilities. Raises BadAnswerError, EngineError."""
    return _read(data, False)


def read_scored(data: bytes, content_type: str = "") -> Scored:
    """Token ids and log-probabilities of a prompt. Raises BadAnswerError, EngineError."""
    return _read(data, True)


def _read(data: bytes, scored: bool) -> Scored:
    value = as_json(data)
    if not isinstance(value, dict) or not isinstance(value.get("choices"), list):
        raise BadAnswerError(f"found {str(value)[:200]}, expected `choices`")
    ids, rows = value.get("prompt_token_ids"), value.get("prompt_logprobs")
    if isinstance(ids, list) and not scored:
        rows = [None] * len(ids)
    if not isinstance(ids, list) or not isinstance(rows, list):
        missing = "prompt_logprobs" if isinstance(ids, list) else "prompt_token_ids"
        raise EngineError(
            f"the server gives no `{missing}`, which scoring needs: use vLLM 0.11 or newer, or set server.select "
            "to logprobs or votes"
        )
    try:
        logprobs = tuple(_logprob(r, i) for r, i in zip(rows, ids, strict=True))
        tokens_in = int((value.get("usage") or {}).get("prompt_tokens") or len(ids))
        return Scored(tuple(int(i) for i in ids), logprobs, tokens_in)
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnswerError(f"{type(error).__name__} {error} in prompt_logprobs") from error


def _logprob(row: Mapping[str, Any] | None, token: int) -> float:
    return 0.0 if row is None else float(row[str(token)]["logprob"])


def after_reply(opened: Scored, closed: Scored) -> int:
    """Tokens the chat template puts behind the end-of-turn token (a line break, for most)."""
    return max(0, len(closed.ids) - len(opened.ids) - 1)


def reply_scores(prefix: Scored, replies: Sequence[Scored], behind: int) -> list[Score]:
    """The Score of each reply: from where its tokens leave the prefix to its end-of-turn token.

    All begin at the same token, the first at which any leaves the prefix, so that totals can be compared where a
    tokeniser joins the end of the prompt with the beginning of a reply. Raises EngineError where a template
    renders the prompt otherwise once a reply follows, so that nothing is shared.
    """
    start = min((_shared(prefix.ids, reply.ids) for reply in replies), default=0)
    if replies and start < len(prefix.ids) // 2:
        raise EngineError(
            "the server's chat template renders a prompt otherwise once a reply follows, so replies cannot be "
            "scored; set server.select to logprobs or votes"
        )
    ends = [len(reply.ids) - behind for reply in replies]
    return [Score(r.ids[start:end], r.logprobs[start:end]) for r, end in zip(replies, ends, strict=True)]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
