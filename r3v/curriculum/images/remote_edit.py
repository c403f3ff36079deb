"""Picture editing by an OpenAI-compatible endpoint (`POST {base_url}/images/edits`, multipart form)."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass, field

from r3v.curriculum.images.fetch import FetchError, Limits, fetch, fetch_image
from r3v.curriculum.images.sniff import image_type
from r3v.errors import ImageError
from r3v.records import BytesImage, ImageSource


@dataclass(frozen=True, slots=True)
class ImageEditEndpoint:
    """`limits.allow` must name the network of a server that is not public. The key is sent as a bearer token."""

    base_url: str
    model: str
    key: str = field(default="", repr=False)
    limits: Limits = field(default_factory=lambda: Limits(seconds=180.0))
    size: str = ""
    price: float = 0.0
    """What one edited picture costs."""

    def edit(self, image: ImageSource, instruction: str) -> BytesImage:
        """The edited picture. Raises FetchError when the endpoint fails or what it sends is no usable picture."""
        from r3v.data.images import decode

        address = f"{self.base_url.rstrip('/')}/images/edits"
        boundary = uuid.uuid4().hex
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        got = fetch(address, self.limits, method="POST", body=self._form(image, instruction, boundary), headers=headers)
        if got.status != 200:
            raise FetchError(f"found status {got.status}, expected 200: {got.data[:200]!r}", file=address)
        try:
            row = json.loads(got.data)["data"][0]
            if "b64_json" not in row:
                return fetch_image(row["url"], self.limits)
            data = base64.b64decode(row["b64_json"], validate=True)
        except FetchError:
            raise
        except (ValueError, LookupError, TypeError, binascii.Error) as error:
            raise FetchError(f"found {got.data[:80]!r}, expected data[0].b64_json or .url", file=address) from error
        if image_type(data) is None:
            raise FetchError(f"found {data[:16]!r}, expected a picture", file=address)
        edited = BytesImage(data, f"{self.model}: {instruction[:80]}")
        try:
            decode(edited, self.limits.pixels)
        except ImageError as error:
            raise FetchError(f"found a picture that cannot be used: {error.what}", file=address) from error
        return edited

    def _form(self, image: ImageSource, instruction: str, boundary: str) -> bytes:
        fields = {"model": self.model, "prompt": instruction, "n": "1", **({"size": self.size} if self.size else {})}
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        data = image.read()
        kind = (image_type(data) or "PNG").lower()
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.{kind}"\r\n'
        parts.append(f"{head}Content-Type: image/{kind}\r\n\r\n".encode() + data + f"\r\n--{boundary}--\r\n".encode())
        return b"".join(parts)
