"""Families built otherwise: experts, linear or sliding attention, latent keys, two-way attention of pictures."""

from __future__ import annotations

from typing import Any

import torch
import transformers as t
from family_dense import GRID
from family_kit import SMALL, VISION, Ids, chatml, family, headed, plain

from r3v.policies.model.tiny import CHATML, QWEN_TOKENS, TEXT, qwen_processor, qwen_vision

EVERYWHERE = ("nowhere",)
"""`seeing` of families whose vision weights must not stay as they are made, or pictures say nothing."""


def text(ids: Ids, **more: Any) -> dict[str, Any]:
    return {**TEXT, "vocab_size": ids["vocab"], "eos_token_id": ids["eos"], **more}


def mrope(*sections: int, **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(sections), **more}


def experts(n: int = 4, most: int = 2) -> dict[str, int]:
    return {"num_experts": n, "num_experts_per_tok": most, "moe_intermediate_size": 64}


def qwen_ids(ids: Ids) -> dict[str, Any]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


# ---- Qwen ----------------------------------------------------------------------------------------


def qwen3_moe(ids: Ids) -> Any:
    rope = mrope(2, 3, 3, mrope_interleaved=True)
    own = {"head_dim": 16, "rope_parameters": rope, "decoder_sparse_step": 1, "mlp_only_layers": []}
    made = text(ids, **own, **experts(), tie_word_embeddings=False)
    return t.Qwen3VLMoeConfig(text_config=made, vision_config=qwen_vision("qwen3_vl"), **qwen_ids(ids))


LINEAR = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
GATED = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}


def qwen3_5_text(ids: Ids, **more: Any) -> dict[str, Any]:
    rope = mrope(1, 1, 2, mrope_interleaved=True, partial_rotary_factor=0.5)
    own = {"num_hidden_layers": 4, "head_dim": 16, "rope_parameters": rope, "layer_types": LINEAR, **GATED}
    return text(ids, **own, tie_word_embeddings=False, **more)


def qwen3_5(kind: Any, **more: Any) -> Any:
    def config(ids: Ids) -> Any:
        vision = {"depth": 2, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
        sizes = {"hidden_size": 64, "intermediate_size": 128, "out_hidden_size": 64, "num_position_embeddings": 64}
        return kind(text_config=qwen3_5_text(ids, **more), vision_config={**vision, **sizes}, **qwen_ids(ids))

    return config


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n"
    "{% endif %}{% endif %}"
)
QWEN = " ".join(QWEN_TOKENS)
seen = qwen_processor("qwen3_vl")
family("qwen3_vl_moe", "Qwen3-VL-MoE", QWEN, "<|im_end|>", CHATML, qwen3_moe, seen)
family("qwen3_5", "Qwen3.5", QWEN, "<|im_end|>", THINKING, qwen3_5(t.Qwen3_5Config), seen)
shared = {"shared_expert_intermediate_size": 64}
family(
    "qwen3_5_moe", "Qwen3.5-MoE", QWEN, "<|im_end|>", THINKING, qwen3_5(t.Qwen3_5MoeConfig, **experts(), **shared), seen
)


# ---- MiniCPM-V -----------------------------------------------------------------------------------


def minicpm(ids: Ids) -> Any:
    return t.MiniCPMV4_6Config(
        text_config={**qwen3_5_text(ids), "model_type": "qwen3_5_text"},
        vision_config={**VISION, "image_size": 64, "patch_size": 8},
        insert_layer_id=0,
        image_size=64,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
    )


def minicpm_processor(tokenizer: Any, config: Any, template: str) -> Any:
    size: dict[str, Any] = {"max_slice_nums": 4, "scale_resolution": 64, "patch_size": 8}
    images, videos = t.MiniCPMV4_6ImageProcessor(**size), t.MiniCPMV4_6VideoProcessor(**size)
    return t.MiniCPMV4_6Processor(images, videos, tokenizer, chat_template=template)


family(
    "minicpmv4_6", "MiniCPM-V 4.6",
    "<|endoftext|> <|im_start|> <|im_end|> <image> </image> <slice> </slice> <image_id> </image_id> <|image_pad|> "
    "<|video_pad|>",
    "<|im_end|>", chatml("<|image_pad|>"), minicpm, minicpm_processor,
    extra={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "image_start_token": "<image>",
           "image_end_token": "</image>", "slice_start_token": "<slice>", "slice_end_token": "</slice>",
           "image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>"},
)  # fmt: skip


# ---- GLM -----------------------------------------------------------------------------------------

GLM_TOKENS = (
    "<|endoftext|> [gMASK] <sop> <|system|> <|user|> <|assistant|> <|observation|> <|begin_of_image|> <|end_of_image|> "
    "<|begin_of_video|> <|end_of_video|> <|image|> <|video|>"
)
GLM = (
    "[gMASK]<sop>{% for m in messages %}{% if m['role'] == 'user' %}<|user|>\n{% else %}<|assistant|>\n{% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|begin_of_image|><|image|><|end_of_image|>{% else %}"
    "{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def glm_parts(ids: Ids, moe: bool) -> dict[str, Any]:
    sections = (1, 1, 2) if moe else (2, 3, 3)
    ends = [ids["<|endoftext|>"], ids["<|user|>"], ids["<|observation|>"]]
    own = text(ids, rope_parameters=mrope(*sections, partial_rotary_factor=0.5 if moe else 1.0), pad_token_id=0)
    own["eos_token_id"] = ends
    if moe:
        own |= {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "n_shared_experts": 1}
        own |= {"first_k_dense_replace": 1, "head_dim": 16}
    vision = {"depth": 2, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
    sizes = {"hidden_size": 64, "intermediate_size": 128, "out_hidden_size": 64, "image_size": 64}
    named = {
        f"{kind}_{part}token_id": ids[f"<|{mark}{kind}|>"]
        for kind in ("image", "video")
        for part, mark in (("", ""), ("start_", "begin_of_"), ("end_", "end_of_"))
    }
    return {"text_config": own, "vision_config": {**vision, **sizes}, **named}


def glm(kind: Any, moe: bool) -> Any:
    return lambda ids: kind(**glm_parts(ids, moe))


def glm46(moe: bool) -> Any:
    """The same parts under the name of GLM-4.6V, whose configuration names its halves by their kind."""

    def config(ids: Ids) -> Any:
        made = glm(t.Glm4vMoeConfig if moe else t.Glm4vConfig, moe)(ids).to_dict()
        made["text_config"]["model_type"] = "glm4v_moe_text" if moe else "glm4v_text"
        made["vision_config"]["model_type"] = "glm4v_moe_vision" if moe else "glm4v_vision"
        return t.Glm46VConfig(**{k: v for k, v in made.items() if k not in ("model_type", "architectures")})

    return config


def glm_processor(kind: str) -> Any:
    def processor(tokenizer: Any, config: Any, template: str) -> Any:
        tokenizer.image_token, tokenizer.video_token = "<|image|>", "<|video|>"
        size: dict[str, Any] = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2, "size": GRID}
        images, videos = (getattr(t, f"{kind}{part}Processor")(**size) for part in ("Image", "Video"))
        return getattr(t, f"{kind}Processor")(images, tokenizer, videos, chat_template=template)

    return processor


def ends_by_text(model: Any) -> None:
    """The end tokens that the text half names are those of the generation."""
    model.generation_config.eos_token_id = list(model.config.get_text_config().eos_token_id)


for name, title, made, kind in (
    ("glm4v", "GLM-4V", glm(t.Glm4vConfig, False), "Glm4v"),
    ("glm4v_moe", "GLM-4.5V (experts)", glm(t.Glm4vMoeConfig, True), "Glm4v"),
    ("glm46v", "GLM-4.6V", glm46(False), "Glm46V"),
    ("glm46v_moe", "GLM-4.6V (experts)", glm46(True), "Glm46V"),
):
    family(name, title, GLM_TOKENS, "<|endoftext|>", GLM, made, glm_processor(kind), after=ends_by_text)


# ---- Gemma 4 and PaliGemma -----------------------------------------------------------------------

GEMMA4 = (
    "{{ bos_token }}{% for m in messages %}<|turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|image|>{% else %}{{ c['text'] | trim }}{% endif %}"
    "{% endfor %}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)


def gemma4(**more: Any) -> Any:
    def config(ids: Ids) -> Any:
        layers = ["sliding_attention", "full_attention"] * 2
        own = {"num_hidden_layers": 4, "vocab_size_per_layer_input": ids["vocab"], "head_dim": 16}
        own |= {"global_head_dim": 32, "sliding_window": 24, "pad_token_id": 0, "layer_types": layers}
        own |= {"hidden_size_per_layer_input": 0, "final_logit_softcapping": 30.0, **more}
        vision = {**VISION, "num_key_value_heads": 4, "head_dim": 16, "patch_size": 4, "pooling_kernel_size": 3}
        return t.Gemma4Config(
            text_config=text(ids, **own) | {"eos_token_id": [ids["<eos>"], ids["<turn|>"]]},
            vision_config={**vision, "position_embedding_size": 200},
            audio_config=None,
            image_token_id=ids["<|image|>"],
            boi_token_id=ids["<|image>"],
            eoi_token_id=ids["<image|>"],
            video_token_id=ids["<|video|>"],
            boa_token_id=ids["<|audio>"],
            eoa_token_index=ids["<audio|>"],
            audio_token_id=ids["<|audio|>"],
        )

    return config


def gemma4_processor(tokenizer: Any, config: Any, template: str) -> Any:
    size: dict[str, Any] = {"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 3}
    images, videos = t.Gemma4ImageProcessor(**size), t.Gemma4VideoProcessor(**size)
    sounds = t.Gemma4AudioFeatureExtractor()
    return t.Gemma4Processor(sounds, images, tokenizer, videos, chat_template=template, image_seq_length=70)


BIG = {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "use_bidirectional_attention": "vision"}
MOE = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 64}
for name, title, more in (
    ("gemma4_e", "Gemma 4 E-type", {"hidden_size_per_layer_input": 16, "num_kv_shared_layers": 2}),
    ("gemma4_31b", "Gemma 4 31B-type", BIG),
    ("gemma4_26b", "Gemma 4 26B-type (experts)", {**BIG, **MOE}),
):
    family(
        name, title,
        "<eos> <bos> <|turn> <turn|> <|image> <image|> <|image|> <|audio|> <|audio> <audio|> <|video|> <|channel> "
        "<channel|>",
        "<turn|>", GEMMA4, gemma4(**more), gemma4_processor, bos="<bos>", seeing=EVERYWHERE, after=ends_by_text,
        extra={"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>",
               "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"},
    )  # fmt: skip


def paligemma(ids: Ids) -> Any:
    own = text(ids, model_type="gemma2", head_dim=16, pad_token_id=0, sliding_window=64, query_pre_attn_scalar=16)
    vision = {**VISION, "model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8}
    return t.PaliGemmaConfig(
        text_config=own,
        vision_config={**vision, "vision_use_head": False, "projection_dim": 64},
        image_token_index=ids["<image>"],
        projection_dim=64,
        hidden_size=64,
        vocab_size=ids["vocab"],
    )


def paligemma_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images: Any = t.SiglipImageProcessor(size=SMALL)
    images.image_seq_length = 16
    return t.PaliGemmaProcessor(images, tokenizer, chat_template=template)


family(
    "paligemma", "PaliGemma 2", "<eos> <bos> <image>", "<eos>",
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}",
    paligemma, paligemma_processor, bos="<bos>",
)  # fmt: skip


# ---- others --------------------------------------------------------------------------------------


def kimi(ids: Ids) -> Any:
    own = text(ids, model_type="deepseek_v3", num_key_value_heads=4, pad_token_id=0, num_mtp_layers=0)
    own |= {"moe_intermediate_size": 64, "n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2}
    own |= {"kv_lora_rank": 16, "q_lora_rank": 32, "qk_rope_head_dim": 8, "v_head_dim": 16, "qk_nope_head_dim": 16}
    own |= {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
    return t.Kimi_K25Config(
        text_config=own,
        vision_config={**VISION, "patch_size": 8, "pos_emb_height": 8, "pos_emb_width": 8},
        projection_hidden_size=64,
        image_token_id=ids["<|media_pad|>"],
        video_token_id=ids["<|kimi_k25_video_placeholder|>"],
        vision_start_token_id=ids["<|media_begin|>"],
        vision_end_token_id=ids["<|media_end|>"],
        tie_word_embeddings=False,
    )


def kimi_processor(tokenizer: Any, config: Any, template: str) -> Any:
    size: dict[str, Any] = {"patch_size": 8, "merge_size": 2, "size": {"max_height": 8, "max_width": 8}}
    images, videos = t.Kimi_K25ImageProcessor(**size, max_patches=64), t.Kimi_K25VideoProcessor(**size)
    return t.Kimi_K25Processor(images, tokenizer, videos, chat_template=template)


family(
    "kimi_k25", "Kimi-K2.5",
    "[EOS] [BOS] <|im_end|> <|im_user|> <|im_assistant|> <|im_middle|> <|media_begin|> <|media_content|> <|media_pad|> "
    "<|media_end|> <|kimi_k25_video_placeholder|>",
    "<|im_end|>",
    headed("<|im_user|>", "<|im_middle|>", "<|im_end|>",
           "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>\n", bos=""),
    kimi, kimi_processor,
)  # fmt: skip


def molmo2(ids: Ids) -> Any:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    own = text(ids, head_dim=16, additional_vocab_size=0, qk_norm_type="qwen3")
    return t.Molmo2Config(
        text_config=own,
        vision_config={**VISION, **heads, "image_size": [32, 32], "patch_size": 8},
        adapter_config={"vision_feature_layer": [1, 0], "hidden_size": 64, **heads, "intermediate_size": 128,
                        "text_hidden_size": 64},
        image_start_token_id=ids["<im_start>"],
        low_res_image_start_token_id=ids["<low_res_im_start>"],
        image_end_token_id=ids["<im_end>"],
        image_patch_id=ids["<im_patch>"],
        frame_start_token_id=ids["<frame_start>"],
        frame_end_token_id=ids["<frame_end>"],
    )  # fmt: skip


def molmo2_processor(tokenizer: Any, config: Any, template: str) -> Any:
    crops = {"max_crops": 2, "overlap_margins": [1, 1], "patch_size": 8, "pooling_size": [2, 2]}
    images, videos = t.Molmo2ImageProcessor(size=SMALL, **crops), t.Molmo2VideoProcessor(size=SMALL, patch_size=8)
    return t.Molmo2Processor(images, videos, tokenizer, chat_template=template)


family(
    "molmo2", "Molmo2",
    "<|endoftext|> <|im_start|> <|im_end|> <|image|> <|video|> <im_start> <im_end> <im_patch> <im_col> "
    "<low_res_im_start> <frame_start> <frame_end> <im_low>",
    "<|im_end|>", chatml("<|image|>"), molmo2, molmo2_processor, seeing=EVERYWHERE,
    extra={"image_token": "<|image|>", "video_token": "<|video|>"},
)  # fmt: skip


def llama4(ids: Ids) -> Any:
    own = text(ids, intermediate_size=64, intermediate_size_mlp=128, head_dim=16, pad_token_id=0, num_hidden_layers=4)
    own |= {"num_local_experts": 4, "num_experts_per_tok": 1, "attention_chunk_size": 64}
    own |= {"interleave_moe_layer_step": 2, "no_rope_layer_interval": 4}
    vision = {**VISION, "intermediate_size": 256, "vision_output_dim": 64, "image_size": 32, "patch_size": 8}
    sizes = {"projector_input_dim": 64, "projector_output_dim": 64, "pixel_shuffle_ratio": 0.5}
    return t.Llama4Config(
        text_config=own,
        vision_config={**vision, **sizes},
        image_token_index=ids["<|patch|>"],
        boi_token_index=ids["<|image_start|>"],
        eoi_token_index=ids["<|image_end|>"],
    )


def llama4_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.Llama4ImageProcessor(size=SMALL, max_patches=4)
    return t.Llama4Processor(images, tokenizer, patch_size=8, pixel_shuffle_ratio=0.5, chat_template=template)


family(
    "llama4", "Llama 4",
    "<|begin_of_text|> <|eot|> <|header_start|> <|header_end|> <|image|> <|image_start|> <|image_end|> <|patch|> "
    "<|tile_x_separator|> <|tile_y_separator|>",
    "<|eot|>", headed("<|header_start|>", "<|header_end|>\n\n", "<|eot|>", "<|image|>"), llama4, llama4_processor,
    bos="<|begin_of_text|>",
)  # fmt: skip


def mllama(ids: Ids) -> Any:
    own = text(ids, num_hidden_layers=4, cross_attention_layers=[1, 3], pad_token_id=0)
    own["bos_token_id"] = ids["<|begin_of_text|>"]
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "attention_heads": 4}
    sizes = {"num_global_layers": 1, "vision_output_dim": 128, "image_size": 32, "patch_size": 8}
    return t.MllamaConfig(
        text_config=own,
        vision_config={**vision, **sizes, "intermediate_layers_indices": [0], "max_num_tiles": 4},
        image_token_index=ids["<|image|>"],
    )


def mllama_processor(tokenizer: Any, config: Any, template: str) -> Any:
    images = t.MllamaImageProcessor(size=SMALL, max_image_tiles=4)
    return t.MllamaProcessor(images, tokenizer, chat_template=template)


def open_gates(model: Any) -> None:
    """Fresh gates are shut, and pictures say nothing."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("gate"):
                weight.fill_(0.7)


family(
    "mllama", "Mllama (Llama 3.2 Vision)",
    "<|begin_of_text|> <|eot_id|> <|start_header_id|> <|end_header_id|> <|image|> <|python_tag|>", "<|eot_id|>",
    headed("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "<|image|>"), mllama, mllama_processor,
    bos="<|begin_of_text|>", after=open_gates,
)  # fmt: skip


def ernie(ids: Ids) -> Any:
    own = text(ids, rope_parameters=mrope(3, 3, 2), tie_word_embeddings=True, moe_intermediate_size=[64, 64])
    own |= {"moe_k": 2, "moe_num_experts": 4, "moe_num_shared_experts": 1}
    vision = {"depth": 2, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_merge_size": 2}
    named: dict[str, Any] = {
        f"{kind.lower()}_{part}token_id": ids[f"<|{kind}_{mark}|>"]
        for kind in ("IMAGE", "VIDEO")
        for part, mark in (("", "PLACEHOLDER"), ("start_", "START"), ("end_", "END"))
    }
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128}
    return t.Ernie4_5_VLMoeConfig(text_config=own, vision_config={**vision, **sizes}, **named)


def ernie_processor(tokenizer: Any, config: Any, template: str) -> Any:
    size: dict[str, Any] = {"patch_size": 8, "merge_size": 2, "size": GRID}
    images = t.Ernie4_5_VLMoeImageProcessor(**size, temporal_patch_size=1)
    videos = t.Ernie4_5_VLMoeVideoProcessor(**size, temporal_patch_size=2, draw_on_frames=False)
    return t.Ernie4_5_VLMoeProcessor(images, tokenizer, videos, chat_template=template)


family(
    "ernie4_5_vl", "Ernie-4.5-VL",
    "<s> </s> <|end_of_sentence|> <|IMAGE_START|> <|IMAGE_END|> <|IMAGE_PLACEHOLDER|> <|VIDEO_START|> <|VIDEO_END|> "
    "<|VIDEO_PLACEHOLDER|>",
    "</s>",
    "<s>" + plain("Picture 1:<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>", "<|end_of_sentence|>"),
    ernie, ernie_processor, bos="<s>",
    extra={f"{kind.lower()}_{part}token": f"<|{kind}_{mark}|>" for kind in ("IMAGE", "VIDEO")
           for part, mark in (("", "PLACEHOLDER"), ("start_", "START"), ("end_", "END"))},
)  # fmt: skip
