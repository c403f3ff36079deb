"""The fused reflection loss in a LightningModule of a few lines, in a plain `pytorch_lightning.Trainer`.

    python -m r3v.recipes.plug_lightning

Hardware: 1 CPU core. Time: about a minute. Expect: step 0 loss 0.233, step 19 loss 0.209, as in every plug_*.py.

`r3v.losses.adapters.lightning_module` trains any model on padded rows; a batch of the dataloader is the
list of one step's micro-batches. `R3VModule` is the full integration, with prefix tries, LoRA and
resuming.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

from r3v.losses.adapters import lightning_module
from r3v.policies.model.encode import Encoder
from r3v.recipes.plug_common import (
    ROW_LOSS,
    Settings,
    adamw,
    collate_rows,
    encode_rows,
    load_model,
    main,
    make_examples,
)

ROWS_PER_PROBLEM = 4


def train(settings: Settings) -> list[float]:
    """Loss of every step."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader

    class Curve(pl.Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self.losses.append(float(trainer.callback_metrics["loss"]))

    model, processor = load_model(settings.model)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    rows = encode_rows(make_examples(settings), encoder)
    micro = settings.problems_per_step * ROWS_PER_PROBLEM // 2
    batches = [collate_rows(rows[i : i + micro], encoder) for i in range(0, len(rows), micro)]
    steps: Any = [batches[i : i + 2] for i in range(0, len(batches), 2)]
    curve = Curve()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer = pl.Trainer(
            default_root_dir=folder,
            max_epochs=1,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[curve],
        )
        module = lightning_module(model, ROW_LOSS, lambda parameters: adamw(parameters, settings.lr))
        trainer.fit(module, DataLoader(steps, batch_size=None))
    return curve.losses


if __name__ == "__main__":
    main(train, __doc__)
