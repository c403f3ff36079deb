"""Types of tokens: the processor's own reach the model in sampling and in training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from some_prompts import some_prompts
from tiny_models import tiny
from training_examples import examples_of

from r3v.policies.model.encode import Encoded
from r3v.policies.model.encode.token_types import TokenTypes, aligned_of, types_of
from r3v.policies.model.forward import inputs_of
from r3v.training import forward
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie


def test_what_is_aligned_with_tokens_is_told_from_pixels() -> None:
    """By shape and by name: grids that happen to have as many numbers, pixels and lists are not."""
    output = {
        "input_ids": torch.tensor([[7, 8, 9]]),
        "attention_mask": torch.ones(1, 3),
        "mm_token_type_ids": torch.tensor([[0, 1, 0]]),
        "cross_attention_mask": torch.ones(1, 3, 2, 1),
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
        "pixel_values": torch.ones(1, 3),
        "text_replacement_offsets": [[]],
    }
    assert aligned_of(output) == {"mm_token_type_ids": (0, 1, 0)}


def test_types_are_learnt_by_id_and_special_ids_must_have_been_seen() -> None:
    types = TokenTypes(special={1, 2, 3})
    assert not types.known([1, 9])
    assert types.learn([1, 9, 2], {"token_type_ids": (1, 0, 1)})
    assert types.known([2, 1, 8])
    assert not types.known([3])
    assert types.of([2, 8]) == {"token_type_ids": (1, 0)}
    assert not types.learn([1], {"token_type_ids": (0,)})


def test_a_reply_is_text_and_a_root_has_the_types_of_its_beginning() -> None:
    prompt = Encoded((5, 6, 7), {}, "", {"token_type_ids": (0, 2, 2)})
    assert types_of(replace(prompt, ids=(5, 6, 7, 8)), "token_type_ids", 5) == (0, 2, 2, 0)
    assert types_of(replace(prompt, ids=(5, 6)), "token_type_ids", 5) == (0, 2)
    assert types_of(prompt, "mm_token_type_ids", 6) == (0, 1, 0)


def marked(monkeypatch: Any) -> Any:
    """Gemma 3's tiny encoder, whose processor marks the tokens around the picture too, as Molmo2's does: type 1 for the
    image tokens and their neighbours."""
    from r3v.policies.model.loading import load
    from r3v.settings.config import ModelConfig

    loaded = load(ModelConfig(path=tiny("gemma3").config.path), dry_run=True)
    encoder = loaded.encoder
    around = {encoder.config.boi_token_index, encoder.config.eoi_token_index, encoder.image_token_id}
    call = type(loaded.processor).__call__

    def marking(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = call(self, *args, **kwargs)
        kinds = [[int(int(i) in around) for i in row] for row in output["input_ids"]]
        output["token_type_ids"] = torch.tensor(kinds)
        return output

    monkeypatch.setattr(type(loaded.processor), "__call__", marking)
    return loaded, around


def test_the_processors_types_reach_sampling_and_training(monkeypatch: Any) -> None:
    """Marks around a picture count as picture because the processor says so, at the first prompt (a full call) and at
    later ones; padding and targets are text."""
    loaded, around = marked(monkeypatch)
    encoded = [loaded.encoder.prompt(p) for p in some_prompts(3)]
    inputs, _ = inputs_of(loaded.model, loaded.encoder, encoded)
    expected = torch.tensor([[int(int(i) in around) for i in row] for row in inputs["input_ids"]])
    assert torch.equal(inputs["token_type_ids"], expected)
    trie, _ = build_trie(examples_of(3), loaded.encoder, model=loaded.model)
    assert trie is not None
    batch = collate([trie], fused=False, collate_images=loaded.encoder.collate_images)
    wanted = torch.tensor([[int(int(i) in around) for i in row] for row in batch.ids_RL])
    base = loaded.model
    for made in (forward._plain_inputs(base, batch), forward._inputs(base, batch, "rows")):
        assert torch.equal(made["token_type_ids"], wanted)
    assert int(expected.sum()) > int((inputs["input_ids"] == loaded.encoder.image_token_id).sum())
