"""The losses as a distribution of their own: torch and the standard library, the same files, no r3v on the path."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from places import ROOT

import r3v.losses as ours

LOSSES = ROOT / "losses"
BLOCKS = re.findall(r"```python\n(.*?)```", (LOSSES / "README.md").read_text(), re.DOTALL)
FILES = {path.name for path in LOSSES.glob("*.py")} | {"py.typed"}
HANDED_IN = {("adapters", "lightning_module"): "pytorch_lightning"}
"""The one host that is imported, inside the function that needs it."""


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def outside(path: Path) -> set[tuple[str, str]]:
    """(function or "", package) of every import that is neither relative, torch nor of the standard library."""
    found: set[tuple[str, str]] = set()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef):
            function = function or node.name
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        tops = {name.split(".")[0] for name in names}
        found.update((function, top) for top in tops - {"torch"} - sys.stdlib_module_names)
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text()), "")
    return found


def test_the_losses_import_torch_and_the_standard_library() -> None:
    found = {(path.stem, function): package for path in LOSSES.glob("*.py") for function, package in outside(path)}
    assert found == HANDED_IN


def test_another_import_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import numpy.linalg, os\ndef f():\n    from r3v.losses import reduce\n")
    assert outside(tmp_path / "a.py") == {("", "numpy"), ("f", "r3v")}


def test_its_version_and_torch_are_those_of_r3v() -> None:
    alone, whole = project(LOSSES), project(ROOT)
    assert alone["version"] == whole["version"]
    assert alone["requires-python"] == whole["requires-python"]
    assert alone["dependencies"] == [d for d in whole["dependencies"] if d.startswith("torch>")]
    for line in alone["optional-dependencies"]["lightning"]:
        assert line in whole["dependencies"]


def link_distribution(name: str, site: Path, seen: set[str]) -> None:
    """A distribution of this environment and all it requires, linked into a folder."""
    if name.lower() in seen:
        return
    seen.add(name.lower())
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    for line in found.requires or ():
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            link_distribution(need.name, site, seen)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Torch, what it requires, and nothing else."""
    site = tmp_path_factory.mktemp("bare")
    link_distribution("torch", site, set())
    assert not [name for name in ("r3v", "transformers", "pytorch_lightning") if (site / name).exists()]
    return site


def run_alone(code: str, *site: Path) -> str:
    """Output of a program that sees the standard library and these folders."""
    start = f"import sys; sys.path[:0] = {[str(path) for path in site]!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "ignore", "-c", start + code],
        capture_output=True,
        text=True,
        cwd=site[0],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


EVERY = """
import importlib.util, pathlib, r3v_losses
for path in pathlib.Path(r3v_losses.__file__).parent.glob("*.py"):
    importlib.import_module(f"r3v_losses.{path.stem}")
print(len(r3v_losses.LOSSES), importlib.util.find_spec("r3v"), "transformers" in sys.modules)
try:
    r3v_losses.adapters.lightning_module(None, None, None)
except ModuleNotFoundError as error:
    print(error)
"""


def check_alone(*site: Path) -> None:
    """Every module imports, the examples of the README run, and Lightning's absence names the extra."""
    assert len(BLOCKS) == 2
    out = run_alone("\n".join([EVERY, *BLOCKS]), *site)
    assert out.startswith("11 None False\n")
    assert "pip install 'r3v-losses[lightning]'" in out
    assert "count/select" in out
    assert "grad_fn" in out


def test_the_files_work_under_their_own_name(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "r3v_losses").symlink_to(LOSSES)
    check_alone(tmp_path, bare)


def test_what_one_makes_the_other_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """r3v.losses and r3v_losses in one process: two modules, one contract."""
    (tmp_path / "r3v_losses").symlink_to(LOSSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    theirs = importlib.import_module("r3v_losses")
    assert theirs.LossInputs is not ours.LossInputs
    inputs = theirs.LossInputs(
        torch.tensor([-1.0, -3.0]), torch.tensor([0, 0]), torch.tensor([True, True]), torch.tensor([0]), torch.ones(1)
    )
    assert float(ours.reduce(theirs.nll(inputs))[0]) == 2.0
    assert float(theirs.reduce(ours.nll(inputs))[0]) == 2.0


@pytest.mark.slow
def test_the_wheel(bare: Path, tmp_path: Path) -> None:
    """Built from the tree, which stays as it was; the files of the folder and no others; works with torch alone."""
    before = sorted(LOSSES.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(LOSSES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sorted(LOSSES.rglob("*")) == before
    (wheel,) = tmp_path.glob("r3v_losses-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == {f"r3v_losses/{name}" for name in FILES}
        for name in FILES:
            assert archive.read(f"r3v_losses/{name}") == (LOSSES / name).read_bytes()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
        archive.extractall(tmp_path / "site")
    check_alone(tmp_path / "site", bare)
