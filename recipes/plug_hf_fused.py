"""The fused trie in `transformers.Trainer`: picture and question are computed once a problem.

    python -m r3v.recipes.plug_hf_fused
    r3v fetch smolgeo && python -m r3v.recipes.plug_hf_fused --model smolgeo --lr 1e-5

Hardware: 1 CPU core. Expect with geoworld-tiny: the losses of every plug_*.py, step by step. It has not been run with
smolgeo.

A row of a batch is one problem with all its branches under a tree mask (`r3v.training.other_trainers`). The model, the
optimiser and the loop are the trainer's own; two micro-batches make one optimiser step.
"""

from __future__ import annotations

import tempfile

import torch

from r3v.losses import make_loss
from r3v.losses.adapters import KindCounts
from r3v.policies.model.encode import Encoder
from r3v.recipes.plug_common import Settings, adamw, load_model, main, make_examples
from r3v.training.other_trainers import TrieCollator, TrieLoss


def train(settings: Settings) -> list[float]:
    """Loss of every step, as the trainer logs it."""
    from transformers import Trainer, TrainingArguments

    class ReflectionTrainer(KindCounts, Trainer):
        pass

    model, processor = load_model(settings.model)
    groups = make_examples(settings)
    collator = TrieCollator(model, Encoder(processor, model.config, generation_config=model.generation_config))
    collator.check(groups)
    accumulate = 2 if settings.problems_per_step % 2 == 0 else 1
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.problems_per_step // accumulate,
            gradient_accumulation_steps=accumulate,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),  # else several processes on a machine without a GPU would not meet
            prediction_loss_only=True,
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
            train_dataset=groups,  # pyright: ignore[reportArgumentType]
            data_collator=collator,
            compute_loss_func=TrieLoss(make_loss("reflection")),
            optimizers=(adamw(model.parameters(), settings.lr), None),
        )
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main(train, __doc__)
