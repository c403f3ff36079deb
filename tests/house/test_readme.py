"""The code blocks of README and tutorials run, their commands exist, and the places that the architecture names too."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
TEXT = "\n".join(path.read_text() for path in PAGES)
PYTHON = list(dict.fromkeys(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)))
SHELL = list(
    dict.fromkeys(
        line.strip()
        for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    )
)


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


def test_the_places_that_the_architecture_names_exist() -> None:
    """Every file in the tables of docs/architecture.md; those without a folder are in the room that their row names."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|yaml))`", text)
    assert len(named) > 20
    missing = [path for path in named if not any((ROOT / base / path).exists() for base in ("", "r3v"))]
    assert not missing, missing
    rooms = {path.name for path in (ROOT / "r3v").iterdir() if (path / "__init__.py").exists()}
    untold = [room for room in rooms if f"`{room}/`" not in text]
    assert not untold, f"rooms that the page does not name: {untold}"
