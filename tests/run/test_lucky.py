"""Lucky positives: which are drawn, what is published, and the count of two judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3v.app.cli import main
from r3v.errors import ConfigError, DataError
from r3v.records import FileImage, Problem
from r3v.run.evaluation import write_rows
from r3v.run.lucky import JUDGES, count, draw, publish


def row(number: int, outcome: str = "correct", metric: str = "greedy") -> dict:
    text = f"Because.\nAnswer: {number}"
    return {"problem_id": f"p{number}", "selector": metric, "metric": metric, "outcome": outcome, "text": text}


def problems(n: int) -> dict[str, Problem]:
    image = FileImage("/sets/geoqa/images/7.png")
    return {f"p{i}": Problem(f"p{i}", f"Angle {i} is ()", str(i), "number", (image,)) for i in range(n)}


def test_the_same_right_answers_are_drawn_whatever_the_order() -> None:
    rows = [row(i, "wrong" if i % 3 == 0 else "correct") for i in range(30)]
    first = [r["problem_id"] for r in draw(rows, "greedy", 8, seed=0)]
    assert len(set(first)) == 8
    assert all(int(name[1:]) % 3 for name in first)
    assert [r["problem_id"] for r in draw(rows[::-1], "greedy", 8, seed=0)] == first
    assert [r["problem_id"] for r in draw(rows, "greedy", 8, seed=1)] != first
    assert len(draw(rows, "greedy", 100, seed=0)) == 20
    with pytest.raises(ConfigError, match="expected one of greedy"):
        draw(rows, "fused@3", 8, 0)
    with pytest.raises(ConfigError, match="no right answer among 1"):
        draw([row(1, "wrong")], "greedy", 8, 0)


def test_what_is_published(tmp_path: Path) -> None:
    path = publish(tmp_path, [row(2), row(5)], problems(6), "greedy", 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1] == {
        "number": 2, "problem_id": "p5", "pictures": ["7.png"], "gold": "5", "rationale": "Because.\nAnswer: 5",
        "judge_1": "", "judge_2": "",
    }  # fmt: skip
    form = (tmp_path / "lucky.md").read_text()
    assert "![picture](/sets/geoqa/images/7.png)\n\nAngle 5 is ()\n\nGold: 5\n\n> Because.\n> Answer: 5" in form
    with pytest.raises(ConfigError, match="judgements already"):
        publish(tmp_path, [row(2)], problems(6), "greedy", 0)
    with pytest.raises(ConfigError, match="no problem 'p9'"):
        publish(tmp_path / "b", [row(9)], problems(6), "greedy", 0)


def judged(path: Path, *pairs: str) -> Path:
    words = {"r": "right", "l": "Lucky ", "-": ""}
    rows = [dict(zip(JUDGES, (words[a], words[b]), strict=True)) for a, b in pairs]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_share_interval_and_kappa(tmp_path: Path) -> None:
    """10 judged by both: 2 lucky for both, 1 for the first alone, 2 for the second alone, 5 for neither. Agreement 0.7,
    by chance 0.3 * 0.4 + 0.7 * 0.6 = 0.54, kappa (0.7 - 0.54) / 0.46 = 0.348. One has a column left empty."""
    found = count(judged(tmp_path / "l.jsonl", *["ll"] * 2, "lr", *["rl"] * 2, *["rr"] * 5, "l-"))
    assert (found.n, found.missing, found.lucky, found.agreed) == (10, 1, (3, 4), 7)
    assert found.kappa == pytest.approx(0.16 / 0.46)
    told = found.lines()
    assert told[0] == "judge_1: 3 of 10 lucky, 30.0 % (10.8 to 60.3)"
    assert told[2:] == ["agreement: 7 of 10, Cohen's kappa 0.35", "not judged by both: 1"]


def test_kappa_where_judges_never_or_always_agree(tmp_path: Path) -> None:
    """lr, rl: agreement 0, chance 0.5, kappa -1. All right: chance agrees on all, so it is not defined."""
    assert count(judged(tmp_path / "a.jsonl", "lr", "rl")).kappa == -1
    assert count(judged(tmp_path / "b.jsonl", "ll", "rr")).kappa == 1
    assert count(judged(tmp_path / "c.jsonl", "rr", "rr")).kappa is None


def test_what_is_no_judgement(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text('{"judge_1": "right", "judge_2": "maybe"}\n')
    with pytest.raises(DataError, match=r"judge_2.*found 'maybe', expected right or lucky"):
        count(path)
    with pytest.raises(DataError, match="nothing is judged by both"):
        count(judged(path, "--"))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_rows(tmp_path / "e.parquet", [row(0), row(1, "wrong"), row(2)])
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps({"id": f"p{i}", "question": f"{i}?", "answer": i}) + "\n" for i in range(3)))
    command = ["lucky", "draw", str(tmp_path / "e.json"), "--data", f"jsonl:{data}", "--out", str(tmp_path / "l")]
    assert main(command) == 0
    assert "2 right answers to judge" in capsys.readouterr().out
    path = tmp_path / "l" / "lucky.jsonl"
    path.write_text(path.read_text().replace('"judge_1": ""', '"judge_1": "right"').replace('2": ""', '2": "right"'))
    assert main(["lucky", "count", str(path)]) == 0
    assert "judge_2: 0 of 2 lucky, 0.0 % (0.0 to 65.8)" in capsys.readouterr().out
