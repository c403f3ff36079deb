"""`r3v env`: versions, devices and what works here, for reports of faults. Only argparse at import."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "transformers", "peft", "pytorch-lightning", "bitsandbytes", "datasets", "safetensors", "pyarrow",
    "pillow", "numpy", "math-verify", "jsonargparse", "torchvision", "flash-attn", "liger-kernel", "deepspeed", "ray",
    "fastapi", "uvicorn", "vllm", "trl", "gguf", "faiss-cpu", "tensorboard", "wandb", "mlflow",
)  # fmt: skip
VARIABLES = ("HF_HUB_OFFLINE", "HF_HOME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WANDB_MODE", "R3V_CACHE")


def register(commands: Any) -> None:
    """Add `env` to the subparsers of the command line."""
    text = "versions, devices and what works here, for reports of faults"
    p = commands.add_parser("env", help=text, description=text)
    p.set_defaults(handler=run, takes_fields=False)


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """Print the table."""
    print("\n".join(f"{name:<20} {value}" for name, value in found()))
    return 0


def found() -> list[tuple[str, str]]:
    """What there is to say, as (name, value); nothing of it names a person or holds a key."""
    import r3v
    from r3v.machine import memory

    rows = [
        ("r3v", f"{r3v.__version__} in {Path(r3v.__file__).parent}"),
        ("python", f"{platform.python_version()} {sys.executable}"),
        ("system", platform.platform()),
        ("processor", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"),
        ("memory", memory()),
        ("disk here", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB free"),
        *_devices(),
        *((name, os.environ[name]) for name in VARIABLES if name in os.environ),
    ]
    return [*rows, *((name, _version(name)) for name in PACKAGES)]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _devices() -> list[tuple[str, str]]:
    """What torch sees, and in which precision this machine computes best."""
    try:
        import torch
    except Exception as error:  # a build that does not fit the system is the very fault to be reported
        return [("torch works", f"no: {error}")]
    from r3v.machine import gpus
    from r3v.precision import best_dtype, cpu_flags

    cuda = torch.cuda.is_available()
    rows = [("CUDA of torch", torch.version.cuda or "none"), ("threads", str(torch.get_num_threads()))]
    rows += [(f"cuda:{i}", name) for i, name in enumerate(gpus())]
    return [*rows, ("model.dtype auto", best_dtype(cpu_flags(), cuda))]
