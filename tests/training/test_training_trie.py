"""Tries, batches and orders: pure functions of token ids, checked against values derived by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from letters import LetterEncoder, build, example

from r3v.errors import DataError
from r3v.losses import reduce, reflection
from r3v.losses.contract import KINDS
from r3v.training.layout.batching import collate, counts, padding_mask, tree_mask
from r3v.training.layout.order import divide, plan_epoch
from r3v.training.layout.trie import build_trie, group_examples, lay_out
from r3v.training.loader import StepLoader, in_background


def batch_of(tries, fused=True):
    return collate(tries, fused=fused, collate_images=lambda images: {})


def test_layout_by_hand():
    """[1 2 3], [1 2 4 5]: sorted they are laid out as 1 2 3 | 4 5; 3 is seen by nobody after row index 3."""
    layout = lay_out([[1, 2, 4, 5], [1, 2, 3]])
    assert layout.ids_L.tolist() == [1, 2, 3, 4, 5]
    assert layout.exit_L.tolist() == [5, 5, 3, 5, 5]
    assert [p.tolist() for p in layout.path_BL] == [[0, 1, 3, 4], [0, 1, 2]]


def test_layout_of_identical_and_prefix_sequences():
    """A sequence that is there already, or begins one that is, adds no token."""
    layout = lay_out([[1, 2, 3], [1, 2], [1, 2, 3]])
    assert layout.ids_L.tolist() == [1, 2, 3]
    assert [p.tolist() for p in layout.path_BL] == [[0, 1, 2], [0, 1], [0, 1, 2]]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=7))
def test_layout_shows_each_token_exactly_its_own_past(sequences):
    """Whatever the sequences: a path spells its sequence, no prefix is stored twice, and a token of a path
    attends to exactly the path before it."""
    layout = lay_out(sequences)
    mask = tree_mask(torch.from_numpy(layout.exit_L)[None])[0, 0]
    for ids, path in zip(sequences, layout.path_BL, strict=True):
        assert layout.ids_L[path].tolist() == ids
        for depth, i in enumerate(path.tolist()):
            assert mask[i].nonzero().flatten().tolist() == path[: depth + 1].tolist()
    prefixes = {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}
    assert len(layout.ids_L) == len(prefixes)


def test_first_target_token_is_predicted_from_the_last_prompt_token():
    """Prompts "qa", "qb", targets "x", "y": row q a x 0 b y 0. Sources: a, x | b, y = 1, 2 | 4, 5."""
    trie, stats = build([example("qa", "x"), example("qb", "y")])
    assert trie is not None
    assert "".join(chr(i) if i else "0" for i in trie.ids_L.tolist()) == "qax0by0"
    assert trie.source_T.tolist() == [1, 2, 4, 5]
    assert trie.target_T.tolist() == [ord("x"), 0, ord("y"), 0]
    assert trie.branch_T.tolist() == [0, 0, 1, 1]
    assert trie.positions.tolist() == [0, 1, 2, 3, 1, 2, 3]
    assert (stats.kept, stats.tokens, stats.tokens_unfused, stats.tokens_target) == (2, 7, 8, 4)


def test_long_branches_are_dropped_whole_and_counted():
    """Lengths are prompt + target + end: 4, 6, 5. A limit of 5 drops the second; 3 drops all."""
    branches = [example("qa", "x"), example("qa", "xyz", "refine"), example("qa", "xy")]
    trie, stats = build(branches, max_tokens=5)
    assert trie is not None
    assert (trie.n_branches, stats.dropped) == (2, {"refine": 1})
    assert max(len(path) for path in trie.path_BL) == 5
    nothing, stats = build(branches, max_tokens=3)
    assert nothing is None
    assert stats.dropped == {"answer": 2, "refine": 1}


def test_a_preference_pair_is_dropped_together():
    """The rejected side is too long, so the chosen side goes with it, and pair 8 is branches (1, 0)."""
    pairs = [
        example("q", "bad", "prefer", pair=8, rejected=True),
        example("q", "ok", "prefer", pair=8),
        example("q", "k", "prefer", pair=9),
        example("q", "much too long", "prefer", pair=9, rejected=True),
    ]
    trie, stats = build(pairs, max_tokens=6)
    assert trie is not None
    assert trie.pair_P2.tolist() == [[1, 0]]
    assert stats.dropped == {"prefer": 2}
    with pytest.raises(DataError, match="pair 8 with one side only"):
        build(pairs[:1])


def test_empty_target_or_prompt_is_an_error():
    encoder = LetterEncoder()
    encoder.target = lambda text, *, ended=True: []
    with pytest.raises(DataError, match="target has no tokens"):
        build_trie([example("q", "")], encoder)


def test_batch_gathers_the_same_targets_fused_and_unfused():
    """Two tries: the supervised (source id, target id) pairs are the same in both forms, in the same
    order."""
    one, _ = build([example("qa", "x"), example("qb", "y", "refine", weight=0.5)])
    two, _ = build([example("longer", "z", "select", "r")])
    fused, rows = batch_of([one, two]), batch_of([one, two], fused=False)
    assert fused.ids_RL.shape == (2, 8)
    assert rows.ids_RL.shape == (3, 8)
    for batch in (fused, rows):
        seen = batch.ids_RL.flatten()[batch.source_T].tolist()
        assert [chr(i) for i in seen] == ["a", "x", "b", "y", "r", "z"]
        assert batch.branch_T.tolist() == [0, 0, 1, 1, 2, 2]
        assert batch.group_B.tolist() == [0, 0, 1]
        assert batch.weight_B.tolist() == [1.0, 0.5, 1.0]
    assert padding_mask(rows).sum(1).tolist() == [4, 4, 8]
    assert (fused.n_tokens, rows.n_tokens) == (15, 16)


def test_padding_attends_to_itself_alone():
    mask = tree_mask(torch.tensor([[2, 2, 0, 0]]))[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_mrope_positions_and_plain_ones_share_a_batch():
    one, _ = build([example("qa", "x")])
    assert one is not None
    three = replace(one, positions=torch.arange(12).reshape(3, 4))
    batch = batch_of([one, three])
    assert batch.positions.shape == (3, 2, 4)
    assert batch.positions[:, 0].tolist() == [[0, 1, 2, 3]] * 3
    assert batch.positions[2, 1].tolist() == [8, 9, 10, 11]


def test_reflection_loss_of_a_batch_is_the_hand_value():
    """Log-probabilities -1 (answer, 2 tokens), -2 (refine, 2 tokens, weight 0.5): per-kind means 1 and 1,
    sum 2."""
    trie, _ = build([example("qa", "x"), example("qb", "y", "refine", weight=0.5)])
    batch = batch_of([trie])
    loss, _ = reduce(reflection(batch.loss_inputs(torch.tensor([-1.0, -1.0, -2.0, -2.0]))))
    assert float(loss) == pytest.approx(2.0)
    counted = dict(zip(KINDS, counts(reflection, batch).tolist(), strict=True))
    assert counted == {"answer": 2, "refine": 2, "select": 0, "keep": 0, "prefer": 0, "reinforce": 0}


def test_examples_are_grouped_by_problem():
    groups = group_examples([example("q", "a"), example("r", "a", problem="o"), example("q", "b")])
    assert [[e.target for e in g] for g in groups] == [["a", "b"], ["a"]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_holds_every_problem_once(sizes, per_step, epoch):
    steps = plan_epoch(sizes, per_step, seed=3, epoch=epoch)
    assert sorted(i for s in steps for i in s) == list(range(len(sizes)))
    assert all(len(s) <= per_step for s in steps)
    assert steps == plan_epoch(sizes, per_step, seed=3, epoch=epoch)


def test_orders_differ_by_seed_and_epoch():
    plans = [plan_epoch([1] * 50, 4, seed=s, epoch=e) for s, e in ((0, 0), (0, 1), (1, 0))]
    assert plans[0] != plans[1]
    assert plans[0] != plans[2]


def test_divide():
    assert divide([5, 6, 7, 8, 9], 3) == [[5, 6], [7, 8], [9]]
    assert divide([5], 3) == [[5], [], []]


def loader(n=7, **options) -> StepLoader:
    from r3v.training.loader import BatchMaker

    examples = [example("q" * (i + 1), "x" * (i % 3 + 1), problem=f"p{i}") for i in range(n)]
    maker = BatchMaker(lambda group: build(group, max_tokens=8), batch_of, lambda batch: counts(reflection, batch))
    return StepLoader(groups=group_examples(examples), maker=maker, per_step=3, seed=0, **options)


def shares(batch) -> list[float]:
    assert batch.step_denominators_K is not None
    return batch.step_denominators_K.tolist()


def names(batches) -> list[list[str]]:
    return [[t.problem_id for t in b.tries] for b in batches]


def test_loader_starts_anywhere_and_goes_the_same_way():
    """7 problems in steps of 3, two batches a step: 6 batches. From batch 3 on it is the tail of the
    whole."""
    whole = names(loader(accumulate=2))
    assert len(whole) == len(loader(accumulate=2)) == 6
    assert names(loader(accumulate=2, place=lambda: (0, 3))) == whole[3:]
    two = loader(epochs=2.0)
    assert names(two)[3:] == names(loader(place=lambda: (1, 0)))


def test_devices_and_accumulation_divide_a_step_and_share_its_denominators():
    """However a step is divided, the parts' problems are the step's, and denominators are summed over a
    device."""
    one = list(loader())
    ranks = [list(loader(world=2, rank=r, accumulate=2)) for r in range(2)]
    for step, whole in enumerate(one):
        parts = [b for r in ranks for b in r[2 * step : 2 * step + 2]]
        assert sorted(n for p in names(parts) for n in p) == sorted(names([whole])[0])
        per_rank = [shares(r[2 * step]) for r in ranks]
        assert [a + b for a, b in zip(*per_rank, strict=True)] == shares(whole)
        assert shares(ranks[0][2 * step]) == shares(ranks[0][2 * step + 1])


def test_loader_counts_drops_once():
    """Prompt i + 1, target i % 3 + 1, end 1: lengths 3 5 7 6 8 10 9, so a limit of 8 drops two, in epoch 0
    only."""
    dropped = [sum(b.stats.dropped.get("answer", 0) for b in loader(place=lambda e=e: (e, 0))) for e in (0, 1)]
    assert dropped == [2, 0]


def test_background_errors_reach_the_consumer():
    def items():
        yield 1
        raise DataError("broken row")

    made = in_background(items(), 2)
    assert next(made) == 1
    with pytest.raises(DataError, match="broken row"):
        next(made)
