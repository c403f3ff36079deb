"""The architecture, tokenizer and processor of geoworld-tiny: plain Idefics3, no custom code.

Idefics3 because its pixel-shuffle keeps image tokens few and its processor needs only Pillow. The tokenizer is a
byte-level BPE whose pre-tokenizer isolates every digit and every capital letter, so that "ABC = 140" is read letter
by letter and digit by digit; anything else a user types still encodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IMAGE_SIZE = 112
PATCH = 8
SHUFFLE = 2
WHITE, SPREAD = 0.95, 0.3
"""Pixels become (value - WHITE) / SPREAD: paper is near zero and ink far from it, which a small tower learns from much
faster than from paper at one. Not exactly zero, because Idefics3 drops all-zero pictures as padding."""
IMAGE_TOKENS = (IMAGE_SIZE // PATCH // SHUFFLE) ** 2
SPECIAL = ["<pad>", "<bos>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}User:{% elif m['role'] == 'assistant' %}"
    "Assistant:{% else %}System:{% endif %}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Widths and depths; the defaults make about 4 M parameters."""

    vision_width: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    text_width: int = 192
    text_layers: int = 6
    text_heads: int = 6
    text_ffn: int = 512
    context: int = 1024


def build_tokenizer(corpus: Iterable[str], vocabulary: int = 640):
    """Byte-level BPE trained on `corpus`; single digits, single capitals, words with their leading space."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    pieces = r" ?[A-Z]?[a-z]+| ?[A-Z]| ?[0-9]| ?[^\sA-Za-z0-9]|\s"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=SPECIAL[3:],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="left",
    )


def build_processor(tokenizer):
    """Idefics3's own processor: one 112 x 112 picture is 49 image tokens."""
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    images = Idefics3ImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE},
        max_image_size={"longest_edge": IMAGE_SIZE},
        do_image_splitting=False,
        resample=3,
        image_mean=[WHITE] * 3,
        image_std=[SPREAD] * 3,
    )
    return Idefics3Processor(
        image_processor=images, tokenizer=tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def build_model(tokenizer, size: Size = Size()):
    """A randomly initialised Idefics3ForConditionalGeneration of this size (seed torch before)."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.text_width,
        intermediate_size=size.text_ffn,
        num_hidden_layers=size.text_layers,
        num_attention_heads=size.text_heads,
        num_key_value_heads=size.text_heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<end_of_utterance>"],
    )
    vision = Idefics3VisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=4 * size.vision_width,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
    )
    config = Idefics3Config(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<image>"],
        scale_factor=SHUFFLE,
        pad_token_id=ids["<pad>"],  # pyright: ignore[reportCallIssue]
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config)
    scale_vision(model.model.vision_model, size.vision_layers)
    model.generation_config.eos_token_id = ids["<end_of_utterance>"]
    model.generation_config.pad_token_id = ids["<pad>"]
    model.generation_config.bos_token_id = ids["<bos>"]
    return model


def scale_vision(vision: Any, layers: int) -> None:
    """Variance-preserving weights for the vision tower; transformers' 0.02 is meant for widths near a thousand."""
    from torch import nn

    for name, module in vision.named_modules():
        if isinstance(module, nn.Linear):
            shrink = (2 * layers) ** -0.5 if name.endswith(("out_proj", "fc2")) else 1.0
            nn.init.normal_(module.weight, std=shrink * module.in_features**-0.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(module.weight[0].numel()) ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight.copy_(places(IMAGE_SIZE // PATCH, module.embedding_dim))


def places(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column, [side * side, width], wave lengths from 4 patches to 4 pictures.

    With random position embeddings every place has to find out by itself which places are its neighbours (2-D
    sinusoids: Beyer, Zhai and Kolesnikov 2022, arXiv 2205.01580).
    """
    count = width // 4
    waves = 2 * math.pi / (4.0 * side ** (torch.arange(count) / (count - 1)))
    angles = torch.arange(side)[:, None] * waves
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
