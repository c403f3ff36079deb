"""The policy-gradient losses against TRL's formulas on the same tensors, and the drift between two engines.

`trl_loss` is written out from TRL's documentation of GRPOTrainer ("Computing the loss", "Loss types"); the test of
TRL's own method runs where TRL is installed and is skipped, visibly, where it is not.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from losses_inputs import LN2, doubles, make_inputs
from torch import Tensor

from r3v.curriculum.reinforce.drift import Drift, measure, truncated_weights, watched
from r3v.curriculum.reinforce.groups import Group, examples_of
from r3v.curriculum.reinforce.rewards import Reward
from r3v.losses import LossInputs, group_advantages, kind_index, make_loss, reduce
from r3v.prompts import solve, style
from r3v.records import Candidate, Graded, Outcome, Problem, Verdict

LOSSES: dict[str, dict[str, Any]] = {
    "grpo": {"clip_low": 0.2, "clip_high": 0.2},
    "dr_grpo": {"clip_low": 0.2, "clip_high": 0.2, "max_tokens": 9},
    "dapo": {"clip_low": 0.2, "clip_high": 0.28, "ratio_cap": 1.4},
    "gspo": {"clip_low": 0.05, "clip_high": 0.04},
    "cispo": {"weight_max": 1.1},
}
BETA = 0.04


def tensors() -> dict[str, Tensor]:
    """6 completions of up to 7 tokens: log-probabilities (now, old, reference), mask, advantages, weights."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    now_BT = -normal(6, 7).abs() - 0.1
    mask_BT = torch.arange(7) < torch.tensor([7, 1, 4, 6, 3, 5])[:, None]
    return {
        "now": now_BT.requires_grad_(),
        "old": now_BT.detach() + 0.3 * normal(6, 7),
        "ref": now_BT.detach() + 0.4 * normal(6, 7),
        "mask": mask_BT,
        "advantage": normal(6),
        "importance": normal(6, 7).mul(0.3).exp().clamp(max=2.0),
    }


def ours(name: str, t: dict[str, Tensor]) -> Tensor:
    """Our loss on the same numbers, laid end to end."""
    mask = t["mask"]
    inputs = LossInputs(
        logprobs_T=t["now"][mask],
        branch_T=torch.arange(6)[:, None].expand(6, 7)[mask],
        mask_T=torch.ones(int(mask.sum()), dtype=torch.bool),
        kind_B=torch.full((6,), kind_index("reinforce")),
        weight_B=torch.ones(6, dtype=torch.float64),
        reference_T=t["ref"][mask],
        old_T=t["old"][mask],
        advantage_B=t["advantage"],
        importance_T=t["importance"][mask],
    )
    return reduce(make_loss(name, beta=BETA, **LOSSES[name])(inputs))[0]


def trl_loss(name: str, t: dict[str, Tensor]) -> Tensor:
    """TRL's documented formulas on padded (B, T) tensors."""
    o, mask, advantages = LOSSES[name], t["mask"].double(), t["advantage"][:, None]
    log_ratio = t["now"] - t["old"]
    if name == "gspo":
        log_ratio = ((log_ratio * mask).sum(-1) / mask.sum(-1)).unsqueeze(-1)
    ratio = log_ratio.exp()
    if name == "cispo":
        per_token = -ratio.clamp(max=o["weight_max"]).detach() * advantages * t["now"]
    else:
        clipped = ratio.clamp(1 - o["clip_low"], 1 + o["clip_high"])
        free = ratio.clamp(max=o["ratio_cap"]) if "ratio_cap" in o else ratio
        per_token = -torch.min(free * advantages, clipped * advantages)
    per_token = per_token * t["importance"]
    per_token = per_token + BETA * ((t["ref"] - t["now"]).exp() - (t["ref"] - t["now"]) - 1)
    if name in ("grpo", "gspo"):
        return ((per_token * mask).sum(-1) / mask.sum(-1)).mean()
    if name == "dr_grpo":
        return (per_token * mask).sum() / (6 * o["max_tokens"])
    return (per_token * mask).sum() / mask.sum()


def value_and_gradient(function: Any, name: str) -> tuple[float, Tensor]:
    t = tensors()
    loss = function(name, t)
    return float(loss.detach()), torch.autograd.grad(loss, t["now"])[0]


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_equal_to_trls_documented_formulas(name) -> None:
    (a, grad_a), (b, grad_b) = value_and_gradient(ours, name), value_and_gradient(trl_loss, name)
    assert a == pytest.approx(b, rel=1e-12)
    torch.testing.assert_close(grad_a, grad_b, rtol=1e-10, atol=1e-12)
    assert (grad_a[~tensors()["mask"]] == 0).all()
    assert grad_a[tensors()["mask"]].abs().max() > 1e-3


def trl_method(name: str, t: dict[str, Tensor]) -> Tensor:
    """GRPOTrainer._compute_loss on a stand-in for the trainer that holds just the settings and our tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.trainer.grpo_trainer import GRPOTrainer  # pyright: ignore[reportMissingImports]

    o = LOSSES[name]
    stand_in = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **more: (t["now"], torch.zeros(6, 7), None),
        loss_type="grpo" if name == "gspo" else name,
        importance_sampling_level="sequence" if name == "gspo" else "token",
        epsilon_low=o.get("clip_low", 0.2),
        epsilon_high=o.get("clip_high", o.get("weight_max")),
        beta=BETA,
        max_completion_length=o.get("max_tokens"),
        args=SimpleNamespace(delta=o.get("ratio_cap"), use_bias_correction_kl=False, steps_per_generation=1),
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        model=SimpleNamespace(training=False),
        current_gradient_accumulation_steps=1,
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics={"eval": defaultdict(list)},
    )
    mask = t["mask"].long()
    inputs = {
        "prompt_ids": mask[:, :1], "prompt_mask": mask[:, :1], "completion_ids": mask, "completion_mask": mask,
        "advantages": t["advantage"], "old_per_token_logps": t["old"], "ref_per_token_logps": t["ref"],
        "importance_sampling_ratio": t["importance"], "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    return GRPOTrainer._compute_loss(stand_in, None, inputs)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed (pip install 'r3v[bench]')")
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_equal_to_trl_itself(name) -> None:
    (a, grad_a), (b, grad_b) = value_and_gradient(ours, name), value_and_gradient(trl_method, name)
    assert a == pytest.approx(b, rel=1e-6)
    torch.testing.assert_close(grad_a, grad_b, rtol=1e-6, atol=1e-9)


def test_advantages_equal_trls_formula() -> None:
    """(reward - group mean) / (unbiased group deviation + 1e-4), NaN rewards ignored."""
    rewards = doubles(1.1, 0.0, 0.1, float("nan"), 0.5, 0.1, 1.1, 1.0)
    found = group_advantages(rewards, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])).advantage_B
    for rows in (slice(0, 3), slice(4, 8)):
        part = rewards[rows]
        torch.testing.assert_close(found[rows], (part - part.mean()) / (part.std() + 1e-4))
    assert found[3] == 0


def test_clip_gradients_by_hand() -> None:
    """One token a branch, A = 1, -1, 1, -1 with ratios 2, 2, 0.5, 0.5 and clip 0.2 / 0.28.

    A = 1 at 2: clipped at 1.28, gradient 0. A = -1 at 2: not bounded, value 2, d/dlogp = 2. A = 1 at 0.5: value -0.5,
    gradient -0.5. A = -1 at 0.5: clipped at 0.8, value 0.8, gradient 0. Means over 4 tokens.
    """
    inputs = make_inputs(
        [-1.0] * 4, [0, 1, 2, 3], ["reinforce"] * 4,
        old_T=doubles(-1 - LN2, -1 - LN2, -1 + LN2, -1 + LN2), advantage_B=doubles(1, -1, 1, -1),
    )  # fmt: skip
    loss, metrics = reduce(make_loss("dapo")(inputs))
    assert float(loss.detach()) == pytest.approx((-1.28 + 2 - 0.5 + 0.8) / 4)
    loss.backward()
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(0, 0.5, -0.125, 0))
    assert float(metrics["clipped"]) == 0.5


# ---- drift ---------------------------------------------------------------------------------------


def test_drift_by_hand() -> None:
    """d = ln 2, 0, -ln 2; the NaN token is unknown. Mean |d| = 2 ln 2 / 3; exp(d) - 1 - d: 1 - ln 2, 0, -1/2 + ln 2."""
    sampler = doubles(-1 - LN2, -1.0, -1 + LN2, float("nan"))
    found = measure(doubles(-1, -1, -1, -1), sampler)
    assert found.tokens == 3
    assert found.mean == pytest.approx(2 * LN2 / 3)
    assert found.max == pytest.approx(LN2)
    assert found.kl == pytest.approx(0.5 / 3)
    assert measure(doubles(-1), doubles(float("nan"))) == Drift()


def test_truncated_weights_by_hand() -> None:
    """exp(d) = 2 and 4 are cut at 1.5, 1/2 stays (nothing is raised), unknown tokens weigh 1."""
    trainer, sampler = doubles(-1, -1, -1, -1), doubles(-1 - LN2, -1 - 2 * LN2, -1 + LN2, float("nan"))
    torch.testing.assert_close(truncated_weights(trainer, sampler, 1.5), doubles(1.5, 1.5, 0.5, 1.0))


def test_watched_loss_is_the_loss_and_tells_the_drift() -> None:
    """|log p - old| = ln 2 on one of two reinforce tokens; the answer token is none of its business."""
    inputs = make_inputs(
        [-1.0, -1.0, -5.0], [0, 0, 1], ["reinforce", "answer"],
        old_T=doubles(-1 - LN2, -1.0, 0.0), advantage_B=doubles(1.0, 0.0),
    )  # fmt: skip
    plain, _ = reduce(make_loss("grpo")(inputs))
    loss, metrics = reduce(watched(make_loss("grpo"))(inputs))
    assert float(loss.detach()) == float(plain.detach())
    assert float(metrics["drift"]) == pytest.approx(LN2 / 2)
    assert "drift" not in reduce(watched(make_loss("grpo"))(replace(inputs, old_T=None)))[1]


# ---- branches ------------------------------------------------------------------------------------


def test_branches_carry_tokens_and_advantages() -> None:
    """Rewards 1, 0, none, 0 (cut off): mean 1/3, deviation sqrt(1/3). The unscored sample gives no branch, the cut-off
    one only where it is not masked, and the mean is the same either way."""
    problem = Problem("p", "What is 1 + 1?", "2", "number")
    outcomes = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNAVAILABLE, Outcome.UNPARSED)
    graded = tuple(
        Graded(
            Candidate("p", 1, i, 0, f"t{i}", (7, i), (-0.5, -0.25), "length" if i == 3 else "eos"),
            Verdict(outcome),
        )
        for i, outcome in enumerate(outcomes)
    )
    group = Group(
        problem, solve(problem, style("short")), graded, (Reward(1.0), Reward(0.0), Reward(None), Reward(0.0))
    )
    deviation = math.sqrt(1 / 3) + 1e-4
    kept = examples_of([group], "group", mask_truncated=False)
    assert [e.advantage for e in kept] == pytest.approx([2 / 3 / deviation, -1 / 3 / deviation, -1 / 3 / deviation])
    assert [(e.token_ids, e.logprobs, e.sources) for e in kept] == [
        ((7, i), (-0.5, -0.25), (f"p/1/{i}",)) for i in (0, 1, 3)
    ]
    masked = examples_of([group], "group", mask_truncated=True)
    assert masked == kept[:2]
    assert [e.advantage for e in examples_of([group], "none", mask_truncated=True)] == pytest.approx([2 / 3, -1 / 3])
    assert examples_of([], "group", mask_truncated=True) == []
