"""Families whose text model is one of the usual decoders, seen by their own towers and processors."""

from __future__ import annotations

from typing import Any

import transformers as t
from family_kit import SIGLIP, SMALL, VISION, Ids, chatml, family, plain

from r3v.policies.model.tiny import IDEFICS, IDEFICS_TOKENS, TEXT

TILES: dict[str, Any] = {"size": SMALL, "crop_to_patches": True, "min_patches": 1, "max_patches": 4}
GRID = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}


def text(kind: str, ids: Ids, **more: Any) -> dict[str, Any]:
    """The configuration of a text model; those with a `head_dim` of their own say 16."""
    own = {"head_dim": 16} if kind in ("qwen3", "mistral") else {}
    own |= {"sliding_window": None} if kind == "mistral" else {}
    pad = {} if kind.startswith("qwen") else {"pad_token_id": 0}
    return {
        **TEXT, "model_type": kind, "vocab_size": ids["vocab"], "eos_token_id": ids["eos"], **own, **pad, **more,
    }  # fmt: skip


# ---- InternVL ------------------------------------------------------------------------------------


def internvl(kind: str) -> Any:
    def config(ids: Ids) -> Any:
        return t.InternVLConfig(
            text_config=text(kind, ids, tie_word_embeddings=False),
            vision_config={**VISION, "image_size": 32, "patch_size": 8},
            image_token_id=ids["<IMG_CONTEXT>"],
            image_seq_length=4,
            downsample_ratio=0.5,
            tie_word_embeddings=False,
        )

    return config


def internvl_processor(tokenizer: Any, config: Any, template: str) -> Any:
    videos = t.InternVLVideoProcessor(size=SMALL)
    images = t.GotOcr2ImageProcessor(**TILES)
    return t.InternVLProcessor(images, tokenizer, videos, image_seq_length=4, chat_template=template)


for name, title, kind in (("internvl", "InternVL (Qwen2)", "qwen2"), ("internvl_qwen3", "InternVL (Qwen3)", "qwen3")):
    family(
        name, title, "<|endoftext|> <|im_start|> <|im_end|> <img> </img> <IMG_CONTEXT> <video>", "<|im_end|>",
        chatml("<IMG_CONTEXT>"), internvl(kind), internvl_processor,
        extra={"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
               "video_token": "<video>"},
    )  # fmt: skip


# ---- LLaVA's successors --------------------------------------------------------------------------


def onevision(ids: Ids) -> Any:
    return t.LlavaOnevisionConfig(
        text_config=text("qwen2", ids, tie_word_embeddings=False),
        vision_config=SIGLIP,
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=[[32, 32], [32, 64], [64, 32], [64, 64], [32, 96]],
    )


def onevision_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.LlavaOnevisionImageProcessor(size=SMALL, image_grid_pinpoints=config.image_grid_pinpoints)
    videos = t.LlavaOnevisionVideoProcessor(size=SMALL)
    options = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    return t.LlavaOnevisionProcessor(images, tokenizer, videos, chat_template=template, **options)


family(
    "llava_onevision", "LLaVA-OneVision", "<|endoftext|> <|im_start|> <|im_end|> <image> <video>", "<|im_end|>",
    chatml("<image>"), onevision, onevision_processor, extra={"image_token": "<image>", "video_token": "<video>"},
)  # fmt: skip


def llava_next(kind: str, **more: Any) -> Any:
    def config(ids: Ids) -> Any:
        return t.LlavaNextConfig(
            text_config=text(kind, ids, **more),
            vision_config={**VISION, "model_type": "clip_vision_model", "image_size": 32, "patch_size": 8},
            image_token_index=ids["<image>"],
            image_grid_pinpoints=[[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]],
            image_seq_length=16,
        )

    return config


def llava_next_processor(tokenizer: Any, config: Any, template: str) -> Any:
    edge: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": SMALL}
    images = t.LlavaNextImageProcessor(**edge, image_grid_pinpoints=config.image_grid_pinpoints)
    options = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return t.LlavaNextProcessor(images, tokenizer, chat_template=template, **options)


GRANITE = {"attention_multiplier": 0.25, "embedding_multiplier": 12.0, "logits_scaling": 8.0}
for name, title, made in (
    ("llava_next", "LLaVA-NeXT (Mistral)", llava_next("mistral")),
    ("llava_next_granite", "LLaVA-NeXT (Granite)",
     llava_next("granite", **GRANITE, residual_multiplier=0.22, tie_word_embeddings=True)),
):  # fmt: skip
    family(
        name, title, "<s> </s> <image>", "</s>", plain("<image>"), made, llava_next_processor,
        extra={"image_token": "<image>"},
    )  # fmt: skip


# ---- one of each ---------------------------------------------------------------------------------


def mistral3(ids: Ids) -> Any:
    return t.Mistral3Config(
        text_config=text("mistral", ids, tie_word_embeddings=False),
        vision_config={**VISION, "model_type": "pixtral", "head_dim": 16, "image_size": 64, "patch_size": 8},
        image_token_index=ids["[IMG]"],
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )


def mistral3_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.PixtralImageProcessor(size={"longest_edge": 64}, patch_size=8)
    return t.PixtralProcessor(images, tokenizer, patch_size=8, spatial_merge_size=2, chat_template=template)


family(
    "mistral3", "Mistral3", "<s> </s> [IMG] [IMG_BREAK] [IMG_END] [INST] [/INST]", "</s>",
    "<s>{% for m in messages %}{% if m['role'] == 'user' %}[INST]{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}[IMG]{% else %}{{ c['text'] }}{% endif %}{% endfor %}[/INST]{% else %}"
    "{{ m['content'][0]['text'] }}</s>{% endif %}"
    "{% endfor %}",
    mistral3, mistral3_processor, bos="<s>",
)  # fmt: skip


def smolvlm(ids: Ids) -> Any:
    config: Any = t.SmolVLMConfig
    return config(
        text_config=text("llama", ids),
        vision_config={**VISION, "image_size": 32, "patch_size": 4},
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=0,
    )


def smolvlm_processor(tokenizer: Any, config: Any, template: str) -> Any:
    tokenizer.image_token, tokenizer.global_image_token = "<image>", "<global-img>"
    tokenizer.fake_image_token = "<fake_token_around_image>"
    size: dict[str, Any] = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    images, videos = t.SmolVLMImageProcessor(**size), t.SmolVLMVideoProcessor(**size)
    return t.SmolVLMProcessor(images, tokenizer, videos, image_seq_len=16, chat_template=template)


family("smolvlm", "SmolVLM", " ".join(IDEFICS_TOKENS), "<end_of_utterance>", IDEFICS, smolvlm, smolvlm_processor)


def deepseek(ids: Ids) -> Any:
    picture = ids["<image_placeholder>"]
    return t.DeepseekVLConfig(text_config=text("llama", ids), vision_config=SIGLIP, image_token_id=picture)


def deepseek_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.DeepseekVLImageProcessor(size=SMALL, min_size=8)
    return t.DeepseekVLProcessor(images, tokenizer, chat_template=template, num_image_tokens=16)


family(
    "deepseek_vl", "DeepSeek-VL", "<s> </s> <image_placeholder>", "</s>", plain("<image_placeholder>"), deepseek,
    deepseek_processor, bos="<s>", extra={"image_token": "<image_placeholder>"},
)  # fmt: skip


def janus(ids: Ids) -> Any:
    vision = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    codes = {"embed_dim": 8, "num_embeddings": 32, "latent_channels": 32, "base_channels": 32}
    return t.JanusConfig(
        text_config=text("llama", ids),
        vision_config={**vision, "mlp_ratio": 2.0, "projection_dim": 64, "num_image_tokens": 16, "depth": 2},
        vq_config={**codes, "channel_multiplier": [1, 1], "num_res_blocks": 1, "num_patches": 4, "projection_dim": 64,
                   "image_token_embed_dim": 64},
        image_token_id=ids["<image_placeholder>"],
    )  # fmt: skip


def janus_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.JanusImageProcessor(size=SMALL, min_size=8)
    return t.JanusProcessor(images, tokenizer, chat_template=template, num_image_tokens=16)


family(
    "janus", "Janus", "<s> </s> <image_placeholder> <begin_of_image> <end_of_image>", "</s>",
    plain("<image_placeholder>"), janus, janus_processor, bos="<s>",
    extra={"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"},
)  # fmt: skip


def idefics2(ids: Ids) -> Any:
    perceiver = {"hidden_size": 64, "resampler_n_latents": 8, "resampler_depth": 1, "resampler_n_heads": 4}
    return t.Idefics2Config(
        text_config=text("mistral", ids),
        vision_config={**VISION, "image_size": 64, "patch_size": 8},
        perceiver_config={**perceiver, "resampler_head_dim": 16, "num_key_value_heads": 2},
        image_token_id=ids["<image>"],
    )


def idefics2_processor(tokenizer: Any, config: Any, template: str) -> Any:
    size = {"shortest_edge": 32, "longest_edge": 64}
    images = t.Idefics2ImageProcessor(size=size, do_image_splitting=False)
    return t.Idefics2Processor(images, tokenizer, image_seq_len=8, chat_template=template)


family(
    "idefics2", "Idefics2", "<s> </s> <image> <fake_token_around_image> <end_of_utterance>", "</s>",
    IDEFICS.replace("<|im_start|>", "<s>", 1), idefics2, idefics2_processor,
)  # fmt: skip


def paddle(ids: Ids) -> Any:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    own = {"head_dim": 16, "vocab_size": ids["vocab"], "eos_token_id": ids["eos"], "rope_parameters": rope}
    return t.PaddleOCRVLConfig(
        text_config={**TEXT, **own},
        vision_config={**VISION, "image_size": 64, "patch_size": 8, "spatial_merge_size": 2},
        image_token_id=ids["<|IMAGE_PLACEHOLDER|>"],
        video_token_id=ids["<|VIDEO_PLACEHOLDER|>"],
        vision_start_token_id=ids["<|IMAGE_START|>"],
        vision_end_token_id=ids["<|IMAGE_END|>"],
    )


def paddle_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.PaddleOCRVLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=1, size=GRID)
    return t.PaddleOCRVLProcessor(images, tokenizer, chat_template=template)


family(
    "paddleocr_vl", "PaddleOCR-VL",
    "<s> </s> <|IMAGE_START|> <|IMAGE_END|> <|IMAGE_PLACEHOLDER|> <|VIDEO_PLACEHOLDER|>", "</s>",
    "<s>" + plain("<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"), paddle, paddle_processor, bos="<s>",
    extra={"image_token": "<|IMAGE_PLACEHOLDER|>"},
)  # fmt: skip


# ---- Cohere --------------------------------------------------------------------------------------

COHERE = (
    "<bos> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> <image> <|START_OF_IMG|> "
    "<|END_OF_IMG|> <|IMG_PATCH|> <|IMG_LINE_BREAK|> TILE TILE_GLOBAL TILE_1 TILE_2 TILE_3 TILE_4"
)


def cohere_template(picture: str) -> str:
    return (
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
        "{{ '<|CHATBOT_TOKEN|>' if m['role'] == 'assistant' else '<|USER_TOKEN|>' }}"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}" + picture + "{% else %}"
        "{{ c['text'] }}{% endif %}{% endfor %}<|END_OF_TURN_TOKEN|>{% endfor %}{% if add_generation_prompt %}"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
    )


def cohere_text(ids: Ids) -> dict[str, Any]:
    layers = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
    return text(
        "cohere2", ids, head_dim=16, num_hidden_layers=4, layer_types=layers, sliding_window=24, logit_scale=0.25,
        bos_token_id=ids["<bos>"], tie_word_embeddings=True,
    )  # fmt: skip


def aya(ids: Ids) -> Any:
    picture = ids["<|IMG_PATCH|>"]
    return t.AyaVisionConfig(
        text_config=cohere_text(ids), vision_config=SIGLIP, image_token_index=picture, downsample_factor=2
    )


def aya_processor(tokenizer: Any, config: Any, template: str) -> Any:
    options: dict[str, Any] = {"patch_size": 8, "img_size": 32, "downsample_factor": 2}
    return t.AyaVisionProcessor(t.GotOcr2ImageProcessor(**TILES), tokenizer, chat_template=template, **options)


def cohere2(ids: Ids) -> Any:
    sizes: dict[str, Any] = {"downsample_factor": 2, "alignment_intermediate_size": 128}
    picture = ids["<|IMG_PATCH|>"]
    return t.Cohere2VisionConfig(
        text_config=cohere_text(ids), vision_config=SIGLIP, image_token_id=picture, **sizes
    )  # fmt: skip


def cohere2_processor(tokenizer: Any, config: Any, template: str) -> Any:
    make: Any = t.Cohere2VisionImageProcessor
    images = make(**TILES, patch_size=2)
    return t.Cohere2VisionProcessor(images, tokenizer, chat_template=template)


END = "<|END_OF_TURN_TOKEN|>"
family("aya_vision", "Aya Vision", COHERE, END, cohere_template("<image>"), aya, aya_processor, bos="<bos>")
family(
    "cohere2_vision", "Cohere2 Vision", COHERE, END, cohere_template("<|IMG_PATCH|>"), cohere2, cohere2_processor,
    bos="<bos>",
    extra={"boi_token": "<|START_OF_IMG|>", "eoi_token": "<|END_OF_IMG|>", "image_token": "<|IMG_PATCH|>",
           "img_line_break_token": "<|IMG_LINE_BREAK|>"},
)  # fmt: skip


# ---- LFM2 and Ovis2 ------------------------------------------------------------------------------


def lfm2(ids: Ids) -> Any:
    layers = ["conv", "full_attention", "conv", "full_attention"]
    vision = {**VISION, "model_type": "siglip2_vision_model", "patch_size": 8, "num_patches": 16}
    return t.Lfm2VlConfig(
        text_config=text("lfm2", ids, num_hidden_layers=4, layer_types=layers),
        vision_config={**vision, "vision_use_head": False},
        image_token_id=ids["<image>"],
        projector_hidden_size=64,
        downsample_factor=2,
    )


def lfm2_processor(tokenizer: Any, config: Any, template: str) -> Any:
    tiles: dict[str, Any] = {
        "encoder_patch_size": 8,
        "tile_size": 32,
        "min_image_tokens": 1,
        "max_image_tokens": 4,
        "max_tiles": 4,
    }
    return t.Lfm2VlProcessor(t.Lfm2VlImageProcessor(**tiles, size=SMALL), tokenizer, chat_template=template)


family(
    "lfm2_vl", "LFM2-VL", "<|pad|> <|im_start|> <|im_end|> <image> <|image_start|> <|image_end|> <|img_thumbnail|>",
    "<|im_end|>", chatml("<image>"), lfm2, lfm2_processor,
    extra={"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>",
           "image_thumbnail_token": "<|img_thumbnail|>"},
)  # fmt: skip


def ovis2(ids: Ids) -> Any:
    marks = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    vision = {**VISION, "image_size": 32, "patch_size": 8, "vocab_size": 32, "hidden_stride": 2}
    return t.Ovis2Config(
        text_config=text("qwen2", ids, tie_word_embeddings=True),
        vision_config={**vision, "num_visual_indicator_tokens": 5},
        image_token_id=ids["<IMG_ATOM>"],
        visual_indicator_token_ids=[ids[mark] for mark in marks],
        vocab_size=ids["vocab"],
        hidden_size=64,
    )


def ovis2_processor(tokenizer: Any, config: Any, template: str) -> Any:
    return t.Ovis2Processor(t.Ovis2ImageProcessor(**TILES), tokenizer, image_seq_length=4, chat_template=template)


family(
    "ovis2", "Ovis2",
    "<|endoftext|> <|im_start|> <|im_end|> <image> <IMG_ATOM> <IMG_START> <IMG_GRID> <IMG_COL> <IMG_ROW> <IMG_END>",
    "<|im_end|>", chatml("<image>"), ovis2, ovis2_processor, extra={"image_token": "<image>"},
)  # fmt: skip
