"""A batch in several passes: the same loss and gradient as in one, by a budget or because memory ran out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from allocator import allocator
from safetensors.torch import load_file
from tiny_models import NAMES, tiny
from training_examples import STYLE, examples_of, problem

from r3v.errors import EngineError
from r3v.losses import reduce, reflection, simpo
from r3v.policies.model.loading import add_lora, load
from r3v.prompts import solve
from r3v.records import Example
from r3v.settings.config import ModelConfig, TrainConfig
from r3v.training import module as module_file
from r3v.training.fit import fit
from r3v.training.forward import token_logprobs
from r3v.training.layout.batching import Batch, collate, counts
from r3v.training.layout.cut import halved, some_of, together
from r3v.training.layout.trie import Trie, build_trie
from r3v.training.passes import Passes, sum_of

pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
CONFIG = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8)
TRAIN = TrainConfig(problems_per_step=4, problems_per_batch=4, lr=1e-2, warmup=0.0, max_steps=1)


@pytest.fixture(scope="module")
def taught():
    """A tiny model with an adapter that says something, its trained weights, and four tries."""
    loaded = load(CONFIG, dry_run=True)
    model = add_lora(loaded.model, CONFIG, 0)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p.data, std=0.1, generator=torch.Generator().manual_seed(1))
    tries = [build_trie(examples_of(n), loaded.encoder, model=model)[0] for n in (3, 4, 5, 6)]
    return loaded, model, [p for p in model.parameters() if p.requires_grad], tries


def batch_of(loaded, tries: Sequence[Trie]) -> Batch:
    return collate(tries, collate_images=loaded.encoder.collate_images)


def run(taught, passes: Passes, tries: Sequence[Trie], loss=reflection):
    """Loss, metrics and gradient of the tries as one step."""
    loaded, model, parameters, _ = taught
    whole = batch_of(loaded, tries)
    total_K = counts(loss, whole)

    def share(batch: Batch):
        return reduce(loss(batch.loss_inputs(token_logprobs(model, batch, "fused"))), total_K)

    found, metrics = passes.run(whole, share, lambda some: batch_of(loaded, some), parameters, lambda x: x, False)
    gradient = torch.cat([g.flatten() for g in passes.gradients if g is not None])
    return float(found), metrics, gradient


def test_some_branches_of_a_trie_are_a_trie_of_their_own(taught) -> None:
    """As if it had been built of these examples alone; the row may lie in another order of equal tokens."""
    loaded, model, _, _ = taught
    examples = examples_of(7)
    trie, _ = build_trie(examples, loaded.encoder, model=model)
    assert trie is not None
    for chosen in ([0], [1, 3], [0, 2, 3]):
        made, (built, _) = some_of(trie, chosen), build_trie([examples[i] for i in chosen], loaded.encoder, model=model)
        assert built is not None
        for name in ("ids_L", "positions", "exit_L", "source_T", "target_T", "branch_T", "kind_B", "weight_B"):
            assert torch.equal(getattr(made, name), getattr(built, name)), name
        assert all(torch.equal(a, b) for a, b in zip(made.path_BL, built.path_BL, strict=True))
        assert made.prompt_B == built.prompt_B


def test_the_two_branches_of_a_pair_stay_together() -> None:
    """Four branches of which the first and the last are a pair: three units, two halves, nothing lost."""
    loaded = tiny("idefics3")
    prompt = solve(problem(3), STYLE)
    pair = [
        Example("prefer", "p3", prompt, "3 + 3 = 6. Answer: 6", pair=0),
        Example("answer", "p3", prompt, "6"),
        Example("answer", "p3", prompt, "It is six"),
        Example("prefer", "p3", prompt, "3 + 3 = 7. Answer: 7", pair=0, rejected=True),
    ]
    trie, _ = build_trie(pair, loaded.encoder, model=loaded.model)
    assert trie is not None
    assert sorted(map(sorted, together(trie))) == [[0, 3], [1], [2]]
    parts = halved([trie])
    assert parts is not None
    assert sorted(t.n_branches for half in parts for t in half) in ([1, 3], [2, 2])
    assert sum(len(t.pair_P2) for half in parts for t in half) == 1
    only = some_of(trie, [0, 3])
    assert only.pair_P2.tolist() == [[0, 1]]
    assert halved([only]) is None


@pytest.mark.parametrize("most", [1, 120])
def test_a_budget_cuts_a_batch_without_changing_its_loss_or_gradient(taught, most: int) -> None:
    tries = taught[3]
    loss, metrics, gradient = run(taught, Passes(), tries)
    cut, cut_metrics, cut_gradient = run(taught, Passes(most), tries)
    assert cut == pytest.approx(loss, rel=1e-5)
    assert float((cut_gradient - gradient).norm() / gradient.norm()) < 1e-5
    assert cut_metrics.keys() == metrics.keys()
    for name in metrics:
        assert float(cut_metrics[name]) == pytest.approx(float(metrics[name]), rel=1e-4), name


@pytest.mark.parametrize("share", [0.4])
def test_a_pass_that_runs_out_of_memory_is_halved_and_done_again(taught, share: float, caplog) -> None:
    """With 40 % of the memory that the whole takes: refused at least once, the same gradient, smaller passes
    from then on, and it is said."""
    tries = taught[3]
    with allocator() as free:
        loss, _, gradient = run(taught, Passes(), tries)
    passes = Passes()
    with caplog.at_level(logging.WARNING, logger="r3v.training.passes"), allocator(free.most * share) as tight:
        again, _, same = run(taught, passes, tries)
    assert tight.refused >= 1
    assert tight.most <= free.most * share
    assert passes.most is not None
    assert f"going on with {passes.most} (train.max_batch_tokens)" in caplog.records[-1].getMessage()
    assert again == pytest.approx(loss, rel=1e-5)
    assert float((same - gradient).norm() / gradient.norm()) < 1e-5
    with allocator(free.most * share) as next_batch:
        run(taught, passes, tries)
    assert next_batch.refused <= tight.refused


def test_a_trie_is_halved_between_its_branches(taught) -> None:
    tries = taught[3][:1]
    with allocator() as free:
        loss, _, gradient = run(taught, Passes(), tries)
    with allocator(free.most * 0.9) as tight:
        again, _, same = run(taught, Passes(), tries)
    assert tight.refused >= 1
    assert again == pytest.approx(loss, rel=1e-5)
    assert float((same - gradient).norm() / gradient.norm()) < 1e-5


def test_preference_pairs_are_cut_with_the_same_loss() -> None:
    loaded = load(CONFIG, dry_run=True)
    model = add_lora(loaded.model, CONFIG, 0)
    prompt = solve(problem(3), STYLE)
    examples = [
        Example("prefer", "p3", prompt, f"{n} is {word}", pair=n, rejected=word == "wrong")
        for n in (1, 2, 3)
        for word in ("right", "wrong")
    ]
    trie, _ = build_trie(examples, loaded.encoder, model=model)
    assert trie is not None
    taught = (loaded, model, [p for p in model.parameters() if p.requires_grad], [trie])
    loss, _, gradient = run(taught, Passes(), [trie], simpo)
    parts = halved([trie])
    assert parts is not None
    cut, _, same = run(taught, Passes(1), [t for half in parts for t in half], simpo)
    # Margins are ten times log-probabilities, and so is their rounding.
    assert cut == pytest.approx(loss, rel=1e-4)
    assert float((same - gradient).norm() / gradient.norm()) < 1e-4


def test_one_branch_that_is_too_much_names_the_settings(taught) -> None:
    with (
        allocator(150_000),
        pytest.raises(EngineError, match=r"lower train\.max_tokens.*gradient_checkpointing") as error,
    ):
        run(taught, Passes(), taught[3][:1])
    assert error.value.__context__ is None


def test_losses_and_counts_add_up_and_means_are_weighed() -> None:
    """Losses 1 and 2 on 1 and 3 tokens whose ratios are 4 and 8: 3, and (4 + 3 * 8) / 4 = 7."""
    parts = [
        (n, torch.tensor(x), {"loss": torch.tensor(x), "ratio": torch.tensor(r)})
        for n, x, r in ((1, 1.0, 4.0), (3, 2.0, 8.0))
    ]
    loss, metrics = sum_of(parts)
    assert float(loss) == 3.0
    assert float(metrics["loss"]) == 3.0
    assert float(metrics["ratio"]) == 7.0


def test_a_fit_cut_by_its_budget_ends_with_the_same_adapter(tmp_path: Path, monkeypatch) -> None:
    """Once in one pass, once trie by trie, once with a limit that is reckoned from free memory; the budget is no part
    of what a finished fit was made with."""
    examples = [e for n in (3, 4, 5, 6) for e in examples_of(n)]
    found = {}
    for name, most in (("whole", None), ("cut", 1), ("reckoned", None)):
        if name == "reckoned":
            monkeypatch.setattr(module_file, "pass_tokens", lambda *_: 1)
        train = replace(TRAIN, max_batch_tokens=most)
        result = fit(load(CONFIG, dry_run=True), examples, train=train, model=CONFIG, out=tmp_path / name, seed=0)
        found[name] = (result.losses, load_file(result.adapter / "adapter_model.safetensors"))
    for name in ("cut", "reckoned"):
        assert found[name][0] == pytest.approx(found["whole"][0], rel=1e-5)
        for key, value in found["whole"][1].items():
            torch.testing.assert_close(found[name][1][key], value, atol=2e-5, rtol=1e-3)
    again = fit(None, examples, train=TRAIN, model=CONFIG, out=tmp_path / "cut", seed=0)
    assert again.losses == found["cut"][0]
