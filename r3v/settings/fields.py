"""The fields of a config tree with what they mean: the strings below them in the source, read without importing more
than the tree itself."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Field:
    """One leaf of a tree. `name` is dotted; `kind` says in words what it takes; `default` is that of the class, and
    `effective` what a command uses where nobody sets the field: another one where a preset fills it."""

    name: str
    kind: str
    default: Any
    effective: Any
    text: str


def fields_of(config: Any, effective: Any = None, prefix: str = "") -> Iterator[Field]:
    """Every leaf of `config` (a dataclass of dataclasses with its defaults), in the order of the tree."""
    effective = config if effective is None else effective
    texts, kinds = texts_of(type(config)), get_type_hints(type(config))
    for f in fields(config):
        value, now = getattr(config, f.name), getattr(effective, f.name)
        if is_dataclass(value):
            yield from fields_of(value, now, f"{prefix}{f.name}.")
        else:
            yield Field(f"{prefix}{f.name}", in_words(kinds[f.name]), value, now, texts.get(f.name, ""))


def groups_of(config: Any) -> dict[str, tuple[type, str]]:
    """Name of each group of a tree -> its class, and the first sentence of what it is."""
    found = {}
    for f in fields(config):
        cls = type(getattr(config, f.name))
        own = texts_of(type(config)).get(f.name, "")
        found[f.name] = cls, " ".join(filter(None, [" ".join((cls.__doc__ or "").split()), own]))
    return found


@cache
def texts_of(cls: type) -> dict[str, str]:
    """Field -> the string that stands below it in the class, in one line."""
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(made, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(made.body, made.body[1:], strict=False):
        told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and told:
            found[field.target.id] = " ".join(str(below.value.value).split())  # type: ignore[attr-defined]
    return found


def in_words(kind: Any) -> str:
    """A type as people say it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(map(str, args))
    if origin in (Union, types.UnionType):
        told = [in_words(a) for a in args if a is not type(None)]
        return " or ".join([*told, "null"] if type(None) in args else told)
    if origin is tuple:
        several = args[-1] is Ellipsis
        return f"list of {in_words(args[0])}" if several else f"{len(args)} numbers"
    if origin is dict:
        return "names with values"
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(kind, "value")


def shown(value: Any) -> str:
    """A default as it is written in a recipe."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {shown(v)}" for k, v in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'
