"""Models, processors and adapters: loaded, quantised, wrapped with LoRA, saved and read back.

Nothing is fetched unless the hub is switched on by the user (HF_HUB_OFFLINE=0), no code of a model folder is
ever run (`trust_remote_code` stays off), and a hub model is pinned by `revision`.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from pathlib import Path
from typing import Any

import torch

from r3v.errors import ModelError
from r3v.policies.model.adapters.files import digest, with_adapter
from r3v.policies.model.adapters.names import as_they_stand, is_router, quiet_peft
from r3v.policies.model.adapters.reading import base_named, is_adapter, read_config, read_shapes
from r3v.policies.model.adapters.taught import FILE, Base, Usage, check_taught, taught_with
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loaded import Loaded
from r3v.policies.model.products import set_products
from r3v.policies.model.ready import check_device, check_model
from r3v.policies.model.tiny import family_of, random_tiny
from r3v.policies.smolgeo.assemble import assembled, is_parts
from r3v.precision import decided
from r3v.settings.config import ModelConfig, check_pixels

BUILT_IN = "geoworld-tiny"
SHIPPED = (BUILT_IN, "smolgeo")

# peft imports bitsandbytes, which on some CPUs asks every user for a package that would fetch kernels from the hub.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def load(config: ModelConfig, *, dry_run: bool = False, usage: Usage | None = None) -> Loaded:
    """The model, processor and encoder of `config`, with its adapter when one is named.

    `dry_run` replaces the weights by a random tiny model of the same family; everything else is real. `usage`: what
    else an adapter is checked against. Raises ModelError for a folder, extra or device that is missing, for an adapter
    that does not fit or was taught with something else, ConfigError for limits of pixels without a picture.
    """
    config = decided(config)
    check_pixels(config)
    check_model(config)
    set_products(config, device_of(config))
    path, weights = Path(config.path), None
    if config.adapter:
        read_config(Path(config.adapter))
        read_shapes(Path(config.adapter))
    if dry_run:
        model, processor = _dry_run(config)
        weights = name = f"dry-run:{family(config)}"
    else:
        path = resolve(config.path)
        check_place(path, config.path)
        model, processor = _model(path, config), _processor(path, config)
        name = config.path if not config.revision else f"{config.path}@{config.revision}"
        if path.is_dir():
            weights = digest(*sorted(path.glob("*.safetensors")))
            name = f"{path.name}@{weights}"
        if config.quantization != "none":
            name += f":{config.quantization}"
    encoder = Encoder(
        processor,
        model.config,
        generation_config=getattr(model, "generation_config", None),
        max_pixels=config.max_pixels,
        min_pixels=config.min_pixels,
        thinking=config.thinking,
    )
    commit = None if dry_run else getattr(model.config, "_commit_hash", None)
    base = Base(config.path, config.revision, commit, weights, model.config.model_type)
    loaded = Loaded(model.eval(), processor, encoder, name, config, base, usage or Usage())
    if not dry_run and (path / FILE).is_file():
        check_taught(path, taught_with(loaded), force=config.force, merged=True)
    return with_adapter(loaded, config.adapter) if config.adapter else loaded


def encoder_of(config: ModelConfig) -> Encoder:
    """The encoder of a model, by its processor alone; no weights are loaded. Raises ModelError, ConfigError."""
    from transformers import AutoConfig

    check_pixels(config)
    path = resolve(config.path)
    check_place(path, config.path)
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
        with quiet_peft(), as_they_stand():
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


# ---- inside --------------------------------------------------------------------------------------


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


def _offline() -> bool:
    """Whether the hub is switched off, as it is unless the user says HF_HUB_OFFLINE=0."""
    return os.environ.get("HF_HUB_OFFLINE", "1") != "0"


def _source(path: Path, config: ModelConfig) -> dict[str, Any]:
    """Where `from_pretrained` may look. Offline unless the user says HF_HUB_OFFLINE=0."""
    local = path.is_dir() or _offline()
    return {
        "pretrained_model_name_or_path": str(path) if path.is_dir() else config.path,
        "revision": config.revision or "main",
        "trust_remote_code": False,
        "local_files_only": local,
    }


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def check_place(path: Path, named: str) -> None:
    """Raise ModelError for what can be no model: a file, an adapter, a folder without a model, a path that is nowhere
    and no name of the hub."""
    if path.is_dir():
        if is_adapter(path):
            base = base_named(path)
            raise ModelError(
                f"{named} is an adapter, expected a model; give it as the adapter (--adapter, model.adapter), and the "
                f"base model as the model{f' (it names {base})' if base else ''}"
            )
        if not (path / "config.json").is_file():
            raise ModelError(f"found no config.json in {path}, expected the folder of a model with it and its weights")
    elif path.exists():
        raise ModelError(f"found the file {path}, expected the folder of a model; name the folder it lies in")
    elif not _HUB_NAME.fullmatch(named) or path.parent.exists():
        near = difflib.get_close_matches(named, SHIPPED, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else "check the path; names on the hub are OWNER/NAME"
        raise ModelError(f"found no folder {named}, expected the folder of a model, or {' or '.join(SHIPPED)}; {hint}")


def _missing(path: Path, config: ModelConfig, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if config.attention != "eager" and _ATTENTION.search(str(error)):
        return ModelError(
            f"{config.path!r} has no attention of the kind {config.attention} ({reason[:200]}). Set model.attention "
            "eager"
        )
    if path.is_dir():
        return ModelError(
            f"cannot load model {config.path!r}: {reason}. Give a folder with config.json and safetensors weights"
        )
    if _offline():
        return ModelError(
            f"found no folder {config.path} here and no copy of it in the cache of the hub, which is switched off: set "
            f"HF_HUB_OFFLINE=0 to fetch it, or give a folder with config.json and safetensors weights ({reason})"
        )
    return ModelError(f"cannot fetch model {config.path!r} from the hub: {reason}. Check the name and the network")


_ATTENTION = re.compile(r"attn_implementation|attention implementation", re.IGNORECASE)


def _vision_extra(config: ModelConfig, what: str, error: Exception) -> ModelError:
    """A torchvision that does not fit this torch is found, imported, and fails (operator does not exist)."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        return ModelError(f"{config.path!r} does not fit on the device: {reason}. Use quantization nf4")
    if isinstance(error, ImportError) and "torchvision" not in str(error).lower():
        return ModelError(f"the {what} of {config.path!r} cannot be built: {reason}. Install what it names")
    return ModelError(
        f"the {what} of {config.path!r} cannot be built: {reason}. Qwen-VL models need torchvision: "
        "pip install 'r3v[gpu]'; if it is installed, it does not fit this torch "
        f"({torch.__version__}): install the build that does"
    )


_REFUSED = {
    "mllama": "the pictures go through cross-attention layers, which neither sampling nor training here takes along",
    "llama4": "its forward in transformers asks its text half for an output that this does not give",
}
"""Families that would answer wrongly or fail in the middle, and why."""


def check_family(kind: str, named: str) -> None:
    """Raise ModelError for a family (`model_type`) that is known not to work, with what works in its place."""
    if kind in _REFUSED:
        raise ModelError(
            f"{named} is of the family {kind}, which does not work here: {_REFUSED[kind]}. Sample and select with it "
            "behind a server (--server.url), or take a model whose pictures are tokens, such as Qwen2.5-VL or Idefics3"
        )


def _model(path: Path, config: ModelConfig) -> Any:
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    device = device_of(config)
    bars = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        check_family(AutoConfig.from_pretrained(**_source(path, config)).model_type, config.path)
        quantization = _quantization(path, config)
        model = AutoModelForImageTextToText.from_pretrained(
            **_source(path, config),
            dtype=getattr(torch, config.dtype) if quantization is None else torch.bfloat16,
            quantization_config=quantization,
            attn_implementation=config.attention,
            device_map={"": device} if quantization is not None or device.type != "cpu" else None,
            use_safetensors=True,
        )
    except ModelError:
        raise
    except (ImportError, RuntimeError) as error:
        raise _vision_extra(config, "model", error) from error
    except (OSError, ValueError, KeyError) as error:
        raise _missing(path, config, error) from error
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
        raise _missing(path, config, error) from error


def _dry_run(config: ModelConfig) -> tuple[Any, Any]:
    """A tiny model that went through the disk, so that quantisation and loading take their usual way."""
    import tempfile

    model, processor = random_tiny(family(config))
    if config.quantization == "none" and config.attention == "sdpa":
        return model.to(device_of(config), getattr(torch, config.dtype)), processor
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return _model(Path(folder), config), processor
