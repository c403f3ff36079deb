"""The check of shared keys catches every planted fault, in float32 and in bfloat16, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import tiny

from r3v.policies.model.tiny import random_tiny
from r3v.policies.sampling import cache, decode, prefixes, scoring, shared
from r3v.policies.sampling import sharing_check as check

FAULTS = ("other prompts", "positions", "scorer's positions", "earlier samples", "rows see each other")


def model_of(dtype: torch.dtype) -> Any:
    return random_tiny("idefics3", dtype=dtype)[0]


def plant(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one fault into the sampler, the scorer, or both."""
    if fault == "other prompts":
        # The rows of each block see its neighbour.
        own = prefixes.ancestor
        turned = lambda parts, block_R: own(  # noqa: E731
            parts, [None if b is None else (b + 1) % sum(len(s) for _, _, s in parts) for b in block_R]
        )
        monkeypatch.setattr(prefixes, "ancestor", turned)
    elif fault == "positions":
        steps = decode.step_positions
        monkeypatch.setattr(decode, "step_positions", lambda model, position_R: steps(model, position_R + 1))
    elif fault == "scorer's positions":
        inputs = scoring.TreeScorer._inputs
        monkeypatch.setattr(
            scoring.TreeScorer, "_inputs", lambda self, ids, places: inputs(self, ids, [p + 1 for p in places])
        )
    elif fault == "earlier samples":
        monkeypatch.setattr(cache.SlotMemory, "bias", lambda self: None)
    else:
        # Every row attends to the new tokens of the first.
        own_rows = shared.attend_rows

        def of_first(query: Any, key: Any, value: Any, *rest: Any) -> Any:
            key, value = (torch.cat([t, t[:1].expand_as(t)], 2) for t in (key, value))
            new = query.shape[2]
            return own_rows(torch.cat([query, query], 2), key, value, *rest)[:, :, new:]

        monkeypatch.setattr(shared, "attend_rows", of_first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(dtype)
    plant(fault, monkeypatch)
    with torch.inference_mode():
        assert "other log-probabilities" in str(check.compare(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nothing_is_found_where_nothing_is_wrong(dtype: torch.dtype) -> None:
    with torch.inference_mode():
        assert check.compare(model_of(dtype)) is None


def test_it_is_asked_once_for_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    model = tiny("llava").model
    monkeypatch.setattr(check, "_FOUND", type(check._FOUND)())
    monkeypatch.setattr(check, "compare", lambda model: asked.append(1))
    assert [check.why_other_numbers(model) for _ in range(3)] == [None] * 3
    assert len(asked) == 1


def test_at_least_three_hundred_tokens_of_uneven_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []
    own = check.agreement

    def noted(fast: Any, plain: Any, again: Any, *, half: bool) -> Any:
        sizes.append([len(b) for b in fast])
        return own(fast, plain, again, half=half)

    monkeypatch.setattr(check, "agreement", noted)
    with torch.inference_mode():
        assert check.compare(model_of(torch.float32)) is None
    assert sizes[0] == sizes[1]
    assert sum(sizes[0]) >= 300
    assert len(set(sizes[0])) > 5
