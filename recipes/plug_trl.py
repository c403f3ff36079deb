"""The fused reflection loss in TRL's `SFTTrainer`, with an image in every row.

    pip install 'r3v[bench]' && python -m r3v.recipes.plug_trl

Hardware: 1 CPU core. Time: about a minute. Expect: step 0 loss 0.233, step 19 loss 0.209, as in every plug_*.py.

The same function and the same mixin as in plug_hf_trainer. `loss_type="nll"` because TRL refuses `dft`
beside a loss function; TRL runs one more forward without gradient for its own metrics, so a step takes
longer. TRL 1.16 warns that `compute_loss_func` goes away in 2.0.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

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
    """Loss of every step, as the trainer logs it. Needs trl."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    class ReflectionTrainer(KindCounts, SFTTrainer):
        pass

    model, processor = load_model(settings.model)
    encoder = Encoder(processor, model.config, generation_config=model.generation_config)
    rows = encode_rows(make_examples(settings), encoder)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*compute_loss_func. is deprecated.*")
        arguments = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=settings.problems_per_step * ROWS_PER_PROBLEM // 2,
            gradient_accumulation_steps=2,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            loss_type="nll",
            bf16=False,
            gradient_checkpointing=False,
            max_grad_norm=0.0,
            learning_rate=settings.lr,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer_class: Any = ReflectionTrainer
        trainer = trainer_class(
            model=model,
            args=arguments,
            processing_class=processor,
            # The dataset holds row numbers: pixel tensors would be turned into nested lists.
            train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
            data_collator=lambda items: collate_rows([rows[item["row"]] for item in items], encoder),
            compute_loss_func=hf_compute_loss(ROW_LOSS),
            optimizers=(adamw(model.parameters(), settings.lr), None),
        )
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    main(train, __doc__)
