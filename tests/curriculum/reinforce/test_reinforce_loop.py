"""`reinforce` on random tiny models: it learns, resumes, guards, corrects for a sampler that is off, and reports."""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_fakes import answers
from safetensors.torch import load_file
from tiny_models import NAMES
from training_examples import problem

from r3v.app.commands import reinforce as reinforce_commands
from r3v.curriculum.reinforce.config import (
    DriftConfig,
    GroupConfig,
    ReinforceConfig,
    ReinforceRun,
    RewardConfig,
    UpdateConfig,
)
from r3v.curriculum.reinforce.drift import settle, trainer_logprobs
from r3v.curriculum.reinforce.groups import Asker, examples_of
from r3v.curriculum.reinforce.learner import Learner
from r3v.curriculum.reinforce.reinforce import Parts, reinforce
from r3v.errors import RunError
from r3v.policies.model.loading import load
from r3v.prompts import solve, style
from r3v.records import Outcome, Verdict
from r3v.reflection.loop import Splits
from r3v.settings.config import ModelConfig, SelectConfig

MODEL = ModelConfig(path=NAMES["idefics3"], prompt_style="short", lora_r=8, lora_alpha=16)
BASE = ReinforceConfig(
    run=ReinforceRun(iterations=3, eval_every=2),
    model=MODEL,
    group=GroupConfig(problems=2, n=4, max_new_tokens=6, overlong="none", max_draws=4.0),
    reward=RewardConfig(format=0.0),
    train=UpdateConfig(lr=8e-3, warmup=0.3, schedule="cosine", problems_per_step=1, problems_per_batch=1),
    select=SelectConfig(selectors=("greedy",), max_new_tokens=6),
)
PROBLEMS = [problem(n) for n in range(1, 13)]


class Killed(BaseException):
    """Stands for kill -9: nothing of the library catches it."""


def says_a(problem: Any, text: str) -> Verdict:
    """The property that is rewarded: the text has an "a" in it."""
    return Verdict(Outcome.CORRECT if "a" in text else Outcome.WRONG)


@dataclass
class World:
    """Parts whose judge is `says_a` and whose evaluation is scripted: `gates[t]` is the gate accuracy of round t.
    `kill_judge` and `kill_evaluate` count calls down to a kill."""

    gates: Sequence[float] = (0.5, 0.5, 0.5, 0.5)
    kill_judge: int = -1
    kill_evaluate: int = -1
    sampler: Callable[[Learner], Any] = Learner.policy
    names: list[str] = field(default_factory=list)

    def judge(self, problem: Any, text: str) -> Verdict:
        self.kill_judge -= 1
        if self.kill_judge == 0:
            raise Killed
        return says_a(problem, text)

    def evaluate(self, policy: Any, problems: Any, selectors: Any, out: Path, config: Any) -> dict[str, Any]:
        self.kill_evaluate -= 1
        if self.kill_evaluate == 0:
            raise Killed
        self.names.append(policy.name)
        accuracy = self.gates[int(out.parent.name.split("_")[1])]
        return answers(accuracy, selectors, out if out.name.startswith("gate") else None)

    def parts(self) -> Parts:
        return Parts(
            load=lambda data: Splits(PROBLEMS[:8], PROBLEMS[8:10], PROBLEMS[10:]),
            model=lambda config: load(config, dry_run=True),
            evaluate=self.evaluate,
            sampler=self.sampler,
            judge=self.judge,
        )


def at(folder: Path, config: ReinforceConfig = BASE, **run: Any) -> ReinforceConfig:
    return replace(config, run=replace(config.run, dir=str(folder), **run))


def quiet(line: str) -> None:
    pass


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "iterations.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def steps_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "steps.csv").read_text().splitlines()))


def outcome(folder: Path) -> dict[str, Any]:
    """Everything a run ends with except times."""
    run = json.loads((folder / "run.json").read_text())
    adapters = sorted(folder.glob("round_*/adapter/adapter_model.safetensors"))
    return {
        "rows": rows_of(folder),
        "steps": (folder / "steps.csv").read_text(),
        "accepted": run["accepted_round"],
        "rounds": [{k: v for k, v in entry.items() if k != "seconds"} for entry in run["rounds"]],
        "adapters": {path.parent.parent.name: path.read_bytes() for path in adapters},
    }


def test_reward_rises(tmp_path: Path) -> None:
    """At least 128 samples in the first four iterations and in the last four: the share of texts with an "a" must rise
    by 0.2, more than three standard errors of the difference. Only LoRA on the language model is trained."""
    config = replace(
        at(tmp_path, iterations=14, eval_every=14),
        group=replace(BASE.group, problems=4, n=8, max_new_tokens=8),
        train=UpdateConfig(lr=1e-2, warmup=0.0, problems_per_step=2, problems_per_batch=2),
    )
    value = reinforce(config, World().parts(), say=quiet)
    rewards = [row["reward"] for row in rows_of(tmp_path)]
    assert sum(rewards[-4:]) / 4 - sum(rewards[:4]) / 4 > 0.2, rewards
    assert len(value["rounds"]) == 2
    adapter = load_file(tmp_path / "round_01" / "adapter" / "adapter_model.safetensors")
    assert adapter
    assert all("lora" in name and "text_model" in name and "vision" not in name for name in adapter)
    steps = steps_of(tmp_path)
    assert [int(s["step"]) for s in steps] == list(range(1, 1 + sum(row["steps"] for row in rows_of(tmp_path))))
    first = list({s["iteration"]: s for s in reversed(steps)}.values())
    second = [s for s in steps if s not in first]
    assert max(float(s["drift"]) for s in first) < 1e-4, "the engines agree before an iteration's first update"
    assert min(float(s["drift"]) for s in second) > 1e-3, "and the policy has moved before its second"
    assert all(float(s["ratio"]) == pytest.approx(1.0, abs=1e-4) for s in first)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reinforce")
    reinforce(at(folder), World().parts(), say=quiet)
    return folder


def test_a_run_and_its_files(undisturbed: Path) -> None:
    """3 iterations, evaluated after 2 and 3; one group a step, so two steps an iteration. The rate warms up over one
    iteration and falls along half a cosine over the other two: factors 1, 1, 1/2."""
    run = json.loads((undisturbed / "run.json").read_text())
    assert [entry["round"] for entry in run["rounds"]] == [0, 1, 2]
    assert [r["iteration"] for r in rows_of(undisturbed)] == [1, 2, 3]
    assert [r["round"] for r in rows_of(undisturbed)] == [1, 1, 2]
    steps = steps_of(undisturbed)
    rates = {int(s["iteration"]): float(s["lr"]) for s in steps}
    assert rates == pytest.approx({1: 8e-3, 2: 8e-3, 3: 4e-3})
    report = json.loads((undisturbed / "round_01" / "report.json").read_text())
    rows = rows_of(undisturbed)[:2]
    assert report["pool"]["correct"] == sum(r["outcomes"]["correct"] for r in rows)
    assert report["pool"]["asked"] == sum(r["asked"] for r in rows)
    assert report["examples"]["kinds"] == {"reinforce": sum(r["branches"] for r in rows)}
    assert len(report["fit"]["losses"]) == report["fit"]["steps"] == 4
    assert report["fit"]["fused"]
    assert (undisturbed / "round_02" / "examples.parquet").exists()


def test_a_finished_run_is_not_done_again(undisturbed: Path) -> None:
    before = outcome(undisturbed)
    world = World()
    reinforce(at(undisturbed), world.parts(), say=quiet)
    assert world.names == []
    assert outcome(undisturbed) == before


@pytest.mark.parametrize(("judge", "evaluate"), [(5, -1), (30, -1), (-1, 4)])
def test_killed_and_resumed_equals_undisturbed(undisturbed: Path, tmp_path: Path, judge: int, evaluate: int) -> None:
    """Killed in the first iteration, in a later one, or between the two evaluations of round 1: the run that is started
    again ends with the same weights, rows and numbers."""
    with pytest.raises(Killed):
        reinforce(at(tmp_path), World(kill_judge=judge, kill_evaluate=evaluate).parts(), say=quiet)
    reinforce(at(tmp_path), World().parts(), say=quiet)
    assert outcome(tmp_path) == outcome(undisturbed)


def test_a_longer_run_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    """With a constant rate, 2 iterations and then 3 are 3, and a fourth makes a round of its own; other settings and
    fewer iterations are refused."""
    constant = replace(BASE, train=replace(BASE.train, schedule="constant", warmup=0.0))
    reinforce(at(tmp_path / "a", constant), World().parts(), say=quiet)
    reinforce(at(tmp_path / "b", constant, iterations=2), World().parts(), say=quiet)
    other = replace(constant, group=replace(BASE.group, n=5))
    with pytest.raises(RunError, match=r"group\.n"):
        reinforce(at(tmp_path / "b", other), World().parts(), say=quiet)
    reinforce(at(tmp_path / "b", constant), World().parts(), say=quiet)
    assert outcome(tmp_path / "b") == outcome(tmp_path / "a")
    with pytest.raises(RunError, match=r"more than run\.iterations 2"):
        reinforce(at(tmp_path / "b", constant, iterations=2), World().parts(), say=quiet)
    reinforce(at(tmp_path / "b", constant, iterations=4), World().parts(), say=quiet)
    assert [(r["iteration"], r["round"]) for r in rows_of(tmp_path / "b")] == [(1, 1), (2, 1), (3, 2), (4, 3)]
    assert rows_of(tmp_path / "b")[:3] == rows_of(tmp_path / "a")


def test_regression_guard(tmp_path: Path) -> None:
    """Of 20 gate problems 10, 14, 7 are right: the last adapter is there, the one before it is accepted."""
    value = reinforce(at(tmp_path, iterations=2, eval_every=1), World(gates=(0.5, 0.7, 0.35)).parts(), say=quiet)
    assert value["accepted_round"] == 1
    report = json.loads((tmp_path / "round_02" / "report.json").read_text())
    assert report["reason"].startswith(
        "worse than round 1 on the gate: 70.0 -> 35.0 %, 0 won and 7 lost of 20 problems"
    )
    assert (tmp_path / "round_01" / "adapter").is_dir()


# ---- tokens, drift, reference --------------------------------------------------------------------


class Shifted:
    """A sampler whose log-probabilities are off by `by` nats a token."""

    def __init__(self, policy: Any, by: float) -> None:
        self.policy, self.by, self.name = policy, by, policy.name

    def generate(self, prompts: Any, n: int, params: Any, **more: Any) -> Any:
        found = self.policy.generate(prompts, n, params, **more)
        return [[replace(c, logprobs=tuple(p + self.by for p in c.logprobs)) for c in row] for row in found]


def asked(learner: Learner, policy: Any, problems: Sequence[Any]) -> list[Any]:
    config = learner.config
    ask = Asker(policy, style("short"), config.group, config.reward, says_a, solve, seed=1, iteration=1)
    return ask(problems)


def tries_of(learner: Learner, groups: Sequence[Any]) -> list[Any]:
    made = [learner.module.maker().trie(examples_of([g], "none", mask_truncated=False))[0] for g in groups]
    return [t for t in made if t is not None]


def test_branches_are_the_sampled_tokens() -> None:
    """The trie's targets are the sampled ids, also where the text would tokenise otherwise; the trainer's
    log-probabilities of them are the sampler's; a sampler that is off is measured and corrected, up to the cap."""
    learner = Learner(BASE, load(MODEL, dry_run=True))
    groups = asked(learner, learner.policy(), PROBLEMS[:2])
    tries = tries_of(learner, groups)
    candidates = [g.candidate for group in groups for g in group.graded]
    assert [i for t in tries for i in t.target_T.tolist()] == [i for c in candidates for i in c.token_ids]
    encoder = learner.module.encoder
    assert any(encoder.target(c.text) != c.token_ids for c in candidates), "the test needs such a text"
    trainer = torch.cat(trainer_logprobs(learner.module, tries, per_batch=1))
    sampled = torch.tensor([p for c in candidates for p in c.logprobs])
    torch.testing.assert_close(trainer, sampled, atol=1e-4, rtol=1e-4)

    assert settle(learner.module, tries, DriftConfig(), 2).source == "sampler"
    off = tries_of(learner, asked(learner, Shifted(learner.policy(), -0.5), PROBLEMS[:2]))
    found = settle(learner.module, off, DriftConfig(importance_cap=1.2), 2)
    assert found.source == "trainer"
    assert found.drift.mean == pytest.approx(0.5, abs=1e-4)
    assert found.drift.tokens == len(sampled)
    old = []
    for t in found.tries:
        assert t.importance_T is not None
        assert t.old_T is not None
        assert torch.equal(t.importance_T, torch.full_like(t.old_T, 1.2))
        old.append(t.old_T)
    torch.testing.assert_close(torch.cat(old), trainer)
    kept = settle(learner.module, off, DriftConfig(old="sampler"), 2)
    assert (kept.source, kept.tries) == ("sampler", off)
    assert kept.drift.mean == pytest.approx(0.5, abs=1e-4)
    unknown = [replace(t, old_T=None) for t in tries]
    settled = settle(learner.module, unknown, DriftConfig(), 2)
    assert settled.source == "trainer"
    assert all((t.importance_T == 1).all() for t in settled.tries)


def test_drift_is_logged_and_corrected_in_a_run(tmp_path: Path) -> None:
    world = World(sampler=lambda learner: Shifted(learner.policy(), 0.25))
    reinforce(at(tmp_path, iterations=1), world.parts(), say=quiet)
    (row,) = rows_of(tmp_path)
    assert row["old"] == "trainer"
    assert row["drift"]["mean"] == pytest.approx(0.25, abs=1e-3)


def test_kl_is_against_the_model_without_its_adapter(tmp_path: Path) -> None:
    """The fresh adapter changes nothing, so KL begins at 0 and is above it once the adapter is trained; a run that
    begins with a trained adapter has KL above 0 at once."""
    config = at(tmp_path / "a", iterations=1)
    config = replace(config, train=replace(config.train, beta=0.1, loss="grpo"))
    reinforce(config, World().parts(), say=quiet)
    steps = steps_of(tmp_path / "a")
    assert float(steps[0]["kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(steps[1]["kl"]) > 1e-5
    trained = replace(config.model, adapter=str(tmp_path / "a" / "round_01" / "adapter"))
    again = replace(at(tmp_path / "b", config), model=trained)
    reinforce(again, World().parts(), say=quiet)
    steps = steps_of(tmp_path / "b")
    assert float(steps[0]["kl"]) > 1e-5


@pytest.mark.parametrize("model", [replace(MODEL, dtype="bfloat16"), replace(MODEL, quantization="nf4")])
def test_sixteen_bits_and_nf4(tmp_path: Path, model: ModelConfig) -> None:
    """One iteration: the adapter moves, and rounding is told as drift."""
    config = replace(at(tmp_path, iterations=1), model=model, train=replace(BASE.train, precision="bf16-mixed"))
    reinforce(config, World().parts(), say=quiet)
    (row,) = rows_of(tmp_path)
    assert row["steps"] == 2
    assert row["drift"]["mean"] > 1e-5
    adapter = load_file(tmp_path / "round_01" / "adapter" / "adapter_model.safetensors")
    assert any(v.abs().max() > 0 for k, v in adapter.items() if "lora_B" in k)


# ---- command line --------------------------------------------------------------------------------


def test_dry_run_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recipe, real data, real evaluation, report: everything but the weights."""
    parser = argparse.ArgumentParser()
    reinforce_commands.register(parser.add_subparsers())
    args = parser.parse_args(["reinforce", "geoworld_tiny_reinforce", "--dry-run"])
    assert args.takes_fields
    assert args.handler(args, [f"--run.dir={tmp_path / 'run'}"]) == 0
    out = capsys.readouterr().out
    assert "* is the accepted round" in out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Training loss" in page
    assert "<h3>reinforce</h3>" in page
    assert [r["kept"] for r in rows_of(tmp_path / "run")] == [2, 2]


def command(folder: Path) -> list[str]:
    """A real run of geoworld-tiny in a process of its own."""
    code = (
        "import argparse, sys\n"
        "from r3v.app.commands.reinforce import register\n"
        "p = argparse.ArgumentParser()\n"
        "register(p.add_subparsers())\n"
        "args, rest = p.parse_known_args(sys.argv[1:])\n"
        "sys.exit(args.handler(args, rest))\n"
    )
    small = ["--run.iterations=4", "--run.eval_every=2", "--data.n_train=16", "--data.n_gate=4", "--data.n_eval=6"]
    small += ["--group.problems=4", "--group.n=4", "--train.problems_per_step=2", "--train.problems_per_batch=2"]
    return [sys.executable, "-c", code, "reinforce", "geoworld_tiny_reinforce", "--no-report",
            f"--run.dir={folder}", *small]  # fmt: skip


@pytest.mark.slow
def test_kill_nine_at_random_moments(tmp_path: Path) -> None:
    """R3V_KILLS (default 3) kills: weights, rows and numbers equal an undisturbed run's."""
    start = time.monotonic()
    subprocess.run(command(tmp_path / "a"), check=True, capture_output=True)
    whole, rng = time.monotonic() - start, random.Random(0)
    for _ in range(int(os.environ.get("R3V_KILLS", "3"))):
        with subprocess.Popen(command(tmp_path / "b"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            try:
                run.wait(rng.uniform(0.3, 0.9) * whole)
            except subprocess.TimeoutExpired:
                run.kill()
    subprocess.run(command(tmp_path / "b"), check=True, capture_output=True)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
