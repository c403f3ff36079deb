"""Images of a request: data URLs, or files of the one folder the server was told of. Nothing is fetched.

An address in a request would let strangers make this machine ask others, so http and https are refused.
"""

from __future__ import annotations

import base64
import binascii
import os
from urllib.parse import unquote, urlsplit

from r3v.data.images import decode, locate
from r3v.errors import ImageError
from r3v.records import BytesImage, ImageSource
from r3v.serve.config import ServeConfig


def picture(url: str, config: ServeConfig) -> ImageSource:
    """The image behind `url`, read, and decoded once to see that it is one. Raises ImageError."""
    data = _from_data_url(url) if url[:5].lower() == "data:" else _from_folder(url, config)
    image = BytesImage(data, "of the request")
    decode(image, config.max_pixels)
    return image


def _fail(what: str, fix: str) -> ImageError:
    return ImageError(what, fix=fix)


def _from_data_url(url: str) -> bytes:
    head, comma, payload = url.partition(",")
    fields = head[5:].lower().split(";")
    if not comma or fields[-1] != "base64" or not fields[0].startswith("image/"):
        raise _fail(f"found a data URL that begins with {head[:60]!r}", "Write data:image/png;base64,...")
    try:
        return base64.b64decode(unquote(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _fail(f"found a data URL that is not base64 ({error})", "Encode the bytes of the file") from None


def _from_folder(url: str, config: ServeConfig) -> bytes:
    scheme = url.partition(":")[0].lower() if "://" in url[:20] else ""
    if scheme not in ("", "file"):
        raise _fail(f"found an image by {scheme}, which this server does not fetch", "Send it as a data URL")
    if not config.images:
        raise _fail(
            f"found the image {url[:100]!r}, and the server has no folder of images",
            "Send it as a data URL, or start the server with --images DIR",
        )
    name = url
    if scheme:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise _fail(f"found the image {url[:100]!r} of another machine", "Name a file of the server's folder")
        name = unquote(parts.path)
    try:
        found = locate(name[:4096], config.images, file="request", row="image", field="url")
    except ImageError:
        # Its own words would tell strangers where the folder lies, and what lies outside of it.
        raise _fail(f"found the image {url[:100]!r}, which the server's folder does not hold", "Correct it") from None
    if os.path.getsize(found.path) > config.max_body:
        raise _fail(f"image {name[:100]!r} has more than {config.max_body} bytes", "Replace the file")
    return found.read()
