"""Pictures on their way into a model: scaled to the limits of pixels, refused by name where a processor would raise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_models import FAMILIES, tiny
from transformers.image_utils import SizeDict

from r3v.data import images, load
from r3v.errors import ConfigError, ImageError
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loaded import Loaded
from r3v.prompts import solve, style
from r3v.records import Prompt
from r3v.settings.config import ModelConfig, check_pixels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = []
    for name, size in (("plain", (64, 48)), ("dot", (1, 1)), ("strip", (5000, 26)), ("thin", (5000, 20))):
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
        rows.append({"id": name, "image": f"{name}.png", "question": "How many corners?", "answer": "4"})
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def prompt_of(data: Path, number: int) -> Prompt:
    return solve(load(f"jsonl:{data}")[number], style("short"))


def encoder(loaded: Loaded, **limits: Any) -> Encoder:
    return Encoder(loaded.processor, loaded.model.config, **limits)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_too_thin_names_its_row_and_skip_bad_leaves_it_out(family: str, data: Path) -> None:
    with pytest.raises(
        ImageError, match=r"row 4, field image: image .*thin.png: 5000x20 pixels, an aspect ratio of 250"
    ):
        tiny(family).encoder.prompt(prompt_of(data, 3))
    problems = load(f"jsonl:{data}", skip_bad=True)
    assert [p.id for p in problems] == ["plain", "dot", "strip"]
    assert [error.row for error in problems.bad] == ["4"]


@pytest.mark.parametrize("most", [784, 5_000, 20_000])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_scaling_keeps_a_legal_strip_legal(family: str, most: int, data: Path) -> None:
    """5000 x 26 is 192:1; both edges rounded down by themselves it would be 196 to 784:1."""
    made = encoder(tiny(family), max_pixels=most)
    assert made.prompt(prompt_of(data, 2)).ids
    assert made.prompt(prompt_of(data, 1)).ids


def test_a_small_picture_is_scaled_up_to_min_pixels(data: Path) -> None:
    """The tiny Qwen2-VL makes a token of 16 x 16 pixels. 64 times 784 are 50,176 pixels: at least 259 x 194 as 4:3,
    rounded to 256 x 192: 16 x 12 tokens."""
    processor, config = copy.deepcopy(tiny("qwen2_vl").processor), tiny("qwen2_vl").model.config
    processor.image_processor.size = SizeDict(shortest_edge=56 * 56, longest_edge=1280 * 784)  # those of real ones
    token = config.image_token_id
    plain = Encoder(processor, config).prompt(prompt_of(data, 0)).ids.count(token)
    large = Encoder(processor, config, min_pixels=64 * 784).prompt(prompt_of(data, 0)).ids.count(token)
    assert large == 192 > plain


def test_a_processor_that_refuses_is_told_with_file_and_row(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its limit is: here the library's own is lifted, so that the processor's speaks."""
    monkeypatch.setattr(images, "MAX_RATIO", 1_000)
    with pytest.raises(ImageError, match=r"row 4, field image: \w+ does not take the picture of 5000x20 pixels: .*200"):
        encoder(tiny("qwen2_vl")).prompt(prompt_of(data, 3))


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"max_pixels": 100}, "max_pixels 100, expected at least 784"),
        ({"min_pixels": 0}, "min_pixels 0, expected at least 784"),
        ({"min_pixels": 2_000, "max_pixels": 1_000}, "min_pixels 2000 above model.max_pixels 1000"),
    ],
)
def test_limits_that_leave_no_picture(limits: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        check_pixels(ModelConfig(**limits))


def test_limits_with_room() -> None:
    check_pixels(ModelConfig())
    check_pixels(ModelConfig(min_pixels=784, max_pixels=784))
