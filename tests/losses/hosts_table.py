"""docs/hosts.md: which versions of which trainers get the gradient of one big batch, by running their tests.

    python tests/losses/hosts_table.py > docs/hosts.md

Each test marked `host(property)` is named after its host and counts in one cell.
"""

from __future__ import annotations

import contextlib
import io
import platform
import re
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("test_losses_adapters.py", "test_losses_distributed.py")
HOSTS = {
    "torch": ("plain loop, DistributedDataParallel", "torch"),
    "accelerate": ("Accelerate", "accelerate"),
    "transformers": ("transformers.Trainer", "transformers"),
    "trl": ("TRL SFTTrainer", "trl"),
    "lightning": ("Lightning", "pytorch-lightning"),
}
PROPERTIES = ("accumulation", "two processes", "packing")
HEAD = """# Tested hosts

The losses inside other trainers (`r3v.losses.adapters`): after three optimiser steps the losses and the weights are
those of a plain loop over whole batches, with gradient accumulation, with two processes (gloo, on CPU), and with
several examples packed in one row. A cell says how many tests passed.
`python tests/losses/hosts_table.py > docs/hosts.md` runs them and writes this page.

`r3v.losses.verl` is tested against verl's signature alone: verl itself was not installed. Liger is not used:
its fused head takes one gradient for all tokens, and these losses have one for each."""


class Table:
    """A pytest plugin that counts outcomes by (host, property)."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Counter[str]] = {}
        self.cell_of: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            marker = item.get_closest_marker("host")
            if marker is None:
                continue
            (host,) = [name for name in HOSTS if name in re.split(r"[\[\]-]", item.name.removeprefix("test_"))]
            cell = self.cell_of[item.nodeid] = (host, marker.args[0])
            self.cells.setdefault(cell, Counter())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cell = self.cell_of.get(report.nodeid)
        if cell and (report.when == "call" or report.outcome != "passed"):
            self.cells[cell][report.outcome] += 1

    def text(self, host: str, kind: str) -> str:
        found = self.cells.get((host, kind), Counter())
        if found["failed"]:
            return f"FAILS ({found['failed']})"
        if found["passed"]:
            return f"{found['passed']} pass"
        return "not installed" if found["skipped"] else "no test"


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def page(table: Table) -> str:
    lines = [HEAD, "", f"Python {platform.python_version()}, torch {version('torch')}:", ""]
    lines += [f"| host | version | {' | '.join(PROPERTIES)} |", "|---" * (2 + len(PROPERTIES)) + "|"]
    for host, (name, package) in HOSTS.items():
        cells = " | ".join(table.text(host, kind) for kind in PROPERTIES)
        lines.append(f"| {name} | {installed(package)} | {cells} |")
    return "\n".join(lines)


def main() -> int:
    table, log = Table(), io.StringIO()
    with contextlib.redirect_stdout(log):
        code = pytest.main(["-p", "no:cacheprovider", *(str(HERE / name) for name in FILES)], plugins=[table])
    print(log.getvalue(), file=sys.stderr)
    print(page(table))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
