"""The fused reflection loss in `transformers.Trainer`, through `compute_loss_func`.

    python -m r3v.recipes.plug_hf_trainer

Hardware: 1 CPU core. Time: about a minute. Expect: step 0 loss 0.233, step 19 loss 0.209, as in every plug_*.py.

Two micro-batches make one optimiser step, to show that accumulation changes nothing: `KindCounts` gives
the trainer the denominators of the whole step. The rows' kinds and weights travel in their labels
(`r3v.losses.rows`).
"""

from __future__ import annotations

import tempfile

from r3v.losses.adapters import KindCounts, hf_compute_loss
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
    """Loss of every step, as the trainer logs it."""
    from transformers import Trainer, TrainingArguments

    class ReflectionTrainer(KindCounts, Trainer):
        pass

    model, processor = load_model(settings.model)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.problems_per_step * ROWS_PER_PROBLEM // 2,
            gradient_accumulation_steps=2,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            max_grad_norm=0.0,
            learning_rate=settings.lr,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = ReflectionTrainer(
            model=model,
            args=arguments,
            train_dataset=encode_rows(make_examples(settings), encoder),  # pyright: ignore[reportArgumentType]
            data_collator=lambda rows: collate_rows(rows, encoder),
            compute_loss_func=hf_compute_loss(ROW_LOSS),
            optimizers=(adamw(model.parameters(), settings.lr), None),
        )
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main(train, __doc__)
