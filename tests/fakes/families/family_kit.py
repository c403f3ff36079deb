"""Random tiny models of families nobody tuned for, with the families' own processors, as folders on the disk."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_models import need_torchvision

from r3v.policies.model.tiny import Recipe, made_of

Ids = dict[str, int]
VISION: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SIGLIP = {**VISION, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8, "vision_use_head": False}
SMALL = {"height": 32, "width": 32}
SEEING = ("visual", "vision", "vit", "image_")


@dataclass(frozen=True)
class Family:
    """`title` as people call it. `seeing`: see `tiny.made_of`. `after` changes a model once it is made."""

    title: str
    recipe: Recipe
    seeing: tuple[str, ...] = SEEING
    after: Callable[[Any], None] = lambda model: None


FAMILIES: dict[str, Family] = {}
"""By the name of a family, in the order of the table."""


def family(
    name: str,
    title: str,
    specials: str,
    eos: str,
    template: str,
    config: Callable[[Ids], Any],
    processor: Callable[[Any, Any, str], Any],
    *,
    bos: str | None = None,
    extra: dict[str, str] | None = None,
    seeing: tuple[str, ...] = SEEING,
    after: Callable[[Any], None] = lambda model: None,
) -> None:
    """Add a family. `specials`: its special tokens, with blanks between them; `extra`: those its processor asks the
    tokenizer for by name."""
    named = tuple((extra or {}).items())
    recipe = Recipe((name,), tuple(specials.split()), eos, template, config, processor, bos=bos, extra=named)
    FAMILIES[name] = Family(title, recipe, seeing, after)


def chatml(picture: str) -> str:
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + picture + "\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def plain(picture: str, eos: str = "</s>") -> str:
    return (
        "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + picture + "\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        "{% if m['role'] == 'assistant' %}" + eos + "{% else %} {% endif %}{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )


def headed(begin: str, end: str, eot: str, picture: str, bos: str = "{{ bos_token }}") -> str:
    """Templates of turns with a header: `begin` role `end` text `eot`."""
    return (
        bos + "{% for m in messages %}" + begin + "{{ m['role'] }}" + end + "{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}"
        + picture
        + "{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
        + eot
        + "{% endfor %}"
        "{% if add_generation_prompt %}" + begin + "assistant" + end + "{% endif %}"
    )


@functools.cache
def folder_of(name: str) -> Path:
    """A folder with the family's model and processor, made once in this process."""
    need_torchvision()
    found = FAMILIES[name]
    model, processor = made_of(found.recipe, seeing=found.seeing)
    for weight in model.parameters():
        if not torch.isfinite(weight).all():  # some families leave parts of their weights as the memory was
            torch.nn.init.normal_(weight, std=0.02)
    found.after(model)
    folder = Path(tempfile.mkdtemp(prefix=f"r3v-{name}-"))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
