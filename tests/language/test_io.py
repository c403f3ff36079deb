"""Files that are whole or absent; places where nothing can be written are told, not traced back."""

from __future__ import annotations

from pathlib import Path

import pytest

from r3v.app.cli import main
from r3v.errors import RunError
from r3v.io import atomic_dir, atomic_write, make_folder, write_json


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(FileNotFoundError), atomic_dir(tmp_path / "d") as folder:
        (folder / "half").write_bytes((tmp_path / "nothing").read_bytes())
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_files_have_the_rights_of_any_other_file(tmp_path: Path) -> None:
    """Colleagues may read a run as they may read what an editor saves."""
    (tmp_path / "plain").write_text("x")
    (tmp_path / "folder").mkdir()
    write_json(tmp_path / "a.json", {})
    with atomic_dir(tmp_path / "d") as folder:
        (folder / "x").write_text("x")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "d").stat().st_mode == (tmp_path / "folder").stat().st_mode


@pytest.mark.parametrize("place", ["file/x", "file/x/y"])
def test_a_file_in_the_way_of_a_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        atomic_write(tmp_path / place, "x")
    with pytest.raises(RunError, match="cannot be written"), atomic_dir(tmp_path / place):
        pass
    with pytest.raises(RunError, match="cannot be written"):
        make_folder(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_way_of_a_file_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        atomic_write(tmp_path / "folder", "x")
    with pytest.raises(RunError, match="found a file, expected a folder"), atomic_dir(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"
    assert list(tmp_path.glob(".*")) == []


def test_a_read_only_place_is_an_error_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/x"):
        command = ["data", "make", "geoworld", "--n", "2", "--split", "test", "--out", str(tmp_path / out)]
        assert main(command) == 2
    errors = capsys.readouterr().err
    assert errors.count("r3v: error: ") == 2
    assert "Traceback" not in errors
