"""Selectors on literal candidates; no method but the oracle sees the gold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reflection_fakes import FakePolicy, candidate, choice, number

from r3v import prompts as words
from r3v.errors import ConfigError, EngineError, PromptError
from r3v.policies.base import Score, text_of
from r3v.rollout.choose import problem_rng
from r3v.selection.selector import ORACLE, SELECTORS, Selector, blind
from r3v.selection.selfselect import group_answers, orders, shown_answer
from r3v.settings.config import SelectConfig

FULL = words.style("full")


def numbered(*texts_and_logprobs: tuple[str, float]):
    problem = number()
    return problem, [candidate(problem, t, i, logprob=p) for i, (t, p) in enumerate(texts_and_logprobs)]


def selector(weigh=lambda prompt, text: 0.0, answer=lambda prompt, index: "", letters=False, **cfg) -> Selector:
    cfg = {"target": "index_answer", **cfg}
    return Selector(FakePolicy(answer, weigh), FULL, SelectConfig(**cfg), letters)


def prefers(answer: str, strength: float = 2.0):
    """A model that gives the continuation naming `answer` `strength` nats more, wherever it stands."""
    return lambda prompt, text: strength if text.endswith(f"Answer: {answer}") else 0.0


def test_majority_counts_normalised_answers_and_leaves_unparsed_out() -> None:
    """60 and 60.0 are one answer with two votes; the three that name nothing do not win."""
    problem, items = numbered(
        ("Answer: 50", -0.1),
        ("Answer: 60", -0.9),
        ("Answer: 60.0", -0.8),
        ("hm", 0.0),
        ("hm", 0.0),
        ("hm", 0.0),
    )
    chosen = selector().choose("majority", problem, items)
    assert (chosen.chosen.index, chosen.answer) == (2, "60")
    assert chosen.scores == pytest.approx((1 / 3, 2 / 3, 2 / 3, 0, 0, 0))
    assert chosen.tokens == 24


def test_majority_breaks_ties_by_mean_log_probability() -> None:
    """Two votes each; 40 averages -0.3, 50 averages -0.4 though its best is the best of all."""
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 40", -0.3), ("Answer: 50", -0.7), ("Answer: 40", -0.3))
    assert selector().choose("majority", problem, items).chosen.index == 1


def test_unparsed_wins_only_where_all_are() -> None:
    problem, items = numbered(("hm", -0.5), ("well", -0.2))
    for method in sorted(set(SELECTORS) - {"greedy"}):
        chosen = selector().choose(method, problem, items)
        assert (chosen.chosen.index, chosen.answer) == (1, None), method
    problem, items = numbered(("hm", -0.1), ("Answer: 50", -3.0))
    for method in sorted(set(SELECTORS) - {"greedy"}):
        assert selector().choose(method, problem, items).chosen.index == 1, method


def test_likelihood_takes_the_highest_mean() -> None:
    problem, items = numbered(("Answer: 50", -0.4), ("Answer: 60", -0.2), ("Answer: 50", -0.3))
    chosen = selector().choose("likelihood", problem, items)
    assert chosen.chosen.index == 1
    assert chosen.scores == pytest.approx((-0.4, -0.2, -0.3))


def test_self_select_is_the_models_probability_over_distinct_answers() -> None:
    """Answers 50 (three times), 60 (once): two shown, plus "none". Weights e^2 : 1 : 1 give 60 the share
    e^2 / (e^2 + 1) after "none" is renormalised away; "none" itself has 1 / (e^2 + 2).
    """
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 50", -0.2), ("Answer: 60", -0.9), ("Answer: 50", -0.3))
    model = selector(prefers("60"), permutations=2)
    chosen = model.choose("self_select", problem, items)
    share = math.e**2 / (math.e**2 + 1)
    assert (chosen.chosen.index, chosen.answer) == (2, "60")
    assert chosen.scores == pytest.approx((1 - share, 1 - share, share, 1 - share))
    assert chosen.details["none"] == pytest.approx(1 / (math.e**2 + 2))
    scored = model.policy.scored  # type: ignore[attr-defined]
    assert len(scored) == 2
    assert all(prompt.messages[0].text.count("Answer: 50") == 1 for prompt, _ in scored)
    assert {texts for _, texts in scored} == {
        ("Solution [1] is right.\nAnswer: 50", "Solution [2] is right.\nAnswer: 60", FULL.none_right),
        ("Solution [1] is right.\nAnswer: 60", "Solution [2] is right.\nAnswer: 50", FULL.none_right),
    }
    assert chosen.tokens == 4 * 4 + 2 * 3 * 2


def test_the_best_candidate_is_chosen_even_if_none_is_likelier() -> None:
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 60", -0.9))
    weigh = lambda prompt, text: 30.0 if text == FULL.none_right else prefers("60")(prompt, text)  # noqa: E731
    chosen = selector(weigh).choose("self_select", problem, items)
    assert chosen.answer == "60"
    assert chosen.details["none"] == pytest.approx(1.0, abs=1e-9)


def test_a_model_that_likes_the_first_place_decides_nothing() -> None:
    """With both orders shown each answer is first once, so the shares are equal: the order is undone."""
    problem, items = numbered(("Answer: 50", -0.4), ("Answer: 60", -0.2))
    first = lambda prompt, text: 3.0 if "[1]" in text else 0.0  # noqa: E731
    chosen = selector(first, permutations=2).choose("self_select", problem, items)
    assert chosen.scores == pytest.approx((0.5, 0.5))
    assert chosen.chosen.index == 1
    alone = selector(first, permutations=1).choose("self_select", problem, items)
    assert sorted(alone.scores) == pytest.approx([1 / (1 + math.e**3), math.e**3 / (1 + math.e**3)])


@pytest.mark.parametrize(("sure", "asked"), [(1.0, 2), (0.9, 1), (0.96, 2)])
def test_a_sure_answer_is_not_asked_about_again(sure: float, asked: int) -> None:
    """Weights e^3 : 1 give the answer a share of 0.953 in every order."""
    problem, items = numbered(("Answer: 50", -0.4), ("Answer: 60", -0.2))
    model = selector(lambda prompt, text: 3.0 * ("Answer: 50" in text), permutations=2, sure=sure)
    chosen = model.choose("self_select", problem, items)
    assert len(model.policy.scored) == asked  # type: ignore[attr-defined]
    assert chosen.answer == "50"
    assert chosen.scores[0] == pytest.approx(math.e**3 / (1 + math.e**3))


@given(st.integers(1, 6), st.integers(1, 14), st.integers(0, 99))
def test_orders_are_different_permutations_and_even_numbers_are_balanced(n: int, count: int, seed: int) -> None:
    found = orders(n, count, problem_rng(seed, "p", "x"))
    assert len(set(found)) == len(found) <= count
    assert all(sorted(order) == list(range(n)) for order in found)
    if len(found) % 2 == 0:
        places = [sum(order.index(i) for order in found) for i in range(n)]
        assert len(set(places)) == 1


def test_fused_mixes_votes_and_self_select() -> None:
    """Votes 3/4 : 1/4; self-select share of 60 is s = e^2/(e^2+1) = 0.881. At weight 0.5, 60 has 0.565 and
    wins; at weight 0.9 it has 0.313 and 50 wins.
    """
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 50", -0.2), ("Answer: 60", -0.9), ("Answer: 50", -0.3))
    share = math.e**2 / (math.e**2 + 1)
    half = selector(prefers("60"), fused_weight=0.5).choose("fused", problem, items)
    assert (half.answer, half.scores[2]) == ("60", pytest.approx(0.5 * 0.25 + 0.5 * share))
    votes = selector(prefers("60"), fused_weight=0.9).choose("fused", problem, items)
    assert (votes.answer, votes.scores[0]) == ("50", pytest.approx(0.9 * 0.75 + 0.1 * (1 - share)))


def test_one_distinct_answer_costs_no_scoring() -> None:
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 50.0", -0.2))
    model = selector()
    for method in ("self_select", "fused", "tournament"):
        chosen = model.choose(method, problem, items)
        assert (chosen.chosen.index, chosen.tokens) == (0, 8)
    assert model.policy.scored == []  # type: ignore[attr-defined]


def test_answers_are_shown_as_in_training() -> None:
    """The option or its letter for choices, what was written otherwise."""
    problem = choice()
    assert shown_answer(problem, "B", "Answer: B", letters=False) == "60"
    assert shown_answer(problem, "B", "Answer: B", letters=True) == "B"
    assert shown_answer(number(), "60", "so\nAnswer: 60.0", letters=False) == "60.0"
    assert shown_answer(number(), "60", "so 60", letters=False) == "60"
    items = [
        candidate(problem, "Answer: B"),
        candidate(problem, "Answer: 60", 1),
        candidate(problem, "Answer: C", 2),
    ]
    assert [(a.key, a.members) for a in group_answers(problem, items)] == [("B", (0, 1)), ("C", (2,))]
    strange = [candidate(problem, "Answer: 7"), *items[2:]]
    assert [(a.key, a.members) for a in group_answers(problem, strange)] == [("C", (1,))], "7 is no choice"
    assert [a.key for a in group_answers(problem, strange[:1])] == ["7"], "better than nothing"


def test_solutions_told_again_are_compared_per_token() -> None:
    """Two solutions: 8 tokens at -4 nats in all, 2 tokens at -1.4. Per token -0.5 and -0.7, so that the long one wins
    though its total is less; at their mean length of 5 tokens they are -2.5 and -3.5. "None" stays at its total, -3.
    """
    problem, items = numbered(("a long way round\nAnswer: 50", -0.1), ("short\nAnswer: 60", -0.9))
    lines = {items[0].text: (-0.5,) * 8, items[1].text: (-0.7,) * 2, FULL.none_right: (-3.0,)}
    asked = []

    class Policy(FakePolicy):
        def score(self, prompts, continuations):  # type: ignore[override]
            asked.extend(zip(prompts, continuations, strict=True))
            given = [[lines[text_of(reply)] for reply in several] for several in continuations]
            return [[Score((1,) * len(found), found) for found in several] for several in given]

    model = Selector(Policy(), FULL, SelectConfig(permutations=2, target="solution"))
    chosen = model.choose("self_select", problem, items)
    share = math.exp(-2.5) / (math.exp(-2.5) + math.exp(-3.5))
    assert (chosen.answer, chosen.scores) == ("50", pytest.approx((share, 1 - share)))
    assert chosen.details["none"] == pytest.approx(math.exp(-3) / sum(map(math.exp, (-2.5, -3.5, -3.0))))
    assert {prompt.messages[0].text.count("repeated word for word") for prompt, _ in asked} == {1}
    assert {tuple(texts) for _, texts in asked} == {
        (items[0], items[1], FULL.none_right),
        (items[1], items[0], FULL.none_right),
    }, "candidates as they were sampled, not their texts"
    assert chosen.tokens == 2 * 4 + 2 * (8 + 2 + 1)


def test_answer_only_targets_have_no_none() -> None:
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 60", -0.9))
    model = selector(prefers("60"), target="answer", permutations=1)
    chosen = model.choose("self_select", problem, items)
    assert (chosen.answer, chosen.details["none"]) == ("60", 0.0)
    assert set(model.policy.scored[0][1]) == {"Answer: 50", "Answer: 60"}  # type: ignore[attr-defined]


def test_tournament_shows_few_at_once_and_the_favourite_of_the_model_wins() -> None:
    """Nine answers in groups of at most 4: three groups of 3, then one of 3 winners. 17 wins both its
    matches.
    """
    texts = [(f"Answer: {10 + i}", -0.1 * i) for i in range(9)]
    problem, items = numbered(*texts)
    model = selector(prefers("17"), group=4, permutations=1)
    chosen = model.choose("tournament", problem, items)
    assert (chosen.answer, chosen.details["rounds"]) == ("17", 2)
    shown = [len(continuations) - 1 for _, continuations in model.policy.scored]  # type: ignore[attr-defined]
    assert shown == [3, 3, 3, 3]
    assert max(chosen.scores) == chosen.scores[7] == pytest.approx(1 + math.e**2 / (math.e**2 + 2))
    with pytest.raises(ConfigError, match="group 1"):
        selector(group=1).choose("tournament", problem, items)


def refiner(steps: dict[str, str]):
    """A model that answers a refine prompt by what it shows."""

    def answer(prompt, index: int) -> str:
        text = prompt.messages[0].text
        return next(new for old, new in steps.items() if f"Answer: {old}\n" in text)

    return answer


@pytest.mark.parametrize(
    ("steps", "answer", "flips", "confirmed", "trail"),
    [
        ({"50": "Answer: 50"}, "50", 0, True, ["50", "50"]),
        ({"50": "Answer: 60", "60": "Answer: 60"}, "60", 1, True, ["50", "60", "60"]),
        ({"50": "Answer: 60", "60": "Answer: 70"}, "50", 2, False, ["50", "60", "70"]),
        ({"50": "Answer: 60", "60": "Answer: 50"}, "50", 2, False, ["50", "60", "50"]),
        ({"50": "hm"}, "50", 1, False, ["50", None]),
    ],
)
def test_refine_takes_a_new_answer_only_when_confirmed(steps, answer, flips, confirmed, trail) -> None:
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 50", -0.2), ("Answer: 60", -0.3))
    chosen = selector(answer=refiner(steps)).choose("refine", problem, items)
    assert (chosen.answer, chosen.details["flips"], chosen.details["confirmed"]) == (answer, flips, confirmed)
    assert chosen.details["trail"] == trail
    assert chosen.tokens == 12 + 3 * (len(trail) - 1)


def test_oracle_takes_a_right_candidate_else_the_majority() -> None:
    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 50", -0.2), ("Answer: 60", -0.9))
    best = selector().choose(ORACLE, problem, items)
    assert (best.chosen.index, best.answer, best.scores) == (2, "60", (0.0, 0.0, 1.0))
    other = selector().choose(ORACLE, replace(problem, answer="99"), items)
    assert (other.chosen.index, other.scores) == (0, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("make", [choice, number])
def test_no_method_but_the_oracle_sees_the_gold(make) -> None:
    """The same selections come out, from sampling on, whatever gold the problem carries."""
    assert sorted(SELECTORS) == [
        "first",
        "fused",
        "greedy",
        "likelihood",
        "majority",
        "refine",
        "self_select",
        "tournament",
    ]
    texts = ["Answer: B", "Answer: C", "Answer: 60", "hm"] if make is choice else ["Answer: 60", "Answer: 70", "hm"]
    answer = lambda prompt, index: texts[index % len(texts)]  # noqa: E731
    golds = ("A", "B", "C") if make is choice else ("50", "60", "70")
    found = []
    for gold in golds:
        model = selector(prefers("70"), answer)
        found.append(model.select_many([make("p0", gold)], 8, list(SELECTORS), seed=3))
    assert found[0] == found[1] == found[2]
    assert blind(make("p0", golds[0])) == blind(make("p0", golds[1]))


def test_many_problems_are_sampled_once_and_scored_together() -> None:
    problems = [number(f"p{i}") for i in range(3)]
    policy = FakePolicy(lambda prompt, index: f"Answer: {60 + index}", prefers("61"))
    model = Selector(policy, FULL, SelectConfig(permutations=2))
    found = model.select_many(problems, 3, ["majority", "self_select", "fused", ORACLE])
    assert policy.calls == [3]
    assert {s.answer for s in found["self_select"]} == {"61"}
    assert [s.problem_id for s in found["fused"]] == ["p0", "p1", "p2"]
    assert len(policy.scored) == 3 * 2, "fused and self_select share their matches"
    assert found["fused"][0].tokens == found["self_select"][0].tokens
    policy.name = "other weights"
    model.choose_many("fused", problems, [s.candidates for s in found["fused"]])
    assert len(policy.scored) == 2 * 3 * 2
    for problem, together in zip(problems, found["self_select"], strict=True):
        assert model.choose("self_select", problem, together.candidates) == together


class Short(FakePolicy):
    """Takes no prompt of problem p1 that shows a solution, as a model with few positions does not."""

    def _check(self, prompts) -> None:
        long = [p.problem_id for p in prompts if p.problem_id == "p1" and "Answer: 6" in p.messages[0].text]
        if long:
            raise PromptError("problem 'p1': its prompt has 9,000 tokens", long)

    def generate(self, prompts, n, params, **more):
        self._check(prompts)
        return super().generate(prompts, n, params, **more)

    def score(self, prompts, continuations):
        self._check(prompts)
        return super().score(prompts, continuations)


@pytest.mark.parametrize("sure", [1.0, 0.5])
def test_a_problem_whose_select_prompt_is_too_long_is_decided_by_votes(sure: float, caplog) -> None:
    """61 has one vote of three in each problem and the model likes it by e^2: it wins where the prompt fits, with e^2
    of e^2 + 1, and loses in p1 by 1 : 2, without a token scored."""
    problems = [number(f"p{i}") for i in range(3)]
    policy = Short(lambda prompt, index: f"Answer: {60 + index // 2}", prefers("61"))
    cfg = SelectConfig(permutations=2, target="index_answer", sure=sure)
    chosen = Selector(policy, FULL, cfg).select_many(problems, 3, ["self_select", "tournament"])
    assert [s.answer for s in chosen["self_select"]] == ["61", "60", "61"]
    assert chosen["self_select"][1].scores == pytest.approx((2 / 3, 2 / 3, 1 / 3))
    assert chosen["self_select"][1].details["how"] == "votes"
    assert chosen["self_select"][0].scores[2] == pytest.approx(math.e**2 / (math.e**2 + 1))
    assert chosen["self_select"][1].tokens == 3 * 3
    assert [s.answer for s in chosen["tournament"]] == ["61", "60", "61"]
    assert "decided by votes: 1 problems, because of problem 'p1': its prompt has 9,000 tokens" in caplog.text


def test_the_majority_stands_where_a_refine_prompt_is_too_long() -> None:
    problems = [number(f"p{i}") for i in range(3)]
    texts = lambda prompt, index: "Answer: 70" if "Answer: 60" in prompt.messages[0].text else "Answer: 60"  # noqa: E731
    chosen = Selector(Short(texts), FULL, SelectConfig()).select_many(problems, 3, ["refine"])["refine"]
    assert [s.details["trail"] for s in chosen] == [["60", "70", "60"], ["60"], ["60", "70", "60"]]
    assert [(s.answer, s.details["confirmed"]) for s in chosen] == [("60", False)] * 3


def test_a_refusal_that_names_no_problem_passes() -> None:
    class Refusing(FakePolicy):
        def score(self, prompts, continuations):
            raise PromptError("no pictures today")

    problem, items = numbered(("Answer: 50", -0.1), ("Answer: 60", -0.9))
    with pytest.raises(PromptError, match="no pictures"):
        Selector(Refusing(), FULL, SelectConfig()).choose("self_select", problem, items)


def test_select_samples_and_greedy_asks_once_at_temperature_zero() -> None:
    seen = []

    class Watching(FakePolicy):
        def generate(self, prompts, n, params, **more):
            seen.append((n, params.temperature, params.top_p, params.max_new_tokens))
            return super().generate(prompts, n, params, **more)

    policy = Watching(lambda prompt, index: "Answer: 60")
    model = Selector(policy, FULL, SelectConfig(n=5, temperature=0.7, top_p=0.8, max_new_tokens=9))
    assert model.select(number()).answer == "60"
    assert model.select(number(), method="greedy").answer == "60"
    assert seen == [(5, 0.7, 0.8, 9), (1, 0.0, 1.0, 9)]
    assert model.select_many([], 3, ["greedy", "fused"]) == {"greedy": [], "fused": []}


def test_bad_requests_are_refused_and_engine_errors_pass() -> None:
    problem, items = numbered(("Answer: 50", -0.1))
    with pytest.raises(ConfigError, match=r"found selector 'vote', expected one of greedy.*oracle"):
        selector().choose("vote", problem, items)
    with pytest.raises(ConfigError, match="permutations 0"):
        selector(permutations=0).choose("fused", problem, items)
    with pytest.raises(ConfigError, match="without candidates"):
        selector().choose("majority", problem, [])
    with pytest.raises(ConfigError, match="found n 0"):
        selector().select(problem, 0)
    broken = Selector(FakePolicy(fail=lambda prompts: True), FULL, SelectConfig())
    with pytest.raises(EngineError):
        broken.select(problem)
