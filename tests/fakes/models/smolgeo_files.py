"""A tiny random llama in a GGUF file, a wheel that holds it, and a student made from it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r3v.policies.smolgeo.fetch import Release

HIDDEN, FFN, LAYERS, HEADS, KV_HEADS = 64, 96, 2, 4, 2
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tokens() -> tuple[list[str], list[str]]:
    """Three control tokens, every byte, and two merges; and the merges."""
    from tokenizers import pre_tokenizers

    return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "an", "Ġan"], ["a n", "Ġ an"]


def llama(seed: int = 0) -> Any:
    """A random LlamaModel of this size."""
    import torch
    from transformers import LlamaConfig, LlamaModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaModel(
            LlamaConfig(
                vocab_size=len(tokens()[0]),
                hidden_size=HIDDEN,
                intermediate_size=FFN,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                num_key_value_heads=KV_HEADS,
                max_position_embeddings=512,
                rms_norm_eps=1e-5,
                rope_parameters={"rope_theta": 100000.0, "rope_type": "default"},
            )
        ).eval()


def write_gguf(path: Path, model: Any) -> Path:
    """The model as llama.cpp writes it: rows of query and key in pairs; weights unquantised but for two."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    names, merges = tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(names)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(names) - len(CONTROL)))
    writer.add_token_merges(merges)
    state = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", state["embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", state["norm.weight"])
    parts = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    for i in range(LAYERS):
        for ours, theirs in parts.items():
            values = state[f"layers.{i}.{ours}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(theirs)
            if heads:
                half = values.shape[0] // heads // 2
                values = values.reshape(heads, 2, half, HIDDEN).swapaxes(1, 2).reshape(values.shape)
            writer.add_tensor(f"blk.{i}.{theirs}.weight", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(folder: Path, content: bytes, member: str = "tiny/tiny.gguf") -> tuple[Path, Release]:
    """A wheel with that file, and how it is recognised. Its code fails when it is imported."""
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr("tiny/__init__.py", "raise SystemExit('imported')")
    return path, Release(
        package="tiny-model",
        version="1.0",
        member=member,
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        file_sha256=hashlib.sha256(content).hexdigest(),
        file_bytes=len(content),
    )
