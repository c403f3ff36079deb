"""`r3v ui` over real HTTP on loopback: what is listed, a run in the middle of its fit, two runs compared, notebooks."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest
import scripted_run
from small_runs import small_run

from r3v.app.ui.compare import differing
from r3v.app.ui.curves import curves, thinned
from r3v.app.ui.folder import Root
from r3v.app.ui.pages import ago
from r3v.app.ui.server import make_app
from r3v.app.ui.standing import kind_of, standing
from r3v.curriculum.reinforce.config import ReinforceConfig
from r3v.curriculum.spiral.config import SpiralConfig
from r3v.errors import RunError
from r3v.io import write_json
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.run.core import locked
from r3v.serve.address import listen
from r3v.serve.hosting import Hosted
from r3v.settings.config import Config
from r3v.settings.tree import to_yaml

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


class Client:
    def __init__(self, root: str) -> None:
        self.root = root

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        asked = urllib.request.Request(self.root + path, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    def page(self, path: str) -> str:
        status, text = self.get(path)
        assert status == 200, text
        return text


@contextmanager
def serving(folder: Path, key: str | None = None) -> Iterator[Client]:
    with listen("127.0.0.1", 0) as bound:
        server = Hosted(make_app(Root.of(folder), key), bound, grace=1.0, most=64)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            while not server.ready:
                time.sleep(0.01)
            yield Client(server.root)
        finally:
            server.stop()
            thread.join(30)
            assert not thread.is_alive()


def row_of(text: str, name: str) -> str:
    """The line of a run in the list, without its tags."""
    found = next(
        row for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL) if f">{name}</a>" in row.replace("<wbr>", "")
    )
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found.replace("<wbr>", ""))).split())


FOUR = ("p1", "p2", "p3", "p4")


def right(*names: str) -> dict[str, bool]:
    return {name: name in names for name in FOUR}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a: half of four problems right, finished. b: three of four right after one of two rounds."""
    runs = tmp_path / "runs"
    small_run(runs / "a", [right("p1"), right("p1", "p2")])
    small_run(runs / "deep" / "b", [right("p1"), right("p1", "p2", "p3")], wanted=2, sample__k=5)
    return runs


def test_every_run_is_listed_with_where_it_stands(folder: Path) -> None:
    """Two of four: 50 %, Wilson interval 15.0 to 85.0 by hand."""
    with serving(folder) as client:
        text = client.page("/")
        assert "finished 1 of 1 50.0 15.0 to 85.0, n = 4" in row_of(text, "a")
        assert "stopped in round 2: sample 1 of 2 75.0" in row_of(text, "deep/b")
        assert re.findall(r"<option[^>]*>([^<]+)", text) == ["a", "deep/b"] * 2
        assert 'href="/run/deep/b"' in text
        assert 'http-equiv="refresh"' not in text, "nothing is in work"


def test_an_empty_folder_says_what_will_appear(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        text = client.page("/")
        assert "No runs here yet" in text
        assert "Compare" not in text
    with pytest.raises(RunError, match="no such folder"):
        Root.of(tmp_path / "none")


def test_a_run_in_the_middle_of_a_fit(folder: Path) -> None:
    """Round 2 has sampled and built; its fit has written two whole lines and is writing the third."""
    run = folder / "deep" / "b"
    place = run / "round_02"
    place.mkdir()
    write_json(place / "stages.json", {"sample": {"seconds": 1.0, "correct": 3}, "build": {"seconds": 1.0}})
    (place / "losses.csv").write_text("step,loss,lr\n1,2.5,0.1\n2,1.5,0.1\n3,0.")
    assert curves(run) == {"Loss": {"round 2": [2.5, 1.5]}}
    with serving(folder) as client:
        with locked(run):
            text = client.page("/")
            assert "round 2: fit in work" in row_of(text, "deep/b")
            assert 'http-equiv="refresh"' in text
            text = client.page("/run/deep/b")
            assert "Curves live" in text
            assert "Finished stages of round 2" in text
            assert "<polyline" in text
            assert 'http-equiv="refresh"' not in text, "who reads keeps the place"
            live = client.page("/run/deep/b/-/live")
            assert 'http-equiv="refresh" content="10"' in live
            assert "<polyline" in live
        assert "stopped in round 2: fit" in row_of(client.page("/"), "deep/b")


def test_looking_does_not_keep_a_run_from_starting(folder: Path) -> None:
    """The list is asked for again and again while the lock is taken and given back."""
    with serving(folder) as client:
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                client.get("/")

        watching = threading.Thread(target=look)
        watching.start()
        try:
            for _ in range(50):
                with locked(folder / "a"):
                    pass
        finally:
            stop.set()
            watching.join()


def test_two_runs_are_compared_on_the_problems_both_answered(folder: Path) -> None:
    """b has p3 more than a: 1 won, 0 lost of 4, +25 points; the sign test of one pair says p = 1."""
    with serving(folder) as client:
        text = client.page("/compare?a=a&b=deep/b")
        assert "On 4 problems that both were measured on" in text
        assert '<td class="">' not in text
        assert re.search(r"<td[^>]*>\+25\.0<small>0\.0 to \+75\.0; 1 won, 0 lost of 4, p 1</small>", text)
        fields = dict(re.findall(r'<th scope="row">([\w.<>]+)</th><td>[^<]*</td><td>([^<]*)</td></tr>', text))
        assert {name.replace("<wbr>", ""): value for name, value in fields.items()} == {
            "run.rounds": "2",
            "sample.k": "5",
        }
        assert client.get("/compare?a=a&b=none")[0] == 404
        assert client.get("/compare")[0] == 404


def test_problems_of_the_same_name_and_another_answer_are_not_paired(folder: Path) -> None:
    small_run(folder / "other", [right("p1")], gold="8")
    with serving(folder) as client:
        text = client.page("/compare?a=a&b=other")
        assert "They were measured on different problems" in text
        assert "4 problems of the same name have another answer" in text


def test_settings_that_differ() -> None:
    a = {"run": {"dir": "x", "rounds": 1}, "data": {"train": "t"}}
    b = {"run": {"dir": "y", "rounds": 2}, "new": {"field": None}}
    assert differing(a, b) == [("run.rounds", "1", "2"), ("data.train", "t", "-"), ("new.field", "-", "None")]


def test_a_real_run_is_shown_with_its_gallery_and_its_own_report_in_a_sandbox(tmp_path: Path) -> None:
    from r3v.pages.report import write_report

    scripted_run.run(tmp_path / "real", rounds=1, n=4, selectors=("greedy", "fused"))
    write_report(tmp_path / "real")
    with serving(tmp_path) as client:
        text = client.page("/run/real")
        for part in ("Accuracy by round and selector", "Problems", "gold answer", "Settings of the run"):
            assert part in text
        assert "data:image" not in text, "pictures lie where the settings say, which is not in the folder"
        answer = urllib.request.urlopen(f"{client.root}/run/real/-/report", timeout=60)
        with answer:
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            assert b"data:image/png" in answer.read()


def test_a_notebook_is_read_and_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "my.notes"
    with Notebook.open(file, create=True) as nb:
        note = Note(id="bars", subject="<b>axes</b>", guidance="Read the axis.", images=(nb.put_blob(PNG),))
        nb.commit([note], message="first", author="g", receipt={"wins": 3, "losses": 1, "reason": "better"})
    before = file.read_bytes()
    with serving(tmp_path) as client:
        assert "1 note" in row_of(client.page("/"), "my.notes")
        listed = client.page("/notebook/my.notes/-/")
        assert "3 won, 1 lost" in listed
        assert "&lt;b&gt;axes" in listed
        to = re.search(r'href="(/notebook/my.notes/-/note[^"]*)"', listed)
        assert to
        page = client.page(unescape(to[1]))
        assert "Read the axis." in page
        assert 'method="post"' not in page + client.page("/notebook/my.notes/-/log")
        source = re.search(r'src="([^"]+)"', page)
        assert source
        with urllib.request.urlopen(client.root + unescape(source[1]), timeout=60) as answer:
            assert answer.read() == PNG
        assert client.get("/notebook/my.notes/-/edit?id=bars")[0] == 404
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["my.notes"]


def test_a_run_links_to_the_notebook_it_learned(folder: Path) -> None:
    place = folder / "a" / "round_01" / "note"
    place.mkdir()
    with Notebook.open(place / "notebook.db", create=True) as nb:
        nb.commit([Note(id="n", subject="s", guidance="g")], message="m", author="a")
    with serving(folder) as client:
        to = re.search(r'href="([^"]+)">Notebook 1<', client.page("/run/a"))
        assert to
        assert "1 of 1 note" in client.page(to[1])


def test_a_notebook_with_strange_events_is_no_fault_of_the_server(tmp_path: Path) -> None:
    with Notebook.open(tmp_path / "odd.notebook", create=True) as nb:
        note = Note(id="n", subject="s", guidance="g")
        nb.commit([note], message="m", author="a", receipt={"wins": "x", "losses": None, "ci95": 3, "reason": 5})
        nb.record("retrieved", note="n", revision=note.revision, outcome=["list"], withheld={})
    with serving(tmp_path) as client:
        assert "odd.notebook" in client.page("/")
        for page in ("", "note?id=n", "log", "commit?id=head", "note?id=none", "blob?sha=0", "note"):
            assert client.get(f"/notebook/odd.notebook/-/{page}")[0] in (200, 422), page


def test_the_command_serves_until_it_is_told_to_stop(folder: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-m", "r3v.app.cli", "ui", str(folder), "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address, said
        try:
            while True:  # the address is told when the socket is bound, a moment before it is answered at
                try:
                    assert "deep/b" in Client(address[0]).page("/")
                    break
                except urllib.error.URLError:
                    assert process.poll() is None
                    time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "stopped" in process.stderr.read()


def test_kinds_are_told_by_the_settings(tmp_path: Path) -> None:
    import yaml

    run = small_run(tmp_path / "r", [right()])
    kinds = [kind_of(run, yaml.safe_load(to_yaml(c))) for c in (Config(), SpiralConfig(), ReinforceConfig())]
    assert kinds == ["reflection", "evolve", "reinforce"]
    text = to_yaml(ReinforceConfig())
    (run / "config.yaml").write_text(text.replace("iterations: 40", "iterations: 25"))
    assert standing(Root.of(tmp_path), run).rounds == "0 of 3", "25 iterations in blocks of 10"


def test_logs_are_read_over_resumed_versions(tmp_path: Path) -> None:
    """The second version repeats step 2 and goes on; the two lines of a round have no loss."""
    for number, rows in ((0, "1,0.5,\n2,0.4,\n2,,0.7\n"), (1, "2,0.3,\n3,0.2,\n4,0.")):
        place = tmp_path / "logs" / "csv" / f"version_{number}"
        place.mkdir(parents=True)
        (place / "metrics.csv").write_text(f"step,train/loss,gate/greedy\n{rows}")
    assert curves(tmp_path) == {"Loss": {"loss": [0.5, 0.3, 0.2]}}


def test_steps_of_learners_are_found_below_a_spiral(tmp_path: Path) -> None:
    """`reinforce` of iteration 2 is a run of its own; its last line of iterations is being written."""
    place = tmp_path / "round_02" / "reinforce"
    place.mkdir(parents=True)
    (place / "steps.csv").write_text("step,iteration,loss\n1,1,0.5\n2,1,nan\n3,2,0.25\n")
    (place / "iterations.jsonl").write_text('{"reward": 0.5, "accuracy": 0.25}\n{"reward": 0.7')
    other = tmp_path / "round_01" / "reflect" / "round_03"
    other.mkdir(parents=True)
    (other / "losses.csv").write_text("step,loss,lr\n1,2.0,0.1\n")
    assert curves(tmp_path) == {
        "Loss": {"iteration 1, round 3": [2.0], "iteration 2": [0.5, 0.25]},
        "Reward": {"iteration 2": [0.5]},
        "Share of right answers": {"iteration 2": [0.25]},
    }


def test_long_lines_are_thinned_to_means() -> None:
    values, each = thinned([float(i) for i in range(1000)])
    assert (len(values), each, values[:2]) == (334, 3, [1.0, 4.0])
    assert thinned([1.0, 2.0]) == ([1.0, 2.0], 1)


def test_times() -> None:
    assert [ago(s) for s in (3, 59, 60, 7200, 90000)] == [
        "just now", "59 s ago", "1 min ago", "2 h ago", "1 d ago"
    ]  # fmt: skip
