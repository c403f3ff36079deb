"""What lies under a model's wrappers."""

from __future__ import annotations

from typing import Any


def base_model(model: Any) -> Any:
    """The transformers model under a peft wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
