"""From prompts and targets to the ids, pixels and positions a model takes, and back to text.

The same `Encoder` serves sampling, scoring and training, so that a model is trained on exactly the tokens it
is asked with. Image work is done once per image: the processor is asked what the placeholder of this image
becomes, the answer is kept, and every further prompt with the image costs one text tokenisation. The first
prompt with images is compared with the processor's own full call; a processor for which the short way differs
is called in full from then on.

Suffixes: L tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from r3v.errors import ImageError, ModelError
from r3v.policies.model.reply import reply_format
from r3v.policies.model.token_types import TokenTypes, aligned_of
from r3v.records import Candidate, ImageSource, Prompt, image_hash
from r3v.thoughts import TAGS

CACHE_BYTES = 256 * 2**20
"""Memory for preprocessed images; the least recently used ones go first."""

_PROBE = "probe of a message"


@dataclass(frozen=True)
class Encoded:
    """A prompt as the model takes it: token ids with the image tokens expanded, and the pixel inputs by name.

    `image_key` identifies the images: prompts with equal keys have equal `images`. `aligned`: what else the processor
    says of each token, by argument name (its type: text or picture).
    """

    ids: tuple[int, ...]
    images: Mapping[str, Tensor] = field(default_factory=dict)
    image_key: str = ""
    aligned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pictures:
    """Preprocessed images of one prompt, and the text each placeholder becomes (None: only the full call
    knows).
    """

    tensors: dict[str, Tensor]
    replacements: tuple[str, ...] | None

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


class Encoder:
    """Chat template, tokenizer and image processor of one model.

    `eot_id` is the token that ends a reply, `stop_ids` are all that do (the generation configuration may name
    more), `banned_ids` may never be sampled: image and other special tokens except those that stop or mark a thought.
    `min_pixels` scales smaller images up and `max_pixels` larger ones down before the processor sees them. `thinking`
    switches the thoughts of templates that know `enable_thinking` on or off. Raises ModelError when the processor has
    no chat template that can be used, a template without that switch, or the model no end-of-turn token.
    """

    def __init__(
        self,
        processor: Any,
        model_config: Any,
        *,
        generation_config: Any = None,
        max_pixels: int | None = None,
        min_pixels: int | None = None,
        thinking: bool | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.config = model_config
        self.max_pixels, self.min_pixels, self.thinking = max_pixels, min_pixels, thinking
        self.image_token_id: int | None = _image_token_id(processor, model_config)
        self._expanded = None
        if self.image_token_id is not None:
            self._expanded = str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))
        self._placeholder = getattr(processor, "image_token", None) or self._expanded
        self._tags = _tags(self.tokenizer)
        self._special = _special_pattern(self.tokenizer, self._placeholder, set(self._tags.values()))
        special = _special_ids(self.tokenizer, model_config)
        self._check_template()
        self._check_thinking()
        self.reply = reply_format(self._template, self.tokenizer, special, type(processor).__name__)
        self.eot_id = self.reply.eot_id
        self.stop_ids = frozenset({self.eot_id} | _ids(getattr(generation_config, "eos_token_id", None)))
        self.banned_ids = tuple(sorted(special - self.stop_ids - set(self._tags)))
        self._cache: OrderedDict[tuple[str, ...], _Pictures] = OrderedDict()
        self._cache_bytes, self._cache_limit = 0, cache_bytes
        self._short_way: bool | None = None
        self._types = TokenTypes(special)
        self._by_processor: bool | None = None
        self._fingerprint: str | None = None

    # ---- prompts ---------------------------------------------------------------------------------

    def prompt(self, prompt: Prompt) -> Encoded:
        """Token ids up to the start of the reply, and the pixel inputs. Raises ImageError, ModelError."""
        text = self._render(prompt)
        if not prompt.images:
            return Encoded(self._text_tokens(text))
        if self.image_token_id is None or self._placeholder is None:
            raise ModelError(f"found a prompt with images for {type(self.processor).__name__}, which takes none")
        key = tuple(image_hash(image) for image in prompt.images)
        pictures = self._pictures(key, prompt.images)
        name = ",".join(key)
        if pictures.replacements is None or self._short_way is False:
            ids, output = self._full_call(text, prompt.images)
            return Encoded(ids, pictures.tensors, name, aligned_of(output))
        ids = self._expand(text, pictures.replacements)
        if self._short_way is None or not self._types.known(ids):
            full, output = self._full_call(text, prompt.images)
            if not self._types.learn(full, aligned_of(output)):
                self._short_way = False
                return Encoded(full, pictures.tensors, name, aligned_of(output))
            self._short_way = ids == full
            if not self._short_way:
                warnings.warn(
                    f"{type(self.processor).__name__} does not tokenise image placeholders as its "
                    "replacement text says; every prompt takes its full call (slower, same result)",
                    stacklevel=2,
                )
                ids = full
        return Encoded(ids, pictures.tensors, name, self._types.of(ids))

    # ---- replies ---------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over what ids of a reply depend on: vocabulary, chat template, `thinking`."""
        if self._fingerprint is None:
            vocabulary = sorted(self.tokenizer.get_vocab().items())
            template = getattr(self.processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)
            told = json.dumps([vocabulary, template, self.thinking, self.eot_id], sort_keys=True)
            self._fingerprint = hashlib.sha256(told.encode()).hexdigest()[:16]
        return self._fingerprint

    def target(self, text: str, *, ended: bool = True) -> tuple[int, ...]:
        """Ids of a reply, as the model would sample them after a prompt: ending in `eot_id` unless it was cut off (not
        `ended`), after an empty thought where the template has thoughts and the text none."""
        ids = self.tokenizer(self.reply.written(self._plain(text)), add_special_tokens=False)["input_ids"]
        return (*(int(i) for i in ids), *([self.eot_id] if ended or not ids else []))

    def sampled(self, reply: str | Candidate) -> tuple[int, ...]:
        """Ids of a given reply: those that were sampled, or its text's where they are another tokenizer's or none."""
        if isinstance(reply, str):
            return self.target(reply)
        if reply.token_ids and reply.tokenizer == self.fingerprint:
            return tuple(reply.token_ids)
        return self.target(reply.text, ended=reply.stop != "length")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a sampled reply; the inverse of `target` for text that survives tokenisation. A thought that the
        prompt opened gets its opening tag again, an empty one is left out."""
        pieces: list[list[int]] = [[]]
        text = ""
        for i in ids:
            if i in self._tags:
                text += self._text(pieces.pop()) + self._tags[i]
                pieces.append([])
            else:
                pieces[-1].append(i)
        return self.reply.read(text + self._text(pieces.pop()))

    # ---- model inputs ----------------------------------------------------------------------------

    def positions(self, model: Any, ids: Sequence[int], images: Mapping[str, Tensor]) -> Tensor:
        """Position ids, shape L, or 3 L for models with M-RoPE (time, height, width)."""
        inner = _rope_owner(model)
        if inner is None:
            return torch.arange(len(ids))
        if not images:
            return torch.arange(len(ids)).expand(3, -1).clone()
        ids_1L = torch.tensor([list(ids)])
        kinds_1L = (ids_1L == self.image_token_id).int()
        positions_31L, _ = inner.get_rope_index(
            ids_1L, mm_token_type_ids=kinds_1L, image_grid_thw=images["image_grid_thw"].cpu()
        )
        return positions_31L[:, 0].long()

    def collate_images(self, images: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Pixel inputs of several rows as one: joined along the first dimension, in order; patches that are packed into
        one long row (MiniCPM-V) along the last.

        Rows of Idefics-like models (batch, images, ...) are padded to the largest number and size of images;
        the model skips all-zero images and reads `pixel_attention_mask`.
        """
        present = [row for row in images if row]
        names = list(dict.fromkeys(name for row in present for name in row))
        packed = {PACKED} if present and all(_is_packed(row) for row in present) else set()
        return {
            name: torch.cat([row[name] for row in present], dim=-1)
            if name in packed
            else _join(name, [row[name] for row in present])
            for name in names
        }

    # ---- inside ----------------------------------------------------------------------------------

    def _plain(self, text: str) -> str:
        """Text from data or models cannot smuggle in control tokens: a space breaks each one up."""
        return self._special.sub(lambda m: m.group()[0] + " " + m.group()[1:], text)

    def _render(self, prompt: Prompt) -> str:
        chat = prompt.chat()
        for message in chat:
            for part in message["content"]:
                if part["type"] == "text":
                    part["text"] = self._plain(part["text"])
        return self._template(chat, True)

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _template(self, chat: list[dict[str, Any]], add_generation_prompt: bool, **more: Any) -> str:
        from jinja2 import TemplateError

        switch = {} if self.thinking is None else {"enable_thinking": self.thinking}
        try:
            return self.processor.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=add_generation_prompt, **{**switch, **more}
            )
        except (TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._no_template(f"fails ({type(error).__name__}: {error})") from error

    def _no_template(self, what: str) -> ModelError:
        return ModelError(
            f"the chat template of {type(self.processor).__name__} {what}, expected one that renders messages whose "
            "content is a list of texts and pictures. Use an instruction-tuned model, or put a chat_template.jinja "
            "that does beside its tokenizer"
        )

    def _check_template(self) -> None:
        """Raise ModelError for a template that writes the list of a message's parts as it is in Python, as one that
        takes strings alone does, or that leaves text or pictures out."""
        told: dict[str, Any] = {"type": "text", "text": _PROBE}
        said = self._template([{"role": "user", "content": [told]}], True)
        if "'type'" in said or '"type"' in said:
            raise self._no_template("takes messages whose content is a string alone")
        if _PROBE not in said:
            raise self._no_template("leaves the text of a message out")
        if self.image_token_id is None:
            return
        pictured = self._template([{"role": "user", "content": [{"type": "image"}, told]}], True)
        if pictured == said or _PROBE not in pictured:
            raise self._no_template("leaves the pictures of a message out")

    def _check_thinking(self) -> None:
        if self.thinking is None:
            return
        chat: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
        if self._template(chat, True) == self._template(chat, True, enable_thinking=not self.thinking):
            raise ModelError(
                f"found model.thinking {str(self.thinking).lower()}, and the chat template of "
                f"{type(self.processor).__name__} makes the same prompt with it and without. Leave model.thinking out"
            )

    def _text_tokens(self, text: str) -> tuple[int, ...]:
        """A prompt without pictures: by the tokenizer, or by the processor where that adds something (a BOS)."""
        ids = self._tokens(text)
        if self._by_processor is None and self.processor is not self.tokenizer:
            try:
                self._by_processor = self._processed(text) != ids
            except (TypeError, ValueError, AttributeError, KeyError, IndexError):
                self._by_processor = False  # it wants a picture
        return self._processed(text) if self._by_processor else ids

    def _processed(self, text: str) -> tuple[int, ...]:
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": False} if bos is not None and text.startswith(bos) else {}
        return tuple(self.processor(text=[text], return_tensors="pt", **options)["input_ids"][0].tolist())

    def _tokens(self, text: str) -> tuple[int, ...]:
        bos = self.tokenizer.bos_token
        options = {"add_special_tokens": False} if bos is not None and text.startswith(bos) else {}
        return tuple(int(i) for i in self.tokenizer(text, **options)["input_ids"])

    def _expand(self, text: str, replacements: Sequence[str]) -> tuple[int, ...]:
        """Tokenise with every run of image tokens written once, then repeat the id: runs make up most of a
        prompt.
        """
        assert self._placeholder is not None
        assert self._expanded is not None
        runs: list[int] = []
        run = re.compile(f"(?:{re.escape(self._expanded)})+")

        def collapse(match: re.Match[str]) -> str:
            runs.append(len(match.group()) // len(self._expanded or ""))
            return self._expanded or ""

        pieces = text.split(self._placeholder)
        if len(pieces) != len(replacements) + 1:
            raise ModelError(
                f"the chat template wrote {len(pieces) - 1} image placeholders for {len(replacements)} images"
            )
        joined = pieces[0]
        for replacement, piece in zip(replacements, pieces[1:], strict=True):
            joined += run.sub(collapse, replacement) + piece
        counts = iter(runs)
        ids: list[int] = []
        for token in self._tokens(joined):
            ids.extend([token] * next(counts) if token == self.image_token_id else [token])
        return tuple(ids)

    def _pictures(self, key: tuple[str, ...], images: Sequence[ImageSource]) -> _Pictures:
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        text = (self._placeholder or "") * len(images)
        _, output = self._full_call(text, images, return_text_replacement_offsets=True)
        offsets = output.get("text_replacement_offsets")
        found = tuple(str(o["replacement"]) for o in offsets[0]) if offsets else ()
        beside = {"input_ids", "attention_mask", "text_replacement_offsets", *aligned_of(output)}
        tensors = {k: v for k, v in output.items() if k not in beside and isinstance(v, Tensor)}
        pictures = _Pictures(tensors, found if len(found) == len(images) else None)
        self._cache[key] = pictures
        self._cache_bytes += pictures.bytes
        while self._cache_bytes > self._cache_limit and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].bytes
        return pictures

    def _full_call(
        self, text: str, images: Sequence[ImageSource], **options: Any
    ) -> tuple[tuple[int, ...], Mapping[str, Any]]:
        """The processor's own call for one prompt: its ids and everything it returned."""
        bos = self.tokenizer.bos_token
        if bos is not None and text.startswith(bos):
            options["add_special_tokens"] = False
        pictures = [self._picture(image) for image in images]
        try:
            output = self.processor(text=[text], images=[pictures], return_tensors="pt", **options)
        except ValueError:
            self._refuse(images, pictures)
            raise
        return tuple(output["input_ids"][0].tolist()), output

    def _refuse(self, images: Sequence[ImageSource], pictures: Sequence[Any]) -> None:
        """Raise ImageError for the first picture that the image processor does not take by itself."""
        processor = getattr(self.processor, "image_processor", None)
        for image, picture in zip(images, pictures, strict=True):
            try:
                if processor is not None:
                    processor([picture], return_tensors="pt")
            except ValueError as error:
                file, row, name = getattr(image, "origin", None) or (image.describe(), None, None)
                raise ImageError(
                    f"{type(processor).__name__} does not take the picture of {picture.width}x{picture.height} pixels: "
                    f"{error}",
                    file=file,
                    row=row,
                    field=name,
                    fix="Replace it, or leave the row out",
                ) from error

    def _picture(self, image: ImageSource) -> Any:
        from r3v.data.images import decode, fitted

        picture = decode(image)
        size = fitted(picture.width, picture.height, self.min_pixels, self.max_pixels)
        return picture if size == picture.size else picture.resize(size)


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(v) for v in value} if isinstance(value, (list, tuple)) else {int(value)}


def _image_token_id(processor: Any, config: Any) -> int | None:
    for owner, name in (
        (config, "image_token_id"),
        (config, "image_token_index"),
        (processor, "image_token_id"),
    ):
        value = getattr(owner, name, None)
        if isinstance(value, int):
            return value
    return None


def _special_ids(tokenizer: Any, config: Any) -> set[int]:
    """Special tokens of the tokenizer, and the vision tokens the model's configuration names."""
    ids = {int(i) for i in tokenizer.all_special_ids}
    ids |= {int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    names = (
        "image_token_id",
        "image_token_index",
        "video_token_id",
        "vision_start_token_id",
        "vision_end_token_id",
    )
    for name in (*names, "boi_token_index", "eoi_token_index", "vision_token_id"):
        ids |= _ids(getattr(config, name, None))
    return ids


def _tags(tokenizer: Any) -> dict[int, str]:
    """Special tokens that mark a thought: part of what a model writes, unlike other special tokens."""
    tags = {tag for pair in TAGS for tag in pair}
    return {int(i): str(t) for i, t in tokenizer.added_tokens_decoder.items() if t.special and str(t) in tags}


def _special_pattern(tokenizer: Any, placeholder: str | None, allowed: set[str]) -> re.Pattern[str]:
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    tokens |= set(tokenizer.all_special_tokens) | ({placeholder} if placeholder else set())
    tokens -= allowed
    listed = "|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True) if len(t) > 1)
    return re.compile(listed or r"(?!)")


def has_three_positions(model: Any) -> bool:
    """Whether the model counts time, height and width apart (M-RoPE)."""
    return _rope_owner(model) is not None


def _rope_owner(model: Any) -> Any:
    """The module with `get_rope_index`, or None for models whose positions simply count."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for module in (base, getattr(base, "model", None)):
        if hasattr(module, "get_rope_index"):
            return module
    return None


PACKED = "pixel_values"


def _is_packed(row: Mapping[str, Tensor]) -> bool:
    """Whether the pixels of a row are the patches of all its pictures side by side, 1 C P L with L = P x patches, whose
    numbers stand in `target_sizes` (height and width of each)."""
    pixels, sizes = row.get(PACKED), row.get("target_sizes")
    if pixels is None or sizes is None or pixels.dim() != 4 or pixels.shape[0] != 1:
        return False
    return pixels.shape[3] == pixels.shape[2] * int(sizes.prod(dim=-1).sum())


def _join(name: str, tensors: Sequence[Tensor]) -> Tensor:
    shapes = {t.shape[1:] for t in tensors}
    if len(shapes) == 1:
        return torch.cat(list(tensors))
    if len({t.dim() for t in tensors}) > 1 or tensors[0].dim() < 4:
        raise ModelError(
            f"cannot join {name} of shapes {', '.join(str(tuple(t.shape)) for t in tensors)} into one batch"
        )
    largest = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    padded = []
    for t in tensors:
        short = [m - s for m, s in zip(largest, t.shape[1:], strict=True)]
        padded.append(pad(t, [n for s in reversed(short) for n in (0, s)]))
    return torch.cat(padded)
