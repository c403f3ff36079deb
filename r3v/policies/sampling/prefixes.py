"""Prompts as blocks that rows attend to, read where they were prefilled.

A prefill holds prompts of similar length in neighbouring rows, left-padded. What some rows of a batch see of them are
parts: neighbours, read together up to the longest of them. Reading prompts is most of what a step's attention costs,
so parts are cut where padding and further calls together cost least. Only prompts that lie scattered over many prefills
are copied together first.

Suffixes: N layers, S slots, R rows (of a batch, or of a prefill), H key-value heads, L padded length, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from r3v.policies.sampling.parts import parts_of
from r3v.policies.sampling.shared import Ancestor, ancestor

PART_BYTES = 400 << 10
"""What reading one more part costs on a CPU, in bytes of a layer's keys and values: 0.15 ms."""
PART_BYTES_ELSEWHERE = 40 << 20
"""The same on an accelerator, where a part is some ten more kernels a layer; an estimate, not measured."""
RUN = 4
"""Prompts that lie in more runs than this, of fewer neighbours than this on average, are copied together."""


class Start(Protocol):
    """A prefill: keys and values N R H L D of left-padded prompts of these lengths."""

    @property
    def keys(self) -> Tensor: ...
    @property
    def values(self) -> Tensor: ...
    @property
    def length_R(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Place:
    """Columns [begin, end) of row `row` of a prefill: a prompt, or the beginning of one."""

    start: Start
    row: int
    begin: int
    end: int


def place_of(start: Start, row: int) -> Place:
    """The whole prompt in a row."""
    end = int(start.keys.shape[3])
    return Place(start, row, end - start.length_R[row], end)


def scattered(places: Sequence[Place]) -> bool:
    """Whether these places, in this order, are so few neighbours of each other that copying them together pays."""
    runs = 1 + sum(a.start is not b.start or a.row + 1 != b.row for a, b in pairwise(places))
    return runs > RUN and runs * RUN > len(places)


def together(places: Sequence[Place]) -> tuple[Tensor, Tensor]:
    """Copies of these places, keys and values N R H L D, left-padded to the longest."""
    longest = max(p.end - p.begin for p in places)

    def copied(name: str) -> Tensor:
        some = [getattr(p.start, name)[:, p.row, :, p.begin : p.end] for p in places]
        return torch.stack([pad(t, (0, 0, longest - t.shape[2], 0)) for t in some], dim=1)

    return copied("keys"), copied("values")


def ancestor_of(places: Sequence[Place], place_R: Sequence[int | None], *, copies: bool = True) -> Ancestor:
    """What each row sees one place of; None: nothing that counts. Every place is seen by some row.

    `copies`: scattered places may be copied together.
    """
    like = places[0].start.keys
    part = PART_BYTES if like.device.type == "cpu" else PART_BYTES_ELSEWHERE
    call = part // (2 * like.shape[2] * like.shape[4] * like.element_size())
    came: dict[int, int] = {}
    for place in places:
        came.setdefault(id(place.start), len(came))
    order = sorted(range(len(places)), key=lambda i: (came[id(places[i].start)], places[i].row, places[i].begin))
    parts: list[tuple[Tensor, Tensor, list[tuple[int, int]]]] = []
    block: dict[int, int] = {}
    if copies and scattered([places[i] for i in order]):
        keys, values = together(places)
        longest = int(keys.shape[3])
        parts.append((keys, values, [(longest - (p.end - p.begin), longest) for p in places]))
        block = {i: i for i in range(len(places))}
    else:
        count = 0
        for some in _groups(places, order):
            first = places[some[0]].row
            start, in_row = places[some[0]].start, {places[i].row - first: i for i in some}
            sizes = [0] * (max(in_row) + 1)
            for row, i in in_row.items():
                sizes[row] = places[i].end - places[i].begin
            for a, b in parts_of(sizes, call):
                used = {row: places[i] for row, i in in_row.items() if a <= row < b}
                low, high = min(p.begin for p in used.values()), max(p.end for p in used.values())
                keys, values = (t[:, first + a : first + b, :, low:high] for t in (start.keys, start.values))
                # Nobody asks for what lies in a gap, but a softmax over nothing is no number.
                spans = [
                    (used[row].begin - low, used[row].end - low) if row in used else (0, high - low)
                    for row in range(a, b)
                ]
                parts.append((keys, values, spans))
                block |= {in_row[row]: count + row - a for row in used}
                count += b - a
    return ancestor(parts, [None if i is None else block[i] for i in place_R])


def _groups(places: Sequence[Place], order: Sequence[int]) -> list[list[int]]:
    """Places of one prefill, each of another row."""
    groups: list[list[int]] = []
    for i in order:
        last = places[groups[-1][-1]] if groups else None
        if last is not None and last.start is places[i].start and last.row < places[i].row:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


class Prefixes:
    """Which slots continue which prompt."""

    def __init__(self, slots: int) -> None:
        self._job_S: list[int | None] = [None] * slots
        self._place: dict[int, Place] = {}
        self._made: Ancestor | None = None

    def join(self, slot: int, job: int, start: Start, row: int) -> None:
        """This slot continues the prompt of `job`, which is in this row of a prefill."""
        self._made = None
        self._job_S[slot] = job
        if job not in self._place:
            self._place[job] = place_of(start, row)

    def keep(self, slots: list[int]) -> None:
        """Only these slots remain, renumbered from 0."""
        self._job_S = [self._job_S[slot] for slot in slots]
        self._made = None

    def leave(self, slots: list[int]) -> None:
        """These slots are idle."""
        for slot in slots:
            job, self._job_S[slot] = self._job_S[slot], None
            if job not in self._job_S:
                self._made = None

    def ancestor(self) -> Ancestor:
        """The prompts as blocks of the slots; made anew when one has come or gone."""
        if self._made is None:
            used = set(self._job_S)
            self._place = {job: place for job, place in self._place.items() if job in used}
            number = {job: n for n, job in enumerate(self._place)}
            place_S = [None if job is None else number[job] for job in self._job_S]
            self._made = ancestor_of(list(self._place.values()), place_S, copies=False)
        return self._made
