"""`r3v evolve` on the built-in world with a scripted model: the whole control flow, without torch."""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r3v.app.commands import evolve as spiral_commands
from r3v.curriculum.diagnosis.probes import leaks
from r3v.curriculum.spiral import spiral
from r3v.curriculum.spiral.config import PRESETS, SpiralConfig, check, with_preset
from r3v.curriculum.spiral.dry import plan, scripted_parts
from r3v.curriculum.spiral.page import write_report
from r3v.curriculum.spiral.parts import held, probes
from r3v.curriculum.spiral.practice import read_problems, skill_of
from r3v.curriculum.spiral.spiral import evolve
from r3v.errors import ConfigError, RunError
from r3v.settings.tree import set_field

SMALL = {
    "run.iterations": 2,
    "data.n_gate": 48,
    "data.n_eval": 24,
    "model.prompt_style": "short",
    "probe.n": 48,
    "probe.k": 2,
    "probe.min_problems": 3,
    "practice.items": 16,
    "practice.score_k": 2,
    "practice.low": 0.0,
    "practice.high": 1.0,
    "mixture.replay": 0.25,
    "learn.steps": 1,
    "learn.samples": 100,
}


class Killed(BaseException):
    """Stands for kill -9: nothing of the library catches it."""


def made(folder: Path, **fields: Any) -> SpiralConfig:
    config = SpiralConfig()
    for name, value in {
        **SMALL,
        "run.dir": str(folder),
        **{k.replace("__", "."): v for k, v in fields.items()},
    }.items():
        config = set_field(config, name, value)
    return config


def quiet(line: str) -> None:
    pass


def outcome(folder: Path) -> dict[str, Any]:
    """Everything a run ends with except times."""
    value = json.loads((folder / "run.json").read_text())
    value["spent"].pop("seconds")
    for turn in value["rounds"]:
        turn.pop("seconds")
    practice = {
        path.parent.name: [p.id for p in read_problems(path)] for path in folder.glob("round_*/practice.parquet")
    }
    return {
        "run": value,
        "practice": practice,
        "learned": [p.read_text() for p in sorted(folder.rglob("practised.json"))],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evolve")
    evolve(made(folder), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
    return folder


# ---- a run ---------------------------------------------------------------------------------------


def test_a_run_and_its_files(undisturbed: Path) -> None:
    value = json.loads((undisturbed / "run.json").read_text())
    assert (value["schema"], value["kind"], value["stopped"]) == (1, "evolve", None)
    assert [turn["round"] for turn in value["rounds"]] == [0, 1, 2]
    start, first, second = value["rounds"]
    assert set(start["seconds"]) == {"evaluate", "diagnose"}
    assert set(first["seconds"]) == {"mixture", "generate", "score", "learn", "evaluate", "accept", "diagnose"}
    for turn in (first, second):
        assert sum(turn["mixture"]["weights"].values()) == pytest.approx(1)
        assert sum(turn["mixture"]["new"].values()) + sum(turn["mixture"]["replay"].values()) == 16
        assert turn["practice"]["items"] == sum(turn["practice"]["cells"].values()) == 16
    assert (first["practice"]["replayed"], second["practice"]["replayed"]) == (0, 4), "a quarter of 16"
    gate = [turn["gate"]["greedy"]["accuracy"] for turn in value["rounds"]]
    assert gate == sorted(gate), "the scripted learner never unlearns"
    assert gate[2] > gate[0]
    for turn in value["rounds"]:
        assert turn["eval"]["greedy"]["n"] == 24
        assert turn["gate"]["greedy"]["n"] == 48
        assert set(turn["diagnosis"]["skills"]) >= set(turn["diagnosis"]["ranking"])


def test_what_is_spent(undisturbed: Path) -> None:
    """Turn 0: 48 probes x 2 answers. A further turn: the same, 2 answers for each item that passed, and the 8 x 16
    answers of one step, at most 100. Evaluations are not counted."""
    value = json.loads((undisturbed / "run.json").read_text())
    assert value["rounds"][0]["spent"]["samples"] == 96
    for turn in value["rounds"][1:]:
        assert turn["spent"]["samples"] == 96 + 2 * turn["generate"]["kept"] + 100
    assert value["spent"]["samples"] == sum(turn["spent"]["samples"] for turn in value["rounds"])


def test_probes_rotate_and_nothing_held_out_is_practised(undisturbed: Path) -> None:
    config = made(undisturbed)
    asked = [probes(config, turn) for turn in range(3)]
    contents = [{p.meta["content"] for p in turn} for turn in asked]
    assert len(set.union(*contents)) > 1.9 * len(contents[0]), "another set each time"
    practice = [p for n in (1, 2) for p in read_problems(undisturbed / f"round_{n:02d}" / "practice.parquet")]
    away = held(config)
    assert practice
    assert not leaks([*(p for turn in asked for p in turn), *away.gate, *away.eval], practice)
    assert all(skill_of(p) in p.skills for p in practice)


def test_the_page(undisturbed: Path, tmp_path: Path) -> None:
    page = write_report(undisturbed, tmp_path / "page.html").read_text()
    assert page.count('scope="colgroup"') == 3, "one heat map for each diagnosis"
    assert "What was practised" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", ""), "nothing is fetched"
    with pytest.raises(RunError, match=r"expected a run folder of `r3v evolve`"):
        write_report(tmp_path)


def test_words_of_files_are_escaped_in_the_page(undisturbed: Path, tmp_path: Path) -> None:
    copy, evil = tmp_path / "run", "<script>alert('&')</script>"
    shutil.copytree(undisturbed, copy)
    value = json.loads((copy / "run.json").read_text())
    value |= {"recipe": evil, "preset": evil, "mixture": evil, "learners": [evil], "stopped": evil}
    for turn in value["rounds"]:
        turn["reason"] = evil
        turn["eval"][evil] = turn["eval"]["greedy"]
    (copy / "run.json").write_text(json.dumps(value))
    (copy / "config.yaml").write_text(f"a: {evil}")
    found = copy / "round_00" / "diagnosis" / "diagnosis.json"
    found.write_text(found.read_text().replace("perception:line", "<script>line"))
    page = write_report(copy).read_text()
    assert page.count("&lt;script&gt;") > 10
    assert "<script>" not in page


def test_a_finished_run_is_not_done_again(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcome(undisturbed)
    monkeypatch.setattr(spiral, "play", lambda *args: pytest.fail("a stage was done again"))
    evolve(made(undisturbed), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
    assert outcome(undisturbed) == before


# ---- interruptions -------------------------------------------------------------------------------


def test_killed_in_and_after_every_stage(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage is interrupted twice: when its work is done but not yet noted, and right after it is noted."""
    real, seen = spiral.stage, dict[tuple[str, str], int]()

    def interrupted(folder: Path, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        key = (folder.name, name)
        path = folder / "stages.json"
        if path.exists() and name in json.loads(path.read_text()):
            return real(folder, name, work)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            work()
            raise Killed
        real(folder, name, work)
        raise Killed

    monkeypatch.setattr(spiral, "stage", interrupted)
    for _ in range(60):
        try:
            evolve(made(tmp_path), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
            break
        except Killed:
            continue
    assert len(seen) == 2 + 2 * 7
    assert outcome(tmp_path) == outcome(undisturbed)


def test_lock_and_changed_settings(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"practice\.items: 16 -> 17"):
        evolve(made(undisturbed, practice__items=17), scripted_parts(0.2), say=quiet)
    with pytest.raises(RunError, match=r"more than run\.iterations 1"):
        evolve(made(undisturbed, run__iterations=1), scripted_parts(0.2), say=quiet)
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process works on this run"):
            evolve(made(tmp_path), scripted_parts(0.2), say=quiet)


def test_budget_stops_and_a_raised_one_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    """A limit of 97 answers is met by the base diagnosis (96) and the scores of iteration 1: it ends before learning.
    Raised to 200, it is met by learning: iteration 1 is finished, and iteration 2 not begun."""
    value = evolve(made(tmp_path, budget__samples=97), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
    assert value["stopped"].startswith("budget.samples: spent 1")
    assert value["stopped"].endswith("of 97 before learning in iteration 1")
    assert [turn["round"] for turn in value["rounds"]] == [0]
    value = evolve(made(tmp_path, budget__samples=200), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
    assert "of 200 before iteration 2" in value["stopped"]
    assert [turn["round"] for turn in value["rounds"]] == [0, 1]
    evolve(made(tmp_path), scripted_parts(0.2), recipe="tiny.yaml", say=quiet)
    assert outcome(tmp_path) == outcome(undisturbed)


def test_budgets_of_tokens_and_money(tmp_path: Path) -> None:
    value = evolve(made(tmp_path / "a", budget__tokens=1), scripted_parts(0.2), say=quiet)
    assert value["stopped"].endswith("before iteration 1")
    costly = made(tmp_path / "b", budget__money=1e-9, budget__price_hour=3600.0)
    value = evolve(costly, scripted_parts(0.2), say=quiet)
    assert value["stopped"].startswith("budget.money")
    assert value["spent"]["money"] == pytest.approx(value["spent"]["seconds"], rel=1e-3), "one a second"


def test_a_worse_iteration_is_not_accepted(tmp_path: Path) -> None:
    """A learner whose practice harms: both iterations are refused, and the second begins where the start stood."""
    value = evolve(made(tmp_path), scripted_parts(rate=-0.5), say=quiet)
    assert [turn["accepted"] for turn in value["rounds"]] == [True, False, False]
    assert value["accepted_round"] == 0
    assert "worse than the base model on the gate" in value["rounds"][1]["reason"]
    learned = [json.loads(p.read_text()) for p in sorted(tmp_path.rglob("practised.json"))]
    practised = [
        sum(len(p.skills) for p in read_problems(tmp_path / f"round_{n:02d}" / "practice.parquet")) for n in (1, 2)
    ]
    assert [sum(found.values()) for found in learned] == practised, "the second has nothing of the first"
    assert value["final"]["difference"] == 0.0
    refused = value["rounds"][2]["gate"]["greedy"]["accuracy"]
    assert value["rounds"][2]["diagnosis"]["accuracy"] > refused + 0.1, "the kept model is diagnosed"


# ---- settings and command line -------------------------------------------------------------------


def test_presets() -> None:
    """A preset fills what nobody set; only fields that exist are in it, and every one passes the check."""
    for name in PRESETS:
        config = with_preset(set_field(SpiralConfig(), "run.preset", name))
        check(config)
        assert config.mixture.kind == PRESETS[name]["mixture.kind"]
    paper = with_preset(set_field(SpiralConfig(), "run.preset", "dpe-paper"), {"mixture.kind", "practice.low"})
    assert (paper.mixture.kind, paper.practice.low, paper.practice.high) == ("learnability", 0.05, 0.8)
    counts = [(c.probe, c.practice.items, c.practice.score_k, c.learn) for c in (SpiralConfig(), paper)]
    assert counts[0] == counts[1], "equal budgets"
    with pytest.raises(ConfigError, match="did you mean 'dpe-paper'"):
        with_preset(set_field(SpiralConfig(), "run.preset", "dpe_paper"))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("learn.kind", ("grow",), "learn.kind"),
        ("practice.items", 0, "practice.items"),
        ("practice.low", 0.99, "low <= high"),
        ("mixture.kind", "best", "mixture.kind"),
        ("practice.generator", "edit", "data.seeds"),
        ("practice.generator", "agents", "data.seeds"),
        ("data.seeds", "geoworld:train", "edit and agents alone"),
        ("practice.ops", ("crop",), "edit alone"),
        ("agents.checks", 3, "settings of agents"),
        ("budget.samples", 0, "budget.samples"),
        ("run.gate_alpha", 2.0, "run.gate_alpha"),
        ("note.pool", 1.0, "note.pool"),
        ("learn.decay", 0.0, "learn.decay"),
        ("build.preset", "r3v-paper", "does not apply"),
    ],
)  # fmt: skip
def test_settings_that_contradict(field: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(set_field(SpiralConfig(), field, value))


AGENTS = {"practice.generator": "agents", "data.seeds": "geoworld:train", "data.n_seeds": 24}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "somebody to play the planner"),
        ({"agents.writer.path": "w", "agents.planner.path": "p", "agents.checker.path": "c"}, "play the selector"),
        ({"agents.all.path": "m", "agents.all.server.url": "http://h/v1"}, "expected one of them"),
        ({"agents.all.path": "m", "agents.checks": 0}, "agents.checks 0"),
        ({"agents.all.path": "m", "agents.agreement": 1.5}, "agents.agreement 1.5"),
        ({"agents.all.path": "m", "agents.checker.temperature": -1.0}, "temperature -1"),
        ({"agents.all.path": "m", "agents.editor.url": "http://h/v1"}, "both url and model"),
        ({"agents.all.path": "m", "agents.pictures.embedder": "self"}, "plain or clip"),
        ({"agents.all.path": "m", "agents.checker.price": 2.0}, "price or server settings of agents.checker"),
        ({"agents.all.path": "m", "agents.writer.server.timeout": 9.0}, "price or server settings of agents.writer"),
        ({"agents.all.path": "m", "agents.pictures.index": "i"}, "without agents.pictures.pool"),
        ({"agents.all.path": "m", "agents.editor.price": 1.0}, "without agents.editor.url"),
        ({"agents.all.path": "m", "agents.pictures.searxng": "http://h", "agents.pictures.serper_key_env": "K"}, "one"),
    ],
)  # fmt: skip
def test_agents_that_cannot_work(fields: dict[str, Any], told: str) -> None:
    config = SpiralConfig()
    for name, value in {**AGENTS, **fields}.items():
        config = set_field(config, name, value)
    with pytest.raises(ConfigError, match=told):
        check(config)


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    spiral_commands.register(parser.add_subparsers())
    return parser.parse_args(["evolve", *argv])


def test_dry_run_prints_the_plan_and_goes_through(capsys: pytest.CaptureFixture[str]) -> None:
    args = parse("geoworld_tiny_evolve", "--dry-run")
    assert args.takes_fields
    flags = [f"--{name}={value}" for name, value in SMALL.items()]
    assert args.handler(args, [*flags, "--learn.kind=reflect,note", "--mixture.kind=uniform"]) == 0
    out = capsys.readouterr().out
    assert "preset evolve, mixture uniform, learner reflect then note, seed 0" in out
    assert "each of 2 iterations" in out
    assert "weakest quarter of skills at the start" in out
    assert "spent" in out


def test_dry_run_of_agents(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens at the address, and nobody is asked: a script plays every role."""
    args = parse("geoworld_tiny_evolve", "--dry-run")
    fields = {**SMALL, **AGENTS, "run.iterations": 1, "agents.all.server.url": "http://127.0.0.1:9/v1"}
    assert args.handler(args, [f"--{name}={value}" for name, value in fields.items()]) == 0
    told = capsys.readouterr()
    assert "new items by agents" in told.out
    assert "agents wrote" in told.err
    assert "rejected by stage: none" in told.err


def test_plan_counts() -> None:
    """Defaults: 240 probes x 4 answers, 144 new items x 1.5 x 4 answers, 10 steps x 16 x 8 answers, three times, and
    the first diagnosis: 4 x 960 + 3 x (864 + 1280) = 10272."""
    text = plan(SpiralConfig())
    assert "216 new items" in text
    assert "in all at least 10272 answers" in text
    assert "no limit" in text


def test_effective_settings() -> None:
    config = spiral_commands.effective("geoworld_tiny_evolve", ["--run.seed=3", "--mixture.kind", "dpe-paper"])
    assert (config.run.seed, config.mixture.kind, config.run.preset) == (3, "dpe-paper", "evolve")
    assert config.supervisor.prompt_style == "short"
    small = spiral_commands.effective("geoworld_tiny_evolve", ["--probe.n=5"], small=True)
    assert (small.probe.n, small.data.n_eval, small.run.dir) == (5, 4, f"{config.run.dir}-random-weights")
