"""What the workers of a Ray cluster run in the tests; they import this file, so it holds nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from r3v.policies.scripted import ScriptedPolicy
from r3v.records import FileImage, Prompt


def slow_policy(seconds: float, pids: str, name: str = "scripted") -> ScriptedPolicy:
    """Answers that depend on problem and index; each worker leaves its process id in the folder `pids`."""
    Path(pids, str(os.getpid())).touch()

    def answer(prompt: Prompt, index: int) -> str:
        time.sleep(seconds)
        return ["Half of 120 is 60.\nAnswer: 60", f"{prompt.problem_id} is hard.\nAnswer: 50", "no idea"][index % 3]

    return ScriptedPolicy(answer, name=name)


def bytes_are_here(policy: Any, image: FileImage) -> tuple[int, bool]:
    """The worker's process id, and whether it reads the image itself."""
    return os.getpid(), image.read() == b"pixels"


def deadly(policy: Any, item: int) -> int:
    """Item 1 ends its worker whenever it is tried."""
    if item == 1:
        os._exit(9)
    return item


def wrong(policy: Any, item: int) -> int:
    raise ZeroDivisionError(f"item {item}")
