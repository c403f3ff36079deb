"""Scoring without doing anything twice: what prompts of one image have in common is computed once.

Three levels, each attending to those before it: the root (image and question, shared by all prompts of the image),
the stem (the rest of one prompt), the twigs (the continuations, each with the last prompt token before it, so that
its logits come from one call). Select prompts differ after the question, so their roots are shared by all orders;
and the root is that of the prompt which the candidates were sampled from, so it may be at hand (`KeptPrompts`).

Suffixes: N layers, R rows, P prompt length, T new tokens, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from r3v.plan.serving import MOST
from r3v.policies.model.calls import device_of, past_of, stacked, takes
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.forward import Prefill, prefill
from r3v.policies.model.structure import base_model
from r3v.policies.sampling.parts import parts_of
from r3v.policies.sampling.prefixes import Place, ancestor_of, place_of
from r3v.policies.sampling.shared import Ancestor, SharedCalls, ancestor

CALL_TOKENS = 64
"""What one more call of the model costs, in tokens of a larger one."""


class KeptPrompts:
    """Prefills of the prompts sampled last, the oldest given up beyond a number of bytes.

    They serve whoever asks the same prompt again (greedy after samples) and the scorer, whose prompts begin alike.
    All belong to one state of the weights; `begin` with another state forgets them.
    """

    def __init__(self, limit: int = MOST.kept_bytes) -> None:
        self._limit, self._bytes = limit, 0
        self._state: Any = None
        self._blocks: deque[tuple[tuple[Encoded, ...], Prefill]] = deque()
        self._found: dict[str, list[tuple[Encoded, Prefill, int]]] = {}

    def begin(self, state: Any) -> None:
        """What is asked for and kept from now on belongs to `state`."""
        if state != self._state:
            self._state, self._bytes = state, 0
            self._blocks.clear()
            self._found.clear()

    def keep(self, encoded: Sequence[Encoded], start: Prefill) -> None:
        """Keep a prefill, unless it alone is too large."""
        size = _bytes(start)
        if size > self._limit:
            return
        while self._bytes + size > self._limit:
            gone, old = self._blocks.popleft()
            self._bytes -= _bytes(old)
            for prompt in gone:
                left = [item for item in self._found[prompt.image_key] if item[1] is not old]
                self._found[prompt.image_key] = left
        self._bytes += size
        self._blocks.append((tuple(encoded), start))
        for row, prompt in enumerate(encoded):
            self._found.setdefault(prompt.image_key, []).append((prompt, start, row))

    def same(self, prompt: Encoded) -> tuple[Prefill, int] | None:
        """The prefill and row of exactly this prompt."""
        some = self._found.get(prompt.image_key, ())
        return next(((start, row) for kept, start, row in some if kept.ids == prompt.ids), None)

    def most_alike(self, image_key: str, ids: Sequence[int]) -> tuple[int, Prefill, int] | None:
        """(tokens in common, prefill, row) of the kept prompt that begins most like `ids`, of the same images."""
        some = [(common_length(kept.ids, ids), start, row) for kept, start, row in self._found.get(image_key, ())]
        return max(some, key=lambda item: item[0], default=None)


def _bytes(start: Prefill) -> int:
    return start.keys.nbytes + start.values.nbytes + start.logits.nbytes


@dataclass(frozen=True)
class _Stems:
    """Keys, values and lengths of stems, those of like length together, and the place of each prompt's among them."""

    parts: list[tuple[Tensor, Tensor, list[tuple[int, int]]]]
    at: dict[int, int]


def weights_state(model: Any, name: str) -> tuple[Any, ...]:
    """Changes when the weights may have: with the policy's name, the active adapters, or a write to a trained weight.

    Weights made in inference mode count no writes and are taken as constant.
    """
    written = sum(p._version for p in model.parameters() if p.requires_grad and not p.is_inference())
    first = next((m for m in model.modules() if hasattr(m, "lora_A") and hasattr(m, "disable_adapters")), None)
    adapters = () if first is None else (*first.active_adapters, first.disable_adapters)
    return name, written, adapters


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


class TreeScorer:
    """Scores continuations of prompts with a model that can attend to shared blocks."""

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        kept: KeptPrompts,
        *,
        rows: int,
        logits: int,
    ) -> None:
        self.model, self.encoder, self.kept = model, encoder, kept
        self.rows, self.logits = rows, logits
        self.calls = SharedCalls(model)
        self.device = device_of(model)
        self._keep: dict[str, Any] = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}

    def score(
        self, encoded: Sequence[Encoded], targets: Sequence[Sequence[tuple[int, ...]]]
    ) -> list[list[list[float]]]:
        """Log-probabilities of each target of each prompt, token by token."""
        roots, root_of = self._roots(encoded)
        positions = [self.encoder.positions(self.model, e.ids, e.images) for e in encoded]
        stems = self._stems(encoded, positions, roots, root_of)
        flat = [(i, ids) for i, several in enumerate(targets) for ids in several]
        flat_order = sorted(range(len(flat)), key=lambda n: len(flat[n][1]))
        lines: list[list[float]] = [[] for _ in flat]
        vocabulary = int(base_model(self.model).config.get_text_config().vocab_size)
        begin = 0
        while begin < len(flat_order):
            longest = len(flat[flat_order[begin]][1])
            size = max(1, min(self.rows, self.logits // (longest * vocabulary)))
            part = flat_order[begin : begin + size]
            found = self._twigs(encoded, positions, roots, root_of, stems, [flat[n] for n in part])
            for n, line in zip(part, found, strict=True):
                lines[n] = line
            begin += size
        out: list[list[list[float]]] = [[] for _ in encoded]
        for (i, _), line in zip(flat, lines, strict=True):
            out[i].append(line)
        return out

    # ---- levels ----------------------------------------------------------------------------------

    def _roots(self, encoded: Sequence[Encoded]) -> tuple[list[Place], list[int]]:
        """The roots, kept or computed, and which of them each prompt grows from."""
        groups: dict[tuple[str, int], list[int]] = {}
        for i, e in enumerate(encoded):
            # Prompts without an image share nothing that would be worth a root.
            groups.setdefault((e.image_key, -1 if e.image_key else i), []).append(i)
        root_of = [0] * len(encoded)
        roots: list[Place | None] = []
        missing: list[tuple[int, Encoded]] = []
        for members in groups.values():
            first = encoded[members[0]]
            least = self._after_images(first.ids)
            shared = min(len(encoded[i].ids) - 1 for i in members)
            for i in members[1:]:
                shared = min(shared, common_length(first.ids[:shared], encoded[i].ids))
            alike = [members] if shared >= least else [[i] for i in members]
            for some in alike:
                ids = encoded[some[0]].ids[: shared if shared >= least else len(encoded[some[0]].ids) - 1]
                for i in some:
                    root_of[i] = len(roots)
                kept = self.kept.most_alike(first.image_key, ids) if first.image_key else None
                if kept is not None and kept[0] >= max(least, 1):
                    length, start, row = kept
                    begin = place_of(start, row).begin
                    roots.append(Place(start, row, begin, begin + length))
                else:
                    roots.append(None)
                    missing.append((len(roots) - 1, replace(first, ids=ids)))
        if missing:
            start = prefill(self.model, self.encoder, [e for _, e in missing])
            for row, (at, _) in enumerate(missing):
                roots[at] = place_of(start, row)
        return [root for root in roots if root is not None], root_of

    def _after_images(self, ids: Sequence[int]) -> int:
        """Tokens up to the last of the images; a root must hold them all."""
        token = self.encoder.image_token_id
        return max((i + 1 for i, found in enumerate(ids) if found == token), default=1)

    def _stems(
        self, encoded: Sequence[Encoded], positions: Sequence[Tensor], roots: Sequence[Place], root_of: Sequence[int]
    ) -> _Stems | None:
        """Each prompt from its root up to its last token but one; None where roots are all."""
        lengths = [roots[r].end - roots[r].begin for r in root_of]
        rests = [e.ids[n:-1] for e, n in zip(encoded, lengths, strict=True)]
        if not any(rests):
            return None
        order = sorted(range(len(rests)), key=lambda i: len(rests[i]))
        parts = []
        # A prompt that is all root has a stem of one masked column.
        for begin, end in parts_of([max(1, len(rests[i])) for i in order], CALL_TOKENS):
            some = order[begin:end]
            blocks = self._root_blocks(roots, [root_of[i] for i in some])
            inputs = self._inputs([rests[i] for i in some], [positions[i][..., lengths[i] : -1] for i in some])
            parts.append((*self._memories(blocks, inputs), [(0, len(rests[i])) for i in some]))
        return _Stems(parts, {i: n for n, i in enumerate(order)})

    def _memories(self, blocks: Sequence[Ancestor], inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Keys and values N R H T D of new tokens that see these blocks."""
        cache = DynamicCache()
        self.calls(blocks, use_cache=True, **past_of(self.model, cache), **inputs, **self._keep)
        return stacked(cache)

    def _twigs(
        self,
        encoded: Sequence[Encoded],
        positions: Sequence[Tensor],
        roots: Sequence[Place],
        root_of: Sequence[int],
        stems: _Stems | None,
        part: Sequence[tuple[int, tuple[int, ...]]],
    ) -> list[list[float]]:
        rows = [i for i, _ in part]
        new = [(encoded[i].ids[-1], *ids[:-1]) for i, ids in part]
        places = []
        for (i, _), ids in zip(part, new, strict=True):
            last, following = positions[i][..., -1:], positions[i].max() + 1
            after = (following + torch.arange(len(ids) - 1)).expand(*last.shape[:-1], -1)
            places.append(torch.cat([last, after], dim=-1))
        blocks = self._root_blocks(roots, [root_of[i] for i in rows])
        if stems is not None:
            blocks.append(ancestor(stems.parts, [stems.at[i] for i in rows]))
        inputs = self._inputs(new, places)
        sizes = [len(ids) for _, ids in part]
        # Padding has no logits.
        at_X = torch.tensor([r * max(sizes) + t for r, n in enumerate(sizes) for t in range(n)], device=self.device)
        logits_RTV = self.calls(blocks, use_cache=False, **inputs)
        logits_XV = logits_RTV.flatten(0, 1).index_select(0, at_X).float()
        ids_X1 = torch.tensor([i for _, ids in part for i in ids], device=self.device)[:, None]
        found = iter((logits_XV.gather(-1, ids_X1)[:, 0] - logits_XV.logsumexp(-1)).tolist())
        return [[next(found) for _ in range(n)] for n in sizes]

    # ---- inputs ----------------------------------------------------------------------------------

    def _root_blocks(self, roots: Sequence[Place], root_R: Sequence[int]) -> list[Ancestor]:
        """The roots as blocks of these rows."""
        used = sorted(set(root_R))
        return [ancestor_of([roots[r] for r in used], [used.index(r) for r in root_R])]

    def _inputs(self, ids: Sequence[Sequence[int]], places: Sequence[Tensor]) -> dict[str, Any]:
        """Token ids and positions of rows of uneven length, padded on the right to at least one token."""
        longest = max(1, *map(len, ids))
        ids_RT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
        padded = [torch.nn.functional.pad(p, (0, longest - p.shape[-1])) for p in places]
        position_ids = torch.stack(padded, dim=-2)
        return {"input_ids": ids_RT.to(self.device), "position_ids": position_ids.to(self.device)}
