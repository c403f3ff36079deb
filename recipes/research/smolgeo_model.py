"""The architecture of smolgeo: plain Idefics3 with SmolLM2's language half, and the parts of it that are ours.

GeoQA's pictures are small (132 x 117 px at the median) and are drawn up to 168 px: a patch of 12 px is then about 9 px
of the picture, one letter. 14 x 14 patches, four to a token, are 49 image tokens.

The vision tower does not start from nothing: geoworld-tiny's has the same 14 x 14 patches and can read. Its patches of
8 px are stretched to 12, and layers that change nothing at first are put on top.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from r3v.io import atomic_dir, write_json
from r3v.policies.smolgeo.assemble import COPIED, EYES, LORA, MANIFEST, ROWS, base_of, digest_of, merge
from r3v.policies.smolgeo.text import TextHalf
from r3v.recipes.research.warmup_model import places

IMAGE, FAKE, GLOBAL, END = "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"
ADDED = (IMAGE, FAKE, GLOBAL, END)
"""What Idefics3's processor needs beyond SmolLM2's tokens; the last one is never used, but it would add it."""
SPECIAL = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WHITE, SPREAD = 0.95, 0.3
"""As geoworld-tiny's: paper near zero, ink far from it, and never exactly zero, which Idefics3 drops as padding."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MOST_BYTES = 34_000_000


@dataclass(frozen=True)
class Size:
    """Of the vision tower, and of the adapter."""

    image: int = 168
    patch: int = 12
    shuffle: int = 2
    width: int = 128
    layers: int = 8
    heads: int = 4
    r: int = 32
    alpha: int = 64

    @property
    def patches(self) -> int:
        return self.image // self.patch

    @property
    def cells(self) -> int:
        """Image tokens along one side."""
        return self.patches // self.shuffle

    @property
    def tokens(self) -> int:
        return self.cells**2


SIZE = Size()
"""What ships."""


def build_tokenizer(text: TextHalf) -> Any:
    return text.tokenizer(ADDED, SPECIAL, TEMPLATE)


def build_processor(tokenizer: Any, size: Size = SIZE) -> Any:
    """Idefics3's own: any picture becomes a square of `size.image` px, and `size.tokens` image tokens."""
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    images = Idefics3ImageProcessorPil(
        size={"longest_edge": size.image},
        max_image_size={"longest_edge": size.image},
        do_image_splitting=False,
        resample=3,
        image_mean=[WHITE] * 3,
        image_std=[SPREAD] * 3,
    )
    return Idefics3Processor(
        image_processor=images, tokenizer=tokenizer, image_seq_len=size.tokens, chat_template=TEMPLATE
    )


def build_config(text: TextHalf, tokenizer: Any, size: Size = SIZE) -> Any:
    from transformers import Idefics3Config, LlamaConfig
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    language = LlamaConfig(
        **text.settings,
        vocab_size=len(tokenizer),
        pad_token_id=ids["pad_token"],
        bos_token_id=ids["bos_token"],
        eos_token_id=ids["eos_token"],
    )
    vision = Idefics3VisionConfig(
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        image_size=size.image,
        patch_size=size.patch,
    )
    return Idefics3Config(
        text_config=language,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=size.shuffle,
        pad_token_id=ids["pad_token"],  # pyright: ignore[reportCallIssue]
        tie_word_embeddings=True,
    )


def build_model(text: TextHalf, tokenizer: Any, size: Size = SIZE, seed: int = 0, elder: Any = None) -> Any:
    """The whole in float32: SmolLM2's weights, a tower (`elder`'s, or a fresh one), a fresh connector, and rows of the
    added tokens at the mean of the others."""
    from transformers import Idefics3ForConditionalGeneration

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Idefics3ForConditionalGeneration(build_config(text, tokenizer, size)).float()
        fresh_tower(model.model.vision_model, size)
        if elder is not None:
            inherit_tower(model.model.vision_model, elder)
        table = text.state()
        known = table.pop("embed_tokens.weight")
        spread = known.norm(dim=1).mean()
        # An image token enters where an embedding would; so its length is that of one.
        projection = model.model.connector.modality_projection.proj
        nn.init.normal_(projection.weight, std=float(spread) * known.shape[1] ** -0.5 * projection.in_features**-0.5)
    rows = known.mean(dim=0, keepdim=True).expand(len(tokenizer) - len(known), -1)
    table["embed_tokens.weight"] = torch.cat([known, rows])
    missing, unexpected = model.model.text_model.load_state_dict(table, strict=False)
    if missing or unexpected:
        raise ValueError(f"the language half does not fit: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    ids: Any = model.config.text_config
    wanted: Any = model.generation_config
    wanted.eos_token_id = ids.eos_token_id
    wanted.pad_token_id = ids.pad_token_id
    wanted.bos_token_id = ids.bos_token_id
    return model


def fresh_tower(vision: Any, size: Size) -> None:
    """Variance-preserving weights, and positions that know their neighbours (see `warmup_model.places`)."""
    for name, module in vision.named_modules():
        if isinstance(module, nn.Linear):
            shrink = (2 * size.layers) ** -0.5 if name.endswith(("out_proj", "fc2")) else 1.0
            nn.init.normal_(module.weight, std=shrink * module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight.copy_(places(size.patches, module.embedding_dim))


@torch.no_grad()
def inherit_tower(vision: Any, elder: Any) -> None:
    """Give `vision` what the smaller tower `elder` has learned, so that it sees the same; its further layers pass their
    input on unchanged at first. Raises ValueError where widths or numbers of patches differ."""
    a, b = vision.config, elder.config
    if a.hidden_size != b.hidden_size or a.image_size // a.patch_size != b.image_size // b.patch_size:
        raise ValueError(f"found towers {b.hidden_size} wide and {a.hidden_size} wide; width and patches must agree")
    # A patch drawn up by `scale` gives the same sums where the kernel is drawn up too and divided by its area's growth.
    scale = a.patch_size / b.patch_size
    kernel = elder.embeddings.patch_embedding.weight.float()
    grown = nn.functional.interpolate(kernel, size=(a.patch_size, a.patch_size), mode="bilinear", align_corners=False)
    vision.embeddings.patch_embedding.weight.copy_(grown / scale**2)
    vision.embeddings.patch_embedding.bias.copy_(elder.embeddings.patch_embedding.bias)
    vision.embeddings.position_embedding.weight.copy_(elder.embeddings.position_embedding.weight)
    vision.post_layernorm.load_state_dict(elder.post_layernorm.state_dict())
    # The new layers go below the last old one: what leaves the tower is then what the old top made of it.
    known = list(elder.encoder.layers)
    place = [*range(len(known) - 1), len(vision.encoder.layers) - 1]
    for i, layer in zip(place, known, strict=True):
        vision.encoder.layers[i].load_state_dict(layer.state_dict())
    for i in set(range(len(vision.encoder.layers))) - set(place):
        layer = vision.encoder.layers[i]
        for last in (layer.self_attn.out_proj, layer.mlp.fc2):
            last.weight.zero_()
            last.bias.zero_()


class LoraLinear(nn.Module):
    """A resting linear layer and what is learnt beside it; the product is kept small, as in LoRA (Hu et al. 2021)."""

    def __init__(self, base: nn.Linear, r: int, alpha: int) -> None:
        super().__init__()
        self.base, self.scale = base, alpha / r
        self.A = nn.Parameter(torch.empty(r, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.A, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        beside = nn.functional.linear(nn.functional.linear(x, self.A), self.B)
        return torch.add(self.base(x), beside, alpha=self.scale)


def adapt(model: Any, size: Size, seed: int = 0) -> dict[str, LoraLinear]:
    """Put the adapter on every projection of the language half; everything of it but the adapter rests from now on.

    Returns the adapted layers by their names in the language half.
    """
    text = model.model.text_model
    text.requires_grad_(False)
    found: dict[str, LoraLinear] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for i, layer in enumerate(text.layers):
            for owner in ("self_attn", "mlp"):
                block = getattr(layer, owner)
                for name in PROJECTIONS:
                    if hasattr(block, name):
                        adapted = LoraLinear(getattr(block, name), size.r, size.alpha)
                        setattr(block, name, adapted)
                        found[f"layers.{i}.{owner}.{name}"] = adapted
    return found


def read_parts(folder: Path) -> dict[str, Tensor]:
    """What is trained in a folder of parts, by the names a training gives it, in float32."""
    from safetensors.torch import load_file

    found = load_file(folder / LORA)
    for name, tensor in load_file(folder / EYES).items():
        found[name.replace("model.vision_model.", "vision.").replace("model.connector.", "connector.")] = tensor
    return {name: tensor.float() for name, tensor in found.items()}


def write_parts(
    out: Path,
    model: Any,
    lora: dict[str, LoraLinear],
    rows: Tensor,
    text: TextHalf,
    size: Size,
    log: Path | None = None,
) -> dict[str, Any]:
    """A folder of parts as `r3v.policies.smolgeo.assemble` reads it; returns its manifest.

    Raises ValueError where the parts are larger than what may ship. A README.md that is there stays.
    """
    from safetensors.torch import save_file

    eyes = {n: p for n, p in model.state_dict().items() if n.startswith(("model.vision_model.", "model.connector."))}
    eyes[ROWS] = rows
    small = {name: tensor.detach().bfloat16().contiguous() for name, tensor in eyes.items()}
    adapter = {
        f"{name}.{half}": getattr(layer, half).detach().bfloat16().contiguous()
        for name, layer in lora.items()
        for half in ("A", "B")
    }
    kept = {p.name: p.read_bytes() for p in out.glob("*.md")} if out.exists() else {}
    tokenizer = build_tokenizer(text)
    with atomic_dir(out) as folder:
        save_file(small, folder / EYES, metadata={"format": "pt"})
        save_file(adapter, folder / LORA, metadata={"format": "pt"})
        config = build_config(text, tokenizer, size)
        config.architectures, config.dtype = ["Idefics3ForConditionalGeneration"], torch.bfloat16
        config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
        build_processor(tokenizer, size).save_pretrained(folder)
        for path in folder.iterdir():
            if path.name not in (*COPIED, EYES, LORA):
                path.unlink()  # the tokenizer is SmolLM2's and is made where the model is put together
        manifest: dict[str, Any] = {
            "base": base_of() | {"sha256": hashlib.sha256(text.path.read_bytes()).hexdigest(), "file": text.path.name},
            "size": asdict(size),
            "added_tokens": list(ADDED),
            "special_tokens": SPECIAL,
            "lora": {"r": size.r, "alpha": size.alpha},
            "files": {
                p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()
            },
        }
        manifest["assembled_sha256"] = digest_of(merge(text.state(), folder, manifest))
        write_json(folder / MANIFEST, manifest)
        if log is not None and log.exists():
            (folder / "log.jsonl").write_bytes(log.read_bytes())
        for name, data in kept.items():
            (folder / name).write_bytes(data)
        total = sum(p.stat().st_size for p in folder.iterdir())
        if total > MOST_BYTES:
            raise ValueError(f"the parts take {total:,} bytes, expected at most {MOST_BYTES:,}; lower r or the tower")
    return manifest
