"""Rewards from verdicts, groups with and without something to teach, and the settings of `r3v reinforce`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from r3v.app.commands.reinforce import DRY, effective
from r3v.curriculum.reinforce.config import (
    GroupConfig,
    ReinforceConfig,
    ReinforceRun,
    RewardConfig,
    UpdateConfig,
    advantage_scale,
    block_end,
    check,
    loss_options,
)
from r3v.curriculum.reinforce.groups import Asker, Group, Stream, gather, why_flat
from r3v.curriculum.reinforce.rewards import Reward, overlong_share, reward, well_formed
from r3v.data.geoworld import item_of, source
from r3v.errors import ConfigError, EngineError
from r3v.grading import grade
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES, answer_line, solve, style
from r3v.records import Candidate, Graded, Outcome, Problem, Prompt, Verdict

SHORT = style("short")
GROUP = GroupConfig(problems=2, n=4, max_draws=3.0, max_new_tokens=40, overlong="none")
REWARD = RewardConfig(correct=1.0, wrong=0.0, unparsed=-0.5, format=0.1)
PROBLEMS = [Problem(f"p{i}", f"What is {i} + 1?", str(i + 1), "number") for i in range(6)]


def candidate(text: str, stop: Literal["eos", "length"] = "eos", tokens: int = 3) -> Candidate:
    return Candidate("p0", 1, 0, 0, text, token_ids=tuple(range(tokens)), stop=stop)


def judged(outcome: Outcome, text: str = "Answer: 1", **more) -> Graded:
    return Graded(candidate(text, **more), Verdict(outcome))


# ---- rewards -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("3 + 4 = 7\nAnswer: 7", "eos", True),
        ("Answer: 7 cm\n\n", "eos", True),
        ("  Answer:  (B) 12", "eos", True),
        ("Answer: 7", "length", False),
        ("The answer is 7", "eos", False),
        ("Answer:", "eos", False),
        ("Answer: 7\nI am sure.", "eos", False),
        ("Answer: 7\nNo.\nAnswer: 8", "eos", False),
        ("So Answer: 7", "eos", False),
        ("", "eos", False),
    ],
)
def test_format_is_one_answer_line_at_the_end(text, stop, expected) -> None:
    assert well_formed(candidate(text, stop), SHORT) is expected


@pytest.mark.parametrize("name", sorted(STYLES))
def test_format_agrees_with_the_prompt(name) -> None:
    """What a style's own answer line says is well formed, and a prompt that spells the line out spells this one."""
    words = STYLES[name]
    assert well_formed(candidate(f"Because.\n{answer_line(words, '12 cm')}"), words)
    prefix = words.answer.partition("{answer}")[0]
    if "Answer" in words.solve:
        assert f"'{prefix}'" in words.solve
    spanish = replace(words, answer="Respuesta = {answer} .")
    assert well_formed(candidate("Respuesta = 12 ."), spanish)
    assert not well_formed(candidate("Answer: 12"), spanish)


def test_the_worlds_own_rationales_are_right_and_well_formed() -> None:
    problems = source("train", 12)
    for problem in problems:
        item = judged_text(problem, item_of(problem).rationale)
        assert reward(item, REWARD, GROUP, SHORT) == Reward(1.1, 1.0, 0.1, 0.0), problem.id


def judged_text(problem: Problem, text: str) -> Graded:
    return Graded(candidate(text), grade(problem, text))


def test_reward_by_hand() -> None:
    """correct 1 + format 0.1; wrong 0; unparsed -0.5 without format; unavailable none at all."""
    assert reward(judged(Outcome.CORRECT), REWARD, GROUP, SHORT) == Reward(1.1, 1.0, 0.1, 0.0)
    assert reward(judged(Outcome.WRONG, "7"), REWARD, GROUP, SHORT).total == 0.0
    assert reward(judged(Outcome.UNPARSED, "hm"), REWARD, GROUP, SHORT).total == -0.5
    assert reward(judged(Outcome.UNAVAILABLE), REWARD, GROUP, SHORT).total is None
    assert reward(judged(Outcome.CORRECT), replace(REWARD, format=0.0), GROUP, SHORT).total == 1.0


def test_soft_overlong_penalty_by_hand() -> None:
    """Limit 40, buffer 20: no penalty up to 20 tokens, 0.25 at 25, 1 at 40 and for what was cut off."""
    assert [overlong_share(candidate("", tokens=n), 40, 20) for n in (3, 20, 25, 40)] == [0.0, 0.0, 0.25, 1.0]
    assert overlong_share(candidate("", "length", 40), 40, 20) == 1.0
    soft = replace(GROUP, overlong="soft", overlong_buffer=20, overlong_penalty=0.8)
    found = reward(judged(Outcome.CORRECT, tokens=25), REWARD, soft, SHORT)
    assert found.total == pytest.approx(1.1 - 0.2)
    assert found.length == pytest.approx(-0.2)


# ---- groups --------------------------------------------------------------------------------------


def group_of(*totals: float | None, right: tuple[bool, ...] = ()) -> Group:
    outcomes = [Outcome.CORRECT if r else Outcome.WRONG for r in right] or [Outcome.WRONG] * len(totals)
    graded = tuple(judged(o) for o in outcomes)
    return Group(PROBLEMS[0], solve(PROBLEMS[0], SHORT), graded, tuple(Reward(t) for t in totals))


def test_flat_groups_and_why() -> None:
    assert not group_of(0.0, 1.0).flat
    assert not group_of(0.0, None, 0.1).flat
    assert group_of(0.5, 0.5, None).flat
    assert why_flat(group_of(1.0, None)) == "unscored"
    assert why_flat(group_of(1.0, 1.0, None, right=(True, True, False))) == "all_right"
    assert why_flat(group_of(0.0, 0.0)) == "none_right"
    assert why_flat(group_of(0.1, 0.1, right=(True, False))) == "equal"


def asker(answer, group=GROUP, policy=None) -> Asker:
    return Asker(policy or ScriptedPolicy(answer), SHORT, group, REWARD, grade, solve, seed=0, iteration=1)


def right_if(wanted: dict[str, set[int]]):
    """Sample `index` of problem p is right when it is in wanted[p]; others are wrong."""

    def answer(prompt: Prompt, index: int) -> str:
        number = int(prompt.problem_id[1:]) + 1
        return f"Answer: {number if index in wanted.get(prompt.problem_id, set()) else number + 1}"

    return answer


def order(n: int) -> list[str]:
    return [PROBLEMS[i].id for i in Stream(6, 0).take(n, set())]


def test_dynamic_sampling_replaces_flat_groups() -> None:
    """Problems 1 and 3 in the order asked are mixed, the others all wrong: two flat ones are replaced, four asked,
    in waves of 2, 1, 1. The accuracy is that of all 16 samples: 2 x 2 right."""
    ids = order(4)
    ask = asker(right_if({ids[1]: {0, 2}, ids[3]: {1, 3}}))
    stream = Stream(6, 0)
    groups, tally = gather(PROBLEMS, stream, ask, GROUP, SHORT)
    assert [g.problem.id for g in groups] == [ids[1], ids[3]]
    assert isinstance(ask.policy, ScriptedPolicy)
    assert ask.policy.calls == [("generate", 2), ("generate", 1), ("generate", 1)]
    found = tally.to_dict()
    assert (found["asked"], found["kept"], found["flat"]) == (4, 2, {"none_right": 2})
    assert found["accuracy"] == 4 / 16
    assert found["outcomes"] == {"correct": 4, "wrong": 12, "unparsed": 0, "unavailable": 0}
    assert found["reward"] == pytest.approx((4 * 1.1 + 12 * 0.1) / 16)
    assert found["format"] == 1.0
    assert stream.at == 4


def test_dynamic_sampling_stops_at_its_bound() -> None:
    """Nothing is ever right: max_draws 1.5 x 2 problems = 3 are asked, and nothing is kept or hidden."""
    ask = asker(right_if({}), group := replace(GROUP, max_draws=1.5))
    groups, tally = gather(PROBLEMS, Stream(6, 0), ask, group, SHORT)
    assert (groups, tally.asked, tally.kept, dict(tally.flat)) == ([], 3, 0, {"none_right": 3})
    few, tally = gather(PROBLEMS[:2], Stream(2, 0), asker(right_if({})), GROUP, SHORT)
    assert (few, tally.asked) == ([], 2), "no problem is asked twice"


def test_without_dynamic_sampling_flat_groups_stay() -> None:
    group = replace(GROUP, dynamic=False)
    groups, tally = gather(PROBLEMS, Stream(6, 0), asker(right_if({}), group), group, SHORT)
    assert (len(groups), tally.asked, tally.kept) == (2, 2, 2)
    assert all(g.flat for g in groups)


class Failing(ScriptedPolicy):
    """Fails on any call that holds the problem `bad`."""

    def __init__(self, answer, bad: str) -> None:
        super().__init__(answer)
        self.bad = bad

    def generate(self, prompts, n, params, **more):
        if any(p.problem_id == self.bad for p in prompts):
            raise EngineError("out of memory")
        return super().generate(prompts, n, params, **more)


def test_engine_failures_are_skipped_never_wrong() -> None:
    """One of two problems cannot be sampled: its group is unscored, the other one is asked alone and kept."""
    ids = order(3)
    policy = Failing(right_if({i: {0} for i in ids}), ids[0])
    groups, tally = gather(PROBLEMS, Stream(6, 0), asker(None, policy=policy), GROUP, SHORT)
    assert [g.problem.id for g in groups] == [ids[1], ids[2]]
    found = tally.to_dict()
    assert found["flat"] == {"unscored": 1}
    assert found["outcomes"]["unavailable"] == 4
    assert found["accuracy"] == 2 / 8


def test_stream_is_a_shuffle_per_pass_and_resumes() -> None:
    whole = Stream(5, 3)
    first, second = whole.take(5, set()), whole.take(5, set())
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    resumed = Stream(5, 3, at=3)
    assert resumed.take(4, set()) == [*first[3:], *second[:2]]
    assert Stream(5, 4).take(5, set()) != first
    across = Stream(5, 3, at=3)
    assert len(set(across.take(5, set()))) == 5, "a problem comes once per call, also over the end of a pass"


# ---- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": GroupConfig(n=1)}, "group.n 1"),
        ({"run": ReinforceRun(iterations=0)}, "run.iterations 0"),
        ({"group": GroupConfig(max_draws=0.5)}, "group.max_draws 0.5"),
        ({"group": GroupConfig(overlong="soft", overlong_buffer=500)}, "overlong_buffer 500"),
        ({"train": UpdateConfig(loss="gspo", ratio_cap=2.0)}, "train.ratio_cap, which gspo"),
        ({"train": UpdateConfig(loss="cispo", clip_high=0.3)}, "train.clip_high, which cispo"),
        ({"train": UpdateConfig(weight_max=3.0)}, "train.weight_max, which dapo"),
    ],
)
def test_contradictions_are_told(change, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check(replace(ReinforceConfig(), **change))


def test_dropout_is_refused() -> None:
    config = ReinforceConfig()
    with pytest.raises(ConfigError, match="lora_dropout"):
        check(replace(config, model=replace(config.model, lora_dropout=0.1)))
    check(config)


def test_loss_options_and_scale() -> None:
    dr = ReinforceConfig(train=UpdateConfig(loss="dr_grpo", clip_high=0.3, beta=0.01), group=GroupConfig(n=4))
    assert loss_options(dr) == {"clip_high": 0.3, "beta": 0.01, "max_tokens": 384}
    assert advantage_scale(dr) == "none"
    assert advantage_scale(ReinforceConfig()) == "group"
    assert advantage_scale(replace(dr, reward=RewardConfig(scale="batch"))) == "batch"
    assert [block_end(start, ReinforceRun(iterations=25, eval_every=10)) for start in (0, 9, 10, 13, 20)] == [
        *(10, 10, 20, 20, 25)
    ]


def test_recipe_flags_and_dry_run() -> None:
    """The recipe's values, a flag over them, the rest by default; a dry run is small, and keeps what was asked for."""
    config = effective("geoworld_tiny_reinforce", ["--group.n=4", "--train.loss", "cispo"], dry_run=False)
    assert (config.group.n, config.train.loss, config.model.path) == (4, "cispo", "geoworld-tiny")
    assert config.select.selectors == ("greedy",)
    check(config)
    dry = effective("geoworld_tiny_reinforce", ["--group.n", "5"], dry_run=True)
    assert (dry.group.n, dry.group.problems) == (5, DRY["group.problems"])
    assert dry.run.dir.endswith("-dry-run")
    check(dry)
    with pytest.raises(ConfigError, match=r"did you mean group\.problems"):
        effective("geoworld_tiny_reinforce", ["--group.problem=3"], dry_run=False)
