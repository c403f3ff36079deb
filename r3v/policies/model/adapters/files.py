"""Adapters come and go here: written with what they were taught with, and checked when they are put on a model."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.errors import ModelError, RunError
from r3v.io import atomic_dir
from r3v.policies.model.adapters.fitting import Fitted, fitted
from r3v.policies.model.adapters.names import as_they_stand, quiet_peft
from r3v.policies.model.adapters.reading import CONFIG, WEIGHTS, check_files
from r3v.policies.model.adapters.speaks import check_speaks
from r3v.policies.model.adapters.taught import Taught, check_taught, taught_with, write_taught
from r3v.policies.model.loaded import Loaded


def save_adapter(model: Any, path: str | Path, taught: Taught) -> str:
    """Write the adapter folder, whole or not at all, with what it was taught with; returns `weights_hash`."""
    if not hasattr(model, "peft_config"):
        raise ModelError(f"found {type(model).__name__} without an adapter, expected a PeftModel. Call add_lora first")
    with atomic_dir(path) as folder, _written(path):
        # Adapters here are on linear layers only; "auto" would look for the base model's config, online if need be.
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        _name_targets(folder)
        write_taught(folder, taught)
    return weights_hash(path)


@contextmanager
def _written(path: str | Path) -> Iterator[None]:
    """What safetensors says of a full disk is no OSError; it becomes a RunError here."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: cannot be written ({error}); make room for it, and the same command goes on where it stopped"
        ) from error


def _name_targets(folder: Path) -> None:
    """Write the adapted modules into the config by full name, sorted: peft keeps them as a set and shortens them in an
    order that differs from process to process, and equal adapters must be equal files."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as weights:
        names = {key.removeprefix("base_model.model.").split(".lora_")[0] for key in weights.keys()}  # noqa: SIM118
    path = folder / CONFIG
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(names)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def with_adapter(loaded: Loaded, path: str | Path, *, trainable: bool = False) -> Loaded:
    """The same base with another adapter; one that is there already is removed first.

    Raises ModelError where the folder is no adapter, its weights do not fit, it was taught with something else (see
    `check_taught`), or it has been trained and changes nothing.
    """
    check_files(Path(path))
    check_taught(path, taught_with(loaded), force=loaded.config.force)
    base = loaded.model.unload() if hasattr(loaded.model, "peft_config") else loaded.model
    model = load_adapter(base, path, trainable=trainable)
    return replace(loaded, model=model, name=f"{loaded.name.split('+')[0]}+{weights_hash(path)}")


def beside(loaded: Loaded, path: str | Path, name: str) -> None:
    """Put the adapter of folder `path` beside those that a model has; the active one stays active. Raises ModelError as
    `with_adapter` does."""
    check_files(Path(path))
    check_taught(path, taught_with(loaded), force=loaded.config.force)
    model = loaded.model
    with _fitting(model, Path(path)) as how:
        config = how.config
        config.inference_mode = True
        model.add_adapter(name, config)
        model.load_adapter(str(path), adapter_name=name, is_trainable=False, key_mapping=dict(how.key_mapping))
    model.eval()
    first = list(model.active_adapters)
    model.set_adapter(name)
    try:
        check_speaks(model, path)
    finally:
        model.set_adapter(first[0] if len(first) == 1 else first)


def load_adapter(model: Any, path: str | Path, *, trainable: bool = False) -> Any:
    """The bare model with the adapter of folder `path`, whatever it was taught with. Raises ModelError where the folder
    is no adapter or its weights do not fit, or when a trained adapter changes nothing."""
    from peft import PeftModel

    with _fitting(model, Path(path)) as how:
        made = PeftModel.from_pretrained(
            model, str(path), config=how.config, is_trainable=trainable, key_mapping=dict(how.key_mapping)
        ).eval()
    if not trainable:
        check_speaks(made, path)
    return made


@contextmanager
def _fitting(model: Any, path: Path) -> Iterator[Fitted]:
    """How an adapter goes onto the model; what peft says of one that does not fit becomes a ModelError."""
    how = fitted(model, path)
    try:
        with quiet_peft(), as_they_stand() if how.as_named else nullcontext():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            yield how
    except (RuntimeError, ValueError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0][:500]
        raise ModelError(f"the adapter {path} does not fit {type(model).__name__}: {reason}") from error


def weights_hash(path: str | Path) -> str:
    """12 hexadecimal digits over the adapter's weights and settings."""
    folder = Path(path)
    return digest(folder / CONFIG, folder / WEIGHTS)


def digest(*files: Path) -> str:
    """12 hexadecimal digits over the content of files."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:12]
