"""Examples from small pools, derived by hand, and the promise that a problem's examples depend on itself
alone.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reflection_fakes import FakePolicy, choice, graded, number

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.reflection.build import build_examples, problem_examples
from r3v.rollout.choose import distinct, diverse, similarity
from r3v.settings.config import BuildConfig

FULL = words.style("full")
NONE = BuildConfig(
    positives=0, refine=0, keep=0, select=0, select_mix="random", select_min=2, select_target="index_answer"
)


def kinds(examples, kind: str) -> list:
    return [example for example in examples if example.kind == kind]


def build(problem, items, cfg: BuildConfig, seed: int = 0, **more):
    return problem_examples(problem, items, cfg, FULL, seed, **more)


def test_answers_are_diverse_and_without_duplicates() -> None:
    """Of five right ones: index 4 is the newest; 3 repeats it but for case; 2 differs in one sign only of
    many words (kept apart by the numbers); 0 shares least with 4, so it comes second.
    """
    problem = number()
    items = graded(
        problem,
        "From the circle theorem it follows at once.\nAnswer: 60",
        "180 - 50 - 70 = 60, the angle sum.\nAnswer: 60",
        "180 - 120 = 60, the angle sum!\nAnswer: 60",
        "180 - 70 - 50 = 60, THE angle sum.\nAnswer: 60",
        "180 - 70 - 50 = 60, the angle sum.\nAnswer: 60",
    )
    made = build(problem, items, replace(NONE, positives=2))
    assert [e.sources for e in made] == [("p0/0/4",), ("p0/0/0",)]
    assert made[0].prompt == words.solve(problem, FULL)
    assert made[0].target == items[4].candidate.text
    assert [i.candidate.index for i in distinct(items[::-1])] == [4, 2, 1, 0]
    assert [i.candidate.index for i in diverse(items[::-1], 9)] == [4, 0, 2]


def test_similarity_is_intersection_over_union() -> None:
    assert similarity("a b c", "B c, d") == 0.5
    assert similarity("", "") == 1.0
    assert similarity("3 + 4", "3 - 4") == 0.5


def test_refine_is_wrong_to_right_and_keep_is_right_to_the_same() -> None:
    problem = number()
    items = graded(problem, "Good.\nAnswer: 60", "Bad one.\nAnswer: 50", "no idea")
    made = build(problem, items, replace(NONE, refine=3, keep=1, weight_refine=0.7, weight_keep=0.3))
    (fix,), (same,) = kinds(made, "refine"), kinds(made, "keep")
    assert fix.prompt == words.refine(problem, FULL, "Bad one.\nAnswer: 50")
    assert (fix.target, fix.weight, fix.sources) == ("Good.\nAnswer: 60", 0.7, ("p0/0/1", "p0/0/0"))
    assert same.prompt == words.refine(problem, FULL, "Good.\nAnswer: 60")
    assert (same.target, same.weight, same.sources) == ("Good.\nAnswer: 60", 0.3, ("p0/0/0",))


def test_refine_shows_different_wrong_answers_before_a_second_of_the_same() -> None:
    problem = number()
    items = graded(problem, "Answer: 60", "a\nAnswer: 50", "b\nAnswer: 50", "c\nAnswer: 50", "d\nAnswer: 40")
    made = build(problem, items, replace(NONE, refine=2, positives=1))
    shown = {e.sources[0] for e in kinds(made, "refine")}
    assert "p0/0/4" in shown
    assert len(shown) == 2


def test_unparsed_candidates_are_negatives_only_when_asked() -> None:
    problem = number()
    items = graded(problem, "Answer: 60", "no idea")
    assert build(problem, items, replace(NONE, refine=1)) == []
    made = build(problem, items, replace(NONE, refine=1, unparsed_negatives=True))
    assert [e.kind for e in made] == ["refine"]


def test_select_shows_different_answers_and_names_the_right_one() -> None:
    """Answers 60 (right, twice), 50 (twice), 40: every set shows each answer at most once; the index is that
    of 60.
    """
    problem = choice()
    texts = ("a\nAnswer: B", "b\nAnswer: B", "c\nAnswer: A", "d\nAnswer: A", "e\nAnswer: C")
    items = graded(problem, *texts)
    answers = {f"p0/0/{i}": "BBAAC"[i] for i in range(5)}
    cfg = replace(NONE, select=2, select_min=2, select_max=4, select_none=0.0)
    places = set()
    for seed in range(40):
        for example in build(problem, items, cfg, seed):
            shown = [answers[name] for name in example.sources]
            assert len(set(shown)) == len(shown) in (2, 3)
            place = shown.index("B")
            places.add((place, len(shown)))
            assert example.target == f"Solution [{place + 1}] is right.\nAnswer: 60"
            assert example.prompt == words.select(problem, FULL, [texts[int(n[-1])] for n in example.sources])
    assert places == {(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}


def test_all_wrong_sets_say_that_none_is_right() -> None:
    problem = choice()
    items = graded(problem, "x\nAnswer: B", "c\nAnswer: A", "e\nAnswer: C")
    cfg = replace(NONE, select=1, select_none=1.0)
    made, stats = build_examples({"p0": items}, [problem], cfg, FULL, 0)
    assert [e.target for e in made] == ["None of the solutions is right."]
    assert set(made[0].sources) == {"p0/0/1", "p0/0/2"}
    assert stats.select_none == 1
    unsolved, _ = build_examples({"p0": items[1:]}, [problem], replace(cfg, select=5), FULL, 0)
    assert len(unsolved) == 1
    assert build(problem, items[1:], replace(cfg, select_none=0.0)) == []
    named = build(problem, items[1:], replace(cfg, select_target="answer"))
    assert [e.target for e in named] == ["Answer: 60"]


def test_drawn_sets_are_those_of_test_time() -> None:
    """Round 1 drew 60, 60, 50 (whose likelier 60 is the second); round 0 drew 50, 40 and 7, which is no choice. All
    three are drawn: the newest round shows {60, 50}, the older one {50, 40}, which is wrong and used as asked.
    """
    problem = choice()
    old = graded(problem, "a\nAnswer: A", "b\nAnswer: C", "c\nAnswer: 7")
    new = graded(problem, "d\nAnswer: B", "e\nAnswer: B", "f\nAnswer: A", round=1)
    new[1] = replace(new[1], candidate=replace(new[1].candidate, logprobs=(-0.01,)))
    cfg = replace(NONE, select=3, select_mix="drawn", select_min=3, select_max=4, select_target="solution")
    made = build(problem, [*old, *new], replace(cfg, select_none=1.0))
    assert [set(e.sources) for e in made] == [{"p0/1/1", "p0/1/2"}, {"p0/0/0", "p0/0/1"}]
    assert [e.target for e in made] == ["e\nAnswer: B", FULL.none_right]
    shown = [{"p0/1/1": "e\nAnswer: B", "p0/1/2": "f\nAnswer: A"}[name] for name in made[0].sources]
    assert made[0].prompt == words.select(problem, FULL, shown, "solution")
    right = build(problem, [*old, *new], replace(cfg, select_none=0.0))
    assert [set(e.sources) for e in right] == [{"p0/1/1", "p0/1/2"}]
    assert build(problem, [*old, *new], replace(cfg, select=1))[0].target == "e\nAnswer: B", "the newest round first"
    assert build(problem, new[:2], cfg) == [], "one answer leaves nothing to choose"


def test_drawn_sets_keep_what_a_filter_dropped_out() -> None:
    """The only right solution computes 50 and says 60: no set may hold it, or its text would be a target."""
    problem = number()
    items = graded(problem, "20 + 30 = 50\nAnswer: 60", "Answer: 50", "Answer: 40")
    cfg = replace(NONE, select=2, select_mix="drawn", select_min=3, select_none=1.0, filters=("computed_last",))
    assert [set(e.sources) for e in build(problem, items, cfg)] == [{"p0/0/1", "p0/0/2"}]


def test_the_share_of_all_wrong_sets_is_as_asked() -> None:
    """400 problems, one set each at 0.25: expected 100, standard deviation 8.7; five of them either way."""
    problems = [choice(f"p{i}") for i in range(400)]
    pool = {p.id: graded(p, "x\nAnswer: B", "c\nAnswer: A", "e\nAnswer: C") for p in problems}
    _, stats = build_examples(pool, problems, replace(NONE, select=1, select_none=0.25), FULL, 0)
    assert stats.kinds["select"] == 400
    assert 56 <= stats.select_none <= 144


def test_prefer_pairs_join_right_and_wrong_under_the_plain_prompt() -> None:
    problem = number()
    items = graded(problem, "Answer: 60", "a\nAnswer: 50", "b\nAnswer: 40")
    made = build(problem, items, replace(NONE, prefer=2))
    assert [e.rejected for e in made] == [False, True, False, True]
    assert made[0].pair == made[1].pair != made[2].pair == made[3].pair
    assert {e.target for e in made if e.rejected} == {"a\nAnswer: 50", "b\nAnswer: 40"}
    assert {e.target for e in made if not e.rejected} == {"Answer: 60"}
    assert all(e.prompt == words.solve(problem, FULL) for e in made)


def test_direct_answers_are_for_every_problem_and_letters_when_asked() -> None:
    problem = choice()
    (example,) = build(problem, [], replace(NONE, qa=0.2))
    assert (example.kind, example.target, example.weight) == ("answer", "Answer: 60", 0.2)
    assert example.prompt == words.direct(problem, FULL)
    (example,) = build(problem, [], replace(NONE, qa=0.2), letters=True)
    assert example.target == "Answer: B"


def test_newest_pool_uses_the_last_round_only() -> None:
    problem = number()
    items = graded(problem, "Answer: 60") + graded(problem, "new\nAnswer: 60", "Answer: 1", round=1)
    made = build(problem, items, replace(NONE, positives=5, pool="newest"))
    assert [e.sources for e in made] == [("p0/1/0",)]
    made = build(problem, items, replace(NONE, positives=5))
    assert [e.sources for e in made] == [("p0/1/0",), ("p0/0/0",)]


def test_filters_drop_positives_and_are_counted() -> None:
    problem = number()
    items = graded(problem, "180 - 120 = 60\nAnswer: 60", "90 - 20 = 60\nAnswer: 60", "Answer: 50")
    cfg = replace(NONE, positives=5, filters=("computed_last", "steps_hold"))
    made, stats = build_examples({"p0": items}, [problem], cfg, FULL, 0)
    assert [e.sources for e in made] == [("p0/0/0",)]
    assert (stats.positives, stats.used_positives) == (2, 1)
    assert stats.dropped == {"computed_last": 0, "steps_hold": 1, "duplicates": 0}
    with pytest.raises(ConfigError, match="give build_examples a policy"):
        build(
            choice(images=True),
            graded(choice(images=True), "Answer: B"),
            replace(NONE, filters=("grounded",)),
        )
    image = choice(images=True)
    kept, _ = build_examples(
        {"p0": graded(image, "Answer: B")}, [image], replace(NONE, positives=1, filters=("grounded",)), FULL,
        0, policy=FakePolicy(weigh=lambda prompt, text: -float("blank" in prompt.images[0].describe())),
    )  # fmt: skip
    assert len(kept) == 1


def test_rescued_positives_are_trained_under_the_plain_prompt_and_never_beside_own_ones() -> None:
    """Texts that speak of the hint are left out; a solved problem ignores what was rescued."""
    problem = number()
    rescued = {"p0": graded(problem, "As the hint says.\nAnswer: 60", "By the angle sum.\nAnswer: 60")}
    cfg = replace(NONE, positives=3, refine=1, hint=True)
    made, stats = build_examples({"p0": graded(problem, "Answer: 50")}, [problem], cfg, FULL, 0, rescued=rescued)
    assert [(e.kind, e.target) for e in made] == [
        ("answer", "By the angle sum.\nAnswer: 60"),
        ("refine", "By the angle sum.\nAnswer: 60"),
    ]
    assert made[0].prompt == words.solve(problem, FULL)
    assert (stats.rescued, stats.solved, stats.to_dict()["never_solved"]) == (1, 0, 1)
    own, stats = build_examples({"p0": graded(problem, "Answer: 60")}, [problem], cfg, FULL, 0, rescued=rescued)
    assert [e.target for e in own] == ["Answer: 60"]
    assert stats.rescued == 0
    with pytest.raises(ConfigError, match=r"rollout\.rescue"):
        build_examples({}, [problem], cfg, FULL, 0)
    with pytest.raises(ConfigError, match=r"rollout\.rescue"):
        build_examples({}, [problem], NONE, FULL, 0, rescued={})


@pytest.mark.parametrize(
    ("cfg", "named"),
    [
        (replace(NONE, filters=("nonsense",)), "found filter 'nonsense'"),
        (replace(NONE, select_min=1), "select_min 1"),
        (replace(NONE, select_max=1), "select_max 1"),
        (replace(NONE, select_none=1.5), "select_none 1.5"),
        (replace(NONE, keep=-1), "negative number"),
    ],
)
def test_contradictions_are_refused(cfg: BuildConfig, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_examples({}, [], cfg, FULL, 0)


@settings(max_examples=25)
@given(st.permutations(range(6)), st.integers(0, 5))
def test_examples_depend_on_seed_and_problem_alone(order: list[int], seed: int) -> None:
    """Any order of problems, and any other problems beside it, give a problem the same examples."""
    problems = [choice(f"p{i}") for i in range(6)]
    texts = [f"way {i}\nAnswer: {'ABCD'[i % 4]}" for i in range(8)]
    pool = {p.id: graded(p, *texts) for p in problems}
    cfg = BuildConfig(positives=2, refine=2, keep=1, select=2, prefer=1, qa=0.1)
    whole, _ = build_examples(pool, [problems[i] for i in order], cfg, FULL, seed)
    for problem in problems:
        alone = problem_examples(problem, pool[problem.id], cfg, FULL, seed)
        assert [e for e in whole if e.problem_id == problem.id] == alone
    other, _ = build_examples(pool, problems, cfg, FULL, seed + 1)
    assert {e.sources for e in other} != {e.sources for e in whole}


THOUGHT = "<think>\n180 - 120 is 50, no, 60\n</think>\n\nThe angle sum gives 60.\nAnswer: 60"


def sampled(problem, *texts: str, tokenizer: str = "mark", cut: tuple[int, ...] = ()):
    """Graded candidates with ids of a known tokenizer: 10 and the index, and 0 for the end of those not `cut`."""
    return [
        replace(
            item,
            candidate=replace(
                item.candidate,
                token_ids=(10, i) if i in cut else (10, i, 0),
                logprobs=(),
                tokenizer=tokenizer,
                stop="length" if i in cut else "eos",
            ),
        )
        for i, item in enumerate(graded(problem, *texts))
    ]


def test_a_whole_candidate_is_taught_as_its_ids_under_every_prompt() -> None:
    problem = number()
    items = sampled(problem, "180 - 120 = 60\nAnswer: 60", "Answer: 50", "So it is.\nAnswer: 60", cut=(2,))
    cfg = replace(NONE, positives=2, refine=1, keep=1, select=1, prefer=1, select_target="solution", select_none=0.0)
    made = build(problem, items, cfg)
    assert {e.kind for e in made} == {"answer", "refine", "keep", "select", "prefer"}
    for e in made:
        (target,) = [i.candidate for i in items if i.candidate.text == e.target]
        assert (e.token_ids, e.tokenizer, e.logprobs) == (target.token_ids, "mark", ())
        assert e.ended == (target.stop == "eos")
    assert {len(e.token_ids) for e in made} == {2, 3}, "the one that was cut off has no end to teach"
    for e in build(problem, sampled(problem, "Answer: 60", tokenizer=""), replace(cfg, select=0)):
        assert e.token_ids == (), "ids of a tokenizer that nobody knows"


def test_answers_that_no_candidate_gave_have_no_ids() -> None:
    problem = number()
    items = sampled(problem, "180 - 120 = 60\nAnswer: 60", "Answer: 50")
    made = build(problem, items, replace(NONE, select=1, select_none=0.0, qa=1.0))
    assert [(e.kind, e.token_ids, e.ended) for e in made] == [("select", (), True), ("answer", (), True)]


@pytest.mark.parametrize("name", ["full", "full+thoughts"])
def test_what_is_shown_of_a_thought_is_one_option_and_targets_think_as_they_were_sampled(name: str) -> None:
    """Dropped, a solution told again is told as it was shown, and not as it was sampled."""
    problem, style = number(), words.style(name)
    items = sampled(problem, THOUGHT, "<think>\n50\n</think>\n\nAnswer: 50")
    cfg = replace(NONE, positives=1, refine=1, keep=1, select=1, select_target="solution", select_none=0.0)
    made = {e.kind: e for e in problem_examples(problem, items, cfg, style, 0)}
    for kind in ("answer", "refine", "keep"):
        assert made[kind].token_ids == items[0].candidate.token_ids
        assert made[kind].target == THOUGHT
    for kind in ("refine", "keep", "select"):
        assert ("<think>" in made[kind].prompt.messages[0].text) == (name == "full+thoughts")
    told = made["select"]
    if name == "full":
        assert (told.target, told.token_ids) == ("The angle sum gives 60.\nAnswer: 60", ())
    else:
        assert (told.target, told.token_ids) == (THOUGHT, items[0].candidate.token_ids)
