"""GeoWorld: what is drawn is what is asked, splits share nothing, and everything follows from its
arguments.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest

from r3v.data.geoworld import FAMILIES, NOVEL, SPLITS, Item, item_of, make, source, write_dataset
from r3v.data.geoworld.render import SIZE, draw
from r3v.errors import ConfigError, DataError
from r3v.records import image_hash

LEVELS = (1, 2, 3, 4, 5)
EVERY = [(family, level) for family in FAMILIES for level in LEVELS]


def split_for(family: str) -> str:
    return "novel" if family in NOVEL else "train"


def items(family: str, level: int, count: int) -> list[Item]:
    return [make(family, level, seed, split_for(family)) for seed in range(count)]


def shoelace(at: Sequence[tuple[float, float]]) -> float:
    turns = zip(at, [*at[1:], at[0]], strict=True)
    return abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in turns)) / 2


def opening(p: tuple[float, float], v: tuple[float, float], q: tuple[float, float]) -> float:
    a = math.degrees(math.atan2(p[1] - v[1], p[0] - v[0]))
    b = math.degrees(math.atan2(q[1] - v[1], q[0] - v[0]))
    return abs((b - a + 180) % 360 - 180)


def slice_of_circle(p: tuple[float, float], o: tuple[float, float], degrees: float) -> float:
    """Area of a circular sector that starts at p, by the shoelace formula over 4,000 points of its arc."""
    start, radius = math.atan2(p[1] - o[1], p[0] - o[0]), math.dist(p, o)
    turns = [start + math.radians(degrees) * i / 4000 for i in range(4001)]
    return shoelace([o, *((o[0] + radius * math.cos(t), o[1] + radius * math.sin(t)) for t in turns)])


def measured(measure: Sequence[str], points: dict[str, tuple[float, float]], scale: float) -> float:
    """A quantity taken from the pixels of the drawing, with none of the formulas of the families."""
    kind, at = measure[0], [points[name] for name in measure[1:]]
    if kind == "angle":
        return opening(at[0], at[1], at[2])
    if kind == "length":
        return math.dist(at[0], at[1]) / scale
    if kind == "perimeter":
        return sum(math.dist(p, q) for p, q in zip(at, [*at[1:], at[0]], strict=True)) / scale
    if kind == "area":
        return shoelace(at) / scale**2
    if kind == "disc":
        return slice_of_circle(at[1], at[0], 360.0) / scale**2
    assert kind == "sector", kind
    return slice_of_circle(at[0], at[1], opening(at[0], at[1], at[2])) / scale**2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_drawing_measures_what_the_problem_says(family: str) -> None:
    """Every given and the gold answer, measured from pixel coordinates, at every level."""
    for level in LEVELS:
        for item in items(family, level, 6):
            _, layout = draw(item)
            for given in item.truth["givens"]:
                found = measured(given["measure"], layout.points, layout.scale)
                assert found == pytest.approx(given["value"], rel=1e-5), (item.problem.id, given)
            found = measured(item.truth["target"], layout.points, layout.scale)
            assert found == pytest.approx(float(item.problem.gold_text), rel=1e-5), item.problem.id


def test_right_angles_parallels_and_equal_sides_are_drawn_so() -> None:
    """Facts such as "AB is parallel to CD", "AB = AC", "D is the midpoint of AB" hold in the drawing."""
    seen = Counter()
    for family, level in EVERY:
        for item in items(family, level, 3):
            at = item.draft.points
            for fact in item.draft.facts:
                words = fact.split()
                if " = " in fact:
                    (p, q), (r, s) = words[0], words[2]
                    assert math.dist(at[p], at[q]) == pytest.approx(math.dist(at[r], at[s])), fact
                elif "parallel" in fact or "perpendicular" in fact:
                    (p, q), (r, s) = words[0], words[-1]
                    turn = opening(at[q], at[p], (at[p][0] + at[s][0] - at[r][0], at[p][1] + at[s][1] - at[r][1]))
                    wanted = 90.0 if "perpendicular" in fact else 0.0
                    assert min(turn, 180 - turn) == pytest.approx(wanted, abs=1e-4), (item.problem.id, fact)
                elif "midpoint" in fact:
                    m, (p, q) = words[0], words[-1]
                    assert math.dist(at[m], at[p]) == pytest.approx(math.dist(at[m], at[q])), fact
                    assert math.dist(at[p], at[q]) == pytest.approx(2 * math.dist(at[m], at[p])), fact
                elif "bisects" in fact:
                    (_, m), (p, v, q) = words[0], words[-1]
                    assert opening(at[p], at[v], at[m]) == pytest.approx(opening(at[q], at[v], at[m])), fact
                else:
                    continue
                seen[next(w for w in ("=", "parallel", "perpendicular", "midpoint", "bisects") if w in fact)] += 1
    assert len(seen) == 5, seen


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_inside_and_apart(family: str) -> None:
    """Every label lies within the picture, no two cover each other, and all numbers of a figure item are
    there.
    """
    for level in LEVELS:
        for item in items(family, level, 8):
            _, layout = draw(item)
            boxes = [label.box for label in layout.labels]
            for x0, y0, x1, y1 in boxes:
                assert x0 >= 0, item.problem.id
                assert y0 >= 0, item.problem.id
                assert x1 <= SIZE, item.problem.id
                assert y1 <= SIZE, item.problem.id
            for i, a in enumerate(boxes):
                for b in boxes[:i]:
                    apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
                    assert apart, (item.problem.id, layout.labels)
            numbers = [label.text for label in layout.labels if label.kind == "number"]
            shown = item.problem.meta["place"] == "figure"
            wanted = [str(g.value) for g in item.draft.givens if shown and not g.text_only]
            assert sorted(numbers) == sorted(wanted), item.problem.id


def test_digits_are_at_least_ten_and_a_half_pixels_high() -> None:
    from r3v.data.geoworld.glyphs import ink_size

    assert all(ink_size(digit, False)[1] >= 10.5 for digit in "0123456789")


@pytest.mark.parametrize("family", FAMILIES)
def test_question_reading_and_rationale_have_the_agreed_form(family: str) -> None:
    for level in LEVELS:
        for item in items(family, level, 8):
            p = item.problem
            assert p.choices is not None
            assert len(p.choices) == len(set(p.choices)) == 4
            assert all(float(c) > 0 for c in p.choices)
            assert p.gold_text == str(int(p.gold_text)), "gold answers are integers"
            assert item.rationale.startswith(item.reading + " ")
            assert item.rationale.endswith(f"\nAnswer: {p.gold_text}")
            assert len(item.rationale.split()) <= 60
            assert item.note.endswith(".")
            assert not any(n in item.note.split() for n in map(str, p.meta["givens"].values()))
            assert len(item.wrong) >= 2
            for text, answer in item.wrong:
                assert answer != p.gold_text
                assert text.startswith(item.reading + " ")
                assert text.endswith(f"\nAnswer: {answer}")
            for label, value in p.meta["givens"].items():
                stated = f"{label} = {value}"
                if p.meta["place"] == "text":
                    assert stated in p.question
            everything = p.question + item.rationale + item.note
            assert everything.isascii()
            assert json.loads(json.dumps(dict(p.meta))) == dict(p.meta)


def test_there_are_enough_families_levels_and_skills() -> None:
    assert len(FAMILIES) >= 18
    assert len(NOVEL) >= 4
    skills = {skill for family, level in EVERY for item in items(family, level, 3) for skill in item.problem.skills}
    assert len(skills) >= 20, sorted(skills)
    assert {s.split(":")[0] for s in skills} >= {"perception", "theorem", "arithmetic"}
    places = Counter(p.meta["place"] for p in source("train", 1500))
    assert 0.55 < places["figure"] / 1500 < 0.65, places


def test_the_gold_letter_is_uniform() -> None:
    """Chi-square over 3,000 problems, 3 degrees of freedom: 16.27 is passed by chance once in 1,000."""
    counts = Counter(p.answer for p in source("train", 3000))
    assert sum((counts[c] - 750) ** 2 / 750 for c in "ABCD") < 16.27, counts


def test_the_gold_is_not_given_away_by_its_rank_among_the_options() -> None:
    """Always naming the second smallest option, say, must not beat half of the problems."""
    ranks = Counter(sorted(map(float, p.choices or ())).index(float(p.gold_text)) for p in source("test", 1000))
    assert max(ranks.values()) < 500, ranks


def test_everything_follows_from_the_arguments_in_another_process_too() -> None:
    code = (
        "from r3v.data.geoworld import source; from r3v.records import image_hash;"
        "print([(p.id, p.question, p.choices, p.answer, image_hash(p.images[0]))"
        " for p in source('test', 40, seed=3)])"
    )
    here = [(p.id, p.question, p.choices, p.answer, image_hash(p.images[0])) for p in source("test", 40, seed=3)]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert there.stdout.strip() == str(here)


def test_an_id_means_one_problem_whatever_n_and_families() -> None:
    few, many = list(source("test", 50)), source("test", 2000)
    assert [p.id for p in few] == [p.id for p in many[:50]]
    assert [p.question for p in few] == [p.question for p in many[:50]]
    assert many[-1] == many[1999]
    by_id = {p.id: p for p in source("test", 240)}
    chosen = list(source("test", 10, families=["midline", "pythagoras"]))
    assert {p.meta["family"] for p in chosen} == {"midline", "pythagoras"}
    assert all(by_id[p.id] == p for p in chosen)
    assert by_id["geoworld-test-000123"].id == many[123].id
    assert source("test", 5, seed=2)[0].id != few[0].id


def test_splits_share_no_content_and_no_picture() -> None:
    contents, pictures = {}, {}
    for split in SPLITS:
        problems = list(source(split, 360))
        contents[split] = {p.meta["content"] for p in problems}
        pictures[split] = {image_hash(p.images[0]) for p in problems[:180]}
        novel = {p.meta["family"] in NOVEL for p in problems}
        assert novel == {split == "novel"}
    for i, a in enumerate(SPLITS):
        for b in SPLITS[:i]:
            assert not contents[a] & contents[b], (a, b)
            assert not pictures[a] & pictures[b], (a, b)


def test_numbers_and_letters_alone_decide_the_split() -> None:
    """The same givens with the same letters never stand in two splits, whatever the seed or the picture."""
    homes: dict[tuple[str, ...], str] = {}
    repeated = 0
    for split, seed in product(("warmup", "train", "gate", "test"), (0, 1)):
        for p in source(split, 150, seed=seed, families=["isosceles_base", "circle_diameter", "pythagoras"]):
            draft = item_of(p).draft
            givens = sorted(g.text for g in draft.givens if g.key != "extra")
            key = (p.meta["family"], draft.intro, draft.target, *draft.facts, *givens)
            repeated += key in homes
            assert homes.setdefault(key, split) == split, key
    assert repeated > 10, "too few repetitions for this to mean anything"


def test_memory_does_not_grow_with_the_length() -> None:
    """A long source costs no more than a short one; an image holds four fields, no pixels."""
    tracemalloc.start()
    big = source("warmup", 5_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(big) == 5_000_000
    assert peak < 200_000
    assert big[4_999_999].id == "geoworld-warmup-4999999"


def test_item_of_rebuilds_the_item_after_a_trip_through_json(tmp_path) -> None:
    folder = write_dataset("gate", 30, tmp_path / "gate")
    rows = [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    for row, problem in zip(rows, source("gate", 30), strict=True):
        assert (folder / row["image"]).read_bytes() == problem.images[0].read()
        assert {k: row[k] for k in ("id", "question", "answer", "kind", "split")} == {
            k: getattr(problem, k) for k in ("id", "question", "answer", "kind", "split")
        }
        assert tuple(row["choices"]) == problem.choices
        assert item_of(problem.open()).rationale == item_of(problem).rationale
        assert make(**{k: row["meta"][k] for k in ("family", "level", "seed", "split")}).problem.meta == row["meta"]


def test_write_dataset_replaces_a_data_set_but_no_other_folder(tmp_path) -> None:
    write_dataset("gate", 2, tmp_path / "out")
    write_dataset("gate", 3, tmp_path / "out")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="other files"):
        write_dataset("gate", 2, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_wrong_arguments_are_named_errors() -> None:
    with pytest.raises(ConfigError, match="split 'dev'"):
        source("dev")
    with pytest.raises(ConfigError, match="family 'sector' for split 'train'"):
        make("sector", 1, 0, "train")
    with pytest.raises(ConfigError, match="level 6"):
        make("midline", 6, 0, "train")
    with pytest.raises(ConfigError, match="unknown_family"):
        source("train", families=["unknown_family"])
    with pytest.raises(ConfigError, match="seed -1"):
        source("train", 5, seed=-1)
    with pytest.raises(IndexError):
        source("train", 5)[5]
    stranger = replace(source("train", 1)[0], meta={})
    with pytest.raises(DataError, match="GeoWorld problem"):
        item_of(stranger)


def test_labels_sit_on_the_lattice() -> None:
    """Digits are in columns 8 pixels wide: the centre of a number of one or three digits is in the middle of a column,
    of two digits between two; every centre is on a multiple of 4 downwards."""
    seen = set()
    for problem in source("train", 60):
        for label in draw(item_of(problem))[1].labels:
            x, y = (label.box[0] + label.box[2]) / 2, (label.box[1] + label.box[3]) / 2
            columns = len(label.text) if label.kind == "number" else 1
            assert (x % 8, y % 4) == (4.0 if columns % 2 else 0.0, 0.0), label
            seen.add((label.kind, columns))
    assert {("letter", 1), ("number", 1), ("number", 2), ("number", 3)} <= seen
