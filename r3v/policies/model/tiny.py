"""Random tiny models of the real families, with real processors and a tokenizer trained in memory.

`--dry-run` and the tests run everything but the weights on them: same classes, chat format, image tokens and
caches as the models the recipes name, a few hundred thousand parameters, no download.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from r3v.errors import ModelError

_EXPERTS = re.compile(r"moe|-A\d+B\b", re.I)
"""A mixture of experts, by its name: `Qwen3-VL-30B-A3B`."""

# All widths are multiples of 64, the block size of nf4.
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
_CORPUS = (
    "In triangle ABC, angle A is 35 degrees and angle B is 45 degrees. What is angle C? Answer: 100",
    "Choices: (A) 1 (B) 2 (C) 3 (D) 4. Solve the problem step by step. Check it against the figure and the question.",
    "Here are 3 proposed solutions: [1] 2 + 3 = 5 [2] 7 x 8 = 56 [3] 90 - 35 = 55. Decide which one is right.",
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_PLAIN = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% if m['role'] == 'assistant' %}</s>{% else %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for m in messages %}{{ m['role'].capitalize() }}"
    "{% if m['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] | trim }}"
    "{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """How to make one family small: tokens its template needs, its chat template, configuration and
    processor. `others`: parts of names that begin alike and belong to another family.
    """

    names: tuple[str, ...]
    specials: tuple[str, ...]
    eos: str
    template: str
    config: Callable[[dict[str, int]], Any]
    processor: Callable[[Any, Any, str], Any]
    bos: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()


def family_of(name: str) -> str | None:
    """The family a model name or `model_type` belongs to, or None: `Qwen/Qwen2.5-VL-7B-Instruct` ->
    `qwen2_5_vl`.
    """
    plain = "".join(c for c in name.lower() if c.isalnum())
    for family, recipe in FAMILIES.items():
        if any(known in plain for known in recipe.names):
            # Relatives that are built differently would be played by the wrong model.
            return None if any(other in plain for other in recipe.others) or _EXPERTS.search(name) else family
    return None


def random_tiny(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A model with random weights and its processor. Raises ModelError for an unknown family or a missing
    extra.
    """
    if family not in FAMILIES:
        raise ModelError(f"found family {family!r}, expected one of {', '.join(FAMILIES)}")
    try:
        return made_of(FAMILIES[family], seed=seed, dtype=dtype)
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"the processor of {family} cannot be built: {str(error).strip().splitlines()[0]}. It needs "
            "torchvision: pip install 'r3v[gpu]'"
        ) from error


def made_of(
    recipe: Recipe, *, seed: int = 0, dtype: torch.dtype = torch.float32, seeing: tuple[str, ...] = ("visual", "vision")
) -> tuple[Any, Any]:
    """The model and the processor of a recipe. `seeing`: parts of the names of weights that stay as they were made, so
    that pictures are not drowned in noise."""
    from transformers import AutoModelForImageTextToText

    tokenizer = _tokenizer(recipe)
    ids = {token: int(i) for token, i in tokenizer.get_vocab().items() if token in recipe.specials}
    config = recipe.config({**ids, "vocab": len(tokenizer), "eos": int(tokenizer.eos_token_id)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        # The usual 0.02 makes a random model nearly uniform, and ties would hide mistakes in caches and
        # positions.
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and not any(part in name for part in seeing):
                torch.nn.init.normal_(weight, std=0.12)
        model.tie_weights()
    model.generation_config.eos_token_id = int(tokenizer.eos_token_id)
    model.generation_config.pad_token_id = int(tokenizer.pad_token_id)
    return model.eval(), recipe.processor(tokenizer, config, recipe.template)


def _tokenizer(recipe: Recipe) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", *recipe.specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=recipe.eos,
        bos_token=recipe.bos,
        pad_token="<pad>",
        extra_special_tokens=dict(recipe.extra),
        padding_side="left",
    )
    tokenizer.chat_template = recipe.template
    return tokenizer


def qwen_vision(family: str) -> dict[str, Any]:
    common = {"depth": 2, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if family == "qwen2_vl":
        return {**common, "embed_dim": 64, "hidden_size": 64, "mlp_ratio": 2}
    both = {**common, "hidden_size": 64, "intermediate_size": 128, "out_hidden_size": 64}
    if family == "qwen2_5_vl":
        return {**both, "window_size": 32, "fullatt_block_indexes": [1]}
    return {**both, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}


def _qwen_config(family: str) -> Callable[[dict[str, int]], Any]:
    def build(ids: dict[str, int]) -> Any:
        from transformers import Qwen2_5_VLConfig, Qwen2VLConfig, Qwen3VLConfig

        kinds = {"qwen2_vl": Qwen2VLConfig, "qwen2_5_vl": Qwen2_5_VLConfig, "qwen3_vl": Qwen3VLConfig}
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
        text = {**TEXT, "vocab_size": ids["vocab"], "rope_parameters": rope, "eos_token_id": ids["eos"]}
        if family == "qwen3_vl":
            text["head_dim"] = 16
            rope["mrope_interleaved"] = True
        return kinds[family](
            text_config=text,
            vision_config=qwen_vision(family),
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )

    return build


def qwen_processor(family: str) -> Callable[[Any, Any, str], Any]:
    def build(tokenizer: Any, config: Any, template: str) -> Any:
        import transformers as t

        size = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
        options = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2, "size": size}
        kinds = {
            "qwen2_vl": (t.Qwen2VLProcessor, t.Qwen2VLVideoProcessor),
            "qwen2_5_vl": (t.Qwen2_5_VLProcessor, t.Qwen2VLVideoProcessor),
            "qwen3_vl": (t.Qwen3VLProcessor, t.Qwen3VLVideoProcessor),
        }
        processor, video = kinds[family]
        return processor(
            image_processor=t.Qwen2VLImageProcessor(**options),
            tokenizer=tokenizer,
            video_processor=video(**options),
            chat_template=template,
        )

    return build


def _llava_config(ids: dict[str, int]) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    text = LlamaConfig(**TEXT, vocab_size=ids["vocab"], eos_token_id=ids["eos"], pad_token_id=0)
    return LlavaConfig(vision_config=vision, text_config=text, image_token_id=ids["<image>"], image_seq_length=16)  # pyright: ignore[reportCallIssue]


def _llava_processor(tokenizer: Any, config: Any, template: str) -> Any:
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )


def _idefics_config(ids: dict[str, int]) -> Any:
    from transformers import Idefics3Config

    text = {
        **TEXT,
        "model_type": "llama",
        "vocab_size": ids["vocab"],
        "eos_token_id": ids["eos"],
        "pad_token_id": 0,
    }
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Idefics3Config(
        text_config=text,
        vision_config={**vision, "image_size": 32, "patch_size": 4},
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=0,  # pyright: ignore[reportCallIssue]
    )


def _idefics_processor(tokenizer: Any, config: Any, template: str) -> Any:
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor

    edge = {"longest_edge": 32}
    images = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size=edge)
    return Idefics3Processor(images, tokenizer, image_seq_len=16, chat_template=template)


def _gemma_config(ids: dict[str, int]) -> Any:
    from transformers import Gemma3Config

    text = {**TEXT, "vocab_size": ids["vocab"], "head_dim": 16, "sliding_window": 24, "pad_token_id": 0}
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Gemma3Config(
        text_config={**text, "layer_types": kinds, "eos_token_id": ids["eos"]},
        vision_config={**vision, "image_size": 32, "patch_size": 8},
        mm_tokens_per_image=4,
        image_token_id=ids["<image_soft_token>"],  # pyright: ignore[reportCallIssue]
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
    )


def _gemma_processor(tokenizer: Any, config: Any, template: str) -> Any:
    from transformers import Gemma3ImageProcessorPil, Gemma3Processor

    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    return Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=4)


QWEN_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)


def _qwen(family: str, *names: str) -> Recipe:
    return Recipe(names, QWEN_TOKENS, "<|im_end|>", CHATML, _qwen_config(family), qwen_processor(family))


IDEFICS_TOKENS = (
    *("<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>"),
    *(f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)),
)
_GEMMA_TOKENS = (
    *("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
)
_GEMMA_EXTRA = (
    ("boi_token", "<start_of_image>"),
    ("eoi_token", "<end_of_image>"),
    ("image_token", "<image_soft_token>"),
)
FAMILIES: dict[str, Recipe] = {
    "qwen3_vl": _qwen("qwen3_vl", "qwen3vl"),
    "qwen2_5_vl": _qwen("qwen2_5_vl", "qwen25vl"),
    "qwen2_vl": _qwen("qwen2_vl", "qwen2vl"),
    "llava": Recipe(
        ("llava",),
        ("<s>", "</s>", "<image>"),
        "</s>",
        _PLAIN,
        _llava_config,
        _llava_processor,
        extra=(("image_token", "<image>"),),
        others=("onevision", "next", "video", "interleave", "llavav16", "vip"),
    ),
    "idefics3": Recipe(
        ("idefics3", "smolvlm", "geoworldtiny"),
        IDEFICS_TOKENS,
        "<end_of_utterance>",
        IDEFICS,
        _idefics_config,
        _idefics_processor,
    ),
    "gemma3": Recipe(
        ("gemma3",),
        _GEMMA_TOKENS,
        "<end_of_turn>",
        _GEMMA,
        _gemma_config,
        _gemma_processor,
        bos="<bos>",
        extra=_GEMMA_EXTRA,
        others=("gemma3n",),
    ),
}
