"""What lmms-eval reads at its start: the entry point `lmms_eval.models` of this distribution.

lmms-eval only warns of an entry point that fails, so nothing here may load a model or need anything but lmms-eval.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """The lmms-eval `ModelManifest` of `--model r3v`."""
    from lmms_eval.models.registry_v2 import ModelManifest  # pyright: ignore[reportMissingImports]

    return ModelManifest(model_id="r3v", chat_class_path="r3v.harness.chat.R3V")
