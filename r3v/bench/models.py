"""Random models of a measurable size, and problems for them: nothing is downloaded, nothing is learned.

On a CPU: an Idefics3 of about 33 M parameters whose image is 576 tokens (2,304 patches, four to a token as in the
Qwen families). On a GPU: the shapes of Qwen2.5-VL-7B and Qwen3-VL-8B from their published configurations, with
1,024 image tokens.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from r3v.bench.harness import BenchError
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.loading import add_lora
from r3v.policies.model.tiny import FAMILIES, _tokenizer
from r3v.prompts import refine, select, solve, style
from r3v.records import BytesImage, Example, Problem
from r3v.settings.config import ModelConfig

VOCABULARY = 8192
STYLE = style("short")
LORA = ModelConfig(lora_r=16, lora_alpha=32)
_WORDS = ("angle", "side", "triangle", "is", "twice", "half", "of", "the", "sum", "so", "equals", "therefore")


def small_idefics(seed: int = 0) -> Loaded:
    """Idefics3: 8 layers of width 512, vocabulary 8,192, one 384 x 384 tile of 576 tokens, float32, on the CPU."""
    from transformers import AutoModelForImageTextToText, Idefics3Config, Idefics3ImageProcessorPil, Idefics3Processor

    recipe = FAMILIES["idefics3"]
    tokenizer = _tokenizer(recipe)
    ids = {token: int(i) for token, i in tokenizer.get_vocab().items()}
    text = {
        "model_type": "llama",
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "vocab_size": VOCABULARY,
        "eos_token_id": int(tokenizer.eos_token_id),
        "pad_token_id": 0,
    }
    vision = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 3, "num_attention_heads": 3}
    config = Idefics3Config(
        text_config=text,
        vision_config={**vision, "image_size": 384, "patch_size": 8},
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=0,  # pyright: ignore[reportCallIssue]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        # Wide enough that predictions differ between tokens, so that a mistake would show in the loss.
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "vision" not in name:
                torch.nn.init.normal_(weight, std=0.04)
        model.tie_weights()
    model.generation_config.eos_token_id = int(tokenizer.eos_token_id)
    model.generation_config.pad_token_id = int(tokenizer.pad_token_id)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 384}, max_image_size={"longest_edge": 384}, do_image_splitting=False
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=576, chat_template=recipe.template)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    return Loaded(model.eval(), processor, encoder, f"bench-idefics3:{seed}", LORA)


def _qwen25_7b(ids: dict[str, Any]) -> Any:
    """Sizes of Qwen/Qwen2.5-VL-7B-Instruct's config.json."""
    from transformers import Qwen2_5_VLConfig

    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    text |= {"num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 128000, "rope_parameters": rope}
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    vision |= {"patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)


def _qwen3_8b(ids: dict[str, Any]) -> Any:
    """Sizes of Qwen/Qwen3-VL-8B-Instruct's config.json."""
    from transformers import Qwen3VLConfig

    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32}
    text |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "rope_parameters": rope}
    text |= {"max_position_embeddings": 262144}
    vision = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "out_hidden_size": 4096}
    vision |= {"patch_size": 16, "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24]}
    return Qwen3VLConfig(text_config=text, vision_config=vision, **ids)


GPU_SHAPES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "qwen2.5-vl-7b": ("qwen2_5_vl", _qwen25_7b),
    "qwen3-vl-8b": ("qwen3_vl", _qwen3_8b),
}


def large_qwen(shape: str, *, nf4: bool = False, seed: int = 0) -> Loaded:
    """A random model of a published shape on the GPU in bfloat16; `nf4` quantises its language layers.

    Raises BenchError without a CUDA device or without torchvision, which the Qwen processors need.
    """
    if not torch.cuda.is_available():
        raise BenchError("found no CUDA device, expected one for --device cuda")
    import transformers as t

    family, build = GPU_SHAPES[shape]
    recipe = FAMILIES[family]
    tokenizer = _tokenizer(recipe)
    known = tokenizer.get_vocab()
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    config = build({field: int(known[token]) for field, token in names.items()})
    torch.manual_seed(seed)
    with torch.device("cuda"):
        model = t.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    if nf4:
        _quantise(model)
    patch = config.vision_config.patch_size
    side = 32 * 2 * patch  # 32 x 32 merged patches are 1,024 tokens
    size = {"shortest_edge": side * side, "longest_edge": side * side}
    options = {"patch_size": patch, "merge_size": 2, "temporal_patch_size": 2, "size": size}
    kinds = (t.Qwen2_5_VLProcessor, t.Qwen2VLVideoProcessor)
    if family == "qwen3_vl":
        kinds = (t.Qwen3VLProcessor, t.Qwen3VLVideoProcessor)
    try:
        processor = kinds[0](
            image_processor=t.Qwen2VLImageProcessor(**options),
            tokenizer=tokenizer,
            video_processor=kinds[1](**options),
            chat_template=recipe.template,
        )
    except (ImportError, RuntimeError) as error:
        raise BenchError(f"the processor of {shape} cannot be built: {error}. Install torchvision") from error
    model.generation_config.eos_token_id = int(tokenizer.eos_token_id)
    model.generation_config.pad_token_id = int(tokenizer.pad_token_id)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    return Loaded(model.eval(), processor, encoder, f"bench-{shape}{':nf4' if nf4 else ''}", LORA)


def _quantise(model: Any) -> None:
    """Linear layers of the language model as nf4 with double quantisation, layer by layer."""
    try:
        from bitsandbytes.nn.modules import Linear4bit, Params4bit
    except ImportError as error:
        raise BenchError(f"nf4 needs bitsandbytes: {error}") from error
    decoder = model.base_model.language_model
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is not torch.nn.Linear:
                continue
            layer = Linear4bit(
                child.in_features,
                child.out_features,
                child.bias is not None,
                compute_dtype=torch.bfloat16,
                compress_statistics=True,
                quant_type="nf4",
                device="meta",
            )
            weight: Any = Params4bit(child.weight.data.cpu(), requires_grad=False, quant_type="nf4")  # type: ignore[call-arg]
            layer.weight = weight.to("cuda")
            if child.bias is not None:
                layer.bias = child.bias
            setattr(parent, name, layer)


def with_lora(loaded: Loaded, seed: int = 0) -> Loaded:
    """A LoRA of rank 16 on the language model; its second matrices are not zero, so that both have gradients."""
    model = add_lora(loaded.model, LORA, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
        if weight.requires_grad and weight.dtype != torch.float32:
            weight.data = weight.data.float()
    return replace(loaded, model=model)


def picture(seed: int, side: int = 384) -> BytesImage:
    """A PNG of blocks in random colours, different for every seed."""
    from PIL import Image

    rng = random.Random(seed)
    image = Image.new("RGB", (16, 16))
    image.putdata([(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(256)])
    buffer = io.BytesIO()
    image.resize((side, side)).save(buffer, "PNG")
    return BytesImage(buffer.getvalue(), f"bench-{seed}")


def sentence(rng: random.Random, encoder: Encoder, tokens: int) -> str:
    """Words until there are at least `tokens` tokens."""
    words: list[str] = []
    while len(encoder.target(" ".join(words))) < tokens:
        words.append(rng.choice(_WORDS))
    return " ".join(words)


def bench_problem(n: int, encoder: Encoder, *, question_tokens: int = 96, side: int = 384) -> Problem:
    """Problem n: a picture and a question of about `question_tokens` tokens."""
    rng = random.Random(n)
    text = sentence(rng, encoder, question_tokens)
    return Problem(f"bench-{n}", text, str(rng.randrange(100)), "number", images=(picture(n, side),))


def reflection_examples(
    problem: Problem, encoder: Encoder, branches: int, *, low: int = 120, high: int = 150
) -> list[Example]:
    """Answer, refine and select branches of one problem, each `low` to `high` tokens beyond the common prefix."""
    rng = random.Random(problem.id)
    first, second = (encoder.prompt(p).ids for p in (solve(problem, STYLE), refine(problem, STYLE, "?")))
    shared = next(k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    found: list[Example] = []
    for i in range(branches):
        wrong = [sentence(rng, encoder, 24) for _ in range(2)]
        kinds: Sequence[tuple[Any, Any]] = (
            ("answer", solve(problem, STYLE)),
            ("refine", refine(problem, STYLE, wrong[0])),
            ("select", select(problem, STYLE, wrong)),
        )
        kind, prompt = kinds[i % 3]
        # A word may overshoot by its tokens.
        wanted = rng.randint(low, high - 8) - (len(encoder.prompt(prompt).ids) - shared)
        found.append(Example(kind, problem.id, prompt, sentence(rng, encoder, max(8, wanted))))
    return found
