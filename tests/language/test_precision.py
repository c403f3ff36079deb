"""Which precision `model.dtype auto` stands for, and when that is decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from r3v.precision import best_dtype, cpu_flags, decided, decided_for_run
from r3v.reflection.settings import read
from r3v.settings.config import Config, ModelConfig, RunConfig


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx2 avx512f avx512_bf16 amx_bf16", "bfloat16"),
        ("fpu avx2 avx512_bf16", "bfloat16"),
        ("fp asimd bf16", "bfloat16"),
        ("fpu sse2 avx2 fma", "float32"),
        ("", "float32"),
    ],
)
def test_bf16_where_the_processor_multiplies_it(flags: str, expected: str, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"model name\t: one\nflags\t\t: {flags}\n\nmodel name\t: two\nflags\t\t: amx_bf16\n")
    assert best_dtype(cpu_flags(info)) == expected
    assert best_dtype((), cuda=True) == "bfloat16"
    assert cpu_flags(tmp_path / "none") == frozenset()


def test_what_is_named_stays() -> None:
    assert decided(ModelConfig(dtype="float16")).dtype == "float16"
    assert decided(ModelConfig(dtype="auto", device="cpu")).dtype == best_dtype(cpu_flags())


def test_a_run_goes_on_in_the_precision_it_began_with(tmp_path: Path) -> None:
    config = Config(run=RunConfig(dir=str(tmp_path)), model=ModelConfig(dtype="auto", device="cpu"))
    here = best_dtype(cpu_flags())
    elsewhere = "float32" if here == "bfloat16" else "bfloat16"
    assert decided_for_run(config).model.dtype == here
    (tmp_path / "config.yaml").write_text(f"model:\n  dtype: {elsewhere}\n")
    assert decided_for_run(config).model.dtype == elsewhere
    named = replace(config, model=ModelConfig(dtype="float32"))
    assert decided_for_run(named) == named


def test_smolgeo_is_asked_in_short_and_in_the_best_precision() -> None:
    model = read(None, ["--model.path=smolgeo"]).config.model
    assert (model.dtype, model.prompt_style) == ("auto", "short")
    model = read(None, ["--model.path=smolgeo", "--model.dtype=float32"]).config.model
    assert model.dtype == "float32"
