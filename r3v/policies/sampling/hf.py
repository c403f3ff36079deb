"""`HFPolicy`: any transformers vision-language model, in process, behind the `Policy` protocol."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from r3v.plan.serving import Serving, serving
from r3v.policies.base import Given, SamplingParams, Score
from r3v.policies.model.adapters.taught import Usage
from r3v.policies.model.calls import device_of
from r3v.policies.model.encode import Encoded
from r3v.policies.model.forward import (
    batches,
    continuation_logprobs,
    plain_logprobs,
    prefill,
    sampling_mode,
    why_no_slots,
)
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.policies.model.room import no_room, tried
from r3v.policies.sampling.decode import Job, Sampled, Sampler, sample_plain
from r3v.policies.sampling.defaults import tell_defaults
from r3v.policies.sampling.length import check_length
from r3v.policies.sampling.noise import code, noise_key
from r3v.policies.sampling.pictures import check_sampling
from r3v.policies.sampling.scoring import KeptPrompts, TreeScorer, weights_state
from r3v.policies.sampling.sharing_check import why_not_shared
from r3v.records import Candidate, Prompt
from r3v.run.progress import answered
from r3v.settings.config import ModelConfig

log = logging.getLogger(__name__)

ENCODED_AHEAD = 256
"""Prompts whose pixels are held in memory at once."""
PREFILL_AHEAD = 32
"""Prompts in one prefill."""
HALVINGS = 6
"""Times that batches are halved where memory runs out, slots besides, before it is an error."""


class HFPolicy:
    """Samples and scores with a loaded model; `slots` sequences are decoded at once, fewer from then on where memory
    runs out.

    `name` identifies weights and adapter; give a fresh one after each change of the weights, because caches
    key on it. A model in training mode is put back into it after every call.
    """

    def __init__(self, loaded: Loaded, *, slots: int = 32, name: str | None = None) -> None:
        if slots < 1:
            raise ValueError(f"found slots={slots}, expected at least 1")
        self.loaded = loaded
        self.model, self.encoder = loaded.model, loaded.encoder
        self.slots = slots
        self._name = name or loaded.name
        self._plain_reason = why_no_slots(loaded.model)
        tell_defaults(loaded.model, loaded.config.path)
        self._warned = False
        self._halved = 0
        self._shared: bool | None = None
        self._kept = KeptPrompts()
        self._serving: dict[int, Serving] = {}

    @classmethod
    def from_config(
        cls, config: ModelConfig, *, slots: int = 32, dry_run: bool = False, usage: Usage | None = None
    ) -> HFPolicy:
        """Load the model of `config`; `usage` is what its adapter is checked against besides. Raises ModelError."""
        return cls(load(config, dry_run=dry_run, usage=usage), slots=slots)

    @property
    def name(self) -> str:
        return self._name

    def rename(self, name: str) -> None:
        """Give the policy a fresh name after its weights have changed."""
        self._name = name

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
        """`n` candidates per prompt; see `Policy.generate`.

        `token_ids` and `logprobs` include the stopping token. Log-probabilities are the model's own, over its
        whole vocabulary at temperature 1, whatever the sampling parameters. Where memory runs out, what has finished is
        kept and the rest goes on in smaller batches; raises EngineError when they cannot be smaller, and PromptError
        for a prompt that is longer than the model.
        """
        out: list[list[Candidate | None]] = [[None] * n for _ in prompts]
        if n < 1 or params.max_new_tokens < 1:
            raise ValueError(f"found n={n}, max_new_tokens={params.max_new_tokens}, expected at least 1 of each")
        indices = range(first_index, first_index + n)
        coded = indices if params.noise == "arithmetic" else ()
        with sampling_mode(self.model):
            for begin in range(0, len(prompts), ENCODED_AHEAD):
                part = prompts[begin : begin + ENCODED_AHEAD]
                jobs = [
                    Job(
                        self.encoder.prompt(prompt),
                        tuple(noise_key(seed, prompt.problem_id, index) for index in indices),
                        tuple(code(seed, prompt.problem_id, index) for index in coded),
                    )
                    for prompt in part
                ]
                check_length(self.model, self.encoder, part, [job.encoded for job in jobs])
                hashes = [prompt.hash for prompt in part]
                if not self.loaded.config.blank:
                    tried(lambda part=part: check_sampling(self.model, self.encoder, part))
                for done in self._run(jobs, params):
                    index = first_index + done.sample
                    out[begin + done.job][done.sample] = self._candidate(
                        part[done.job], hashes[done.job], done, index, seed, round
                    )
        return [[c for c in row if c is not None] for row in out]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Given]]) -> list[list[Score]]:
        """Log-probabilities of each continuation of each prompt, its end-of-turn token included; a candidate is
        scored as the ids that were sampled.

        Each prompt is computed once for all its continuations. Where memory runs out, batches become smaller; raises
        EngineError when they cannot, and PromptError for a prompt that is longer than the model with one of them.
        """
        if len(prompts) != len(continuations):
            raise ValueError(f"found {len(prompts)} prompts and {len(continuations)} lists of continuations")
        out: list[list[Score]] = [[] for _ in prompts]
        with sampling_mode(self.model):
            for begin in range(0, len(prompts), ENCODED_AHEAD):
                some = range(begin, min(begin + ENCODED_AHEAD, len(prompts)))
                encoded = {i: self.encoder.prompt(prompts[i]) for i in some if continuations[i]}
                targets = {i: [self.encoder.sampled(reply) for reply in continuations[i]] for i in encoded}
                longest = [max(map(len, several)) for several in targets.values()]
                check_length(self.model, self.encoder, [prompts[i] for i in encoded], list(encoded.values()), longest)
                while encoded:
                    for i, scores in self._score_some(encoded, targets):
                        out[i] = scores
                        del encoded[i]
        return out

    # ---- inside ----------------------------------------------------------------------------------

    def _run(self, jobs: Sequence[Job], params: SamplingParams) -> Iterator[Sampled]:
        """All samples of the jobs. A sample is a function of its noise alone, so one that is drawn again because memory
        ran out before it had finished is the same."""
        missing = {(job, sample) for job, some in enumerate(jobs) for sample in range(len(some.keys))}
        while missing:
            left, came_from = _left(jobs, missing)
            found: list[Sampled] = []
            fine, _ = tried(lambda left=left, found=found: self._draw(left, params, found))
            for done in found:
                job, samples = came_from[done.job]
                missing.discard((job, samples[done.sample]))
                yield replace(done, job=job, sample=samples[done.sample])
            if not fine:
                self._lower("while sampling", "sample.slots", "sample.max_new_tokens", "model.max_pixels")

    def _draw(self, jobs: Sequence[Job], params: SamplingParams, found: list[Sampled]) -> None:
        """Add the samples of the jobs to `found`, and tell of them, as they finish."""
        if self._plain_reason is None:
            shared = self._can_share()
            room = self._room(params.max_new_tokens)
            self._kept.begin(weights_state(self.model, self.name))
            options = {"slots": min(self.slots, room.slots), "shared": shared, "kept": self._kept}
            options |= {"ahead": max(1, PREFILL_AHEAD >> self._halved)}
            options |= {"tokens": max(1, room.prefill_tokens >> self._halved)}
            for done in Sampler(self.model, self.encoder, params, **options).run(jobs):
                found.append(done)
                answered(1, len(done.ids))
            return
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self.model).__name__} has {self._plain_reason}: prompts are sampled one after another",
                stacklevel=3,
            )
        for index, job in enumerate(jobs):
            for begin in range(0, len(job.keys), self.slots):
                part = slice(begin, begin + self.slots)
                some = replace(job, keys=job.keys[part], codes=job.codes[part])
                for done in sample_plain(self.model, self.encoder, params, some, index):
                    found.append(replace(done, sample=begin + done.sample))
                    answered(1, len(done.ids))

    def _room(self, new_tokens: int = 0) -> Serving:
        """How much is asked of the device at once, reckoned from what was free when it was first asked for."""
        if new_tokens not in self._serving:
            found = serving(self.model, new_tokens, device_of(self.model))
            if not self._serving:
                self._kept = KeptPrompts(found.kept_bytes)
            if found.slots < self.slots and new_tokens:
                log.warning(
                    "free memory holds %d answers of %d tokens at once, so sample.slots %d is cut to that",
                    found.slots, new_tokens, self.slots,
                )  # fmt: skip
            self._serving[new_tokens] = found
        return self._serving[new_tokens]

    def _lower(self, what: str, *fields: str) -> None:
        """Ask for half as much from now on. Raises EngineError where there is nothing left to halve."""
        if self.slots == 1 and self._halved >= HALVINGS:
            raise no_room(f"{what} with 1 slot", *fields)
        self._kept = KeptPrompts(self._room().kept_bytes >> (self._halved + 1))
        self._halved += 1
        self.slots = max(1, self.slots // 2)
        log.warning("the device ran out of memory %s: going on with %d slots and half the batch", what, self.slots)

    def _can_share(self) -> bool:
        """Whether the model attends to shared keys and values; found out once, and said where it does not."""
        if self._shared is None:
            fine, reason = tried(lambda: why_not_shared(self.model))
            if not fine:
                log.warning("memory ran out in the check of shared prompts: sharing is kept untested")
            self._shared = reason is None
            if reason is not None:
                log.warning(
                    "%s has %s: each sample holds a copy of its prompt (slower, same result)",
                    type(self.model).__name__,
                    reason,
                )
        return self._shared

    def _candidate(
        self, prompt: Prompt, prompt_hash: str, done: Sampled, index: int, seed: int, round: int
    ) -> Candidate:
        stopped = bool(done.ids) and done.ids[-1] in self.encoder.stop_ids
        return Candidate(
            problem_id=prompt.problem_id,
            round=round,
            index=index,
            seed=seed,
            text=self.encoder.decode(done.ids[:-1] if stopped else done.ids),
            token_ids=done.ids,
            logprobs=done.logprobs,
            stop="eos" if stopped else "length",
            model=self.name,
            prompt_hash=prompt_hash,
            tokenizer=self.encoder.fingerprint,
        )

    def _score_some(
        self, encoded: dict[int, Encoded], targets: dict[int, list[tuple[int, ...]]]
    ) -> Iterator[tuple[int, list[Score]]]:
        """Prompts by number with their scores, as many as memory allows with what is asked for now."""
        lengths = {i: len(e.ids) for i, e in encoded.items()}
        together = {i: e.image_key for i, e in encoded.items() if e.image_key}
        rows = self.slots if self._plain_reason is None else 1
        for batch in list(batches(lengths, rows, self._room().score_tokens >> self._halved, together)):
            some, texts = [encoded[i] for i in batch], [targets[i] for i in batch]
            fine, scored = tried(lambda some=some, texts=texts: self._score(some, texts))
            if not fine or scored is None:
                self._lower("while scoring", "sample.slots", "model.max_pixels", "select.max_new_tokens")
                return
            for i, ids, logprobs in zip(batch, texts, scored, strict=True):
                yield i, [Score(t, tuple(p)) for t, p in zip(ids, logprobs, strict=True)]

    def _score(
        self, encoded: Sequence[Encoded], targets: Sequence[Sequence[tuple[int, ...]]]
    ) -> list[list[list[float]]]:
        if self._plain_reason is not None:
            return [self._score_plain(encoded[0], targets[0])]
        logits = self._room().score_logits >> self._halved
        if self._can_share():
            self._kept.begin(weights_state(self.model, self.name))
            options = {"rows": 2 * self.slots, "logits": logits}
            return TreeScorer(self.model, self.encoder, self._kept, **options).score(encoded, targets)
        start = prefill(self.model, self.encoder, encoded)
        flat = [(row, ids) for row, several in enumerate(targets) for ids in several]
        longest = max(len(ids) for _, ids in flat)
        size = max(1, min(2 * self.slots, logits // (longest * int(start.logits.shape[-1]))))
        found: list[list[list[float]]] = [[] for _ in encoded]
        for begin in range(0, len(flat), size):
            part = flat[begin : begin + size]
            lines = continuation_logprobs(self.model, self.encoder, start, part)
            for (row, _), line in zip(part, lines, strict=True):
                found[row].append(line)
        return found

    def _score_plain(self, encoded: Encoded, targets: Sequence[tuple[int, ...]]) -> list[list[float]]:
        """Whole rows, one after another, for models whose memory cannot be repeated."""
        return [plain_logprobs(self.model, self.encoder, encoded, ids) for ids in targets]


def _left(jobs: Sequence[Job], missing: set[tuple[int, int]]) -> tuple[list[Job], list[tuple[int, list[int]]]]:
    """Jobs of the missing (job, sample) pairs, and of each its number among `jobs` and those of its samples."""
    left: list[Job] = []
    came_from: list[tuple[int, list[int]]] = []
    for number, job in enumerate(jobs):
        samples = [s for s in range(len(job.keys)) if (number, s) in missing]
        if samples:
            codes = tuple(job.codes[s] for s in samples) if job.codes else ()
            left.append(replace(job, keys=tuple(job.keys[s] for s in samples), codes=codes))
            came_from.append((number, samples))
    return left, came_from
