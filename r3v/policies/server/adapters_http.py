"""LoRA adapters in a running server, through the endpoints vLLM and SGLang document.

vLLM (`--enable-lora`, VLLM_ALLOW_RUNTIME_LORA_UPDATING=True): POST /v1/load_lora_adapter and
/v1/unload_lora_adapter with `lora_name` and `lora_path`; the adapter is then a model of its own name.
SGLang (`--enable-lora`): POST /load_lora_adapter and /unload_lora_adapter with the same fields, which answer
`success` and `loaded_adapters`; the adapter is then asked for as `base:name`.

Both engines keep adapters, and what they computed with them, by name. A name is therefore never used twice.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from r3v.errors import EngineError, EngineGoneError, ModelError
from r3v.policies.server.client import BadAnswerError, Client, ServerError, as_json, as_text
from r3v.settings.server import Kind

LISTED = 120.0
"""Seconds to wait for a loaded adapter to appear among the server's models."""
POLL = 0.2
_LOAD, _UNLOAD = "/load_lora_adapter", "/unload_lora_adapter"
_START = {
    "vllm": "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
    "sglang": "Start SGLang with --enable-lora, --max-lora-rank and --lora-target-modules",
}


def adapter_hash(folder: str | Path) -> str:
    """12 hexadecimal digits over the configuration and the weights of an adapter. Raises ModelError."""
    path, digest = Path(folder), hashlib.sha256()
    names = [name for name in ("adapter_model.safetensors", "adapter_model.bin") if (path / name).is_file()]
    if not names or not (path / "adapter_config.json").is_file():
        raise ModelError(f"{path}: found no adapter, expected adapter_config.json and adapter_model.safetensors")
    for name in ("adapter_config.json", names[0]):
        with (path / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


class ServedAdapter:
    """One adapter folder, loaded into the server of `client` on top of the model `base`.

    The server reads the folder itself, so it must see it under the same path. `hash` identifies the weights;
    `model` is what requests name; `loads` counts the loads, for `restore`.
    """

    def __init__(self, client: Client, kind: Kind, folder: str | Path, base: str) -> None:
        if kind not in _START:
            raise ModelError(
                f"{client.shown}: found an adapter ({folder}) for a server of kind {kind!r}, expected vLLM or SGLang; "
                "set server.kind, or merge the adapter (`r3v export`) and serve the merged model"
            )
        self._client, self._kind, self._base = client, kind, base
        self.folder = Path(folder).resolve()
        self.hash = adapter_hash(self.folder)
        self.name = ""
        self.loads = 0
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """The model name that requests carry to use the adapter."""
        return self.name if self._kind == "vllm" else f"{self._base}:{self.name}"

    def load(self) -> None:
        """Load under a fresh name and wait until the server lists it. Raises EngineError."""
        with self._lock:
            self._load()

    def restore(self, seen: int) -> None:
        """Load again, unless another thread has done so since `loads` was `seen`. A restarted server knows none."""
        with self._lock:
            if self.loads == seen:
                self._load()

    def unload(self) -> None:
        """Give the server's place back; a server that does not answer is warned about, never waited for."""
        with self._lock:
            name, self.name = self.name, ""
            if not name:
                return
            try:
                self._client.post(_UNLOAD, {"lora_name": name}, as_text, root=self._kind == "sglang", retries=0)
            except EngineGoneError:
                return  # and the adapter with it
            except EngineError as error:
                warnings.warn(f"adapter {name} may still be loaded: {error}", RuntimeWarning, stacklevel=2)

    def _load(self) -> None:
        name = f"r3v-{self.hash}-{secrets.token_hex(4)}"
        body = {"lora_name": name, "lora_path": str(self.folder)}
        try:
            self._client.post(_LOAD, body, self._read, root=self._kind == "sglang")
        except ServerError as error:
            # The name is fresh, so one that is there already came with an attempt whose answer was lost.
            if "already" not in error.detail or name not in error.detail:
                raise ServerError(
                    f"the adapter {self.folder} was not loaded: {error}. {_START[self._kind]}; the server must see "
                    "the folder under the same path, and allow its rank and its target modules",
                    error.status,
                    error.detail,
                ) from error
        self.name = name
        self.loads += 1
        if self._kind == "vllm":
            self._wait(name)

    def _read(self, data: bytes, content_type: str) -> Any:
        if self._kind == "vllm":
            return as_text(data)  # a sentence, not JSON
        value = as_json(data)
        if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
            raise BadAnswerError(f"found {str(value)[:200]}, expected `success` and `loaded_adapters`")
        if not value["success"]:
            said = value.get("error_message") or value
            raise ServerError(f"{self._client.shown}: {said}", 200, str(said))
        return value

    def _wait(self, name: str) -> None:
        end = time.monotonic() + LISTED
        while True:
            listed = model_names(self._client.get("/models"))
            if name in listed:
                return
            if time.monotonic() > end:
                raise EngineError(
                    f"{self._client.shown}: the adapter {name} was loaded but is not among the models after "
                    f"{LISTED:.0f} s (found {', '.join(listed) or 'none'}). Behind a balancer, name one server"
                )
            time.sleep(POLL)


def model_names(value: Any) -> list[str]:
    """The ids of an answer of /v1/models; an answer of another form lists none."""
    rows = value.get("data") if isinstance(value, dict) else None
    return [str(row["id"]) for row in rows or () if isinstance(row, dict) and "id" in row]
