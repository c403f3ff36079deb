"""Embedders on models: the solver itself, sentence-transformers, CLIP and SigLIP. The one file of the notebook that
knows concrete models; everything heavy is imported when an embedder is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from r3v.embedding.protocol import PARTS, Asked, Embedder, Factory, Part, Vectors, Worded, check_part, unit_rows
from r3v.errors import ConfigError, EngineError, ModelError
from r3v.records import Message, Prompt

DEPTH = 0.25
"""Hidden states of `self` are taken after this share of the layers (measured on GeoWorld with geoworld-tiny: early
layers find problems of the same family best, the last ones worst)."""
BATCH = 16


class SelfEmbedder:
    """The solver's own hidden states: mean over the prompt's tokens after one layer, nothing to download.

    `text` runs the question without its pictures. `mixed` runs both and averages over the tokens behind the
    pictures, which have seen them. `image` averages over the picture's own tokens. `policy` is an HFPolicy or
    anything with its `model`, `encoder` and `name`; another adapter is another revision. `layer` counts from 1.

    Raises ModelError for a policy whose hidden states cannot be had, ConfigError for a layer it does not have.
    """

    id = "self"
    modalities: tuple[Part, ...] = ("text", "image", "mixed")

    def __init__(self, policy: Any, layer: int | None = None) -> None:
        missing = [name for name in ("model", "encoder", "name") if not hasattr(policy, name)]
        if policy is None or missing:
            found = "no solver" if policy is None else type(policy).__name__
            raise ModelError(
                f"embedder self needs the hidden states of a model in process, found {found}. "
                "Take --embedder lexical, or a model of its own: st:NAME or clip:NAME"
            )
        from r3v.policies.model.structure import base_model

        self._policy = policy
        config = base_model(policy.model).config.get_text_config()
        layers = int(config.num_hidden_layers)
        self.dim = int(config.hidden_size)
        self.layer = max(1, int(layers * DEPTH)) if layer is None else layer
        if not 1 <= self.layer <= layers:
            raise ConfigError(f"found layer {layer}, expected 1 to {layers} for {policy.name}")

    @property
    def revision(self) -> str:
        return f"{self._policy.name}.{self.layer}"

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        check_part(self, part)
        prompts = [Prompt(p.id, (Message("user", _words(p, part), _images(p, part)),)) for p in problems]
        used = [i for i, p in enumerate(problems) if part != "image" or p.images]
        rows_ND = np.zeros((len(problems), self.dim), np.float32)
        if used:
            rows_ND[used] = self._pooled([prompts[i] for i in used], over_images=part == "image")
        return unit_rows(rows_ND) if problems else rows_ND

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        """Rows of the notes' words; notes have no `image`."""
        check_part(self, part)
        rows_ND = np.zeros((len(notes), self.dim), np.float32)
        if notes and part != "image":
            rows_ND = self._pooled([Prompt(n.id, (Message("user", n.words),)) for n in notes], over_images=False)
        return unit_rows(rows_ND) if notes else rows_ND

    def _pooled(self, prompts: Sequence[Prompt], *, over_images: bool) -> Vectors:
        from r3v.policies.model.forward import sampling_mode

        with sampling_mode(self._policy.model):
            rows = [self._batch(prompts[i : i + BATCH], over_images) for i in range(0, len(prompts), BATCH)]
        return np.concatenate(rows)

    def _batch(self, prompts: Sequence[Prompt], over_images: bool) -> Vectors:
        """One left-padded forward; the mean of one layer's states over the tokens that count."""
        import torch

        from r3v.policies.model.calls import takes
        from r3v.policies.model.forward import inputs_of
        from r3v.policies.model.structure import base_model

        model, encoder = self._policy.model, self._policy.encoder
        inputs, _ = inputs_of(model, encoder, [encoder.prompt(prompt) for prompt in prompts])
        if takes(model, "logits_to_keep"):
            inputs["logits_to_keep"] = 1
        try:
            states_RLD = base_model(model)(**inputs, output_hidden_states=True, use_cache=False).hidden_states[
                self.layer
            ]
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"the device ran out of memory embedding {len(prompts)} prompts; lower max_pixels"
            ) from error
        image_RL = inputs["input_ids"] == (-1 if encoder.image_token_id is None else encoder.image_token_id)
        real_RL = inputs["attention_mask"].bool()
        kept_RL1 = (real_RL & (image_RL if over_images else ~image_RL))[..., None].to(states_RLD.device)
        total_RD = states_RLD.float().mul(kept_RL1).sum(dim=1)
        return (total_RD / kept_RL1.sum(dim=1).clamp(min=1)).cpu().numpy().astype(np.float32)


def _words(problem: Asked, part: Part) -> str:
    """The question; for `image` nothing but a mark, because templates want some text."""
    return "." if part == "image" else problem.question.strip()


def _images(problem: Asked, part: Part) -> tuple[Any, ...]:
    return () if part == "text" else problem.images


class SentenceTransformer:
    """Any sentence-transformers model: text ones, and multimodal ones such as Qwen3-VL-Embedding.

    Questions are embedded as queries and notes as documents where the model makes a difference. A model that takes
    images has all three parts; one that takes them only apart from text (CLIP) gets `mixed` as the normalised sum.
    Raises ModelError without the package or the model.
    """

    def __init__(self, name: str, model: Any = None) -> None:
        self.id, self._model = f"st:{name}", model if model is not None else _sentence_transformer(name)
        self.dim = int(_first(self._model, "get_embedding_dimension", "get_sentence_embedding_dimension")())
        self.revision = _revision(self._model, name)
        kinds = [str(kind) for kind in getattr(self._model, "modalities", None) or ("text",)]
        self._images, self._joint = "image" in kinds, "message" in kinds
        self.modalities: tuple[Part, ...] = PARTS if self._images else ("text",)

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        check_part(self, part)
        words = [self._text(p.question) for p in problems]
        if part == "text":
            return self._encode(words, query=True)
        seen = [i for i, p in enumerate(problems) if p.images]
        pictures = [_picture(problems[i]) for i in seen]
        if part == "mixed" and self._joint:
            for i, picture in zip(seen, pictures, strict=True):
                words[i] = {"text": problems[i].question, "image": picture}
            return self._encode(words, query=True)
        rows_ND = (
            self._encode(words, query=True) if part == "mixed" else np.zeros((len(problems), self.dim), np.float32)
        )
        if seen:
            rows_ND[seen] += self._encode(pictures, query=True)
        return unit_rows(rows_ND) if problems else rows_ND

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        check_part(self, part)
        if part == "image":
            return np.zeros((len(notes), self.dim), np.float32)
        return self._encode([self._text(note.words) for note in notes], query=False)

    def _text(self, text: str) -> Any:
        """A multimodal model would take text that reads like an address of a picture for one, and fetch it."""
        return {"text": text} if self._images else text

    def _encode(self, inputs: Sequence[Any], *, query: bool) -> Vectors:
        if not inputs:
            return np.zeros((0, self.dim), np.float32)
        own = getattr(self._model, "encode_query" if query else "encode_document", None) or self._model.encode
        return unit_rows(np.asarray(own(list(inputs), convert_to_numpy=True, show_progress_bar=False)))


def _sentence_transformer(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer as Model  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ModelError(
            f"embedder st:{name} needs the package sentence-transformers: pip install sentence-transformers, "
            "or take --embedder self or lexical, which need none"
        ) from error
    try:
        return Model(name)
    except (OSError, ValueError) as error:
        raise ModelError(f"embedder st:{name} cannot be loaded: {str(error).splitlines()[0]}") from error


def _first(model: Any, *names: str) -> Callable[..., Any]:
    """The first of these methods the model has: they were renamed between versions."""
    for name in names:
        if hasattr(model, name):
            return getattr(model, name)
    raise ModelError(f"found {type(model).__name__}, expected one with {' or '.join(names)}")


class TwoTowers:
    """CLIP, SigLIP and SigLIP 2 through transformers: text and image in one space.

    `mixed` is the normalised sum of both. Text beyond the tower's limit (77 tokens for CLIP, 64 for SigLIP) is cut.
    """

    modalities: tuple[Part, ...] = PARTS

    def __init__(self, name: str, model: Any = None, processor: Any = None) -> None:
        self.id = f"clip:{name}"
        if model is None or processor is None:
            model, processor = _two_towers(name)
        self._model, self._processor = model.eval(), processor
        config = model.config
        self.dim = int(getattr(config, "projection_dim", None) or config.text_config.hidden_size)
        self.revision = _revision(model, name)
        self._longest = int(getattr(config.text_config, "max_position_embeddings", 64))

    def embed_problems(self, problems: Sequence[Asked], part: Part = "text") -> Vectors:
        check_part(self, part)
        rows_ND = np.zeros((len(problems), self.dim), np.float32)
        if part != "image":
            rows_ND += self._texts([p.question for p in problems])
        seen = [i for i, p in enumerate(problems) if p.images]
        if part != "text" and seen:
            rows_ND[seen] += self._pictures([_picture(problems[i]) for i in seen])
        return unit_rows(rows_ND) if problems else rows_ND

    def embed_notes(self, notes: Sequence[Worded], part: Part = "text") -> Vectors:
        check_part(self, part)
        if part == "image" or not notes:
            return np.zeros((len(notes), self.dim), np.float32)
        return self._texts([note.words for note in notes])

    def _texts(self, texts: Sequence[str]) -> Vectors:
        def encode(some: Sequence[Any]) -> Any:
            options = {"padding": "max_length", "truncation": True, "max_length": self._longest}
            return self._model.get_text_features(**self._inputs(text=list(some), **options))

        return self._rows(texts, encode)

    def _pictures(self, pictures: Sequence[Any]) -> Vectors:
        return self._rows(pictures, lambda some: self._model.get_image_features(**self._inputs(images=list(some))))

    def _inputs(self, **what: Any) -> dict[str, Any]:
        return dict(self._processor(return_tensors="pt", **what).to(self._model.device))

    def _rows(self, items: Sequence[Any], encode: Callable[[Sequence[Any]], Any]) -> Vectors:
        import torch

        found = [np.zeros((0, self.dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(items), BATCH):
                out = encode(items[start : start + BATCH])
                rows = out if isinstance(out, torch.Tensor) else out.pooler_output
                found.append(unit_rows(rows.float().cpu().numpy()))
        return np.concatenate(found)


def _two_towers(name: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoProcessor

    try:
        model, processor = AutoModel.from_pretrained(name), AutoProcessor.from_pretrained(name)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"embedder clip:{name} cannot be loaded: {str(error).splitlines()[0]}") from error
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        raise ModelError(f"embedder clip:{name}: {type(model).__name__} has no text and image towers; try st:{name}")
    return model, processor


def _picture(problem: Asked) -> Any:
    """The first picture: these models take one."""
    from r3v.data.images import decode

    return decode(problem.images[0])


def _revision(model: Any, name: str) -> str:
    """The commit of a hub model, or 12 hexadecimal digits over the first bytes of every weight."""
    config = getattr(model, "config", None)
    commit = getattr(config, "_commit_hash", None)
    if commit:
        return str(commit)[:12]
    digest = hashlib.sha256(name.encode())
    for key, weight in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(weight.shape)}".encode())
        digest.update(np.ascontiguousarray(weight.detach().reshape(-1)[:1024].float().cpu().numpy()).tobytes())
    return digest.hexdigest()[:12]


def _make_self(argument: str, policy: Any) -> Embedder:
    if argument and not argument.isdecimal():
        raise ConfigError(f"found embedder self:{argument}, expected self or self:LAYER")
    return SelfEmbedder(policy, int(argument) if argument else None)


def _named(kind: str, make: Callable[[str], Embedder]) -> Factory:
    def factory(argument: str, policy: Any) -> Embedder:
        if not argument:
            raise ConfigError(f"found embedder {kind!r}, expected {kind}:NAME with the folder or hub name of a model")
        return make(argument)

    return factory


FACTORIES: dict[str, Factory] = {
    "self": _make_self,
    "st": _named("st", SentenceTransformer),
    "clip": _named("clip", TwoTowers),
}
"""What `r3v.embedding.table.EMBEDDERS` makes of `self`, `st:NAME` and `clip:NAME`."""
