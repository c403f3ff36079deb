"""Writes the page of families, `docs/families.md`, by trying each (some minutes).

python tests/families/family_table.py > docs/families.md
python tests/families/family_table.py internvl qwen3_5      some families, the table alone
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FAKES = Path(__file__).parents[1] / "fakes"


def main(names: list[str]) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.path[:0] = [str(FAKES), *(str(folder) for folder in FAKES.iterdir() if folder.is_dir())]
    from tiny_models import torchvision_missing

    torchvision_missing()  # before transformers, which decides at its import what there is
    import torch
    from family_rows import FAMILIES, OWN, made, page, render

    torch.set_num_threads(1)
    sys.stdout.write(render(made(names)) if names else page(made([*OWN, *FAMILIES])))


if __name__ == "__main__":
    main(sys.argv[1:])
