"""Pictures through the processor, each once: what their placeholders become in the text, and the pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from r3v.errors import ImageError
from r3v.policies.model.encode.token_types import aligned_of
from r3v.records import ImageSource

CACHE_BYTES = 256 * 2**20
"""Memory for preprocessed images; the least recently used ones go first."""


@dataclass(frozen=True)
class Pictured:
    """Preprocessed images of one prompt, and the text each placeholder becomes (None: only the full call
    knows).
    """

    tensors: dict[str, Tensor]
    replacements: tuple[str, ...] | None

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


class Pictures:
    """The image half of a processor, with what it made of the pictures seen last.

    `min_pixels` scales smaller images up and `max_pixels` larger ones down before the processor sees them.
    """

    def __init__(
        self, processor: Any, tokenizer: Any, min_pixels: int | None, max_pixels: int | None, cache_bytes: int
    ) -> None:
        self._processor, self._tokenizer = processor, tokenizer
        self._min_pixels, self._max_pixels = min_pixels, max_pixels
        self._cache: OrderedDict[tuple[str, ...], Pictured] = OrderedDict()
        self._cache_bytes, self._cache_limit = 0, cache_bytes

    def of(self, key: tuple[str, ...], images: Sequence[ImageSource], placeholder: str) -> Pictured:
        """The pictures whose hashes are `key`. Raises ImageError."""
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        _, output = self.full_call(placeholder * len(images), images, return_text_replacement_offsets=True)
        offsets = output.get("text_replacement_offsets")
        found = tuple(str(o["replacement"]) for o in offsets[0]) if offsets else ()
        beside = {"input_ids", "attention_mask", "text_replacement_offsets", *aligned_of(output)}
        tensors = {k: v for k, v in output.items() if k not in beside and isinstance(v, Tensor)}
        pictured = Pictured(tensors, found if len(found) == len(images) else None)
        self._cache[key] = pictured
        self._cache_bytes += pictured.bytes
        while self._cache_bytes > self._cache_limit and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].bytes
        return pictured

    def full_call(
        self, text: str, images: Sequence[ImageSource], **options: Any
    ) -> tuple[tuple[int, ...], Mapping[str, Any]]:
        """The processor's own call for one prompt: its ids and everything it returned. Raises ImageError."""
        bos = self._tokenizer.bos_token
        if bos is not None and text.startswith(bos):
            options["add_special_tokens"] = False
        pictures = [self._picture(image) for image in images]
        try:
            output = self._processor(text=[text], images=[pictures], return_tensors="pt", **options)
        except ValueError:
            self._refuse(images, pictures)
            raise
        return tuple(output["input_ids"][0].tolist()), output

    def _refuse(self, images: Sequence[ImageSource], pictures: Sequence[Any]) -> None:
        """Raise ImageError for the first picture that the image processor does not take by itself."""
        processor = getattr(self._processor, "image_processor", None)
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
        size = fitted(picture.width, picture.height, self._min_pixels, self._max_pixels)
        return picture if size == picture.size else picture.resize(size)
