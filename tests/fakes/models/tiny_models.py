"""Tiny random models of every tested family, and the pure-Python half of torchvision for those that need it.

No CPU build of torchvision exists for this torch: the registry's wheel fails to import because its compiled
operators are missing. The Qwen processors use its pure-Python transforms alone, so the missing operators are
declared (never implemented) before the import. The wheel stays in a folder of its own, R3V_TORCHVISION_DIR or
`.venv-torchvision`, because transformers would import a broken torchvision wherever it finds one.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path

import pytest
import sitecustomize
from places import ROOT

from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import load
from r3v.settings.config import ModelConfig

NAMES = {
    "qwen2_vl": "Qwen/Qwen2-VL-2B-Instruct",
    "qwen2_5_vl": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen3_vl": "Qwen/Qwen3-VL-4B-Instruct",
    "llava": "llava-hf/llava-1.5-7b-hf",
    "idefics3": "HuggingFaceM4/Idefics3-8B-Llama3",
    "gemma3": "google/gemma-3-4b-it",
}
FAMILIES = tuple(NAMES)


@functools.cache
def torchvision_missing() -> str | None:
    """Makes torchvision importable; None, or why it cannot be."""
    folder = Path(os.environ.get("R3V_TORCHVISION_DIR") or ROOT / ".venv-torchvision")
    if importlib.util.find_spec("torchvision") is None:
        if not (folder / "torchvision").is_dir():
            return f"torchvision not found in {folder} (make test puts it there, or set R3V_TORCHVISION_DIR)"
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    sitecustomize.declare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("torchvision")
    _forget_absence()
    return None


def _forget_absence() -> None:
    """transformers remembers which packages it found; this one has appeared since."""
    from transformers.utils import import_utils

    for name in ("is_torchvision_available", "is_torchvision_v2_available", "_is_package_available"):
        function = getattr(import_utils, name, None)
        clear = getattr(function, "cache_clear", None)
        if clear is not None:
            clear()


def need_torchvision() -> None:
    """Skips the test, visibly, where torchvision cannot be had."""
    reason = torchvision_missing()
    if reason:
        pytest.skip(reason)


@functools.cache
def tiny(family: str) -> Loaded:
    """A random tiny model of the family, loaded as `--dry-run` loads it. Shared: a test that changes it takes
    its own.
    """
    if family.startswith("qwen"):
        need_torchvision()
    return load(ModelConfig(path=NAMES[family]), dry_run=True)
