"""Edited pictures: pixels change only where they should, and answers are recomputed, kept or refused."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from places import SHARED_DATA

from r3v.curriculum.images.png import png
from r3v.curriculum.practice.edit import CHANGING, EDITS, EditGenerator, EditRefused, check_edit, edit
from r3v.curriculum.practice.edit_ops import OPS, background, ink
from r3v.curriculum.practice.generate import FIRST_SEED
from r3v.curriculum.practice.item import Target, provenance_of
from r3v.curriculum.practice.relabel import Base, candidate, fits
from r3v.data import load
from r3v.data.geoworld import item_of, make
from r3v.data.geoworld.render import draw
from r3v.errors import ConfigError, DataError
from r3v.records import BytesImage, Problem

GEOQA = SHARED_DATA / "geoqa"


def seed_item(family: str, level: int, place: str = "figure", first: int = 0) -> Problem:
    """The first practice-like item whose numbers stand in the figure (or in the text)."""
    seeds = range(FIRST_SEED + first, FIRST_SEED + first + 50)
    return next(p for s in seeds if (p := make(family, level, s, "train").problem).meta["place"] == place)


def pixels(problem: Problem) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(problem.images[0].read())).convert("L")).astype(int)


def test_relabel_paints_new_numbers_into_the_old_boxes_and_recomputes_the_answer() -> None:
    old = seed_item("triangle_sum", 3, first=1)
    new = edit(old, "relabel", seed=3)
    a, b, c = (int(v) for v in (*new.meta["givens"].values(), new.gold_text))
    assert new.meta["givens"].keys() == old.meta["givens"].keys()
    assert new.meta["givens"] != old.meta["givens"]
    assert a + b + c == 180
    assert new.question == old.question
    boxes = [label.box for label in draw(item_of(old))[1].labels if label.kind == "number"]
    changed_ys, changed_xs = np.nonzero(pixels(old) != pixels(new))
    assert len(changed_ys) > 5
    for y, x in zip(changed_ys, changed_xs, strict=True):
        assert any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes)


def test_relabelled_numbers_in_the_text_change_the_question_not_the_picture() -> None:
    old = seed_item("triangle_sum", 3, "text")
    new = edit(old, "relabel", seed=1)
    assert (pixels(old) == pixels(new)).all()
    for value in new.meta["givens"].values():
        assert f"= {value}" in new.question


def test_an_exterior_angle_is_the_sum_of_the_new_numbers() -> None:
    new = edit(seed_item("exterior_angle", 2), "remake", seed=2)
    assert sum(new.meta["givens"].values()) == int(new.gold_text)


def test_edited_items_cannot_pass_for_their_seed_item() -> None:
    """Its rationale would be the seed item's; and a second relabel has no known layout to work on."""
    new = edit(seed_item("triangle_sum", 3), "relabel", seed=3)
    with pytest.raises(DataError, match="no seed in meta"):
        item_of(new)
    with pytest.raises(EditRefused, match="cannot be recomputed"):
        edit(new, "relabel")


@pytest.mark.parametrize("family", ["parallelogram_perimeter", "rectangle_area", "midline", "inscribed_diameter"])
def test_recomputed_answers_hold_and_planted_ones_are_found(family: str) -> None:
    for level in (2, 4):
        new = edit(seed_item(family, level), "remake", seed=5)
        provenance = provenance_of(new)
        assert provenance.answer == "recomputed"
        assert provenance.edits[0]["base"]["family"] == family
        assert check_edit(new, lambda _: None).state == "right"
        wrong = next(x for x in "ABCD" if x != new.answer)
        assert check_edit(replace(new, answer=wrong), lambda _: None).state == "wrong"


@pytest.mark.parametrize("op", [op for op in EDITS if op not in CHANGING])
def test_keeping_edits_change_the_picture_alone(op: str) -> None:
    old = seed_item("parallelogram_angle", 3)
    new = edit(old, op, seed=4)
    assert (new.question, new.choices, new.answer) == (old.question, old.choices, old.answer)
    assert new.images[0].read() != old.images[0].read()
    assert provenance_of(new).answer == "kept"
    assert provenance_of(new).seed_item == old.id
    assert edit(old, op, seed=4) == new
    assert check_edit(new, {old.id: old}.get).state == "right"
    assert check_edit(new, {}.get).state == "unknown"
    wrong = replace(new, answer=next(x for x in "ABCD" if x != new.answer))
    assert check_edit(wrong, {old.id: old}.get).state == "wrong"


def test_edits_pile_up_and_a_recomputed_answer_stays_recomputed() -> None:
    old = seed_item("triangle_sum", 3)
    new = edit(edit(old, "remake", 1), "noise", 2)
    provenance = provenance_of(new)
    assert [e["op"] for e in provenance.edits] == ["remake", "noise"]
    assert (provenance.answer, provenance.seed_item) == ("recomputed", old.id)
    assert check_edit(new, {}.get).state == "right"


def photo(**meta: object) -> Problem:
    """A picture of 40 x 30 with a black bar at x 10..19, y 8..11."""
    canvas = np.full((30, 40, 3), 255, np.uint8)
    canvas[8:12, 10:20] = 0
    data = png(Image.fromarray(canvas))
    return Problem("photo", "How long is the bar?", "10", "number", (BytesImage(data),), meta=meta)


def test_unknown_numbers_refuse_every_edit_that_changes_the_answer() -> None:
    for op in ("relabel", "remake", "redraw"):
        with pytest.raises(EditRefused, match="cannot be recomputed"):
            edit(photo(), op)
    with pytest.raises(EditRefused, match="mirrored"):
        edit(photo(), "mirror")
    mirrored = edit(photo(text_free=True), "mirror")
    assert (pixels(mirrored)[8:12, 20:30] == 0).all()


@pytest.mark.parametrize(
    ("question", "refused"),
    [
        ("What is left of the tower?", True),
        ("Which bar is leftmost?", True),
        ("Is the right angle at A?", False),
        ("In right triangle ABC, find AB.", False),
        ("Which is on the right?", True),
        ("Vertical angles are equal. Find x.", False),
        ("Turn it counterclockwise.", True),
        ("Find the area.", False),
    ],
)
def test_turning_is_refused_where_the_question_speaks_of_directions(question: str, refused: bool) -> None:
    problem = replace(photo(), question=question)
    if refused:
        with pytest.raises(EditRefused, match="turning"):
            OPS["rotate"].require(problem)
    else:
        OPS["rotate"].require(problem)


def test_cropping_and_occluding_hide_no_ink() -> None:
    image = Image.open(io.BytesIO(photo().images[0].read())).convert("RGB")
    assert background(image) == (255, 255, 255)
    assert ink(image).sum() == 40
    for seed in range(20):
        rng = random.Random(seed)
        cropped = OPS["crop"].apply(image, OPS["crop"].choose(image, rng))
        assert ink(cropped).sum() == 40
        covered = OPS["occlude"].apply(image, OPS["occlude"].choose(image, rng))
        assert (np.asarray(covered)[8:12, 10:20] == 0).all()
        assert (np.asarray(covered) != np.asarray(image)).any()


def test_a_picture_without_room_refuses() -> None:
    full = Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (10, 10))).convert("RGB")
    for op in ("crop", "occlude"):
        with pytest.raises(EditRefused):
            OPS[op].choose(full, random.Random(0))
    with pytest.raises(EditRefused, match="one colour"):
        OPS["crop"].choose(Image.new("RGB", (9, 9)), random.Random(0))


def test_numbers_that_do_not_fit_the_drawing_are_not_painted() -> None:
    base = Base.of(seed_item("triangle_sum", 3))
    old = base.item().draft
    far = replace(old, givens=tuple(replace(g, value=g.value + 40) for g in old.givens))
    near = replace(old, givens=tuple(replace(g, value=g.value + 1) for g in old.givens))
    assert not fits(old, far)
    assert fits(old, near)
    assert any(candidate(base, k) is not None for k in range(60))


def test_the_generator_edits_seeds_of_the_target_only_and_counts_refusals() -> None:
    seeds = [seed_item("triangle_sum", 2), seed_item("midline", 3)]
    source = EditGenerator(seeds, ops=("relabel", "noise", "crop"))
    made = list(source.generate(Target("theorem:midline", 3), 5, seed=1))
    assert len(made) == 5
    assert {provenance_of(p).seed_item for p in made} == {seeds[1].id}
    assert {source.check(p).state for p in made} == {"right"}
    again = EditGenerator(seeds, ops=("relabel", "noise", "crop"))
    assert list(again.generate(Target("theorem:midline", 3), 5, seed=1)) == made
    with pytest.raises(DataError, match="no seed item"):
        list(source.generate(Target("theorem:midline", 1), 1))
    mirror = EditGenerator([photo()], ops=("mirror", "noise"))
    assert len(list(mirror.generate(Target(), 3))) == 3
    assert mirror.refused["mirror"] > 0


def test_held_out_items_and_unknown_edits_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="'test'"):
        EditGenerator([make("midline", 1, 1, "test").problem])
    with pytest.raises(ConfigError, match="paint"):
        EditGenerator([photo()], ops=("paint",))
    with pytest.raises(ConfigError, match="'paint'"):
        edit(photo(), "paint")
    with pytest.raises(EditRefused, match="expected one"):
        edit(replace(photo(), images=()), "noise")


@pytest.mark.skipif(not GEOQA.exists(), reason="real GeoQA pictures are not here")
def test_real_geoqa_pictures_can_be_edited() -> None:
    made = 0
    for problem in load(f"geoqa:{GEOQA}?split=train", limit=12):
        for op in ("crop", "rotate", "occlude", "noise"):
            try:
                new = edit(problem, op, 1)
            except EditRefused:
                continue
            made += 1
            assert new.answer == problem.answer
            assert check_edit(new, {problem.id: problem}.get).state == "right"
    assert made >= 30
