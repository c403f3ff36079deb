"""Training on nothing is an error, and training on less than was built is said.

A limit on tokens that is too low drops every example, the loss is 0.0, and the adapter is the one the fit began with.
"""

from __future__ import annotations

import logging

from r3v.errors import DataError
from r3v.training.layout.trie import TrieStats

log = logging.getLogger(__name__)
DROPPED = 0.05
"""Share of the examples beyond which dropping is told."""
FIX = "Raise train.max_tokens (image tokens count), or lower model.max_pixels or sample.max_new_tokens"


def nothing_fits(max_tokens: int, tried: int) -> DataError:
    """The error for a fit whose smallest examples are too long."""
    return DataError(
        f"found no example of at most {max_tokens} tokens among the {tried} smallest problems, expected at least one",
        field="train.max_tokens",
        fix=FIX,
    )


def check_kept(stats: TrieStats, max_tokens: int) -> None:
    """Raise DataError where nothing was trained on; tell where more than DROPPED of the examples were too long."""
    dropped = sum(stats.dropped.values())
    if not stats.kept or not stats.tokens_target:
        raise DataError(
            f"found {stats.kept} examples and {stats.tokens_target} target tokens to train on, {dropped} examples "
            f"longer than {max_tokens} tokens; expected at least one",
            field="train.max_tokens",
            fix=FIX,
        )
    share = dropped / (dropped + stats.kept)
    if share > DROPPED:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(stats.dropped.items()))
        log.warning(
            "%.0f %% of the examples (%s) are longer than %d tokens and were not trained on. %s",
            100 * share, kinds, max_tokens, FIX,
        )  # fmt: skip
