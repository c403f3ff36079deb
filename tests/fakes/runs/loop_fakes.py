"""Stages for the loop that need no model: each writes a small file and says what it did, and one may be killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.records import Problem
from r3v.reflection.loop import Splits, Stages
from r3v.run.evaluation import write_rows
from r3v.settings.config import Config, DataConfig, RunConfig


class Killed(Exception):
    """Stands for kill -9: nothing of the library catches it."""


def problems(prefix: str, n: int) -> list[Problem]:
    return [Problem(f"{prefix}{i}", f"What is {i} + 1?", str(i + 1), "number") for i in range(n)]


@dataclass(frozen=True)
class FakePolicy:
    """`name` says which adapter it holds; the other methods are never called, because sampling is a fake too."""

    name: str

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the loop never samples by itself")

    def score(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the loop never scores by itself")


@dataclass
class World:
    """`gates[t]` is the gate accuracy of the adapter of round t. `kill_at` is (stage, round), `kill_after` says whether
    the artefact is there already. `calls` is the log of the work done."""

    gates: Sequence[float] = (0.5, 0.6, 0.7, 0.8)
    kill_at: tuple[str, int] | None = None
    kill_after: bool = False
    calls: list[str] = field(default_factory=list)

    def _maybe_kill(self, stage: str, number: int, after: bool) -> None:
        if self.kill_at == (stage, number) and self.kill_after == after:
            self.kill_at = None
            raise Killed(f"{stage} {number}")

    def _do(self, stage: str, number: int, path: Path, text: str, folder: bool = False) -> None:
        self.calls.append(f"{stage} {number}")
        self._maybe_kill(stage, number, after=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            path.mkdir(exist_ok=True)
            (path / "content").write_text(text)
        else:
            path.write_text(text)
        self._maybe_kill(stage, number, after=True)

    def load(self, data: DataConfig) -> Splits:
        return Splits(problems("train", 4), problems("gate", 2), problems("eval", 2))

    def policy(self, config: Config, adapter: Path | None) -> FakePolicy:
        return FakePolicy("base" if adapter is None else adapter.parent.name)

    def sample(self, policy: Any, train: Any, folder: Path, config: Config, number: int) -> dict[str, Any]:
        self._do("sample", number, folder, f"sampled by {policy.name}", folder=True)
        return {"candidates": 4}

    def build(
        self, train: Any, folders: Sequence[Path], out: Path, config: Config, number: int, policy: Any
    ) -> dict[str, Any]:
        texts = [(folder / "content").read_text() for folder in folders]
        self._do("build", number, out, " | ".join(texts))
        return {"kinds": {"answer": len(folders)}}

    def fit(
        self, train: Any, examples: Path, start: Path | None, out: Path, config: Config, number: int
    ) -> dict[str, Any]:
        begun = "base" if start is None else start.parent.name
        self._do("fit", number, out, f"from {begun} on ({examples.read_text()})", folder=True)
        return {"steps": 1}

    def evaluate(
        self, policy: Any, asked: Sequence[Problem], selectors: Any, out: Path, config: Config
    ) -> dict[str, Any]:
        number = int(out.parent.name.removeprefix("round_"))
        expected = "base" if number == 0 else f"round_{number:02d}"
        assert policy.name == expected
        self._do("evaluate" if asked[0].id.startswith("eval") else "gate", number, out, policy.name)
        return answers(self.gates[number], selectors, out if out.name.startswith("gate") else None)

    def stages(self) -> Stages:
        return Stages(self.load, self.policy, self.sample, self.build, self.fit, self.evaluate)


def answers(accuracy: float, selectors: Sequence[str], out: Path | None = None) -> dict[str, Any]:
    """What an evaluation of 20 problems says, of which the first are right; with the rows for the gate in `out`."""
    right = round(20 * accuracy)
    cell = {"accuracy": accuracy, "n": 20, "ci95": [0.1, 0.9], "unparsed": 0.0}
    names = [s if s == "greedy" else f"{s}@3" for s in selectors]
    if out is not None:
        outcomes = ["correct"] * right + ["wrong"] * (20 - right)
        write_rows(
            out, [{"problem_id": f"g{i}", "metric": m, "outcome": o} for m in names for i, o in enumerate(outcomes)]
        )
    return {"eval": dict.fromkeys(names, cell), "breakdown": {}}


def config(folder: Path, rounds: int = 3, **run: Any) -> Config:
    return Config(run=RunConfig(dir=str(folder), rounds=rounds, **run))


def contents(folder: Path) -> dict[str, str]:
    """Relative path -> text of every file that a run must end with, times removed."""
    kept = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in (
            "stages.json",
            "report.json",
            "run.json",
            ".lock",
            "config.yaml",
        ):
            kept[str(path.relative_to(folder))] = path.read_bytes().hex()
    return kept
