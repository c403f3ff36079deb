"""Activation checkpointing, by whichever name the installed transformers has for it."""

from __future__ import annotations

from torch import nn


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only layer inputs in memory and compute the rest again in the backward pass. `model` is a transformers
    model or a peft wrapper of one. Without reentrance a layer is recomputed whether or not its input has a gradient, so
    none is asked of the embeddings: the patch embedding would get one too, and every backward pass the whole tower."""
    # Older releases of transformers 5 have only the second name, transformers 6 will have only the first.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})  # pyright: ignore[reportCallIssue]
    if getattr(model, "_require_grads_hooks", None):
        model.disable_input_require_grads()  # pyright: ignore[reportCallIssue]


def keep_activations(model: nn.Module) -> None:
    """Undo `checkpoint_activations`."""
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    disable()  # pyright: ignore[reportCallIssue]
