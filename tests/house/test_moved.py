"""Names that 0.1 documented are found, with a warning that says where they are now."""

from __future__ import annotations

import importlib

import pytest

from r3v.moved import MODULES


@pytest.mark.parametrize("old", sorted(set(MODULES) - {"r3v.export", "r3v.policies.hf", "r3v.training.data"}))
def test_an_old_module_is_the_new_one(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MODULES[old]}"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(MODULES[old])
    monkeypatch.delitem(sys.modules, old, raising=False)


@pytest.mark.parametrize(
    ("package", "name", "now"),
    [
        ("r3v.notebook.store", "Notebook", "r3v.notebook.store.store"),
        ("r3v.curriculum.practice", "Target", "r3v.curriculum.practice.item"),
    ],
)
def test_a_package_that_was_a_module_has_its_names(package: str, name: str, now: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{package}.{name} is now {now}.{name}"):
        found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(now), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import r3v.notebook.store

    with pytest.raises(AttributeError, match="nothing"):
        r3v.notebook.store.nothing  # noqa: B018
