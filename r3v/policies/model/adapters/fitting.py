"""Whether the weights of an adapter are those of the layers of this model: by name and shape, before any is loaded.

peft loads what fits and is silent about the rest, so an adapter whose names fit nothing scores exactly as the base.
Names that transformers has changed (Qwen2.5-VL until 4.51: `model.layers` for `model.language_model.layers`) are mapped
by its own table of renamings, and that is told.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from r3v.errors import ModelError
from r3v.policies.model.adapters.reading import Shape, read_config, read_shapes
from r3v.policies.model.adapters.taught import AdapterWarning
from r3v.policies.model.structure import base_model

PREFIX = "base_model.model."
SHOWN = 3
"""Names of a kind that an error shows."""
_PART = re.compile(r"(.+?)\.(lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)\b.*)")


@dataclass(frozen=True)
class Fitted:
    """How to load an adapter. config: its LoraConfig, with the names of this model. key_mapping: patterns for peft, of
    names without `PREFIX`. as_named: its names are those of modules of this model, so that peft must convert none."""

    config: Any
    key_mapping: Mapping[str, str]
    as_named: bool


def fitted(model: Any, folder: Path) -> Fitted:
    """How the adapter in a folder goes onto a model. Raises ModelError naming what is missing and what is unexpected,
    and for every folder that is no LoRA adapter."""
    config, shapes = read_config(folder), read_shapes(folder)
    layers = _layers(model)
    names = dict.fromkeys(found[0] for key in shapes if (found := _split(key)) is not None)
    renamed = _renamed(model, [name for name in names if name not in layers], layers)
    config.target_modules = _targets(config, renamed, layers)
    inside = {renamed.get(name, name) for name in names}
    if config.target_parameters or _peft_converts(model, inside - layers.keys()):
        return Fitted(config, {}, as_named=False)
    _check(folder, model, config, {_in_model(key, renamed): shape for key, shape in shapes.items()}, layers)
    if renamed:
        one = next(iter(renamed))
        warnings.warn(
            f"the adapter {folder} names {len(renamed)} layers as another version of transformers did; they are taken "
            f"for those of today, such as {one} for {renamed[one]}",
            AdapterWarning,
            stacklevel=4,
        )
    return Fitted(config, {f"^{re.escape(old)}\\.(?=lora_)": f"{new}." for old, new in renamed.items()}, as_named=True)


def _layers(model: Any) -> dict[str, nn.Module]:
    """Full name -> module of the base model; what another adapter wraps has its own name."""
    return {name.replace(".base_layer", ""): module for name, module in base_model(model).named_modules()}


def _split(key: str) -> tuple[str, str] | None:
    """A LoRA weight's layer and what it is of it; None for what is no LoRA weight."""
    found = _PART.fullmatch(key.removeprefix(PREFIX)) if key.startswith(PREFIX) else None
    return (found[1], found[2]) if found else None


def _in_model(key: str, renamed: Mapping[str, str]) -> str:
    found = _split(key)
    return key if found is None else f"{PREFIX}{renamed.get(found[0], found[0])}.{found[1]}"


def _renamed(model: Any, names: Sequence[str], layers: Collection[str]) -> dict[str, str]:
    """Old name -> name in this model, for those names that transformers knows by another one."""
    base = base_model(model)
    if not names or not hasattr(base, "base_model_prefix"):
        return {}
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    renamings = [entry for entry in get_model_conversion_mapping(base) if isinstance(entry, WeightRenaming)]
    found: dict[str, str] = {}
    for name in names:
        new = rename_source_key(f"{name}.weight", renamings, [])[0].removesuffix(".weight")
        if new in layers:
            found[name] = new
    return found


def _targets(config: Any, renamed: Mapping[str, str], layers: Collection[str]) -> Any:
    """`target_modules` with the names of this model. A pattern of old names becomes the layers that it found."""
    named = config.target_modules
    if isinstance(named, str):
        fits = named.lower() == "all-linear" or not renamed or any(re.fullmatch(named, name) for name in layers)
        return named if fits else sorted(new for old, new in renamed.items() if re.fullmatch(named, old))
    return [renamed.get(name, name) for name in sorted(named or ())]


def _peft_converts(model: Any, unknown: Collection[str]) -> bool:
    """Whether names that are no layers may be those of single experts, which peft joins into the tensors of today."""
    if not any(".experts." in name for name in unknown):
        return False
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter

    return any(isinstance(entry, WeightConverter) for entry in get_model_conversion_mapping(base_model(model)))


def _check(folder: Path, model: Any, config: Any, shapes: Mapping[str, Shape], layers: Mapping[str, nn.Module]) -> None:
    expected = _expected(model, config, layers)
    missing = [key for key in expected if key not in shapes]
    unexpected = [key for key in shapes if key not in expected and not _beside(key, config, layers)]
    if missing or unexpected:
        told = [f"{len(some)} {what} ({_some(some)})" for what, some in _kinds(missing, unexpected) if some]
        raise ModelError(
            f"the adapter {folder} does not fit {type(base_model(model)).__name__}: of {len(expected)} weights "
            f"{' and '.join(told)}. It is of another model, or a part of one is lost: load it on the model it was "
            "taught with, or copy it anew"
        )
    wrong = [key for key in expected if expected[key] is not None and expected[key] != shapes[key]]
    if wrong:
        key = wrong[0]
        raise ModelError(
            f"the adapter {folder} does not fit {type(base_model(model)).__name__}: {len(wrong)} of {len(expected)} "
            f"weights have another shape, such as {key.removeprefix(PREFIX)}: found {_times(shapes[key])}, expected "
            f"{_times(expected[key])} (rank {config.r} in adapter_config.json). Load it on the model it was taught with"
        )


def _kinds(missing: Sequence[str], unexpected: Sequence[str]) -> tuple[tuple[str, Sequence[str]], ...]:
    return ("are missing", missing), ("are unexpected", unexpected)


def _expected(model: Any, config: Any, layers: Mapping[str, nn.Module]) -> dict[str, Shape | None]:
    """Name -> shape of the weights that this adapter has on this model; None where the shape depends on more."""
    head = base_model(model).get_output_embeddings() if hasattr(base_model(model), "get_output_embeddings") else None
    found: dict[str, Shape | None] = {}
    for name, layer in layers.items():
        if not _is_target(config, name, layer, head):
            continue
        if isinstance(layer, nn.Embedding):
            found |= dict.fromkeys((f"{PREFIX}{name}.lora_embedding_A", f"{PREFIX}{name}.lora_embedding_B"))
            continue
        rank = _rank(config, name)
        plain = isinstance(layer, nn.Linear)  # those of bitsandbytes are, too
        found[f"{PREFIX}{name}.lora_A.weight"] = (rank, layer.in_features) if plain else None
        found[f"{PREFIX}{name}.lora_B.weight"] = (layer.out_features, rank) if plain else None
    return found


def _is_target(config: Any, name: str, layer: nn.Module, head: Any) -> bool:
    from peft.tuners.tuners_utils import check_target_module_exists

    if str(config.target_modules).lower() == "all-linear":
        return isinstance(layer, nn.Linear) and layer is not head
    return bool(name) and bool(check_target_module_exists(config, name))


def _rank(config: Any, name: str) -> int:
    from peft.utils.other import get_pattern_key

    pattern = config.rank_pattern or {}
    return int(pattern.get(get_pattern_key(list(pattern), name), config.r))


def _beside(key: str, config: Any, layers: Mapping[str, nn.Module]) -> bool:
    """Whether a weight is one that the configuration asks for beside the two of each layer."""
    name = key.removeprefix(PREFIX)
    found = _split(key)
    if found is not None:
        return found[1].startswith("lora_magnitude_vector") and bool(config.use_dora) and found[0] in layers
    owner = name.rpartition(".")[0]
    saved = [*(config.modules_to_save or ()), *(["embed_tokens", "lm_head"] if config.trainable_token_indices else ())]
    if any(f".{module}." in f".{owner}." for module in saved):
        return any(part in layers for part in (owner, owner.rpartition(".")[0]))
    # peft writes the vocabulary of a base beside an adapter where that was made larger.
    embedding = isinstance(layers.get(owner.removesuffix(".base_layer")), nn.Embedding)
    vocabulary = embedding or name.endswith("lm_head.weight")
    return vocabulary or (config.bias != "none" and name.endswith(".bias") and owner in layers)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name.removeprefix(PREFIX) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"such as {shown}"


def _times(shape: Shape | None) -> str:
    return " x ".join(map(str, shape or ()))
