"""Does the model look? Two pictures are exchanged before the first samples, and what it says must change.

Training and sampling from text alone goes unnoticed otherwise: losses fall, text is fluent, answers are guessed.
"""

from __future__ import annotations

import io
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from r3v.errors import ModelError
from r3v.policies.model.calls import takes
from r3v.policies.model.encode import Encoded, Encoder
from r3v.policies.model.forward import inputs_of
from r3v.records import BytesImage, ImageSource, Prompt, image_hash

_LOOKED: weakref.WeakSet[Any] = weakref.WeakSet()
UNSEEN = (
    "the pictures do not reach the model: {what}. Check that processor and weights belong together (model.path, "
    "model.revision); a control run on blank pictures says model.blank: true"
)


def check_sampling(model: Any, encoder: Encoder, prompts: Sequence[Prompt]) -> None:
    """Raise ModelError where the model says the same of another picture; asked once for each model, of the first of
    these prompts that has one. Call it in evaluation mode without gradients."""
    if model in _LOOKED:
        return
    asked = next((p for p in prompts if p.images), None)
    if asked is None:
        return
    before, after = (_logits(model, encoder, encoder.prompt(p)) for p in (asked, exchanged(asked, prompts)))
    if torch.equal(before, after):
        what = f"with another picture the next token after prompt {asked.problem_id!r} has the same log-probabilities"
        raise ModelError(UNSEEN.format(what=what))
    _LOOKED.add(model)


def _logits(model: Any, encoder: Encoder, encoded: Encoded) -> torch.Tensor:
    inputs, _ = inputs_of(model, encoder, [encoded])
    if takes(model, "logits_to_keep"):
        inputs["logits_to_keep"] = 1
    return model(**inputs, use_cache=False).logits[:, -1]


def exchanged(prompt: Prompt, others: Sequence[Prompt]) -> Prompt:
    """The prompt with the pictures of another that shows as many and different ones; else with its own in negative."""
    own = [image_hash(image) for image in prompt.images]
    for other in others:
        if len(other.images) == len(own) and all(image_hash(image) not in own for image in other.images):
            return with_pictures(prompt, other.images)
    return with_pictures(prompt, [negative(image) for image in prompt.images])


def with_pictures(prompt: Prompt, images: Sequence[ImageSource]) -> Prompt:
    """The prompt with these pictures in place of its own, in order."""
    left = iter(images)
    messages = tuple(replace(m, images=tuple(next(left) for _ in m.images)) for m in prompt.messages)
    return replace(prompt, messages=messages)


def negative(image: ImageSource) -> BytesImage:
    """The picture with light and dark exchanged."""
    from PIL import ImageOps

    from r3v.data.images import decode

    buffer = io.BytesIO()
    ImageOps.invert(decode(image).convert("RGB")).save(buffer, format="PNG")
    return BytesImage(buffer.getvalue(), "negative")
