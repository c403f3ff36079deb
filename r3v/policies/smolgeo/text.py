"""SmolLM2's weights, tokenizer and settings, read from its GGUF file.

transformers reads such files too, but then refuses to save the model; here the tensors are read directly, which also
takes seconds in place of half a minute. llama.cpp stores the rows of query and key projections in another order (pairs
of a rotation side by side), which is undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from r3v.errors import ModelError

_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOPS = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}


class TextHalf:
    """One llama in a GGUF file. Raises ModelError where the file is none, or the `gguf` package is missing."""

    def __init__(self, path: Path) -> None:
        try:
            from gguf import GGUFReader
        except ImportError as error:
            raise ModelError("putting smolgeo together needs the package gguf: pip install 'r3v[smol]'") from error
        self.path = path
        try:
            self._reader = GGUFReader(path)
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: {error}; expected a GGUF file") from error
        if (found := self._value("general.architecture")) != "llama":
            raise ModelError(f"{path}: found architecture {found!r}, expected llama")

    def _value(self, key: str) -> Any:
        field = self._reader.get_field(key)
        if field is None:
            raise ModelError(f"{self.path}: found no {key}, which a llama in a GGUF file has")
        return field.contents()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Arguments of `LlamaConfig`, but for the vocabulary, which grows."""
        heads = self._value("llama.attention.head_count")
        return {
            "hidden_size": self._value("llama.embedding_length"),
            "intermediate_size": self._value("llama.feed_forward_length"),
            "num_hidden_layers": self._value("llama.block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._value("llama.attention.head_count_kv"),
            "max_position_embeddings": self._value("llama.context_length"),
            # The file keeps it in 32 bits: 9.999999747378752e-06 is 1e-5.
            "rms_norm_eps": float(f"{self._value('llama.attention.layer_norm_rms_epsilon'):.6g}"),
            "rope_parameters": {"rope_theta": float(self._value("llama.rope.freq_base")), "rope_type": "default"},
            "tie_word_embeddings": True,
        }

    @cached_property
    def tokens(self) -> list[str]:
        return self._value("tokenizer.ggml.tokens")

    def state(self) -> dict[str, Tensor]:
        """float32 tensors under the names that `LlamaModel` has for them. Raises ModelError for an unknown one."""
        from gguf.quants import dequantize

        found: dict[str, Tensor] = {}
        for tensor in self._reader.tensors:
            name = _name(tensor.name)
            if name is None:
                raise ModelError(f"{self.path}: found tensor {tensor.name}, expected a llama's")
            values = dequantize(tensor.data, tensor.tensor_type)
            if name.endswith("q_proj.weight"):
                values = _rows_of_heads(values, self.settings["num_attention_heads"])
            elif name.endswith("k_proj.weight"):
                values = _rows_of_heads(values, self.settings["num_key_value_heads"])
            found[name] = torch.tensor(values, dtype=torch.float32)
        return found

    def tokenizer(self, added: Sequence[str], special: Mapping[str, str], template: str) -> Any:
        """The tokenizer with `added` special tokens behind its own; digits stand alone, as in SmolLM2's.

        `special`: arguments such as pad_token of `PreTrainedTokenizerFast`.
        """
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        merges = [tuple(pair.split(" ")) for pair in self._value("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(self.tokens)}, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        kinds = self._value("tokenizer.ggml.token_type")
        control = [token for token, kind in zip(self.tokens, kinds, strict=True) if kind == 3]
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (*control, *added)])
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            chat_template=template,
            clean_up_tokenization_spaces=False,
            padding_side="left",
            model_max_length=self.settings["max_position_embeddings"],
            **special,
        )


def _name(name: str) -> str | None:
    if name in _TOPS:
        return _TOPS[name]
    pieces = name.split(".")
    if len(pieces) == 4 and pieces[0] == "blk" and pieces[2] in _PARTS:
        return f"layers.{pieces[1]}.{_PARTS[pieces[2]]}.weight"
    return None


def _rows_of_heads(values: np.ndarray, heads: int) -> np.ndarray:
    """From pairs side by side to halves of a head, the order transformers rotates in."""
    return rearrange(values, "(head row half) column -> (head half row) column", head=heads, half=2)
