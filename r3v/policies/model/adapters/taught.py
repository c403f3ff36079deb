"""What an adapter was taught with, in one file beside its weights, and whether it is used with the same.

A model that is asked in other words, shown pictures of another size, or put under an adapter of another base answers
all the same, only worse, and its figures are taken for those of the adapter. So every adapter that the library writes,
and every model it merges one into, carries `r3v_adapter.json`, and whatever loads one is checked against it here. What
would make another model of it is refused unless `model.force` is set; what may be meant is told.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from r3v.errors import ModelError
from r3v.io import write_json
from r3v.prompts import style
from r3v.settings.config import ModelConfig
from r3v.version import __version__

FILE = "r3v_adapter.json"
SCHEMA = 1


class AdapterWarning(UserWarning):
    """An adapter is used otherwise than it was taught, or nobody knows how it was taught."""


@dataclass(frozen=True)
class Base:
    """Which weights a model is. path: as the config named it. revision: as it was asked for. commit: what a hub name
    was resolved to. weights: 12 hexadecimal digits over the safetensors files of a folder. None: not known."""

    path: str | None = None
    revision: str | None = None
    commit: str | None = None
    weights: str | None = None
    family: str | None = None

    def differs(self, other: Base) -> bool | None:
        """Whether these are other weights; None where it cannot be told."""
        for name in ("family", "weights", "commit"):
            one, two = getattr(self, name), getattr(other, name)
            if one is not None and two is not None and (one != two or name != "family"):
                return one != two
        return None

    def __str__(self) -> str:
        told = [self.path or "an unknown model"]
        for name in ("revision", "commit", "weights"):
            if value := getattr(self, name):
                told.append(f"{name} {value}")
        return ", ".join(told)


@dataclass(frozen=True)
class Usage:
    """What the config says outside its section on the model: how select prompts are answered, and who grades. None:
    not known, or nothing is selected or graded."""

    select_target: str | None = None
    grader: str | None = None


@dataclass(frozen=True)
class Taught:
    """The fields of `r3v_adapter.json`; None stands for what is not known.

    base: the model under the adapter. prompt_style: its name; words: a hash of its words. letters: targets name the
    letter of a choice. min_pixels, max_pixels: limits of the pictures. select_target, grader: see `Usage`. dtype,
    quantization: of the base; precision: `train.precision` of the fit. tokenizer, template: hashes of the vocabulary
    with its special tokens, and of the chat template. r3v: the version that wrote the file.
    """

    base: Base = field(default_factory=Base)
    prompt_style: str | None = None
    words: str | None = None
    letters: bool | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    select_target: str | None = None
    grader: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    precision: str | None = None
    tokenizer: str | None = None
    template: str | None = None
    r3v: str = __version__


def taught_by(config: ModelConfig, usage: Usage, base: Base, processor: Any = None) -> Taught:
    """What an adapter is taught or used with under these settings. Raises ConfigError for an unknown prompt style."""
    words = style(config.prompt_style)
    return Taught(
        base=base,
        prompt_style=words.name,
        words=_hash(asdict(words)),
        letters=config.letters,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        select_target=usage.select_target,
        grader=usage.grader,
        dtype=config.dtype,
        quantization=config.quantization,
        tokenizer=None if processor is None else _tokenizer_hash(getattr(processor, "tokenizer", processor)),
        template=None if processor is None else _hash(_template(processor)),
    )


def taught_with(loaded: Any, precision: str | None = None) -> Taught:
    """What an adapter on a `Loaded` is taught or used with."""
    return replace(taught_by(loaded.config, loaded.usage, loaded.base, loaded.processor), precision=precision)


def write_taught(folder: Path, taught: Taught) -> None:
    """Write the file beside an adapter or a merged model."""
    write_json(folder / FILE, {"schema": SCHEMA, **asdict(taught)})


def read_taught(folder: Path) -> Taught | None:
    """What the file of a folder says; None where there is none. Fields of later versions are left alone. Raises
    ModelError for a damaged file."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        base = _known(Base, found["base"])
        return Taught(**{**_known(Taught, found), "base": Base(**base)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: damaged ({' '.join(str(error).split())}), expected what an adapter was taught with; put the file "
            "back as it was, or delete it to load the adapter unchecked"
        ) from error


def _known(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    return {f.name: values[f.name] for f in fields(cls) if f.name in values}


def check_taught(folder: str | Path, now: Taught, *, force: bool = False, merged: bool = False) -> None:
    """Compare what the adapter (or the merged model) of a folder was taught with and what it is used with.

    Another base or other limits of pixels raise ModelError, or are told with `force`. Other words, letters, select
    target, grader, precision, tokenizer or chat template are told, and so is an adapter without the file. A merged
    model is its own base.
    """
    then = read_taught(Path(folder))
    what = f"the merged model {folder}" if merged else f"the adapter {folder}"
    if then is None:
        _warn(
            f"{what} has no {FILE} (as those of r3v 0.1 and of other programs): whether its base, its prompts and its "
            "pictures are those it was taught with cannot be checked"
        )
        return
    refused = _pixels(then, now)
    told = _told(then, now)
    if not merged:
        differs = then.base.differs(now.base)
        if differs:
            refused.append(f"found base {now.base}, expected {then.base}")
        elif differs is None and now.base.path is not None and then.base.path != now.base.path:
            told.append(f"the base is {now.base}, and whether that is {then.base} cannot be told")
    if refused and not force:
        raise ModelError(
            f"{what} was taught with something else: {'; '.join(refused)}. Use what it was taught with, or set "
            "--model.force true to use it all the same"
        )
    if refused or told:
        _warn(f"{what} is used otherwise than it was taught: {'; '.join([*refused, *told])}")


def _pixels(then: Taught, now: Taught) -> list[str]:
    return [
        f"found model.{name} {_shown(getattr(now, name))}, expected {_shown(getattr(then, name))}"
        for name in ("min_pixels", "max_pixels")
        if getattr(now, name) != getattr(then, name)
    ]


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


_TOLD = {
    "prompt_style": "model.prompt_style",
    "words": "the words of the prompt style",
    "letters": "model.letters",
    "select_target": "select.target",
    "grader": "the grader",
    "quantization": "model.quantization",
    "tokenizer": "the tokenizer",
    "template": "the chat template",
}
_HASHES = ("words", "tokenizer", "template")


def _told(then: Taught, now: Taught) -> list[str]:
    found: list[str] = []
    for name, called in _TOLD.items():
        one, two = getattr(then, name), getattr(now, name)
        if one is None or two is None or one == two:
            continue
        if name in _HASHES:
            if name != "words" or then.prompt_style == now.prompt_style:
                found.append(f"{called} is another one")
        else:
            found.append(f"{called} is {two}, was {one}")
    return found


def _warn(text: str) -> None:
    warnings.warn(text, AdapterWarning, stacklevel=4)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _template(processor: Any) -> Any:
    found = getattr(processor, "chat_template", None)
    return found or getattr(getattr(processor, "tokenizer", None), "chat_template", None)


def _tokenizer_hash(tokenizer: Any) -> str:
    special: Sequence[Any] = sorted(str(token) for token in tokenizer.all_special_tokens)
    return _hash([sorted(tokenizer.get_vocab().items()), special])
