"""The wheel works outside the checkout: the command, the losses, the recipes and the shipped model are all in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from places import ROOT

from r3v.version import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = out.glob("*.whl")
    return path


def test_wheel_holds_every_package_and_no_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "r3v/records.py",
        "r3v/losses/contract.py",
        "r3v/recipes/geoworld_tiny.yaml",
        "r3v/checkpoints/geoworld-tiny/model.safetensors",
        "r3v/checkpoints/smolgeo/lora.safetensors",
        "r3v/data/geoworld/__init__.py",
        "r3v/py.typed",
    ):
        assert needed in names
    top = {name.split("/")[0] for name in names}
    assert {n for n in top if not n.endswith(".dist-info")} == {"r3v"}, "nothing may install beside r3v"
    # geoworld-tiny takes 8 MB; smolgeo's parts may take 34 (`MOST_BYTES` of the recipe that writes them)
    assert wheel.stat().st_size < 50 * 2**20


def test_every_python_file_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(p.relative_to(ROOT)) for p in (ROOT / "r3v").rglob("*.py")}
    expected |= {f"r3v/{p.relative_to(ROOT)}" for d in ("losses", "recipes") for p in (ROOT / d).rglob("*.py")}
    assert len(expected) > 40
    assert expected <= names, f"missing: {sorted(expected - names)}"


def test_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own and run from elsewhere; dependencies come from this environment."""
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)],
        check=True,
    )
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); "
        "sys.meta_path = [m for m in sys.meta_path if 'editable' not in getattr(m, '__name__', str(m)).lower()]; "
        "import r3v, r3v.losses; from r3v.losses import LOSSES; from r3v.app.cli import main; "
        "assert r3v.__file__.startswith(sys.path[0]) and r3v.losses.__file__.startswith(sys.path[0]); "
        "sys.argv = ['r3v', 'version']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert __version__ in done.stdout


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "r3v"), "version"], capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0
    assert done.stdout.strip() == f"r3v {__version__}"
