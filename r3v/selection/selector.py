"""Choose one of N candidates at test time. No method sees the gold answer except `oracle`, the upper bound.

That is built in: every other method is handed the problem with its gold replaced (`blind`).

    selector = Selector(policy, style, cfg)
    selector.select(problem, 8, "fused").answer

To compare methods on the same candidates: `sample_candidates` once, then `choose_many` for each method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.grading import extract, grade
from r3v.policies.base import Policy, SamplingParams
from r3v.prompts import Notes, Style
from r3v.records import Candidate, Problem
from r3v.selection.methods import SELECTORS, Ask, Candidates, Selection, best_of
from r3v.selection.selfselect import group_answers
from r3v.settings.config import Config, SelectConfig

__all__ = ["ORACLE", "SELECTORS", "Selection", "Selector", "blind", "selector_of"]

ORACLE = "oracle"
"""The upper bound: any candidate that is right, else the majority's. The only one that sees the gold."""

REMEMBERED = 4096
"""Matches a Selector keeps, so that self_select and fused on the same candidates are scored once."""


def blind(problem: Problem) -> Problem:
    """The problem with its gold replaced by a constant, so that no method can peek."""
    return replace(problem, answer="A" if problem.kind == "choice" else "0")


@dataclass(frozen=True)
class Selector:
    """Samples and chooses with any Policy.

    `letters`: targets name letters of choices (as `model.letters` when the model was trained). `notes` are shown
    wherever a problem is solved; candidates are compared without them.
    """

    policy: Policy
    style: Style
    cfg: SelectConfig = field(default_factory=SelectConfig)
    letters: bool = False
    notes: Notes | None = None
    _memory: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sample_candidates(self, problems: Sequence[Problem], n: int, seed: int = 0) -> list[list[Candidate]]:
        """`n` candidates of each problem, drawn as `cfg` says. Raises EngineError."""
        if n < 1:
            raise ConfigError(f"found n {n}, expected at least one candidate")
        cfg = self.cfg
        params = SamplingParams(cfg.temperature, cfg.top_p, cfg.top_k, cfg.max_new_tokens, cfg.noise)
        prompts = words.solve_all([blind(problem) for problem in problems], self.style, self.notes)
        return self.policy.generate(prompts, n, params, seed=seed) if prompts else []

    def choose_many(
        self, method: str, problems: Sequence[Problem], candidates_PN: Sequence[Candidates], seed: int = 0
    ) -> list[Selection]:
        """One Selection for each problem, all problems scored together. Raises ConfigError for an unknown
        method.
        """
        if method == ORACLE:
            return [self._oracle(p, c, seed) for p, c in zip(problems, candidates_PN, strict=True)]
        if method not in SELECTORS:
            known = ", ".join([*SELECTORS, ORACLE])
            raise ConfigError(f"found selector {method!r}, expected one of {known}")
        if self.cfg.permutations < 1 or not 0.0 <= self.cfg.fused_weight <= 1.0:
            raise ConfigError(
                f"found select.permutations {self.cfg.permutations} and select.fused_weight "
                f"{self.cfg.fused_weight}; "
                "expected at least 1, and a share from 0 to 1"
            )
        if any(not candidates for candidates in candidates_PN) and method != "greedy":
            raise ConfigError(f"selector {method!r} was given a problem without candidates; sample at least one")
        hidden = [blind(problem) for problem in problems]
        answers = [group_answers(p, c) for p, c in zip(hidden, candidates_PN, strict=True)]
        lists = [tuple(candidates) for candidates in candidates_PN]
        ask = Ask(
            self.policy, self.style, self.cfg, self.letters, seed, hidden, lists, answers, self._matches(), self.notes
        )
        return SELECTORS[method](ask)

    def _matches(self) -> dict[Any, Any]:
        """The matches of the present weights; forgotten when the policy's name changes or there are many."""
        if self._memory.get("policy") != self.policy.name or len(self._memory) > REMEMBERED:
            self._memory.clear()
            self._memory["policy"] = self.policy.name
        return self._memory

    def choose(self, method: str, problem: Problem, candidates: Candidates, seed: int = 0) -> Selection:
        """`choose_many` for one problem."""
        return self.choose_many(method, [problem], [candidates], seed)[0]

    def select_many(
        self, problems: Sequence[Problem], n: int, methods: Sequence[str], seed: int = 0
    ) -> dict[str, list[Selection]]:
        """Sample once, choose with every method: method -> one Selection for each problem."""
        wanted = any(method != "greedy" for method in methods)
        candidates = self.sample_candidates(problems, n, seed) if wanted else [[] for _ in problems]
        return {method: self.choose_many(method, problems, candidates, seed) for method in methods}

    def select(self, problem: Problem, n: int | None = None, method: str = "fused", seed: int = 0) -> Selection:
        """Sample `n` (default `cfg.n`) candidates of one problem and choose among them."""
        return self.select_many([problem], self.cfg.n if n is None else n, [method], seed)[method][0]

    def _oracle(self, problem: Problem, candidates: Candidates, seed: int) -> Selection:
        right = [float(grade(problem, candidate.text).correct) for candidate in candidates]
        chosen = self.choose("majority", problem, candidates, seed)
        if any(right):
            best = best_of(right, candidates, range(len(candidates)))
            chosen = replace(chosen, chosen=candidates[best], answer=extract(blind(problem), candidates[best].text))
        return replace(chosen, method=ORACLE, scores=tuple(right))


def selector_of(policy: Policy, config: Config, notes: Notes | None = None) -> Selector:
    """The Selector that the settings of a run or a command describe. Raises ConfigError."""
    return Selector(policy, words.style(config.model.prompt_style), config.select, config.model.letters, notes)
