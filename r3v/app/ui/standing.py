"""Where a run stands, read from its files: one line of the list. What is damaged is said, not raised."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from r3v.app.ui.folder import Root, is_run
from r3v.errors import R3VError
from r3v.pages.kit import count

REFLECTION, EVOLVE, REINFORCE, NOTEBOOK, DIAGNOSIS = "reflection", "evolve", "reinforce", "notebook", "diagnosis"
TURN = {EVOLVE: "iteration"}
"""What a round of a run is called, where not a round."""


class Damaged(ValueError):
    """A file of a run is not what a run writes; the message says which, and what is wrong."""


@dataclass(frozen=True)
class Standing:
    """`gate`: accuracy of the accepted round on the gate problems, with n and interval; `changed`: seconds since 1970;
    `alive`: a process holds the run; `wrong`: what keeps it from being shown whole, empty where nothing does."""

    name: str
    kind: str
    stage: str
    rounds: str
    gate: Mapping[str, Any] | None
    changed: float
    alive: bool
    wrong: str = ""


def standing(root: Root, path: Path) -> Standing:
    """The line of a run, a diagnosis or a notebook. Raises nothing."""
    found = Standing(root.name_of(path), kind_of(path, {}), "", "", None, 0.0, False)
    try:
        look = root.look(path)
        found = replace(found, changed=look.changed, wrong=look.wrong)
        if look.wrong:
            return found
        if found.kind == NOTEBOOK:
            return _notebook(found, path)
        if found.kind == DIAGNOSIS:
            return _diagnosis(found, path)
        return _run(replace(found, alive=held(path / ".lock")), path)
    except Exception as error:  # whatever a file holds, the other runs are shown
        return replace(found, wrong=said(error))


def said(error: Exception) -> str:
    """What is wrong with the files of a run, in one line."""
    if isinstance(error, R3VError | Damaged):
        return str(error)
    return f"damaged or of another version ({type(error).__name__}: {str(error)[:200]})"


def kind_of(path: Path, settings: Mapping[str, Any]) -> str:
    """By the groups of its settings, which each learner has its own of."""
    if path.is_file():
        return NOTEBOOK
    if not is_run(path):
        return DIAGNOSIS
    return EVOLVE if "probe" in settings else REINFORCE if "reward" in settings else REFLECTION


def settings_of(folder: Path) -> dict[str, Any]:
    """`config.yaml`, empty where the run has none yet. Raises Damaged for what are no settings."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    try:
        value = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise Damaged(f"config.yaml is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict) or not all(isinstance(group, dict) for group in value.values()):
        raise Damaged("config.yaml holds no settings")
    return value


def held(lock: Path) -> bool:
    """Whether a process holds the lock of a run. Asking holds it for a moment in a way that only a run that starts just
    then can notice, which asks twice."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _run(found: Standing, folder: Path) -> Standing:
    settings = settings_of(folder)
    found = replace(found, kind=kind_of(folder, settings))
    if not settings:
        wrong = "" if found.alive else "no settings (config.yaml): it was stopped before its checks had passed"
        return replace(found, stage="checks its settings" if found.alive else "never began", wrong=wrong)
    turn = TURN.get(found.kind, "round")
    closed = 0
    while (folder / f"round_{closed:02d}" / "DONE").exists():
        closed += 1
    wanted = _wanted(found.kind, settings)
    rounds = f"{max(0, closed - 1)} of {wanted}" if wanted is not None else str(max(0, closed - 1))
    stage = _stage(found.kind, folder, closed, turn)
    if wanted is not None and closed > wanted:
        stage = "finished"
    elif not found.alive:
        stage = f"stopped in {stage}"
    found = replace(found, rounds=rounds, stage=stage)
    if not closed:
        return found
    try:
        value = _json(folder / "run.json")
        if value.get("stopped") and not found.alive:
            found = replace(found, stage=f"stopped by {value['stopped'].partition(':')[0]}")
        report = _json(folder / f"round_{value['accepted_round']:02d}" / "report.json")
        return replace(found, gate=_share(report["gate"]["greedy"]))
    except Exception as error:  # where it stands is known all the same
        return replace(found, wrong=said(error))


def _share(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A measured share, looked at: what is wrong with it is told of this run, not raised where all are listed."""
    low, high = cell["ci95"]
    return {"accuracy": float(cell["accuracy"]), "n": int(cell["n"]), "ci95": (float(low), float(high))}


def _wanted(kind: str, settings: Mapping[str, Any]) -> int | None:
    run = settings.get("run", {})
    if kind == REINFORCE:
        return -(-int(run["iterations"]) // int(run["eval_every"]))
    number = run.get("iterations" if kind == EVOLVE else "rounds")
    return None if number is None else int(number)


def _stage(kind: str, folder: Path, number: int, turn: str) -> str:
    """The first stage of the round under way that has not said that it is done."""
    from r3v.curriculum.spiral.run import STAGES as SPIRAL
    from r3v.reflection.loop import STAGES

    name = f"{turn} {number}" if number else "the base measurement"
    place = folder / f"round_{number:02d}" / "stages.json"
    done = _json(place) if place.exists() else {}
    if kind == REINFORCE:
        return name
    order = SPIRAL if kind == EVOLVE else STAGES
    if not number:
        order = ("evaluate", "diagnose") if kind == EVOLVE else ("evaluate",)
    left = [stage for stage in order if stage not in done]
    return f"{name}: {left[0]}" if left else name


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise Damaged(f"{path.parent.name}/{path.name} is missing") from error
    except ValueError as error:
        raise Damaged(f"{path.parent.name}/{path.name} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Damaged(f"{path.parent.name}/{path.name} holds no object")
    return value


def _notebook(found: Standing, path: Path) -> Standing:
    from r3v.notebook.store.store import Notebook

    with Notebook.open(path, read_only=True, wait=1.0) as notebook:
        notes = notebook.notes(retired=True)
        steps = sum(event.data.get("stage") == "closed" for event in notebook.events("proposed"))
    active = sum(note.state == "active" for note in notes.values())
    alive = held(path.with_name(f"{path.name}.evolve.lock"))
    stage = count(active, "note") + (f", {len(notes) - active} retired" if active < len(notes) else "")
    return replace(found, stage=stage, rounds=count(steps, "step") if steps else "", alive=alive)


def _diagnosis(found: Standing, folder: Path) -> Standing:
    value = _json(folder / "diagnosis.json")
    return replace(found, stage=f"{value['problems']} probes, {100 * value['accuracy']:.1f} % right")
