"""Out of memory: let go of the failed attempt, ask for less, go on.

The exception of a failed attempt holds its frames, and they hold its keys, values and logits. So whoever catches it
leaves the `except` block first, frees, and only then tries again with half of what it asked for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from r3v.errors import EngineError, RunError

T = TypeVar("T")


def tried(work: Callable[[], T]) -> tuple[bool, T | None]:
    """(True, what `work` returns), or (False, None) where the device ran out of memory; then everything that the
    attempt had made is free again."""
    try:
        return True, work()
    except torch.OutOfMemoryError:
        pass
    free_memory()
    return False, None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not get memory, on a device or for the processor."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def no_further(fix: str) -> Iterator[None]:
    """What needs more memory than there is, and cannot ask for less by itself, is a RunError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        why = " ".join(str(error).split())[:200]
    else:
        return
    free_memory()
    raise RunError(f"out of memory: {why}. {fix}")


def free_memory() -> None:
    """Give what nobody holds any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def no_room(what: str, *fields: str, also: Sequence[str] = ()) -> EngineError:
    """The error for when nothing is left to be halved: it names the settings to lower. also: other ways out."""
    ways = ", ".join((f"lower {', '.join(fields)}", *also))
    return EngineError(
        f"the device ran out of memory {what}, with nothing left to be halved: {ways}, or use model.quantization nf4 "
        "(`r3v plan RECIPE` tells what fits)"
    )
