"""`HFPolicy`: any transformers vision-language model, in process, behind the `Policy` protocol."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from r3v.errors import EngineError
from r3v.policies.base import SamplingParams, Score
from r3v.policies.model.encode import Encoded
from r3v.policies.model.forward import (
    batches,
    continuation_logprobs,
    plain_logprobs,
    prefill,
    sampling_mode,
    why_no_slots,
)
from r3v.policies.model.loading import Loaded, load
from r3v.policies.sampling.decode import Job, Sampled, Sampler, sample_plain
from r3v.policies.sampling.decoder import Decoder, why_no_decoder
from r3v.policies.sampling.decoder_fit import why_no_structure
from r3v.policies.sampling.noise import code, noise_key
from r3v.policies.sampling.scoring import KeptPrompts, TreeScorer, weights_state
from r3v.policies.sampling.shared import why_not_shared
from r3v.records import Candidate, Prompt
from r3v.run.progress import answered
from r3v.settings.config import ModelConfig

log = logging.getLogger(__name__)

SCORE_TOKENS = 16384
"""Padded prompt tokens in one scoring batch."""
SCORE_LOGITS = 2**27
"""Most logits (512 MB in float32) held at once while scoring."""
ENCODED_AHEAD = 256
"""Prompts whose pixels are held in memory at once."""


class HFPolicy:
    """Samples and scores with a loaded model; `slots` sequences are decoded at once.

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
        self._warned = False
        self._shared: bool | None = None
        self._decoder: Decoder | None = None
        self._decoder_asked = False
        self._kept = KeptPrompts()

    @classmethod
    def from_config(cls, config: ModelConfig, *, slots: int = 32, dry_run: bool = False) -> HFPolicy:
        """Load the model of `config`. Raises ModelError."""
        return cls(load(config, dry_run=dry_run), slots=slots)

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
        whole vocabulary at temperature 1, whatever the sampling parameters. Raises EngineError when memory
        runs out.
        """
        out: list[list[Candidate | None]] = [[None] * n for _ in prompts]
        if n < 1 or params.max_new_tokens < 1:
            raise ValueError(f"found n={n}, max_new_tokens={params.max_new_tokens}, expected at least 1 of each")
        indices = range(first_index, first_index + n)
        coded = indices if params.noise == "arithmetic" else ()
        with _memory_errors(self.slots), sampling_mode(self.model):
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
                hashes = [prompt.hash for prompt in part]
                for done in self._run(jobs, params):
                    answered(1, len(done.ids))
                    index = first_index + done.sample
                    out[begin + done.job][done.sample] = self._candidate(
                        part[done.job], hashes[done.job], done, index, seed, round
                    )
        return [[c for c in row if c is not None] for row in out]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[Score]]:
        """Log-probabilities of each continuation of each prompt, its end-of-turn token included.

        Each prompt is computed once for all its continuations. Raises EngineError when memory runs out.
        """
        if len(prompts) != len(continuations):
            raise ValueError(f"found {len(prompts)} prompts and {len(continuations)} lists of continuations")
        out: list[list[Score]] = [[] for _ in prompts]
        rows = self.slots if self._plain_reason is None else 1
        with _memory_errors(self.slots), sampling_mode(self.model):
            for begin in range(0, len(prompts), ENCODED_AHEAD):
                some = range(begin, min(begin + ENCODED_AHEAD, len(prompts)))
                encoded = {i: self.encoder.prompt(prompts[i]) for i in some if continuations[i]}
                lengths = {i: len(e.ids) for i, e in encoded.items()}
                together = {i: e.image_key for i, e in encoded.items() if e.image_key}
                for batch in batches(lengths, rows, SCORE_TOKENS, together):
                    targets = [[self.encoder.target(text) for text in continuations[i]] for i in batch]
                    if self._plain_reason is None:
                        scored = self._score([encoded[i] for i in batch], targets)
                    else:
                        scored = [self._score_plain(encoded[batch[0]], targets[0])]
                    for i, ids, logprobs in zip(batch, targets, scored, strict=True):
                        out[i] = [Score(t, tuple(p)) for t, p in zip(ids, logprobs, strict=True)]
        return out

    # ---- inside ----------------------------------------------------------------------------------

    def _run(self, jobs: Sequence[Job], params: SamplingParams) -> Iterator[Sampled]:
        if self._plain_reason is None:
            shared = self._can_share()
            self._kept.begin(weights_state(self.model, self.name))
            decoder = self.decoder() if shared else None
            options = {"slots": self.slots, "shared": shared, "kept": self._kept, "decoder": decoder}
            yield from Sampler(self.model, self.encoder, params, **options).run(jobs)
            return
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self.model).__name__} has {self._plain_reason}: prompts are sampled one after another",
                stacklevel=3,
            )
        for index, job in enumerate(jobs):
            yield from sample_plain(self.model, self.encoder, params, job, index)

    def _can_share(self) -> bool:
        """Whether the model attends to shared keys and values; found out once, and said where it does not."""
        if self._shared is None:
            reason = why_not_shared(self.model)
            self._shared = reason is None
            if reason is not None:
                log.warning(
                    "%s has %s: each sample holds a copy of its prompt (slower, same result)",
                    type(self.model).__name__,
                    reason,
                )
        return self._shared

    def decoder(self) -> Decoder | None:
        """A decoder of the present weights where one can stand for the model; found out once, and said where not."""
        if not self._decoder_asked:
            self._decoder_asked = True
            reason = why_no_decoder(self.model)
            if reason is None:
                self._decoder = Decoder(self.model)
            else:
                log.info("%s has %s: sampled and scored by its own forward", type(self.model).__name__, reason)
        # An adapter that could not be folded in this time, or a hook, may have changed what it stood for.
        if self._decoder is None or why_no_structure(self.model) is not None:
            return None
        self._decoder.refresh()
        return self._decoder

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
        )

    def _score(
        self, encoded: Sequence[Encoded], targets: Sequence[Sequence[tuple[int, ...]]]
    ) -> list[list[list[float]]]:
        if self._can_share():
            self._kept.begin(weights_state(self.model, self.name))
            options = {"rows": 2 * self.slots, "logits": SCORE_LOGITS, "decoder": self.decoder()}
            return TreeScorer(self.model, self.encoder, self._kept, **options).score(encoded, targets)
        start = prefill(self.model, self.encoder, encoded)
        flat = [(row, ids) for row, several in enumerate(targets) for ids in several]
        longest = max(len(ids) for _, ids in flat)
        size = max(1, min(2 * self.slots, SCORE_LOGITS // (longest * int(start.logits.shape[-1]))))
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


@contextmanager
def _memory_errors(slots: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"the device ran out of memory with {slots} slots: lower sample.slots or max_pixels, or use nf4"
        ) from error
