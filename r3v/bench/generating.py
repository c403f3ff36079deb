"""The peer of sampling and scoring: transformers' own `generate` and forward calls, used as well as they can be.

Rows are sorted by length, left-padded, and asked in static batches of the size that measured fastest. `generate`
encodes the image and the prompt again for each of its `num_return_sequences`, and a batch lasts as long as its
longest answer: that is what it does, nothing is added to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from r3v.policies.model.calls import takes
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.forward import inputs_of
from r3v.policies.sampling.draw import mask_of


class Ban(LogitsProcessor):
    """Tokens that may not be sampled, as one masked fill."""

    def __init__(self, banned_V: Tensor) -> None:
        self.banned_V = banned_V

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> Any:
        return scores.masked_fill(self.banned_V, -torch.inf)


class Lengths(StoppingCriteria):
    """Each row ends at a length given beforehand."""

    def __init__(self, prompt: int, lengths: Sequence[int], device: Any) -> None:
        self.ends = torch.tensor(lengths, device=device) + prompt

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> Any:
        return input_ids.shape[1] >= self.ends


class Transformers:
    """A model asked through transformers alone. `rows`: sequences in one call."""

    def __init__(self, model: Any, encoder: Encoder, rows: int = 32) -> None:
        self.model, self.encoder, self.rows = model, encoder, rows
        size = int(model.get_output_embeddings().weight.shape[0])
        banned = (*encoder.banned_ids, *range(len(encoder.tokenizer), size))
        self.device = next(model.parameters()).device
        self.ban = Ban(mask_of(banned, size, self.device))

    def sample(
        self,
        prompts: Sequence[Encoded],
        k: int,
        most: int,
        *,
        temperature: float = 0.9,
        lengths: Sequence[Sequence[int]] | None = None,
    ) -> list[list[list[int]]]:
        """`k` samples of each prompt, as token ids without padding; greedy at temperature 0.

        `lengths` per prompt and sample replace the stop tokens.
        """
        found: list[list[list[int]]] = [[] for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
        size = max(1, self.rows // k)
        for begin in range(0, len(order), size):
            part = order[begin : begin + size]
            wanted = None if lengths is None else [n for i in part for n in lengths[i]]
            rows = self._generate([prompts[i] for i in part], k, most, temperature, wanted)
            for n, i in enumerate(part):
                found[i] = rows[n * k : (n + 1) * k]
        return found

    def _generate(
        self, prompts: Sequence[Encoded], k: int, most: int, temperature: float, lengths: Sequence[int] | None
    ) -> list[list[int]]:
        inputs, _ = inputs_of(self.model, self.encoder, prompts)
        inputs.pop("position_ids")  # generate counts for itself
        before = int(inputs["input_ids"].shape[1])
        options: dict[str, Any] = {"do_sample": False} if temperature == 0 else {"do_sample": True, "top_k": 0}
        if temperature:
            options |= {"temperature": temperature, "top_p": 1.0, "num_return_sequences": k}
        stops = sorted(self.encoder.stop_ids)
        if lengths is not None:
            options["stopping_criteria"] = StoppingCriteriaList([Lengths(before, lengths, self.device)])
        ids = self.model.generate(
            **inputs,
            **options,
            max_new_tokens=most,
            eos_token_id=stops if lengths is None else None,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([self.ban]),
        )
        rows = ids[:, before:].tolist()
        if lengths is not None:
            return [row[:n] for row, n in zip(rows, lengths, strict=True)]
        return [_until(row, self.encoder.stop_ids) for row in rows]

    def score(self, prompts: Sequence[Encoded], targets: Sequence[Sequence[tuple[int, ...]]]) -> list[list[float]]:
        """Log-probability of each target of each prompt: one whole row for each, in batches of similar length."""
        flat = [(i, n, ids) for i, several in enumerate(targets) for n, ids in enumerate(several)]
        flat.sort(key=lambda item: len(prompts[item[0]].ids) + len(item[2]))
        found = [[0.0] * len(several) for several in targets]
        for begin in range(0, len(flat), self.rows):
            part = flat[begin : begin + self.rows]
            whole = [replace(prompts[i], ids=(*prompts[i].ids, *ids)) for i, _, ids in part]
            inputs, _ = inputs_of(self.model, self.encoder, whole)
            longest = max(len(ids) for _, _, ids in part) + 1
            if takes(self.model, "logits_to_keep"):
                inputs["logits_to_keep"] = longest
            logits_RTV = self.model(**inputs, use_cache=False).logits.float()
            for row, (i, n, ids) in enumerate(part):
                kept_TV = logits_RTV[row, -len(ids) - 1 : -1]
                at = torch.tensor(ids, device=self.device)[:, None]
                found[i][n] = float((kept_TV.gather(-1, at)[:, 0] - kept_TV.logsumexp(-1)).sum())
        return found

    def choose_rows(self, choices: Iterable[int], work: Any) -> dict[int, float]:
        """Try numbers of rows on `work`, keep the fastest; the seconds of each (one call after one to warm up)."""
        seconds: dict[int, float] = {}
        for rows in choices:
            self.rows = rows
            try:
                for _ in range(2):
                    start = time.perf_counter()
                    work()
                    seconds[rows] = time.perf_counter() - start
            except torch.OutOfMemoryError:
                seconds.pop(rows, None)
        self.rows = min(seconds, key=lambda r: seconds[r])
        return seconds


def _until(row: Sequence[int], stops: frozenset[int]) -> list[int]:
    """Up to the first stop token, which is included."""
    return list(row[: next((i + 1 for i, token in enumerate(row) if token in stops), len(row))])


def same_distribution(ours: Sequence[int], theirs: Sequence[int], bins: int = 12) -> float:
    """p of the chi-square test that two lists of tokens come from one distribution.

    Tokens are put into at most `bins` bins of about equal frequency, at least ten expected in each.
    """
    pooled: dict[int, int] = {}
    for token in (*ours, *theirs):
        pooled[token] = pooled.get(token, 0) + 1
    total = len(ours) + len(theirs)
    size = max(total / bins, 20.0)
    bin_of: dict[int, int] = {}
    current, filled = 0, 0
    for token in sorted(pooled, key=lambda t: (-pooled[t], t)):
        bin_of[token] = current
        filled += pooled[token]
        if filled >= size:
            current, filled = current + 1, 0
    if filled and current:  # a remainder too small to stand alone
        bin_of = {token: min(b, current - 1) for token, b in bin_of.items()}
    count = max(bin_of.values()) + 1
    if count < 2:
        return 1.0
    statistic = 0.0
    for b in range(count):
        a, c = (sum(bin_of[t] == b for t in some) for some in (ours, theirs))
        for seen, n in ((a, len(ours)), (c, len(theirs))):
            expected = (a + c) * n / total
            statistic += (seen - expected) ** 2 / expected
    return float(torch.special.gammaincc(torch.tensor((count - 1) / 2.0), torch.tensor(statistic / 2.0)))


def uneven_lengths(seed: int, n: int, low: int = 20, high: int = 200) -> list[int]:
    """n answer lengths between low and high, even in their logarithm: most are short, a few are long."""
    import random

    rng = random.Random(f"lengths {seed}")
    return [round(math.exp(rng.uniform(math.log(low), math.log(high)))) for _ in range(n)]
