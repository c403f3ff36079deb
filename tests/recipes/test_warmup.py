"""How geoworld-tiny is made: its lessons, its tokenizer, its rows, and a short training."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from r3v.data.geoworld import NOVEL, SPLITS, item_of, rationale_is_right, source
from r3v.data.geoworld.render import draw
from r3v.grading import grade
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loading import load
from r3v.prompts import STYLES, solve
from r3v.recipes.research import warmup_eyes as eyes
from r3v.recipes.research import warmup_tasks as tasks
from r3v.recipes.research import warmup_words as words
from r3v.recipes.research.warmup_data import Rows
from r3v.recipes.research.warmup_geoworld_tiny import pixels, rate
from r3v.reflection.filters import steps_hold
from r3v.settings.config import ModelConfig


def test_no_lesson_comes_from_a_novel_family() -> None:
    assert "warmup" in SPLITS
    families = {str(source("warmup", 300)[i].meta["family"]) for i in range(300)}
    assert len(families) == 24
    assert not families & set(NOVEL)


def test_method_shares_leave_room() -> None:
    """Right method 0.6 or 0.3; where it is 0.3, one mistake leads with 0.5; shares sum to 1."""
    kinds: Counter[float] = Counter()
    for family in sorted({str(p.meta["family"]) for p in source("warmup", 100)}):
        for level in range(1, 6):
            shares = tasks.method_shares(family, level, 3)
            assert sum(shares) == pytest.approx(1.0)
            kinds[shares[0]] += 1
            if shares[0] == 0.3:
                assert max(shares[1:]) == 0.5
    assert set(kinds) == {0.3, 0.6}
    assert 0.15 < kinds[0.6] / kinds.total() < 0.45


def test_base_rationales_are_right_as_often_as_their_share() -> None:
    """Over many draws of one item: within 4 standard errors of 0.3 or 0.6 (n = 400)."""
    item = item_of(source("warmup", 5)[3])
    rng = random.Random(0)
    right = sum(rationale_is_right(item.problem, tasks.base_rationale(item, rng)) for _ in range(400))
    share = tasks.method_shares(str(item.problem.meta["family"]), int(item.problem.meta["level"]), len(item.wrong))[0]
    assert abs(right / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5


def test_a_slip_changes_a_number_and_the_answer() -> None:
    """The slip is WRONG under the grader, and one line shorter or longer it is not."""
    rng = random.Random(1)
    for problem in source("warmup", 40):
        item = item_of(problem)
        slipped = tasks.slip(item.rationale, rng)
        assert slipped != item.rationale
        assert grade(problem.open(), slipped).wrong
        assert len(slipped.splitlines()) == len(item.rationale.splitlines())


def test_follow_computes_the_stated_rule() -> None:
    """(180 - 40) / 2 = 70; 12 + 8 = 20, doubled 40; 7 / 2 is not whole; 3 - 9 is not positive."""
    assert tasks.follow("180 - a, r / 2", [40]) == (["180 - 40 = 140", "140 / 2 = 70"], 70)
    assert tasks.follow("a + b, r * 2", [12, 8]) == (["12 + 8 = 20", "20 * 2 = 40"], 40)
    assert tasks.follow("a / 2", [7]) is None
    assert tasks.follow("a - b", [3, 9]) is None


def test_every_task_gives_prompt_and_target() -> None:
    assert len(tasks.TASKS) == 8
    rng = random.Random(2)
    for problem in source("warmup", 30):
        item = item_of(problem)
        for task in {*tasks.TASKS, *words.MIX, *words.JUDGING_MIX}:
            lesson = task(item, rng)
            assert lesson.text.strip()
            assert lesson.target.strip()
    for mix in (tasks.READING_MIX, tasks.SOLVING_MIX, words.MIX, words.JUDGING_MIX):
        assert sum(mix.values()) == pytest.approx(1.0)


def test_a_disguise_keeps_what_the_picture_shows() -> None:
    """Numbers on the picture keep label and value; numbers in the text are all stated in the question."""
    rng = random.Random(3)
    for problem in source("warmup", 60):
        item = item_of(problem)
        draft = words.disguise(item, rng)
        lesson = words.disguised_read(item, random.Random(4))
        if problem.meta["place"] == "figure":
            assert {g.text for g in item.draft.givens} <= {g.text for g in draft.givens}
        else:
            givens = lesson.target.rstrip(".").split(", ")
            assert all(given in lesson.text for given in givens)


def test_no_disguise_speaks_of_a_novel_family() -> None:
    rng = random.Random(5)
    text = " ".join(words.disguised_note(item_of(p), rng).text for p in source("warmup", 200))
    assert not re.search(r"rhombus|trapezoid|tangent|cyclic|sector|midline|diagonal", text)


def test_a_rationale_after_a_misreading_follows_from_it() -> None:
    """Its arithmetic is sound, its givens are not those of the picture: only a look tells."""
    rng, sound = random.Random(6), 0
    for problem in source("warmup", 60):
        item = item_of(problem)
        told = words.misread(item, item.rationale, rng)
        assert told != item.rationale
        sound += told.split(". ")[0] + "." != item.reading and steps_hold(problem, told)
    assert sound > 45


def test_tokenizer_isolates_digits_and_capitals() -> None:
    encoder: Encoder = load(ModelConfig()).encoder
    pieces = [encoder.decode([i]) for i in encoder.target("triangle ABC, angle A = 140. Answer: 65")[:-1]]
    assert "".join(pieces) == "triangle ABC, angle A = 140. Answer: 65"
    assert not [p for p in pieces if len(re.findall(r"[0-9A-Z]", p)) > 1 or re.fullmatch(r"\s*\d\d+", p)]
    odd = "naïve ≈ π/2 – Ω\t?"
    assert encoder.decode(list(encoder.target(odd)[:-1])) == odd


def test_rows_are_what_the_processor_would_give() -> None:
    """The fast rows of the warm-up equal the chat template's ids and the processor's pixels."""
    import numpy as np
    import torch

    from r3v.data.images import decode

    loaded = load(ModelConfig())
    problem = source("gate", 1)[0]
    encoded = loaded.encoder.prompt(solve(problem, STYLES["short"]))
    rows = Rows(loaded.processor)
    assert list(encoded.ids) == rows.prompt(solve(problem, STYLES["short"]).messages[0].text)
    picture = np.asarray(decode(problem.images[0]).convert("L"))[None]
    torch.testing.assert_close(pixels(picture), encoded.images["pixel_values"].float(), atol=1e-5, rtol=0)


def test_rate_rises_then_falls() -> None:
    """From step 500 to 1500: a hundredth at first, the peak after 100 steps, a twentieth of it at the end."""
    assert rate(500, 500, 1500, 1.0) == pytest.approx(0.01)
    assert rate(600, 500, 1500, 1.0) == pytest.approx(1.0)
    assert rate(1500, 500, 1500, 1.0) == pytest.approx(0.05)


def test_cell_targets_say_what_is_drawn_there() -> None:
    """Every label is in exactly one cell, the one its centre falls in; numbers carry their digits and owners."""
    for problem in source("warmup", 30):
        item = item_of(problem)
        _, layout = draw(item)
        cells = eyes.targets(item, layout)
        assert cells.shape == (49, eyes.FIELDS)
        numbers = [label for label in layout.labels if label.kind == "number"]
        letters = {label.text for label in layout.labels if label.kind == "letter"}
        assert 0 < cells[:, 0].sum() <= len(numbers) or not numbers
        assert {eyes.LETTERS[c] for c in cells[:, 5] if c < len(eyes.LETTERS)} <= letters
        for label in numbers[:1]:
            x0, y0, x1, y1 = label.box
            cell = cells[int((y0 + y1) / 2 / 16) * 7 + int((x0 + x1) / 2 / 16)]
            if len(numbers) == 1:
                assert "".join(str(d) for d in cell[1:4] if d < 10) == label.text
                owners = cell[eyes.OWNERS].sum()
                assert owners in (1, 2)
                # An angle is about one point, a length about two; column and row of each.
                assert (cell[eyes.POINTS] < eyes.BINS).sum() == 2 * owners


@pytest.mark.slow
def test_a_short_run_makes_a_loadable_model(tmp_path: Path) -> None:
    """The recipe as a user runs it, cut to fifty steps."""
    command = [sys.executable, "-W", "ignore", "-m", "r3v.recipes.research.warmup_geoworld_tiny", "--steps", "50"]
    command += ["--listen-steps", "35", "--words-steps", "45"]
    command += ["--see-steps", "10", "--read-steps", "25", "--batch", "2", "--pictures", "16", "--held", "4"]
    command += ["--out", str(tmp_path / "model"), "--work", str(tmp_path / "work")]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    line = json.loads((tmp_path / "model" / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 50
    assert 0.0 <= line["held_read"] <= 1.0
    loaded = load(ModelConfig(path=str(tmp_path / "model")))
    assert sum(p.numel() for p in loaded.model.parameters()) > 3e6
