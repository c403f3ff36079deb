"""`selector`: choose among N = 8 candidates with every order of them that self-selection knows.

Ours samples with the slot decoder and scores with the tree (image and question kept from sampling, one stem for each
order, one twig for each answer). The peer generates in its best static batch and scores every answer of every order
as a row of its own, in its best batch. The model is geoworld-tiny, because answers must differ for there to be
anything to choose; both score the same select prompts, those of our candidates.

The answers stand as "[2] Answer: 45" (`index_answer`); what the longer `solution` costs is told beside it.

Checked first: greedy text equal, probabilities of all answers equal to 1e-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from r3v.bench.generating import Transformers
from r3v.bench.harness import BenchError, Case, Result, Settings, measure, timed
from r3v.bench.sampler import compare_greedy
from r3v.data import load
from r3v.policies.base import Given, SamplingParams, Score
from r3v.policies.sampling.hf import HFPolicy
from r3v.policies.sampling.sharing_check import why_not_shared
from r3v.prompts import SelectTarget, solve_all, style
from r3v.records import Candidate, Prompt
from r3v.reflection.presets import PRESETS
from r3v.selection.selector import Selector, blind
from r3v.selection.selfselect import Match, group_answers, play
from r3v.settings.config import ModelConfig, SelectConfig

N = 8
PROBLEMS = 24
MOST = 96
PARAMS = SamplingParams(temperature=0.9, max_new_tokens=MOST)
ALL_ORDERS = 2 * N
ROWS = (16, 32, 64, 128)
SLOTS = (64, 128)
TARGETS: tuple[SelectTarget, ...] = ("index_answer", "solution")
"""What stands for an answer: the first is compared with the peer, both are told of in the details."""
SURE = float(PRESETS["r3v"].values["select.sure"])
"""What the preset that tells solutions again asks no second order above."""
EXTRA = 0.25
"""What selection may cost on top of sampling."""


def selector(settings: Settings) -> dict[str, Result]:
    """Case N8; what choosing costs on top of sampling is in its details."""
    policy = HFPolicy.from_config(ModelConfig(path="geoworld-tiny"), slots=64)
    policy.model.to(settings.device)
    with torch.inference_mode():
        side = Sides(policy, settings)
        result = measure(side.case(), settings)
        return {"N8": replace(result, details=side.details())}


class PeerPolicy:
    """transformers' `generate` and forward calls behind the Policy protocol."""

    name = "transformers"

    def __init__(self, model: Any, encoder: Any) -> None:
        self.encoder = encoder
        self.sampler, self.scorer = Transformers(model, encoder), Transformers(model, encoder)

    def generate(
        self,
        prompts: Sequence[Prompt],
        n: int,
        params: SamplingParams,
        *,
        seed: int = 0,
        round: int = 0,
        first_index: int = 0,
    ) -> list[list[Candidate]]:
        """Candidates without log-probabilities: `generate` would have to keep all its logits for them."""
        if params.temperature:
            torch.manual_seed(seed)
        encoded = [self.encoder.prompt(p) for p in prompts]
        with torch.inference_mode():
            found = self.sampler.sample(encoded, n, params.max_new_tokens, temperature=params.temperature)
        return [
            [self._candidate(p, first_index + k, ids, seed, round) for k, ids in enumerate(row)]
            for p, row in zip(prompts, found, strict=True)
        ]

    def _candidate(self, prompt: Prompt, index: int, ids: list[int], seed: int, round: int) -> Candidate:
        stopped = bool(ids) and ids[-1] in self.encoder.stop_ids
        return Candidate(
            problem_id=prompt.problem_id,
            round=round,
            index=index,
            seed=seed,
            text=self.encoder.decode(ids[:-1] if stopped else ids),
            token_ids=tuple(ids),
            logprobs=(0.0,) * len(ids),
            stop="eos" if stopped else "length",
            model=self.name,
            prompt_hash=prompt.hash,
            tokenizer=self.encoder.fingerprint,
        )

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        targets = [[self.encoder.sampled(reply) for reply in several] for several in continuations]
        with torch.inference_mode():
            found = self.scorer.score([self.encoder.prompt(p) for p in prompts], targets)
        return [
            [Score(ids, (total,)) for ids, total in zip(several, totals, strict=True)]
            for several, totals in zip(targets, found, strict=True)
        ]


class Sides:
    """Ours and the peer on the same problems."""

    def __init__(self, policy: HFPolicy, settings: Settings, *, problems: int = PROBLEMS) -> None:
        self.policy, self.settings = policy, settings
        self.problems = [blind(p) for p in load("geoworld:test", limit=problems)]
        self.style = style("short")
        self.prompts = solve_all(self.problems, self.style)
        self.target: SelectTarget = TARGETS[0]
        self.peer = PeerPolicy(policy.model, policy.encoder)
        self.calls = 0
        self.candidates = self.sample(ALL_ORDERS)
        self.answers = [group_answers(p, c) for p, c in zip(self.problems, self.candidates, strict=True)]

    def case(self) -> Case:
        self.choose_slots()
        self.peer.sampler.choose_rows(ROWS, lambda: self.peer.generate(self.prompts[:8], N, PARAMS))
        self.peer.scorer.choose_rows(ROWS, lambda: self.matches(self.peer, len(self.problems) // 3))
        return Case(
            ours=self.ours,
            peer=self.theirs,
            check=self.check,
            peer_name=f"transformers: generate ({self.peer.sampler.rows} rows), forward ({self.peer.scorer.rows} rows)",
            goal=4.0,
        )

    def choose_slots(self) -> None:
        """The number of slots that is fastest, as the peer's number of rows is chosen."""
        seconds = {}
        for self.policy.slots in SLOTS:
            seconds[self.policy.slots] = timed(lambda: self.choose(ALL_ORDERS), self.settings, times=3)
        self.policy.slots = min(SLOTS, key=lambda slots: seconds[slots])

    def selector(self, orders: int) -> Selector:
        """A selector that has seen nothing yet."""
        sure = 1.0 if orders == ALL_ORDERS or self.target == TARGETS[0] else SURE
        cfg = SelectConfig(n=N, permutations=orders, sure=sure, target=self.target, max_new_tokens=MOST)
        return Selector(self.policy, self.style, cfg)

    def sample(self, orders: int) -> list[list[Candidate]]:
        self.forget()
        return self.selector(orders).sample_candidates(self.problems, N, self.settings.seed)

    def choose(self, orders: int) -> float:
        """Sample and choose; the unit of work is a problem."""
        self.forget()
        self.selector(orders).select_many(self.problems, N, ["self_select"], self.settings.seed)
        return float(len(self.problems))

    def ours(self) -> float:
        return self.choose(ALL_ORDERS)

    def theirs(self) -> float:
        self.peer.generate(self.prompts, N, PARAMS, seed=self.settings.seed)
        self.matches(self.peer)
        return float(len(self.problems))

    def matches(self, policy: Any, limit: int | None = None) -> list[Match]:
        """Self-selection among our candidates, with the scores of `policy`."""
        cut = slice(limit)
        cfg = self.selector(ALL_ORDERS).cfg
        seed = self.settings.seed
        return play(policy, self.problems[cut], self.candidates[cut], self.answers[cut], self.style, cfg, False, seed)

    def forget(self) -> None:
        """A new name stands for new weights: prompts kept by the last call are not used again."""
        self.calls += 1
        self.policy.rename(f"bench:{self.calls}")

    def check(self) -> str:
        """Same greedy text, same probabilities of the same answers."""
        encoder, model = self.policy.encoder, self.policy.model
        some = [encoder.prompt(p) for p in self.prompts[:4]]
        how = {"shared": why_not_shared(model) is None}
        compare_greedy(model, encoder, some, **how, most=MOST)
        ours, theirs = self.matches(self.policy), self.matches(self.peer)
        gaps = [
            abs(a - b)
            for mine, other in zip(ours, theirs, strict=True)
            for a, b in zip((*mine.probabilities, mine.none), (*other.probabilities, other.none), strict=True)
        ]
        if max(gaps) > 1e-3:
            raise BenchError(f"selector: a probability is {max(gaps):.1e} off the peer's, expected at most 1e-3")
        return f"greedy text equal on {len(some)} prompts, {len(gaps)} probabilities within {max(gaps):.0e}"

    def details(self) -> dict[str, float | str]:
        """Sizes, and what choosing costs on top of sampling: with all orders and with the default number of them."""
        default = SelectConfig().permutations
        found: dict[str, float | str] = {
            "problems": float(len(self.problems)),
            "slots": float(self.policy.slots),
            "distinct_answers_mean": sum(map(len, self.answers)) / len(self.answers),
            "default_orders": float(default),
            "on_top_goal": EXTRA,
        }
        for self.target in TARGETS:
            for name, orders in (("all", ALL_ORDERS), ("default", default)):
                sampling = timed(lambda orders=orders: self.sample(orders), self.settings, times=3)
                both = timed(lambda orders=orders: self.choose(orders), self.settings, times=3)
                found[f"on_top_{self.target}_{name}_orders"] = both / sampling - 1
        self.target = TARGETS[0]
        return found
