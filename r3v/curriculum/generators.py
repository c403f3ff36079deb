"""Generators of practice by name: the one table, above all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from r3v.curriculum.practice.generate import GeoWorldGenerator
from r3v.curriculum.practice.item import Generator
from r3v.errors import ConfigError


def _euclid(**options: Any) -> Generator:
    from r3v.curriculum.practice.theorems import EuclidGenerator

    return EuclidGenerator(**options)


def _edit(**options: Any) -> Generator:
    from r3v.curriculum.practice.edit import EditGenerator

    return EditGenerator(**options)


def _agents(**options: Any) -> Generator:
    from r3v.curriculum.agents.agents import AgentGenerator

    return AgentGenerator(**options)


GENERATORS: dict[str, Callable[..., Generator]] = {
    "geoworld": GeoWorldGenerator,
    "euclid": _euclid,
    "edit": _edit,
    "agents": _agents,
}
"""Name -> factory. `geoworld(exclude=)`, `euclid(exclude=, asked=)`, `edit(seeds=, ops=, ...)`, and
`agents(roles=, ...)`."""


def generator(name: str, **options: Any) -> Generator:
    """The generator called `name`. Raises ConfigError for an unknown one."""
    if name not in GENERATORS:
        raise ConfigError(f"found generator {name!r}, expected one of {', '.join(GENERATORS)}")
    return GENERATORS[name](**options)


def aims_of(name: str) -> frozenset[str] | None:
    """The skills that the generator called `name` can be asked for; None where its data decide."""
    if name != "euclid":
        return None
    from r3v.data.euclid import TAGS

    return frozenset(TAGS)
