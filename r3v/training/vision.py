"""Image features of a frozen vision tower, computed once per image and kept.

All branches of a problem, all epochs and all rounds see the same image through the same frozen weights. The
model takes features in place of pixels (`mm_encoder_outputs` of transformers), so nothing of it is rewritten.
A feature is found again by the hash of its images, the shapes of the preprocessed pixels, and the identity and
version of every weight of the tower: weights that were loaded anew or written to give new features.
"""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CACHE_BYTES = 256 * 2**20
"""Memory for image features of one model; the least recently used ones go first."""
_KNOWN = {"pooler_output", "deepstack_features", "last_hidden_state", "hidden_states", "attentions"}
"""What feature functions return; a model that returns more needs it, so it is given its pixels."""
_SHARDED = ("FullyShardedDataParallel", "FSDPModule")


@dataclass(frozen=True, eq=False)
class Features:
    """What one prompt's images become.

    kind: the model's output class. pooled: features of each image, or of all in one tensor where `whole`.
    levels: DeepStack features, [level][image], or None.
    """

    kind: type
    pooled: tuple[Tensor, ...]
    whole: bool
    levels: tuple[tuple[Tensor, ...], ...] | None

    @property
    def bytes(self) -> int:
        tensors = (*self.pooled, *(t for level in self.levels or () for t in level))
        return sum(t.numel() * t.element_size() for t in tensors)


class FeatureCache:
    """Least recently used features of one model, within `limit` bytes (the newest always stays)."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit, self.bytes, self.hits, self.misses = limit, 0, 0, 0
        self._kept: OrderedDict[Any, Features] = OrderedDict()

    def get(self, key: Any) -> Features | None:
        found = self._kept.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found

    def put(self, key: Any, features: Features) -> None:
        self._kept[key] = features
        self.bytes += features.bytes
        while self.bytes > self.limit and len(self._kept) > 1:
            self.bytes -= self._kept.popitem(last=False)[1].bytes

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0


_CACHES: weakref.WeakKeyDictionary[nn.Module, FeatureCache] = weakref.WeakKeyDictionary()


def cache_of(inner: nn.Module) -> FeatureCache:
    """The cache of a model, made when it is first asked for; it goes when the model goes."""
    return _CACHES.setdefault(inner, FeatureCache())


def tower_parameters(inner: nn.Module) -> list[nn.Parameter]:
    """Every parameter outside the language model: vision tower and connector."""
    language = _language_model(inner)
    inside = set() if language is None else {id(p) for p in language.parameters()}
    return [p for p in inner.parameters() if id(p) not in inside]


def why_not_cached(inner: Any) -> str | None:
    """Why this model's image features cannot be computed apart from its forward and kept; None when they can."""
    if "mm_encoder_outputs" not in inspect.signature(inner.forward).parameters:
        return f"{type(inner).__name__} takes no image features in place of pixels"
    language = _language_model(inner)
    if language is None:
        return f"{type(inner).__name__} has no language model of its own"
    if any(p.requires_grad for p in tower_parameters(inner)):
        return "the vision tower is trained"
    for module in inner.modules():
        if any(name in _SHARDED for name in (c.__name__ for c in type(module).__mro__)):
            return "the model is sharded"
    if any(hasattr(p, "ds_id") or type(p.data).__name__ == "DTensor" for p in tower_parameters(inner)):
        return "the model is sharded"
    inside = {id(m) for m in language.modules()}
    for module in inner.modules():
        if module.training and id(module) not in inside and _drops(module):
            return "the vision tower has dropout"
    return None


def _language_model(inner: Any) -> nn.Module | None:
    embeddings = inner.get_input_embeddings()
    for child in inner.children():
        if any(m is embeddings for m in child.modules()):
            return child
    return None


def _drops(module: nn.Module) -> bool:
    if isinstance(module, nn.Dropout):
        return module.p > 0
    return any(isinstance(p := getattr(module, n, 0.0), float) and p > 0 for n in ("dropout", "attention_dropout"))


def features(inner: Any, rows: Sequence[tuple[str, Mapping[str, Tensor]]], device: torch.device) -> Any:
    """Image features of rows (image key, pixel inputs by name) as the model's own output object, or None.

    None: no row has images, or the model needs a pixel input that its feature function does not take, or makes more
    of them than is kept here. A row without a key is computed and not kept. Equal keys are computed once.
    """
    takes = inspect.signature(inner.get_image_features).parameters
    rows = [(key, images) for key, images in rows if images]
    if not rows or any(name not in takes for _, images in rows for name in images):
        return None
    cache = cache_of(inner)
    weights = hash(tuple((p.data_ptr(), p._version, p.dtype) for p in tower_parameters(inner)))
    state = (weights, str(device), torch.is_autocast_enabled(device.type))
    found: list[Features] = []
    fresh: dict[Any, Features] = {}
    for name, images in rows:
        key = (name or id(images), *((n, tuple(t.shape)) for n, t in images.items()), *state)
        known = fresh.get(key) or (cache.get(key) if name else None)
        if known is None:
            known = _compute(inner, {n: t.to(device) for n, t in images.items()})
            if known is None:
                return None
            if name:
                cache.put(key, known)
        fresh[key] = known
        found.append(known)
    return _joined(found)


def _compute(inner: Any, images: Mapping[str, Tensor]) -> Features | None:
    # Kept beyond this call, so never inference tensors, which a later backward pass could not use.
    with torch.inference_mode(False), torch.no_grad():
        output = inner.get_image_features(**images, return_dict=True)
    made = {name for name, value in output.items() if value is not None}
    if "pooler_output" not in made or made - _KNOWN:
        return None
    pooled = output.pooler_output
    levels = getattr(output, "deepstack_features", None)
    return Features(
        kind=type(output),
        pooled=_own(pooled),
        whole=isinstance(pooled, Tensor),
        levels=None if levels is None else tuple(_own(level) for level in levels),
    )


def _own(tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copies: a view would keep all of the larger tensor in memory and count as its part."""
    return tuple(t.clone() for t in ([tensors] if isinstance(tensors, Tensor) else tensors))


def _joined(found: Sequence[Features]) -> Any:
    pooled = [t for f in found for t in f.pooled]
    more: dict[str, Any] = {}
    if found[0].levels is not None:
        by_level = zip(*(f.levels or () for f in found), strict=True)
        more["deepstack_features"] = [tuple(t for part in level for t in part) for level in by_level]
    return found[0].kind(pooler_output=torch.cat(pooled) if found[0].whole else pooled, **more)
