"""Imitation losses: minus the log-probability of each target token, one unit per token.

`nll`, `refine`, `select` and `reflection` are one formula over different kinds of branches. `reflection` is
the fused loss of R3V (arXiv 2411.00855): answer, keep, refine and select branches in one batch. `prefer`
and `reinforce` branches are never imitated: half of them are wrong on purpose.
"""

from __future__ import annotations

from .contract import LossInputs, LossOutput, is_kind_T
from .pieces import check_inputs, kept, kind_table, widen

IMITATED: tuple[str, ...] = ("answer", "refine", "select", "keep")


def imitate(inputs: LossInputs, weights: dict[str, float]) -> LossOutput:
    """-w log p(token) for the branches whose kind is in `weights`; w is the branch weight times the kind
    weight.

    Tokens of other kinds are masked and not counted. Raises ValueError for an unknown kind or unequal
    lengths.
    """
    check_inputs(inputs)
    mask_T = inputs.mask_T & is_kind_T(inputs, *weights)
    logprobs_T = kept(widen(inputs.logprobs_T), mask_T)
    table_K = kind_table(weights, 0.0, logprobs_T)
    weight_B = inputs.weight_B.to(logprobs_T.dtype) * table_K[inputs.kind_B]
    count_T = mask_T.to(logprobs_T.dtype)
    return LossOutput(
        values_U=-logprobs_T * weight_B[inputs.branch_T],
        mask_U=mask_T,
        kind_U=inputs.kind_B[inputs.branch_T],
        count_U=count_T,
        metrics={"nll": (-logprobs_T.detach().sum(), count_T.sum())},
    )


def nll(inputs: LossInputs) -> LossOutput:
    """Negative log-likelihood of every imitated kind (answer, refine, select, keep), all alike."""
    return imitate(inputs, dict.fromkeys(IMITATED, 1.0))


def refine(inputs: LossInputs) -> LossOutput:
    """Refine and keep branches: they share one prompt, and without keep the model learns to change
    everything.
    """
    return imitate(inputs, {"refine": 1.0, "keep": 1.0})


def select(inputs: LossInputs) -> LossOutput:
    """Select branches alone."""
    return imitate(inputs, {"select": 1.0})


def reflection(
    inputs: LossInputs, *, answer: float = 1.0, keep: float = 1.0, refine: float = 1.0, select: float = 1.0
) -> LossOutput:
    """Answer + keep + refine + select, each kind with its weight (on top of the branch weights).

    With `reduce(mode="kind")` each kind is averaged over its own tokens, so adding refine examples never
    dilutes answer examples; with `mode="tokens"` and weights 1 it is the unweighted mix of the published
    recipe.
    """
    return imitate(inputs, {"answer": answer, "keep": keep, "refine": refine, "select": select})
