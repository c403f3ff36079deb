"""Model calls: prompts to keys, values and first logits; continuations against them.

Everything the engine must know of a family is here: M-RoPE positions, token types for image attention, which
inputs a model's forward takes, and which models have memories other than keys and values.

Suffixes: R rows, L padded length, P prompt length, T continuation length, N layers, H heads, D head width, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from r3v.policies.model.calls import device_of, past_of, stacked, takes
from r3v.policies.model.encode import Encoded, Encoder, has_three_positions
from r3v.policies.model.encode.token_types import names_of, types_of
from r3v.policies.model.lora_precision import as_in_training
from r3v.policies.model.structure import base_model, why_uneven

_PLAIN_LAYERS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Prefill:
    """Prompts run through the model, left-padded: keys and values N R H L D, logits after the last token R V.

    length_R and position_R (the position of the next token) are lists of Python numbers.
    """

    keys: Tensor
    values: Tensor
    logits: Tensor
    length_R: tuple[int, ...]
    position_R: tuple[int, ...]


def why_no_slots(model: Any) -> str | None:
    """Why this model's memory is not plain keys and values per layer; None when it is."""
    config = base_model(model).config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _PLAIN_LAYERS
    if kinds:
        return f"layers of kind {', '.join(sorted(kinds))}"
    if getattr(config, "num_kv_shared_layers", 0):
        return "layers that share keys and values"
    return why_uneven(model)


def inputs_of(model: Any, encoder: Encoder, encoded: Sequence[Encoded]) -> tuple[dict[str, Any], list[int]]:
    """Forward arguments for a left-padded batch of prompts, and each row's next position."""
    length = max(len(e.ids) for e in encoded)
    ids_RL = torch.zeros(len(encoded), length, dtype=torch.long)
    mask_RL = torch.zeros_like(ids_RL)
    rows, following = [], []
    for i, e in enumerate(encoded):
        ids_RL[i, length - len(e.ids) :] = torch.tensor(e.ids)
        mask_RL[i, length - len(e.ids) :] = 1
        positions = encoder.positions(model, e.ids, e.images)
        following.append(int(positions.max()) + 1)
        rows.append(torch.nn.functional.pad(positions, (length - len(e.ids), 0)))
    device = device_of(model)
    inputs: dict[str, Any] = {
        "input_ids": ids_RL.to(device),
        "attention_mask": mask_RL.to(device),
        # R L, or 3 R L with M-RoPE
        "position_ids": torch.stack(rows, dim=-2).to(device),
        **images_of(model, encoder, encoded),
    }
    for name in names_of(e.aligned for e in encoded):
        if takes(model, name) and encoder.image_token_id is not None:
            types = [types_of(e, name, encoder.image_token_id) for e in encoded]
            inputs[name] = torch.tensor([(0,) * (length - len(t)) + t for t in types], device=device)
    return inputs, following


def images_of(model: Any, encoder: Encoder, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
    """Pixel inputs of a batch on the model's device, in its precision."""
    dtype, device = base_model(model).dtype, device_of(model)
    joined = encoder.collate_images([e.images for e in encoded])
    return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in joined.items()}


def prefill(model: Any, encoder: Encoder, encoded: Sequence[Encoded]) -> Prefill:
    """Run prompts through the model: each image is encoded and each prompt token computed once."""
    inputs, following = inputs_of(model, encoder, encoded)
    if takes(model, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    cache = DynamicCache()
    logits = model(**inputs, **past_of(model, cache), use_cache=True).logits[:, -1]
    keys, values = stacked(cache)
    return Prefill(keys, values, logits, tuple(len(e.ids) for e in encoded), tuple(following))


def continuation_logprobs(
    model: Any, encoder: Encoder, start: Prefill, targets: Sequence[tuple[int, Sequence[int]]]
) -> list[list[float]]:
    """Log-probabilities of target ids, each after the prompt whose row in `start` it names.

    The prompts' keys and values are repeated, not computed again; targets are right-padded behind them.
    """
    rows = [row for row, _ in targets]
    longest = max(len(ids) for _, ids in targets)
    device = start.logits.device
    ids_RT = torch.zeros(len(targets), longest, dtype=torch.long)
    for i, (_, ids) in enumerate(targets):
        ids_RT[i, : len(ids)] = torch.tensor(list(ids))
    ids_RT = ids_RT.to(device)
    at = torch.tensor(rows, device=device)
    logits_RV = start.logits.index_select(0, at).float()
    first_R1 = logits_RV.gather(-1, ids_RT[:, :1]) - logits_RV.logsumexp(-1, keepdim=True)
    logprobs_RT = first_R1
    if longest > 1:
        inputs = _continuation_inputs(model, start, targets, ids_RT[:, :-1])
        logits_RTV = model(**inputs, use_cache=True).logits.float()
        rest_RT = logits_RTV.gather(-1, ids_RT[:, 1:, None])[..., 0] - logits_RTV.logsumexp(-1)
        logprobs_RT = torch.cat([first_R1, rest_RT], dim=1)
    listed = logprobs_RT.tolist()
    return [line[: len(ids)] for line, (_, ids) in zip(listed, targets, strict=True)]


def _continuation_inputs(
    model: Any, start: Prefill, targets: Sequence[tuple[int, Sequence[int]]], ids_RT: Tensor
) -> dict[str, Any]:
    device, length = ids_RT.device, start.keys.shape[3]
    at = torch.tensor([row for row, _ in targets], device=device)
    cache = DynamicCache()
    for n in range(start.keys.shape[0]):
        cache.update(start.keys[n].index_select(0, at), start.values[n].index_select(0, at), n)
    sizes_R = torch.tensor(start.length_R, device=device)[at]
    before_RL = torch.arange(length, device=device) >= (length - sizes_R)[:, None]
    counts_R = torch.tensor([len(ids) - 1 for _, ids in targets], device=device)
    after_RT = torch.arange(ids_RT.shape[1], device=device) < counts_R[:, None]
    next_R = torch.tensor(start.position_R, device=device)[at]
    position_RT = next_R[:, None] + torch.arange(ids_RT.shape[1], device=device)
    return {
        "input_ids": ids_RT,
        "attention_mask": torch.cat([before_RL, after_RT], dim=1).long(),
        "position_ids": position_RT.expand(3, -1, -1) if has_three_positions(model) else position_RT,
        **past_of(model, cache),
    }


@contextmanager
def sampling_mode(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients, adapters folded into full-precision weights, everything put back
    after.

    Folding saves two small matrix products per layer and token. Subtracting the update again would leave
    rounding behind, so the original weights are kept and restored bit by bit.
    """
    training = model.training
    kept = _foldable(model)
    model.eval()
    try:
        if kept:
            model.merge_adapter()
        with as_in_training(model), torch.inference_mode():
            yield
    finally:
        if kept:
            model.unmerge_adapter()
            with torch.no_grad():
                for weight, original in kept:
                    weight.copy_(original)
        model.train(training)


def _foldable(model: Any) -> list[tuple[Tensor, Tensor]]:
    """Weights under an adapter with copies, when all are float32; empty where folding would not be exact
    enough.
    """
    if not hasattr(model, "peft_config"):
        return []
    layers = [m for m in model.modules() if hasattr(m, "lora_A") and hasattr(m, "get_base_layer")]
    weights = [layer.get_base_layer().weight for layer in layers]
    if any(layer.merged for layer in layers) or any(w.dtype != torch.float32 for w in weights):
        return []
    return [(w, w.detach().clone()) for w in weights]


def batches(
    lengths: Mapping[int, int], rows: int, tokens: int, together: Mapping[int, str] | None = None
) -> Iterator[list[int]]:
    """Indices in batches of similar length: at most `rows` of them and about `tokens` padded tokens each.

    Those with the same name in `together` follow one another.
    """
    names = {i: (together or {}).get(i, f"#{i}") for i in lengths}
    most: dict[str, int] = {}
    for i, name in names.items():
        most[name] = max(lengths[i], most.get(name, 0))
    ordered = sorted(lengths, key=lambda i: (most[names[i]], names[i] if together else "", i))
    batch: list[int] = []
    longest = 0
    for index in ordered:
        longest = max(longest, lengths[index])
        if batch and (len(batch) >= rows or longest * (len(batch) + 1) > tokens):
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch


def plain_logprobs(model: Any, encoder: Encoder, encoded: Encoded, target: Sequence[int]) -> list[float]:
    """Log-probabilities of one target by one forward over prompt and target together."""
    whole = replace(encoded, ids=(*encoded.ids, *target))
    inputs, _ = inputs_of(model, encoder, [whole])
    logits_TV = model(**inputs, use_cache=False).logits[0, len(encoded.ids) - 1 : -1].float()
    ids_T1 = torch.tensor(target, device=logits_TV.device)[:, None]
    return (logits_TV.gather(-1, ids_T1)[:, 0] - logits_TV.logsumexp(-1)).tolist()
