"""r3v: vision-language models that learn from their own mistakes.

Importing this package costs nothing heavy; names below are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from r3v import moved
from r3v.version import __version__

if TYPE_CHECKING:
    from r3v.api import evaluate as evaluate
    from r3v.api import load as load
    from r3v.api import select as select
    from r3v.api import train as train
    from r3v.policies.sampling.hf import HFPolicy as HFPolicy
    from r3v.records import Candidate as Candidate
    from r3v.records import Problem as Problem
    from r3v.records import Verdict as Verdict
    from r3v.reflection.datamodule import R3VDataModule as R3VDataModule
    from r3v.selection.selector import Selector as Selector
    from r3v.training.module import R3VModule as R3VModule

moved.install()

_LAZY = {
    "evaluate": "r3v.api",
    "load": "r3v.api",
    "select": "r3v.api",
    "train": "r3v.api",
    "Candidate": "r3v.records",
    "Problem": "r3v.records",
    "Verdict": "r3v.records",
    "HFPolicy": "r3v.policies.sampling.hf",
    "Selector": "r3v.selection.selector",
    "R3VDataModule": "r3v.reflection.datamodule",
    "R3VModule": "r3v.training.module",
}
__all__ = [
    "Candidate",
    "HFPolicy",
    "Problem",
    "R3VDataModule",
    "R3VModule",
    "Selector",
    "Verdict",
    "__version__",
    "evaluate",
    "load",
    "select",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'r3v' has no attribute {name!r}")
