"""Specs, the table of readers, the built-in world, and what reading costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_files import folder, good, write

from r3v.data import READERS, load
from r3v.data.images import decode
from r3v.errors import ConfigError, DataError
from r3v.records import Problem
from r3v.spec import parse_spec


def test_spec_syntax() -> None:
    spec = parse_spec("jsonl:a%3Fb/c.jsonl?question=q&choices=a,b&limit=5")
    assert (spec.reader, spec.path) == ("jsonl", "a?b/c.jsonl")
    assert spec.options == {"question": "q", "choices": "a,b", "limit": "5"}


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("geoqa", "expected READER:PATH"),
        ("geoqa:", "expected READER:PATH"),
        ("geoqua:x", "did you mean 'geoqa'"),
        ("jsonl:x?question", "expected key=value"),
        ("jsonl:x?limit=1&limit=2", "given twice"),
        ("jsonl:x?qestion=q", "did you mean 'question'"),
        ("jsonl:x?limit=-1", "expected a whole number"),
        ("jsonl:x?skip_bad=maybe", "expected one of"),
        ("jsonl:x?kind=numbr", "expected one of auto"),
        ("jsonl:x?tolerance=5", "expected a number from 0 to 1"),
        ("chartqa:x?part=robots", "expected one of all"),
        ("geoworld:test?split=train", "found split='train' as well"),
    ],
)
def test_wrong_specs_are_config_errors(spec: str, what: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(what)):
        load(spec)


def test_every_reader_says_what_is_missing(tmp_path: Path) -> None:
    assert set(READERS) == {
        "geoworld", "euclid", "geoqa", "geometry3k", "tabmwp", "chartqa", "clevr_math", "m3cot", "jsonl", "hub",
    }  # fmt: skip
    for name in ("geoqa", "geometry3k", "tabmwp", "chartqa", "jsonl"):
        with pytest.raises(DataError, match=str(tmp_path)):
            load(f"{name}:{tmp_path / 'nothing'}")
        with pytest.raises(DataError, match=str(tmp_path)):
            load(f"{name}:{tmp_path}")


def test_geoworld_is_reached_through_its_spec() -> None:
    problems = load("geoworld:test?seed=3", limit=5)
    assert len(problems) == 5
    assert len({p.id for p in problems}) == 5
    assert all(decode(image).mode == "RGB" for p in problems for image in p.images)
    assert all(p.choices is None for p in load("geoworld:test", limit=3, open=True))


def test_geoworld_folder_reads_back(tmp_path: Path) -> None:
    """What `r3v data make` writes is a `jsonl:` folder with the same problems, drawings included."""
    from r3v.data.geoworld import source, write_dataset

    write_dataset("test", 4, tmp_path / "w")
    back, made = load(f"jsonl:{tmp_path}/w"), source("test", 4)
    for one, other in zip(back, made, strict=True):
        for name in ("id", "question", "choices", "answer", "kind", "skills", "split", "meta"):
            assert getattr(one, name) == getattr(other, name), name
        assert one.images[0].read() == other.images[0].read()


def test_data_imports_no_torch() -> None:
    heavy = ("torch", "datasets", "transformers", "PIL")
    code = f"import sys, r3v.data, r3v.data.check; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MEASURE = """
import re, sys
from pathlib import Path
from r3v.data import load
from r3v.data.hub import TableImage
from r3v.data.images import decode
problems = load("jsonl:" + sys.argv[1])
total = 0
for i, problem in enumerate(problems):
    total += len(problem.question)
    if i % (len(problems) // 1000) == 0:
        decode(problem.images[0])
print(len(problems), re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
"""


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path) -> None:
    """Largest resident memory of one pass over 100,000 problems is within 10 % of that over 1,000.

    Both decode 1,000 images, so that what is compared is the cost of the problems.

    VmHWM belongs to the new process alone; ru_maxrss would begin with the memory of the pytest that forked
    it.
    """
    folder(tmp_path)
    used: dict[int, int] = {}
    for n in (1_000, 100_000):
        path = tmp_path / f"{n}.jsonl"
        with path.open("w") as file:
            for i in range(n):
                row = {**good(i), "question": f"In triangle ABC, angle A = {i}. " + "What is it? " * 20}
                file.write(json.dumps(row) + "\n")
        command = [sys.executable, "-c", MEASURE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, used[n] = map(int, done.stdout.split())
        assert rows == n
    print(f"peak resident memory, KiB: {used}")
    assert used[100_000] <= 1.10 * used[1_000], used


def test_problem_is_what_readers_give(tmp_path: Path) -> None:
    (problem,) = load(f"jsonl:{write(folder(tmp_path) / 'd.jsonl', [good(0)])}")
    assert isinstance(problem, Problem)
    assert problem.gold_text == "1"
