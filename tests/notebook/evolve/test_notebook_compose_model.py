"""Notes, an adapter and a selector on the real geoworld-tiny: each arm is another result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from r3v.data.geoworld import source
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.policies.model.adapters.files import save_adapter
from r3v.policies.model.adapters.taught import taught_with
from r3v.policies.model.loading import add_lora, load
from r3v.recipes.research import notebook_compose as compose
from r3v.settings.config import ModelConfig

TINY = ModelConfig(prompt_style="short", lora_r=4)


@pytest.mark.slow
def test_arms_differ_by_model_and_by_notes(tmp_path: Path) -> None:
    loaded = load(TINY)
    model = add_lora(loaded.model, TINY, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.05)
    save_adapter(model, tmp_path / "adapter", taught_with(loaded))
    problem = source("novel", 1)[0]
    with Notebook.open(tmp_path / "n.db", create=True) as notebook:
        notebook.commit(
            [
                Note("n", problem.question, "Add the two."),
            ],
            message="learn",
            author="test",
        )
    out = tmp_path / "out"
    argv = [
        "--data", "geoworld:novel", "--limit", "4", "--open", "--out", str(out), "--notebook", str(tmp_path / "n.db"),
        "--embedder", "lexical", "--threshold", "0.1", "--adapter", str(tmp_path / "adapter"), "--selector",
        "self_select", "--n", "2", "--model.prompt_style", "short", "--select.max_new_tokens", "24",
    ]  # fmt: skip
    assert compose.main(argv) == 0
    arms = {arm: json.loads((out / f"{arm}.json").read_text()) for arm in ("plain", "notebook", "adapter")}
    assert arms["plain"]["model"] == arms["notebook"]["model"] != arms["adapter"]["model"]
    assert "notes" in arms["notebook"]
    assert "notes" not in arms["adapter"]
    found = json.loads((out / "compose.json").read_text())
    assert {cell["n"] for cell in found["cells"].values()} == {4}
    assert len(found["cells"]) == 8
