"""What `r3v ui` must not do: read outside its folder, fall over what a run left half written, answer strangers."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import small_run
from test_ui import folder, right, row_of, serving

from r3v.app.ui.folder import Missing, Root
from r3v.errors import ConfigError, RunError
from r3v.serve.address import has_key, key_of, names_this_machine

__all__ = ["folder"]
SECRET = "the-secret-outside"


def raw(root: str, request: str) -> str:
    """The answer to exactly these bytes: clients would mend the path."""
    host, port = root.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(f"{request}\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def test_no_path_leads_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    small_run(outside / "run", [right("p1")])
    (outside / "run" / "report.html").write_text(SECRET)
    (folder.parent / "secret.txt").write_text(SECRET)
    (folder / "link").symlink_to(outside / "run")
    (folder / "a" / "report.html").symlink_to(folder.parent / "secret.txt")
    names = [
        "../outside/run", "a/../../outside/run", "%2e%2e/outside/run", "..%2foutside%2frun", "%252e%252e/outside/run",
        "/etc", "//etc/passwd", f"/{outside}/run", "link", "a%00", "a/.lock", ".", "", "a/round_00", "%ff", "a" * 5000,
    ]  # fmt: skip
    with serving(folder) as client:
        for name in names:
            for path in (f"/run/{name}", f"/run/{name}/-/report", f"/run/{name}/-/diagnosis?round=-1",
                         f"/notebook/{name}/-/", f"/compare?a={name}&b={name}"):  # fmt: skip
                answer = raw(client.root, f"GET {path} HTTP/1.1")
                assert answer.split()[1] in ("404", "400", "422", "403"), (path, answer[:300])
                assert SECRET not in answer
        text = client.page("/")
        assert "outside" not in text.replace("a link to outside the folder", "")
        assert "a link to outside the folder, which is not followed" in row_of(text, "a")
        assert "not followed" in client.page("/run/a")
        assert client.get("/run/a/-/report")[0] == 422
        assert client.get("/compare?a=a&b=deep/b")[0] == 422


@pytest.mark.parametrize("name", ["..", "a/..", "/etc", "", ".", "a/.lock", "none", "a\0b", "x" * 300])
def test_names_that_are_none(folder: Path, name: str) -> None:
    with pytest.raises(Missing):
        Root.of(folder).inside(name)


def test_a_folder_of_many_files_is_not_walked_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four entries: a, deep, deep/b and z; with a budget of two, deep/b is not reached."""
    small_run(folder / "z", [right("p1")])
    assert [Root.of(folder).name_of(path) for path in Root.of(folder).runs()] == ["a", "deep/b", "z"]
    monkeypatch.setattr("r3v.app.ui.folder.MOST_ENTRIES", 2)
    assert [Root.of(folder).name_of(path) for path in Root.of(folder).runs()] == ["a"]
    assert Root.of(folder).look(folder / "a").wrong == "more than 2 files"


def damage(path: str, text: str) -> Callable[[Path], None]:
    def do(run: Path) -> None:
        (run / path).write_text(text)

    return do


def gone(path: str) -> Callable[[Path], None]:
    return lambda run: (run / path).unlink()


def pipe(run: Path) -> None:
    os.mkfifo(run / "round_00" / "more.json")


BROKEN = [
    (damage("run.json", '{"half'), "run.json is no JSON"),
    (damage("run.json", "[]"), "run.json holds no object"),
    (damage("run.json", '{"rounds": 3, "accepted_round": "x"}'), "damaged or of another version"),
    (damage("run.json", '{"rounds": [], "accepted_round": 7}'), "round_07/report.json is missing"),
    (damage("round_01/report.json", '{"gate": {}}'), "damaged or of another version (KeyError"),
    (
        damage("round_01/report.json", '{"gate": {"greedy": {"accuracy": 1}}}'),
        "damaged or of another version (KeyError",
    ),
    (damage("config.yaml", "a: [1"), "config.yaml is no YAML"),
    (damage("config.yaml", "- 1"), "config.yaml holds no settings"),
    (damage("config.yaml", "run: {rounds: many}"), "damaged or of another version"),
    (damage("round_01/eval.parquet", "no parquet"), ""),
    (gone("run.json"), "run.json is missing"),
    (gone("round_01/report.json"), "round_01/report.json is missing"),
    (gone("round_01/eval.parquet"), ""),
    (gone("config.yaml"), "no settings"),
    (pipe, "neither a file nor a folder"),
]


def test_broken_runs_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for number, (do, _) in enumerate(BROKEN):
        do(small_run(runs / f"r{number:02d}", [right("p1"), right("p2")]))
    (runs / "begun").mkdir()
    (runs / "begun" / ".lock").write_text("")
    os.mkdir(os.fsencode(runs) + b"/no\xfftext")
    (runs / os.fsdecode(b"no\xfftext") / "diagnosis.json").write_text("{}")
    (runs / "<script>x").mkdir()
    (runs / "<script>x" / "diagnosis.json").write_text("{}")
    (runs / "not a notebook").write_bytes(
        b"SQLite format 3\0" + b"\0" * 52 + 0x72337662.to_bytes(4, "big") + b"\0" * 99
    )
    with serving(runs) as client:
        text = client.page("/")
        assert "<script>" not in text
        for number, (_, told) in enumerate(BROKEN):
            name = f"r{number:02d}"
            assert told in row_of(text, name), (name, row_of(text, name))
            status, page = client.get(f"/run/{name}")
            assert status == 200
            assert name in page
            assert client.get(f"/run/{name}/-/live")[0] in (200, 422)
            assert client.get(f"/compare?a={name}&b={name}")[0] in (200, 422)
        assert "finished run.json is no JSON" in row_of(text, "r00").replace("r00/", ""), "what is known is shown"
        assert "never began" in row_of(text, "begun")
        assert "checks had passed" in client.page("/run/begun")
        assert client.get("/run/%3Cscript%3Ex")[0] in (200, 422)
        assert client.get("/notebook/not%20a%20notebook/-/")[0] == 422
        assert client.get("/")[0] == 200, "and the server goes on"


def test_strangers_are_turned_away(folder: Path) -> None:
    with serving(folder) as client:
        assert client.get("/", Host="evil.example")[0] == 403
        for method in ("POST", "PUT", "DELETE"):
            assert raw(client.root, f"{method} / HTTP/1.1").split()[1] == "405"
    with serving(folder, key="s3cret") as client:
        assert client.get("/")[0] == 401
        assert client.get("/run/a", Authorization="Basic " + base64.b64encode(b"me:wrong").decode())[0] == 401
        assert client.get("/", Authorization="Basic " + base64.b64encode(b"me:s3cret").decode())[0] == 200
        assert client.get("/", Authorization="Bearer s3cret")[0] == 200


def test_who_may_come_in() -> None:
    assert [names_this_machine(h) for h in ("127.0.0.1:80", "localhost", "[::1]:1", "a.b", "", "[")] == [True] * 3 + [
        False
    ] * 3
    assert not any(has_key(given, "k") for given in ("", "k", "Basic k", "Basic aw==", "Basic é", "Digest k", "Bearer"))
    assert key_of("127.0.0.1", "") is None
    with pytest.raises(ConfigError, match=r"found --host 0\.0\.0\.0 without a key"):
        key_of("0.0.0.0", "")


def test_a_run_is_not_taken_for_a_folder_of_runs(folder: Path) -> None:
    with pytest.raises(RunError, match=r"found a run, expected the folder it lies in: r3v ui .*runs"):
        Root.of(folder / "a")
