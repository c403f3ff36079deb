"""Graders that people bring: a function of their own, named in a recipe or a data spec.

    data:
      grader: my_package.my_module:my_grader      or  my_grader.py:my_grader

    def my_grader(problem: Problem, text: str) -> Verdict: ...

A grader reads a reply and judges it: CORRECT or WRONG with the answer in `extracted` (equal strings for equal answers,
because votes compare them), UNPARSED where the reply names none, UNAVAILABLE where it cannot judge (a judge model that
does not answer). It must not draw at random: files keep its name, and verdicts are made anew when its source changes.
`recipes/grader_example.py` is one."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from r3v.errors import ConfigError
from r3v.records import Problem, Verdict


class Grader(Protocol):
    """Judges the answer that `text` names against the gold of `problem`."""

    def __call__(self, problem: Problem, text: str) -> Verdict: ...


@lru_cache(maxsize=64)
def load_grader(spec: str) -> Grader:
    """What "package.module:function" or "FILE.py:function" names. Raises ConfigError for what is missing."""
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name:
        raise ConfigError(f"found grader {spec!r}, expected package.module:function or FILE.py:function")
    module = _file(Path(where), spec) if where.endswith(".py") else _module(where, spec)
    found = getattr(module, name, None)
    if found is None:
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise ConfigError(f"grader {spec!r}: {where} has no {name!r}; its functions are {', '.join(there) or 'none'}")
    if not callable(found):
        raise ConfigError(f"grader {spec!r}: found {type(found).__name__}, expected a function of (problem, text)")
    return cast(Grader, found)


def _file(path: Path, spec: str) -> ModuleType:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ConfigError(f"grader {spec!r}: cannot read {path} ({error.strerror}); check the path") from error
    name = f"r3v_own_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"grader {spec!r}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _module(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"grader {spec!r}: no module {error.name!r}; install it, or name a file as FILE.py:function"
        ) from error
    except Exception as error:
        raise ConfigError(f"grader {spec!r}: {name} cannot be imported: {type(error).__name__}: {error}") from error


def grader_name(spec: str) -> str:
    """The grader with 12 digits of its source, by which files know whether their verdicts are its own."""
    try:
        source = Path(inspect.getsourcefile(inspect.unwrap(load_grader(spec))) or "").read_bytes()  # type: ignore[arg-type]
    except (OSError, TypeError):  # built in, or a callable object without source
        source = repr(type(load_grader(spec))).encode()
    return f"{spec} {hashlib.sha256(source).hexdigest()[:12]}"


def judged(spec: str, problem: Problem, text: str) -> Verdict:
    """What the named grader says. Raises ConfigError where it fails or returns something else than a Verdict."""
    try:
        verdict = load_grader(spec)(problem, text)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"grader {spec!r} failed on problem {problem.id}: {type(error).__name__}: {error}") from error
    if not isinstance(verdict, Verdict):
        raise ConfigError(
            f"grader {spec!r} returned {type(verdict).__name__} for problem {problem.id}, expected a Verdict"
        )
    return verdict
