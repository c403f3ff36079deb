"""All graded candidates of all rounds so far, grouped by problem, with one shard per round in memory.

Rounds visit the problems in one order, so a walk in that order reads every shard once; any other order works
too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from r3v.records import Graded
from r3v.rollout.shards import read_shard, shard_column, shard_paths


class Pool(Mapping[str, list[Graded]]):
    """Problem id -> its graded candidates, oldest round first, then by sample index.

    `folders` are the candidate folders of the rounds (and of rescued problems), oldest first. Only the
    column of problem ids is read at the start. Raises RunError for missing folders and damaged shards.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self._shards: list[Path] = [path for folder in self.folders for path in shard_paths(folder)]
        self._where: dict[str, list[int]] = {}
        for number, path in enumerate(self._shards):
            for problem_id in dict.fromkeys(shard_column(path, "problem_id")):
                self._where.setdefault(problem_id, []).append(number)
        self._cache: OrderedDict[int, dict[str, list[Graded]]] = OrderedDict()
        self._capacity = max(1, len(self.folders))

    def newest(self) -> Pool:
        """The pool of the last folder alone."""
        return Pool(self.folders[-1:])

    def _load(self, number: int) -> dict[str, list[Graded]]:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        grouped: dict[str, list[Graded]] = {}
        for item in read_shard(self._shards[number]):
            grouped.setdefault(item.candidate.problem_id, []).append(item)
        self._cache[number] = grouped
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return grouped

    def __getitem__(self, problem_id: str) -> list[Graded]:
        found = [item for number in self._where[problem_id] for item in self._load(number)[problem_id]]
        return sorted(found, key=lambda item: (item.candidate.round, item.candidate.index))

    def __contains__(self, problem_id: object) -> bool:
        return problem_id in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)
