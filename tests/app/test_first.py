"""What a newcomer meets first: `r3v init`, `r3v chat`, `r3v env`, and where the files of a recipe are looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3v.app.cli import main
from r3v.app.first.env import found
from r3v.data import load
from r3v.data.geoworld import source
from r3v.policies.scripted import ScriptedPolicy
from r3v.reflection import stages
from r3v.reflection.settings import read


def data(folder: Path, n: int) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [{"id": str(i), "question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(n)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_init_writes_a_recipe_that_is_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """60 rows without a test set: 6 are measured on, 54 learned from, a tenth of these is the gate; nothing is lost or
    in two sets."""
    path, out = data(tmp_path / "d", 60), tmp_path / "r" / "mine.yaml"
    assert main(["init", str(path), "--out", str(out), "--rounds", "2"]) == 0
    told = capsys.readouterr().out
    assert f"r3v train {out} --dry-run" in told
    config = read(out).config
    assert (config.run.rounds, config.run.dir, config.model.path) == (2, "runs/mine", "geoworld-tiny")
    splits = stages.load_splits(config.data)
    sizes = [len(splits.train), len(splits.gate), len(splits.eval)]
    assert sizes == [49, 5, 6]
    ids = [p.question for part in (splits.train, splits.gate, splits.eval) for p in part]
    assert len(set(ids)) == 60
    text = out.read_text()
    assert text.count("#") > 12
    assert "# plan: 2 rounds" in text
    assert main(["init", str(path), "--out", str(out)]) == 2
    assert "exists; choose another --out" in capsys.readouterr().err


def test_init_of_what_cannot_be_split(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = ["--out", str(tmp_path / "r.yaml")]
    assert main(["init", str(data(tmp_path, 20)), *out]) == 2
    assert "found 20 problems, expected at least 50" in capsys.readouterr().err
    assert main(["init", "geoworld:train?n=60", *out]) == 2
    assert "with --test SPEC" in capsys.readouterr().err
    assert not (tmp_path / "r.yaml").exists()
    assert main(["init", "geoworld:train?n=60", "--test", "geoworld:test", *out]) == 0
    assert read(tmp_path / "r.yaml").config.data.gate == "geoworld:gate", "its gate is a split of its own"


def test_env_says_what_is_here_and_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert main(["env"]) == 0
    told = capsys.readouterr().out
    rows = dict(found())
    assert rows["flash-attn"] == "-" or rows["flash-attn"][0].isdigit()
    for name in ("r3v", "python", "memory", "torch", "transformers", "model.dtype auto", "CUDA of torch"):
        assert f"\n{name} " in f"\n{told}"
    assert "hf_secret" not in told


def test_chat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Three of four candidates say 7; then a misspelt command, a picture that is none, one that is, and choices."""
    texts = ["3 + 4 = 7.\nAnswer: 7", "Answer: 8", "Answer: 7", "Answer: 7"]
    policy = ScriptedPolicy(lambda prompt, index: texts[index % 4], name="scripted")
    monkeypatch.setattr(stages, "make_policy", lambda *args, **options: policy)
    picture = tmp_path / "a.png"
    picture.write_bytes(source("test", 1)[0].images[0].read())
    (tmp_path / "no.png").write_text("text")
    lines = [
        "3 + 4?",
        "/imge x",
        f"/image {tmp_path / 'no.png'}",
        f"/image {picture}",
        "/choices 7|9",
        "/n 2",
        "3 + 4?",
    ]
    asked = iter(lines)

    def answer(prompt: str) -> str:
        print(prompt)
        try:
            return next(asked)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    assert main(["chat", "--method", "majority"]) == 0
    told = capsys.readouterr().out
    assert "chosen answer: 7  (majority" in told
    assert "0.750  3 + 4 = 7. / Answer: 7" in told
    assert "did you mean /image?" in told
    assert f"error: file {tmp_path / 'no.png'}" in told
    assert f"[{picture}, choices 7 | 9; majority@2]" in told


def test_files_of_a_recipe_are_found_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe names mine.jsonl, which lies beside it and also, with other rows, where the command runs. A flag is
    meant from there."""
    here, there = tmp_path / "here", tmp_path / "there"
    data(there, 3)
    data(here, 5)
    (there / "r.yaml").write_text("run:\n  dir: ~/runs/x\ndata:\n  train: jsonl:mine.jsonl\nmodel:\n  path: org/name\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", "/home/me")
    config = read("../there/r.yaml").config
    assert len(load(config.data.train)) == 3
    assert (config.run.dir, config.model.path) == ("/home/me/runs/x", "org/name")
    assert len(load(read("../there/r.yaml", ["--data.train", "jsonl:mine.jsonl"]).config.data.train)) == 5
    (there / "mine.jsonl").unlink()
    assert len(load(read("../there/r.yaml").config.data.train)) == 5
