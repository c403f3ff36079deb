"""Which of several given replies a model prefers, from its answers alone: for servers that cannot score.

The replies ("Solution [2] is right. ...") differ at one token, the index. Where the server names the likeliest
alternatives at each token of an answer, their probabilities at that place weigh the replies; otherwise the answers
are counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

from r3v.policies.base import Choice, SamplingParams
from r3v.policies.server.wire import TOP, Reply, Token

SPREAD = 0.05
"""Probability that may be split evenly among options for want of evidence before more answers are drawn."""
LONGEST = 256
"""Most tokens of an answer to a select prompt that are read."""
Ask = Callable[[Sequence[tuple[int, int]], SamplingParams, int], list[Reply]]
"""(prompt, index) pairs, how to sample, alternatives wanted at each token -> the answers, in order."""
_MARK = re.compile(r"\[(\d+)\]")
_LOOSE = re.compile(r"(?:solution|number|option|candidate)s?\s*(?:is|no\.?|#|:)?\s*\[?\(?(\d+)", re.IGNORECASE)


def common(a: str, b: str) -> int:
    """Length of the common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def decided_by(options: Sequence[str]) -> int:
    """Characters after which all options differ; an answer needs no more tokens than that to tell them apart."""
    return max((common(a, b) for i, a in enumerate(options) for b in options[:i]), default=0) + 1


def fits(option: str, text: str) -> bool:
    """Whether an answer that begins with `text` can be, or already is, this option.

    What follows a finished option must not lengthen its last word or number: "Answer: 1" is not in "Answer: 12".
    """
    text = text.lstrip()
    if option.startswith(text):
        return True
    rest = text[len(option) :]
    return text.startswith(option) and not (rest[0].isalnum() or (rest[0] in ".," and rest[1:2].isdigit()))


class Paths:
    """Answers of one prompt, token by token: for each text so far, the probabilities of what comes next."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = options
        self._next: dict[str, dict[str, float]] = {}

    def add(self, tokens: Iterable[Token]) -> bool:
        """Take an answer in; True where it became one single option."""
        text, alive = "", list(range(len(self._options)))
        for token in tokens:
            if len(alive) == 1:
                return True
            found = {t: math.exp(p) for t, p in token.top}
            found.setdefault(token.text, math.exp(token.logprob))
            self._next.setdefault(text, found)
            text += token.text
            alive = [i for i in alive if fits(self._options[i], text)]
            if not alive:
                return False
        return len(alive) == 1

    def shares(self) -> tuple[list[float], float]:
        """A share for each option, and how much of the whole had to be split evenly for want of an answer there.

        Probability that leads to no option is left out at each place, as if answers had been held to the options.
        """
        shares = [0.0] * len(self._options)
        even = self._descend("", list(range(len(shares))), 1.0, shares)
        return shares, even

    def _descend(self, text: str, alive: list[int], mass: float, shares: list[float]) -> float:
        if len(alive) == 1:
            shares[alive[0]] += mass
            return 0.0
        ways = []
        for token, p in self._next.get(text, {}).items():
            group = [i for i in alive if fits(self._options[i], text + token)]
            if group and token and p > 0:
                ways.append((text + token, group, p))
        whole = sum(p for _, _, p in ways)
        if not whole:
            for i in alive:
                shares[i] += mass / len(alive)
            return mass
        return sum(self._descend(further, group, mass * p / whole, shares) for further, group, p in ways)


def _begins(text: str, options: Sequence[str], chosen: int) -> bool:
    """Whether `text` shares the beginning of one option up to the end of the word that no other option has."""
    option = options[chosen]
    end = max(common(option, o) for i, o in enumerate(options) if i != chosen)
    while end < len(option) and option[end].isalnum():
        end += 1
    return text.startswith(option[:end]) and fits(option[:end], text)


def named_by(text: str, options: Sequence[str]) -> int | None:
    """The option an answer names in its own words, None where it names none or several.

    In this order: an option word for word, the beginning that only one option has, the number in brackets or
    after "solution", the text after "Answer:".
    """
    text = text.strip()
    whole = [i for i, option in enumerate(options) if text.startswith(option) and fits(option, text)]
    if whole:
        return max(whole, key=lambda i: len(options[i]))
    begun = [i for i in range(len(options)) if _begins(text, options, i)]
    if len(begun) == 1:
        return begun[0]
    numbers = {match.group(1): i for i, option in enumerate(options) if (match := _MARK.search(option))}
    for pattern in (_MARK, _LOOSE, re.compile(r"^\W*(\d+)\W*$")):
        said = {n for n in pattern.findall(text) if n in numbers}
        if len(said) == 1:
            return numbers[said.pop()]
    if "Answer:" in text:
        ends = [option.rsplit("Answer:", 1)[-1].strip() if "Answer:" in option else None for option in options]
        end = text.rsplit("Answer:", 1)[-1].strip().rstrip(".")
        if ends.count(end) == 1:
            return ends.index(end)
    return None


def by_votes(texts: Sequence[str], options: Sequence[str]) -> list[float]:
    """The share of each option among the answers that name one; even shares where none does."""
    named = [i for i in (named_by(text, options) for text in texts) if i is not None]
    if not named:
        return [1.0 / len(options)] * len(options)
    return [named.count(i) / len(named) for i in range(len(options))]


def choose_by_logprobs(ask: Ask, options: Sequence[Sequence[str]], extra: int) -> dict[int, Choice]:
    """Prompt -> Choice by the alternatives of a greedy answer; where those leave much open, of `extra` sampled
    ones too ("None" says nothing of how likely each index would have been).

    Prompts are missing whose answer comes without alternatives or is none of the options.
    """
    paths = [Paths(o) for o in options]
    length = [min(decided_by(o) + 2, LONGEST) for o in options]
    tokens = [0] * len(options)

    def answers(wanted: Sequence[tuple[int, int]], temperature: float) -> list[tuple[int, Reply]]:
        found: list[tuple[int, Reply]] = []
        for size in sorted({length[p] for p, _ in wanted}):
            part = [(p, i) for p, i in wanted if length[p] == size]
            replies = ask(part, SamplingParams(temperature=temperature, max_new_tokens=size), TOP)
            found += [(p, reply) for (p, _), reply in zip(part, replies, strict=True)]
        for p, reply in found:
            tokens[p] += reply.tokens_out
        return found

    first = answers([(p, 0) for p in range(len(options))], 0.0)
    sure = [p for p, r in first if any(t.top for t in r.tokens) and paths[p].add(r.tokens)]
    unclear = [p for p in sure if paths[p].shares()[1] > SPREAD]
    for p, reply in answers([(p, i + 1) for p in unclear for i in range(extra)], 1.0):
        paths[p].add(reply.tokens)
    return {p: Choice(tuple(paths[p].shares()[0]), "logprobs", tokens[p]) for p in sure}


def choose_by_votes(ask: Ask, rows: Sequence[int], options: Sequence[Sequence[str]], votes: int) -> dict[int, Choice]:
    """Prompt -> Choice by `votes` answers sampled at temperature 1, for the prompts `rows`."""
    asked = [(p, i + 1) for p in rows for i in range(votes)]
    replies: dict[int, list[Reply]] = {p: [] for p in rows}
    params = SamplingParams(temperature=1.0, max_new_tokens=LONGEST)
    for (p, _), reply in zip(asked, ask(asked, params, 0), strict=True):
        replies[p].append(reply)
    return {
        p: Choice(tuple(by_votes([r.text for r in found], options[p])), "votes", sum(r.tokens_out for r in found))
        for p, found in replies.items()
    }
