"""GeoQA put together from small fakes of its public parts: the joining rules, and a loopback server in place of the
web."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from data_files import png

from r3v.data import load
from r3v.data.geoqa.join import Asked, Drawn, drawn, in_order, join_test, join_training, letters, training, value
from r3v.data.geoqa.make import JOIN, make
from r3v.data.geoqa.sources import FIGURES, TEST, TRAIN, Part
from r3v.errors import DataError


def test_letters_of_both_spellings_are_equal() -> None:
    english = "<image>Calculation: As shown , in triangle A B C , angle B = 80.0 , D E parallel B C , then ()"
    template = "As shown, in △ABC, ∠B = N_0, DE ∥ BC, then ()"
    assert letters(english) == letters(template) == "asshownintriangleabcangleb#deparallelbcthen"


def test_values() -> None:
    """FormalGeo writes answers as expressions; "None" is an option that could not be read."""
    assert [value(text) for text in ("40", "3/2", "2*sqrt(4)", "None")] == [40.0, 1.5, 4.0, None]
    assert value("sqrt(3)/2") == pytest.approx(0.8660254)
    assert value("2*pi") == pytest.approx(6.2831853)


def test_the_order_decides_between_equal_texts() -> None:
    """Numbers as text: 10 < 11 < 12 < 2 < 30. Row 1 fits 11 and 2; its neighbours are 10 and 12, so it is 11. Row 4
    fits 10 alone, which would be a new run for one pair (it costs 20): it is left out."""
    order = {10: 0, 11: 1, 12: 2, 2: 3, 30: 4}
    pairs = [(0, 10, 1.0), (1, 2, 1.0), (1, 11, 1.0), (2, 12, 1.0), (3, 2, 1.0), (4, 10, 1.0), (5, 30, 1.0)]
    assert in_order(pairs, order) == {0: 10, 1: 11, 2: 12, 3: 2, 5: 30}
    assert in_order([], order) == {}


def test_a_new_run_needs_more_pairs_than_it_costs() -> None:
    """22 rows in order, then 22 from the start again: 44 - 20 for both runs, 22 for one."""
    order = {number: number for number in range(30)}
    pairs = [(row, row % 22, 1.0) for row in range(44)]
    assert in_order(pairs, order) == {row: row % 22 for row in range(44)}


def test_like_texts_join_between_neighbours_alone() -> None:
    """Row 1 reads almost as 5 does, whose answer is equal, and stands between 4 and 6; row 3 reads as 9 does, whose
    answer is another one."""
    said = {4: "afirstquestion", 5: "anangleabcissecondquestion", 6: "athirdquestion", 9: "alastquestionofall"}
    drawings = {number: Drawn(text, frozenset({7.0}), float(number)) for number, text in said.items()}
    rows = [
        Asked("afirstquestion", frozenset({7.0}), 4.0),
        Asked("anangleabcisasecondquestion", frozenset({7.0}), 5.0),
        Asked("athirdquestion", frozenset(), 6.0),
        Asked("alastquestionofall", frozenset(), 8.0),
    ]
    assert join_training(rows, drawings) == {0: 4, 1: 5, 2: 6}
    strange = [replace(rows[0], numbers=frozenset({3.0})), *rows[1:]]
    assert join_training(strange, drawings) == {2: 6}, "3 does not stand in the original, and row 1 has one neighbour"


def test_test_problems_join_by_number_where_answers_are_equal() -> None:
    record = {"choice_numbers": [1.0, 1.99, None, 4.0], "label": 1}
    drawings = {3: Drawn("x", frozenset(), 2.0), 4: Drawn("x", frozenset(), 3.0), 5: Drawn("x", frozenset(), None)}
    tests = {"3": record, "4": record, "5": record, "6": record, "7": {**record, "label": 2}}
    assert join_test(tests, drawings) == [3]


# ------------------------------------------------------------------------------------------------ the parts as files


def ask(number: int) -> dict[str, Any]:
    user = f"<image>Calculation: angle {number} of A B C is ()\nChoices:\n(A) {number}.0\n(B) 1.0\n(C) 2.0\n(D) 3.0"
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": "Answer: \nA"}]
    return {"messages": turns, "images": ["/home/somebody/train-0.png"]}


def figure(number: int, source: str) -> dict[str, Any]:
    return {
        "problem_id": 100 + number, "source": source, "problem_answer": str(number),
        "problem_text_en": "∠N_0 of ABC is ()", "problem_text_cn": f"∠{number}是()",
    }  # fmt: skip


def files() -> dict[str, bytes]:
    """Training problems 10 to 12, test problem 20, and a second series with number 11."""
    problems = [figure(n, f"GeoQA-{n}") for n in (10, 11, 12, 20)]
    problems += [figure(30, "GeoQA-angle-11"), figure(31, "Geometry3k-5")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for problem in problems:
            name = problem["problem_id"]
            _add(tar, f"FormalGeo-e0d/data/problems/{name}.json", json.dumps(problem).encode())
            _add(tar, f"FormalGeo-e0d/data/images/{name}.png", png(name))
        _add(tar, "FormalGeo-e0d/../../evil.png", b"no")
        _add(tar, "FormalGeo-e0d/data/images/notes.txt", b"no")
    record = {"problem": "angle N_0 is ()", "numbers": [20.0], "choice_numbers": [20.0, 1.0, 2.0, 3.0], "label": 0}
    return {
        TRAIN.name: json.dumps([ask(10), ask(11), ask(12), ask(99)]).encode(),
        TEST.name: json.dumps({"20": record, "21": record}).encode(),
        FIGURES.name: buffer.getvalue(),
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def pinned(contents: dict[str, bytes]) -> tuple[Part, ...]:
    """The parts with the hashes of the fakes; the listing is not pinned."""
    named = [replace(part, sha256=hashlib.sha256(contents[part.name]).hexdigest()) for part in (TRAIN, TEST)]
    return (*named, replace(FIGURES, listing=None))


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """(address, what stands where, the paths asked for)."""
    served: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = served.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", served, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_from_the_web_to_problems(web, tmp_path: Path) -> None:
    address, served, asked = web
    contents = files()
    parts = pinned(contents)
    served |= {part.url("", ""): contents[part.name] for part in parts}
    out = tmp_path / "geoqa"
    made = make(out, parts=parts, raw=address, archives=address, expected="", bar=False)
    assert (made.train, made.test, made.pictures) == (3, 1, 5)
    assert asked == [
        f"/Liac-li/MM-self-improve-qwen2vl/{TRAIN.commit}/LLaMA-Factory/data/geoqa_train_base.json",
        f"/NeuraSearch/Geometry-Diagram-Description/{TEST.commit}/eval_llms/datas/unigeo/UniGeo_CAL_test.json",
        f"/BitSecret/FormalGeo/tar.gz/{FIGURES.commit}",
    ]
    rows = [json.loads(line) for line in (out / JOIN).read_text().splitlines()]
    named = [(row["split"], row["geoqa_id"], row["problem_id"]) for row in rows]
    assert named == [("train", 10, 110), ("train", 11, 111), ("train", 12, 112), ("test", 20, 120)]
    assert "somebody" not in (out / JOIN).read_text()
    assert sorted(p.name for p in out.iterdir()) == ["SOURCE.json", "formalgeo_raw_text.jsonl", "images", JOIN]
    assert (out / "images" / "130.png").is_file(), "the second series has pictures too"
    (problem,) = load(f"geoqa:{out}?split=test")
    assert (problem.id, problem.question, problem.gold_text) == ("geoqa-test-20", "angle 20 is ()", "20")
    assert not (tmp_path / "evil.png").exists()

    again = make(out, parts=parts, raw=address, archives=address, expected=made.sha256, bar=False)
    assert again == made
    assert len(asked) == 3, "nothing is fetched twice"
    with pytest.raises(DataError, match="another version"):
        make(out, parts=parts, expected="0" * 64)


def test_a_part_that_is_not_the_pinned_one_is_not_kept(web, tmp_path: Path) -> None:
    address, served, _ = web
    contents = files()
    parts = pinned(contents)
    served |= {part.url("", ""): contents[part.name] for part in parts}
    served[parts[1].url("", "")] = b"{}"
    out = tmp_path / "geoqa"
    with pytest.raises(DataError, match=r"UniGeo_CAL_test.json.*found sha256 44136fa.*expected"):
        make(out, parts=parts, raw=address, archives=address, expected="", bar=False)
    assert sorted(path.name for path in (out / ".parts").iterdir()) == [TRAIN.name]
    served[parts[1].url("", "")] = contents[TEST.name]
    listed = (*parts[:2], replace(FIGURES, listing="0" * 64))
    with pytest.raises(DataError, match="found 12 files whose hashes"):
        make(out, parts=listed, raw=address, archives=address, expected="", bar=False)
    assert make(out, parts=parts, raw=address, archives=address, expected="", bar=False).train == 3


def test_no_network_is_told_with_what_to_do(web, tmp_path: Path) -> None:
    address, _, _ = web
    with pytest.raises(DataError, match=r"cannot be downloaded \(Not Found\).*--from FOLDER"):
        make(tmp_path / "a", raw=address, archives=address, bar=False)


def test_from_a_folder(tmp_path: Path) -> None:
    contents = files()
    held = tmp_path / "parts"
    held.mkdir()
    for name, data in contents.items():
        (held / name).write_bytes(data)
    assert make(tmp_path / "geoqa", held, parts=pinned(contents), expected="").test == 1
    (held / FIGURES.name).write_bytes(contents[FIGURES.name][:200])
    with pytest.raises(DataError, match="not a whole archive"):
        make(tmp_path / "b", held, parts=pinned(contents), expected="")
    (held / FIGURES.name).unlink()
    with pytest.raises(DataError, match=r"no such file.*codeload\.github\.com/BitSecret"):
        make(tmp_path / "c", held, parts=pinned(contents), expected="")
    with pytest.raises(DataError, match="holds no join file"):
        make(tmp_path, held, parts=pinned(contents))
    assert (held / TRAIN.name).exists(), "nothing of the user's is touched"


def test_the_real_records_are_read_by_the_same_functions(real_data) -> None:
    """Row 0 of the release is GeoQA 100: its letters, numbers and answer are those of FormalGeo's problem 2921."""
    folder = real_data("geoqa")
    record = json.loads((folder / "mm_self_improve_geoqa_train_base.subset.json").read_text())[0]
    lines = (folder / "formalgeo_raw_text.jsonl").read_text(encoding="utf-8").splitlines()
    problem = next(p for p in map(json.loads, lines) if p["problem_id"] == 2921)
    one, other = training(record), drawn(problem)
    assert (one.letters, one.answer) == (other.letters, other.answer)
    assert one.numbers <= other.numbers
