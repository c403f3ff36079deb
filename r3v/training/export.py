"""Merge an adapter into its 16-bit base model, write a plain checkpoint, and prove that it says the same.

An adapter trained on an nf4 base is merged into the 16-bit weights that the nf4 ones were made of; rounding the base
is then undone, so such a merge is compared with the adapter on the 16-bit base, which is what is shipped.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r3v.errors import ModelError
from r3v.io import atomic_dir
from r3v.policies.model.adapters.taught import AdapterWarning
from r3v.policies.model.agreement import jittered
from r3v.policies.model.room import free_memory
from r3v.precision import decided
from r3v.settings.config import Config, ModelConfig
from r3v.settings.tree import write_beside

QUANTILE = 0.95
"""Of the differences of log-probabilities: the largest one of thousands says how unlucky one token was."""
LIMIT = {"float32": 1e-3, "bfloat16": 0.2, "float16": 0.03}
"""Nats that this quantile may be, where the noise of the model does not ask for more. Merges of geoworld-tiny (15,000
values): 1e-5, 0.06 to 0.09, 0.007 to 0.012; with the adapter of one of three layers lost 0.72."""
NOISE = 4.0
"""Times the noise of the model (its embeddings rounded otherwise) that the quantile may be."""
AGREE = {"float32": 0.999, "bfloat16": 0.9, "float16": 0.97}
"""Share of positions with the same best token, at least. Merges of geoworld-tiny: 1, 0.983, 0.991; 0.91 with an adapter
of one layer lost in any of them."""


@dataclass(frozen=True)
class Exported:
    """`difference`: the 0.95 quantile of the differences of next-token log-probabilities between adapter model and
    merged one, in nats, and `worst` the largest; `change`: the same quantile between the adapter model and its base.
    `agree`: share of the `positions` with the same best token."""

    out: Path
    dtype: str
    difference: float
    worst: float
    change: float
    agree: float
    positions: int


def export(config: Config, out: str | Path) -> Exported:
    """Write model and processor to folder `out`, loadable with plain transformers, with what the adapter was taught
    with, and the config beside it.

    The dtype is `model.dtype`; for a quantised model with the default float32 it is bfloat16. One model is in memory at
    a time. Raises ModelError: no adapter is named or it is not to be used so, `out` holds something else, or the merged
    model says something else (then nothing is written).
    """
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
    plain = replace(config.model, quantization="none", dtype=dtype)
    prompts = check_prompts(config)
    with atomic_dir(target) as folder:
        before = _merge(plain, prompts, folder)
        free_memory()
        after = _says(replace(plain, path=str(folder), adapter=None, revision=None), prompts)
        result = _judged(target, dtype, before, after)
    write_beside(config, target)
    return result


@dataclass(frozen=True)
class _Before:
    """Log-probabilities of each prompt: with the adapter, with noise on top, and of the base."""

    adapted: Sequence[Any]
    noisy: Sequence[Any]
    base: Sequence[Any]


def _merge(config: ModelConfig, prompts: Sequence[Any], folder: Path) -> _Before:
    """Write the merged model to the folder; what the model said before. Nothing of it is left in memory."""
    from r3v.policies.model.adapters.taught import read_taught, taught_with, write_taught
    from r3v.policies.model.loading import load

    loaded = load(config)
    adapted = [log_probabilities(loaded, prompt) for prompt in prompts]
    with jittered(loaded.model):
        noisy = [log_probabilities(loaded, prompt) for prompt in prompts]
    with loaded.model.disable_adapter():
        base = [log_probabilities(loaded, prompt) for prompt in prompts]
    merged = loaded.model.merge_and_unload(safe_merge=True)
    merged.save_pretrained(folder, safe_serialization=True)
    loaded.processor.save_pretrained(folder)
    write_taught(folder, read_taught(Path(str(config.adapter))) or taught_with(loaded))
    return _Before(adapted, noisy, base)


def _says(config: ModelConfig, prompts: Sequence[Any]) -> list[Any]:
    from r3v.policies.model.loading import load

    loaded = load(config)
    return [log_probabilities(loaded, prompt) for prompt in prompts]


def _judged(target: Path, dtype: str, before: _Before, after: Sequence[Any]) -> Exported:
    """Raises ModelError for a merged model that says something else than the model with the adapter."""
    difference, worst, agree, positions = _compare(before.adapted, after)
    noise, change = (_compare(before.adapted, other)[0] for other in (before.noisy, before.base))
    limit = max(LIMIT[dtype], NOISE * noise)
    if difference > limit or agree < AGREE[dtype]:
        raise ModelError(
            f"the merged model says something else than the model with the adapter: {100 * QUANTILE:.0f} % of its "
            f"log-probabilities are within {difference:.3g} nats, expected {limit:.3g} in {dtype}, and "
            f"{100 * agree:.1f} % of the best tokens are the same, expected {100 * AGREE[dtype]:.1f} %; nothing was "
            "written. Try --model.dtype float32"
        )
    if 2 * difference > change > 0:
        warnings.warn(
            f"merging in {dtype} rounds by {difference:.3g} nats, and the adapter changes {change:.3g}: much of what "
            "was learned may be lost in rounding. Try --model.dtype float32, or keep the adapter apart",
            AdapterWarning,
            stacklevel=3,
        )
    return Exported(target, dtype, difference, worst, change, agree, positions)


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


def _compare(before: Sequence[Any], after: Sequence[Any]) -> tuple[float, float, float, int]:
    """Quantile of the differences, largest one, share of equal best tokens, positions. Differences count where the
    first model puts at least a thousandth: the tail of a distribution is all rounding. What is not finite agrees with
    nothing."""
    import torch

    gaps, same, positions = [], 0, 0
    for a_TV, b_TV in zip(before, after, strict=True):
        gaps.append((a_TV - b_TV).abs()[a_TV.exp() >= 1e-3])
        same += int((a_TV.argmax(-1) == b_TV.argmax(-1)).sum())
        positions += a_TV.shape[0]
    gap_L = torch.cat(gaps)
    # Overflow in float16 leaves nan, which no `>` finds.
    if not gap_L.numel() or not bool(gap_L.isfinite().all()):
        return math.inf, math.inf, same / positions, positions
    at = min(gap_L.numel() - 1, int(QUANTILE * gap_L.numel()))
    return float(gap_L.sort().values[at]), float(gap_L.max()), same / positions, positions
