"""Where agents look for pictures: an indexed pool or a web search engine, behind one interface."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from r3v.curriculum.images.fetch import Limits
from r3v.curriculum.images.search import PoolIndex
from r3v.curriculum.images.web import WebSearch, download
from r3v.errors import ImageError
from r3v.io import atomic_write
from r3v.records import BytesImage, ImageSource
from r3v.run.journal import Journal, key_of


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate picture; `address` is its place in the pool or on the web."""

    image: ImageSource = field(repr=False)
    address: str
    caption: str
    sha256: str


class Finder(Protocol):
    """(pictures, whether they came from the journal), best first. Raises FetchError where an engine cannot be asked.

    `like`: a picture that the wanted ones should resemble. A pool compares pictures; a web engine takes words alone.
    """

    def find(
        self, query: str, k: int, journal: Journal, like: ImageSource | None = None
    ) -> tuple[list[Found], bool]: ...


def interleave(lists: Sequence[Sequence[Found]], most: int, without: str = "") -> list[Found]:
    """The best of every list, then the second best and so on: `most` pictures, each once, none of hash `without`."""
    found: dict[str, Found] = {}
    for row in zip_longest(*lists):
        for hit in row:
            if hit is not None and hit.sha256 != without:
                found.setdefault(hit.sha256, hit)
    return list(found.values())[:most]


@dataclass(frozen=True)
class PoolFinder:
    """Pictures of an indexed pool; costs no call, so nothing is journalled.

    Pictures without captions are found by their looks alone, so a query is joined by the picture it was written beside;
    `by_looks` False goes by words only, for embedders in whose space words and pictures already meet.
    """

    index: PoolIndex
    by_looks: bool = True

    def find(self, query: str, k: int, journal: Journal, like: ImageSource | None = None) -> tuple[list[Found], bool]:
        found = []
        for hit in self.index.search(query, like if self.by_looks else None, k=k):
            try:
                data = hit.image.read()
            except ImageError:  # deleted since it was indexed
                continue
            found.append(Found(hit.image, f"pool:{hit.key}", hit.caption or hit.key, hashlib.sha256(data).hexdigest()))
        return found, False


@dataclass(frozen=True)
class WebFinder:
    """Pictures of a search engine, downloaded once into `folder` and found there again by their hash."""

    engine: WebSearch
    folder: Path
    limits: Limits = field(default_factory=Limits)

    def find(self, query: str, k: int, journal: Journal, like: ImageSource | None = None) -> tuple[list[Found], bool]:
        key = key_of("web", type(self.engine).__name__, query, k)
        row = journal.get(key)
        cached = row is not None
        if row is None:
            row = self._look(query, k)
            journal.put(key, row)
        return [self._found(entry) for entry in row["pictures"]], cached

    def _look(self, query: str, k: int) -> dict[str, Any]:
        got, failed = download(self.engine.images(query, k), self.limits)
        pictures = []
        for hit, image in got:
            name = hashlib.sha256(image.data).hexdigest()
            atomic_write(self.folder / name, image.data)
            pictures.append({"sha256": name, "url": hit.image_url, "page": hit.page_url, "title": hit.title})
        return {"pictures": pictures, "failed": [[hit.image_url, why] for hit, why in failed]}

    def _found(self, entry: Mapping[str, Any]) -> Found:
        image = BytesImage((self.folder / entry["sha256"]).read_bytes(), entry["url"])
        return Found(image, entry["url"], entry["title"], entry["sha256"])
