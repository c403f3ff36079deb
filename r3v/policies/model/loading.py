"""Models, processors and adapters: loaded, quantised, wrapped with LoRA, saved and read back.

Nothing is fetched unless the hub is switched on by the user (HF_HUB_OFFLINE=0), no code of a model folder is
ever run (`trust_remote_code` stays off), and a hub model is pinned by `revision`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from r3v.errors import ModelError, RunError
from r3v.io import atomic_dir
from r3v.policies.model.adapter_names import as_they_stand, is_router, names_modules_of
from r3v.policies.model.adapter_speaks import check_speaks
from r3v.policies.model.encode import Encoder
from r3v.policies.model.ready import check_device, check_model
from r3v.policies.model.tiny import family_of, random_tiny
from r3v.policies.smolgeo.assemble import assembled, is_parts
from r3v.precision import decided
from r3v.settings.config import ModelConfig, check_pixels

BUILT_IN = "geoworld-tiny"
SHIPPED = (BUILT_IN, "smolgeo")
ADAPTER_FILE = "adapter_model.safetensors"

# peft imports bitsandbytes, which on some CPUs asks every user for a package that would fetch kernels from the hub.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Loaded:
    """A model ready to use. `name` identifies weights and adapter; caches and candidates carry it."""

    model: Any
    processor: Any
    encoder: Encoder
    name: str
    config: ModelConfig


def load(config: ModelConfig, *, dry_run: bool = False) -> Loaded:
    """The model, processor and encoder of `config`, with its adapter when one is named.

    `dry_run` replaces the weights by a random tiny model of the same family; everything else is real.
    Raises ModelError for a folder, extra or device that is missing, ConfigError for limits of pixels without a picture.
    """
    config = decided(config)
    check_pixels(config)
    check_model(config)
    if dry_run:
        model, processor = _dry_run(config)
        name = f"dry-run:{family(config)}"
    else:
        path = resolve(config.path)
        model, processor = _model(path, config), _processor(path, config)
        name = config.path if not config.revision else f"{config.path}@{config.revision}"
        if path.is_dir():
            name = f"{path.name}@{_digest(*sorted(path.glob('*.safetensors')))}"
        if config.quantization != "none":
            name += f":{config.quantization}"
    if config.adapter:
        model = load_adapter(model, config.adapter)
        name += f"+{weights_hash(config.adapter)}"
    encoder = Encoder(
        processor,
        model.config,
        generation_config=getattr(model, "generation_config", None),
        max_pixels=config.max_pixels,
        min_pixels=config.min_pixels,
        thinking=config.thinking,
    )
    return Loaded(model.eval(), processor, encoder, name, config)


def encoder_of(config: ModelConfig) -> Encoder:
    """The encoder of a model, by its processor alone; no weights are loaded. Raises ModelError, ConfigError."""
    from transformers import AutoConfig

    check_pixels(config)
    path = resolve(config.path)
    processor = _processor(path, config)
    return Encoder(
        processor,
        AutoConfig.from_pretrained(**_source(path, config)),
        max_pixels=config.max_pixels,
        min_pixels=config.min_pixels,
        thinking=config.thinking,
    )


def resolve(path: str) -> Path:
    """The folder of a model: `geoworld-tiny` and `smolgeo` ship with the library, other names are kept.

    Of smolgeo only parts ship; they, and any folder of such parts, are put together with the language half in the cache
    on first use. Raises ModelError where that cannot be done.
    """
    folder = _folder(path)
    return assembled(folder) if is_parts(folder) else folder


def _folder(path: str) -> Path:
    if path not in SHIPPED:
        return Path(path)
    import r3v.checkpoints

    for root in r3v.checkpoints.__path__:
        folder = Path(root) / path
        if folder.is_dir():
            return folder
    raise ModelError(f"the built-in model {path} is missing from {list(r3v.checkpoints.__path__)}. Reinstall r3v")


def family(config: ModelConfig) -> str:
    """The family of a model by its local `config.json`, or by its name. Raises ModelError if unknown."""
    file = _folder(config.path) / "config.json"
    known = re.search(r'^  "model_type":\s*"([^"]+)"', file.read_text(), re.M) if file.is_file() else None
    found = family_of(known.group(1)) if known else family_of(config.path)
    if found is None:
        raise ModelError(f"cannot tell the family of model {config.path!r}, so there is no tiny one for a dry run")
    return found


# ---- adapters ------------------------------------------------------------------------------------


def add_lora(model: Any, config: ModelConfig, seed: int) -> Any:
    """The model with a fresh LoRA on its linear layers (`lora_targets`), as a PeftModel; everything else is
    frozen.

    The adapter's initial values depend on `seed` alone. LoRA: Hu et al. 2021; on nf4: Dettmers et al. 2023.
    """
    from peft import LoraConfig, get_peft_model

    names = lora_targets(model, config.lora_targets)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=names,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        with _quiet_peft(), as_they_stand():
            wrapped = get_peft_model(model, lora)
    return wrapped.eval()


def lora_targets(model: Any, which: str) -> list[str]:
    """Full names of the linear layers LoRA goes on: the language model's, or all but the output head; never routers."""
    head = model.get_output_embeddings()
    wanted = {id(m) for m in (_language_model(model) if which == "language" else model).modules()}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module is not head
        and id(module) in wanted
        and not is_router(name, module)
    ]
    if not names:
        raise ModelError(f"found no linear layers for LoRA in {type(model).__name__} (lora_targets={which})")
    return names


def save_adapter(model: Any, path: str | Path) -> str:
    """Write the adapter folder, whole or not at all; returns `weights_hash`."""
    if not hasattr(model, "peft_config"):
        raise ModelError(f"found {type(model).__name__} without an adapter, expected a PeftModel. Call add_lora first")
    with atomic_dir(path) as folder, _written(path):
        # Adapters here are on linear layers only; "auto" would look for the base model's config, online if need be.
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        _name_targets(folder)
    return weights_hash(path)


@contextmanager
def _written(path: str | Path) -> Iterator[None]:
    """What safetensors says of a full disk is no OSError; it becomes a RunError here."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{path}: cannot be written ({error}); make room for it, and the same command goes on where it stopped"
        ) from error


def _name_targets(folder: Path) -> None:
    """Write the adapted modules into the config by full name, sorted: peft keeps them as a set and shortens them in an
    order that differs from process to process, and equal adapters must be equal files."""
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        names = {key.removeprefix("base_model.model.").split(".lora_")[0] for key in weights.keys()}  # noqa: SIM118
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"] = sorted(names)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_adapter(model: Any, path: str | Path, *, trainable: bool = False) -> Any:
    """The model with the adapter of folder `path`. Raises ModelError when the folder is not one, or when a trained
    adapter changes nothing."""
    from peft import PeftModel

    with _fitting(model, path) as folder:
        made = PeftModel.from_pretrained(model, folder, is_trainable=trainable).eval()
    if not trainable:
        check_speaks(made, path)
    return made


def add_adapter(model: Any, path: str | Path, name: str) -> None:
    """Put the adapter of folder `path` beside those that a PeftModel has; the active one stays active. Raises
    ModelError when the folder is not one."""
    with _fitting(model, path) as folder:
        model.load_adapter(folder, adapter_name=name, is_trainable=False)
    model.eval()


@contextmanager
def _fitting(model: Any, path: str | Path) -> Iterator[str]:
    """The adapter folder; what peft says of one that does not fit becomes a ModelError."""
    folder = Path(path)
    if not (folder / ADAPTER_FILE).is_file():
        raise ModelError(f"found no {ADAPTER_FILE} in {folder}, expected an adapter folder written by save_adapter")
    try:
        with _quiet_peft(), as_they_stand() if names_modules_of(model, folder) else nullcontext():
            yield str(folder)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the adapter {folder} does not fit {type(model).__name__}: {reason}") from error


def with_adapter(loaded: Loaded, path: str | Path) -> Loaded:
    """The same base with another adapter; one that is there already is removed first."""
    base = loaded.model.unload() if hasattr(loaded.model, "peft_config") else loaded.model
    name = loaded.name.split("+")[0]
    model = load_adapter(base, path)
    return replace(loaded, model=model, name=f"{name}+{weights_hash(path)}")


def weights_hash(path: str | Path) -> str:
    """12 hexadecimal digits over the adapter's weights and settings."""
    folder = Path(path)
    return _digest(folder / "adapter_config.json", folder / ADAPTER_FILE)


# ---- inside --------------------------------------------------------------------------------------


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """peft asks transformers by a name that transformers 5 deprecates; users cannot do anything about that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


def _language_model(model: Any) -> Any:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for owner in (base, getattr(base, "model", None)):
        for name in ("language_model", "text_model"):
            if owner is not None and hasattr(owner, name):
                return getattr(owner, name)
    raise ModelError(f"cannot find the language model inside {type(base).__name__}; use lora_targets: all")


def device_of(config: ModelConfig) -> torch.device:
    """`auto` is the first CUDA device where there is one, otherwise the CPU. Raises ModelError for one that is not."""
    check_device(config.device)
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def _quantization(path: Path, config: ModelConfig) -> Any:
    if config.quantization == "none":
        return None
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise ModelError(
            f"quantization {config.quantization} needs bitsandbytes, which cannot be imported ({error}): "
            "pip install bitsandbytes"
        ) from error
    from transformers import BitsAndBytesConfig

    from r3v.policies.model.quantised import skip_names

    whole = skip_names(_source(path, config))
    if config.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=whole)
    return BitsAndBytesConfig(
        llm_int8_skip_modules=whole,
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _source(path: Path, config: ModelConfig) -> dict[str, Any]:
    """Where `from_pretrained` may look. Offline unless the user says HF_HUB_OFFLINE=0."""
    local = path.is_dir() or os.environ.get("HF_HUB_OFFLINE", "1") != "0"
    return {
        "pretrained_model_name_or_path": str(path) if path.is_dir() else config.path,
        "revision": config.revision or "main",
        "trust_remote_code": False,
        "local_files_only": local,
    }


def _missing(config: ModelConfig, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"cannot load model {config.path!r}: {reason}. Give a folder with config.json and safetensors "
        f"weights, {BUILT_IN}, or a hub name; hub models are fetched only with HF_HUB_OFFLINE=0"
    )


def _vision_extra(config: ModelConfig, what: str, error: Exception) -> ModelError:
    """A torchvision that does not fit this torch is found, imported, and fails (operator does not exist)."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        return ModelError(f"{config.path!r} does not fit on the device: {reason}. Use quantization nf4")
    return ModelError(
        f"the {what} of {config.path!r} cannot be built: {reason}. Qwen-VL models need torchvision: "
        "pip install 'r3v[gpu]'; if it is installed, it does not fit this torch "
        f"({torch.__version__}): install the build that does"
    )


def _model(path: Path, config: ModelConfig) -> Any:
    from transformers import AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    device = device_of(config)
    bars = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        quantization = _quantization(path, config)
        model = AutoModelForImageTextToText.from_pretrained(
            **_source(path, config),
            dtype=getattr(torch, config.dtype) if quantization is None else torch.bfloat16,
            quantization_config=quantization,
            attn_implementation=config.attention,
            device_map={"": device} if quantization is not None or device.type != "cpu" else None,
            use_safetensors=True,
        )
    except (ImportError, RuntimeError) as error:
        raise _vision_extra(config, "model", error) from error
    except (OSError, ValueError, KeyError) as error:
        raise _missing(config, error) from error
    finally:
        if bars:
            enable_progress_bar()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On such CPUs bitsandbytes repacks a layer for good when it is first used without gradients, and the
            # repacked layer has no backward: training after sampling would silently lose gradients.
            module.support_avx512bf16_for_cpu = False  # pyright: ignore[reportArgumentType]
    return model


def _processor(path: Path, config: ModelConfig) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(**_source(path, config))
    except (ImportError, RuntimeError, AttributeError) as error:
        raise _vision_extra(config, "processor", error) from error
    except (OSError, ValueError, KeyError) as error:
        raise _missing(config, error) from error


def _dry_run(config: ModelConfig) -> tuple[Any, Any]:
    """A tiny model that went through the disk, so that quantisation and loading take their usual way."""
    import tempfile

    model, processor = random_tiny(family(config))
    if config.quantization == "none" and config.attention == "sdpa":
        return model.to(device_of(config), getattr(torch, config.dtype)), processor
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return _model(Path(folder), config), processor
