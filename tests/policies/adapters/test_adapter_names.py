"""LoRA stays off routers, and full names stay what they are through peft and the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2MoeConfig

from r3v.policies.model.adapters.files import load_adapter, save_adapter
from r3v.policies.model.adapters.names import is_router
from r3v.policies.model.adapters.taught import Taught
from r3v.policies.model.loading import add_lora
from r3v.settings.config import ModelConfig


def moe() -> Any:
    """A mixture of experts whose first layer is dense, with a shared expert in the other: the text side of GLM-4.5V's
    kind, which peft has a conversion for."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Qwen2MoeConfig(
            vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
            shared_expert_intermediate_size=16, mlp_only_layers=[0],
        )  # fmt: skip
        return AutoModelForCausalLM.from_config(config).eval()


def adapted(model: Any) -> set[str]:
    return {n.removeprefix("base_model.model.") for n, m in model.named_modules() if hasattr(m, "lora_A")}


def test_an_adapter_of_a_mixture_of_experts_comes_back_from_disk(tmp_path: Path) -> None:
    """Attention, dense layer and shared expert have adapters; router, its gate and the routed experts have none. What
    is read back says the same."""
    config = ModelConfig(lora_r=4, lora_targets="all", lora_dropout=0.1)
    model = add_lora(moe(), config, 0)
    names = adapted(model)
    assert {n.split(".")[-1] for n in names} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert len(names) == 2 * 4 + 3 + 3
    assert not any(".experts." in n or n.endswith((".gate", "shared_expert_gate")) for n in names)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    save_adapter(model, tmp_path / "adapter", Taught())
    again = load_adapter(moe(), tmp_path / "adapter")
    assert adapted(again) == names
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=ids).logits, expected)


def test_routers_are_known_by_place_and_by_what_they_compute() -> None:
    class Chooser(nn.Linear):
        def forward(self, input: torch.Tensor) -> Any:
            return super().forward(input).topk(1)

    plain = nn.Linear(2, 2)
    routers = ("layers.0.mlp.gate", "layers.1.router.proj", "x.shared_expert_gate", "feed_forward.router")
    assert all(is_router(name, plain) for name in routers)
    assert not any(is_router(name, plain) for name in ("mlp.gate_proj", "self_attn.q_proj", "mlp.gate_up_proj"))
    assert is_router("layers.0.choose", Chooser(2, 2))
