"""The commands with which people read and change a notebook."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from r3v.app.commands.notebook_store import register
from r3v.app.parser import Parser
from r3v.errors import ConfigError, DataError, R3VError, RunError
from r3v.notebook.page.server import Server
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

PAGE = """---
id: {id}
---
# Bars

## Guidance

{guidance}
"""

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("R3V_AUTHOR", "ann")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", "--json")` runs the command on the test's notebook and returns what it printed."""
    parser = Parser()
    register(parser.add_subparsers(dest="command", required=True))

    def call(name: str, *words: str, code: int = 0) -> str:
        args = parser.parse_args([name, str(tmp_path / "my.notebook"), *words])
        assert not args.takes_fields
        assert args.handler(args, []) == code
        return capsys.readouterr().out

    return call


def page(tmp_path: Path, name: str, guidance: str = "Read the axis.") -> str:
    path = tmp_path / f"{name}.md"
    path.write_text(PAGE.format(id=name, guidance=guidance))
    return str(path)


def opened(tmp_path: Path) -> Notebook:
    return Notebook.open(tmp_path / "my.notebook")


def test_a_note_is_added_shown_edited_and_blamed(run: Run, tmp_path: Path) -> None:
    assert "ann  add bars" in run("add", "--from", page(tmp_path, "bars"))
    assert run("list") == "bars  Bars\n"
    assert "ann  longer" in run(
        "edit", "bars", "--from", page(tmp_path, "bars", "Read the axis.\nTwice."), "-m", "longer"
    )
    shown = run("show", "bars")
    assert "## Guidance\n\nRead the axis.\nTwice.\n" in shown
    assert shown.index("longer") < shown.index("add bars")
    assert "events: edited 2" in shown
    with opened(tmp_path) as notebook:
        note = notebook.notes()["bars"]
        first, second = notebook.log()[1].hash, notebook.head()
        assert note.author == "ann"
        assert note.parents == (notebook.notes(first)["bars"].revision,)
        assert [e.data["commit"] for e in notebook.events("edited", note="bars")] == [first, second]
    blamed = run("blame", "bars").splitlines()
    assert [line.split()[0] for line in blamed if "guidance" in line] == [first[:12], second[:12]]
    assert "+guidance: Twice." in run("diff")
    assert run("diff", "head", "head") == ""


def test_the_editor_gets_the_page_and_its_text_is_committed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "--from", page(tmp_path, "bars"))
    monkeypatch.setenv("EDITOR", "sed -i 's/axis/legend/'")
    assert "edit bars" in run("edit", "bars")
    assert json.loads(run("show", "bars", "--json"))["guidance"] == "Read the legend."
    assert run("edit", "bars") == "", "the second time sed finds nothing to change"
    monkeypatch.setenv("EDITOR", "sed -i 's/^# .*/# Circles/'")
    run("add")
    assert [note["subject"] for note in json.loads(run("list", "--json"))] == ["Bars", "Circles"]


def test_what_was_typed_is_kept_when_it_does_not_fit(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "--from", page(tmp_path, "bars"))
    monkeypatch.setenv("EDITOR", "sed -i 's/## Guidance/## Wisdom/'")
    with pytest.raises(RunError, match=r"found section 'Wisdom'.*\n.*Your text is in (.*\.md);") as error:
        run("edit", "bars")
    kept = Path(str(error.value).split("Your text is in ")[1].split(";")[0])
    assert "## Wisdom\n\nRead the axis." in kept.read_text()
    kept.write_text(kept.read_text().replace("Wisdom", "Guidance").replace("axis", "scale"))
    assert "edit bars" in run("edit", "bars", "--from", str(kept))
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(ConfigError, match="ended with code 1; nothing was committed"):
        run("edit", "bars")
    monkeypatch.setenv("EDITOR", "no-such-editor")
    with pytest.raises(ConfigError, match="cannot be started"):
        run("edit", "bars")


def test_an_edit_made_meanwhile_is_not_overwritten(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "--from", page(tmp_path, "bars"))

    def slow_editor(text: str, name: str) -> str:
        with opened(tmp_path) as other:
            other.commit([Note(id="bars", subject="B", guidance="theirs")], message="m", author="bob")
        return text.replace("axis", "mine")

    monkeypatch.setattr("r3v.app.commands.notebook_actions.run_editor", slow_editor)
    with pytest.raises(RunError, match="was changed meanwhile"):
        run("edit", "bars")
    with opened(tmp_path) as notebook:
        assert notebook.notes()["bars"].guidance == "theirs"


def test_a_page_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PAGE.format(id="x", guidance="g")))
    run("add", "--from", "-", "--author", "bob")
    assert json.loads(run("log", "--json"))[0]["author"] == "bob"


def test_retire_and_restore(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run("add", "--from", page(tmp_path, name))
    assert "retire a, b" in run("retire", "a", "b")
    assert run("list") == ""
    assert run("list", "--retired") == "a  Bars  (retired)\nb  Bars  (retired)\n"
    with pytest.raises(DataError, match="already retired"):
        run("retire", "a")
    assert "restore b" in run("retire", "b", "--restore")
    assert run("list") == "b  Bars\n"


def test_log_tag_branch_rollback_revert(run: Run, tmp_path: Path) -> None:
    run("add", "--from", page(tmp_path, "a"))
    assert run("tag", "v1").startswith("v1 is ")
    assert run("branch", "try", "--at", "v1").startswith("try is ")
    run("add", "--from", page(tmp_path, "b"), "--ref", "try")
    assert run("list") == "a  Bars\n"
    assert run("list", "--ref", "try") == "a  Bars\nb  Bars\n"
    run("add", "--from", page(tmp_path, "c"))
    assert "undoes this" in run("rollback", "v1")
    assert run("list") == "a  Bars\n"
    assert [row["message"] for row in json.loads(run("log", "--json"))] == ["add a", "new notebook"]
    assert len(run("log", "--all").splitlines()) == 7
    assert "(head, v1)" in run("log")
    assert run("log", "--note", "a", "-n", "1").splitlines()[1] == "    + a"
    assert "rollback to v1" in run("log", "--moves", "-n", "1")
    assert len(json.loads(run("log", "--moves", "--json"))) == 7
    assert run("tag").startswith("v1  ")
    assert [line.split()[0] for line in run("branch").splitlines()] == ["head", "try"]
    assert "dropped try" in run("branch", "try", "--drop")
    assert "revert" in run("revert", "head")
    assert run("list") == ""
    assert "every hash fits" in run("verify")


def test_verify_says_what_is_wrong_and_returns_1(run: Run, tmp_path: Path) -> None:
    run("add", "--from", page(tmp_path, "a"))
    with opened(tmp_path) as notebook:
        notebook._rows("DROP TRIGGER commits_no_update")
        notebook._rows("UPDATE commits SET author = 'eve' WHERE parent IS NOT NULL")
    found = run("verify", code=1)
    assert "does not match its hash" in found
    assert "commits_no_update" in found


def test_export_import_and_stats(run: Run, tmp_path: Path) -> None:
    run("add", "--from", page(tmp_path, "a"))
    out = str(tmp_path / "out")
    assert "1 notes of" in run("export", out)
    text = (tmp_path / "out/notes/a.md").read_text()
    (tmp_path / "out/notes/a.md").write_text(text.replace("axis", "scale"))
    assert "0 added, 1 changed" in run("import", out)
    assert "1 notes of" in run("export", out, "--format", "jsonl")
    assert json.loads((tmp_path / "out/notes.jsonl").read_text())["guidance"] == "Read the scale."
    assert not (tmp_path / "out/notes/a.md").exists()
    assert "nothing to commit" in run("import", out)
    found = json.loads(run("stats", "--json"))
    assert (found["notes"], found["revisions"], found["commits"], found["events"]) == (1, 2, 3, {"edited": 2})
    assert "notes      1\n" in run("stats")
    with opened(tmp_path) as notebook:
        assert verify(notebook) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "bar"), "no note 'bar' in head; did you mean 'bars'"),
        (("blame", "x"), "no note 'x'"),
        (("edit", "x"), "no note 'x'"),
        (("retire", "x"), "no note 'x'"),
        (("list", "--ref", "x"), "no ref or commit 'x'"),
        (("log", "--ref", "x"), "no ref or commit 'x'"),
        (("log", "-n", "-1"), "found -n -1, expected a whole number of at least 1"),
        (("revert", "head~1"), "is the first commit"),
        (("rollback", "v9"), "no ref or commit 'v9'"),
        (("tag", "head"), "already"),
        (("tag", "head", "--drop"), "no tag 'head'"),
        (("tag", "--drop"), "without a name"),
        (("export", "out", "--format", "csv"), "expected one of markdown, jsonl"),
        (("import", "nowhere"), "no such file or folder"),
        (("add", "--from", "nowhere.md"), "cannot be read"),
    ],
)
def test_mistakes_are_told_and_change_nothing(run: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    run("add", "--from", page(tmp_path, "bars"))
    with pytest.raises(R3VError, match=said):
        run(*words)
    with opened(tmp_path) as notebook:
        assert len(notebook.all_commits()) == 2


def test_the_same_id_is_not_added_twice(run: Run, tmp_path: Path) -> None:
    run("add", "--from", page(tmp_path, "bars"))
    with pytest.raises(DataError, match="already"):
        run("add", "--from", page(tmp_path, "bars", "other"))
    with pytest.raises(DataError, match="expected 'bars'"):
        run("edit", "bars", "--from", page(tmp_path, "cars"))


def test_commands_need_an_existing_notebook(run: Run) -> None:
    with pytest.raises(RunError, match="no such notebook"):
        run("list")


def test_ui_prints_its_address_and_ends_on_ctrl_c(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def serve(self: Server) -> None:
        seen.append(self.site.author)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", serve)
    run("add", "--from", page(tmp_path, "a"))
    assert "http://127.0.0.1:" in run("ui", "--port", "0")
    assert "/?token=abc " in run("ui", "--port", "0", "--token", "abc", "--author", "bob")
    assert seen == ["ann", "bob"]
