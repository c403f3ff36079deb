"""The policy-gradient losses behind the signature of verl's registry, against verl's own formula."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from r3v.losses import LOSSES
from r3v.losses.verl import AGGREGATION, verl_policy_loss


def verl_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    log_prob = -torch.rand(4, 5, generator=generator) - 0.05
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    advantage_B = torch.tensor([1.3, -0.7, 0.5, -2.0])
    return {
        "old_log_prob": log_prob - 0.6 * torch.randn(4, 5, generator=generator),
        "log_prob": log_prob.requires_grad_(),
        "advantages": advantage_B[:, None] * mask,
        "response_mask": mask,
    }


def verl_reference(batch: dict[str, Tensor], mode: str, low: float, high: float, dual: float) -> Tensor:
    """verl's documented clipped objective with its dual clip, and its three aggregations, written out."""
    ratio = torch.exp(batch["log_prob"] - batch["old_log_prob"])
    advantages, mask = batch["advantages"], batch["response_mask"].float()
    clipped = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))
    losses = torch.where(advantages < 0, torch.minimum(-advantages * dual, clipped), clipped)
    lengths = mask.sum(1)
    if mode == "token-mean":
        return (losses * mask).sum() / mask.sum()
    if mode == "seq-mean-token-mean":
        return ((losses * mask).sum(1) / lengths.clamp(min=1)).sum() / (lengths > 0).sum()
    return (losses * mask).sum() / (lengths > 0).sum() / mask.shape[1]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_verl_signature(name: str) -> None:
    """Same value and gradient as verl's vanilla loss under its config; an empty response changes nothing."""
    config = SimpleNamespace(
        clip_ratio=0.1, clip_ratio_low=None, clip_ratio_high=0.3, clip_ratio_c=1.5, global_batch_info={}
    )
    batch = verl_batch()
    expected = verl_reference(batch, AGGREGATION[name], 0.1, 0.3, 1.5)
    (expected_grad,) = torch.autograd.grad(expected, batch["log_prob"])
    loss, metrics = verl_policy_loss(name)(**batch, loss_agg_mode=AGGREGATION[name], config=config)
    (grad,) = torch.autograd.grad(loss, batch["log_prob"])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, expected_grad)
    assert 0 < metrics["actor/clipped"] < 1
    without_dual = verl_reference(batch, AGGREGATION[name], 0.1, 0.3, 1e9)
    assert float(without_dual.detach()) != pytest.approx(float(expected.detach())), "the dual clip was not tried"


@pytest.mark.parametrize("name", list(AGGREGATION))
def test_verl_data_parallel(name: str) -> None:
    """Two workers with the global counts: the mean of their losses is the loss of one worker with
    everything.
    """
    batch, loss = verl_batch(), verl_policy_loss(name)
    whole, _ = loss(**batch)
    info = {"dp_size": 2, "batch_num_tokens": 9, "global_batch_size": 3, "loss_scale_factor": 5}
    config = SimpleNamespace(global_batch_info=info)
    halves = [loss(**{k: v[rows] for k, v in batch.items()}, config=config)[0] for rows in ([0, 2], [1, 3])]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_verl_rollout_weights() -> None:
    """Weight 2 everywhere doubles the loss; per token it multiplies the token."""
    batch = verl_batch()
    loss, _ = verl_policy_loss("dapo")(**batch)
    doubled, _ = verl_policy_loss("dapo")(**batch, rollout_is_weights=torch.full((4, 5), 2.0))
    torch.testing.assert_close(doubled, 2 * loss)


def test_verl_refuses_what_it_would_ignore() -> None:
    batch = verl_batch()
    with pytest.raises(ValueError, match="found loss_agg_mode='token-mean', expected 'seq-mean-token-mean'"):
        verl_policy_loss("grpo")(**batch, loss_agg_mode="token-mean")
    with pytest.raises(ValueError, match="found 'nll'"):
        verl_policy_loss("nll")
    with pytest.raises(ValueError, match="advantages that differ within a response"):
        verl_policy_loss("grpo")(**{**batch, "advantages": torch.randn(4, 5)})
    with pytest.raises(ValueError, match="dp_size=2 without the global counts"):
        verl_policy_loss("grpo")(**batch, config=SimpleNamespace(global_batch_info={"dp_size": 2}))
    assert set(AGGREGATION) < set(LOSSES)
