"""Configurations by name: of a folder here, of the models that recipes name, or of the hub's cache. No weights.

The three that recipes name stand here with their true sizes, as their `config.json` on the hub gives them, so that a
plan needs no network.
"""

from __future__ import annotations

import json
from typing import Any

from r3v.errors import ModelError
from r3v.settings.config import ModelConfig

_QWEN2: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 128000,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
_QWEN2_VISION: dict[str, Any] = {
    "depth": 32,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen/Qwen2-VL-7B-Instruct": (
        "qwen2_vl",
        {
            "text_config": {**_QWEN2, "max_position_embeddings": 32768},
            "vision_config": {**_QWEN2_VISION, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4},
        },
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": (
        "qwen2_5_vl",
        {
            "text_config": _QWEN2,
            "vision_config": {
                **_QWEN2_VISION,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "out_hidden_size": 3584,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
            },
        },
    ),
    "Qwen/Qwen3-VL-8B-Instruct": (
        "qwen3_vl",
        {
            "text_config": {
                "hidden_size": 4096,
                "intermediate_size": 12288,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "vocab_size": 151936,
                "max_position_embeddings": 262144,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5e6,
                    "mrope_section": [24, 20, 20],
                    "mrope_interleaved": True,
                },
            },
            "vision_config": {
                "depth": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_heads": 16,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "out_hidden_size": 4096,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
        },
    ),
}
"""Hub name -> model type and the fields of its configuration that sizes follow from."""


def config_of(model: ModelConfig) -> Any:
    """The transformers configuration of a model, without its weights: a local folder, one of `KNOWN`, or what the hub
    gives where it is switched on. Raises ModelError."""
    from transformers import AutoConfig

    from r3v.policies.model.loading import _folder, _source

    if model.path in KNOWN:
        kind, fields = KNOWN[model.path]
        return AutoConfig.for_model(kind, **json.loads(json.dumps(fields)))
    folder = _folder(model.path)
    try:
        return AutoConfig.from_pretrained(**_source(folder, model))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"cannot read the configuration of {model.path!r}: {reason}. Give a folder with config.json, one of "
            f"{', '.join(KNOWN)}, or a hub name with HF_HUB_OFFLINE=0"
        ) from error


def meta_model(config: Any) -> Any:
    """A model of this configuration without weights, on the meta device."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    model.tie_weights()
    return model
