"""Float32 products on a GPU are exact unless the config says TF32, and the self-tests know which it is."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import NAMES, tiny

from r3v.policies.model import loading
from r3v.policies.model.loading import load
from r3v.policies.model.products import rounded, set_products
from r3v.settings.config import ModelConfig
from r3v.training.selftest.parity import half_precision


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("matmul", "after"), [("high", "high"), ("highest", "highest")])
def test_a_model_on_a_gpu_sets_them_and_one_on_a_processor_does_not(matmul: Any, after: str) -> None:
    other = "highest" if matmul == "high" else "high"
    torch.set_float32_matmul_precision(other)
    set_products(ModelConfig(matmul=matmul), torch.device("cpu"))
    assert torch.get_float32_matmul_precision() == other
    set_products(ModelConfig(matmul=matmul), torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == after


def test_loading_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(loading, "set_products", lambda config, device: asked.append((config.matmul, device.type)))
    load(ModelConfig(path=NAMES["idefics3"], matmul="high", device="cpu"), dry_run=True)
    assert asked == [("high", "cpu")]


@pytest.mark.parametrize(
    ("device", "dtype", "matmul", "coarse"),
    [
        ("cpu", torch.float32, "high", False),
        ("cuda", torch.float32, "highest", False),
        ("cuda", torch.float32, "high", True),
        ("cuda", torch.bfloat16, "highest", True),
    ],
)
def test_tf32_is_coarser_than_float32(device: str, dtype: torch.dtype, matmul: str, coarse: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    weight = SimpleNamespace(dtype=dtype, device=torch.device(device))
    assert rounded(SimpleNamespace(parameters=lambda: iter([weight]))) is coarse


def test_a_float32_model_on_a_processor_is_exact() -> None:
    assert not half_precision(tiny("idefics3").model)
