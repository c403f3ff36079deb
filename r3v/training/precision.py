"""Precisions of a fit that hold the whole model in 16 bit, in Lightning's words `bf16-true` and `16-true`."""

from __future__ import annotations

import difflib
from contextlib import nullcontext
from typing import Any

from r3v.errors import ConfigError
from r3v.settings.config import ModelConfig

TRUE = {"bf16-true": "bfloat16", "16-true": "float16"}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", *TRUE)


def check_precision(precision: str, model: ModelConfig) -> None:
    """Raise ConfigError for a precision that does not exist, and where the fit would leave the model it was given in
    another type than it came in."""
    if precision not in PRECISIONS:
        near = difflib.get_close_matches(precision, PRECISIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"found train.precision {precision!r}, expected one of {', '.join(PRECISIONS)}{hint}")
    wanted = TRUE.get(precision)
    if wanted is not None and model.dtype != wanted:
        raise ConfigError(
            f"found train.precision {precision!r} with model.dtype {model.dtype!r}: the base model would be rounded "
            f"for good; set model.dtype {wanted}, or train.precision {precision.split('-')[0]}-mixed"
        )


def leave_batches(trainer: Any) -> None:
    """Batches are passed as they are, and what a loss makes stays in float32: models cast their pixels themselves, and
    Lightning, which would convert a batch tensor by tensor, refuses frozen dataclasses."""
    plugin = trainer.precision_plugin
    plugin.convert_input = lambda batch: batch
    if plugin.precision in TRUE:
        plugin.forward_context = nullcontext
