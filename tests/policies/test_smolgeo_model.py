"""From a GGUF file and parts of ours to a model that transformers loads; the training that makes the parts."""

from __future__ import annotations

import argparse
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from smolgeo_files import HIDDEN, llama, tokens, write_gguf

from r3v.errors import ModelError
from r3v.policies.model.loading import resolve
from r3v.policies.smolgeo.assemble import EYES, LORA, MANIFEST, assembled, digest_of
from r3v.policies.smolgeo.text import TextHalf
from r3v.recipes.research import smolgeo_data as data
from r3v.recipes.research import smolgeo_model as ours
from r3v.recipes.research import warmup_smolgeo as warmup
from r3v.recipes.research.smolgeo_eyes import GLYPHS, Fields, Label, Picture, targets

SIZE = ours.Size(image=32, patch=4, shuffle=2, width=16, layers=3, heads=2, r=2, alpha=4)
PLAN = warmup.Plan(see_steps=1, read_steps=2, rise=1, steps=3, see_batch=2, lessons=2, tokens=256)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextHalf:
    return TextHalf(write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", llama()))


@pytest.fixture
def student(text: TextHalf) -> warmup.Student:
    return warmup.Student(text, SIZE)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R3V_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# ---- the language half ---------------------------------------------------------------------------


def test_weights_come_out_as_they_went_in(text: TextHalf) -> None:
    """Query and key rows are stored in another order and put back; so every tensor is equal."""
    expected = llama().state_dict()
    found = text.state()
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert text.settings["rms_norm_eps"] == 1e-5
    assert text.settings["num_key_value_heads"] == 2


def test_the_tokenizer_merges_and_keeps_digits_apart(text: TextHalf) -> None:
    tokenizer = ours.build_tokenizer(text)
    assert len(tokenizer) == len(tokens()[0]) + 4
    pieces = tokenizer.tokenize("an angle = 140<image>")
    assert pieces[:2] == ["an", "Ġan"]
    assert pieces[-4:] == ["1", "4", "0", "<image>"]
    for odd in ("naïve ≈ π/2 – Ω\t?", "  two  spaces\n\n"):
        assert tokenizer.decode(tokenizer(odd)["input_ids"]) == odd
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Read."}]}]
    asked = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert asked == "<|im_start|>user\n<image>Read.<|im_end|>\n<|im_start|>assistant\n"


def test_another_file_is_no_language_half(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nothing of the kind" * 10)
    with pytest.raises(ModelError, match="expected a GGUF file"):
        TextHalf(tmp_path / "x.gguf")


# ---- the whole -----------------------------------------------------------------------------------


def moved(student: warmup.Student) -> warmup.Student:
    """With an adapter, rows and eyes that are not where they began."""
    with torch.no_grad():
        for parameter in student.trained.values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    student.settle()
    return student


def test_parts_and_file_become_a_model_that_loads(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    """Logits of the folder, loaded by transformers alone, are the student's but for bf16; and the same each time."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    manifest = ours.write_parts(
        tmp_path / "parts", moved(student).model, student.lora, student.rows, student.text, SIZE
    )
    folder = assembled(tmp_path / "parts", student.text.path)
    assert folder == cache / "smolgeo" / f"smolgeo-{manifest['assembled_sha256'][:12]}"
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    again = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    processor: Any = AutoProcessor.from_pretrained(folder)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Find angle A = 40."}]}]
    picture = Image.fromarray((np.arange(60 * 50) % 251).astype(np.uint8).reshape(50, 60))
    asked = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=asked, images=[[picture]], return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == SIZE.tokens == 16
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        found, expected = model(**inputs).logits, student.model.eval()(**inputs).logits
        assert torch.equal(found, again(**inputs).logits)
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert (
        digest_of({n: p.bfloat16() for n, p in model.state_dict().items() if n != "lm_head.weight"})
        == (manifest["assembled_sha256"])
    )
    assert model.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_second_use_finds_it_there(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    parts = tmp_path / "parts"
    ours.write_parts(parts, student.model, student.lora, student.rows, student.text, SIZE)
    folder = assembled(parts, student.text.path)
    (parts / LORA).unlink()  # not asked for again
    assert assembled(parts, Path("nowhere.gguf")) == folder
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelError, match="Reinstall r3v"):
        assembled(parts, student.text.path)


def test_changed_parts_are_refused(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    parts = tmp_path / "parts"
    ours.write_parts(parts, student.model, student.lora, student.rows, student.text, SIZE)
    (parts / EYES).write_bytes((parts / EYES).read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=r"eyes\.safetensors: found sha256"):
        assembled(parts, student.text.path)
    assert not list(cache.glob("smolgeo/smolgeo-*"))


def test_a_model_that_comes_out_different_is_not_kept(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    parts = tmp_path / "parts"
    manifest = ours.write_parts(parts, student.model, student.lora, student.rows, student.text, SIZE)
    (parts / MANIFEST).write_text(json.dumps(manifest | {"assembled_sha256": "0" * 64}))
    with pytest.raises(ModelError, match=r"expected 000.*nothing was kept"):
        assembled(parts, student.text.path)


def test_parts_without_the_language_half_name_the_command(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    parts = tmp_path / "parts"
    ours.write_parts(parts, student.model, student.lora, student.rows, student.text, SIZE)
    with pytest.raises(ModelError, match="Run `r3v fetch smolgeo` once"):
        resolve(str(parts))


def test_parts_that_are_too_large_are_not_written(
    student: warmup.Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="expected at most 1,000; lower r or the tower"):
        ours.write_parts(tmp_path / "parts", student.model, student.lora, student.rows, student.text, SIZE)
    assert not (tmp_path / "parts").exists()


def test_what_ships_has_room() -> None:
    """In bf16: LoRA on seven projections of thirty layers of SmolLM2, tower and connector stay under 34 MB."""
    size = ours.Size()
    pairs = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]
    lora = 30 * size.r * sum(a + b for a, b in pairs)
    tower = size.layers * (12 * size.width**2 + 13 * size.width) + size.width * (3 * size.patch**2 + size.patches**2)
    connector = size.shuffle**2 * size.width * 576
    assert 2 * (lora + tower + connector) < 0.9 * ours.MOST_BYTES
    assert size.tokens == 49


def test_an_inherited_tower_sees_the_same() -> None:
    """On a flat-coloured grid drawn up by the ratio of the patches, old and new tower give nearly the same."""
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
    from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionTransformer

    torch.manual_seed(0)
    small = Idefics3VisionConfig(
        hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4
    )
    large = Idefics3VisionConfig(
        hidden_size=16, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=8
    )
    elder, younger = (Idefics3VisionTransformer._from_config(c).eval() for c in (small, large))
    ours.fresh_tower(elder, replace(SIZE, image=16, layers=2))
    ours.inherit_tower(younger, elder)
    blocks = torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        a = elder(pixel_values=blocks.repeat_interleave(4, -1).repeat_interleave(4, -2)).last_hidden_state
        b = younger(pixel_values=blocks.repeat_interleave(8, -1).repeat_interleave(8, -2)).last_hidden_state
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


# ---- lessons -------------------------------------------------------------------------------------


def test_cells_tell_label_and_owner() -> None:
    """A 32 x 64 picture has cells of 16 x 8 px: "40" at (24, 12) is in column 1, row 1; A at (4, 4) is its point."""
    labels = (Label("40", (20, 10, 28, 14), ("A",)), Label("A", (2, 2, 6, 6), ("A",)))
    found = targets(Picture(np.full((32, 64), 255, np.uint8), labels, {"A": (8.0, 4.0)}), SIZE)
    assert np.flatnonzero(found[:, Fields.here]).tolist() == [0, 5]
    assert "".join(GLYPHS[c] for c in found[5, Fields.glyphs]) == "40  "
    assert np.flatnonzero(found[5, Fields.owners]).tolist() == [0]
    assert found[5, Fields.points].tolist() == [1, 1, 8, 8]


def test_rows_and_pixels_are_what_the_processor_gives(student: warmup.Student) -> None:
    processor = ours.build_processor(student.tokenizer, SIZE)
    rows = data.Rows(student.tokenizer, SIZE)
    for shape in ((50, 61), (61, 50), (40, 40)):
        grey = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Find A."}]}]
        asked = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        expected = processor(text=asked, images=[[Image.fromarray(grey)]], return_tensors="pt")
        assert rows.prompt("Find A.", True) == expected["input_ids"][0].tolist()
        torch.testing.assert_close(data.pixels([Picture(grey)], SIZE), expected["pixel_values"], atol=1e-5, rtol=0)


def test_targets_of_a_row_are_the_replies(student: warmup.Student) -> None:
    rows = data.Rows(student.tokenizer, SIZE)
    row = rows.row(data.Lesson("t", (("Which?", "A, B."), ("And?", "C."))))
    shown = student.tokenizer.decode([i for i, wanted in zip(row.ids, row.target, strict=True) if wanted])
    assert shown == "A, B.<|im_end|>C.<|im_end|>"
    assert student.tokenizer.decode(row.ids) == (
        "<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\nA, B.<|im_end|>\n"
        "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\nC.<|im_end|>"
    )


def test_parts_of_a_step_hold_every_row_once_and_fit() -> None:
    rows = [data.Row(data.Lesson("t", (("", ""),)), [0] * n, [True] * n) for n in (5, 90, 30, 31, 200, 6)]
    parts = data.bucket(rows, 100)
    assert [[len(row.ids) for row in part] for part in parts] == [[5, 6, 30], [31], [90], [200]]


def test_lessons_are_right_and_the_same_each_time() -> None:
    for name, world in data.WORLDS.items():
        for index in range(6):
            lesson, again = world("train", index), world("train", index)
            assert lesson.turns == again.turns
            assert lesson.picture is not None
            assert again.picture is not None
            assert np.array_equal(lesson.picture.pixels, again.picture.pixels)
            assert lesson.turns[-1][1].rsplit("Answer: ", 1)[-1].strip() == lesson.answer.strip(), name
        assert world("held", 0).turns != world("train", 0).turns


def test_a_restyled_picture_keeps_its_labels_in_place() -> None:
    """Ink of the only label stays inside its moved box."""
    import random

    pixels = np.full((60, 80), 255, np.uint8)
    pixels[20:30, 40:48] = 0
    picture = Picture(pixels, (Label("A", (40, 20, 48, 30), ("A",)),), {"A": (44.0, 25.0)})
    for seed in range(20):
        moved_picture = data.restyle(picture, random.Random(seed))
        rows, columns = np.nonzero(moved_picture.pixels < 150)
        x0, y0, x1, y1 = moved_picture.labels[0].box
        assert x0 - 2 < columns.min() <= columns.max() < x1 + 2
        assert y0 - 2 < rows.min() <= rows.max() < y1 + 2
        assert x0 < moved_picture.points["A"][0] < x1


# ---- training ------------------------------------------------------------------------------------


def test_the_plan_goes_from_reading_to_solving() -> None:
    plan = warmup.Plan(read_steps=100, rise=100, reading=0.25, read=(("a", 1.0), ("b", 3.0)), solve=(("c", 1.0),))
    assert plan.mix(50) == (("a", 0.25), ("b", 0.75), ("c", 0.0))
    assert dict(plan.mix(150)) == pytest.approx({"a": 0.625 / 4, "b": 0.625 * 3 / 4, "c": 0.375})
    assert dict(plan.mix(900))["c"] == pytest.approx(0.75)
    assert warmup.curve(0, 0, 1000, 1.0) == pytest.approx(0.02)
    assert warmup.curve(1000, 0, 1000, 1.0) == pytest.approx(0.05)


def test_a_step_trains_what_ships_and_nothing_else(student: warmup.Student, tmp_path: Path) -> None:
    before = {name: p.detach().clone() for name, p in student.trained.items()}
    resting = {n: p.detach().clone() for n, p in student.model.model.text_model.named_parameters() if "base" in n}
    assert len(resting) == 14
    warmup.train(student, tmp_path, PLAN, held=1)
    still = [n for n, p in student.trained.items() if torch.equal(p, before[n]) and not n.endswith(".A")]
    assert still == [], "B starts at zero, so A moves from the second step on"
    after = dict(student.model.model.text_model.named_parameters())
    assert all(torch.equal(after[n], p) for n, p in resting.items())
    log = [json.loads(line) for line in (tmp_path / warmup.LOG).read_text().splitlines()]
    assert log[-1]["step"] == 3
    assert {"held_geoworld_read", "held_geoworld_solve", "geoworld_read", "eyes_letter", "norm"} <= log[-1].keys()


def test_a_killed_training_goes_on_as_if_nothing_was(text: TextHalf, tmp_path: Path) -> None:
    """Two steps and a state, then a new process's student: the third step gives the parameters of three in one go."""
    whole, first, second = (warmup.Student(text, SIZE) for _ in range(3))
    warmup.train(whole, tmp_path / "whole", PLAN, held=1)
    assert warmup.train(first, tmp_path / "cut", PLAN, stop=2, held=1) == 2
    assert warmup.train(second, tmp_path / "cut", PLAN, held=1) == 3
    assert [n for n, p in whole.trained.items() if not torch.equal(p, second.trained[n])] == []


def test_sigterm_ends_after_the_step_with_its_state(
    student: warmup.Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def world(split: str, index: int) -> data.Lesson:
        os.kill(os.getpid(), signal.SIGTERM)
        return data.geoworld_read(split, index)

    monkeypatch.setitem(data.WORLDS, "geoworld_read", world)
    assert warmup.train(student, tmp_path, PLAN, held=1, workers=0) == 1
    assert warmup.restore(tmp_path, student)[0] == 1


def test_a_training_begins_from_the_parts_of_another(
    student: warmup.Student, text: TextHalf, tmp_path: Path, cache: Path
) -> None:
    warmup.train(student, tmp_path / "work", PLAN, stop=1, held=1)
    warmup.export(student, tmp_path / "work", tmp_path / "parts")
    other = warmup.Student(text, SIZE, seed=1, dtype=torch.bfloat16)
    assert any(not torch.equal(a, b) for a, b in zip(student.trained.values(), other.trained.values(), strict=True))
    warmup.begin_from(other, tmp_path / "parts")
    for name, told in student.trained.items():
        if not name.startswith("eyes."):
            assert torch.equal(other.trained[name], told.bfloat16().float()), name  # parts are kept in bf16
    assert warmup.train(other, tmp_path / "next", PLAN, stop=1, held=1) == 1


def test_export_writes_parts_of_the_state(student: warmup.Student, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match="train first"):
        warmup.export(student, tmp_path / "work", tmp_path / "parts")
    warmup.train(student, tmp_path / "work", PLAN, stop=1)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "README.md").write_text("the card")
    manifest = warmup.export(student, tmp_path / "work", tmp_path / "parts")
    names = sorted(p.name for p in (tmp_path / "parts").iterdir())
    assert names == sorted([*manifest["files"], MANIFEST, "README.md", "log.jsonl"])
    assert not [n for n in names if n.startswith("tokenizer")], "the tokenizer is SmolLM2's"
    from safetensors.torch import load_file

    assert load_file(tmp_path / "parts" / EYES)["rows"].shape == (4, HIDDEN)


def test_a_mix_is_read_and_names_what_there_is() -> None:
    assert warmup.read_mix("geoworld_read:2,geoworld_solve") == (("geoworld_read", 2.0), ("geoworld_solve", 1.0))
    with pytest.raises(argparse.ArgumentTypeError, match="found world 'nothing', expected some of geoworld_read"):
        warmup.read_mix("nothing:1")
