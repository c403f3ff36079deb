"""An allocator that counts what torch operations make and keep alive, and refuses above a limit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocator(TorchDispatchMode):
    """Counts the bytes of living results of torch operations and refuses to go above a limit."""

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.limit, self.now, self.most, self.refused = limit, 0, 0, 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if not size or key in self._known:
            return
        if self.now + size > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError(f"refused {size} bytes above {self.now} of {self.limit}")
        self.now += size
        self.most = max(self.most, self.now)
        self._known[key] = size
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


@contextmanager
def allocator(limit: float = float("inf")) -> Iterator[Allocator]:
    gc.collect()
    with Allocator(limit) as found:
        yield found
