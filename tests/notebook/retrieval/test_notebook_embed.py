"""Embedders: the lexical one by hand, and those on models with tiny real models or fakes with the real interface."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from r3v.data.geoworld import source
from r3v.embedding.lexical import Lexical
from r3v.embedding.protocol import identity, unit_rows
from r3v.embedding.table import make_embedder
from r3v.errors import ConfigError, ModelError
from r3v.notebook.store.note import Note
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import BytesImage, ImageSource, Problem


def problem(name: str, question: str, images: tuple[ImageSource, ...] = ()) -> Problem:
    return Problem(id=name, question=question, answer="5", kind="number", images=images)


def picture(shade: int) -> BytesImage:
    data = io.BytesIO()
    Image.new("RGB", (24, 24), (shade, 255 - shade, shade // 2)).save(data, "PNG")
    return BytesImage(data.getvalue())


def cosine(embedder: Any, first: str, second: str) -> float:
    rows = embedder.embed_problems([problem("a", first), problem("b", second)])
    return float(rows[0] @ rows[1])


# ---- lexical -------------------------------------------------------------------------------------------


def test_lexical_by_hand() -> None:
    """Wide enough for no collisions. `is 7` has the stop word (0.2) and a number (1), `was 8` another stop word and the
    same number: cosine 1 / 1.04. `red` alone has one word (1) and three pieces ^re red ed$ (0.25 each)."""
    wide = Lexical(1 << 16)
    assert cosine(wide, "is 7", "was 8") == pytest.approx(1 / 1.04, abs=1e-6)
    row = wide.embed_problems([problem("a", "red")])[0]
    values = sorted(abs(row[row != 0]).tolist())
    assert values == pytest.approx([0.25 / np.sqrt(1.1875)] * 3 + [1 / np.sqrt(1.1875)], abs=1e-6)


def test_lexical_asks_what_is_asked_not_for_which_values() -> None:
    lexical = Lexical()
    same = cosine(
        lexical, "In triangle ABC, angle A = 35. Find angle B.", "In triangle QRS, angle Q = 71. Find angle R."
    )
    other = cosine(lexical, "In triangle ABC, angle A = 35. Find angle B.", "How many red cars are in the car park?")
    assert same == pytest.approx(1.0, abs=1e-6)
    assert other < 0.2
    assert cosine(lexical, "三角形の面積を求めよ", "三角形の周囲を求めよ") > 0.4


def test_lexical_rows_are_unit_or_zero_and_repeatable() -> None:
    lexical = Lexical(64)
    rows = lexical.embed_texts(["", "...", "angle sum", "angle sum"])
    assert rows.dtype == np.float32
    assert rows.shape == (4, 64)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert rows[2].tolist() == Lexical(64).embed_texts(["angle sum"])[0].tolist()
    assert lexical.embed_problems([]).shape == (0, 64)
    assert identity(lexical, "text") == "lexical@1.64/text"


def test_lexical_finds_the_family_of_geoworld_problems() -> None:
    """20 families: the nearest of 159 others is mostly of the same family; by chance 4 %."""
    problems = list(source("train", 160))
    rows = Lexical().embed_problems(problems)
    near = rows @ rows.T - 2 * np.eye(160)
    family = np.array([p.meta["family"] for p in problems])
    assert (family[near.argmax(axis=1)] == family).mean() > 0.8


def test_notes_are_compared_by_what_is_general_in_them() -> None:
    note = Note("n", "sector", "Divide 360.", example="60 gives 42.", anti_pattern="x", applicability="a sector is cut")
    assert note.words == "sector\na sector is cut\nDivide 360."
    row = Lexical().embed_notes([note])[0]
    assert row.tolist() == Lexical().embed_texts([note.words])[0].tolist()


def test_unit_rows_refuses_what_is_not_a_number() -> None:
    assert unit_rows([3.0, 4.0])[0] == pytest.approx([0.6, 0.8])
    with pytest.raises(ModelError, match="nan or infinity"):
        unit_rows([[1.0, float("nan")]])


def test_unknown_embedders_parts_and_policies_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean lexical"):
        make_embedder("lexcal")
    with pytest.raises(ConfigError, match="lexical:WIDTH"):
        make_embedder("lexical:wide")
    assert make_embedder("lexical:64").dim == 64
    with pytest.raises(ConfigError, match="has the parts text, found 'image'"):
        Lexical().embed_problems([], "image")
    with pytest.raises(ModelError, match=r"found no solver.*lexical"):
        make_embedder("self")
    with pytest.raises(ModelError, match="found ScriptedPolicy"):
        make_embedder("self", ScriptedPolicy(lambda prompt, index: ""))
    with pytest.raises(ConfigError, match="self:LAYER"):
        make_embedder("self:last", None)
    with pytest.raises(ConfigError, match="clip:NAME"):
        make_embedder("clip")


# ---- self ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policy() -> Any:
    from tiny_models import tiny

    from r3v.policies.sampling.hf import HFPolicy

    return HFPolicy(tiny("llava"))


ASKED = [problem("a", "What is angle A?", (picture(10),)), problem("b", "How many cars are here?", (picture(200),))]


def test_self_is_the_mean_of_the_hidden_states_of_the_prompt(policy: Any) -> None:
    """Against a plain forward of one prompt alone, and in a padded batch."""
    import torch

    from r3v.policies.model.forward import inputs_of
    from r3v.records import Message, Prompt

    embedder = make_embedder("self:2", policy)
    rows = embedder.embed_problems(ASKED, "mixed")
    encoded = policy.encoder.prompt(Prompt("a", (Message("user", ASKED[0].question, ASKED[0].images),)))
    inputs, _ = inputs_of(policy.model, policy.encoder, [encoded])
    with torch.inference_mode():
        states = policy.model(**inputs, output_hidden_states=True).hidden_states[2][0]
    words = states[torch.tensor([i != policy.encoder.image_token_id for i in encoded.ids])].mean(dim=0)
    assert rows[0] == pytest.approx((words / words.norm()).numpy(), abs=2e-5)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert identity(embedder, "mixed") == f"self@{policy.name}.2/mixed"


def test_self_parts_see_what_they_should(policy: Any) -> None:
    embedder = make_embedder("self", policy)
    swapped = [problem("a", ASKED[0].question, ASKED[1].images), problem("b", ASKED[1].question, ())]
    text, image, mixed = (embedder.embed_problems([*ASKED, *swapped], part) for part in ("text", "image", "mixed"))
    assert text[2] == pytest.approx(text[0], abs=1e-5), "text does not see the picture"
    assert image[2] == pytest.approx(image[1], abs=1e-5), "image does not see the question"
    assert not image[3].any(), "no picture, no row"
    assert abs(image[0] - image[1]).max() > 1e-4
    assert abs(mixed[2] - mixed[0]).max() > 1e-4, "mixed sees the picture"
    note = Note("n", "angles", "Add.")
    assert embedder.embed_notes([note], "mixed")[0] == pytest.approx(embedder.embed_notes([note], "text")[0])
    assert not embedder.embed_notes([note], "image").any()
    assert embedder.embed_problems([], "mixed").shape == (0, embedder.dim)
    with pytest.raises(ConfigError, match="found layer 9, expected 1 to 3"):
        make_embedder("self:9", policy)


# ---- models of their own -------------------------------------------------------------------------------


class FakeSentences:
    """The interface of a multimodal sentence-transformers model."""

    modalities = ("text", "image", "message")

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def get_embedding_dimension(self) -> int:
        return 3

    def state_dict(self) -> dict[str, Any]:
        import torch

        return {"w": torch.ones(2)}

    def _rows(self, kind: str, inputs: Sequence[Any]) -> Any:
        self.asked += [(kind, value) for value in inputs]
        return np.array([[3.0, 4.0, 0.0]] * len(inputs))

    def encode_query(self, inputs: Sequence[Any], **options: Any) -> Any:
        return self._rows("query", inputs)

    def encode_document(self, inputs: Sequence[Any], **options: Any) -> Any:
        return self._rows("document", inputs)


class PlainSentences(FakeSentences):
    modalities = ("text",)


def test_sentence_transformers_are_given_text_that_cannot_be_taken_for_an_address() -> None:
    from r3v.embedding.models import SentenceTransformer

    model = FakeSentences()
    embedder = SentenceTransformer("fake", model)
    url = problem("u", "http://example.org/a.png")
    assert embedder.embed_problems([url], "text")[0] == pytest.approx([0.6, 0.8, 0.0])
    embedder.embed_problems([ASKED[0], url], "mixed")
    embedder.embed_notes([Note("n", "s", "g")], "mixed")
    kinds = [(kind, sorted(value)) for kind, value in model.asked]
    assert kinds == [
        ("query", ["text"]),
        ("query", ["image", "text"]),
        ("query", ["text"]),
        ("document", ["text"]),
    ]
    assert not embedder.embed_problems([url], "image").any()
    plain = SentenceTransformer("plain", PlainSentences())
    assert plain.modalities == ("text",)
    with pytest.raises(ConfigError, match="has the parts text"):
        plain.embed_problems([url], "mixed")
    assert plain.revision != embedder.revision, "the name is part of it"


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match="pip install sentence-transformers"):
        make_embedder("st:any")


def tiny_clip() -> tuple[Any, Any]:
    """A random CLIP of width 8 and a processor that makes its inputs."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": 99, "max_position_embeddings": 12, "eos_token_id": 98, "bos_token_id": 97},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)

    def process(
        text: list[str] | None = None, images: list[Any] | None = None, max_length: int = 0, **options: Any
    ) -> dict[str, Any]:
        if text is not None:
            ids = [[*(1 + ord(c) % 90 for c in t[: max_length - 1]), 98] for t in text]
            return {"input_ids": torch.tensor([row + [0] * (max_length - len(row)) for row in ids])}
        pixels = [torch.tensor(np.asarray(i.resize((16, 16)), np.float32) / 255).permute(2, 0, 1) for i in images or []]
        return {"pixel_values": torch.stack(pixels)}

    class Batch(dict[str, Any]):
        def to(self, device: Any) -> Batch:
            return self

    return CLIPModel(config), lambda **what: Batch(process(**what))


def test_two_towers_mix_by_the_normalised_sum() -> None:
    from r3v.embedding.models import TwoTowers

    embedder = TwoTowers("tiny", *tiny_clip())
    both = [*ASKED, problem("c", "What is angle A? " * 9)]
    text, image, mixed = (embedder.embed_problems(both, part) for part in ("text", "image", "mixed"))
    assert text.shape == (3, 8)
    assert mixed[:2] == pytest.approx(unit_rows(text[:2] + image[:2]), abs=1e-6)
    assert mixed[2] == pytest.approx(text[2], abs=1e-6), "no picture: the text alone"
    assert not image[2].any()
    assert embedder.embed_notes([Note("n", "s", "g")], "mixed").shape == (1, 8)
    assert identity(embedder, "image").startswith("clip:tiny@")


# ---- plain


def test_plain_has_words_and_looks_in_one_vector() -> None:
    plain = make_embedder("plain")
    named, blank = ASKED[0], replace(ASKED[0], question="...")
    text, image, mixed = (plain.embed_problems([named, blank], part) for part in ("text", "image", "mixed"))
    assert mixed[0] == pytest.approx((text[0] + image[0]) / 2**0.5, abs=1e-6)
    assert mixed[1] == pytest.approx(image[1], abs=1e-6)
    assert not text[1].any()
    bare = plain.embed_problems([replace(named, images=())], "mixed")[0]
    assert bare == pytest.approx(text[0], abs=1e-6)
    assert bare @ mixed[0] == pytest.approx(0.5**0.5, abs=1e-6)
    note = Note("n", named.question, named.question)
    assert plain.embed_notes([note], "mixed")[0] @ text[0] > 0.9
    with pytest.raises(ConfigError, match="expected plain"):
        make_embedder("plain:9")
