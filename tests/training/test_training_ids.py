"""From the sampler to the batch of a fit: a candidate is taught and scored as the token ids that were sampled.

A random tiny model whose template opens a thought writes bytes that no tokenizer would put together in this way, so its
texts tokenised anew are other ids.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from some_prompts import STYLE, problem
from tiny_models import NAMES

from r3v import prompts as words
from r3v.policies.base import SamplingParams
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.policies.sampling.hf import HFPolicy
from r3v.records import Candidate, Example, Graded, Outcome, Problem, Verdict
from r3v.reflection.build import problem_examples
from r3v.rollout.shards import read_examples, read_shard, write_examples, write_shard
from r3v.settings.config import BuildConfig, ModelConfig, TrainConfig
from r3v.training.enough import tell_retold
from r3v.training.fit import fit
from r3v.training.forward import token_logprobs
from r3v.training.layout.trie import build_trie

# Lightning's loader asks torch's pytree in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
CONFIG = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}:{% if m['role'] == 'assistant' %}<think>\n\n</think>\n\n"
    "{% endif %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant:<think>\n{% endif %}"
)
PARAMS = SamplingParams(temperature=1.0, max_new_tokens=10)
PROBLEMS = {p.id: p for p in (problem(0), problem(1))}
OLD = Path(__file__).parents[1] / "run" / "run_0_1" / "round_01" / "candidates" / "shard-00000.parquet"


def thinking() -> Loaded:
    """The model, with a template that opens a thought, and so many tokens that end a reply that some do."""
    loaded = load(CONFIG, dry_run=True)
    loaded.processor.chat_template = TEMPLATE
    encoder = Encoder(loaded.processor, loaded.model.config)
    encoder.stop_ids = frozenset({encoder.eot_id, *range(30, 90)})
    return replace(loaded, encoder=encoder)


@dataclass
class Sampled:
    loaded: Loaded
    candidates: dict[str, list[Candidate]]

    def graded(self, change: Callable[[Candidate], Candidate] = lambda c: c) -> dict[str, list[Graded]]:
        right = Verdict(Outcome.CORRECT, "A")
        return {name: [Graded(change(c), right) for c in row] for name, row in self.candidates.items()}

    def examples(self, change: Callable[[Candidate], Candidate] = lambda c: c) -> list[Example]:
        cfg = BuildConfig(positives=8, refine=0, select=0, keep=1)
        return [
            e for name, row in self.graded(change).items() for e in problem_examples(PROBLEMS[name], row, cfg, STYLE, 0)
        ]

    @property
    def by_id(self) -> dict[str, Candidate]:
        return {c.id: c for row in self.candidates.values() for c in row}


@pytest.fixture(scope="module")
def sampled() -> Sampled:
    loaded = thinking()
    asked = [words.solve(p, STYLE) for p in PROBLEMS.values()]
    rows = HFPolicy(loaded).generate(asked, 6, PARAMS, seed=3)
    found = Sampled(loaded, dict(zip(PROBLEMS, rows, strict=True)))
    every = found.by_id.values()
    assert {c.stop for c in every} == {"eos", "length"}, "the tests need both"
    assert any(loaded.encoder.target(c.text, ended=c.stop == "eos") != c.token_ids for c in every), "and such a text"
    return found


def test_a_candidate_is_scored_as_it_was_sampled(sampled: Sampled) -> None:
    """The sum of what was sampled is what scoring gives: no lead before it, no end that it did not have."""
    asked = [words.solve(p, STYLE) for p in PROBLEMS.values()]
    for row, scores in zip(
        sampled.candidates.values(),
        HFPolicy(sampled.loaded).score(asked, list(sampled.candidates.values())),
        strict=True,
    ):
        for candidate, score in zip(row, scores, strict=True):
            assert candidate.token_ids == score.token_ids
            assert score.logprobs == pytest.approx(candidate.logprobs, abs=1e-4)


def test_a_branch_is_the_prompt_and_the_sampled_ids(sampled: Sampled, tmp_path: Path) -> None:
    """Through shards and example files, to the trie; and its log-probabilities are those of sampling."""
    path = tmp_path / "shard-00000.parquet"
    write_shard(path, [item for row in sampled.graded().values() for item in row])
    back = read_shard(path)
    assert [item.candidate for item in back] == [c for row in sampled.candidates.values() for c in row]
    write_examples(tmp_path / "examples.parquet", sampled.examples(), PROBLEMS)
    examples = read_examples(tmp_path / "examples.parquet", PROBLEMS)
    assert examples == sampled.examples()
    encoder, model = sampled.loaded.encoder, sampled.loaded.model
    for name in PROBLEMS:
        own = [e for e in examples if e.problem_id == name and e.kind == "answer"]
        assert len(own) > 3
        trie, _ = build_trie(own, encoder, model=model)
        assert trie is not None
        for example, where in zip(own, trie.path_BL, strict=True):
            candidate = sampled.by_id[example.sources[0]]
            whole = [*encoder.prompt(words.solve(PROBLEMS[name], STYLE)).ids, *candidate.token_ids]
            assert trie.ids_L[where].tolist() == whole
        told = [p for e in own for p in sampled.by_id[e.sources[0]].logprobs]
        with torch.no_grad():
            found = token_logprobs(model, collated(trie, encoder), "rows")
        assert found.tolist() == pytest.approx(told, abs=1e-4)


def collated(trie: Any, encoder: Encoder) -> Any:
    from r3v.training.layout.batching import collate

    return collate([trie], fused=False, collate_images=encoder.collate_images)


class Seen(pl.Callback):
    """The target ids of every batch of a fit."""

    def __init__(self) -> None:
        self.targets: list[list[int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for branch in range(batch.n_branches):
            self.targets.append(batch.target_T[batch.branch_T == branch].tolist())


def test_a_fit_is_given_the_sampled_ids_and_no_others(sampled: Sampled, tmp_path: Path) -> None:
    seen, examples = Seen(), sampled.examples()
    train = TrainConfig(problems_per_step=2, problems_per_batch=2, epochs=1)
    fit(
        thinking(), examples, train=train, model=CONFIG, out=tmp_path / "run" / "round_00", seed=0, callbacks=[seen],
        checkpoint_every=0,
    )  # fmt: skip
    expected = [list(sampled.by_id[e.sources[-1]].token_ids) for e in examples]
    assert sorted(seen.targets) == sorted(expected)
    assert {e.kind for e in examples} == {"answer", "keep"}


def test_ids_of_another_tokenizer_or_of_none_give_way_to_the_text(
    sampled: Sampled, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once for a run. What was cut off is taught no end by its text either."""
    encoder = sampled.loaded.encoder
    other = sampled.examples(lambda c: replace(c, tokenizer="another"))
    old = sampled.examples(lambda c: replace(c, tokenizer=""))
    assert [e.token_ids for e in old] == [()] * len(old)
    assert all(e.token_ids for e in other)
    for examples in (other, old):
        own = [e for e in examples if e.problem_id == "p0"]
        trie, _ = build_trie(own, encoder, model=sampled.loaded.model)
        assert trie is not None
        ends = 0
        for branch, example in enumerate(own):
            candidate = sampled.by_id[example.sources[0]]
            ids = tuple(trie.target_T[trie.branch_T == branch].tolist())
            assert ids == encoder.target(candidate.text.strip(), ended=candidate.stop == "eos")
            ends += ids[-1] == encoder.eot_id
        assert 0 < ends < len(own)
    mark, run = encoder.fingerprint, Path("a run of this test")
    with caplog.at_level(logging.WARNING):
        assert tell_retold(sampled.examples(), mark, run) == (0, 0)
        assert not caplog.records
        assert tell_retold([*other, *old[:2]], mark, run) == (2, len(other))
        assert tell_retold(other, mark, run) == (0, len(other))
    (line,) = caplog.messages
    assert f"{len(other) + 2} of {len(other) + 2} solutions are taught as their text tokenised anew" in line
    direct = [Example("answer", "p0", words.direct(PROBLEMS["p0"], STYLE), "Answer: A")]
    assert tell_retold(direct, mark, run) == (0, 0), "nobody sampled it"


def test_candidates_of_0_1_are_taught_as_their_text(sampled: Sampled) -> None:
    """Their shards hold 64-bit ids and no tokenizer; those of this problem were cut off after twelve tokens."""
    old = [item.candidate for item in read_shard(OLD) if item.candidate.stop == "length"]
    asked = Problem(old[0].problem_id, "?", "1", "number")
    row = [Graded(c, Verdict(Outcome.CORRECT, "1")) for c in old if c.problem_id == asked.id]
    assert [(len(g.candidate.token_ids), g.candidate.tokenizer) for g in row] == [(12, "")] * 2
    examples = problem_examples(asked, row, BuildConfig(positives=3, keep=0, select=0), STYLE, 0)
    assert [(e.kind, e.token_ids, e.ended) for e in examples] == [("answer", (), False)] * 2
    trie, _ = build_trie(examples, sampled.loaded.encoder)
    assert trie is not None
    plain = [sampled.loaded.encoder.target(e.target, ended=False) for e in examples]
    assert trie.target_T.tolist() == [i for ids in plain for i in ids]
