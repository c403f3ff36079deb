"""Merge an adapter into its 16-bit base model, write a plain checkpoint, and prove that it says the same.

An adapter trained on an nf4 base is merged into the 16-bit weights that the nf4 ones were made of; rounding the base
is then undone, so such a merge is compared with the adapter on the 16-bit base, which is what is shipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v.errors import ModelError
from r3v.io import atomic_dir
from r3v.precision import decided
from r3v.settings.config import Config
from r3v.settings.tree import write_beside

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.4, "float16": 0.02}
"""Largest allowed difference of log-probabilities per dtype. Rounding alone makes 0.18 in bfloat16: that is how far a
bfloat16 geoworld-tiny is from its float32 self (465 positions); a merge compares two such models."""


@dataclass(frozen=True)
class Exported:
    """`difference`: largest absolute difference of next-token log-probabilities between adapter model and the
    reloaded merged one, over the `positions` compared; `agree`: share of positions with the same best token."""

    out: Path
    dtype: str
    difference: float
    agree: float
    positions: int


def export(config: Config, out: str | Path) -> Exported:
    """Write model and processor to folder `out`, loadable with plain transformers, and the config beside it.

    The dtype is `model.dtype`; for a quantised model with the default float32 it is bfloat16.
    Raises ModelError: no adapter is named, `out` holds something else, or the merged model says something else (then
    nothing is written).
    """
    from r3v.policies.model.loaded import Loaded
    from r3v.policies.model.loading import load

    if not config.model.adapter:
        raise ModelError("found no adapter to merge; name it with --adapter FOLDER or --run RUN")
    target = Path(out)
    if target.is_dir() and any(target.iterdir()) and not (target / "config.json").exists():
        raise ModelError(
            f"{target}: found other files, expected a new folder or an earlier export; choose another --out"
        )
    dtype = decided(config.model).dtype
    if config.model.quantization != "none" and dtype == "float32":
        dtype = "bfloat16"
    loaded: Loaded = load(replace(config.model, quantization="none", dtype=dtype))
    prompts = check_prompts(config)
    with_adapter = [log_probabilities(loaded, prompt) for prompt in prompts]
    merged = loaded.model.merge_and_unload(safe_merge=True)
    with atomic_dir(target) as folder:
        merged.save_pretrained(folder, safe_serialization=True)
        loaded.processor.save_pretrained(folder)
        again = load(
            replace(config.model, path=str(folder), adapter=None, revision=None, quantization="none", dtype=dtype)
        )
        result = _compare(target, dtype, with_adapter, [log_probabilities(again, prompt) for prompt in prompts])
        if result.difference > TOLERANCE[dtype]:
            raise ModelError(
                f"the merged model's log-probabilities differ by {result.difference:.3g} from the adapter model's, "
                f"expected at most {TOLERANCE[dtype]} in {dtype}; nothing was written. Try --model.dtype float32"
            )
    write_beside(config, target)
    return result


def check_prompts(config: Config) -> list[Any]:
    """Four problems of the built-in world, asked in the style of the config: enough text and pixels to see a fault."""
    from r3v.data.geoworld import source
    from r3v.prompts import solve, style

    return [solve(problem, style(config.model.prompt_style)) for problem in source("gate", 4)]


def log_probabilities(loaded: Any, prompt: Any) -> Any:
    """Next-token log-probabilities at every position of a prompt, [T, V], float32 on the CPU."""
    import torch

    from r3v.policies.model.forward import inputs_of

    inputs, _ = inputs_of(loaded.model, loaded.encoder, [loaded.encoder.prompt(prompt)])
    with torch.no_grad():
        logits_TV = loaded.model(**inputs).logits[0]
    return torch.log_softmax(logits_TV.float(), dim=-1).cpu()


def _compare(out: Path, dtype: str, before: list[Any], after: list[Any]) -> Exported:
    """Differences where the first model puts at least a thousandth: the tail of a distribution is all rounding."""
    difference, same, positions = 0.0, 0, 0
    for a_TV, b_TV in zip(before, after, strict=True):
        likely = a_TV.exp() >= 1e-3
        gap_L = (a_TV - b_TV).abs()[likely]
        sound = gap_L.numel() > 0 and bool(gap_L.isfinite().all())  # overflow in float16 leaves nan, which no `>` finds
        difference = max(difference, float(gap_L.max()) if sound else math.inf)
        same += int((a_TV.argmax(-1) == b_TV.argmax(-1)).sum())
        positions += a_TV.shape[0]
    return Exported(out, dtype, difference, same / positions, positions)
