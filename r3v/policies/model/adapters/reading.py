"""The two files of an adapter, opened with an error for everything that a folder can be in its place.

Nothing here asks a hub, whatever is missing: peft would, for a folder without `adapter_config.json`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from r3v.errors import ModelError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
Shape = tuple[int, ...]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_named(folder: Path) -> str | None:
    """The base model that an adapter's own files name."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None


def check_files(folder: Path) -> None:
    """Raise ModelError for a folder that is no adapter, saying what it is."""
    if not folder.exists():
        raise ModelError(f"found no folder {folder}, expected an adapter's; check the path (model.adapter)")
    if not folder.is_dir():
        raise ModelError(f"found the file {folder}, expected the folder of an adapter; name the folder it lies in")
    if not (folder / CONFIG).is_file():
        if (folder / "config.json").is_file():
            raise ModelError(
                f"{folder} is a whole model, expected an adapter; give it as the model (--model, model.path), without "
                "an adapter"
            )
        inside = folder / "adapter"
        hint = f"; did you mean {inside}?" if (inside / CONFIG).is_file() else ""
        raise ModelError(f"found no {CONFIG} in {folder}, expected an adapter folder with it and {WEIGHTS}{hint}")
    if not (folder / WEIGHTS).is_file():
        other = "; adapter_model.bin is a pickle, which is never opened: save the adapter as safetensors"
        raise ModelError(
            f"found no {WEIGHTS} in {folder}, expected an adapter folder with it"
            + (other if (folder / "adapter_model.bin").is_file() else "")
        )


def read_config(folder: Path) -> Any:
    """The LoraConfig of an adapter folder. Raises ModelError: no folder of an adapter, damaged, or no LoRA."""
    check_files(folder)
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind = found.get("peft_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: damaged ({error}), expected JSON; copy the adapter anew") from error
    if kind != "LORA":
        raise ModelError(
            f"{path}: found peft_type {kind}, expected LORA: only LoRA adapters are sampled, scored and merged here"
        )
    from peft import LoraConfig

    try:
        with warnings.catch_warnings():
            # Fields of a newer peft, each off by default; what they would change shows in the weights' names.
            warnings.filterwarnings("ignore", message="Unexpected keyword arguments")
            config: Any = LoraConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: cannot be read as a LoRA configuration: {error}") from error
    if not config.target_modules and not config.target_parameters:
        raise ModelError(f"{path}: found no target_modules, expected the layers that the adapter is on")
    return config


def read_shapes(folder: Path) -> dict[str, Shape]:
    """Name -> shape of the weights of an adapter. Raises ModelError for a file that is empty or cut."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    try:
        with safe_open(path, "pt") as weights:
            found = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: found {path.stat().st_size:,} bytes that are no whole safetensors file ({error}), expected the "
            "weights of an adapter; copy it anew"
        ) from error
    if not found:
        raise ModelError(f"{path}: found no weights in it, expected those of an adapter; copy it anew")
    return found
