"""What both sides of a training benchmark share: precision, optimiser, and access to trained weights and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from r3v.bench.harness import BenchError

RATE = 1e-6


def autocast(half: bool) -> Any:
    return torch.autocast("cuda", torch.bfloat16, enabled=half) if half else torch.autocast("cpu", enabled=False)


def trl_settings(folder: str, *, device: str, half: bool, rate: float = RATE) -> dict[str, Any]:
    """What every TRL trainer of a benchmark is told: nothing shown or reported, our precision and learning rate."""
    return {
        "output_dir": folder,
        "use_cpu": device == "cpu",
        "bf16": half,
        "gradient_checkpointing": False,
        "report_to": [],
        "disable_tqdm": True,
        "learning_rate": rate,
    }


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE, weight_decay=0.0, fused=True)


def finish(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name.rsplit("base_model.model.", 1)[-1]: p for name, p in model.named_parameters() if p.requires_grad}


def copy_trained(target: nn.Module, source: nn.Module) -> None:
    """Trained weights of one model into the other. Raises BenchError when they train different ones."""
    mine, other = _trained(target), _trained(source)
    if mine.keys() != other.keys():
        raise BenchError(f"ours trains {len(other)} weights and the peer {len(mine)}, expected the same ones")
    with torch.no_grad():
        for name, p in mine.items():
            p.copy_(other[name])


def gradients(model: nn.Module) -> Tensor:
    found = [torch.zeros_like(p) if p.grad is None else p.grad for _, p in sorted(_trained(model).items())]
    return torch.cat([g.flatten().float() for g in found])
