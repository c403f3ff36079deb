"""The widths of a model that its memory follows from, read off its modules; the model may lie on the meta device.

Layers of a stack are taken to be alike, as those of every tested family are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from r3v.policies.model.loading import lora_targets
from r3v.policies.model.quantised import kept_whole, language_model
from r3v.policies.model.structure import base_model

_JOINS = ("merger", "projector", "connector")
"""What joins a vision tower to the language model, by the names of the tested families."""


@dataclass(frozen=True)
class Product:
    """A linear layer: values in and out of a token, the module it belongs to, and whether it carries an adapter."""

    ins: int
    outs: int
    owner: str
    adapted: bool


@dataclass(frozen=True)
class Layer:
    """One layer of a stack. norms: values that each RMSNorm normalises of a token; plain_norms: those of LayerNorm.
    heads, key_heads, width: of attention. inner: width of the feed-forward part, which multiplies by a gate if `gated`.
    """

    products: tuple[Product, ...]
    norms: tuple[int, ...]
    plain_norms: tuple[int, ...]
    heads: int
    key_heads: int
    width: int
    inner: int
    gated: bool
    activation: str


@dataclass(frozen=True)
class Shape:
    """decoder, vision: (how many layers, one of them); vision is None for a model without one. weights: numbers by
    part; quantisable: those of them that 4 bits would hold. merge: patches that make one token; patch: their edge."""

    hidden: int
    vocabulary: int
    tied: bool
    layers: int
    decoder: Layer
    vision_layers: int
    vision: Layer | None
    weights: dict[str, int]
    quantisable: int
    merge: int
    patch: int
    fixed_tokens: int | None
    """Tokens of a picture, for families that scale every picture to one size."""
    most_positions: int

    @property
    def linear(self) -> int:
        """Weights that every token of text is multiplied with, the output head left out."""
        return self.layers * sum(p.ins * p.outs for p in self.decoder.products)

    @property
    def key_value_numbers(self) -> int:
        """Numbers that one token leaves in the keys and values of all layers."""
        return 2 * self.layers * self.decoder.key_heads * self.decoder.width

    def adapter(self, r: int) -> int:
        """Numbers of a LoRA of rank `r` on what carries one."""
        one = sum(p.ins + p.outs for p in self.decoder.products if p.adapted) * self.layers
        seeing = self.vision.products if self.vision else ()
        return r * (one + self.vision_layers * sum(p.ins + p.outs for p in seeing if p.adapted))


def shape_of(model: Any, targets: str | None = None) -> Shape:
    """The shape of a transformers model. `targets`: as `model.lora_targets`, for a model without an adapter; None takes
    the adapter that the model has."""
    base = base_model(model)
    adapted = _carrying(base) if targets is None else set(lora_targets(base, targets))
    text = language_model(base)
    if text is None:
        text = base
    config = base.config.get_text_config()
    decoder = _stack(text)
    tower = _tower(base, text)
    blocks = None if tower is None else _stack(tower)
    names = {id(m): name for name, m in base.named_modules()}
    vision_config = getattr(base.config, "vision_config", None)
    tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    heads = int(config.num_attention_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    vision_heads = int(getattr(vision_config, "num_heads", 0) or getattr(vision_config, "num_attention_heads", 0) or 1)
    vision = None
    if blocks is not None and tower is not None:
        across = _width(blocks[0])
        kind = str(getattr(vision_config, "hidden_act", "gelu"))
        vision = _layer(blocks[0], names, adapted, vision_heads, vision_heads, across // vision_heads, kind)
    weights, quantisable = _weights(base, text, tower, tied)
    kind = str(getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", "silu"))
    return Shape(
        hidden=int(config.hidden_size),
        vocabulary=int(base.get_output_embeddings().weight.shape[0]),
        tied=tied,
        layers=len(decoder),
        decoder=_layer(decoder[0], names, adapted, heads, key_heads, width, kind),
        vision_layers=0 if blocks is None else len(blocks),
        vision=vision,
        weights=weights,
        quantisable=quantisable,
        merge=_merge(base.config),
        patch=int(getattr(vision_config, "patch_size", 14) or 14),
        fixed_tokens=_fixed(base.config),
        most_positions=int(getattr(config, "max_position_embeddings", 0) or 0),
    )


def _merge(config: Any) -> int:
    vision = getattr(config, "vision_config", None)
    return int(getattr(vision, "spatial_merge_size", None) or getattr(config, "scale_factor", None) or 1) ** 2


def _fixed(config: Any) -> int | None:
    """Families of one picture size say how many tokens it is, or it follows from the size."""
    for name in ("mm_tokens_per_image", "image_seq_length"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    vision = getattr(config, "vision_config", None)
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if isinstance(size, int) and isinstance(patch, int) and getattr(config, "scale_factor", None):
        return (size // patch) ** 2 // int(config.scale_factor) ** 2
    return None


def _carrying(base: Any) -> set[str]:
    return {name for name, m in base.named_modules() if hasattr(m, "lora_A") and hasattr(m, "get_base_layer")}


def _stack(module: nn.Module) -> nn.ModuleList:
    """The longest list of layers with linear layers inside; of equally long ones the one with more weights."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m)]
    return max(lists, key=lambda m: (len(m), sum(p.numel() for p in m.parameters())))


def _tower(base: Any, text: Any) -> nn.Module | None:
    """The largest part of the model that the language model does not hold."""
    inside = {id(m) for m in text.modules()}
    around = {id(m) for m in base.modules() if any(c is text for c in m.modules())}
    parts = [
        child
        for owner in base.modules()
        if id(owner) in around and owner is not text
        for child in owner.children()
        if id(child) not in inside | around and any(isinstance(m, nn.ModuleList) for m in child.modules())
    ]
    return max(parts, key=lambda m: sum(p.numel() for p in m.parameters()), default=None)


def _products(module: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Linear layers by their own names, those of adapters left out."""
    return [
        (name.removesuffix(".base_layer"), m)
        for name, m in module.named_modules()
        if isinstance(m, nn.Linear) and ".lora_" not in f".{name}"
    ]


def _width(block: nn.Module) -> int:
    return min(m.in_features for _, m in _products(block))


def _layer(
    module: nn.Module,
    names: dict[int, str],
    adapted: Collection[str],
    heads: int,
    key_heads: int,
    width: int,
    kind: str,
) -> Layer:
    place = names[id(module)]
    found = _products(module)
    products = tuple(
        Product(m.in_features, m.out_features, name.rpartition(".")[0], f"{place}.{name}" in adapted)
        for name, m in found
    )
    attention = [p for p in products if "attn" in p.owner or "attention" in p.owner]
    rest = [p for p in products if p not in attention]
    norms, plain = [], []
    for name, m in module.named_modules():
        weight = getattr(m, "weight", None)
        if not type(m).__name__.endswith("Norm") or weight is None:
            continue
        values = int(weight.shape[0])
        of_head = 1 if values != width or "attn" not in name else (key_heads if name.endswith("k_norm") else heads)
        (plain if isinstance(m, nn.LayerNorm) else norms).append(values * of_head)
    inner = max((p.outs for p in rest), default=0)
    return Layer(
        products=products,
        norms=tuple(norms),
        plain_norms=tuple(plain),
        heads=heads,
        key_heads=key_heads,
        width=width,
        inner=inner,
        gated=sum(p.outs == inner for p in rest) > 1,
        activation=kind,
    )


def _weights(base: Any, text: Any, tower: Any, tied: bool) -> tuple[dict[str, int], int]:
    """Numbers of the model by part, and those of them that quantisation would take."""
    parts: dict[str, int] = dict.fromkeys(("linears", "embeddings", "head", "vision", "projector", "rest"), 0)
    head, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    kept = kept_whole(base)
    whole = {id(m) for name, m in base.named_modules() if any(name == k or name.startswith(f"{k}.") for k in kept)}
    outside = {id(m) for m in tower.modules()} if tower is not None else set()
    inside = {id(m) for m in text.modules()}
    quantisable = 0
    for name, module in base.named_modules():
        if ".lora_" in f".{name}":
            continue
        numbers = sum(_numbers(p) for p in module.parameters(recurse=False))
        if module is head:
            parts["head"] += 0 if tied else numbers
        elif module is embeddings:
            parts["embeddings"] += numbers
        elif any(join in name for join in _JOINS):
            parts["projector"] += numbers
        elif id(module) in outside:
            parts["vision"] += numbers
        elif isinstance(module, nn.Linear) and id(module) in inside:
            parts["linears"] += numbers
        elif id(module) not in inside and isinstance(module, nn.Linear):
            parts["projector"] += numbers
        else:
            parts["rest"] += numbers
        if isinstance(module, nn.Linear) and module is not head and id(module) not in whole:
            quantisable += module.in_features * module.out_features
    return parts, quantisable


def _numbers(parameter: nn.Parameter) -> int:
    """Of a weight; in 4 bits two of them are packed into a byte."""
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    return int(shape.numel()) if shape is not None else parameter.numel()
