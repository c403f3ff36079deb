"""Does a model with shared keys and values say what it says without? Asked once for each model, before it is relied on.

The real sampler draws some twenty tokens for each of twenty rows, and the real scorer of trees scores them; both must
agree with the model's own forward over whole rows (`agreement`). The rows are random tokens: a fault of masks,
positions or rounding shows on any text.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from r3v.errors import EngineError
from r3v.policies.base import SamplingParams
from r3v.policies.model.agreement import agreement, jittered
from r3v.policies.model.encode import Encoded, has_three_positions
from r3v.policies.model.forward import continuation_logprobs, plain_logprobs, prefill
from r3v.policies.model.products import rounded
from r3v.policies.model.structure import base_model
from r3v.policies.sampling.decode import Job, Sampler
from r3v.policies.sampling.noise import noise_key
from r3v.policies.sampling.scoring import KeptPrompts, TreeScorer

COMMON, RESTS = 24, (9, 1, 17, 30)
"""Tokens that all prompts begin with, and what each has of its own."""
SAMPLES, NEW, SLOTS = 5, 40, 9
"""Samples of a prompt, most tokens of each, and slots, fewer than rows, so that finished ones are refilled."""
STOPS = 32
"""One of so many tokens ends a sample, so that samples are of uneven length: some 450 tokens in all."""
_KEY = "rows of random tokens"
_FOUND: weakref.WeakKeyDictionary[Any, dict[Any, str | None]] = weakref.WeakKeyDictionary()


def why_other_numbers(model: Any) -> str | None:
    """What `compare` finds wrong with shared keys, None where nothing; found out once for a model and its precision.

    Raises torch.OutOfMemoryError. Call it in evaluation mode without gradients.
    """
    base = base_model(model)
    known = _FOUND.setdefault(base, {})
    state = (base.dtype, torch.get_float32_matmul_precision(), base.config.get_text_config()._attn_implementation)
    if state not in known:
        known[state] = compare(model)
    return known[state]


def compare(model: Any) -> str | None:
    """Why sampling and scoring with shared keys are not what the model says by itself; None when they are."""
    base = base_model(model)
    half = rounded(base)
    encoder: Any = _Rows(model)
    prompts = encoder.prompts()
    jobs = [Job(e, tuple(noise_key(i, _KEY, s) for s in range(SAMPLES))) for i, e in enumerate(prompts)]
    params = SamplingParams(temperature=1.0, max_new_tokens=NEW)
    drawn = {(d.job, d.sample): d for d in Sampler(model, encoder, params, slots=SLOTS, shared=True).run(jobs)}
    rows = sorted(drawn)
    targets = [[drawn[i, s].ids for s in range(SAMPLES)] for i in range(len(prompts))]
    scores = TreeScorer(model, encoder, KeptPrompts(), rows=2 * SLOTS, logits=2**27).score(prompts, targets)
    plain = [torch.tensor(plain_logprobs(model, encoder, prompts[i], drawn[i, s].ids)) for i, s in rows]
    # The other plain way is the one taken where sharing is refused: padded prompts, a copy of each for its rows.
    with jittered(model):
        start = prefill(model, encoder, prompts)
        copies = continuation_logprobs(model, encoder, start, [(i, drawn[i, s].ids) for i, s in rows])
    again = [torch.tensor(line) for line in copies]
    ways = {
        "sampled": [torch.tensor(drawn[row].logprobs) for row in rows],
        "scored": [torch.tensor(scores[i][s]) for i, s in rows],
    }
    for name, fast in ways.items():
        found = agreement(fast, plain, again, half=half)
        if not found.ok:
            return f"other log-probabilities where they are {name} with shared keys ({found.describe()})"
    return None


class _Rows:
    """What the sampler and the scorer need of an encoder, for rows of random text tokens without pictures."""

    image_token_id = None

    def __init__(self, model: Any) -> None:
        config = base_model(model).config
        size = int(config.get_text_config().vocab_size)
        self.tokenizer = range(size)
        self.stop_ids = frozenset(range(STOPS // 2, size, STOPS))
        named = {
            value
            for part in (config, config.get_text_config())
            for name, value in vars(part).items()
            if name.endswith(("token_id", "token_index")) and isinstance(value, int)
        }
        self.banned_ids = tuple(sorted(i for i in named if 0 <= i < size))
        self._three = has_three_positions(model)

    def prompts(self) -> list[Encoded]:
        """Rows of uneven length that begin alike, the same for every model of this vocabulary."""
        may = torch.tensor(sorted(set(self.tokenizer) - set(self.banned_ids)))
        generator = torch.Generator().manual_seed(0)
        some = may[torch.randint(len(may), (COMMON + sum(RESTS),), generator=generator)].tolist()
        common, at, out = some[:COMMON], COMMON, []
        for n in RESTS:
            out.append(Encoded((*common, *some[at : at + n]), {}, _KEY))
            at += n
        return out

    def positions(self, model: Any, ids: Sequence[int], images: Mapping[str, Tensor]) -> Tensor:
        """They count."""
        row = torch.arange(len(ids))
        return row.expand(3, -1).clone() if self._three else row

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """There are none."""
        return {}


@torch.inference_mode()
def why_not_shared(model: Any) -> str | None:
    """Why a model cannot attend to shared blocks, None when it can: its layers must remember all they have seen, its
    attention must go through transformers' table, and what it then samples and scores must be what it says by itself
    (`sharing_check`). Raises torch.OutOfMemoryError. Call it in evaluation mode.
    """
    config = base_model(model).config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        return f"layers of kind {', '.join(sorted(kinds))}"
    try:
        return why_other_numbers(model)
    except torch.OutOfMemoryError:
        raise
    except (EngineError, NotImplementedError, TypeError, RuntimeError) as error:
        return f"attention that cannot be exchanged ({str(error).splitlines()[0][:120]})"
