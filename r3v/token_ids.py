"""The token ids of a text, four bytes each. Standard library only."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload


class TokenIds(Sequence[int]):
    """A sequence of ids that does not change: equal to a tuple of the same numbers, and hashed like one.

    A tuple of ints takes nine times the memory, and a run holds millions of ids at once.
    """

    __slots__ = ("_ids",)

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._ids = ids._ids if isinstance(ids, TokenIds) else array("i", ids)

    @classmethod
    def from_bytes(cls, data: bytes) -> TokenIds:
        """Ids from the bytes of int32 numbers in the order of this machine."""
        made = cls()
        made._ids.frombytes(data)
        return made

    @property
    def buffer(self) -> memoryview:
        """The ids as int32 numbers without a copy, read-only: for `numpy.frombuffer`."""
        return memoryview(self._ids).toreadonly()

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> TokenIds: ...
    def __getitem__(self, index: int | slice) -> int | TokenIds:
        return TokenIds(self._ids[index]) if isinstance(index, slice) else self._ids[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TokenIds):
            return self._ids == other._ids
        return isinstance(other, (tuple, list)) and self._ids.tolist() == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self._ids))

    def __repr__(self) -> str:
        return f"TokenIds({self._ids.tolist()})"
