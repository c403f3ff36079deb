"""The losses inside other trainers give the numbers and the weights of one big batch in plain PyTorch."""

from __future__ import annotations

import copy
import importlib.util
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from r3v.losses import KINDS, kind_index, make_loss, reduce
from r3v.losses.adapters import (
    KindCounts,
    accelerate_step,
    hf_compute_loss,
    lightning_module,
    run_step,
)
from r3v.losses.rows import RowLoss, packed, row_counts, rows_to_inputs, tag_rows, untag_rows

VOCABULARY = 23
STEPS = 3
ROWS = 6
KINDS_OF_ROWS = ["answer", "refine", "answer", "select", "keep", "answer"]
WEIGHTS = [1.0, 0.5, 1.0, 0.3, 0.25, 2.0]


def random_model() -> Any:
    """A random two-layer Llama, the same each time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
    )


@pytest.fixture(scope="module")
def model() -> Any:
    return random_model()


def example_rows() -> list[dict[str, Any]]:
    """STEPS optimiser steps of ROWS unpadded rows of different lengths, the same each step but for the
    tokens.
    """
    generator = torch.Generator().manual_seed(5)
    rows = []
    for index in range(STEPS * ROWS):
        length, prompt = 5 + index % 4, 2 + index % 3
        ids = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
        kind, weight = KINDS_OF_ROWS[index % ROWS], WEIGHTS[index % ROWS]
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:], "kind": kind, "weight": weight})
    return rows


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Right-padded batch with tagged labels."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, value: int) -> Tensor:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])

    ids = padded("input_ids", 0)
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    labels = tag_rows(padded("labels", -100), [r["kind"] for r in rows], [r["weight"] for r in rows])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
        "labels": labels,
    }


def pack(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same rows end to end in one. Positions that begin anew keep them apart, if there is no mask and no cache."""
    tagged = [tag_rows(torch.tensor([row["labels"]]), [row["kind"]], [row["weight"]]) for row in rows]
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "position_ids": torch.cat([torch.arange(len(row["input_ids"])) for row in rows])[None],
        "labels": torch.cat(tagged, dim=1),
        "use_cache": False,
    }


Collate = Callable[[list[dict[str, Any]]], dict[str, Any]]


def steps_of(micro: int, collator: Collate = collate) -> list[list[dict[str, Any]]]:
    """The micro-batches of each step, `micro` rows at a time."""
    rows = example_rows()
    return [
        [collator(rows[i : i + micro]) for i in range(start, start + ROWS, micro)]
        for start in range(0, len(rows), ROWS)
    ]


def plain_run(model: Any, row_loss: RowLoss, lr: float = 0.1) -> tuple[list[float], dict[str, Tensor]]:
    """Whole batches, an ordinary loop, no adapter: loss per step and final weights."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for (batch,) in steps_of(ROWS):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss, _ = reduce(
            row_loss.loss(rows_to_inputs(logits, batch["labels"])), None, row_loss.mode, row_loss.kind_weights
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, dict(model.state_dict())


def assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=2e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


ROW_LOSSES = {
    "kind": RowLoss(make_loss("reflection", refine=0.7), "kind", {"select": 2.0}),
    "tokens": RowLoss(make_loss("reflection"), "tokens"),
}


def test_tags_survive() -> None:
    """Kinds and float32 weights come back exactly; other positions and the count of targets are untouched."""
    labels_RS = torch.tensor([[-100, 5, -100], [-100, -100, -100], [-100, 0, 1], [-100, 2, 2]])
    weights = [0.1, -3.5e-20, 0.0, 1e30]
    kinds = ["select", "answer", "reinforce", "keep"]
    tagged_RS = tag_rows(labels_RS, kinds, weights)
    kind_B, weight_B, branch_RS = untag_rows(tagged_RS)
    assert [KINDS[k] for k in kind_B.tolist()] == kinds
    assert weight_B.tolist() == torch.tensor(weights).tolist()
    assert torch.equal(tagged_RS[:, 1:], labels_RS[:, 1:])
    assert bool((tagged_RS[:, 0] < -100).all())
    assert branch_RS.tolist() == [[row] * 3 for row in range(4)]
    kind_B, weight_B, branch_RS = untag_rows(labels_RS)
    assert kind_B.tolist() == [kind_index("answer")] * 4
    assert weight_B.tolist() == [1.0] * 4


def test_packed_rows_by_hand() -> None:
    """Two tagged examples end to end, then a row that is one: the tag of the second is no target of the first.

    Row 0: select with target 1, then keep (weight 0.5) with targets 0, 1. Row 1: an answer with target 1, padded.
    """
    select = tag_rows(torch.tensor([[-100, 1]]), ["select"])
    keep = tag_rows(torch.tensor([[-100, 0, 1]]), ["keep"], [0.5])
    labels_RS = torch.cat([torch.cat([select, keep], dim=1), torch.tensor([[-100, 1, -100, -100, -100]])])
    assert row_counts(labels_RS).tolist() == [1, 0, 1, 2, 0, 0]
    logits_RSV = torch.zeros(2, 5, 2)
    logits_RSV[0, 2, 1] = math.log(3)  # predicts the first target of `keep`, which is 0: p = 1/4
    inputs = rows_to_inputs(logits_RSV, labels_RS)
    torch.testing.assert_close(inputs.logprobs_T, torch.tensor([0.5, 0.25, 0.5, 0.5]).log())
    assert inputs.branch_T.tolist() == [0, 1, 1, 2]
    assert [KINDS[k] for k in inputs.kind_B.tolist()] == ["select", "keep", "answer"]
    assert inputs.weight_B.tolist() == [1.0, 0.5, 1.0]
    assert packed(labels_RS)
    assert not packed(labels_RS[1:])


def test_packed_rows_need_counts_of_their_own() -> None:
    """The trainer's count takes tags for targets, so another loss would come of it."""
    one = tag_rows(torch.tensor([[-100, 1]]), ["answer"])
    labels_RS = torch.cat([one, one], dim=1)
    with pytest.raises(ValueError, match=r"found packed rows .* mix KindCounts"):
        hf_compute_loss(ROW_LOSSES["tokens"])({"logits": torch.zeros(1, 4, 2)}, labels_RS, 3)
    loss = hf_compute_loss(ROW_LOSSES["tokens"])({"logits": torch.zeros(1, 4, 2)}, labels_RS, row_counts(labels_RS))
    assert float(loss) == pytest.approx(math.log(2))


def test_tagging_refuses_what_it_cannot_do() -> None:
    labels_RS = torch.full((2, 3), -100)
    with pytest.raises(ValueError, match="found loss kind 'solve'"):
        tag_rows(labels_RS, ["answer", "solve"])
    with pytest.raises(ValueError, match="found 1 kinds and 1 weights for 2 rows"):
        tag_rows(labels_RS, ["answer"])
    with pytest.raises(ValueError, match="found a target or a tag at position 0"):
        tag_rows(tag_rows(labels_RS, ["answer"] * 2), ["answer"] * 2)


def test_rows_are_shifted_by_hand() -> None:
    """Position s predicts label s + 1: two targets, from positions 0 and 2 of row 1; row 0 has none.

    Logits (0, ln 3) give p(1) = 3/4 and p(0) = 1/4.
    """
    logits_RSV = torch.zeros(2, 4, 2)
    logits_RSV[1, 0, 1] = logits_RSV[1, 2, 1] = math.log(3)
    labels_RS = torch.tensor([[-100] * 4, [-100, 1, -100, 0]])
    inputs = rows_to_inputs(logits_RSV, tag_rows(labels_RS, ["answer", "select"]))
    torch.testing.assert_close(inputs.logprobs_T, torch.tensor([0.75, 0.25]).log())
    assert inputs.branch_T.tolist() == [1, 1]
    assert row_counts(tag_rows(labels_RS, ["answer", "select"])).tolist() == [0, 0, 2, 0, 0, 0]


ACCUMULATION = pytest.mark.host("accumulation")
"""A line of docs/hosts.md, as are the two processes of test_losses_distributed.py."""
PACKING = pytest.param(2, pack, marks=pytest.mark.host("packing"), id="2-packed")


def padded(*micro: int) -> list[Any]:
    return [pytest.param(n, collate, marks=ACCUMULATION, id=str(n)) for n in micro]


@pytest.mark.parametrize("mode", list(ROW_LOSSES))
@pytest.mark.parametrize(("micro", "collator"), [*padded(1, 2, 6), PACKING])
def test_torch(model: Any, mode: str, micro: int, collator: Collate) -> None:
    expected, weights = plain_run(model, ROW_LOSSES[mode])
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    found = []
    for batches in steps_of(micro, collator):
        optimizer.zero_grad()
        found.append(run_step(trained, batches, ROW_LOSSES[mode])["loss"])
        optimizer.step()
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(set(found)) == STEPS, "nothing was learned"
    assert_same_weights(dict(trained.state_dict()), weights)


@pytest.mark.parametrize("mode", list(ROW_LOSSES))
@pytest.mark.parametrize(("micro", "collator"), [*padded(2, 6), PACKING])
def test_accelerate(model: Any, mode: str, micro: int, collator: Collate) -> None:
    """Accelerate's own division by gradient_accumulation_steps is undone."""
    from accelerate import Accelerator

    expected, weights = plain_run(model, ROW_LOSSES[mode])
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ROWS // micro)
    trained = copy.deepcopy(model)
    prepared, optimizer = accelerator.prepare(trained, torch.optim.SGD(trained.parameters(), lr=0.1))
    found = []
    for batches in steps_of(micro, collator):
        optimizer.zero_grad()
        found.append(accelerate_step(accelerator, prepared, batches, ROW_LOSSES[mode])["loss"])
        optimizer.step()
    assert found == pytest.approx(expected, rel=1e-5)
    assert_same_weights(dict(trained.state_dict()), weights)


def trainer_arguments(kind: Any, folder: Path, micro: int, accumulate: int | None = None, **more: Any) -> Any:
    return kind(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate or ROWS // micro,
        num_train_epochs=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        use_cpu=True,
        disable_tqdm=True,
        **more,
    )


def run_trainer(
    kind: Any, arguments: Any, model: Any, row_loss: RowLoss, **more: Any
) -> tuple[list[float], dict[str, Tensor]]:
    trained = copy.deepcopy(model)
    trainer = kind(
        model=trained,
        args=arguments,
        compute_loss_func=hf_compute_loss(row_loss),
        **({"train_dataset": example_rows(), "data_collator": collate} | more),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return [float(loss) for loss in losses], dict(trained.state_dict())


@pytest.mark.parametrize(
    ("mode", "micro", "mixin", "collator"),
    [
        pytest.param("tokens", 6, False, collate, marks=ACCUMULATION),
        pytest.param("tokens", 2, False, collate, marks=ACCUMULATION),
        pytest.param("kind", 6, False, collate, marks=ACCUMULATION),
        pytest.param("kind", 2, True, collate, marks=ACCUMULATION),
        pytest.param("kind", 2, True, pack, marks=pytest.mark.host("packing")),
        pytest.param("tokens", 2, True, pack, marks=pytest.mark.host("packing")),
    ],
)
def test_transformers(model: Any, tmp_path: Path, mode: str, micro: int, mixin: bool, collator: Collate) -> None:
    """With accumulation, token mode is exact through num_items_in_batch, kind mode through the mixin; packing always
    through the mixin."""
    from transformers import Trainer, TrainingArguments

    class Mixed(KindCounts, Trainer):
        pass

    expected, weights = plain_run(model, ROW_LOSSES[mode])
    arguments = trainer_arguments(TrainingArguments, tmp_path, micro)
    kind = Mixed if mixin else Trainer
    found, trained = run_trainer(kind, arguments, model, ROW_LOSSES[mode], data_collator=collator)
    assert found == pytest.approx(expected, rel=1e-4), "the trainer logs rounded losses"
    assert_same_weights(trained, weights)


def test_transformers_trainer_refuses_unknown_denominators(model: Any, tmp_path: Path) -> None:
    """Kind mode with accumulation and without the mixin would be another loss, so it is an error."""
    from transformers import Trainer, TrainingArguments

    arguments = trainer_arguments(TrainingArguments, tmp_path, 2)
    with pytest.raises(ValueError, match=r"num_items_in_batch=\d+ but \d+ target tokens .* mix KindCounts"):
        run_trainer(Trainer, arguments, model, ROW_LOSSES["kind"])


def test_evaluation_without_counts(model: Any) -> None:
    """num_items_in_batch=None (some evaluation loops): the batch is the whole step."""
    (batch,) = steps_of(ROWS)[0]
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    expected, _ = ROW_LOSSES["kind"](outputs.logits, batch["labels"])
    torch.testing.assert_close(hf_compute_loss(ROW_LOSSES["kind"])(outputs, batch["labels"]), expected)
    with pytest.raises(ValueError, match="found outputs without logits"):
        hf_compute_loss(ROW_LOSSES["kind"])(SimpleNamespace(logits=None), batch["labels"])


def test_token_mode_refuses_rows_it_does_not_train() -> None:
    """A `prefer` row's tokens are in the trainer's count; leaving them out silently would dilute the
    others.
    """
    labels_RS = tag_rows(torch.tensor([[-100, 1], [-100, 2]]), ["answer", "prefer"])
    logits_RSV = torch.zeros(2, 2, 5)
    with pytest.raises(ValueError, match="found 2 target tokens of which this loss trains 1"):
        hf_compute_loss(ROW_LOSSES["tokens"])({"logits": logits_RSV}, labels_RS, 2)


def run_trl(
    model: Any, folder: Path, row_loss: RowLoss, micro: int, accumulate: int | None = None, collator: Collate = collate
) -> tuple[list[float], dict[str, Tensor]]:
    """`run_trainer` with TRL's SFTTrainer. The dataset holds row numbers and the collator makes the batches."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

        class Mixed(KindCounts, SFTTrainer):
            pass

        arguments = trainer_arguments(
            SFTConfig,
            folder,
            micro,
            accumulate,
            loss_type="nll",
            dataset_kwargs={"skip_prepare_dataset": True},
            gradient_checkpointing=False,
            bf16=False,
        )
        return run_trainer(
            Mixed,
            arguments,
            model,
            row_loss,
            train_dataset=Dataset.from_list(example_rows()),
            data_collator=collator,
            processing_class=tokenizer,
        )


NO_TRL = importlib.util.find_spec("trl") is None


@pytest.mark.skipif(NO_TRL, reason="trl is not installed (pip install r3v[bench])")
@pytest.mark.parametrize("mode", list(ROW_LOSSES))
@pytest.mark.parametrize(("micro", "collator"), [*padded(2, 6), PACKING])
def test_trl(model: Any, tmp_path: Path, mode: str, micro: int, collator: Collate) -> None:
    """TRL's SFTTrainer takes the same function and the same mixin; it warns that the argument goes away
    in 2.0.
    """
    expected, weights = plain_run(model, ROW_LOSSES[mode])
    found, trained = run_trl(model, tmp_path, ROW_LOSSES[mode], micro, collator=collator)
    assert found == pytest.approx(expected, rel=1e-4)
    assert_same_weights(trained, weights)


def lightning_trainer(folder: Path, losses: list[float], **more: Any) -> Any:
    """A silent trainer that appends the loss of each step to `losses`."""
    import pytorch_lightning as pl

    class Recorder(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            losses.append(float(trainer.callback_metrics["loss"]))

    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Recorder()],
        **more,
    )


@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning")
@pytest.mark.parametrize("mode", list(ROW_LOSSES))
@pytest.mark.parametrize(("micro", "collator"), [*padded(2, 6), PACKING])
def test_lightning(model: Any, tmp_path: Path, mode: str, micro: int, collator: Collate) -> None:
    expected, weights = plain_run(model, ROW_LOSSES[mode])
    trained = copy.deepcopy(model)
    module = lightning_module(trained, ROW_LOSSES[mode], lambda p: torch.optim.SGD(p, lr=0.1))
    found: list[float] = []
    loader: Any = torch.utils.data.DataLoader(steps_of(micro, collator), batch_size=None)  # pyright: ignore
    trainer = lightning_trainer(tmp_path, found)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(module, loader)
    assert found == pytest.approx(expected, rel=1e-5)
    assert_same_weights(dict(trained.state_dict()), weights)
