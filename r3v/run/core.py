"""The folder of a run, whatever learns in it.

`round_NN/` holds a round. Every stage of it leaves its artefact and then one line in `stages.json`; `report.json` and
then `DONE` close it. A run that was killed and is started again skips what has its line, and long stages go on inside
themselves, so the end is that of an undisturbed run. `config.yaml` is written once every check has passed; which of its
fields may still change is the table of `r3v.run.fixed`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3v.errors import RunError
from r3v.io import atomic_write, claim, make_folder, write_json
from r3v.run import disk, fixed, logs, progress
from r3v.run.evaluation import read_rows
from r3v.run.gate import METRIC, Decision, decide
from r3v.settings.tree import flatten, to_yaml

RUN_SCHEMA = 1
Say = Callable[[str], None]
FINISHED = ("round_*/stages.json", "round_*/DONE", "state/last.pt")
"""Files that say that a stage of the run has finished."""


@dataclass
class Run:
    """A run folder that this process holds, with the reports of its closed rounds."""

    folder: Path
    config: Any
    recipe: str
    say: Say
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """The newest accepted round."""
        return next(r["round"] for r in reversed(self.reports) if r["accepted"])

    @property
    def best(self) -> int:
        """The accepted round with the best gate accuracy, the newest of equals: what a new one is compared with."""
        known = [r for r in self.reports if r["accepted"]]
        return max(known, key=lambda r: (r["gate"][METRIC]["accuracy"], r["round"]))["round"]

    def round_folder(self, number: int) -> Path:
        return self.folder / f"round_{number:02d}"

    def begin(self) -> None:
        """Write the settings, once everything about them has been checked."""
        atomic_write(self.folder / "config.yaml", to_yaml(self.config))

    def judge(self, number: int, turn: str = "round") -> Decision:
        """The fair gate on a measured round (or `turn`, as the learner calls it). Raises RunError where it and the best
        one share no answered problem."""
        best = self.best
        before, after = (read_rows(self.round_folder(n) / "gate.parquet") for n in (best, number))
        return decide(
            before, after, alpha=self.config.run.gate_alpha, against=f"{turn} {best}" if best else "the base model",
            compared=sum(report["accepted"] for report in self.reports), turn=turn,
        )  # fmt: skip


def make_room(run: Run, number: int, first: Mapping[str, int]) -> None:
    """Raise RunError where the disk lacks what round `number` will need: as much as the largest round so far, or, by
    kind of file, the bytes of `first`. What an unfinished round has written is there already."""
    before = [run.round_folder(report["round"]) for report in run.reports if report["round"]]
    need = disk.of_a_round(before, first)
    begun = disk.size_of(run.round_folder(number)) if run.round_folder(number).exists() else 0
    disk.afford(run.folder, f"round {number}", {**need, "written already": -min(begun, sum(need.values()))})


def tidy(run: Run, names: Sequence[str], needed: Collection[int] = ()) -> None:
    """Prune by `run.keep_rounds`: `names` are what an old round can do without. The base, the accepted and the best
    round, and those `needed`, stay whole."""
    rounds = {report["round"]: run.round_folder(report["round"]) for report in run.reports}
    freed = disk.prune(rounds, run.config.run.keep_rounds, {0, run.accepted, run.best, *needed}, names)
    if freed:
        run.say(f"{run.folder}: freed {disk.bytes_(freed)} of older rounds (run.keep_rounds)")


@contextmanager
def open_run(
    config: Any, table: fixed.Table, *, recipe: str = "", say: Say = print, rounds: int | None = None
) -> Iterator[Run]:
    """The run folder `config.run.dir`, made or resumed, held by this process until the block ends. The settings are on
    disk from `Run.begin` on. `rounds`: how many there may be after the base measurement.

    Raises RunError: another process holds it, a field that a stage has read differs, it has more rounds than asked for,
    a file is damaged.
    """
    logs.check_logs(config.run.log)
    folder = Path(config.run.dir)
    with locked(folder):
        check_settings(folder, config, table, say)
        run = Run(folder, config, recipe, say, closed_rounds(folder))
        if rounds is not None and len(run.reports) > rounds + 1:
            raise RunError(
                f"{folder}: found {len(run.reports) - 1} finished rounds, more than {table.length} {rounds}; set "
                f"--{table.length} {len(run.reports) - 1} or use another --run.dir"
            )
        if run.reports and (rounds is None or len(run.reports) <= rounds):
            say(f"resuming {folder} after round {len(run.reports) - 1}")
        steps = sum(report.get("fit", {}).get("steps", 0) for report in run.reports)
        title = f"{Path(recipe).stem or folder.name} {folder.name}"
        with (
            progress.of_rounds(rounds),
            logs.opened(config.run.log, folder, title, flatten(config), steps),
        ):
            yield run


def check_settings(folder: Path, config: Any, table: fixed.Table, say: Say) -> None:
    """Raise RunError for a changed field that a stage has read. Where no stage has finished, what an unfinished one
    left under other settings is removed, and the run begins anew."""
    path = folder / "config.yaml"
    rounds = sorted(folder.glob("round_*"))
    if not path.exists():
        if any(any(folder.glob(pattern)) for pattern in FINISHED):
            raise RunError(f"{folder}: found rounds but no config.yaml; put it back or use another --run.dir")
        return
    changed = fixed.changed(path, config, table)
    if not changed:
        return
    if not any(any(folder.glob(pattern)) for pattern in FINISHED):
        for leftover in rounds:
            shutil.rmtree(leftover)
        say(f"{folder}: no stage had finished, so the run begins anew with the settings of now")
        return
    fixed.check(folder, changed, table)
    for name, (old, new) in changed.items():
        say(f"{folder}: {name} is now {new!r}, was {old!r}")


@contextmanager
def locked(folder: Path, name: str = ".lock", busy: str = "") -> Iterator[None]:
    """The folder, made where it is missing, held by this process until the block ends. Folders that were made for
    nothing are removed again. Raises RunError (`busy`) where another process holds it."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    try:
        with (folder / name).open("w") as lock:
            claim(lock, busy or f"{folder}: another process works on this run; wait for it or use another --run.dir")
            yield
    finally:
        if new and folder.exists() and [path.name for path in folder.iterdir()] == [name]:
            (folder / name).unlink()
            with suppress(OSError):  # somebody else has put something there meanwhile
                for place in new:
                    place.rmdir()


# ---- stages and rounds ---------------------------------------------------------------------------


def stage(folder: Path, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `work` unless `stages.json` says that it is done; keep what it returns, and its seconds: those of the call
    that finished it."""
    done = stages_done(folder)
    if name not in done:
        start = time.perf_counter()
        with progress.stage(f"{folder.name} {name}".replace("_", " "), _left_after(folder, name)):
            result = work()
        done[name] = {**result, "seconds": round(time.perf_counter() - start, 3)}
        write_json(folder / "stages.json", done)
    return done[name]


def _left_after(folder: Path, name: str) -> float | None:
    """Seconds that the run takes after this stage, by the stages of the round before; None where there is none like
    it, or nobody said how many rounds there will be."""
    rounds = progress.rounds()
    head, _, number = folder.name.rpartition("_")
    if head != "round" or rounds is None or int(number) < 2:
        return None
    before = stages_done(folder.with_name(f"round_{int(number) - 1:02d}"))
    if name not in before:
        return None
    seconds = {stage: float(result.get("seconds", 0.0)) for stage, result in before.items()}
    names = list(seconds)
    rest = sum(seconds[later] for later in names[names.index(name) + 1 :])
    return rest + sum(seconds.values()) * max(0, rounds - int(number))


def stages_done(folder: Path) -> dict[str, dict[str, Any]]:
    """What the finished stages of a round said, by name. Raises RunError for a damaged file."""
    path = folder / "stages.json"
    return read_kept(path, "delete it to do the unfinished round's stages again") if path.exists() else {}


def read_kept(path: Path, fix: str) -> dict[str, Any]:
    """A JSON file that the run wrote. Raises RunError where it is damaged, saying how to mend that."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); {fix}") from error


def close_round(folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Write `report.json`, then `DONE`."""
    write_json(folder / "report.json", report)
    atomic_write(folder / "DONE", "")
    logs.close_round(report, report.get("fit", {}).get("steps", 0))
    return report


def closed_rounds(folder: Path) -> list[dict[str, Any]]:
    """The reports of the rounds that are DONE, which are always 0, 1, 2, ... without a gap."""
    reports: list[dict[str, Any]] = []
    while (folder / f"round_{len(reports):02d}" / "DONE").exists():
        path = folder / f"round_{len(reports):02d}" / "report.json"
        reports.append(read_kept(path, "delete DONE beside it to close the round again"))
    return reports


def without_seconds(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage said, without the time it took."""
    return {k: v for k, v in result.items() if k != "seconds"}


def seconds_of(done: Mapping[str, Mapping[str, Any]], stages: Sequence[str]) -> dict[str, float]:
    """Stage -> seconds, 0 for one that the round does not have."""
    return {name: done.get(name, {}).get("seconds", 0.0) for name in stages}


def answered(path: Path, measured: Mapping[str, Any], asked: int, metric: str = METRIC) -> None:
    """Raise RunError where the engine was away for all `asked` gate problems: that is no verdict, and the file goes."""
    if not measured["eval"][metric]["n"]:
        path.unlink(missing_ok=True)
        raise RunError(
            f"{path.parent}: the engine failed on all {asked} gate problems, so the round can be neither accepted nor "
            "refused; see that it answers and run the same command again"
        )
