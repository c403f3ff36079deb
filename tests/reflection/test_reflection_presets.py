"""Every preset against the literal examples it makes of one small pool, and the precedence of the user's
settings.

The pool, two rounds of one choice problem whose right option is B (60) and one that is never solved:

    p0  round 0: 0 right "old way", 1 wrong A;   round 1: 0 right "second road", 1 wrong C,
                                                      2 right "second path"
    p1  round 0: 0 wrong A, 1 names nothing;     round 1: 0 wrong C
"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from reflection_fakes import choice, graded

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.reflection.build import build_examples
from r3v.reflection.presets import PRESETS, apply_preset
from r3v.settings.config import BuildConfig, Config

FULL = words.style("full")
P0, P1 = choice("p0"), choice("p1")
OLD, FIRST, SECOND = "Old way, 60.\nAnswer: B", "Second road, 60.\nAnswer: B", "Second path, 60.\nAnswer: B"
POOL = {
    "p0": [
        *graded(P0, OLD, "Low, 50.\nAnswer: A"),
        *graded(P0, FIRST, "High, 70.\nAnswer: C", SECOND, round=1),
    ],
    "p1": [*graded(P1, "Low, 50.\nAnswer: A", "no idea"), *graded(P1, "High, 70.\nAnswer: C", round=1)],
}
RESCUED = {"p1": graded(P1, "By the angle sum, 60.\nAnswer: B", round=2)}
QA = [("answer", "p0", "direct", ()), ("answer", "p1", "direct", ())]


def made(name: str, rescued=None, **changes) -> list[tuple]:
    """(kind, problem, which prompt, sources) of each example, sorted; select sources as a set of sample
    names.
    """
    config = apply_preset(replace(Config(), build=BuildConfig(preset=name)))
    examples, _ = build_examples(POOL, [P0, P1], replace(config.build, **changes), FULL, seed=0, rescued=rescued)
    rows = []
    for e in examples:
        text = e.prompt.messages[0].text
        prompt = "direct" if FULL.direct in text else "solve" if FULL.solve in text else "shown"
        sources = tuple(sorted(e.sources)) if e.kind == "select" else e.sources
        rows.append((e.kind, e.problem_id, prompt, sources))
    return sorted(rows)


def test_r3v_paper_is_the_published_recipe() -> None:
    """Newest right is p0/1/2, newest wrong p0/1/1. Select: 2 newest right + newest wrong; newest right + 2
    newest wrong. p1 is never solved, so only its direct answer stays.
    """
    assert made("r3v-paper") == sorted(
        [
            *QA,
            ("answer", "p0", "solve", ("p0/1/2",)),
            ("refine", "p0", "shown", ("p0/1/1", "p0/1/2")),
            ("select", "p0", "shown", ("p0/1/0", "p0/1/1", "p0/1/2")),
            ("select", "p0", "shown", ("p0/0/1", "p0/1/1", "p0/1/2")),
        ]
    )
    config = apply_preset(replace(Config(), build=BuildConfig(preset="r3v-paper")))
    sample = config.sample
    assert (sample.k, sample.temperature, sample.top_p, sample.top_k) == (3, 0.9, 0.95, 50)
    assert (config.run.restart, config.train.loss, config.train.loss_reduction) == (
        "base",
        "reflection",
        "tokens",
    )
    examples, _ = build_examples(POOL, [P0, P1], config.build, FULL, seed=0)
    assert {e.weight for e in examples} == {1.0}
    assert {e.target for e in examples if e.kind == "select"} == {"Answer: 60"}
    assert next(e.target for e in examples if e.kind == "refine") == SECOND


def test_r3v_paper_falls_back_on_older_rounds() -> None:
    """When the newest round has no right one, the older one serves; one right and one wrong give no select
    item.
    """
    pool = {"p0": [*graded(P0, OLD), *graded(P0, "High, 70.\nAnswer: C", round=1)]}
    config = apply_preset(replace(Config(), build=BuildConfig(preset="r3v-paper", qa=0.0)), {"build.qa"})
    examples, _ = build_examples(pool, [P0], config.build, FULL, seed=0)
    assert [(e.kind, e.sources) for e in examples] == [
        ("answer", ("p0/0/0",)),
        ("refine", ("p0/1/0", "p0/0/0")),
    ]


def test_star_is_the_newest_right_one_and_direct_answers() -> None:
    assert made("star") == sorted([*QA, ("answer", "p0", "solve", ("p0/1/2",))])


def test_star_with_rationalisation_adds_hinted_rationales_of_never_solved_problems() -> None:
    expected = [*QA, ("answer", "p0", "solve", ("p0/1/2",)), ("answer", "p1", "solve", ("p1/2/0",))]
    assert made("star-rationalization", rescued=RESCUED) == sorted(expected)


def test_star_dpo_is_newest_right_over_newest_wrong() -> None:
    pair = [("prefer", "p0", "solve", ("p0/1/2",)), ("prefer", "p0", "solve", ("p0/1/1",))]
    assert made("star-dpo") == sorted(pair)
    config = apply_preset(replace(Config(), build=BuildConfig(preset="star-dpo")))
    assert (config.train.loss, config.run.restart) == ("dpo", "continue")


def test_rft_is_every_different_right_one_in_one_round() -> None:
    assert made("rft") == [("answer", "p0", "solve", (f"p0/{name}",)) for name in ("0/0", "1/0", "1/2")]
    assert apply_preset(replace(Config(), build=BuildConfig(preset="rft"))).run.rounds == 1


def test_rest_em_is_every_right_one_of_the_newest_round() -> None:
    assert made("rest-em") == [("answer", "p0", "solve", (f"p0/{name}",)) for name in ("1/0", "1/2")]


def test_r3v_is_all_unlike_right_ones_and_direct_answers() -> None:
    """Three right ones of p0 differ in a word or more. p1 has nothing but its direct answer."""
    unlike = (("answer", "p0", "solve", (f"p0/{name}",)) for name in ("0/0", "1/0", "1/2"))
    assert made("r3v") == sorted([*QA, *unlike])
    config = apply_preset(replace(Config(), build=BuildConfig(preset="r3v")))
    assert (config.build.filters, config.select.target) == (("computed_last", "steps_hold"), "solution")


def test_r3v_fused_is_diverse_with_keep_and_distinct_answers() -> None:
    """Without all-wrong sets: two answers that differ most, one refine, one keep, and up to two select sets
    which show one right candidate among different wrong answers. p1 has nothing to teach.
    """
    rows = made("r3v-fused", select_none=0.0)
    assert [row for row in rows if row[0] in ("answer", "keep")] == [
        ("answer", "p0", "solve", ("p0/0/0",)),
        ("answer", "p0", "solve", ("p0/1/2",)),
        ("keep", "p0", "shown", ("p0/1/2",)),
    ]
    (refine,) = [row for row in rows if row[0] == "refine"]
    assert refine[3][0] in ("p0/0/1", "p0/1/1")
    rights = {"p0/0/0", "p0/1/0", "p0/1/2"}
    sets = [set(row[3]) for row in rows if row[0] == "select"]
    assert 1 <= len(sets) <= 2
    assert all(len(s & rights) == 1 and len(s) in (2, 3) for s in sets)


def test_settings_of_the_user_win_over_the_preset() -> None:
    config = replace(Config(), build=BuildConfig(preset="r3v-paper", positives=7), sample=replace(Config().sample, k=9))
    found = apply_preset(config, {"build.positives", "sample.k"})
    assert (found.build.positives, found.sample.k) == (7, 9)
    assert (found.build.keep, found.build.preset) == (0, "r3v-paper")
    assert apply_preset(found, {"build.positives", "sample.k"}) == found


def test_every_preset_names_fields_that_exist_with_fitting_values() -> None:
    assert len(PRESETS) == 8
    for name, preset in PRESETS.items():
        config = apply_preset(replace(Config(), build=BuildConfig(preset=name)))
        for dotted, value in preset.values.items():
            section, field = dotted.split(".")
            before = getattr(getattr(Config(), section), field)
            assert getattr(getattr(config, section), field) == value
            assert isinstance(value, (type(before), float)), dotted
        untouched = {f.name for f in fields(Config)} - {d.split(".")[0] for d in preset.values}
        assert all(getattr(config, f) == getattr(Config(), f) for f in untouched)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'r3v_paper'.*Did you mean 'r3v-paper'"):
        apply_preset(replace(Config(), build=BuildConfig(preset="r3v_paper")))
