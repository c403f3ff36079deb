"""Names of 0.1 that README and documents showed: they go on working through 0.2, with a DeprecationWarning each."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

MODULES = {
    "r3v.cli": "r3v.app.cli",
    "r3v.config": "r3v.settings.config",
    "r3v.data.spec": "r3v.spec",
    "r3v.evaluation": "r3v.run.evaluation",
    "r3v.export": "r3v.training.export",
    "r3v.loop": "r3v.reflection.loop",
    "r3v.report": "r3v.pages.report",
    "r3v.reflection.selector": "r3v.selection.selector",
    "r3v.training.data": "r3v.reflection.datamodule",
    "r3v.policies.hf": "r3v.policies.sampling.hf",
    "r3v.policies.openai": "r3v.policies.server.policy",
    "r3v.policies.openai_config": "r3v.settings.server",
    "r3v.policies.ray_config": "r3v.settings.cluster",
    "r3v.curriculum.generate": "r3v.curriculum.generators",
    "r3v.curriculum.simulate": "r3v.curriculum.spiral.simulate",
    "r3v.notebook.embed": "r3v.embedding.table",
    "r3v.notebook.inject": "r3v.notebook.retrieval.inject",
    "r3v.notebook.note": "r3v.notebook.store.note",
    "r3v.notebook.people": "r3v.notebook.exchange.people",
    "r3v.notebook.retrieve": "r3v.notebook.retrieval.retrieve",
}
"""Old module -> the module that has its names now."""


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = MODULES[spec.name]
        _warn(spec.name, new)
        return importlib.import_module(new)

    def exec_module(self, module: ModuleType) -> None:
        """The module has run under its own name."""


def install() -> None:
    """Let old names be imported. After the finders that know real files, so that it costs them nothing."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())


def names_of(package: str, module: str) -> Callable[[str], Any]:
    """A `__getattr__` for a package that was a module: what it does not have is looked up in `module`."""

    def lookup(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(module), name)
        _warn(f"{package}.{name}", f"{module}.{name}")
        return found

    return lookup


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes with 0.3", DeprecationWarning, stacklevel=2)
