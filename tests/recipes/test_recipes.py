"""Every recipe: its header says what to know, its settings are read, and a dry run of it goes through to the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from recipe_data import LAYOUTS
from tiny_models import torchvision_missing

from r3v.app.cli import main
from r3v.app.commands.core import recipe_sets
from r3v.data import READERS
from r3v.policies.model.loading import family
from r3v.reflection.settings import read
from r3v.settings.tree import recipe_folder
from r3v.spec import parse_spec

OTHER = ("_notebook.yaml", "_reinforce.yaml", "_evolve.yaml")
"""Recipes of the other systems have settings and tests of their own."""
RECIPES = sorted(
    path.name
    for path in recipe_folder().glob("*.yaml")
    if not path.name.endswith(OTHER) and not path.name.startswith("evolve_")
)
HEADER = ("# command:", "# hardware:", "# time:", "# expect:")


def test_there_are_eleven_recipes() -> None:
    assert len(RECIPES) == 11, RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_header_states_command_hardware_time_and_number(name: str) -> None:
    text = (recipe_folder() / name).read_text()
    header = text[: text.index("\nrun:")]
    assert all(line.startswith("#") for line in header.splitlines())
    for part in HEADER:
        assert part in header, f"{name} says nothing of {part}"
    assert f"recipes/{name}" in header


RUN = ("r3v train", "r3v evolve", "r3v notebook")


def test_recipes_of_outside_data_check_it_first_and_name_nothing_outside() -> None:
    """What their headers run needs a network at most: no path leads out of the repository, and hub sets whose commit is
    known are pinned to it. Thirteen recipes read data that does not come with the library."""
    found = 0
    for path in sorted(recipe_folder().glob("*.yaml")):
        text = path.read_text()
        assert not re.search(r"\.\./|[\s:]/\w", text.replace("https://", "").replace("$H/", "")), path.name
        specs = set(re.findall(r"^  (?:train|gate|eval|pool|seeds|data): (\S+)$", text, re.M))
        if all(spec.startswith("geoworld:") for spec in specs):
            continue
        found += 1
        command = text[text.index("# command:") : text.index("# hardware:")]
        assert f"r3v data check --skip-bad recipes/{path.name}" in command
        assert command.index("data check") < min(command.index(c) for c in RUN if c in command)
        assert set(recipe_sets(path.name).values()) == specs
        for spec in specs:
            parsed = parse_spec(spec)
            assert parsed.reader in READERS
            assert re.fullmatch("[0-9a-f]{40}", parsed.options.get("revision", "0" * 40)), spec
    assert found == 13


@pytest.mark.parametrize("name", RECIPES)
def test_settings_are_read_and_runs_do_not_share_a_folder(name: str) -> None:
    config = read(recipe_folder() / name).config
    assert config.run.dir == f"checkpoints/runs/{name.removesuffix('.yaml')}"
    shipped = config.model.path in ("geoworld-tiny", "smolgeo")
    assert config.build.preset == ("r3v" if shipped else "r3v-fused")
    if not shipped:
        assert config.model.quantization == "nf4"
        assert config.train.precision == "bf16-mixed"
        assert re.fullmatch("[0-9a-f]{40}", config.model.revision or ""), "hub models are pinned to a commit"


def test_families() -> None:
    """Nine models named by the recipes' files, told by name alone."""
    found = {name: family(read(recipe_folder() / name).config.model) for name in RECIPES if "qwen" in name}
    wanted = {"qwen2vl": "qwen2_vl", "qwen25vl": "qwen2_5_vl", "qwen3vl": "qwen3_vl"}
    assert found == {name: wanted[name.split("_")[-2]] for name in found}
    assert len(found) == 7


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # bitsandbytes, on import
@pytest.mark.parametrize("name", RECIPES)
def test_dry_run(name: str, tmp_path: Path) -> None:
    """Real data files, chat template, image tokens, quantisation, LoRA, fit, evaluation and report; random weights."""
    if "qwen" in name and (reason := torchvision_missing()):
        pytest.skip(reason)
    layout = LAYOUTS.get(name.rsplit("_", 2)[0] if "qwen" in name else name.split("_")[0])
    flags = []
    if layout is not None:
        for field, split in (("train", "train"), ("gate", "gate"), ("eval", "test")):
            flags += [f"--data.{field}", layout(tmp_path / "data", split)]
    run = tmp_path / "run"
    assert main(["train", name, "--dry-run", "--run.dir", str(run), *flags]) == 0
    value = json.loads((run / "run.json").read_text())
    assert [entry["round"] for entry in value["rounds"]] == [0, 1]
    assert value["rounds"][1]["eval"]["greedy"]["n"] == 2
    assert (run / "round_01" / "adapter" / "adapter_model.safetensors").is_file()
    assert (run / "report.html").stat().st_size > 10_000
