"""`r3v plan`: every recipe of the library, the settings its header names, exit codes and errors."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from places import ROOT

from r3v.app.cli import main
from r3v.app.plan.recipe import kind_of, precision_of, read_recipe, work_of
from r3v.plan.known import KNOWN, config_of, meta_model
from r3v.plan.shape import shape_of
from r3v.plan.stages import Precision, weight_bytes
from r3v.settings.config import ModelConfig
from r3v.settings.tree import recipe_folder

RECIPES = sorted(path.name for path in recipe_folder().glob("*.yaml"))
LARGE = [name for name in RECIPES if "qwen" in name]


def planned(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict]:
    code = main(["plan", *args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def flags_of(recipe: str, size: int) -> list[str]:
    """What the header says to add for a card of so many GB; nothing where it says `as it stands`."""
    text = (recipe_folder() / recipe).read_text()
    header = " ".join(
        line.lstrip("# ") for line in text[text.index("# hardware:") : text.index("# time:")].splitlines()
    )
    told = re.split(r"(?=\b(?:24|80)[- ]GB?\b)", header)
    part = next(part for part in told if part.startswith(str(size)))
    return shlex.split(" ".join(re.findall(r"--\S+ [^\s(;,]+", part)))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_on_24_gigabytes_as_its_header_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(capsys, name, *(flags_of(name, 24) if name in LARGE else ()))
    assert code == 0
    assert found["fits"]
    assert found["stages"][0]["name"] == "sample"
    assert all(s["total"] == pytest.approx(sum(s["parts"].values())) for s in found["stages"])
    assert sum(w["flops"] for w in found["work"]) > 0


@pytest.mark.parametrize("name", LARGE)
def test_the_large_ones_fit_on_80_gigabytes_with_the_base_in_16_bit(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = flags_of(name, 80)
    code, found = planned(capsys, name, *flags, "--gpu", "80")
    assert code == 0
    assert found["weight_bytes"]["linears"] == 2 * found["weights"]["linears"]


def test_twenty_recipes_of_four_kinds() -> None:
    kinds = [kind_of(name) for name in RECIPES]
    assert {k: kinds.count(k) for k in set(kinds)} == {"train": 11, "evolve": 4, "reinforce": 1, "notebook evolve": 4}
    assert len(LARGE) == 9


def test_what_does_not_fit_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    """In bf16 the weights of Qwen2.5-VL-7B are 15.4 GiB, and a fit of theirs is too much for 16; each line that is
    offered does fit."""
    name = "geoqa_qwen25vl_7b.yaml"
    code, found = planned(capsys, name, "--model.quantization", "none", "--gpu", "24", "--sample.slots", "256")
    assert code == 1
    assert found["nearest"]
    for way in found["nearest"]:
        flags = [x for field, v in way.items() for x in (f"--{field}", str(v).lower() if v is True else str(v))]
        base = {"--model.quantization": "none", "--sample.slots": "256"}
        kept = [x for k, v in base.items() if k not in flags for x in (k, v)]
        assert planned(capsys, name, *kept, *flags)[0] == 0
    assert main(["plan", name, "--gpu", "4"]) == 1
    assert "no setting of this recipe makes it fit on 4 GiB" in capsys.readouterr().out


def test_the_tables_name_every_stage_and_say_that_they_are_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "geoqa_qwen3vl_8b.yaml", "--card", "RTX 4090"]) == 0
    text = capsys.readouterr().out
    for word in ("sample", "fit", "evaluate", "select", "export", "keys and values of slots", "GiB on the disk"):
        assert word in text
    assert "estimated from the data sheet of RTX 4090" in text
    assert "By arithmetic alone" in text
    assert "1,000 are counted" in text


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--card", "GTX 1"], "expected one of RTX 3090"),
        (["--picture", "large"], "expected WIDTHxHEIGHT"),
        (["--dry-run"], "without --probe"),
        (["--train.slots", "3"], "expected a field of the config"),
    ],
)
def test_mistakes_are_named(flags: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "geoqa_qwen25vl_7b.yaml", *flags]) == 2
    assert told in capsys.readouterr().err


def test_the_true_sizes_of_the_three_models() -> None:
    """Numbers of weights in billions as their cards say (8.29, 8.29, 8.77), and a hand count of the text layers of
    Qwen2.5-VL-7B: 28 layers of q, o 3584 * 3584, k, v 3584 * 512, gate, up, down 3584 * 18944; in nf4 half a byte, 1/64
    and 4 / (64 * 256) for each, two bytes for biases."""
    totals = {}
    for name in KNOWN:
        shape = shape_of(meta_model(config_of(ModelConfig(path=name))), "language")
        totals[name] = round(sum(shape.weights.values()) / 1e9, 2)
        if "2.5" in name:
            one = 28 * (2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944)
            bias = 28 * (3584 + 2 * 512)
            assert shape.quantisable == one
            assert shape.weights["linears"] == one + bias
            size = weight_bytes(shape, Precision("nf4", "bfloat16", 64))["linears"]
            assert size == pytest.approx(one * (0.5 + 1 / 64 + 4 / 64 / 256) + 2 * bias)
            assert shape.key_value_numbers == 2 * 28 * 4 * 128
    assert totals == {
        "Qwen/Qwen2-VL-7B-Instruct": 8.29,
        "Qwen/Qwen2.5-VL-7B-Instruct": 8.29,
        "Qwen/Qwen3-VL-8B-Instruct": 8.77,
    }


def test_a_prompt_counts_the_tokens_of_its_picture() -> None:
    """448 x 448 pixels are 16 x 16 tokens of 28 x 28 to Qwen2.5-VL and 14 x 14 of 32 x 32 to Qwen3-VL; min_pixels of
    262,144 makes the latter 512 x 512, 16 x 16 tokens."""
    for recipe, flags, tokens in (
        ("geoqa_qwen25vl_7b.yaml", [], 256),
        ("chartqa_qwen25vl_7b.yaml", ["--model.max_pixels", "50176"], 64),
        ("geoqa_qwen3vl_8b.yaml", [], 256),
        ("geoqa_qwen3vl_8b.yaml", ["--model.min_pixels", "784"], 196),
    ):
        read = read_recipe(recipe, flags)
        shape = shape_of(meta_model(config_of(read.config.model)), "language")
        assert work_of(read, shape).picture.tokens == tokens
        assert precision_of(read).quantization == "nf4"


def test_a_probe_measures_its_rates(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(capsys, "geoworld_tiny.yaml", "--probe", "--dry-run", "--sample.slots", "8")
    assert code == 0
    rates = found["rates"]
    assert rates["source"] == "measured here by 20 steps"
    assert min(rates["read"], rates["drawn"], rates["trained"]) > 0


def test_the_tables_of_the_docs_are_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "gpu.md").read_text()
    shown = re.findall(r"^```sh\n(r3v plan [^\n]+)\n```\n\n```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(shown) == 3
    for line, printed in shown:
        main(shlex.split(line)[1:])
        assert capsys.readouterr().out == printed
