"""One problem's branches as one row: every token that two branches share is stored, and computed, once.

The shared parts are found in the token ids, not declared, so no chat template is special. Branches are
sorted, and a branch adds to the row only what its predecessor does not already have; that is a depth-first
walk of the trie. In such a row, token i may attend to token j exactly if `j <= i < exit[j]`, where `exit[j]`
is where the last branch through j ends. This one vector is the whole description of the tree; plain causal
attention is `exit = L`.

Suffixes: L tokens of the row, T supervised target tokens, B branches, P preference pairs, 2 chosen and
rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from r3v.errors import DataError
from r3v.losses.contract import kind_index
from r3v.records import Example, Prompt


class EncodedPrompt(Protocol):
    """A prompt as token ids (image tokens expanded) and the pixel inputs of its images, by argument name."""

    @property
    def ids(self) -> Sequence[int]: ...

    @property
    def images(self) -> Mapping[str, Any]: ...


class TextEncoder(Protocol):
    """What a trie needs of `r3v.policies.model.encode.Encoder`."""

    def prompt(self, prompt: Prompt) -> Any: ...

    @property
    def fingerprint(self) -> str: ...

    def target(self, text: str, *, ended: bool = True) -> Sequence[int]: ...

    def positions(self, model: Any, ids: Sequence[int], images: Mapping[str, Any]) -> Tensor: ...


@dataclass(frozen=True)
class Layout:
    """Sequences laid out as one row. `path_BL[b]` lists the row indices that make up sequence b, in order."""

    ids_L: np.ndarray
    exit_L: np.ndarray
    path_BL: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Trie:
    """The branches of one problem (with the same images), ready to be collated.

    ids_L: token ids of the row. positions: [L], or [3, L] for M-RoPE: those each branch would have had alone.
    exit_L: attention of the row, see the module docstring.
    source_T: row index of the hidden state that predicts a target token; the first token of a target is
    predicted
        from the last token of its prompt. target_T: the target ids. branch_T: the branch, in the order of
        the examples.
    path_BL, prompt_B: row indices of each branch and how many of them are its prompt (for unfused rows).
    pair_P2: branch indices (chosen, rejected). images: pixel inputs, once.
    old_T: log-probabilities under the policy that sampled the tokens, NaN where there are none; None where no branch
    has any. importance_T: weights against an engine that samples with other probabilities, or None (all 1).
    aligned: what the processor says of each token besides, by argument name, shape L.
    """

    problem_id: str
    ids_L: Tensor
    positions: Tensor
    exit_L: Tensor
    source_T: Tensor
    target_T: Tensor
    branch_T: Tensor
    kind_B: Tensor
    weight_B: Tensor
    advantage_B: Tensor
    pair_P2: Tensor
    path_BL: tuple[Tensor, ...]
    prompt_B: tuple[int, ...]
    images: Mapping[str, Tensor] = field(default_factory=dict)
    old_T: Tensor | None = None
    importance_T: Tensor | None = None
    aligned: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_branches(self) -> int:
        return len(self.path_BL)

    @property
    def tokens(self) -> int:
        """Tokens of the fused row."""
        return int(self.ids_L.shape[0])

    @property
    def tokens_unfused(self) -> int:
        """Tokens the same branches take as separate rows."""
        return sum(int(path.shape[0]) for path in self.path_BL)


@dataclass(frozen=True)
class TrieStats:
    """What became of the examples: branches kept, branches dropped for length (by kind), tokens."""

    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    tokens_unfused: int = 0
    tokens_target: int = 0

    def __add__(self, other: TrieStats) -> TrieStats:
        return TrieStats(
            self.kept + other.kept,
            dict(Counter(self.dropped) + Counter(other.dropped)),
            self.tokens + other.tokens,
            self.tokens_unfused + other.tokens_unfused,
            self.tokens_target + other.tokens_target,
        )


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    return int(differs[0]) if len(differs) else n


def lay_out(sequences: Sequence[Sequence[int]]) -> Layout:
    """Token sequences as one row. Identical sequences and prefixes of one another share all they can.

    >>> layout = lay_out([[1, 2, 3], [1, 2, 4, 5]])
    >>> layout.ids_L.tolist(), layout.exit_L.tolist()
    ([1, 2, 3, 4, 5], [5, 5, 3, 5, 5])
    """
    order = sorted(range(len(sequences)), key=lambda b: tuple(sequences[b]))
    pieces: list[np.ndarray] = []
    path_BL: list[np.ndarray] = [np.zeros(0, np.int64)] * len(sequences)
    ends: list[int] = []
    length = 0
    previous, previous_path = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for b in order:
        ids = np.asarray(sequences[b], dtype=np.int64)
        shared = _common_prefix(previous, ids)
        pieces.append(ids[shared:])
        new = np.arange(length, length + len(ids) - shared)
        length += len(new)
        previous, previous_path = ids, np.concatenate([previous_path[:shared], new])
        path_BL[b] = previous_path
        ends.append(length)
    exit_L = np.zeros(length, np.int64)
    for b, end in zip(order, ends, strict=True):
        exit_L[path_BL[b]] = end
    return Layout(np.concatenate(pieces) if pieces else np.zeros(0, np.int64), exit_L, tuple(path_BL))


def own(example: Example, encoder: TextEncoder) -> Example:
    """The example as this encoder's model learns it: token ids that belong to another tokenizer are left out."""
    if not example.token_ids or example.tokenizer in ("", encoder.fingerprint):
        return example
    return replace(example, token_ids=(), logprobs=())


def target_ids(example: Example, encoder: TextEncoder) -> list[int]:
    """The ids an example teaches: those that were sampled, no more and no less, otherwise its text's."""
    return list(own(example, encoder).token_ids) or [*encoder.target(example.target, ended=example.ended)]


def _encode(example: Example, encoder: TextEncoder) -> tuple[list[int], list[int], Any]:
    encoded = encoder.prompt(example.prompt)
    prompt = [int(i) for i in encoded.ids]
    target = target_ids(example, encoder)
    if example.logprobs and len(example.logprobs) != len(example.token_ids):
        raise DataError(
            f"found {len(example.logprobs)} log-probabilities for {len(example.token_ids)} tokens, expected one each",
            row=example.problem_id,
            field="logprobs",
        )
    if not prompt or not target:
        empty = "prompt" if not prompt else "target"
        raise DataError(
            f"found a {example.kind} example whose {empty} has no tokens, expected at least one",
            row=example.problem_id,
            field=empty,
        )
    return prompt, target, encoded


def _too_long(examples: Sequence[Example], lengths: Sequence[int], max_tokens: int) -> set[int]:
    """Branches to leave out: longer than the limit, or the partner in a preference pair of one that is."""
    out = {i for i, n in enumerate(lengths) if n > max_tokens}
    pairs = {examples[i].pair for i in out} - {None}
    return out | {i for i, e in enumerate(examples) if e.pair is not None and e.pair in pairs}


def _pairs(examples: Sequence[Example]) -> list[tuple[int, int]]:
    chosen = {e.pair: i for i, e in enumerate(examples) if e.pair is not None and not e.rejected}
    rejected = {e.pair: i for i, e in enumerate(examples) if e.pair is not None and e.rejected}
    if chosen.keys() != rejected.keys():
        lonely = sorted(chosen.keys() ^ rejected.keys(), key=str)
        raise DataError(
            f"found preference pair {lonely[0]} with one side only, expected a chosen and a rejected branch",
            row=examples[0].problem_id,
            field="pair",
        )
    return [(chosen[p], rejected[p]) for p in sorted(chosen, key=str)]


def build_trie(
    examples: Sequence[Example], encoder: TextEncoder, *, model: Any = None, max_tokens: int = 2048
) -> tuple[Trie | None, TrieStats]:
    """The trie of examples that belong to one problem and show the same images; None when all were dropped.

    A branch longer than `max_tokens` (image tokens included) is dropped whole and counted, never cut; its
    partner in a preference pair goes with it. `model` is handed to `encoder.positions` (M-RoPE needs its
    rope index). Raises DataError for an empty prompt or target and for half a preference pair.
    """
    examples = [own(e, encoder) for e in examples]
    coded = [_encode(e, encoder) for e in examples]
    out = _too_long(examples, [len(p) + len(t) for p, t, _ in coded], max_tokens)
    dropped = dict(Counter(examples[i].kind for i in sorted(out)))
    kept = [i for i in range(len(examples)) if i not in out]
    if not kept:
        return None, TrieStats(dropped=dropped)
    branches = [examples[i] for i in kept]
    prompts, targets, encoded = zip(*(coded[i] for i in kept), strict=True)
    sequences = [p + t for p, t in zip(prompts, targets, strict=True)]
    layout = lay_out(sequences)
    images = dict(encoded[0].images)
    positions = _positions(sequences, layout, encoder, model, images)
    sources = [path[len(p) - 1 : -1] for path, p in zip(layout.path_BL, prompts, strict=True)]
    counts = [len(t) for t in targets]
    trie = Trie(
        problem_id=branches[0].problem_id,
        ids_L=torch.from_numpy(layout.ids_L),
        positions=positions,
        exit_L=torch.from_numpy(layout.exit_L),
        source_T=torch.from_numpy(np.concatenate(sources)),
        target_T=torch.tensor([i for t in targets for i in t]),
        branch_T=torch.repeat_interleave(torch.arange(len(branches)), torch.tensor(counts)),
        kind_B=torch.tensor([kind_index(e.kind) for e in branches]),
        weight_B=torch.tensor([float(e.weight) for e in branches]),
        advantage_B=torch.tensor([0.0 if e.advantage is None else float(e.advantage) for e in branches]),
        pair_P2=torch.tensor(_pairs(branches), dtype=torch.long).reshape(-1, 2),
        path_BL=tuple(torch.from_numpy(path) for path in layout.path_BL),
        prompt_B=tuple(len(p) for p in prompts),
        images=images,
        old_T=_sampled_logprobs(branches, counts),
        aligned=_aligned(encoded, layout),
    )
    stats = TrieStats(len(branches), dropped, trie.tokens, trie.tokens_unfused, sum(counts))
    return trie, stats


def _aligned(encoded: Sequence[Any], layout: Layout) -> dict[str, Tensor]:
    """Token types of the row, those of each branch; 0 for targets."""
    rows: dict[str, Tensor] = {}
    for e, path in zip(encoded, layout.path_BL, strict=True):
        for name, values in getattr(e, "aligned", {}).items():
            row = rows.setdefault(name, torch.zeros(len(layout.ids_L), dtype=torch.long))
            row[torch.from_numpy(path[: len(values)])] = torch.tensor(values)
    return rows


def _sampled_logprobs(branches: Sequence[Example], counts: Sequence[int]) -> Tensor | None:
    """Log-probabilities under the sampler, NaN for branches that have none; None where no branch has any."""
    if not any(e.logprobs for e in branches):
        return None
    return torch.tensor([p for e, n in zip(branches, counts, strict=True) for p in (e.logprobs or (float("nan"),) * n)])


def _positions(
    sequences: Sequence[Sequence[int]],
    layout: Layout,
    encoder: TextEncoder,
    model: Any,
    images: Mapping[str, Any],
) -> Tensor:
    """Positions of the row: those of each branch alone. Shared tokens agree, because positions depend on the
    past."""
    first = encoder.positions(model, sequences[0], images)
    row = torch.zeros((*first.shape[:-1], len(layout.ids_L)), dtype=torch.long)
    if first.dim() == 1:
        for path in layout.path_BL:
            row[torch.from_numpy(path)] = torch.arange(len(path))
        return row
    for ids, path in zip(sequences, layout.path_BL, strict=True):
        row[..., torch.from_numpy(path)] = encoder.positions(model, ids, images)
    return row


def group_examples(examples: Sequence[Example]) -> list[tuple[Example, ...]]:
    """Examples by problem and images, in order of first appearance.

    Branches that show other images cannot share image tokens, so they make a trie of their own.
    """
    groups: dict[tuple[Any, ...], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.problem_id, *example.prompt.images), []).append(example)
    return [tuple(group) for group in groups.values()]
