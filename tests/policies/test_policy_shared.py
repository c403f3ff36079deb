"""Prompts shared by rows: same tokens, same log-probabilities as with a copy for each row, on every family that can."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from some_prompts import STYLE, problem, some_prompts
from tiny_models import FAMILIES, tiny

from r3v import prompts as words
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoded
from r3v.policies.model.forward import Prefill, batches
from r3v.policies.sampling import cache, decode
from r3v.policies.sampling.cache import SlotMemory
from r3v.policies.sampling.hf import HFPolicy
from r3v.policies.sampling.parts import parts_of
from r3v.policies.sampling.scoring import KeptPrompts, common_length, weights_state
from r3v.policies.sampling.shared import ancestor, attend, attend_step
from r3v.policies.sampling.sharing_check import why_not_shared
from r3v.records import Prompt

SHARING = tuple(family for family in FAMILIES if family != "gemma3")
TEXTS = ["2 + 3 = 5. Answer: 5", "Answer: 1", "no"]


def pair(family: str) -> tuple[HFPolicy, HFPolicy]:
    """One policy that shares prompts, and one that is told not to."""
    fast, plain = HFPolicy(tiny(family), slots=5), HFPolicy(tiny(family), slots=5)
    plain._shared = False
    return fast, plain


def select_prompts() -> list[Prompt]:
    """Orders of candidates of two problems, and a prompt that stands alone."""
    orders = [TEXTS, TEXTS[::-1], [TEXTS[1], TEXTS[0], TEXTS[2]]]
    some = [words.select(problem(i), STYLE, texts) for i in (0, 2) for texts in orders]
    return [*some, words.solve(problem(1), STYLE)]


@pytest.mark.parametrize("own_rows", [8, 2])
@pytest.mark.parametrize("family", SHARING)
def test_samples_are_those_of_rows_with_copies(family: str, own_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five slots read their own columns together, or two at a time from where the older of them began."""
    monkeypatch.setattr(cache, "OWN_ROWS", own_rows)
    monkeypatch.setattr(cache, "OWN_COLUMNS", 1)
    fast, plain = pair(family)
    params = SamplingParams(temperature=0.8, max_new_tokens=24)
    with torch.inference_mode():
        assert why_not_shared(fast.model) is None
    ours, expected = (policy.generate(some_prompts(), 4, params, seed=3) for policy in (fast, plain))
    assert fast._shared is True
    for left, right in zip((c for row in ours for c in row), (c for row in expected for c in row), strict=True):
        assert left.token_ids == right.token_ids
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-4)


@pytest.mark.parametrize("family", SHARING)
@pytest.mark.parametrize("sampled_before", [False, True])
def test_scores_of_a_tree_are_those_of_whole_rows(family: str, sampled_before: bool) -> None:
    """Roots computed for the scores, or kept from sampling the same problems."""
    fast, plain = pair(family)
    prompts = select_prompts()
    texts = [["[1] Answer: 5", "[2] Answer: 1", "None"]] * (len(prompts) - 2) + [["a longer one"], ["x", "Answer: 3"]]
    if sampled_before:
        fast.generate(some_prompts(), 2, SamplingParams(temperature=0.8, max_new_tokens=3))
        assert fast._kept._found
    for left, right in zip(fast.score(prompts, texts), plain.score(prompts, texts), strict=True):
        assert [s.token_ids for s in left] == [s.token_ids for s in right]
        for a, b in zip(left, right, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_a_model_that_cannot_share_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Gemma 3 has sliding windows."""
    policy = HFPolicy(tiny("gemma3"), slots=2)
    with caplog.at_level(logging.WARNING, logger="r3v.policies.sampling.hf"):
        for _ in range(2):
            policy.generate(some_prompts(1), 1, SamplingParams(max_new_tokens=2))
    assert [r.getMessage().count("sliding_attention") for r in caplog.records] == [1]


def test_attention_is_put_back_after_an_error() -> None:
    model = tiny("idefics3").model
    before = model.config.get_text_config()._attn_implementation
    policy = HFPolicy(tiny("idefics3"))
    assert policy.score(some_prompts(1), [["a"]])
    assert model.config.get_text_config()._attn_implementation == before
    module = next(m for m in model.modules() if hasattr(m, "layer_idx"))
    assert module.config._attn_implementation == before


def test_new_weights_forget_kept_prompts() -> None:
    """A trained weight is written to: scores follow, though the prompts are those that were sampled."""
    policy = HFPolicy(tiny("idefics3"), slots=4)
    head = policy.model.get_output_embeddings().weight
    params = SamplingParams(temperature=0.8, max_new_tokens=2)
    policy.generate(some_prompts(1), 1, params)
    before = weights_state(policy.model, policy.name)
    old = policy.score(some_prompts(1), [["Answer: 3"]])[0][0].total
    layer = next(m for m in policy.model.modules() if hasattr(m, "layer_idx"))
    kept = layer.v_proj.weight.detach().clone()
    try:
        with torch.no_grad():
            layer.v_proj.weight.mul_(1.5)
        assert weights_state(policy.model, policy.name) != before
        plain = HFPolicy(tiny("idefics3"), slots=4)
        plain._shared = False
        new = policy.score(some_prompts(1), [["Answer: 3"]])[0][0].total
        assert new == pytest.approx(plain.score(some_prompts(1), [["Answer: 3"]])[0][0].total, abs=1e-4)
        assert abs(new - old) > 1e-3
    finally:
        with torch.no_grad():
            layer.v_proj.weight.copy_(kept)
    assert head is policy.model.get_output_embeddings().weight


def test_a_prompt_asked_again_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy after samples: no prefill, same text as a policy that has seen nothing."""
    from r3v.policies.sampling import decode

    policy, greedy = HFPolicy(tiny("idefics3"), slots=4), SamplingParams(temperature=0, max_new_tokens=8)
    expected = HFPolicy(tiny("idefics3"), slots=4).generate(some_prompts(), 1, greedy)
    policy.generate(some_prompts(), 2, SamplingParams(temperature=0.8, max_new_tokens=8))
    monkeypatch.setattr(decode, "prefill", lambda *_: pytest.fail("the prompt was computed again"))
    again = policy.generate(some_prompts(), 1, greedy)
    assert [c.token_ids for row in again for c in row] == [c.token_ids for row in expected for c in row]


def start(rows: int, length: int) -> Prefill:
    """Keys and values of 64 bytes a row and column, logits of 4 bytes a row."""
    keys = torch.zeros(2, rows, 1, length, 4)
    return Prefill(keys, keys.clone(), torch.zeros(rows, 1), (length,) * rows, (length,) * rows)


def test_kept_prompts_have_a_limit_and_give_up_the_oldest() -> None:
    """Each block holds 2 * 2 * 3 * 4 * 4 = 192 bytes and 4 of logits; two fit into 400."""
    kept = KeptPrompts(limit=400)
    kept.begin("a")
    prompts = [Encoded((1, 2, n), {}, name) for n, name in enumerate("xyz")]
    for prompt in prompts:
        kept.keep([prompt], start(1, 3))
    assert kept.same(prompts[0]) is None
    found = kept.same(prompts[2])
    assert found is not None
    assert found[1] == 0
    alike = kept.most_alike("y", (1, 2, 9, 9))
    assert alike is not None
    assert alike[0] == 2
    kept.keep([prompts[0]], start(1, 300))
    assert kept.same(prompts[1]) is not None
    kept.begin("b")
    assert kept.same(prompts[1]) is None


def test_common_length() -> None:
    assert [common_length(a, b) for a, b in (((1, 2), (1, 3)), ((1, 2), (1, 2, 3)), ((), (1,)))] == [1, 2, 0]


def test_batches_keep_what_belongs_together() -> None:
    """Lengths alone would give 0 and 2 first; 2 belongs to the longer 3."""
    lengths = {0: 5, 1: 6, 2: 5, 3: 9}
    assert list(batches(lengths, 2, 100)) == [[0, 2], [1, 3]]
    assert list(batches(lengths, 2, 100, {2: "i", 3: "i"})) == [[0, 1], [2, 3]]


def test_longest_prompts_go_first_and_are_filled_beside_their_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four short prompts and two long ones, padding of at most 15 %: two batches, the long one first."""
    from r3v.policies.sampling import decode

    filled: list[list[int]] = []
    fill = decode.prefill

    def noted(model: Any, encoder: Any, encoded: Any) -> Prefill:
        filled.append([len(e.ids) for e in encoded])
        return fill(model, encoder, encoded)

    monkeypatch.setattr(decode, "prefill", noted)
    policy = HFPolicy(tiny("idefics3"), slots=2)
    prompts = [words.refine(problem(i), STYLE, "so " * (60 if i in (1, 4) else 1)) for i in range(6)]
    sizes = sorted((len(policy.encoder.prompt(p).ids) for p in prompts), reverse=True)
    assert sizes[1] > 1.2 * sizes[2]
    policy.generate(prompts, 1, SamplingParams(max_new_tokens=2))
    assert filled == [sizes[:2], sizes[2:]]


def test_slots_read_from_where_the_oldest_beside_them_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of slots that began at columns 10, 50 | 60, (idle) | 58, 61 | idle, idle of 100: low is 10. The second and
    third pair are less than 16 columns apart and go together, from 58; the idle ones need the newest column alone."""
    monkeypatch.setattr(cache, "OWN_ROWS", 2)
    memory = SlotMemory(torch.zeros(1, 1, 1, 1), slots=8, columns=128)
    memory.now, memory.start_S, memory.busy = 100, [10, 50, 60, 3, 58, 61, 0, 0], {0, 1, 2, 4, 5}
    memory._find_low()
    assert memory.spans() == ((0, 2, 0), (2, 6, 48), (6, 8, 90))


@pytest.mark.parametrize("start_S", [[4, 4, 0, 0], [4, 20, 0, 0]])
def test_idle_slots_beside_ones_that_see_all_columns(start_S: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two busy slots that began at column 4, or 4 and 20, and two idle ones of 30: with or without a bias, the busy
    ones attend to their own columns. By hand: softmax over their scores, weighing their values."""
    monkeypatch.setattr(cache, "OWN_ROWS", 2)
    generator = torch.Generator().manual_seed(3)
    memory = SlotMemory(torch.zeros(1, 2, 1, 4), slots=4, columns=64)
    memory.now, memory.start_S, memory.busy = 30, start_S, {0, 1}
    memory._find_low()
    assert memory.spans() == ((0, 2, 0), (2, 4, 26))
    assert (memory.bias() is None) == (start_S[1] == 4)
    keys, values = (torch.randn(4, 2, 27, 4, generator=generator) for _ in range(2))
    query = torch.randn(4, 2, 3, 4, generator=generator)
    found = attend_step(query, keys, values, [], memory.bias(), memory.spans(), 0, 0.5)
    for slot in memory.busy:
        first = start_S[slot] - 4
        weights = (0.5 * query[slot] @ keys[slot, :, first:].transpose(1, 2)).softmax(-1)
        torch.testing.assert_close(found[slot], weights @ values[slot, :, first:])


def test_slots_at_the_end_move_into_gaps() -> None:
    """Of four slots that began at columns 2, 0, 1, 3 of 5, the first and the last go on: the last moves to place 1."""
    memory = SlotMemory(torch.zeros(1, 1, 1, 2), slots=4, columns=8)
    memory.keys[...] = torch.arange(4.0)[None, :, None, None, None]
    memory.values[...] = -memory.keys
    memory.now, memory.start_S, memory.busy = 5, [2, 0, 1, 3], {0, 3}
    memory._find_low()
    memory.keep([0, 3])
    assert (memory.start_S, memory.busy, memory.low) == ([2, 3], {0, 1}, 2)
    assert memory.keys[0, :, 0, 2:5, 0].tolist() == [[0.0] * 3, [3.0] * 3]
    assert memory.values[0, :, 0, 2:5, 1].tolist() == [[0.0] * 3, [-3.0] * 3]
    with pytest.raises(ValueError, match="at their own place"):
        memory.keep([1, 0])


@pytest.mark.parametrize(
    ("sizes", "call", "expected"),
    [
        ([800, 790, 130, 128], 100, [(0, 2), (2, 4)]),  # 1,600 + 260 + 200 columns instead of 3,200 + 100
        ([800, 790, 130, 128], 2000, [(0, 4)]),  # 5,200 against 5,860
        ([0, 500, 0, 500, 0], 600, [(1, 4)]),  # 1,500 + 600, gap and all, against 1,000 + 1,200
        ([0, 500, 0, 500, 0], 400, [(1, 2), (3, 4)]),  # 1,000 + 800 against 1,500 + 400
        ([30], 100, [(0, 1)]),
    ],
)
def test_parts_are_the_cheapest_way_to_read_prompts(
    sizes: list[int], call: int, expected: list[tuple[int, int]]
) -> None:
    assert parts_of(sizes, call) == expected


@pytest.mark.parametrize(
    ("new", "dtype", "near"), [(1, torch.float32, 1e-5), (3, torch.float32, 1e-5), (1, torch.bfloat16, 3e-2)]
)
@pytest.mark.parametrize("apart", [False, True])
def test_merged_attention_equals_one_attention_over_everything(
    new: int, dtype: torch.dtype, near: float, apart: bool
) -> None:
    """Three rows, two blocks of 4 and 2 columns in one part or two, two query heads to a key head, the last new token
    of each row.
    """
    from r3v.policies.sampling import shared

    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    query, key, value = some(3, 4, new, 8), some(3, 2, new, 8), some(3, 2, new, 8)
    keys, values = some(1, 2, 2, 4, 8), some(1, 2, 2, 4, 8)
    parts: list[Any] = [(keys, values, [(0, 4), (1, 3)])]
    if apart:  # and a part between them that no row sees
        parts = [(keys[:, :1], values[:, :1], [(0, 4)]), (keys[:, 1:, :, 1:3], values[:, 1:, :, 1:3], [(0, 2)])]
        parts.insert(1, (keys, values, [(0, 4), (0, 4)]))
    block = ancestor(parts, [3, 0, 3] if apart else [1, 0, 1])
    module: Any = torch.nn.Module()
    module.layer_idx = 0
    token = shared._CALL.set(shared._Call([block], None))
    try:
        out, _ = attend(module, query, key, value, None, scaling=0.3)
    finally:
        shared._CALL.reset(token)
    for row, (b, span) in enumerate([(1, slice(1, 3)), (0, slice(0, 4)), (1, slice(1, 3))]):
        whole = torch.cat([keys[0, b][:, span], key[row]], dim=1).repeat_interleave(2, dim=0).float()
        weights = torch.cat([values[0, b][:, span], value[row]], dim=1).repeat_interleave(2, dim=0).float()
        scores = (query[row, :, -1:].float() @ whole.transpose(-1, -2)) * 0.3
        expected = (scores.softmax(-1) @ weights)[:, 0]
        torch.testing.assert_close(out[row, -1].float(), expected, atol=near, rtol=near)


def test_prompts_kept_one_by_one_are_brought_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six prompts sampled in six calls, then all at once: no prefill is computed, one copy is made, and the tokens are
    those of a policy that has kept nothing."""
    copies: list[int] = []
    together = decode.together

    def noting(places: Any) -> Any:
        copies.append(len(places))
        return together(places)

    monkeypatch.setattr(decode, "together", noting)
    policy, fresh = (HFPolicy(tiny("idefics3"), slots=4) for _ in range(2))
    prompts, params = some_prompts(6), SamplingParams(temperature=0.8, max_new_tokens=5)
    for prompt in prompts:
        policy.generate([prompt], 1, SamplingParams(max_new_tokens=1))
    assert copies == []
    with monkeypatch.context() as patch:
        patch.setattr(decode, "prefill", None)
        found = policy.generate(prompts, 2, params, seed=1)
    assert copies == [6]
    expected = fresh.generate(prompts, 2, params, seed=1)
    assert [c.token_ids for row in found for c in row] == [c.token_ids for row in expected for c in row]
