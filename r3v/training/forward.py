"""Log-probabilities of a batch's target tokens under a vision-language model, by one of four paths.

`fused`: one row per trie under a tree mask. `rows`: one row per branch under the model's own causal mask.
Both run the inner model and apply the head to target positions only; `fused` computes attention run by run
(`attention`). `plain`: `rows` through the model's own complete forward, which computes its positions itself: slow,
and therefore the reference that the self-test compares with. `whole`: `fused` through the complete forward, for
trainers that call the model themselves (`other_trainers`).

Checked against transformers 5.23: a 4-D attention mask is handed through untouched
(`_preprocess_mask_arguments`), and position ids of shape (3, R, L) reach the M-RoPE of the Qwen families as
they are, DeepStack included. Suffixes as in `batching`; H hidden width, C kept columns, V vocabulary.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn

from r3v.errors import ModelError
from r3v.losses.logprobs import from_hidden, from_logits
from r3v.policies.model.encode.token_types import TYPES, names_of
from r3v.policies.model.structure import base_model
from r3v.training.layout.attention import attach
from r3v.training.layout.batching import Batch, padding_mask, tree_mask

Path = Literal["fused", "rows", "plain", "whole"]
FUSED: tuple[Path, ...] = ("fused", "whole")
"""Paths that take a batch with one row per trie."""
FULL_LOGITS_LIMIT = 2**25
"""A head that is trained runs in one piece up to this many logits (128 MB in float32), above chunk by chunk."""


def text_config(model: Any) -> Any:
    """The configuration of the language model."""
    return base_model(model).config.get_text_config()


def why_not_fusable(model: Any) -> str | None:
    """Why a tree mask cannot express this model's attention; None when it can."""
    config = text_config(model)
    if config.model_type.startswith(("gemma3", "gemma4", "paligemma", "molmo2")):
        return f"{config.model_type} attends in both directions among image tokens"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"]) - {"full_attention"}
    if kinds:
        return f"{config.model_type} has layers with {', '.join(sorted(kinds))}"
    layers = list(getattr(config, "layer_types", None) or [])
    if not layers and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"{config.model_type} has a sliding window"
    attention = getattr(config, "_attn_implementation", "eager")
    if attention not in ("sdpa", "eager"):
        return f"attention {attention!r} takes no tree mask (sdpa and eager do)"
    return None


def token_logprobs(model: Any, batch: Batch, path: Path) -> Tensor:
    """log p(target token | its branch before it), shape T, with gradient.

    Raises ModelError when the batch was collated for another path.
    """
    if batch.fused != (path in FUSED):
        raise ModelError(f"found a batch with fused={batch.fused} on path {path!r}, expected it collated for that path")
    base = base_model(model)
    if path in ("plain", "whole"):
        return logprobs_of(base(**whole_inputs(base, batch)).logits, batch)
    inner, head = base.base_model, base.get_output_embeddings()
    hidden = inner(**_inputs(base, batch, path)).last_hidden_state
    source_TH = hidden.flatten(0, 1).index_select(0, batch.source_T)
    return _head_logprobs(source_TH, head, batch.target_T, text_config(model))


def whole_inputs(model: Any, batch: Batch) -> dict[str, Any]:
    """What the model's own complete forward takes of a batch, fused or not; where it can leave out logits, only those
    of columns that predict a target are asked for."""
    base = base_model(model)
    inputs = _inputs(base, batch, "fused") if batch.fused else _plain_inputs(base, batch)
    return inputs | ({"logits_to_keep": _columns(batch)[0]} if batch.fused and _takes(base, "logits_to_keep") else {})


def logprobs_of(logits: Tensor, batch: Batch) -> Tensor:
    """log p of each target, shape T, from the logits of `whole_inputs`: R L V, or R C V of the kept columns."""
    row_T, column_T = batch.source_T // batch.ids_RL.shape[1], batch.source_T % batch.ids_RL.shape[1]
    if logits.shape[1] != batch.ids_RL.shape[1]:
        column_T = _columns(batch)[1]
    return from_logits(logits[row_T, column_T], batch.target_T)


def _columns(batch: Batch) -> tuple[Tensor, Tensor]:
    """(the columns that predict a target in any row, in order; the place among them of each target's)."""
    return torch.unique(batch.source_T % batch.ids_RL.shape[1], return_inverse=True)


def _head_logprobs(hidden_TH: Tensor, head: nn.Module, target_T: Tensor, config: Any) -> Tensor:
    softcap = getattr(config, "final_logit_softcapping", None)
    # A quantised or LoRA-wrapped head is more than its weight, so only a bare linear layer is taken apart.
    bare = type(head) is nn.Linear
    small = hidden_TH.shape[0] * head.weight.shape[0] <= FULL_LOGITS_LIMIT if bare else True
    if not bare or (small and head.weight.requires_grad):
        return from_logits(head(hidden_TH), target_T, softcap=softcap)
    return from_hidden(hidden_TH, head.weight, target_T, head.bias, softcap=softcap)


def _inputs(base: Any, batch: Batch, path: Path) -> dict[str, Any]:
    inputs = {
        "input_ids": batch.ids_RL,
        "attention_mask": _tree_mask(base, batch) if path == "fused" else padding_mask(batch),
        "position_ids": batch.positions,
        "use_cache": False,
        **batch.images,
    }
    if path == "rows":
        return inputs | _types(base.base_model, base, batch)
    # Types that say who attends to whom are in the mask already; others may choose a token's experts (Ernie).
    return inputs | {
        name: value for name, value in batch.aligned.items() if name not in TYPES and _takes(base.base_model, name)
    }


def _tree_mask(base: Any, batch: Batch) -> Tensor:
    mask, dtype = tree_mask(batch.exit_RL), base.get_input_embeddings().weight.dtype
    if getattr(text_config(base), "_attn_implementation", "eager") == "eager":
        # Eager attention adds its mask to the scores.
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
    return attach(mask, batch.exit_RL, dtype)


def _plain_inputs(base: Any, batch: Batch) -> dict[str, Any]:
    inputs = {
        "input_ids": batch.ids_RL,
        "attention_mask": padding_mask(batch),
        "use_cache": False,
        **batch.images,
    }
    return inputs | _types(base, base, batch)


def _types(model: Any, base: Any, batch: Batch) -> dict[str, Tensor]:
    """Token types that `model` takes: the processor's own, or 1 for image tokens where it gives none."""
    taken = [name for name in names_of([batch.aligned]) if _takes(model, name)]
    return {name: batch.aligned[name] if name in batch.aligned else _image_tokens(base, batch) for name in taken}


def _takes(base: Any, name: str) -> bool:
    return name in inspect.signature(base.forward).parameters


def _image_tokens(base: Any, batch: Batch) -> Tensor:
    """1 at image tokens, 0 elsewhere, shape R L."""
    config = base.config
    image = getattr(config, "image_token_id", None)
    if image is None:
        image = getattr(config, "image_token_index", None)
    if image is None:
        raise ModelError(f"found no image_token_id in the configuration of {config.model_type}, expected one")
    return (batch.ids_RL == image).long()
