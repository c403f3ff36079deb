"""The adapter that only chooses: what it learns from, when, and who asks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loop_fakes import FakePolicy, Killed, World, answers, config, problems
from reflection_fakes import graded, number

from r3v import prompts as words
from r3v.app.cli import build_parser, main
from r3v.app.commands.common import model_config
from r3v.data import load as load_problems
from r3v.errors import ConfigError, RunError
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.chooser import WithChooser, with_chooser
from r3v.records import Problem
from r3v.reflection.build import problem_examples
from r3v.reflection.chooser import choosing, lessons, problems_of, teach
from r3v.reflection.loop import Splits, train
from r3v.reflection.settings import read
from r3v.reflection.stages import make_policy
from r3v.settings.config import BuildConfig, ChooserConfig, Config, DataConfig, ModelConfig, SelectConfig

FULL = words.style("full")


class Taught(World):
    """A world with 10 training problems, of which the rounds see as many as they are told, and a chooser's folder."""

    asked: Sequence[Problem] = ()
    weighed: float = 0.9
    """Gate accuracy with the chooser; without it, 0.9."""

    def load(self, data: DataConfig) -> Splits:
        return Splits(problems("train", 10)[: data.n_train], problems("gate", 2), problems("eval", 2))

    def policy(self, config: Config, adapter: Path | None) -> FakePolicy:
        name = super().policy(config, adapter).name
        return FakePolicy(f"{name}+{Path(config.select.adapter).parent.name}" if config.select.adapter else name)

    def sample(self, policy: Any, train: Any, folder: Path, config: Config, number: int) -> dict[str, Any]:
        self.asked = train
        return super().sample(policy, train, folder, config, number)

    def evaluate(self, policy: Any, asked: Any, selectors: Any, out: Path, config: Config) -> dict[str, Any]:
        if out.parent.name != "chooser":
            return super().evaluate(policy, asked, selectors, out, config)
        self._do("evaluate" if out.name == "eval.parquet" else out.stem, 9, out, policy.name)
        weighed = self.weighed if policy.name.endswith("chooser") else 0.9
        return answers(weighed, selectors, out if out.name != "eval.parquet" else None)


def settings(folder: Path, n: int = 4, n_train: int | None = 3) -> Config:
    whole = config(folder, rounds=1)
    return replace(whole, data=replace(whole.data, n_train=n_train), chooser=ChooserConfig(n=n))


def run(world: World, folder: Path, **kwargs: Any) -> dict[str, Any]:
    chosen = settings(folder, **kwargs)
    train(chosen, world.stages(), say=lambda _: None)
    return teach(chosen, world.stages(), say=lambda _: None)


def test_a_chooser_learns_after_the_rounds_from_problems_they_have_not_seen(tmp_path: Path) -> None:
    world = Taught()
    value = run(world, tmp_path)
    assert world.calls[-6:] == ["sample 2", "build 2", "fit 2", "evaluate 9", "gate_without 9", "gate 9"]
    assert [p.id for p in world.asked] == ["train3", "train4", "train5", "train6"]
    folder = tmp_path / "chooser"
    assert (folder / "adapter/content").read_text() == "from round_01 on (sampled by round_01)"
    weighed = (folder / "eval.parquet").read_text()
    assert weighed == "round_01+chooser", "the accepted adapter answers, the new one weighs"
    assert (value["chooser"]["problems"], value["chooser"]["accepted_round"]) == (4, 1)
    assert json.loads((tmp_path / "run.json").read_text()) == value


@pytest.mark.parametrize("where", [("sample", 2), ("build", 2), ("fit", 2), ("evaluate", 9), ("gate_without", 9)])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_chooser_goes_on_where_it_was(tmp_path: Path, where: tuple[str, int], after: bool) -> None:
    world = Taught(kill_at=where, kill_after=after)
    with pytest.raises(Killed):
        run(world, tmp_path)
    before = len(world.calls)
    assert run(world, tmp_path)["chooser"]["problems"] == 4
    order = [("sample", 2), ("build", 2), ("fit", 2), ("evaluate", 9), ("gate_without", 9), ("gate", 9)]
    again = [f"{stage} {number}" for stage, number in order[order.index(where) :]]
    assert world.calls[before:] == again, "what was done is not done again"
    done = len(world.calls)
    run(world, tmp_path)
    assert len(world.calls) == done


def test_a_chooser_that_chooses_worse_is_not_used(tmp_path: Path) -> None:
    """18 of 20 right without it; with it 12, so six lost and none won: p 1 / 64."""
    world = Taught()
    world.weighed = 0.6
    found = run(world, tmp_path)["chooser"]
    assert not found["accepted"]
    assert (found["decision"]["losses"], found["decision"]["wins"], found["decision"]["p"]) == (6, 0, 1 / 64)
    assert found["reason"].startswith("worse than choosing without the chooser on the gate: 90.0 -> 60.0 %")
    args, rest = build_parser().parse_known_args(["eval", "--run", str(tmp_path), "--data", "geoworld:test"])
    assert model_config(args, rest).select.adapter is None
    assert run(Taught(), tmp_path / "fair")["chooser"]["accepted"]
    args, rest = build_parser().parse_known_args(["eval", "--run", str(tmp_path / "fair"), "--data", "geoworld:test"])
    assert model_config(args, rest).select.adapter == str(tmp_path / "fair/chooser/adapter")


def test_a_run_may_be_given_a_chooser_later(tmp_path: Path) -> None:
    world = Taught()
    without = replace(settings(tmp_path), chooser=ChooserConfig())
    assert "chooser" not in train(without, world.stages(), say=lambda _: None)
    assert "chooser" in run(world, tmp_path)


def test_another_chooser_is_not_mixed_with_the_first(tmp_path: Path) -> None:
    run(Taught(), tmp_path, n=4)
    with pytest.raises(RunError, match=r"other settings \(n was 4, is 5\)"):
        run(Taught(), tmp_path, n=5)


def test_a_damaged_report_of_a_chooser_is_named_and_can_be_written_again(tmp_path: Path) -> None:
    before = run(Taught(), tmp_path)
    report = tmp_path / "chooser/report.json"
    report.write_text("{")
    with pytest.raises(RunError, match=r"chooser/report\.json: damaged .* delete it"):
        run(Taught(), tmp_path)
    report.unlink()
    assert run(Taught(), tmp_path) == before


def test_no_chooser_without_further_problems_or_before_the_last_round(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="after the last round"):
        teach(settings(tmp_path / "a"), Taught().stages(), say=lambda _: None)
    for n_train in (None, 10):
        with pytest.raises(ConfigError, match=rf"beyond data\.n_train {n_train}"):
            problems_of(settings(tmp_path / "b", n_train=n_train), Taught().stages())


def test_lessons_are_pairs_drawn_as_test_time_draws() -> None:
    whole = Config(
        build=BuildConfig(filters=("steps_hold",), qa=1.0, hint=True),
        select=SelectConfig(n=5, temperature=0.7),
        chooser=ChooserConfig(n=9, k=6, sets=3, epochs=0.5, lr=1e-4, beta=7.0),
    )
    made = lessons(whole)
    assert (made.build.select, made.build.select_min, made.build.select_max) == (3, 5, 5)
    assert (made.build.select_pairs, made.build.filters, made.build.qa, made.build.hint) == (True, (), 0.0, False)
    assert (made.train.loss, made.train.epochs, made.train.lr) == ("simpo", 0.5, 1e-4)
    assert made.train.simpo_beta == 7.0
    assert (made.sample.k, made.sample.temperature) == (6, 0.7)
    asked = choosing(whole, Path("a"))
    assert (asked.select.adapter, asked.select.target) == ("a", "solution")


def test_the_right_solution_told_again_is_preferred_to_each_wrong_one() -> None:
    """Four candidates, three answers: the right one (two give it, the likelier is shown) and two wrong ones."""
    problem = number()
    items = graded(problem, "a.\nAnswer: 60", "b.\nAnswer: 50", "c.\nAnswer: 40", "d.\nAnswer: 60")
    cfg = BuildConfig(
        positives=0, refine=0, keep=0, select=1, select_min=4, select_max=4, select_mix="drawn",
        select_target="solution", select_pairs=True, weight_select=0.5,
    )  # fmt: skip
    made = problem_examples(problem, items, cfg, FULL, 0)
    assert [e.kind for e in made] == ["prefer"] * 4
    assert [(e.rejected, e.weight) for e in made] == [(False, 0.5), (True, 0.5)] * 2
    chosen, wrong = made[0::2], made[1::2]
    assert {e.target for e in chosen} <= {"a.\nAnswer: 60", "d.\nAnswer: 60"}
    assert {e.target for e in wrong} == {"b.\nAnswer: 50", "c.\nAnswer: 40"}
    assert [e.pair for e in chosen] == [e.pair for e in wrong]
    assert len({e.pair for e in made}) == 2
    (prompt,) = {e.prompt for e in made}
    assert all(e.target in prompt.messages[-1].text for e in made), "what is told again is what was shown"
    only_wrong = graded(problem, "b.\nAnswer: 50", "c.\nAnswer: 40")
    assert problem_examples(problem, only_wrong, replace(cfg, select_none=1.0), FULL, 0) == []


def test_pairs_need_a_loss_that_learns_from_them() -> None:
    with pytest.raises(ConfigError, match=r"set build\.select_target solution"):
        read(None, ["--build.preset=r3v-fused", "--build.select_pairs=true", "--train.loss=simpo"])
    with pytest.raises(ConfigError, match=r"build\.select 0"):
        read(None, ["--build.select_pairs=true", "--train.loss=simpo"])
    pairs = ["--build.select=2", "--build.select_pairs=true"]
    with pytest.raises(ConfigError, match="learns nothing from pairs"):
        read(None, pairs)
    assert read(None, [*pairs, "--train.loss=simpo"]).config.build.select_pairs
    with pytest.raises(ConfigError, match=r"chooser\.n 5 with select\.n 1"):
        read(None, ["--chooser.n=5", "--select.n=1"])


class Named(FakePolicy):
    """Says who was asked."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return (self.name, kwargs)

    def score(self, *args: Any, **kwargs: Any) -> Any:
        return self.name


def test_one_answers_and_the_other_weighs() -> None:
    both = WithChooser(Named("a"), Named("b"))
    assert both.generate([], 2, SamplingParams(), seed=3, first_index=4) == (
        "a",
        {"seed": 3, "round": 0, "first_index": 4},
    )
    assert both.score([], []) == "b"
    assert both.name == "a, chosen by b"
    assert both.model is None


@pytest.mark.parametrize("answers", ["adapter", "base"])
def test_both_adapters_on_one_base_score_and_answer_as_alone(answers: str, tmp_path: Path) -> None:
    """Two adapters that are not zero: the answers are the first one's, the scores the second one's, whoever goes first;
    where an adapter answers, the weights are there once."""
    import torch

    from r3v.policies.model.adapters.files import save_adapter
    from r3v.policies.model.adapters.taught import taught_with
    from r3v.policies.model.loading import add_lora, load
    from r3v.policies.sampling.hf import HFPolicy

    model = ModelConfig(path="geoworld-tiny", lora_r=2)
    for name, seed in (("first", 1), ("second", 2)):
        loaded = load(model)
        made = add_lora(loaded.model, model, seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in (p for n, p in made.named_parameters() if "lora_B" in n):
                parameter.normal_(std=0.02)
        save_adapter(made, tmp_path / name, taught_with(loaded))
    first = replace(model, adapter=str(tmp_path / "first") if answers == "adapter" else None)
    both = with_chooser(HFPolicy.from_config(first, slots=4), tmp_path / "second", first)
    alone = [HFPolicy.from_config(m, slots=4) for m in (first, replace(model, adapter=str(tmp_path / "second")))]
    asked = [words.solve(p, words.style("short")) for p in load_problems("geoworld:test", limit=2)]
    texts = [["Answer: 5", "Answer: 60"]] * 2
    params = SamplingParams(temperature=0.8, max_new_tokens=8)
    expected = [[c.token_ids for c in row] for row in alone[0].generate(asked, 2, params)]
    for _ in range(2):
        assert [[c.token_ids for c in row] for row in both.generate(asked, 2, params)] == expected
        assert both.score(asked, texts) == alone[1].score(asked, texts) != alone[0].score(asked, texts)
    assert both.name == f"{alone[0].name}, chosen by {alone[1].name}"
    assert isinstance(both.choosing, HFPolicy)
    assert (both.choosing.model is both.model) == (answers == "adapter")


def test_a_server_cannot_take_a_second_adapter() -> None:
    config = read(None, ["--select.adapter=x", "--server.url=http://127.0.0.1:9/v1"]).config
    with pytest.raises(ConfigError, match=r"select\.adapter needs the model in this process"):
        make_policy(config.model, config)


def test_a_dry_run_teaches_one_and_eval_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real stages on a random tiny model; `eval --run` then weighs with the run's chooser."""
    folder = tmp_path / "run"
    assert main(["train", "geoworld_tiny", "--dry-run", f"--run.dir={folder}", "--chooser.n=3", "--no-report"]) == 0
    assert "with the chooser of 3 further problems" in capsys.readouterr().out
    from r3v.pages.report import write_report

    page = write_report(folder).read_text()
    assert "With the chooser" in page
    assert "taught on 3 further problems" in page
    args, rest = build_parser().parse_known_args(["eval", "--run", str(folder), "--data", "geoworld:test"])
    found = model_config(args, rest)
    assert (found.select.adapter, found.select.target) == (str(folder / "chooser/adapter"), "solution")
    report = json.loads((folder / "chooser/report.json").read_text())
    (folder / "chooser/report.json").write_text(json.dumps({**report, "accepted_round": 9}))
    assert model_config(args, rest).select.adapter is None, "a chooser weighs the round it was taught on"
