"""Training on nothing is an error, and training on less than was built, or on other tokens than were sampled, is said.

A limit on tokens that is too low drops every example, the loss is 0.0, and the adapter is the one the fit began with.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from r3v.errors import DataError
from r3v.records import Example
from r3v.training.layout.trie import TrieStats

log = logging.getLogger(__name__)
DROPPED = 0.05
"""Share of the examples beyond which dropping is told."""
_TOLD: set[Path] = set()
"""Runs of which `tell_retold` has spoken."""
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


def tell_retold(examples: Sequence[Example], fingerprint: str, run: Path) -> tuple[int, int]:
    """How many whole solutions are taught as their text tokenised anew: those without known token ids, and those whose
    ids are of another tokenizer or chat template than `fingerprint`. Said once for each run in each process."""
    whole = [e for e in examples if e.token_ids or (e.sources and e.kind != "select")]
    without = sum(not e.token_ids for e in whole)
    other = sum(len(e.token_ids) > 0 and e.tokenizer not in ("", fingerprint) for e in whole)
    if (without or other) and run.absolute() not in _TOLD:
        _TOLD.add(run.absolute())
        log.warning(
            "%d of %d solutions are taught as their text tokenised anew, not as the tokens that were sampled: %d came "
            "without token ids that are known (from a server, or a version that kept no tokenizer beside them), %d "
            "from another tokenizer or chat template",
            without + other, len(whole), without, other,
        )  # fmt: skip
    return without, other
