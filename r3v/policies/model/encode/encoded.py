"""A prompt as the model takes it, and the pixels of several as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from r3v.errors import ModelError

PACKED = "pixel_values"
POOLING = "image_token_pooling"
"""Which patches of the row's pictures each of its picture tokens is made of, -1 for none (Molmo2)."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as the model takes it: token ids with the image tokens expanded, and the pixel inputs by name.

    `image_key` identifies the images: prompts with equal keys have equal `images`. `aligned`: what else the processor
    says of each token, by argument name (its type: text or picture).
    """

    ids: tuple[int, ...]
    images: Mapping[str, Tensor] = field(default_factory=dict)
    image_key: str = ""
    aligned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def joined(images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Pixel inputs of several rows as one: joined along the first dimension, in order; patches that are packed into one
    long row (MiniCPM-V) along the last.

    Rows of Idefics-like models (batch, images, ...) are padded to the largest number and size of images; the model
    skips all-zero images and reads `pixel_attention_mask`.
    """
    present = _counted_on([row for row in images if row])
    names = list(dict.fromkeys(name for row in present for name in row))
    packed = {PACKED} if present and all(_is_packed(row) for row in present) else set()
    return {
        name: torch.cat([row[name] for row in present], dim=-1)
        if name in packed
        else _join(name, [row[name] for row in present])
        for name in names
    }


def _counted_on(rows: Sequence[Mapping[str, Tensor]]) -> list[Mapping[str, Tensor]]:
    """Rows whose numbers of patches go on where those of the row before end, as the joined pixels do."""
    found: list[Mapping[str, Tensor]] = []
    before = 0
    for row in rows:
        patches = row.get(POOLING)
        if patches is not None:
            found.append({**row, POOLING: torch.where(patches >= 0, patches + before, patches)})
            before += row[PACKED].shape[0] * row[PACKED].shape[1]
        else:
            found.append(row)
    return found


def _is_packed(row: Mapping[str, Tensor]) -> bool:
    """Whether the pixels of a row are the patches of all its pictures side by side, 1 C P L with L = P x patches, whose
    numbers stand in `target_sizes` (height and width of each)."""
    pixels, sizes = row.get(PACKED), row.get("target_sizes")
    if pixels is None or sizes is None or pixels.dim() != 4 or pixels.shape[0] != 1:
        return False
    return pixels.shape[3] == pixels.shape[2] * int(sizes.prod(dim=-1).sum())


def _join(name: str, tensors: Sequence[Tensor]) -> Tensor:
    shapes = {t.shape[1:] for t in tensors}
    if len(shapes) == 1:
        return torch.cat(list(tensors))
    if len({t.dim() for t in tensors}) > 1 or tensors[0].dim() < 4:
        raise ModelError(
            f"cannot join {name} of shapes {', '.join(str(tuple(t.shape)) for t in tensors)} into one batch"
        )
    largest = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    padded = []
    for t in tensors:
        short = [m - s for m, s in zip(largest, t.shape[1:], strict=True)]
        padded.append(pad(t, [n for s in reversed(short) for n in (0, s)]))
    return torch.cat(padded)
