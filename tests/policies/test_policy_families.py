"""Encoder, sampling and scoring on tiny models of six real families, against transformers' own calls."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from some_prompts import STYLE, picture, problem, some_prompts
from tiny_models import FAMILIES, tiny
from transformers.cache_utils import DynamicCache

from r3v import prompts as words
from r3v.policies.base import SamplingParams
from r3v.policies.model.calls import past_of
from r3v.policies.model.encode import Encoded
from r3v.policies.model.forward import plain_logprobs
from r3v.policies.model.loaded import Loaded
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Problem, Prompt
from r3v.settings.config import Noise


def own_inputs(loaded: Loaded, prompt: Prompt) -> dict[str, torch.Tensor]:
    """What the family's processor makes of the same chat, by its public call alone."""
    from r3v.data.images import decode

    processor = loaded.processor
    text = processor.apply_chat_template(prompt.chat(), add_generation_prompt=True, tokenize=False)
    bos = processor.tokenizer.bos_token
    options = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
    pictures = [decode(image) for image in prompt.images]
    output = processor(text=[text], images=[pictures] if pictures else None, return_tensors="pt", **options)
    return {k: v for k, v in output.items() if isinstance(v, torch.Tensor)}


@pytest.mark.parametrize("family", FAMILIES)
def test_encoder_equals_the_processor_token_for_token(family: str) -> None:
    loaded = tiny(family)
    two = Prompt("two", (*some_prompts(1)[0].messages, *some_prompts(3)[2].messages))
    select = words.select(problem(1), STYLE, ["1 + 1 = 2. Answer: 2", "Answer: 1"])
    for prompt in (*some_prompts(3), select, two):
        own = own_inputs(loaded, prompt)
        encoded = loaded.encoder.prompt(prompt)
        assert list(encoded.ids) == own["input_ids"][0].tolist()
        assert set(encoded.images) == set(own) - {
            *("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"),
        }
        for name, tensor in encoded.images.items():
            torch.testing.assert_close(tensor, own[name])
    assert loaded.encoder.prompts.short_way is True


@pytest.mark.parametrize("family", FAMILIES)
def test_target_ends_the_turn_and_decodes_to_itself(family: str) -> None:
    encoder = tiny(family).encoder
    ids = encoder.target("90 - 35 = 55.\nAnswer: 55")
    assert ids[-1] == encoder.eot_id
    assert encoder.eot_id not in encoder.banned_ids
    assert encoder.image_token_id in encoder.banned_ids
    assert encoder.decode(ids[:-1]) == "90 - 35 = 55.\nAnswer: 55"


@pytest.mark.parametrize("family", FAMILIES)
def test_text_cannot_smuggle_control_tokens(family: str) -> None:
    encoder = tiny(family).encoder
    token = encoder.tokenizer.convert_ids_to_tokens([encoder.image_token_id])[0]
    sneaky = Problem("s", f"Look at {token} {encoder.placeholder}?", "1", "number", images=(picture(40, 48, 1),))
    plain = Problem("s", "Look at x y?", "1", "number", images=(picture(40, 48, 1),))
    found = encoder.prompt(words.solve(sneaky, STYLE)).ids
    expected = encoder.prompt(words.solve(plain, STYLE)).ids
    assert found.count(encoder.image_token_id) == expected.count(encoder.image_token_id) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_the_models_own(family: str) -> None:
    """Given positions and those the model finds by itself give the same logits."""
    loaded = tiny(family)
    prompt = some_prompts(2)[1]
    own = own_inputs(loaded, prompt)
    if family.startswith("qwen"):
        own["mm_token_type_ids"] = (own["input_ids"] == loaded.encoder.image_token_id).int()
    encoded = loaded.encoder.prompt(prompt)
    positions = loaded.encoder.positions(loaded.model, encoded.ids, encoded.images)
    assert positions.shape == ((3, len(encoded.ids)) if family.startswith("qwen") else (len(encoded.ids),))
    with torch.no_grad():
        expected = loaded.model(**own).logits
        found = loaded.model(**own, position_ids=positions.unsqueeze(-2)).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_generate(family: str) -> None:
    loaded = tiny(family)
    rows = HFPolicy(loaded, slots=3).generate(some_prompts(), 1, SamplingParams(temperature=0, max_new_tokens=16))
    for prompt, (candidate,) in zip(some_prompts(), rows, strict=True):
        own = own_inputs(loaded, prompt)
        if family.startswith("qwen"):
            own["mm_token_type_ids"] = (own["input_ids"] == loaded.encoder.image_token_id).int()
        whole = loaded.model.generate(
            **own, do_sample=False, max_new_tokens=16, suppress_tokens=list(loaded.encoder.banned_ids)
        )
        assert whole[0, own["input_ids"].shape[1] :].tolist() == list(candidate.token_ids)


@pytest.mark.parametrize("noise", ["independent", "arithmetic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_do_not_depend_on_slots_or_company(family: str, noise: Noise) -> None:
    loaded, prompts = tiny(family), some_prompts()
    params = SamplingParams(temperature=0.8, max_new_tokens=24, noise=noise)
    wanted = HFPolicy(loaded, slots=1).generate(prompts, 3, params, seed=5)
    assert len({c.token_ids for row in wanted for c in row}) > 6
    for slots, order in ((3, [2, 0, 3, 1]), (32, [3, 1, 0, 2])):
        rows = HFPolicy(loaded, slots=slots).generate([prompts[i] for i in order], 3, params, seed=5)
        for i, row in zip(order, rows, strict=True):
            assert [c.token_ids for c in row] == [c.token_ids for c in wanted[i]]
            assert [c.text for c in row] == [c.text for c in wanted[i]]
    late = HFPolicy(loaded, slots=2).generate(prompts[:1], 1, params, seed=5, first_index=2)
    assert late[0][0].token_ids == wanted[0][2].token_ids
    assert late[0][0].index == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_and_scores_equal_a_plain_forward(family: str) -> None:
    loaded, prompts = tiny(family), some_prompts()
    policy = HFPolicy(loaded, slots=4)
    texts = [["Answer: 3", "x"], ["a longer reply than the others"], [], ["b", "Answer: 100", "c"]]
    scores = policy.score(prompts, texts)
    assert [len(row) for row in scores] == [2, 1, 0, 3]
    sampled = policy.generate(prompts, 1, SamplingParams(temperature=1.3, top_k=30, max_new_tokens=12))
    with torch.no_grad():
        for prompt, row, several, (candidate,) in zip(prompts, scores, texts, sampled, strict=True):
            encoded = loaded.encoder.prompt(prompt)
            for score, text in zip(row, several, strict=True):
                assert score.token_ids == loaded.encoder.target(text)
                expected = plain_logprobs(loaded.model, loaded.encoder, encoded, score.token_ids)
                assert score.logprobs == pytest.approx(expected, abs=1e-4)
            expected = plain_logprobs(loaded.model, loaded.encoder, encoded, candidate.token_ids)
            assert candidate.logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "noise"),
    [("idefics3", "independent"), ("qwen2_5_vl", "independent"), ("gemma3", "independent"), ("idefics3", "arithmetic")],
)
def test_the_plain_loop_draws_the_same(family: str, noise: Noise) -> None:
    """Models whose memory is not keys and values go one prompt at a time; the candidates are those of the
    slots.
    """
    loaded, prompts = tiny(family), some_prompts(2)
    params = SamplingParams(temperature=0.8, max_new_tokens=16, noise=noise)
    expected = HFPolicy(loaded).generate(prompts, 3, params, seed=1)
    slow = HFPolicy(loaded)
    slow._plain_reason = "layers of kind nothing"
    with pytest.warns(UserWarning, match="one after another"):
        rows = slow.generate(prompts, 3, params, seed=1)
    assert [[c.token_ids for c in row] for row in rows] == [[c.token_ids for c in row] for row in expected]
    fast = HFPolicy(loaded).score(prompts, [["a", "b"], ["c"]])
    for left, right in zip(slow.score(prompts, [["a", "b"], ["c"]]), fast, strict=True):
        assert [s.total for s in left] == pytest.approx([s.total for s in right], abs=1e-4)


class Older(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = torch.nn.Linear(2, 2)

    def forward(self, input_ids=None, past_key_values=None) -> None: ...


class Newer(Older):
    def forward(self, input_ids=None, cache=None) -> None: ...


@pytest.mark.parametrize(("kind", "name"), [(Older, "past_key_values"), (Newer, "cache")])
def test_the_memory_goes_under_the_name_the_model_takes(kind: type[Older], name: str) -> None:
    memory = DynamicCache()
    assert past_of(kind(), memory) == {name: memory}
    wrapped = get_peft_model(kind(), LoraConfig(r=1, target_modules=["lin"]))  # pyright: ignore[reportArgumentType]
    assert past_of(wrapped, memory) == {name: memory}


def test_a_long_sample_moves_the_memory() -> None:
    """Slots are refilled many times, so the block is shifted and enlarged; one slot gives the same."""
    loaded = tiny("idefics3")
    prompts = [words.solve(problem(i % 9), STYLE) for i in range(9)]
    params = SamplingParams(temperature=1.5, max_new_tokens=40)
    wanted = HFPolicy(loaded, slots=1).generate(prompts, 4, params)
    rows = HFPolicy(loaded, slots=2).generate(prompts, 4, params)
    assert [[c.token_ids for c in row] for row in rows] == [[c.token_ids for c in row] for row in wanted]
    assert {c.stop for row in rows for c in row} == {"eos", "length"}


def test_prompts_without_images_join_the_batch() -> None:
    loaded = tiny("idefics3")
    bare = words.solve(Problem("t", "What is 2 + 3?", "5", "number"), STYLE)
    assert loaded.encoder.prompt(bare) == Encoded(loaded.encoder.prompt(bare).ids)
    params = SamplingParams(temperature=0.8, max_new_tokens=8)
    together = HFPolicy(loaded).generate([*some_prompts(2), bare], 1, params)
    alone = HFPolicy(loaded).generate([bare], 1, params)
    assert together[2][0].token_ids == alone[0][0].token_ids
