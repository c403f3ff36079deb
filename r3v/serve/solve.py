"""From requests to answers: draws the candidates of all that are drawn alike together, and chooses among them.

One request that fails takes no other with it: a group that fails is asked again one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from r3v.grading import extract
from r3v.notebook.retrieval.inject import Recall
from r3v.prompts import solve_all
from r3v.records import Candidate, Problem
from r3v.selection.methods import Selection
from r3v.selection.selector import Selector
from r3v.serve.asked import Asked
from r3v.serve.config import GREEDY, SAMPLE
from r3v.serve.context import in_context, shown
from r3v.serve.tokens import Listed, Tokens


@dataclass(frozen=True)
class Done:
    """An answer. `choices`: the candidates that are answered, the chosen one first.

    `tokens_in` are the tokens of the prompt, `tokens_out` all that were sampled and scored. `logprobs` are aligned with
    `choices`; empty where nobody asked.
    """

    choices: tuple[Candidate, ...]
    selection: Selection
    tokens_in: int
    tokens_out: int
    logprobs: tuple[Listed, ...] = ()


@dataclass(frozen=True)
class Solver:
    """Answers requests with the policy, words and notes of `selector`; `tokens` knows what the policy counts."""

    selector: Selector
    tokens: Tokens

    def __call__(self, asked: Sequence[Asked]) -> list[Done | Exception]:
        """An answer or an error for each request, in order. Requests with the same numbers are drawn together."""
        groups: dict[Any, list[int]] = {}
        for i, one in enumerate(asked):
            groups.setdefault((one.params, one.n, one.method, one.prompt), []).append(i)
        found: dict[int, Done | Exception] = {}
        for rows in groups.values():
            found |= dict(zip(rows, self._isolated([asked[i] for i in rows]), strict=True))
        self._forget([one.problem.id for one in asked])
        return [found[i] for i in range(len(asked))]

    def _forget(self, problems: Sequence[str]) -> None:
        """Problems of requests do not come again; what is remembered of them would grow without end."""
        self.tokens.forget(problems)
        if isinstance(self.selector.notes, Recall):
            self.selector.notes.forget()

    def _isolated(self, group: Sequence[Asked]) -> list[Done | Exception]:
        try:
            return list(self._group(group))
        except Exception as error:  # whatever one request sets off, even a fault of ours, is that request's alone
            if len(group) == 1:
                return [error]
        return [one for asked in group for one in self._isolated([asked])]

    def _group(self, group: Sequence[Asked]) -> list[Done]:
        first, before = group[0], {a.problem.id: a.before for a in group}
        words = self.selector.style
        words = replace(words, solve="") if first.prompt == "chat" else words
        selector = replace(self.selector, policy=in_context(self.selector.policy, before), style=words)
        prompts = solve_all([a.problem for a in group], words, selector.notes)
        drawn = selector.policy.generate(prompts, first.n, first.params)
        drawn = [[_stopped(c, a.stop) for c in row] for row, a in zip(drawn, group, strict=True)]
        if first.method in (GREEDY, SAMPLE):
            chosen = [_as_drawn(a, row) for a, row in zip(group, drawn, strict=True)]
        else:
            problems = [readable(a, row) for a, row in zip(group, drawn, strict=True)]
            chosen = selector.choose_many(first.method, problems, drawn)
        read = [self.tokens.read(shown(p, before), row[0]) for p, row in zip(prompts, drawn, strict=True)]
        return [self._done(*one) for one in zip(group, chosen, read, strict=True)]

    def _done(self, asked: Asked, chosen: Selection, tokens_in: int) -> Done:
        best, candidates, scores = _stopped(chosen.chosen, asked.stop), chosen.candidates, chosen.scores
        order = sorted(range(len(candidates)), key=lambda i: -scores[i])  # equal scores stay in the order drawn
        others = [candidates[i] for i in order if candidates[i] != best]
        choices = (best, *others)[: asked.shown]
        # A Selection counts ids, which not every server gives; what was scored besides is in no candidate.
        besides = chosen.tokens - sum(len(c.token_ids) for c in candidates)
        written = besides + sum(self.tokens.written(c) for c in candidates)
        listed = tuple(self.tokens.listed(choice) for choice in choices) if asked.logprobs else ()
        return Done(choices, chosen, tokens_in, written, listed)


def _as_drawn(asked: Asked, candidates: Sequence[Candidate]) -> Selection:
    """All candidates with equal scores, the first one chosen."""
    tokens = sum(len(c.token_ids) for c in candidates)
    scores = (1.0,) * len(candidates)
    return Selection(asked.problem.id, asked.method, candidates[0], None, scores, tuple(candidates), tokens)


def readable(asked: Asked, candidates: Sequence[Candidate]) -> Problem:
    """The problem with the kind by which its answers are told apart.

    `auto` is a number where more than half of the candidates name one, else text.
    """
    problem = asked.problem
    if asked.kind != "auto":
        return replace(problem, kind=asked.kind)
    numbers = sum(extract(problem, candidate.text) is not None for candidate in candidates)
    return problem if 2 * numbers > len(candidates) else replace(problem, kind="text")


def _stopped(candidate: Candidate, stop: Sequence[str]) -> Candidate:
    """The candidate up to the first of the texts in `stop`, which ends it as its own end would."""
    places = [place for text in stop if (place := candidate.text.find(text)) >= 0]
    return replace(candidate, text=candidate.text[: min(places)], stop="eos") if places else candidate
