"""What a figure has to be compared with: the same problems answered by another model, or without their pictures.

Every comparison is paired: problems that either side has no answer to are left out of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from r3v.data.images import blank
from r3v.errors import RunError
from r3v.records import Problem
from r3v.run.evaluation import PROTOCOL, accuracy_by_problem
from r3v.stats import mcnemar_exact, paired_bootstrap, wilson

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Paired:
    """A figure beside its control on the n problems that both have an answer to. `difference`: the figure minus the
    control, with its 95 % interval (paired bootstrap). `p`: two-sided exact sign test on the problems that one of them
    alone gets right."""

    control: str
    metric: str
    n: int
    accuracy: float
    ci95: tuple[float, float]
    figure: str
    difference: float
    low: float
    high: float
    wins: int
    losses: int
    p: float

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ci95": list(self.ci95)}


def paired(rows: Iterable[Row], figure: str, others: Iterable[Row], metric: str, control: str) -> Paired:
    """Compare metric `figure` of `rows` with `metric` of `others`, which `control` names.

    Raises RunError where no problem has an answer of both.
    """
    own, other = accuracy_by_problem(rows, figure), accuracy_by_problem(others, metric)
    both = [name for name in own if name in other]
    if not both:
        raise RunError(
            f"no problem has an answer both of {figure} and of {control} ({metric}); measure both on the same problems"
        )
    a_N, b_N = [own[name] for name in both], [other[name] for name in both]
    difference, low, high = paired_bootstrap(a_N, b_N)
    return Paired(
        control=control,
        metric=metric,
        n=len(both),
        accuracy=sum(b_N) / len(both),
        ci95=wilson(sum(b_N), len(both)),
        figure=figure,
        difference=difference,
        low=low,
        high=high,
        wins=sum(a and not b for a, b in zip(a_N, b_N, strict=True)),
        losses=sum(b and not a for a, b in zip(a_N, b_N, strict=True)),
        p=mcnemar_exact(a_N, b_N),
    )


def without_pictures(problems: Sequence[Problem]) -> list[Problem]:
    """The problems with a white picture of the same size for each of theirs."""
    return [
        replace(
            problem,
            images=tuple(blank(image) for image in problem.images),
            meta={**problem.meta, PROTOCOL: f"{problem.meta.get(PROTOCOL, '')} blank".strip()},
        )
        for problem in problems
    ]
