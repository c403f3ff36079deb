"""Calibration: thresholds that keep the rate they promise, intervals derived by hand, and refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r3v.embedding.lexical import Lexical
from r3v.embedding.protocol import Part, Vectors, unit_rows
from r3v.errors import ConfigError, DataError
from r3v.io import write_json
from r3v.notebook.retrieval.calibrate import calibrate, describe, labels_of, least_queries, quantile_ranks
from r3v.notebook.retrieval.retrieve import Retriever, Stored
from r3v.notebook.retrieval.scoring import Calibration, find_calibration, read_calibrations
from r3v.notebook.store.note import Note
from r3v.records import Problem
from r3v.stats import wilson


class Cloud:
    """Items of family k are unit vectors around a centre of their own; images likewise, less clear."""

    id, revision, dim = "cloud", "1", 16
    modalities: tuple[Part, ...] = ("text", "image", "mixed")

    def __init__(self, spread: float = 0.25) -> None:
        self.centres = unit_rows(np.random.default_rng(7).standard_normal((40, self.dim)))
        self.spread = spread

    def embed_problems(self, problems: Sequence[Any], part: Part = "text") -> Vectors:
        wide = self.spread * (3 if part == "image" else 1)
        rows = []
        for p in problems:
            noise = np.random.default_rng([int(p.id), len(part)]).standard_normal(self.dim)
            rows.append(self.centres[int(p.meta["family"])] + wide * noise)
        return unit_rows(rows)

    def embed_notes(self, notes: Sequence[Any], part: Part = "text") -> Vectors:
        return self.centres[[int(n.subject) for n in notes]] * np.float32(1.0)


def items(n: int, start: int = 0, families: int = 20) -> list[Problem]:
    return [
        Problem(id=str(i), question="?", answer="1", kind="number", meta={"family": str(i % families)}, skills=("x",))
        for i in range(start, start + n)
    ]


def test_least_queries_by_hand() -> None:
    """0.95^71 = 0.02621 and 0.95^72 = 0.02490; 0.99^367 = 0.02501 and 0.99^368 = 0.02476; 0.7^11 = 0.0198."""
    assert [least_queries(rate) for rate in (0.05, 0.01, 0.3)] == [72, 368, 11]
    for rate in (0.0, 0.5, -0.1):
        with pytest.raises(ConfigError, match="false-positive rate"):
            least_queries(rate)


def test_quantile_ranks_by_hand() -> None:
    """n = 20, rate 0.3: 6 scores may lie above, so position 13. Binomial(20, 0.7): P(X <= 9) = 0.0171, P(X <= 10) =
    0.0480, P(X <= 17) = 0.9645, P(X <= 18) = 0.9924, so the interval is from position 9 to 18."""
    assert quantile_ranks(20, 0.3) == (9, 13, 18)


def test_the_threshold_leaves_the_chosen_rate_on_the_items_and_about_it_on_new_ones() -> None:
    """On 200 items at 5 %, at most 10 beat it by construction. On 400 new ones the rate of a right threshold is 5 %
    with deviation 1.1 % (and 1.5 % of the threshold's own): below 12 %."""
    found = calibrate(items(200), Cloud(), fusion="text", rate=0.05, pool=19, seed=3)
    assert found.measured.queries == 200
    assert found.measured.rate <= 0.05
    assert found.measured.rate_ci95 == wilson(round(found.measured.rate * 200), 200)
    low, high = found.measured.threshold_ci95
    assert low <= found.threshold <= high + 1e-6
    new = items(400, start=1000)
    cosines = Cloud().embed_problems(new) @ Cloud().embed_problems(new).T
    scores = found.source["text"](cosines)
    rng = np.random.default_rng(0)
    family = np.array([p.meta["family"] for p in new])
    best = [scores[i, rng.choice(np.flatnonzero(family != family[i]), 19, replace=False)].max() for i in range(400)]
    assert float(np.mean(np.array(best) >= found.threshold)) < 0.12


def test_related_items_are_found_and_counted() -> None:
    """Items of a family lie close together (spread 0.05 of 4 deviations): nearly all pass."""
    found = calibrate(items(200), Cloud(spread=0.05), fusion="mixed")
    assert found.measured.related == 200
    assert found.measured.found is not None
    assert found.measured.found > 0.95
    alone = calibrate(items(100), Cloud(), fusion="mixed", by="none")
    assert (alone.measured.related, alone.measured.found) == (0, None)


def test_more_keys_need_a_higher_threshold() -> None:
    one, many = (calibrate(items(200), Cloud(), fusion="text", pool=pool).threshold for pool in (1, 100))
    assert many > one


def test_the_retriever_keeps_the_promise_end_to_end() -> None:
    """The measured rate is reproduced by a Retriever whose keys are the items themselves, all of another family."""
    problems, cloud = items(120), Cloud()
    found = calibrate(problems, cloud, fusion="late", rate=0.05, pool=110)
    rows: dict[Part, Vectors] = {part: cloud.embed_problems(problems, part) for part in ("text", "image")}
    passed = 0
    for asked in problems:
        others = [j for j, p in enumerate(problems) if p.meta["family"] != asked.meta["family"]]
        names = [f"source:{j}" for j in others]
        notes = {f"n{j}": Note(f"n{j}", "s", "g", source_hashes=(f"source:{j}",)) for j in others}
        stored = Stored({part: dict(zip(names, r[others], strict=True)) for part, r in rows.items()})
        hits = Retriever(notes, cloud, found, fusion="late", stored=stored).retrieve([asked])
        passed += bool(hits[0])
    # 114 unrelated keys instead of the 110 drawn can only add a few.
    assert found.measured.rate * 120 <= passed <= found.measured.rate * 120 + 4


def test_notes_get_their_own_threshold() -> None:
    notes = [Note(f"n{k}", str(k), "g") for k in range(20)]
    found = calibrate(items(200), Cloud(), fusion="text", pool=5, notes=notes)
    assert found.note is not None
    assert found.note_threshold is not None
    assert found.note_measured is not None
    assert found.note_measured.related == 200, "every item has the note of its family"
    assert found.note_measured.rate <= 0.05
    retriever = Retriever({n.id: n for n in notes}, Cloud(), found)
    hits = retriever.retrieve(items(100, start=5000))
    right = [h[0].note.subject == p.meta["family"] for h, p in zip(hits, items(100, start=5000), strict=True) if h]
    assert len(right) > 50
    assert sum(right) / len(right) > 0.8


def test_too_few_items_labels_and_differences_are_refused() -> None:
    with pytest.raises(DataError, match=r"found 71 items, expected at least 72 .* 5 %"):
        calibrate(items(71), Cloud(), fusion="text")
    calibrate(items(72), Cloud(), fusion="text")
    with pytest.raises(DataError, match="found 0 items with 100 unrelated others"):
        calibrate(items(80), Cloud(), fusion="text", pool=100)
    with pytest.raises(DataError, match="unrelated pairs of text"):
        calibrate(items(80, families=1), Cloud(), fusion="text")
    same = [Problem(id=str(i), question="the same", answer="1", kind="number") for i in range(80)]
    with pytest.raises(DataError, match=r"all text cosines are 1\.0000"):
        calibrate(same, Lexical(), fusion="text", by="none")
    with pytest.raises(DataError, match="row 0: no label"):
        calibrate(same, Lexical(), fusion="text")
    with pytest.raises(DataError, match="twice"):
        calibrate([*same, same[0]], Lexical(), fusion="text", by="none")


def test_labels() -> None:
    two = [
        Problem(id="a", question="?", answer="1", kind="number", skills=("add", "read")),
        Problem(id="b", question="?", answer="1", kind="number", skills=("read",), meta={"family": "f"}),
    ]
    assert labels_of(two) == [frozenset({"add", "read"}), frozenset({"read"})]
    assert labels_of(two, "none") == [frozenset(), frozenset()]
    with pytest.raises(DataError, match=r"row a: .*\(family\)"):
        labels_of(two, "family")
    with pytest.raises(ConfigError, match="--by 'kind'"):
        labels_of(two, "kind")


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    notes = [Note(f"n{k}", str(k), "g") for k in range(20)]
    path = tmp_path / "c.json"
    made = [
        calibrate(items(100), Cloud(), fusion="late", image_weight=0.3, data="spec"),
        calibrate(items(100), Cloud(), fusion="text", notes=notes),
    ]
    write_json(path, [one.to_dict() for one in made])
    assert read_calibrations(path) == made
    assert find_calibration(path, Cloud(), "text", 0.5) == made[1]
    assert find_calibration(path, Cloud(), "late", 0.3) == made[0]
    assert find_calibration(path, Cloud(), "late", 0.4) is None
    assert find_calibration(path, Lexical(), "text", 0.5) is None
    assert read_calibrations(tmp_path / "none.json") == []
    rows: list[Any] = json.loads(path.read_text())
    with pytest.raises(DataError, match="schema 2"):
        Calibration.from_dict({**rows[0], "schema": 2})
    del rows[0]["threshold"]
    with pytest.raises(DataError, match="not a calibration"):
        Calibration.from_dict(rows[0])
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_calibrations(path)
    shown = describe(made[1])
    assert "at 5 % false positives" in shown
    assert "problem to note: threshold" in shown
