"""What a checkpoint would have its answers drawn by and is not heard: said once, because other tools do hear it."""

from __future__ import annotations

import logging
from typing import Any

from r3v.policies.model.structure import base_model

log = logging.getLogger(__name__)
NEUTRAL = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_p": 0.0, "typical_p": 1.0, "num_beams": 1}
"""Settings of a generation configuration that no field of a recipe stands for, and the value that does nothing."""
_TOLD: set[str] = set()


def tell_defaults(model: Any, named: str) -> dict[str, Any]:
    """The settings that are not taken; warns of them the first time a model of this name is met."""
    config = getattr(base_model(model), "generation_config", None)
    asked = {name: getattr(config, name, None) for name in NEUTRAL}
    found = {name: value for name, value in asked.items() if value is not None and value != NEUTRAL[name]}
    if found and named not in _TOLD:
        _TOLD.add(named)
        log.warning(
            "%s asks for %s in its generation_config.json, which is not taken: answers are drawn by temperature, "
            "top_p and top_k alone", named, ", ".join(f"{name} {value}" for name, value in found.items()),
        )  # fmt: skip
    return found
