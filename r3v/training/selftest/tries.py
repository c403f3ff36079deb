"""What the self-test of a fit is made on: the smallest tries that say enough, and how they are cut into batches.

The first batch of a fit is a matter of chance, and with one problem a batch it is one trie. So tries are taken from all
the fit has, the smallest first, those with several branches before others (only they say anything about a mask), until
they hold enough target tokens; and no pass holds more than the batch that is about to be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r3v.policies.model.agreement import TOKENS
from r3v.records import Example
from r3v.training.layout.trie import Trie, TrieStats

ENOUGH = {"half": TOKENS, "full": 60}
"""Target tokens to compare: noise in 16 bit is broad, in float32 it is a millionth of any fault."""
MOST_TRIES = 40
"""Tries encoded for the test at most, where targets are a few tokens long."""
Make = Callable[[Sequence[Example]], tuple[Trie | None, TrieStats]]


def chosen(
    ready: Sequence[Trie], groups: Sequence[Sequence[Example]], make: Make, *, cap: int, enough: int
) -> list[Trie]:
    """Tries of at most `cap` tokens with `enough` target tokens between them, as far as they go round; of the first
    batch (`ready`) only where no examples are at hand. At least one, the smallest, whatever its size.
    """
    if groups:
        order = sorted(range(len(groups)), key=lambda i: (len(groups[i]) < 2, _characters(groups[i]), i))
        pool = (make(groups[i])[0] for i in order[:MOST_TRIES])
    else:
        pool = iter(sorted(ready, key=lambda t: (t.n_branches < 2, t.tokens)))
    found: list[Trie] = []
    too_large: list[Trie] = []
    tokens = 0
    for trie in pool:
        if trie is None:
            continue
        if trie.tokens > cap:
            too_large.append(trie)
            continue
        found.append(trie)
        tokens += len(trie.target_T)
        if tokens >= enough:
            break
    return found or sorted(too_large, key=lambda t: t.tokens)[:1]


def _characters(group: Sequence[Example]) -> int:
    return sum(len(m.text) for e in group for m in e.prompt.messages) + sum(len(e.target) for e in group)
