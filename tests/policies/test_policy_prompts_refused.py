"""Chat templates that cannot be used, and prompts longer than the model, are named before anything is sampled."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from some_prompts import problem, some_prompts
from tiny_models import NAMES, tiny

from r3v import prompts as words
from r3v.errors import ModelError, PromptError
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loading import load
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Candidate, Outcome
from r3v.rollout.rollout import bootstrap
from r3v.rollout.shards import read_shards
from r3v.selection.selector import Selector
from r3v.settings.config import ModelConfig, SampleConfig, SelectConfig


def encoder_with(template: str, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    loaded = tiny("idefics3")
    monkeypatch.setattr(loaded.processor, "chat_template", template)
    return Encoder(loaded.processor, loaded.model.config)


SOUND = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}{% if p.type == 'image' %}<image>"
    "{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "broken": ("{% for m in messages %}{{ m.role }}", "fails \\(TemplateSyntaxError: "),
    "raises": ("{{ raise_exception('roles must alternate') }}", "fails \\(TemplateError: roles must alternate\\)"),
    "unknown function": ("{% for m in messages %}{{ now(m) }}{% endfor %}", "fails \\(UndefinedError: 'now'"),
    "strings joined": ("{% for m in messages %}{{ m.role + m.content }}{% endfor %}", "fails \\(TypeError: "),
    "strings stripped": (
        "{% for m in messages %}{{ m.content.strip() }}{% endfor %}",
        "fails \\(UndefinedError: .*has no attribute 'strip'",
    ),
    "strings written": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
        "takes messages whose content is a string alone",
    ),
    "no text": (SOUND.replace("{{ p.text }}", ""), "leaves the text of a message out"),
    "no pictures": (SOUND.replace("<image>", ""), "leaves the pictures of a message out"),
}


def test_a_template_of_the_usual_kind_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoder_with(SOUND, monkeypatch).prompt(some_prompts(1)[0]).images


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_that_cannot_be_used_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template, said = TEMPLATES[kind]
    with pytest.raises(ModelError, match=rf"the chat template of Idefics3Processor {said}"):
        encoder_with(template, monkeypatch)


def short(positions: int, family: str = "idefics3") -> HFPolicy:
    """A policy whose model has so few positions."""
    loaded = load(ModelConfig(path=NAMES[family]), dry_run=True)
    loaded.model.config.get_text_config().max_position_embeddings = positions
    return HFPolicy(loaded, slots=4)


def test_a_prompt_longer_than_the_model_is_named_before_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of three prompts is the longest; nothing of the first two is drawn."""
    prompts = some_prompts(3)
    lengths = [len(tiny("idefics3").encoder.prompt(p).ids) for p in prompts]
    assert max(lengths) == lengths[2]
    params = SamplingParams(max_new_tokens=2)
    fits = short(lengths[2] + 1)
    assert all(len(row) == 1 for row in fits.generate(prompts, 1, params))
    policy = short(lengths[2])
    monkeypatch.setattr(policy, "_run", pytest.fail)
    with pytest.raises(
        PromptError, match=rf"problem 'p2': its prompt has {lengths[2]} tokens, \d+ of them of pictures"
    ):
        policy.generate(prompts, 1, params)


def test_a_scored_prompt_longer_than_the_model_is_named_before_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions for all but the last token of a reply are wanted, since nobody reads what comes after it."""
    prompts, encoder = some_prompts(3), tiny("idefics3").encoder
    texts = [["Answer: 1"], ["Answer: 1"], ["Answer: 1", "1 + 1 = 2.\nAnswer: 2"]]
    reply = len(encoder.target(texts[2][1]))
    longest = len(encoder.prompt(prompts[2]).ids) + reply - 1
    assert len(short(longest).score(prompts, texts)[2]) == 2
    policy = short(longest - 1)
    assert len(policy.score(prompts[2:], [["Answer: 1"]])[0]) == 1
    monkeypatch.setattr(policy, "_score_some", pytest.fail)
    with pytest.raises(
        PromptError, match=rf"problem 'p2': .* positions, which leaves fewer than the {reply} tokens of a reply\. "
    ) as refused:
        policy.score(prompts, texts)
    assert refused.value.problems == ("p2",)
    assert pickle.loads(pickle.dumps(refused.value)).problems == ("p2",), "as it comes from a worker"


def test_a_select_prompt_longer_than_the_model_leaves_the_choice_to_votes(caplog: pytest.LogCaptureFixture) -> None:
    """The prompt of the problem fits, that with two solutions in it does not: 1 has two votes of three."""
    one = problem(0)
    longest = len(tiny("idefics3").encoder.prompt(words.solve(one, words.style("short"))).ids)
    texts = ["1 + 0 = 1.\nAnswer: 1", "2 + 0 = 2.\nAnswer: 2", "Answer: 1"]
    candidates = [Candidate(one.id, 0, i, 0, text, model="m") for i, text in enumerate(texts)]
    selector = Selector(short(longest + 8), words.style("short"), SelectConfig(permutations=1))
    chosen = selector.choose("self_select", one, candidates)
    assert (chosen.answer, chosen.details["how"]) == ("A", "votes")
    assert "decided by votes: 1 problems" in caplog.text


def test_a_pool_goes_on_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row that says why; the others are sampled. It is not asked for again after a pause."""
    monkeypatch.setattr("time.sleep", pytest.fail)
    problems = [problem(i) for i in range(3)]
    longest = len(tiny("idefics3").encoder.prompt(words.solve(problems[2], words.style("short"))).ids)
    sample = replace(SampleConfig(), k=1, max_new_tokens=2, slots=4)
    bootstrap(short(longest), problems, tmp_path / "pool", sample=sample, style=words.style("short"), seed=0)
    found: dict[str, Any] = {g.candidate.problem_id: g.verdict for g in read_shards(tmp_path / "pool")}
    assert [found[f"p{i}"].outcome is Outcome.UNAVAILABLE for i in range(3)] == [False, False, True]
    assert "positions, which leaves none for an answer" in found["p2"].reason
