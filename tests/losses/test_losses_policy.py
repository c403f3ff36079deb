"""Policy-gradient losses and group advantages against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from losses_inputs import LN2, doubles, make_inputs

from r3v.losses import LossInputs, group_advantages, make_loss, reduce


def policy_inputs() -> LossInputs:
    """Two branches: two tokens with ratios 1.5 and 0.5 (A = 1), one token with ratio 1.5 (A = -2)."""
    return make_inputs(
        [-1.0, -1.0, -1.0],
        [0, 0, 1],
        ["reinforce", "reinforce"],
        old_T=doubles(-1 - math.log(1.5), -1 - math.log(0.5), -1 - math.log(1.5)),
        advantage_B=doubles(1.0, -2.0),
    )


def test_grpo_by_hand() -> None:
    """Clip 0.2: -min(1.5, 1.2) = -1.2; -min(0.5, 0.8) = -0.5; -min(-3, -2.4) = 3.

    Per branch: sums -1.7 and 3, divided by 2 and 1 tokens, mean over 2 branches: (-0.85 + 3) / 2 = 1.075,
    which is also what TRL's `((per_token_loss * mask).sum(-1) / mask.sum(-1)).mean()` gives. Clipped: 1
    of 3 tokens.
    """
    output = make_loss("grpo")(policy_inputs())
    torch.testing.assert_close(output.values_U, doubles(-1.7, 3.0))
    loss, metrics = reduce(output)
    assert float(loss.detach()) == pytest.approx(1.075)
    assert float(metrics["clipped"]) == pytest.approx(1 / 3)
    assert float(metrics["ratio"]) == pytest.approx(3.5 / 3)


def test_dr_grpo_by_hand() -> None:
    """The same sums over a constant length 10 and 2 branches: (-1.7 + 3) / 20 = 0.065."""
    loss, _ = reduce(make_loss("dr_grpo", max_tokens=10)(policy_inputs()))
    assert float(loss.detach()) == pytest.approx(0.065)


def test_dapo_by_hand() -> None:
    """Clip-higher 0.28: -1.28, -0.5, 3; mean over 3 tokens: 1.22 / 3."""
    loss, _ = reduce(make_loss("dapo")(policy_inputs()))
    assert float(loss.detach()) == pytest.approx(1.22 / 3)


def test_ratio_cap_by_hand() -> None:
    """A < 0 with ratio 1.5 is not bounded by the clip; ratio_cap 1.3 bounds it: -1.2, -0.5, 2.6 -> 0.9 /
    3.
    """
    loss, _ = reduce(make_loss("dapo", clip_high=0.2, ratio_cap=1.3)(policy_inputs()))
    assert float(loss.detach()) == pytest.approx(0.9 / 3)


def test_gspo_by_hand() -> None:
    """Sequence ratios: sqrt(1.5 * 0.5) = 0.8660254 and 1.5. Clip 0.1: A = 1 -> -0.8660254; A = -2 -> 3.

    Mean over 2 branches: (3 - 0.8660254) / 2 = 1.0669873. d/d logp of each token of branch 0: -s/2 per
    branch mean, so -0.8660254 / 2 / 2; of branch 1 (not clipped: the minimum is the raw term): 3 / 2.
    """
    inputs = policy_inputs()
    loss, _ = reduce(make_loss("gspo", clip_low=0.1, clip_high=0.1)(inputs))
    assert float(loss.detach()) == pytest.approx(1.0669873)
    loss.backward()
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-0.21650635, -0.21650635, 1.5), atol=1e-7, rtol=1e-6)


def test_cispo_by_hand() -> None:
    """Weights min(r, 1.2) = 1.2, 0.5, 1.2 detached, times -A log p (log p = -1): 1.2, 0.5, -2.4 -> -0.7 / 3.

    Every token keeps a gradient: -w A / 3 = -0.4, -1/6, 0.8.
    """
    inputs = policy_inputs()
    loss, _ = reduce(make_loss("cispo", weight_max=1.2)(inputs))
    assert float(loss.detach()) == pytest.approx(-0.7 / 3)
    loss.backward()
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-0.4, -1 / 6, 0.8))


def test_kl_term_by_hand() -> None:
    """log ref - log p = ln 2 on one token, 0 on the others: k3 = 2 - ln2 - 1 = 0.3068528; beta 0.3 over 3
    tokens.
    """
    inputs = replace(policy_inputs(), reference_T=doubles(-1 + LN2, -1.0, -1.0))
    plain, _ = reduce(make_loss("dapo")(inputs))
    with_kl, metrics = reduce(make_loss("dapo", beta=0.3)(inputs))
    assert float((with_kl - plain).detach()) == pytest.approx(0.3 * 0.3068528 / 3)
    assert float(metrics["kl"]) == pytest.approx(0.3068528 / 3)


def test_on_policy_gradient_is_the_policy_gradient() -> None:
    """Without old_T the ratio is 1, so d loss / d logp = -A / (tokens of the branch) / branches."""
    inputs = replace(policy_inputs(), old_T=None)
    reduce(make_loss("grpo")(inputs))[0].backward()
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-0.25, -0.25, 1.0))


def test_importance_multiplies_before_kl() -> None:
    """-1.28 * 1, -0.5 * 2, 3 * 0 = -2.28 over 3 tokens."""
    inputs = replace(policy_inputs(), importance_T=doubles(1.0, 2.0, 0.0))
    assert float(reduce(make_loss("dapo")(inputs))[0].detach()) == pytest.approx(-2.28 / 3)


def test_group_advantages_by_hand() -> None:
    """Group 7: rewards 1, 0, 0, mean 1/3, unbiased std sqrt(1/3) = 0.57735; group 9: all 1, so flagged
    and 0.
    """
    rewards_B = doubles(1, 1, 0, 0, 1)
    group_B = torch.tensor([7, 9, 7, 7, 9])
    found = group_advantages(rewards_B, group_B)
    high, low = (2 / 3) / (0.5773503 + 1e-4), (-1 / 3) / (0.5773503 + 1e-4)
    torch.testing.assert_close(found.advantage_B, doubles(high, 0, low, low, 0), atol=1e-6, rtol=1e-6)
    assert found.flat_B.tolist() == [False, True, False, False, True]
    unscaled = group_advantages(rewards_B, group_B, scale="none").advantage_B
    torch.testing.assert_close(unscaled, doubles(2 / 3, 0, -1 / 3, -1 / 3, 0))
    batch_std = math.sqrt((3 * 0.16 + 2 * 0.36) / 4)
    batch = group_advantages(rewards_B, group_B, scale="batch", epsilon=0.0).advantage_B
    torch.testing.assert_close(batch, doubles(2 / 3, 0, -1 / 3, -1 / 3, 0) / batch_std)


def test_group_advantages_leave_unscored_out() -> None:
    """NaN is "the grader could not say": mean of the others, (1 + 0) / 2, and advantage 0 for the
    unscored one.
    """
    found = group_advantages(doubles(1, float("nan"), 0), torch.tensor([0, 0, 0]), scale="none")
    torch.testing.assert_close(found.advantage_B, doubles(0.5, 0, -0.5))
    assert found.unscored_B.tolist() == [False, True, False]
    alone = group_advantages(doubles(1, float("nan")), torch.tensor([0, 0]))
    assert alone.advantage_B.tolist() == [0, 0]
    assert alone.flat_B.all()
