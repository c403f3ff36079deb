"""The README's code blocks run, its commands exist, and its file map is the tree."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


def test_there_are_blocks_to_run() -> None:
    assert len(PYTHON) >= 4
    assert len(SHELL) >= 8


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_block_runs(code: str, tmp_path: Path) -> None:
    """Each block runs on its own in an empty folder, as a user would paste it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _make(line: list[str]) -> None:
    done = subprocess.run(["make", "-n", *line[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _r3v(line: list[str], tmp_path: Path) -> None:
    """`train` runs dry; everything else runs as written, with what it writes moved to a temporary folder.

    The Qwen recipes want torchvision and are dry-run in test_recipes.py; here their settings are read.
    """
    if line[1] == "train" and "qwen" in line[2]:
        line = [*line, "--print_config"]
    elif line[1] == "train":
        line = [*line, "--dry-run", "--run.dir", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "r3v.app.cli", *line[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]


@pytest.mark.parametrize("command", SHELL)
def test_shell_line_runs(command: str, tmp_path: Path) -> None:
    line = shlex.split(command.split("#")[0])
    if line[0] == "make":
        _make(line)
    elif line[0] == "r3v":
        if any(word.startswith(("RUN", "NAME", "DIR")) for word in line):
            pytest.fail(f"a placeholder cannot run: {command}")
        line = [word.replace("OUT/", f"{tmp_path}/") for word in line]
        missing = [w for w in line if "../shared/data" in w and not (ROOT.parent / "shared" / "data").is_dir()]
        if missing:
            pytest.skip(f"real data not found beside the checkout: {missing[0]}")
        _r3v(line, tmp_path)
    elif line[:4] == ["python", "-m", "pip", "install"] or line[:2] == ["pip", "install"]:
        extras = set(re.findall(r"\[([a-z,]+)\]", command))
        declared = set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
        assert {e for group in extras for e in group.split(",")} <= declared
    elif line[:2] == ["python", "-m"]:
        done = subprocess.run([sys.executable, "-m", line[2], "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1000:]
    else:
        pytest.fail(f"no rule how to try this line: {command}")


def test_the_file_map_is_the_tree() -> None:
    """Every path in the map exists, and every Python module outside tests is in it."""
    section = README.split("## File map")[1].split("\n## ")[0]
    named = set(re.findall(r"^\s*([\w./-]+\.(?:py|yaml|md|toml|cfg)|[\w./-]+/|Makefile)", section, re.MULTILINE))
    mapped = {path.rstrip("/") for path in named}
    missing = [path for path in mapped if not (ROOT / path).exists()]
    assert not missing, f"in the map but not in the tree: {missing}"
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    files = [f for f in files if f.split("/")[0] in {"r3v", "losses", "recipes"} and not f.endswith("__init__.py")]
    assert len(files) > 40
    left_out = [f for f in files if f not in mapped and not any(f.startswith(d + "/") for d in mapped)]
    assert not left_out, f"in the tree but not in the map: {left_out}"
