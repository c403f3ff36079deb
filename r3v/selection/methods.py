"""The methods that choose one of N candidates: each a function of everything it may use, `Ask`, to
Selections.

The gold is not among it: the problems in an `Ask` have theirs replaced (`r3v.selection.selector.blind`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from r3v import prompts as words
from r3v.errors import ConfigError, PromptError
from r3v.grading import extract
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Notes, Style
from r3v.records import Candidate, Problem, Prompt
from r3v.selection.selfselect import Answer, Match, play
from r3v.settings.config import SelectConfig

Candidates = Sequence[Candidate]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a method chose. `scores` are aligned with `candidates`; higher is better, 0 for what cannot win.

    `answer` is the normalised answer of `chosen`, None if it names none. `tokens` are the tokens sampled and
    scored for this selection: the candidates and whatever the method asked besides.
    """

    problem_id: str
    method: str
    chosen: Candidate
    answer: str | None
    scores: tuple[float, ...]
    candidates: tuple[Candidate, ...]
    tokens: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a method may use. Lists are aligned: P problems, N candidates each, A distinct answers each.

    `memory` holds the matches already scored, so that self_select, fused and tournament share them.
    """

    policy: Policy
    style: Style
    cfg: SelectConfig
    letters: bool
    seed: int
    problems: list[Problem]
    candidates_PN: Sequence[Candidates]
    answers_PA: list[list[Answer]]
    memory: dict[Any, Match] = field(default_factory=dict)
    notes: Notes | None = None

    def play(self, rows: Sequence[int], answers_RA: Sequence[Sequence[Answer]]) -> list[Match]:
        """One match for each row; what the memory holds is not scored again."""
        shown = [
            (
                self.problems[i].id,
                self.seed,
                tuple((a.key, self.candidates_PN[i][a.best].text) for a in answers),
            )
            for i, answers in zip(rows, answers_RA, strict=True)
        ]
        new = [r for r, key in enumerate(shown) if key not in self.memory]
        matches = play(
            self.policy,
            [self.problems[rows[r]] for r in new],
            [self.candidates_PN[rows[r]] for r in new],
            [answers_RA[r] for r in new],
            self.style,
            self.cfg,
            self.letters,
            self.seed,
        )
        self.memory.update((shown[r], match) for r, match in zip(new, matches, strict=True))
        return [self.memory[key] for key in shown]

    def selection(
        self,
        row: int,
        method: str,
        best: int | Candidate,
        scores: Sequence[float],
        extra: int = 0,
        **details: Any,
    ) -> Selection:
        candidates = self.candidates_PN[row]
        chosen = candidates[best] if isinstance(best, int) else best
        answer = extract(self.problems[row], chosen.text)
        tokens = sum(len(c.token_ids) for c in candidates) + extra
        return Selection(
            self.problems[row].id, method, chosen, answer, tuple(scores), tuple(candidates), tokens, details
        )

    def unparsed(self, row: int, method: str) -> Selection:
        """No candidate names an answer: the most likely one, so that something is shown."""
        return _likelihood(self, row, method)


Method = Callable[[Ask], list[Selection]]


def best_of(scores: Sequence[float], candidates: Candidates, among: Sequence[int]) -> int:
    """Highest score; ties by mean log-probability, then by index."""
    return max(among, key=lambda i: (scores[i], candidates[i].mean_logprob, -i))


def _likelihood(ask: Ask, row: int, method: str = "likelihood") -> Selection:
    candidates = ask.candidates_PN[row]
    parsed = [i for answer in ask.answers_PA[row] for i in answer.members]
    scores = [c.mean_logprob if c.logprobs else 0.0 for c in candidates]
    return ask.selection(
        row,
        method,
        best_of([c.mean_logprob for c in candidates], candidates, parsed or range(len(candidates))),
        scores,
    )


def likelihood(ask: Ask) -> list[Selection]:
    """The candidate with the highest mean log-probability per token. Scores are those log-probabilities."""
    return [_likelihood(ask, row) for row in range(len(ask.problems))]


def _votes(answers: Sequence[Answer], n: int) -> list[float]:
    """Vote share of each candidate's answer among the candidates that name one."""
    parsed = sum(len(a.members) for a in answers)
    shares = [0.0] * n
    for answer in answers:
        for i in answer.members:
            shares[i] = len(answer.members) / parsed
    return shares


def _most_voted(candidates: Candidates, answers: Sequence[Answer]) -> Answer:
    """Ties are broken by the mean, over an answer's candidates, of the mean log-probability per token."""

    def rank(answer: Answer) -> tuple[int, float, int]:
        mean = sum(candidates[i].mean_logprob for i in answer.members) / len(answer.members)
        return len(answer.members), mean, -answer.members[0]

    return max(answers, key=rank)


def majority(ask: Ask) -> list[Selection]:
    """The answer most candidates give, fairly: normalised answers, ties by mean log-probability."""
    found = []
    for row, (candidates, answers) in enumerate(zip(ask.candidates_PN, ask.answers_PA, strict=True)):
        if not answers:
            found.append(ask.unparsed(row, "majority"))
            continue
        winner = _most_voted(candidates, answers)
        found.append(ask.selection(row, "majority", winner.best, _votes(answers, len(candidates))))
    return found


def first(ask: Ask) -> list[Selection]:
    """The first candidate, in the order they were drawn, that names an answer; where the choices are known, the first
    that names one of them. Scores are 1 for it and 0 for the others."""
    found = []
    for row, (candidates, answers) in enumerate(zip(ask.candidates_PN, ask.answers_PA, strict=True)):
        if not answers:
            found.append(ask.unparsed(row, "first"))
            continue
        best = min(i for answer in answers for i in answer.members)
        found.append(ask.selection(row, "first", best, [float(i == best) for i in range(len(candidates))]))
    return found


def _by_candidate(answers: Sequence[Answer], shares: Sequence[float], n: int) -> list[float]:
    scores = [0.0] * n
    for answer, share in zip(answers, shares, strict=True):
        for i in answer.members:
            scores[i] = share
    return scores


def _self_select(ask: Ask, method: str, vote_weight: float) -> list[Selection]:
    found = []
    matches = ask.play(range(len(ask.problems)), ask.answers_PA)
    for row, match in enumerate(matches):
        candidates, answers = ask.candidates_PN[row], ask.answers_PA[row]
        if not answers:
            found.append(ask.unparsed(row, method))
            continue
        own = _by_candidate(answers, match.probabilities, len(candidates))
        votes = _votes(answers, len(candidates))
        scores = [vote_weight * v + (1.0 - vote_weight) * p for v, p in zip(votes, own, strict=True)]
        best = best_of(scores, candidates, [a.best for a in answers])
        shares = dict(zip((a.key for a in answers), match.probabilities, strict=True))
        said = {"none": match.none, "self_select": shares, "how": match.how}
        found.append(ask.selection(row, method, best, scores, match.tokens, **said))
    return found


def self_select(ask: Ask) -> list[Selection]:
    """The model's own probability of each distinct answer given all of them, averaged over orders (R3V, made
    fair).

    `details["none"]` is the probability of "none of them is right"; the best candidate is chosen all the
    same.
    """
    return _self_select(ask, "self_select", 0.0)


def fused(ask: Ask) -> list[Selection]:
    """`cfg.fused_weight` times the vote share plus the rest times the self-select probability."""
    return _self_select(ask, "fused", ask.cfg.fused_weight)


def tournament(ask: Ask) -> list[Selection]:
    """Self-selection for many answers: groups of at most `cfg.group` by votes, winners meet until one is
    left.

    The score of an answer is the number of matches it won plus its probability in its last one.
    """
    size = ask.cfg.group
    if size < 2:
        raise ConfigError(f"found select.group {size}, expected at least 2")
    left = {
        row: sorted(answers, key=lambda a: -len(a.members)) for row, answers in enumerate(ask.answers_PA) if answers
    }
    scores: list[dict[str, float]] = [dict.fromkeys((a.key for a in answers), 0.0) for answers in ask.answers_PA]
    extra, level = [0] * len(scores), 0
    while any(len(answers) > 1 for answers in left.values()):
        played = [(row, g) for row, a in left.items() if len(a) > 1 for g in _groups(a, size)]
        winners: dict[int, list[Answer]] = {}
        for (row, group), match in zip(played, ask.play([r for r, _ in played], [g for _, g in played]), strict=True):
            for answer, share in zip(group, match.probabilities, strict=True):
                scores[row][answer.key] = level + share
            extra[row] += match.tokens
            best = max(range(len(group)), key=lambda i: match.probabilities[i])
            winners.setdefault(row, []).append(group[best])
        left.update(winners)
        level += 1
    found = []
    for row, answers in enumerate(ask.answers_PA):
        if not answers:
            found.append(ask.unparsed(row, "tournament"))
            continue
        shares = _by_candidate(answers, [scores[row][a.key] for a in answers], len(ask.candidates_PN[row]))
        found.append(ask.selection(row, "tournament", left[row][0].best, shares, extra[row], rounds=level))
    return found


def _groups(answers: Sequence[Answer], size: int) -> list[list[Answer]]:
    """As few groups of at most `size` as can be, dealt in turn so that the favourites meet late."""
    count = -(-len(answers) // size)
    return [list(answers[i::count]) for i in range(count)]


def refine(ask: Ask) -> list[Selection]:
    """Refine the majority's candidate until the model leaves the answer alone, at most `cfg.refine_rounds`
    times.

    A new answer is taken only when a further refinement confirms it; otherwise the majority's stands, as it does where
    a refine prompt is longer than the model.
    `details`: `first`, the answers in order (`trail`), `flips`, `confirmed`.
    """
    start = majority(ask)
    current = {row: s.chosen for row, s in enumerate(start) if s.answer is not None}
    trail = {row: [start[row].answer] for row in current}
    done: dict[int, Candidate] = {}
    extra = [0] * len(start)
    params = SamplingParams(temperature=0.0, max_new_tokens=ask.cfg.max_new_tokens)
    for _ in range(ask.cfg.refine_rounds):
        rows = [row for row in current if row not in done]
        if not rows:
            break
        prompts = {r: words.refine(ask.problems[r], ask.style, current[r].text) for r in rows}
        found_R, refused = _generate_those_that_fit(ask.policy, prompts, params, ask.seed)
        done |= {row: start[row].chosen for row in refused}
        for row, (answered,) in found_R.items():
            extra[row] += len(answered.token_ids)
            key = extract(ask.problems[row], answered.text)
            trail[row].append(key)
            if key is None:
                done[row] = start[row].chosen
            elif key == trail[row][-2]:
                done[row] = current[row]
            else:
                current[row] = answered
    found = []
    for row, first in enumerate(start):
        path = trail.get(row, [first.answer])
        chosen = done.get(row, first.chosen)
        confirmed = len(path) > 1 and path[-1] is not None and path[-1] == path[-2]
        flips = sum(a != b for a, b in pairwise(path))
        found.append(
            ask.selection(
                row,
                "refine",
                chosen,
                first.scores,
                extra[row],
                trail=path,
                flips=flips,
                confirmed=confirmed,
                first=first.answer,
            )
        )
    return found


def _generate_those_that_fit(
    policy: Policy, prompts: Mapping[int, Prompt], params: SamplingParams, seed: int
) -> tuple[dict[int, list[Candidate]], list[int]]:
    """One candidate of each prompt by its number, and the numbers of those that the policy cannot take."""
    left = dict(prompts)
    while True:
        try:
            found = policy.generate(list(left.values()), 1, params, seed=seed) if left else []
            return dict(zip(left, found, strict=True)), [row for row in prompts if row not in left]
        except PromptError as error:
            refused = set(error.problems) & {prompt.problem_id for prompt in left.values()}
            if not refused:
                raise
        left = {row: prompt for row, prompt in left.items() if prompt.problem_id not in refused}


def greedy(ask: Ask) -> list[Selection]:
    """One answer at temperature 0; the candidates are not used (and not counted)."""
    params = SamplingParams(temperature=0.0, max_new_tokens=ask.cfg.max_new_tokens)
    prompts = words.solve_all(ask.problems, ask.style, ask.notes)
    answered = ask.policy.generate(prompts, 1, params, seed=ask.seed) if prompts else []
    alone = replace(ask, candidates_PN=list(answered))
    return [alone.selection(row, "greedy", 0, [1.0]) for row in range(len(ask.problems))]


SELECTORS: dict[str, Method] = {
    "greedy": greedy,
    "majority": majority,
    "first": first,
    "likelihood": likelihood,
    "self_select": self_select,
    "fused": fused,
    "refine": refine,
    "tournament": tournament,
}
"""Methods that choose blind."""
