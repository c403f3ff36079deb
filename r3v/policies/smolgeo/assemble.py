"""The language half that was fetched and the parts that ship, put together once into a folder that transformers loads.

A folder of parts (`checkpoints/smolgeo`) holds `smolgeo.json` (what belongs together, and the hashes), the settings of
the model, `eyes.safetensors` (vision tower, connector, rows of the added tokens) and `lora.safetensors` (what the
warm-up changed in the language half). The result is an ordinary Idefics3 in bf16; nothing but safetensors and JSON is
read, and no code is run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from r3v.errors import ModelError
from r3v.io import atomic_dir, make_folder, write_json
from r3v.policies.smolgeo.cache import VARIABLE, home
from r3v.policies.smolgeo.fetch import SMOLLM2, fetched, sha256
from r3v.policies.smolgeo.text import TextHalf

MANIFEST = "smolgeo.json"
EYES, LORA = "eyes.safetensors", "lora.safetensors"
COPIED = ("config.json", "generation_config.json", "processor_config.json", "chat_template.jinja")
WEIGHTS, DONE = "model.safetensors", "assembled.json"
TEXT = "model.text_model."
ROWS = "rows"
"""Name in `eyes.safetensors` of the embeddings of the added tokens, [added, hidden]."""


def is_parts(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def assembled(parts: Path, gguf: Path | None = None) -> Path:
    """The folder of the whole model, made in the cache on first use.

    Raises ModelError where the language half was not fetched, a file is damaged, or there is no room.
    """
    manifest = read_manifest(parts)
    digest = str(manifest["assembled_sha256"])
    target = home() / "smolgeo" / f"smolgeo-{digest[:12]}"
    if _whole(target, digest):
        return target
    gguf = gguf or fetched()
    make_folder(target.parent)
    with (target.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it; then it is there afterwards
        if not _whole(target, digest):
            print(f"smolgeo: putting the model together in {target} (once)", file=sys.stderr, flush=True)
            try:
                assemble(parts, gguf, target)
            except OSError as error:
                where, why = error.filename or target, error.strerror or error
                raise ModelError(f"{where}: {why}. Make room, or set {VARIABLE} to another folder") from error
    return target


def assemble(parts: Path, gguf: Path, out: Path, bar: bool = True) -> None:
    """Write the whole model to the folder `out`, which appears when everything in it has been checked."""
    from safetensors.torch import save_file

    manifest = read_manifest(parts)
    _check_files(parts, manifest)
    if (found := sha256(gguf)) != manifest["base"]["sha256"]:
        raise ModelError(f"{gguf}: found sha256 {found}, expected {manifest['base']['sha256']}; fetch it again")
    text = TextHalf(gguf)
    state = merge(text.state(), parts, manifest, bar)
    if (digest := digest_of(state)) != manifest["assembled_sha256"]:
        raise ModelError(
            f"the model put together from {parts} and {gguf} has sha256 {digest}, expected "
            f"{manifest['assembled_sha256']}; nothing was kept. Reinstall r3v, and report this if it happens again"
        )
    with atomic_dir(out) as folder:
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        template = (parts / "chat_template.jinja").read_text()
        text.tokenizer(manifest["added_tokens"], manifest["special_tokens"], template).save_pretrained(folder)
        for name in COPIED:
            shutil.copyfile(parts / name, folder / name)
        size = (folder / WEIGHTS).stat().st_size
        write_json(folder / DONE, {"assembled_sha256": digest, "bytes": size, "base": manifest["base"]})


def merge(text: Mapping[str, Tensor], parts: Path, manifest: Mapping[str, Any], bar: bool = False) -> dict[str, Tensor]:
    """Every tensor of the whole model in bf16, by name.

    The products of the adapter are taken in float64, so that their rounding to bf16 is the same on every processor.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file
    from tqdm import tqdm

    eyes = load_file(parts / EYES)
    rows = eyes.pop(ROWS)
    scale = manifest["lora"]["alpha"] / manifest["lora"]["r"]
    state = {name: tensor.bfloat16().contiguous() for name, tensor in eyes.items()}
    with safe_open(parts / LORA, "pt") as lora:
        changed = {name.rsplit(".", 1)[0] for name in lora.keys()}  # noqa: SIM118
        if unknown := changed - {name.removesuffix(".weight") for name in text}:
            raise ModelError(f"{parts / LORA} adapts {sorted(unknown)[0]}, which the language half has not")
        for name, tensor in tqdm(text.items(), desc="smolgeo", unit="tensor", disable=not bar, file=sys.stderr):
            layer = name.removesuffix(".weight")
            if name == "embed_tokens.weight":
                tensor = torch.cat([tensor, rows.float()])
            elif layer in changed:
                down, up = lora.get_tensor(f"{layer}.A").double(), lora.get_tensor(f"{layer}.B").double()
                tensor = tensor.double() + scale * (up @ down)
            state[TEXT + name] = tensor.bfloat16().contiguous()
    return state


def digest_of(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes of bf16 tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name}|{tuple(state[name].shape)}|".encode())
        digest.update(state[name].view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def read_manifest(parts: Path) -> dict[str, Any]:
    """Raises ModelError for a folder that has none."""
    try:
        return json.loads((parts / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{parts / MANIFEST}: {error}; expected a folder of parts as checkpoints/smolgeo") from error


def base_of() -> dict[str, str]:
    """How a manifest names the language half."""
    return {
        "package": SMOLLM2.package,
        "version": SMOLLM2.version,
        "file": SMOLLM2.name,
        "sha256": SMOLLM2.file_sha256,
    }


def _check_files(parts: Path, manifest: Mapping[str, Any]) -> None:
    for name, expected in manifest["files"].items():
        path = parts / name
        if not path.is_file():
            raise ModelError(f"found no {path}, which {MANIFEST} names. Reinstall r3v")
        if (found := sha256(path)) != expected:
            raise ModelError(f"{path}: found sha256 {found}, expected {expected}. It was changed: reinstall r3v")


def _whole(folder: Path, digest: str) -> bool:
    """The folder is there, of this model, and its weights have their size."""
    try:
        manifest = json.loads((folder / DONE).read_text())
        return manifest["assembled_sha256"] == digest and (folder / WEIGHTS).stat().st_size == manifest["bytes"]
    except (OSError, ValueError, KeyError):
        return False
