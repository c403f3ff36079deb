"""What a machine is called: processor, cores, memory, GPUs. For records that are read by people."""

from __future__ import annotations

import os
import platform


def processor() -> str:
    """Name of the CPU and how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {cores} cores"


def memory() -> str:
    """The machine's memory, such as "23.4 GiB"."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def gpus() -> list[str]:
    """The GPUs that torch sees, in order, such as "NVIDIA L4, 22 GiB"."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [torch.cuda.get_device_properties(i) for i in range(count)]
    return [f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in found]


def machine() -> str:
    """One line: the GPUs, or the processor with its memory where there is none."""
    found = gpus()
    kinds = [f"{found.count(name)} x {name}" for name in dict.fromkeys(found)]
    return "; ".join(kinds) or f"{processor()}, {memory()}"
