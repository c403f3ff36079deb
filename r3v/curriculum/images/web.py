"""Image search on the web: SearXNG's JSON API and Serper. Nothing is asked unless a searcher is configured.

Results are addresses; pictures are downloaded by `r3v.curriculum.images.fetch` with its limits. The search server is
the user's choice, so its own network may be allowed apart from the pictures' (`allow` here, `Limits.allow` there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from r3v.curriculum.images.fetch import FetchError, Limits, fetch_image, fetch_json
from r3v.errors import ConfigError
from r3v.records import BytesImage

SERPER = "https://google.serper.dev/images"


@dataclass(frozen=True, slots=True)
class WebHit:
    """A picture on the web: its address, the page it stands on, and its title."""

    title: str
    image_url: str
    page_url: str


class WebSearch(Protocol):
    """An image search engine. Raises FetchError when it cannot be asked."""

    def images(self, query: str, k: int) -> list[WebHit]: ...


@dataclass(frozen=True, slots=True)
class SearXNG:
    """A SearXNG server whose settings list `json` under search.formats."""

    base_url: str
    limits: Limits = field(default_factory=Limits)

    def images(self, query: str, k: int = 5) -> list[WebHit]:
        query_string = urlencode({"q": query, "categories": "images", "format": "json"})
        address = f"{self.base_url.rstrip('/')}/search?{query_string}"
        try:
            answer = fetch_json(address, self.limits)
        except FetchError as error:
            if "status 403" in error.what:
                raise FetchError(
                    "the server refuses JSON", file=self.base_url, fix="Add json to search.formats in its settings.yml"
                ) from error
            raise
        return _hits(_rows(answer, "results", self.base_url), ("title", "img_src", "url"), k)


@dataclass(frozen=True, slots=True)
class Serper:
    """Google Images through serper.dev."""

    key: str
    url: str = SERPER
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.key.strip():
            raise ConfigError("found no Serper key, expected the one of your account")

    def __repr__(self) -> str:
        return f"Serper(url={self.url!r})"

    def images(self, query: str, k: int = 5) -> list[WebHit]:
        answer = fetch_json(self.url, self.limits, post={"q": query, "num": k}, headers={"X-API-KEY": self.key})
        return _hits(_rows(answer, "images", self.url), ("title", "imageUrl", "link"), k)


def _rows(answer: Any, name: str, server: str) -> list[Any]:
    rows = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise FetchError(f"found no list {name!r} in the answer", file=server, fix="Check the address of the server")
    return rows


def _hits(rows: list[Any], names: tuple[str, str, str], k: int) -> list[WebHit]:
    """The first `k` results with an address, each address once."""
    title, picture, page = names
    found: dict[str, WebHit] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        address = str(row.get(picture) or "")
        if address.startswith("//"):
            address = f"https:{address}"
        if address.startswith(("http://", "https://")):
            found.setdefault(address, WebHit(str(row.get(title) or ""), address, str(row.get(page) or "")))
    return list(found.values())[:k]


def download(hits: list[WebHit], limits: Limits) -> tuple[list[tuple[WebHit, BytesImage]], list[tuple[WebHit, str]]]:
    """The pictures that could be downloaded, and the others with the reason."""
    got: list[tuple[WebHit, BytesImage]] = []
    failed: list[tuple[WebHit, str]] = []
    for hit in hits:
        try:
            got.append((hit, fetch_image(hit.image_url, limits)))
        except FetchError as error:
            failed.append((hit, error.what))
    return got, failed
