"""Callbacks that end a fit in the middle; in a module of their own, because worker processes import them."""

from __future__ import annotations

import os
import signal

import pytorch_lightning as pl


class KillRank(pl.Callback):
    """SIGKILL to one process of the group, in the backward pass of optimiser step `step` (from 0)."""

    def __init__(self, rank: int, step: int) -> None:
        self.rank, self.step = rank, step

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
