"""The readers on the real data beside the checkout: counts, hand-picked rows, what the check finds."""

from __future__ import annotations

from collections import Counter

from r3v.data import load
from r3v.data.check import check, render
from r3v.data.images import decode


def test_geoqa_counts_and_rows(real_data) -> None:
    """Rows read by eye in join_multiple_choice.jsonl."""
    path = real_data("geoqa")
    test, whole = load(f"geoqa:{path}?split=test"), load(f"geoqa:{path}")
    train = [p for p in whole if p.split != "test"]
    assert (len(train), len(test)) == (2688, 608)
    assert len({p.id for p in whole}) == 3296
    letters = [Counter(p.answer for p in problems) for problems in (train, test)]
    assert [[count[x] for x in "ABCD"] for count in letters] == [[532, 830, 792, 534], [134, 191, 172, 111]]

    first = train[0]
    assert first.id == "geoqa-train-100"
    assert first.question == (
        "As shown in the figure, in triangle ABC, point D is on BC, AB = AD = DC, angle B = 80, "
        "then the degree of angle C is ()"
    )
    assert (first.choices, first.answer) == (("30", "40", "45", "60"), "B")
    assert first.meta["choices"] == ["30.0", "40.0", "45.0", "60.0"]
    assert first.images[0].describe().endswith("images/2921.png")

    zero = test[0]
    assert (zero.id, zero.gold_text) == ("geoqa-test-0", "140")
    assert zero.question == (
        "As shown in the figure, in triangle ABC, it is known that angle A = 80, angle B = 60, "
        "DE parallel BC, then the size of angle CED is ()"
    )
    by_id = {p.id: p for p in test}
    assert by_id["geoqa-test-7802"].question.endswith("\\frac{EO}{OC} = \\frac{1}{3}, AE = 3, then EB = ()")
    assert by_id["geoqa-test-4475"].question.endswith("the shaded part between the two arcs is ()")
    assert not any("N_" in p.question for p in test)
    none = [p for p in (*train, *test) if "None" in (p.choices or ())]
    assert not none
    assert sum("none of these" in (p.choices or ()) for p in train) == 45
    assert {p.kind for p in load(f"geoqa:{path}", open=True)} == {"number"}


def test_geoqa_check(real_data) -> None:
    """SOURCE.md: two test images are byte-equal to a train image, whose rows are left out; 11 train rows have the same
    option twice."""
    result = check(f"geoqa:{real_data('geoqa')}", limit=None)
    assert result.ok
    assert result.good == 3296
    assert result.distinct_images == 3296
    assert result.leaks == []
    assert result.left_out == (
        "geoqa-train-2196 is left out: it shows the picture of geoqa-test-3255",
        "geoqa-train-4051 is left out: it shows the picture of geoqa-test-4053",
    )
    assert sum("geoqa-train" in warning for warning in result.warnings) == 11
    assert "0 bad" in render(result).splitlines()[0]


def test_formalgeo_forms(real_data) -> None:
    """4,133 rows each; the raw text lacks English in 188 rows, the generated text has raw predicates in
    some, and eight answers are inverse functions, which nothing here compares."""
    path = real_data("geoqa")
    raw = load(f"geoqa:{path}/formalgeo_raw_text.jsonl", skip_bad=True)
    assert len(raw) + raw.skipped == 4133
    reasons = Counter(error.what.split(",")[0].split(" in")[0] for error in raw.bad)
    assert reasons["found an empty value"] == 188
    assert raw.skipped <= 188 + 40
    assert raw[0].question == (
        "As shown in the figure, in △ABC, it is known that ∠A = 80, ∠B = 60, DE ∥ BC, then the size of ∠CED is ()"
    )
    generated = load(f"geoqa:{path}/formalgeo7k_v1.jsonl", skip_bad=True)
    assert len(generated) + generated.skipped == 4133
    assert generated.skipped == 324 + 8


def test_geometry3k_and_tabmwp(real_data) -> None:
    geometry = load(f"geometry3k:{real_data('geometry3k')}")
    assert len(geometry) == 372
    assert {p.split for p in geometry} == {"test"}
    first = geometry[0]
    assert (first.id, first.question) == ("geometry3k-test-2911", "If c = 5, find b.")
    assert (first.choices, first.answer) == (("1.732", "2.598", "3.464", "4.33"), "D")
    assert decode(first.images[0]).mode == "RGB"

    dev = load(f"tabmwp:{real_data('tabmwp')}?split=dev")
    test = load(f"tabmwp:{real_data('tabmwp')}?split=test")
    assert (len(dev), len(test)) == (1000, 500)
    assert Counter(p.kind for p in dev) == {"number": 725, "choice": 275}
    assert Counter(p.kind for p in test) == {"number": 380, "choice": 120}
    assert (test[0].id, test[0].answer, test[0].kind) == ("tabmwp-test-16", "84", "number")
    assert (dev[0].choices, dev[0].answer) == (("linear", "nonlinear"), "B")
