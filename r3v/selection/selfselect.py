"""Self-selection: the model's own probability of each distinct answer, given all of them, over shuffled
orders.

What stands for an answer is its number ("[2] Answer: 45"), the answer alone, or a whole solution that gives it, told
again (`SelectConfig.target`). A small model that must name a number at once chooses hardly better than by chance;
telling a solution again lets it weigh every step, at the price of scoring more tokens (README, results).

Candidates are joined by answer first, so the prompt is short and no answer wins by being shown twice. The
answers are shown in several orders and each probability is put back to its answer, so that no place in the
list wins.

Several solutions may make a prompt that is longer than the model. Its problem is then decided by votes, in all orders,
and that is said.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass

from r3v import prompts as words
from r3v.errors import PromptError
from r3v.grading import extract
from r3v.policies.base import Choice, Chooser, Given, Policy, chosen_by_scores, text_of
from r3v.prompts import SelectTarget, Style
from r3v.records import LETTERS, Candidate, Problem, Prompt
from r3v.rollout.choose import by_answer, likeliest, problem_rng, told_again
from r3v.settings.config import SelectConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One distinct answer: its normal form, the candidates that gave it, and the most likely of them."""

    key: str
    members: tuple[int, ...]
    best: int


@dataclass(frozen=True, slots=True)
class Match:
    """The outcome of showing `answers` to the model: a probability for each (summing to 1), that of "none is
    right" before renormalising, the tokens scored, and how: by scores, or as `Choice.how` says (by votes if any
    order was)."""

    probabilities: tuple[float, ...]
    none: float
    tokens: int
    how: str = "scores"


def group_answers(problem: Problem, candidates: Sequence[Candidate]) -> list[Answer]:
    """Distinct answers in order of first appearance, as `by_answer` tells them apart."""
    answers = {text: extract(problem, text) for text in {candidate.text for candidate in candidates}}
    groups = by_answer(problem, [answers[candidate.text] for candidate in candidates])
    return [Answer(key, tuple(m), likeliest(candidates, m)) for key, m in groups.items()]


def shown_answer(problem: Problem, key: str, text: str, letters: bool) -> str:
    """An answer in the words in which select targets are trained: the option (or its letter), else as it was
    written.

    `text` is the candidate's; what follows its last "Answer:" is used where it names the same answer.
    """
    if problem.kind == "choice" and problem.choices and key in LETTERS[: len(problem.choices)]:
        return key if letters else problem.choices[LETTERS.index(key)]
    written = text.rsplit("Answer:", 1)[-1].strip().rstrip(".") if "Answer:" in text else ""
    if written and "\n" not in written and extract(problem, f"Answer: {written}") == key:
        return written
    return key


def orders(n: int, count: int, rng: random.Random) -> list[tuple[int, ...]]:
    """At most `count` different orders of n things: a random one, its reverse, its rotation, the reverse of
    that, ...

    Every even number of orders shows each thing at the same average place.
    """
    base = list(range(n))
    rng.shuffle(base)
    found: dict[tuple[int, ...], None] = {}
    for turn in range(n):
        order = base[turn:] + base[:turn]
        found[tuple(order)] = None
        found[tuple(reversed(order))] = None
    return list(found)[:count]


@dataclass(frozen=True, slots=True)
class _Request:
    """One order of one match: the prompt, its continuations, and which answer each of them stands for."""

    match: int
    order: tuple[int, ...]
    prompt: Prompt
    continuations: tuple[Given, ...]


def _requests(
    number: int,
    problem: Problem,
    candidates: Sequence[Candidate],
    answers: Sequence[Answer],
    style: Style,
    cfg: SelectConfig,
    letters: bool,
    seed: int,
) -> list[_Request]:
    rng = problem_rng(seed, problem.id, "select " + " ".join(a.key for a in answers))
    requests = []
    for order in orders(len(answers), cfg.permutations, rng):
        texts = [candidates[answers[i].best].text for i in order]
        continuations: list[Given] = [
            told_again(style, candidates[answers[i].best])
            if cfg.target == "solution"
            else words.select_target(style, place, shown_answer(problem, answers[i].key, text, letters), cfg.target)
            for place, (i, text) in enumerate(zip(order, texts, strict=True))
        ]
        if cfg.target != "answer":
            continuations.append(style.none_right)
        requests.append(_Request(number, order, words.select(problem, style, texts, cfg.target), tuple(continuations)))
    return requests


def _weigh(policy: Policy, requests: Sequence[_Request], target: SelectTarget, seed: int) -> list[Choice]:
    """A share for each continuation of each request: its probability among them, or what a Chooser says."""
    if not requests:
        return []
    prompts, options = [r.prompt for r in requests], [r.continuations for r in requests]
    if isinstance(policy, Chooser):
        told = [[text_of(option).strip() for option in several] for several in options]
        return policy.choose_index(prompts, told, seed=seed, solutions=target == "solution")
    return [chosen_by_scores(found, solutions=target == "solution") for found in policy.score(prompts, options)]


def _weigh_those_that_fit(
    policy: Policy, requests: list[_Request], target: SelectTarget, seed: int
) -> tuple[list[Choice], list[_Request]]:
    """Shares, and the requests they are of: all but those of problems with a prompt that the policy cannot take."""
    left = requests
    while True:
        try:
            return _weigh(policy, left, target, seed), left
        except PromptError as error:
            refused, why = set(error.problems) & {r.prompt.problem_id for r in left}, str(error)
            if not refused:
                raise
        log.warning("decided by votes: %d problems, because of %s", len(refused), why)
        left = [r for r in left if r.prompt.problem_id not in refused]


def play(
    policy: Policy,
    problems: Sequence[Problem],
    candidates_PN: Sequence[Sequence[Candidate]],
    answers_PA: Sequence[Sequence[Answer]],
    style: Style,
    cfg: SelectConfig,
    letters: bool,
    seed: int,
) -> list[Match]:
    """Score every match (problem, answers shown): all first orders in one call of the policy, and in another the
    further orders of those matches in which no answer had a share above `cfg.sure`; all in one where none can have. A
    single answer costs nothing.

    Suffixes: P matches, N candidates, A answers shown.
    """
    asked = {
        number: _requests(number, problem, candidates, answers, style, cfg, letters, seed)
        for number, (problem, candidates, answers) in enumerate(zip(problems, candidates_PN, answers_PA, strict=True))
        if len(answers) > 1
    }
    found = [_Found([0.0] * len(answers)) for answers in answers_PA]

    def ask(requests: list[_Request]) -> None:
        choices, left = _weigh_those_that_fit(policy, requests, cfg.target, seed)
        for match in {r.match for r in requests} - {r.match for r in left}:
            found[match].vote([len(answer.members) for answer in answers_PA[match]])
        for request, choice in zip(left, choices, strict=True):
            found[request.match].add(request, choice)

    if cfg.sure >= 1:
        ask([r for requests in asked.values() for r in requests])
        return [one.match() for one in found]
    ask([requests[0] for requests in asked.values()])
    ask([r for number, requests in asked.items() if found[number].share <= cfg.sure for r in requests[1:]])
    return [one.match() for one in found]


class _Found:
    """What the orders of one match said so far."""

    def __init__(self, sums: list[float]) -> None:
        self.sums, self.none, self.tokens, self.count = sums, 0.0, 0, 0
        self.ways: set[str] = set()

    def add(self, request: _Request, choice: Choice) -> None:
        for place, i in enumerate(request.order):
            self.sums[i] += choice.shares[place]
        self.none += sum(choice.shares[len(request.order) :])
        self.tokens += choice.tokens
        self.ways.add(choice.how)
        self.count += 1

    def vote(self, votes: Sequence[int]) -> None:
        """The candidates that gave each answer decide, whatever was added before."""
        self.sums, self.none, self.count, self.ways = [float(n) for n in votes], 0.0, 1, {"votes"}

    @property
    def share(self) -> float:
        """The largest share of an answer, "none" left out."""
        return max(self._shares())

    def _shares(self) -> list[float]:
        whole = sum(self.sums)
        return [s / whole if whole > 0 else 1.0 / len(self.sums) for s in self.sums]

    def match(self) -> Match:
        if not self.count:
            return Match(tuple(1.0 for _ in self.sums), 0.0, 0)
        how = "votes" if "votes" in self.ways else min(self.ways)
        return Match(tuple(self._shares()), self.none / self.count, self.tokens, how)
