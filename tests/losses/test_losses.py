"""Values and gradients of the losses against numbers worked out by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from losses_inputs import LN2, doubles, full_inputs, make_inputs
from torch import Tensor

from r3v.losses import (
    KINDS,
    LOSSES,
    LossInputs,
    denominators,
    make_loss,
    reduce,
)
from r3v.records import EXAMPLE_KINDS


def test_table_is_complete() -> None:
    """Eleven losses, each a function of LossInputs that counts something on inputs that have everything."""
    assert len(LOSSES) == 11
    for name, loss in LOSSES.items():
        output = loss(full_inputs())
        assert output.values_U.shape == output.mask_U.shape == output.kind_U.shape == output.count_U.shape, name
        assert denominators(output).sum() > 0, name


def test_kinds_are_those_of_the_records() -> None:
    assert KINDS == EXAMPLE_KINDS


def test_nll_by_hand() -> None:
    """Branch 0 (answer, weight 2): log 1/2, log 1/4; branch 1 (select): log 1/8; the second token is masked.

    Values 2 ln2, 0, 3 ln2. Kind mode: 2 ln2 / 1 + 3 ln2 / 1 = 5 ln2. Token mode: 5 ln2 / 2.
    """
    inputs = make_inputs([-LN2, -2 * LN2, -3 * LN2], [0, 0, 1], ["answer", "select"], [True, False, True], [2.0, 1.0])
    output = make_loss("nll")(inputs)
    torch.testing.assert_close(output.values_U, doubles(2 * LN2, 0, 3 * LN2))
    assert output.count_U.tolist() == [1, 0, 1]
    loss, metrics = reduce(output)
    assert float(loss.detach()) == pytest.approx(5 * LN2)
    assert float(metrics["loss/select"]) == pytest.approx(3 * LN2)
    assert float(metrics["nll"]) == pytest.approx((1 + 3) * LN2 / 2), "unweighted"
    assert float(reduce(output, mode="tokens")[0].detach()) == pytest.approx(2.5 * LN2)


def test_each_kind_has_its_own_denominator() -> None:
    """One answer token (ln2) and four refine tokens (ln2 each): 1 ln2 + 1 ln2, however many refine tokens
    there are.

    With refine weighted 0.5: 1.5 ln2. In token mode the answer's gradient shrinks to 1/5; in kind mode it
    is 1.
    """
    inputs = make_inputs([-LN2] * 5, [0, 1, 1, 1, 1], ["answer", "refine"])
    loss, _ = reduce(make_loss("reflection")(inputs))
    assert float(loss.detach()) == pytest.approx(2 * LN2)
    half, _ = reduce(make_loss("reflection", refine=0.5)(inputs))
    assert float(half.detach()) == pytest.approx(1.5 * LN2)
    again, _ = reduce(make_loss("reflection")(inputs), kind_weights={"refine": 0.5})
    assert float(again.detach()) == pytest.approx(1.5 * LN2)
    loss.backward()
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-1, -0.25, -0.25, -0.25, -0.25))
    inputs.logprobs_T.grad = None
    reduce(make_loss("reflection")(inputs), mode="tokens")[0].backward()
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-0.2, -0.2, -0.2, -0.2, -0.2))


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("nll", {"answer", "refine", "select", "keep"}),
        ("reflection", {"answer", "refine", "select", "keep"}),
        ("refine", {"refine", "keep"}),
        ("select", {"select"}),
        ("dpo", {"prefer"}),
        ("simpo", {"prefer"}),
        ("grpo", {"reinforce"}),
        ("dr_grpo", {"reinforce"}),
        ("dapo", {"reinforce"}),
        ("gspo", {"reinforce"}),
        ("cispo", {"reinforce"}),
    ],
)
def test_which_kinds_a_loss_trains(name: str, trained: set[str]) -> None:
    counted = denominators(make_loss(name)(full_inputs()))
    assert {kind for kind, count in zip(KINDS, counted.tolist(), strict=True) if count} == trained


def test_dpo_by_hand() -> None:
    """beta 0.5; chosen gains -1 - (-3) = 2 over the reference, rejected -2 - (-2) = 0: h = 1.

    value = log(1 + e^-1) = 0.313261687; with label smoothing 0.1: 0.9 * 0.313261687 + 0.1 * 1.313261687
    = 0.413261687. The chosen branch's weight 2 multiplies it; d value / d logp(chosen token) = -beta
    sigmoid(-1).
    """
    inputs = make_inputs(
        [-0.25, -0.75, -2.0],
        [0, 0, 1],
        ["prefer", "prefer"],
        weights=[2.0, 5.0],
        reference_T=doubles(-1.0, -2.0, -2.0),
        pair_P2=torch.tensor([[0, 1]]),
    )
    output = make_loss("dpo", beta=0.5)(inputs)
    assert output.values_U.tolist() == pytest.approx([2 * 0.313261687])
    assert output.count_U.tolist() == [1.0]
    assert float(output.metrics["dpo_accuracy"][0]) == 1.0
    output.values_U.sum().backward()
    slope = 2 * 0.5 / (1 + math.e)
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-slope, -slope, slope))
    smooth = make_loss("dpo", beta=0.5, label_smoothing=0.1)(inputs)
    assert smooth.values_U.tolist() == pytest.approx([2 * 0.413261687])


def test_simpo_by_hand() -> None:
    """beta 2, gamma 0.5; the chosen branch's mean is (-0.25 - 0.75) / 2 = -0.5, the rejected one's -1.25: h = 1.

    value = log(1 + e^-1) = 0.313261687, times weight 2. A token of the chosen branch moves the mean by a half: d value
    / d logp = -2 * 2 * 0.5 * sigmoid(-1).
    """
    inputs = make_inputs(
        [-0.25, -0.75, -1.25],
        [0, 0, 1],
        ["prefer", "prefer"],
        weights=[2.0, 5.0],
        pair_P2=torch.tensor([[0, 1]]),
    )
    output = make_loss("simpo", beta=2.0, gamma=0.5)(inputs)
    assert output.values_U.tolist() == pytest.approx([2 * 0.313261687])
    assert float(output.metrics["simpo_margin"][0]) == pytest.approx(1.0)
    output.values_U.sum().backward()
    slope = 2 * 2 / (1 + math.e)
    assert inputs.logprobs_T.grad is not None
    torch.testing.assert_close(inputs.logprobs_T.grad, doubles(-slope / 2, -slope / 2, slope))


@pytest.mark.parametrize("name", ["dpo", "simpo"])
def test_pair_without_tokens_is_masked(name: str) -> None:
    inputs = make_inputs(
        [-1.0, -2.0],
        [0, 1],
        ["prefer", "prefer"],
        mask=[True, False],
        reference_T=doubles(-1.0, -2.0),
        pair_P2=torch.tensor([[0, 1]]),
    )
    output = make_loss(name)(inputs)
    assert (output.values_U.tolist(), output.count_U.tolist()) == ([0.0], [0.0])


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradcheck(name: str) -> None:
    inputs = full_inputs()
    loss = make_loss(name)

    def scalar(logprobs_T: Tensor) -> Tensor:
        return reduce(loss(replace(inputs, logprobs_T=logprobs_T)))[0]

    start = inputs.logprobs_T.detach().clone().requires_grad_()
    if name == "cispo":
        # Its gradient is by definition not the derivative of its value: the weight is a constant.
        loss(replace(inputs, logprobs_T=start)).values_U.sum().backward()
        assert start.grad is not None
        assert bool(torch.isfinite(start.grad).all())
    else:
        assert torch.autograd.gradcheck(scalar, (start,))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("poison", [float("nan"), float("-inf")])
def test_masked_tokens_are_exactly_zero(name: str, poison: float) -> None:
    """Whatever a masked token holds, it changes no value, and its gradient is 0 and not -0.0 times
    something.
    """
    clean = full_inputs()
    assert 0 < int((~clean.mask_T).sum()) < clean.mask_T.numel()
    logprobs_T = torch.where(clean.mask_T, clean.logprobs_T.detach(), poison).requires_grad_()
    output = make_loss(name)(replace(clean, logprobs_T=logprobs_T))
    assert bool((output.values_U[~output.mask_U] == 0).all())
    assert bool((output.count_U[~output.mask_U] == 0).all())
    loss, metrics = reduce(output)
    loss.backward()
    assert logprobs_T.grad is not None
    assert bool((logprobs_T.grad[~clean.mask_T] == 0).all())
    assert bool(torch.isfinite(logprobs_T.grad).all())
    torch.testing.assert_close(loss, reduce(make_loss(name)(clean))[0])
    assert all(math.isfinite(float(value)) for value in metrics.values())


def part(inputs: LossInputs, branches: list[int]) -> tuple[LossInputs, Tensor]:
    """The inputs with only these branches, renumbered, and the positions of their tokens."""
    chosen_T = torch.isin(inputs.branch_T, torch.tensor(branches))
    new_index = torch.full((inputs.n_branches,), -1)
    new_index[branches] = torch.arange(len(branches))
    per_token = {
        name: None if (value := getattr(inputs, name)) is None else value[chosen_T]
        for name in ("logprobs_T", "mask_T", "reference_T", "old_T")
    }
    per_branch = {name: getattr(inputs, name)[branches] for name in ("kind_B", "weight_B", "advantage_B")}
    assert inputs.pair_P2 is not None
    pair_P2 = new_index[inputs.pair_P2]
    return (
        replace(
            inputs,
            branch_T=new_index[inputs.branch_T[chosen_T]],
            group_B=None,
            pair_P2=pair_P2[(pair_P2 >= 0).all(dim=1)],
            **per_token,
            **per_branch,
        ),
        chosen_T,
    )


@pytest.mark.parametrize("mode", ["kind", "tokens"])
@pytest.mark.parametrize("name", list(LOSSES))
def test_parts_add_up_to_the_whole(name: str, mode: str) -> None:
    """Two micro-batches of unequal size and shared denominators give the value and gradient of one batch."""
    inputs, loss = full_inputs(), make_loss(name)
    whole, _ = reduce(loss(inputs), mode=mode)  # pyright: ignore[reportArgumentType]
    (expected,) = torch.autograd.grad(whole, inputs.logprobs_T)
    parts = [part(inputs, [0, 4, 5, 9])[0], part(inputs, [1, 2, 3, 6, 7, 8])[0]]
    counts_K = sum(denominators(loss(p)) for p in parts)
    assert isinstance(counts_K, Tensor)
    values = [reduce(loss(p), counts_K, mode=mode)[0] for p in parts]  # pyright: ignore[reportArgumentType]
    total = values[0] + values[1]
    torch.testing.assert_close(total, whole)
    (found,) = torch.autograd.grad(total, inputs.logprobs_T)
    torch.testing.assert_close(found, expected)


def test_order_of_tokens_does_not_matter() -> None:
    """A packed layout may interleave branches in any order."""
    inputs = full_inputs()
    order_T = torch.randperm(inputs.logprobs_T.shape[0], generator=torch.Generator().manual_seed(1))
    shuffled = replace(
        inputs,
        **{
            name: getattr(inputs, name)[order_T]
            for name in ("logprobs_T", "branch_T", "mask_T", "reference_T", "old_T")
        },
    )
    for name in LOSSES:
        loss = make_loss(name)
        torch.testing.assert_close(reduce(loss(shuffled))[0], reduce(loss(inputs))[0])


def test_empty_batch_is_zero_with_a_gradient() -> None:
    """No target tokens: 0, connected to the graph, so that distributed training does not hang on this
    device.
    """
    inputs = make_inputs([-1.0], [0], ["answer"], mask=[False])
    loss, metrics = reduce(make_loss("nll")(inputs))
    loss.backward()
    assert float(loss.detach()) == 0
    assert inputs.logprobs_T.grad is not None
    assert inputs.logprobs_T.grad.tolist() == [0.0]
    assert not [name for name in metrics if name.startswith("count/")]


def test_16_bit_log_probabilities_are_summed_in_32() -> None:
    """4,096 tokens of -1/256 sum to 16 exactly; a bfloat16 sum would stall long before."""
    inputs = make_inputs([-1 / 256] * 4096, [0] * 4096, ["answer"])
    output = make_loss("nll")(replace(inputs, logprobs_T=inputs.logprobs_T.detach().bfloat16()))
    assert output.values_U.dtype == torch.float32
    assert float(reduce(output)[0]) == 1 / 256


def test_unknown_names_are_errors_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"found loss 'reflexion' \(did you mean 'reflection'\?\)"):
        make_loss("reflexion")
    with pytest.raises(ValueError, match=r"'dpo': found option 'betta' \(did you mean 'beta'\?\)"):
        make_loss("dpo", betta=0.1)
    with pytest.raises(ValueError, match=r"'nll': found option 'beta', it takes none"):
        make_loss("nll", beta=0.1)
    with pytest.raises(ValueError, match="mode 'mean'"):
        reduce(make_loss("nll")(full_inputs()), mode="mean")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="found loss kind 'solve'"):
        reduce(make_loss("nll")(full_inputs()), kind_weights={"solve": 1.0})


@pytest.mark.parametrize(
    ("name", "field"), [("dpo", "reference_T"), ("dpo", "pair_P2"), ("simpo", "pair_P2"), ("grpo", "advantage_B")]
)
def test_missing_inputs_are_named(name: str, field: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}': found {field}=None"):
        make_loss(name)(replace(full_inputs(), **{field: None}))


def test_wrong_shapes_and_denominators_are_errors() -> None:
    inputs = full_inputs()
    with pytest.raises(ValueError, match=r"LossInputs.mask_T: found shape \(29,\), expected \(30,\)"):
        make_loss("nll")(replace(inputs, mask_T=inputs.mask_T[1:]))
    output = make_loss("nll")(inputs)
    with pytest.raises(ValueError, match=r"found denominators of shape \(2,\), expected \(6,\)"):
        reduce(output, torch.ones(2))
    with pytest.raises(ValueError, match="smaller than this output's own counts"):
        reduce(output, denominators(output) - 1)


def test_import_costs_torch_alone() -> None:
    """`import r3v.losses` loads no other part of r3v and nothing that `import torch` does not load."""
    code = (
        "import sys, json, torch; before = set(sys.modules);"
        "import r3v.losses, r3v.losses.adapters, r3v.losses.verl;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    new = json.loads(done.stdout)
    light = ("r3v", "r3v.moved", "r3v.version")  # the package itself, which loads nothing
    ours = {name for name in new if name in light or name.startswith("r3v.losses")}
    assert len(ours) >= 11, "the package itself was not loaded"
    third_party = {name.split(".")[0] for name in set(new) - ours} - set(sys.stdlib_module_names) - {"torch"}
    assert third_party == set()
