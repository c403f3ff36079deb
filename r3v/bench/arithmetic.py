"""The best ratio that the arithmetic of a training step allows.

Counted are multiply-adds: those of the peer's rows (a prefix, a vision pass and all head positions for each
branch) over those of the trie (a prefix, a vision pass, head at target positions). Linear layers count forward and
the gradient of their input, LoRA three times forward, attention the causal pairs three times forward. It is the
ratio of two perfect implementations that run at one speed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from r3v.policies.model.structure import base_model
from r3v.training.forward import text_config
from r3v.training.layout.trie import Trie


def limit(model: Any, trie: Trie) -> float:
    """Multiply-adds of the peer over ours; see the module docstring."""
    sizes = [int(p.shape[0]) for p in trie.path_BL]
    targets = int(trie.target_T.shape[0])
    ours_pairs = pairs_of(trie)
    peer = _work(model, trie, sum(sizes), sum(n * (n + 1) // 2 for n in sizes), sum(sizes), len(sizes))
    ours = _work(model, trie, trie.tokens, ours_pairs, targets, 1)
    return peer / ours


def pairs_of(trie: Trie) -> int:
    """Pairs (i, j) that the tree mask allows: token j is seen from j to exit[j] - 1."""
    return int((trie.exit_L - torch.arange(trie.tokens)).sum())


def _work(model: Any, trie: Trie, tokens: int, pairs: int, head: int, passes: int) -> float:
    base = base_model(model)
    config, vision = text_config(model), base.config.vision_config
    lora = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
    embedding = {id(base.get_input_embeddings().weight), id(base.get_output_embeddings().weight)}
    tower = _tower(base)
    linear = _elements(
        [p for n, p in base.named_parameters() if p.dim() == 2 and "lora_" not in n and id(p) not in embedding | tower]
    )
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    text = tokens * (2 * linear + 3 * lora) + 3 * 2 * pairs * width * config.num_hidden_layers
    scores = head * 2 * base.get_output_embeddings().weight.shape[0] * config.hidden_size
    return text + scores + passes * _vision_work(base, vision, trie)


def _tower(base: Any) -> set[int]:
    """Ids of all weights outside the language model."""
    embeddings = base.get_input_embeddings()
    parts = [m for m in base.base_model.children() if any(inner is embeddings for inner in m.modules())]
    language = {id(p) for part in parts[:1] for p in part.parameters()}
    return {id(p) for p in base.base_model.parameters()} - language


def _elements(parameters: list[nn.Parameter]) -> int:
    """Weights of the layers; a 4-bit weight packs two of them into one byte."""
    return sum(p.numel() * (2 if p.dtype == torch.uint8 else 1) for p in parameters)


def _vision_work(base: Any, vision: Any, trie: Trie) -> float:
    """Forward of the tower: its layers at every patch, what joins patches at every image token, and all pairs of
    patches in its full layers."""
    pixels = trie.images["pixel_values"]
    grid = trie.images.get("image_grid_thw")
    patches = int(grid.prod(-1).sum()) if grid is not None else _patches(pixels, vision.patch_size)
    tokens = int((trie.ids_L == base.config.image_token_id).sum())
    tower = _tower(base)
    layers = 0.0
    for name, module in base.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.dim() < 2 or id(weight) not in tower or isinstance(module, nn.Embedding):
            continue
        joins = any(part in name for part in ("connector", "merger", "projector"))
        layers += weight.numel() * (tokens if joins else patches)
    depth = getattr(vision, "depth", None) or vision.num_hidden_layers
    full = len(getattr(vision, "fullatt_block_indexes", None) or range(depth))
    window = (getattr(vision, "window_size", 0) or 0) // vision.patch_size
    pairs = full * patches**2 + (depth - full) * patches * window**2
    return layers + 2 * pairs * vision.hidden_size


def _patches(pixels: Tensor, patch: int) -> int:
    return pixels.shape[0] * pixels.shape[1] * (pixels.shape[-1] // patch) * (pixels.shape[-2] // patch)


def common_prefix(trie: Trie) -> int:
    """Tokens that all branches begin with."""
    first, *others = trie.path_BL
    found = int(first.shape[0])
    for path in others:
        n = min(found, int(path.shape[0]))
        differs = (first[:n] != path[:n]).nonzero()
        found = int(differs[0]) if len(differs) else n
    return found
