"""Quality control: every reason to drop an item, each with an item that has it and one that has not."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from r3v.curriculum.practice.edit import edit
from r3v.curriculum.practice.generate import FIRST_SEED, GeoWorldGenerator
from r3v.curriculum.practice.hashes import NearPrints, NearTexts, Print, fingerprint, jaccard, mirrored, shingles
from r3v.curriculum.practice.item import Checked, Provenance, Target, provenance_of, with_provenance
from r3v.curriculum.practice.quality import Benchmarks, QualityConfig, Repeats, form_fault, sift
from r3v.curriculum.practice.solve import judged, solve_problems
from r3v.data.geoworld import make
from r3v.errors import ConfigError
from r3v.policies.base import SamplingParams
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import LETTERS, BytesImage, Outcome, Problem, Prompt, Verdict


def drawing(seed: int, noise: float = 0.0) -> BytesImage:
    """A few random strokes on white, 100 x 80."""
    rng = random.Random(seed)
    image = Image.new("RGB", (100, 80), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        pen.line([rng.randrange(10, 90), rng.randrange(10, 70), rng.randrange(10, 90), rng.randrange(10, 70)], 0, 3)
    if noise:
        grey = np.asarray(image).astype(float) + np.random.default_rng(seed).normal(0, noise, (80, 100, 1))
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return BytesImage(buffer.getvalue())


def item(
    name: str, picture: int | None = 0, answer: str = "4", question: str = "How many strokes are there?"
) -> Problem:
    images = () if picture is None else (drawing(picture),)
    return Problem(name, question, answer, "number", images)


def always(state: str) -> object:
    return lambda problem: Checked(state, "said so")  # type: ignore[arg-type]


def reasons(*problems: Problem, **options: object) -> dict[str, int]:
    options.setdefault("check", always("right"))
    return sift(problems, **options).counts  # type: ignore[arg-type]


def test_fingerprints_survive_noise_and_cropping_of_empty_paper() -> None:
    plain = fingerprint(drawing(1))
    noisy = fingerprint(drawing(1, noise=12))
    assert plain.pixels != noisy.pixels
    assert (plain.dhash ^ noisy.dhash).bit_count() <= 12
    assert (plain.phash ^ noisy.phash).bit_count() <= 8
    other = fingerprint(drawing(2))
    assert (plain.dhash ^ other.dhash).bit_count() > 30
    image = Image.open(io.BytesIO(drawing(1).data))
    wide = Image.new("RGB", (140, 100), "white")
    wide.paste(image, (30, 5))
    buffer = io.BytesIO()
    wide.save(buffer, "BMP")
    padded = fingerprint(BytesImage(buffer.getvalue()))
    assert (padded.dhash, padded.phash) == (plain.dhash, plain.phash)


def test_search_by_distance_grows_past_its_first_block() -> None:
    index = NearPrints()
    for i in range(150):
        index.add(Print(dhash=(1 << i) - 1, phash=0, pixels=str(i)))
    target = Print(dhash=(1 << 100) - 1, phash=1, pixels="x")
    assert index.near(target, 2, 1) == [98, 99, 100, 101, 102]
    assert index.near(target, 2, 0) == []
    assert index.same(Print(0, 0, "77")) == 77
    assert index.same(target) is None


def test_texts_are_found_by_their_shingles() -> None:
    assert shingles("One two, THREE four") == {"one two three", "two three four"}
    assert jaccard(shingles("a b c d"), shingles("a b c e")) == pytest.approx(1 / 3)
    index = NearTexts()
    words = [f"w{i}" for i in range(60)]
    index.add(" ".join(words))
    index.add("something else altogether here")
    assert index.near(" ".join([*words[:-1], "new"]), 0.9) == [0]
    assert index.near(" ".join(words[30:]), 0.9) == []


def test_items_that_cannot_be_graded_are_dropped() -> None:
    assert form_fault(item("good")) is None
    assert form_fault(Problem("c", "q", "B", "choice", choices=("1", "2"))) is None
    faults = [
        form_fault(Problem("p", "q", "4", "number", (BytesImage(b"no picture"),))),
        form_fault(Problem("c", "q", "A", "choice", choices=("4 cm", "4 cm.", "5"))),
        form_fault(Problem("c", "q", "A", "choice", choices=("4", "4.0", "5"))),
        form_fault(Problem("n", "q", "many", "number")),
    ]
    assert [f[0] if f else None for f in faults] == ["broken_picture", "repeated_choices", "ungradable", "ungradable"]


def test_repeats_contradictions_and_new_questions_about_one_picture() -> None:
    first = item("a")
    noisy = replace(item("b"), images=(drawing(0, noise=10),))
    assert reasons(first, noisy) == {"duplicate": 1}
    assert reasons(first, item("c", answer="5")) == {"contradiction": 1}
    assert reasons(first, item("d", question="What is the longest stroke's length?")) == {}
    assert reasons(first, item("e", picture=3)) == {}
    assert reasons(first, item("f", None), item("g", None)) == {"duplicate": 1}
    known = Repeats()
    assert reasons(first, repeats=known) == {}
    assert reasons(first, repeats=known) == {"duplicate": 1}


def test_the_same_choices_in_another_order_are_a_repeat() -> None:
    a = Problem("a", "Which?", "A", "choice", (drawing(0),), choices=("7", "8"))
    b = replace(a, id="b", answer="B", choices=("8", "7"))
    c = replace(a, id="c", answer="A", choices=("8", "7"))
    assert reasons(a, b) == {"duplicate": 1}
    assert reasons(a, c) == {"contradiction": 1}


def test_relabelled_figures_are_not_repeats() -> None:
    """A changed number is a few pixels, but another problem."""
    old = next(
        p
        for s in range(50)
        if (p := make("triangle_sum", 3, FIRST_SEED + s, "train").problem).meta["place"] == "figure"
    )
    new = edit(old, "relabel", 3)
    assert new.gold_text != old.gold_text
    assert reasons(old, new) == {}
    assert reasons(old, edit(old, "crop", 1)) == {"duplicate": 1}


def test_benchmark_items_are_kept_out() -> None:
    marks = Benchmarks()
    assert marks.add("bench", [item("x", 5), item("t", None, question="one two three four five six seven")]) == 2
    image = Image.open(io.BytesIO(drawing(5).data)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    flipped = replace(item("m", 5, question="Another question?"), images=(BytesImage(buffer.getvalue()),))
    found = sift(
        [
            item("same", 5, question="Something else?"),
            flipped,
            item("free", 6),
            item("text", None, question="One two, three four five six seven"),
        ],
        check=always("right"),  # type: ignore[arg-type]
        benchmarks=marks,
    )
    assert [(d.problem_id, d.reason, d.detail) for d in found.dropped] == [
        ("same", "benchmark_picture", "bench/x"),
        ("m", "benchmark_picture", "bench/x"),
        ("text", "benchmark_text", "bench/t"),
    ]
    assert [p.id for p in found.kept] == ["free"]


def test_a_near_picture_needs_a_near_text() -> None:
    marks = Benchmarks(QualityConfig(picture_dhash_bits=0, picture_phash_bits=0, dhash_bits=12))
    number = next(n for n in range(5, 40) if apart(drawing(n), drawing(n, noise=16)) > 0)
    marks.add("bench", [item("x", number)])
    near = replace(item("near", number), images=(drawing(number, noise=16),))
    assert marks.hit(near) == ("benchmark_item", "bench/x")
    assert marks.hit(replace(near, question="What colour is the paper behind them?")) is None


def test_a_mirror_image_is_another_picture() -> None:
    assert fingerprint(drawing(5)) != mirrored(drawing(5))


def apart(a: BytesImage, b: BytesImage) -> int:
    return (fingerprint(a).dhash ^ fingerprint(b).dhash).bit_count()


def test_verifier_then_agreement_then_nothing() -> None:
    good, bad = item("good", 1), item("bad", 2, answer="9")
    assert reasons(good, check=always("wrong")) == {"refuted": 1}
    assert reasons(good, check=always("unknown")) == {"unverified": 1}
    assert reasons(good, check=None) == {"unverified": 1}
    solver = ScriptedPolicy(lambda prompt, index: "Answer: 4", name="solver-7b")
    marked = with_provenance(good, Provenance("test", {}, 0, "agreed"))
    found = sift([marked, bad], check=always("unknown"), solver=solver)  # type: ignore[arg-type]
    assert found.counts == {"no_agreement": 1}
    assert "0 of 5" in found.dropped[0].detail
    assert provenance_of(found.kept[0]).checks == (
        {"by": "agreement", "model": "solver-7b", "correct": 5, "counted": 5, "majority": "4"},
    )


def test_difficulty_window_by_pass_rate() -> None:
    """Right in as many of 8 answers as the question's number says."""

    def answer(prompt: Prompt, index: int) -> str:
        return "Answer: 4" if index < int(prompt.problem_id) else "Answer: 7"

    items = [item(str(n), n) for n in (0, 1, 4, 7, 8)]
    found = sift(items, check=always("right"), learner=ScriptedPolicy(answer))  # type: ignore[arg-type]
    assert [p.id for p in found.kept] == ["1", "4", "7"]
    assert {d.problem_id: d.reason for d in found.dropped} == {"0": "too_hard", "8": "too_easy"}
    assert found.seen == len(found.kept) + len(found.dropped)


def test_agreement_counts_unread_answers_against_and_leaves_out_failures() -> None:
    problem = item("p")

    def solved(*texts: str) -> object:
        policy = ScriptedPolicy(lambda prompt, index: texts[index])
        return solve_problems(policy, [problem], len(texts), SamplingParams())[0]

    mixed = solved("Answer: 4", "Answer: 4", "Answer: 5", "no idea", "Answer: 4")
    assert (mixed.correct, mixed.counted, mixed.majority, mixed.rate) == (3, 5, "4", 0.6)  # type: ignore[attr-defined]
    assert mixed.agrees(0.6)  # type: ignore[attr-defined]
    assert not mixed.agrees(0.7)  # type: ignore[attr-defined]
    tie = solved("Answer: 4", "Answer: 5")
    assert not tie.agrees(0.5)  # type: ignore[attr-defined]
    lost = replace(judged(problem, []), verdicts=(Verdict(Outcome.UNAVAILABLE),))
    assert lost.rate is None
    assert not lost.agrees(0.1)


def solver_of(accuracy: float, problems: list[Problem], truth: dict[str, str]) -> ScriptedPolicy:
    """Answers the true letter with this chance, else one of the others, each answer for itself."""

    def answer(prompt: Prompt, index: int) -> str:
        rng = random.Random(f"{prompt.problem_id}|{index}")
        right = truth[prompt.problem_id]
        return f"Answer: {right if rng.random() < accuracy else rng.choice([x for x in LETTERS[:4] if x != right])}"

    return ScriptedPolicy(answer)


@pytest.mark.parametrize(("accuracy", "caught_at_least", "lost_at_most"), [(0.9, 20, 6), (0.75, 19, 36)])
def test_planted_answers_against_solvers_of_known_accuracy(
    accuracy: float, caught_at_least: int, lost_at_most: int
) -> None:
    """200 items, 20 with a planted wrong letter, 5 answers, 60 % must agree. A solver right in 90 % of its answers
    keeps a good item with chance 0.991 (at least 3 of 5) and passes a planted one with chance 4e-4."""
    items = [
        Problem(f"p{i}", f"Question number {i}?", "ABCD"[i % 4], "choice", choices=("1", "2", "3", "4"))
        for i in range(200)
    ]
    truth = {p.id: p.answer for p in items}
    planted = {p.id for p in items[::10]}
    asked = [replace(p, answer="ABCD"[(i + 1) % 4]) if p.id in planted else p for i, p in enumerate(items)]
    solver = solver_of(accuracy, asked, truth)
    found = sift(asked, solver=solver)
    dropped = {d.problem_id for d in found.dropped if d.reason == "no_agreement"}
    assert len(dropped & planted) >= caught_at_least
    assert len(dropped - planted) <= lost_at_most


def test_geoworld_practice_passes_and_planted_answers_do_not() -> None:
    source = GeoWorldGenerator()
    items = list(source.generate(Target("theorem:triangle_sum", 3), 12, seed=2))
    wrong = replace(items[0], id="planted", answer=next(x for x in "ABCD" if x != items[0].answer))
    found = sift([*items[1:], wrong], check=source.check)
    assert found.counts == {"refuted": 1}
    assert len(found.kept) == 11
    assert provenance_of(found.kept[0]).checks[0]["by"] == "verifier"


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="low <= high"):
        QualityConfig(low=0.9, high=0.1)
    with pytest.raises(ConfigError, match="agreement_k"):
        QualityConfig(agreement_k=0)
