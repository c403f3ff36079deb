"""Losses as pure functions of per-token log-probabilities. torch is the only dependency.

    from r3v.losses import make_loss, reduce
    loss = make_loss("reflection", refine=0.5)
    scalar, metrics = reduce(loss(inputs))

`LossInputs` -> loss -> `LossOutput` (unreduced) -> `reduce` -> scalar; see `contract`. Adding a loss is one
function and one line in LOSSES. Adapters for other trainers: `rows`, `adapters` and `verl`.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from typing import Any

from .contract import KINDS, Loss, LossInputs, LossOutput, kind_index
from .logprobs import entropy, from_hidden, from_logits
from .pairwise import dpo, simpo
from .policy_gradient import Advantages, cispo, dapo, dr_grpo, group_advantages, grpo, gspo
from .reduce import denominators, reduce
from .tokenwise import nll, refine, reflection, select

LOSSES: dict[str, Loss] = {
    "nll": nll,
    "refine": refine,
    "select": select,
    "reflection": reflection,
    "dpo": dpo,
    "simpo": simpo,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "dapo": dapo,
    "gspo": gspo,
    "cispo": cispo,
}


def make_loss(name: str, **options: Any) -> Loss:
    """The loss called `name` with its options set. Raises ValueError for an unknown name or option, with
    the nearest.
    """
    if name not in LOSSES:
        raise ValueError(f"found loss {name!r}{_nearest(name, LOSSES)}, expected one of {', '.join(LOSSES)}")
    loss = LOSSES[name]
    known = [p.name for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            expected = f"expected one of {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"loss {name!r}: found option {option!r}{_nearest(option, known)}, {expected}")
    return functools.partial(loss, **options) if options else loss


def _nearest(word: str, known: Any) -> str:
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


__all__ = [
    "KINDS",
    "LOSSES",
    "Advantages",
    "Loss",
    "LossInputs",
    "LossOutput",
    "cispo",
    "dapo",
    "denominators",
    "dpo",
    "dr_grpo",
    "entropy",
    "from_hidden",
    "from_logits",
    "group_advantages",
    "grpo",
    "gspo",
    "kind_index",
    "make_loss",
    "nll",
    "reduce",
    "refine",
    "reflection",
    "select",
    "simpo",
]
