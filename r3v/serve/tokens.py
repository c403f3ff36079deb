"""What a policy can tell of tokens: how many a prompt has, how many were written, and each with its log-probability."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Protocol

from r3v.errors import EngineError
from r3v.policies.base import Policy
from r3v.records import Candidate, Prompt

Listed = tuple[tuple[str, float], ...]
"""(text of a token, its log-probability), without the token that ends the turn."""


class Tokens(Protocol):
    """Counts of one policy. A policy that cannot list tokens raises EngineError when asked to."""

    def read(self, prompt: Prompt, candidate: Candidate) -> int:
        """Tokens of the prompt that `candidate` was drawn for."""
        ...

    def written(self, candidate: Candidate) -> int: ...

    def listed(self, candidate: Candidate) -> Listed: ...

    def forget(self, problems: Iterable[str]) -> None:
        """Let go what is remembered of the candidates of these problems."""
        ...


def tokens_of(policy: Policy) -> Tokens:
    """What fits the policy: one in this process with an encoder, one that asks a server, or any other."""
    if hasattr(policy, "encoder"):
        return _Encoded(policy)
    if hasattr(policy, "heard"):
        return _Served(policy)
    return _Plain()


class _Plain:
    """A policy that says nothing but the token ids of its candidates."""

    def read(self, prompt: Prompt, candidate: Candidate) -> int:
        return 0

    def written(self, candidate: Candidate) -> int:
        return len(candidate.token_ids)

    def listed(self, candidate: Candidate) -> Listed:
        raise EngineError(
            f"{candidate.model}: no texts of tokens, so no logprobs can be given; leave logprobs out of the request"
        )

    def forget(self, problems: Iterable[str]) -> None:
        return


class _Encoded(_Plain):
    """A model in this process."""

    def __init__(self, policy: Any) -> None:
        self._encoder = policy.encoder

    def read(self, prompt: Prompt, candidate: Candidate) -> int:
        return len(self._encoder.prompt(prompt).ids)

    def listed(self, candidate: Candidate) -> Listed:
        pairs = zip(candidate.token_ids, candidate.logprobs, strict=True)
        kept = [(i, p) for i, p in pairs if i not in self._encoder.stop_ids]
        texts = _grown([self._encoder.decode([i for i, _ in kept[: end + 1]]) for end in range(len(kept))])
        return _cut([(text, p) for text, (_, p) in zip(texts, kept, strict=True)], candidate.text)


class _Served(_Plain):
    """A model behind a server: what its replies said."""

    def __init__(self, policy: Any) -> None:
        # A policy tells of a candidate in the thread that asked for it, and the same request may be in work in two.
        self._own = threading.local()
        policy.heard = self._hear

    @property
    def _replies(self) -> dict[str, dict[tuple[int, str], Any]]:
        if not hasattr(self._own, "replies"):
            self._own.replies = {}
        return self._own.replies

    def _hear(self, candidate: Candidate, reply: Any) -> None:
        self._replies.setdefault(candidate.problem_id, {})[candidate.index, candidate.prompt_hash] = reply

    def _of(self, candidate: Candidate) -> Any:
        """The reply, None where the policy told of none."""
        return self._replies.get(candidate.problem_id, {}).get((candidate.index, candidate.prompt_hash))

    def read(self, prompt: Prompt, candidate: Candidate) -> int:
        reply = self._of(candidate)
        return reply.tokens_in if reply else 0

    def written(self, candidate: Candidate) -> int:
        reply = self._of(candidate)
        return reply.tokens_out if reply else len(candidate.token_ids)

    def listed(self, candidate: Candidate) -> Listed:
        reply = self._of(candidate)
        if reply is None or not reply.tokens:
            return super().listed(candidate)
        return _cut([(t.text, t.logprob) for t in reply.tokens], candidate.text)

    def forget(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self._replies.pop(problem, None)


def _grown(texts: list[str]) -> list[str]:
    """What each of growing texts adds; a token may add nothing until the next completes its character."""
    return [text[len(before) :] if text.startswith(before) else "" for before, text in _pairs(texts)]


def _pairs(texts: list[str]) -> Iterable[tuple[str, str]]:
    return zip(["", *texts], texts, strict=False)


def _cut(pairs: list[tuple[str, float]], text: str) -> Listed:
    """The pairs up to the end of `text`, which a stop text may have shortened."""
    kept, length = [], 0
    for token, logprob in pairs:
        if length >= len(text) and token:
            break
        kept.append((token, logprob))
        length += len(token)
    return tuple(kept)
