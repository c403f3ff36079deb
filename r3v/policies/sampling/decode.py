"""Slot decoding: a fixed number of sequences at once; a finished one makes room for the next in line at once.

Prompts are prefilled a few ahead of need, those of similar length together; the samples of one prompt share its
prefill and, where the model can (`shared`), its keys and values. Nothing in the step loop runs once per slot:
draws, bookkeeping and stop tests are tensor operations, and Python looks only at what has finished.

Suffixes: S slots, V vocabulary, M most tokens of a sample (plus one column that swallows writes of finished
slots).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r3v.plan.serving import MOST
from r3v.policies.base import SamplingParams
from r3v.policies.model.calls import device_of, past_of, step_positions
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.forward import Prefill, prefill
from r3v.policies.model.structure import base_model
from r3v.policies.sampling.cache import SLACK, SlotCache, SlotMemory
from r3v.policies.sampling.draw import draw, mask_of
from r3v.policies.sampling.noise import SlotNoise
from r3v.policies.sampling.prefixes import Prefixes, place_of, scattered, together
from r3v.policies.sampling.scoring import KeptPrompts
from r3v.policies.sampling.shared import SharedCalls

PREFILL_PADDING = 1.15
"""Padded prompt tokens in one prefill for each real one, at most."""
FIRST_COLUMNS = 96
"""Columns of the slots' own tokens at first, on an accelerator."""


@dataclass(frozen=True)
class Job:
    """One prompt, the noise keys of its samples, and for arithmetic sampling their codes."""

    encoded: Encoded
    keys: tuple[int, ...]
    codes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sampled:
    """One finished sample: token ids (the stopping token included), their log-probabilities."""

    job: int
    sample: int
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class _Ready:
    job: int
    sample: int
    key: int
    code: float | None
    row: int
    start: Prefill


class Sampler:
    """Decodes jobs with one model. `slots` sequences at once, `ahead` prompts and `tokens` padded tokens in one
    prefill.

    `shared`: the model attends to each prompt's keys and values in one place (see `shared.why_not_shared`).
    `kept`: prefills to use again and to add to.
    """

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        params: SamplingParams,
        *,
        slots: int,
        ahead: int = 32,
        tokens: int = MOST.prefill_tokens,
        shared: bool = False,
        kept: KeptPrompts | None = None,
    ) -> None:
        self.model, self.encoder, self.params = model, encoder, params
        self.slots, self.ahead, self.tokens, self.kept = slots, ahead, tokens, kept
        self.calls = SharedCalls(model) if shared else None
        self.device = device_of(model)
        # Asking the accelerator whether anything has finished costs a wait, so it is not done at every token.
        self.check_every = 1 if self.device.type == "cpu" else 4

    def run(self, jobs: Sequence[Job]) -> Iterator[Sampled]:
        """Finished samples, in the order in which they finish."""
        for finished in self.steps(jobs):
            yield from finished

    def steps(self, jobs: Sequence[Job]) -> Iterator[list[Sampled]]:
        """Decode step by step: what had finished before each step, and at the end."""
        # Longest first: the last samples run in a batch that empties, where a long prompt would cost most.
        waiting = deque(sorted(enumerate(jobs), key=lambda pair: -len(pair[1].encoded.ids)))
        ready = self._prefill_some(waiting)
        if not ready:
            return
        self._open(ready[0].start, min(self.slots, sum(len(job.keys) for job in jobs)))
        free = list(range(len(self.owner)))
        taken = 0
        while True:
            self._refill(free, ready, waiting)
            finished: list[Sampled] = []
            if taken % self.check_every == 0:
                # A sample may end with its first token, and its slot be refilled by another such.
                while ended := self._finished():
                    finished += self._collect(ended)
                    free += ended
                    if ready or waiting:
                        self._refill(free, ready, waiting)
                if free:
                    free = self._shrink(free)
            yield finished
            if not self.memory.busy:
                return
            self._step()
            taken += 1

    # ---- state -----------------------------------------------------------------------------------

    def _open(self, like: Prefill, slots: int) -> None:
        most, device = self.params.max_new_tokens, self.device
        # With shared prompts the slots hold their own tokens alone. On a CPU columns that are not used take no memory;
        # elsewhere the block grows to what answers turn out to need.
        length = 0 if self.calls else int(like.keys.shape[3])
        room = min(most, FIRST_COLUMNS) if self.calls and device.type != "cpu" else most + SLACK
        self.memory = SlotMemory(like.keys[:, 0], slots, length + room)
        self.memory.now = length
        self.prefixes = Prefixes(slots) if self.calls else None
        self.past = past_of(self.model, SlotCache(self.memory))
        size = int(like.logits.shape[-1])
        self.stop_V = mask_of(self.encoder.stop_ids, size, device)
        banned = (*self.encoder.banned_ids, *range(len(self.encoder.tokenizer), size))
        self.banned_V = mask_of(banned, size, device)
        self.owner: list[_Ready | None] = [None] * slots
        self.token_S = torch.zeros(slots, dtype=torch.long, device=device)
        self.count_S = torch.zeros(slots, dtype=torch.long, device=device)
        self.position_S = torch.zeros(slots, dtype=torch.long, device=device)
        self.done_S = torch.ones(slots, dtype=torch.bool, device=device)
        self.ids_SM = torch.zeros(slots, most + 1, dtype=torch.long, device=device)
        self.logprobs_SM = torch.zeros(slots, most + 1, device=device)
        self.noise = SlotNoise(slots, most + 1, device)

    def _prefill_some(self, waiting: deque[tuple[int, Job]]) -> deque[_Ready]:
        batch: list[tuple[int, Job]] = []
        longest = tokens = 0
        while waiting and len(batch) < self.ahead:
            size = len(waiting[0][1].encoded.ids)
            longest, tokens = max(longest, size), tokens + size
            padded = longest * (len(batch) + 1)
            if batch and (padded > self.tokens or padded > PREFILL_PADDING * tokens):
                break
            batch.append(waiting.popleft())
        if not batch:
            return deque()
        starts = self._starts([job.encoded for _, job in batch])
        return deque(
            _Ready(index, sample, key, job.codes[sample] if job.codes else None, row, start)
            for (start, row), (index, job) in zip(starts, batch, strict=True)
            for sample, key in enumerate(job.keys)
        )

    def _starts(self, prompts: Sequence[Encoded]) -> list[tuple[Prefill, int]]:
        """Prefill and row of each prompt: a kept one, else computed now."""
        found = [None if self.kept is None else self.kept.same(prompt) for prompt in prompts]
        missing = [prompt for prompt, start in zip(prompts, found, strict=True) if start is None]
        fresh: Iterator[tuple[Prefill, int]] = iter(())
        if missing:
            start = prefill(self.model, self.encoder, missing)
            if self.kept is not None:
                self.kept.keep(missing, start)
            fresh = iter([(start, row) for row in range(len(missing))])
        starts = [next(fresh) if start is None else start for start in found]
        places = [place_of(*start) for start in starts]
        if self.calls is None or not scattered(places):
            return starts
        # They are read at every step, so they are brought together here once.
        length_R, position_R = ([getattr(s, name)[row] for s, row in starts] for name in ("length_R", "position_R"))
        logits = torch.stack([s.logits[row] for s, row in starts])
        joined = Prefill(*together(places), logits, tuple(length_R), tuple(position_R))
        return [(joined, row) for row in range(len(starts))]

    def _refill(self, free: list[int], ready: deque[_Ready], waiting: deque[tuple[int, Job]]) -> None:
        """Give free slots to the samples in line and draw their first tokens from the prefill's logits."""
        while free:
            if not ready:
                ready.extend(self._prefill_some(waiting))
            if not ready:
                return
            taken = [(free.pop(), ready.popleft()) for _ in range(min(len(free), len(ready)))]
            taken.sort(key=lambda pair: pair[0])
            for slot, item in taken:
                size = item.start.length_R[item.row]
                keys, values = item.start.keys[:, item.row], item.start.values[:, item.row]
                if self.prefixes is None:
                    self.memory.place(slot, keys[:, :, -size:], values[:, :, -size:])
                else:
                    self.prefixes.join(slot, item.job, item.start, item.row)
                    self.memory.place(slot, keys[:, :, :0], values[:, :, :0])
                self.owner[slot] = item
            rows = torch.tensor([slot for slot, _ in taken], device=self.device)
            self.noise.begin(rows, [item.key for _, item in taken], [item.code for _, item in taken])
            self.position_S[rows] = torch.tensor(
                [item.start.position_R[item.row] for _, item in taken], device=self.device
            )
            self.count_S[rows] = 0
            self.done_S[rows] = False
            self._emit(rows, torch.stack([item.start.logits[item.row] for _, item in taken]))

    def _shrink(self, free: list[int]) -> list[int]:
        """With nobody in line, give up idle rows once they are a quarter of the batch; the rows idle from then on."""
        busy = self.memory.busy
        if not busy or len(busy) * 4 > len(self.owner) * 3:
            return free
        # Slots at the end move into the gaps before them, all others stay where they are.
        last = iter(sorted((slot for slot in busy if slot >= len(busy)), reverse=True))
        busy = [slot if slot in busy else next(last) for slot in range(len(busy))]
        self.memory.keep(busy)
        if self.prefixes is not None:
            self.prefixes.keep(busy)
        self.owner = [self.owner[slot] for slot in busy]
        at = torch.tensor(busy, device=self.device)
        for name in ("token_S", "count_S", "position_S", "done_S", "ids_SM", "logprobs_SM"):
            setattr(self, name, getattr(self, name).index_select(0, at))
        self.noise.keep(at)
        return []

    # ---- one step --------------------------------------------------------------------------------

    def _step(self) -> None:
        memory = self.memory
        memory.make_room()
        logits = self._model_step()
        memory.now += 1
        self.position_S += 1
        self._emit(None, logits)

    def _model_step(self) -> Tensor:
        """Logits S V of the tokens drawn last."""
        memory = self.memory
        inputs = {
            "input_ids": self.token_S[:, None],
            "position_ids": step_positions(self.model, self.position_S),
            "use_cache": True,
            **self.past,
        }
        if self.calls is not None and self.prefixes is not None:
            return self.calls([self.prefixes.ancestor()], memory.bias(), memory.spans(), **inputs)[:, -1]
        return self.model(**inputs, attention_mask=memory.mask()).logits[:, -1]

    def _emit(self, rows: Tensor | None, logits: Tensor) -> None:
        """Draw a token for each of these rows (None: all) and note it, unless the row is done."""
        at = torch.arange(len(self.owner), device=self.device) if rows is None else rows
        count, done = self.count_S[at], self.done_S[at]
        drawn = draw(logits, self.noise.at(at, count), self.params, self.banned_V)
        self.noise.spend(at, count, drawn)
        column, token = torch.where(done, self.params.max_new_tokens, count), drawn.token_S
        self.ids_SM[at, column] = token
        self.logprobs_SM[at, column] = drawn.logprob_S
        count = count + (~done).long()
        self.count_S[at] = count
        self.token_S[at] = token
        self.done_S[at] = done | self._ended(at, token, count)

    def _ended(self, rows: Tensor, token: Tensor, count: Tensor) -> Tensor:
        """Which of these rows end with the token just drawn, their `count`-th."""
        return self.stop_V[token] | (count >= self.params.max_new_tokens)

    def _finished(self) -> list[int]:
        if not bool(self.done_S.any()):
            return []
        return [slot for slot in self.done_S.nonzero()[:, 0].tolist() if slot in self.memory.busy]

    def _collect(self, slots: list[int]) -> Iterator[Sampled]:
        if not slots:
            return
        at = torch.tensor(slots, device=self.device)
        counts = self.count_S[at].tolist()
        ids, logprobs = self.ids_SM[at].tolist(), self.logprobs_SM[at].tolist()
        self.memory.release(slots)
        if self.prefixes is not None:
            self.prefixes.leave(slots)
        for i, slot in enumerate(slots):
            item = self.owner[slot]
            self.owner[slot] = None
            if item is not None:
                n = counts[i]
                yield Sampled(item.job, item.sample, tuple(ids[i][:n]), tuple(logprobs[i][:n]))


def sample_plain(model: Any, encoder: Encoder, params: SamplingParams, job: Job, index: int) -> Iterator[Sampled]:
    """One prompt at a time, all its samples as one batch, with the model's own memory.

    For models whose layers remember something other than keys and values; same noise, same draws.
    """
    from transformers.cache_utils import DynamicCache

    from r3v.policies.model.calls import takes
    from r3v.policies.model.forward import inputs_of

    device, n = device_of(model), len(job.keys)
    cache = DynamicCache(config=base_model(model).config.get_text_config())
    past = past_of(model, cache)
    inputs, following = inputs_of(model, encoder, [job.encoded])
    if takes(model, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    logits = model(**inputs, **past, use_cache=True).logits[:, -1].expand(n, -1)
    cache.reorder_cache(torch.zeros(n, dtype=torch.long, device=device))  # pyright: ignore[reportArgumentType]
    size = int(logits.shape[-1])
    stop_V = mask_of(encoder.stop_ids, size, device)
    banned_V = mask_of((*encoder.banned_ids, *range(len(encoder.tokenizer), size)), size, device)
    noise, rows_S = SlotNoise(n, params.max_new_tokens, device), torch.arange(n, device=device)
    noise.begin(rows_S, job.keys, job.codes or (None,) * n)
    position_S = torch.full((n,), following[0], dtype=torch.long, device=device)
    mask_SL = inputs["attention_mask"].expand(n, -1)
    done_S = torch.zeros(n, dtype=torch.bool, device=device)
    count_S = torch.zeros(n, dtype=torch.long, device=device)
    drawn: list[tuple[Tensor, Tensor]] = []
    for step in range(params.max_new_tokens):
        place_S = torch.full((n,), step, device=device)
        found = draw(logits, noise.at(rows_S, place_S), params, banned_V)
        noise.spend(rows_S, place_S, found)
        token_S = found.token_S
        drawn.append((token_S, found.logprob_S))
        count_S += (~done_S).long()
        done_S |= stop_V[token_S]
        if step + 1 == params.max_new_tokens or bool(done_S.all()):
            break
        mask_SL = torch.cat([mask_SL, mask_SL.new_ones(n, 1)], dim=1)
        logits = model(
            input_ids=token_S[:, None],
            attention_mask=mask_SL,
            position_ids=step_positions(model, position_S),
            use_cache=True,
            **past,
        ).logits[:, -1]
        position_S = position_S + 1
    ids = torch.stack([t for t, _ in drawn], dim=1).tolist()
    logprobs = torch.stack([p for _, p in drawn], dim=1).tolist()
    for sample, count in enumerate(count_S.tolist()):
        yield Sampled(index, sample, tuple(ids[sample][:count]), tuple(logprobs[sample][:count]))
