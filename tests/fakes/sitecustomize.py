"""Python runs this at the start of every process that has this folder in PYTHONPATH, as workers that tests start have.

torchvision from the folder of its own does not import beside CPU torch before its operators are declared; this declares
them at its first import, so that processes that never ask for it pay nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class _Declare(importlib.abc.MetaPathFinder):
    """Finds nothing; notices that torchvision is wanted."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            declare()
        return None


_LIBRARY: list[object] = []


def declare() -> None:
    """Declare torchvision's operators, once, where this build of torch has none."""
    import torch

    if _LIBRARY or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    _LIBRARY.append(library)
    for operator in OPERATORS:
        library.define(operator)


sys.meta_path.insert(0, _Declare())
