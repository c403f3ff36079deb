"""A trained adapter must change what the model says: asked once when it is loaded.

An adapter whose names fit nothing, or that is loaded beside the model and never used, fails silently otherwise: the
base model answers, and its figures are taken for those of the adapter.
"""

from __future__ import annotations

from typing import Any

import torch

from r3v.errors import ModelError
from r3v.policies.model.structure import base_model

TOKENS = 6


def check_speaks(model: Any, what: object) -> None:
    """Raise ModelError where an adapter that has learnt something leaves all log-probabilities of a few tokens as they
    are. One that is still zero may do so."""
    taught = [p for name, p in model.named_parameters() if ".lora_B." in name and bool(torch.count_nonzero(p))]
    if not taught:
        return
    base = base_model(model)
    size = int(base.config.get_text_config().vocab_size)
    ids = torch.tensor([[i * size // (TOKENS + 2) for i in range(1, TOKENS + 1)]])
    ids = ids.to(base.get_input_embeddings().weight.device)
    with torch.inference_mode():
        with_it = model(input_ids=ids, use_cache=False).logits
        with model.disable_adapter():
            without = model(input_ids=ids, use_cache=False).logits
    if torch.equal(with_it, without):
        raise ModelError(
            f"the adapter {what} has been trained ({len(taught)} layers), but no log-probability of {TOKENS} tokens "
            "changes with it: its names fit other layers than those that answer. Load it on the model it was taught "
            "with"
        )
