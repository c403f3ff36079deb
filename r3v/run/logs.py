"""Curves for the tools people watch: `run.log` csv, tensorboard, wandb, mlflow, by Lightning's loggers.

Files lie in `RUN/logs`; W&B and MLflow follow their own environment variables (WANDB_MODE=offline,
MLFLOW_TRACKING_URI). `log` says numbers at a step and does nothing where no log is open. Steps go on from round to
round.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError

PACKAGES = {"csv": (), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
"""Log -> the packages of which it needs one."""


def check_logs(names: Sequence[str]) -> None:
    """Raise ConfigError for a log that does not exist, or whose package is not installed."""
    for name in names:
        if name not in PACKAGES:
            raise ConfigError(f"found run.log {name!r}, expected some of {', '.join(PACKAGES)}")
        wanted = PACKAGES[name]
        if wanted and not any(find_spec(package) for package in wanted):
            raise ConfigError(f"found run.log {name}, which needs the package {wanted[0]}; pip install 'r3v[log]'")


def _csv(folder: Path, title: str) -> Any:
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(folder, name="csv", flush_logs_every_n_steps=10)


def _tensorboard(folder: Path, title: str) -> Any:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard")


def _wandb(folder: Path, title: str) -> Any:
    from pytorch_lightning.loggers import WandbLogger

    own = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]
    return WandbLogger(
        name=title, save_dir=folder, id=own, project=os.environ.get("WANDB_PROJECT", "r3v"), resume="allow",
        offline=os.environ.get("WANDB_MODE") == "offline",
    )  # fmt: skip


def _mlflow(folder: Path, title: str) -> Any:
    from pytorch_lightning.loggers import MLFlowLogger

    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"
    return MLFlowLogger(experiment_name="r3v", run_name=title, tracking_uri=place)


LOGGERS: Mapping[str, Callable[[Path, str], Any]] = {
    "csv": _csv, "tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow,
}  # fmt: skip


class _Open:
    """The loggers of the process, and the steps that earlier rounds have made."""

    loggers: Sequence[Any] = ()
    base = 0


@contextmanager
def opened(names: Sequence[str], folder: Path, title: str, settings: Mapping[str, Any], base: int) -> Iterator[None]:
    """Log into `folder`/logs until the block ends. `base`: optimiser steps that the run has made so far."""
    if not names:  # a run within a run is logged with that one
        yield
        return
    check_logs(names)
    before = _Open.loggers, _Open.base
    _Open.loggers = [LOGGERS[name](folder / "logs", title) for name in names]
    _Open.base = base
    status = "failed"
    try:
        for logger in _Open.loggers:
            logger.log_hyperparams(dict(settings))
        yield
        status = "success"
    finally:
        for logger in _Open.loggers:
            logger.finalize(status)
        if "wandb" in names:
            import wandb  # pyright: ignore[reportMissingImports]

            wandb.finish(exit_code=int(status != "success"))
        _Open.loggers, _Open.base = before


def on() -> bool:
    """Whether anything is logged: figures that cost something to find need not be found otherwise."""
    return bool(_Open.loggers)


def log(metrics: Mapping[str, float], step: int = 0) -> None:
    """Numbers at step `step` of the present round."""
    for logger in _Open.loggers:
        logger.log_metrics(dict(metrics), _Open.base + step)


def close_round(report: Mapping[str, Any], steps: int) -> None:
    """The numbers of a round, after its `steps` steps, from which the next round counts on."""
    if not on():
        return
    _Open.base += steps
    log(of_round(report))
    for logger in _Open.loggers:
        logger.save()


def of_round(report: Mapping[str, Any]) -> dict[str, float]:
    """What is logged of a round: accuracies on gate and evaluation problems, what was sampled and taught, seconds."""
    found: dict[str, float] = {"round": report["round"], "accepted": float(report["accepted"])}
    for kind in ("gate", "eval"):
        for name, cell in report.get(kind, {}).items():
            found[f"{kind}/{name.replace('@', '_at_')}"] = cell["accuracy"]
            found[f"{kind}/{name.replace('@', '_at_')}_unparsed"] = cell["unparsed"]
    pool = report.get("pool", {})
    answers = sum(pool.get(kind, 0) for kind in ("correct", "wrong", "unparsed"))
    if answers:
        found["sample/right"] = pool.get("correct", 0) / answers
        found["sample/unparsed"] = pool.get("unparsed", 0) / answers
        found["sample/ended_by_length"] = pool.get("truncated", 0) / answers
    if "total" in report.get("examples", {}):
        found["examples"] = report["examples"]["total"]
    found |= {f"seconds/{name}": seconds for name, seconds in report.get("seconds", {}).items()}
    return found
