"""`loss-head`: log-probabilities of 4,096 target positions over a vocabulary of 150,000, against plain logits.

Ours takes hidden states and a frozen head chunk by chunk (`losses.logprobs.from_hidden`); the peer builds all
logits and calls torch's cross-entropy. Memory is the peak of a fresh process above what it held before the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from r3v.bench.harness import BenchError, Case, Result, Settings, compared, in_fresh_process, measure, peak_memory
from r3v.losses import from_hidden

TOKENS, VOCABULARY, WIDTH = 4096, 150_000, 512
GOAL_TIME, GOAL_MEMORY = 1 / 1.05, 4.0


def loss_head(settings: Settings) -> dict[str, Result]:
    """Case `time` (speed ratio) and case `memory` (the peer's peak memory over ours)."""
    dtype = "bfloat16" if settings.device == "cuda" else "float32"
    found = {"time": _time(settings, dtype)}
    peaks = {
        side: in_fresh_process("r3v.bench.loss_head:peak", side=side, device=settings.device, dtype=dtype)[0]
        for side in ("ours", "peer")
    }
    found["memory"] = compared(
        [peaks["peer"]["above"] / peaks["ours"]["above"]],
        "plain logits and cross-entropy",
        goal=GOAL_MEMORY,
        check="peak of a fresh process above inputs and weights",
        details={f"{side}_{name}": value for side, peak in peaks.items() for name, value in peak.items()},
    )
    return found


def _time(settings: Settings, dtype: str) -> Result:
    tensors = inputs(settings.device, dtype)
    case = Case(
        ours=lambda: _backward(_ours(*tensors)),
        peer=lambda: _backward(_plain(*tensors)),
        check=lambda: _same(tensors, 2e-2 if dtype == "bfloat16" else 1e-4),
        peer_name="plain logits and cross-entropy",
        limit=1.0,
        goal=GOAL_TIME,
    )
    return measure(case, settings)


def inputs(
    device: str, dtype: str, tokens: int = TOKENS, vocabulary: int = VOCABULARY
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states that want a gradient, a frozen head, targets."""
    generator = torch.Generator().manual_seed(0)
    kind: torch.dtype = getattr(torch, dtype)
    hidden_TH = torch.randn(tokens, WIDTH, generator=generator).to(device, kind).requires_grad_()
    weight_VH = (torch.randn(vocabulary, WIDTH, generator=generator) * 0.05).to(device, kind)
    return hidden_TH, weight_VH, torch.randint(vocabulary, (tokens,), generator=generator).to(device)


def _ours(hidden_TH: Tensor, weight_VH: Tensor, target_T: Tensor) -> tuple[Tensor, Tensor]:
    return -from_hidden(hidden_TH, weight_VH, target_T).mean(), hidden_TH


def _plain(hidden_TH: Tensor, weight_VH: Tensor, target_T: Tensor) -> tuple[Tensor, Tensor]:
    logits_TV = torch.nn.functional.linear(hidden_TH, weight_VH).float()
    return torch.nn.functional.cross_entropy(logits_TV, target_T), hidden_TH


def _backward(found: tuple[Tensor, Tensor]) -> float:
    loss, hidden_TH = found
    loss.backward()
    hidden_TH.grad = None
    return float(hidden_TH.shape[0])


def _same(tensors: tuple[Tensor, Tensor, Tensor], tolerance: float) -> str:
    gradients, losses = [], []
    for side in (_ours, _plain):
        loss, hidden_TH = side(*tensors)
        gradients.append(torch.autograd.grad(loss, hidden_TH)[0].float())
        losses.append(float(loss.detach()))
    difference = float((gradients[0] - gradients[1]).norm() / gradients[1].norm())
    if abs(losses[0] - losses[1]) > tolerance * losses[1] or not difference <= tolerance:
        raise BenchError(f"loss-head: found losses {losses}, gradients differ by {difference:.1e}")
    return f"loss {losses[0]:.6f} = {losses[1]:.6f}, gradients differ by {difference:.0e}"


def peak(side: str, device: str, dtype: str) -> Mapping[str, float]:
    """Peak memory of one forward and backward, in bytes: in all, and above what was held before."""
    tensors = inputs(device, dtype)
    work: Any = _ours if side == "ours" else _plain
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _backward(work(*tensors))
        total = torch.cuda.max_memory_allocated()
        return {"peak": float(total), "above": float(total - before)}
    before = _resident()
    _backward(work(*tensors))
    total = peak_memory()
    return {"peak": float(total), "above": float(total - before)}


def _resident() -> int:
    """Resident memory of this process now, in bytes."""
    import resource
    from pathlib import Path

    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_memory()
    return int(status.read_text().split()[1]) * resource.getpagesize()
