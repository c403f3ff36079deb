"""What the plug_*.py recipes share: the model, the examples, and the loop's settings. Nothing here trains.

Each recipe is one trainer people already have, with the fused reflection loss (answer + keep + refine +
select) put into it. All take the same examples in the same order through `AdamW(lr)` without schedule,
clipping or weight decay, so all print the same loss curve. Every step is on new problems: the curve
compares trainers, it is no learning curve.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r3v import prompts
from r3v.data.geoworld import item_of, source
from r3v.losses import make_loss
from r3v.losses.rows import IGNORE, RowLoss, tag_rows
from r3v.policies.model.encode import Encoder
from r3v.policies.model.loading import resolve
from r3v.records import Example
from r3v.training.layout.trie import target_ids

ROW_LOSS = RowLoss(make_loss("reflection"), mode="kind")
"""Each kind averaged over its own tokens; the examples carry the weights."""


@dataclass(frozen=True)
class Settings:
    """One short training run."""

    steps: int = 20
    problems_per_step: int = 4
    lr: float = 5e-4
    model: str = "geoworld-tiny"


def load_model(name: str = "geoworld-tiny") -> tuple[Any, Any]:
    """A model in float32, all weights trainable, and its processor: plain transformers."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = resolve(name)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.train(), AutoProcessor.from_pretrained(folder)


def adamw(parameters: Any, lr: float) -> torch.optim.Optimizer:
    """The optimiser of every recipe."""
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def make_examples(settings: Settings) -> list[list[Example]]:
    """For each problem one answer, refine, keep and select example, from GeoWorld's own right and wrong
    rationales.

    A run of the library samples the rationales from the model; here they are given, so that a plug-in
    recipe is about the trainer and nothing else.
    """
    words = prompts.style("short")
    groups = []
    for index, problem in enumerate(source("train", settings.steps * settings.problems_per_step)):
        item = item_of(problem)
        right, wrong = item.rationale, item.wrong[0][0]
        place = index % 2
        shown = [right, wrong] if place == 0 else [wrong, right]
        chosen = prompts.select_target(words, place, prompts.answer_text(problem))
        groups.append(
            [
                Example("answer", problem.id, prompts.solve(problem, words), right, 1.0),
                Example("refine", problem.id, prompts.refine(problem, words, wrong), right, 0.5),
                Example("keep", problem.id, prompts.refine(problem, words, right), right, 0.25),
                Example("select", problem.id, prompts.select(problem, words, shown), chosen, 0.5),
            ]
        )
    return groups


@dataclass(frozen=True)
class Row:
    """One example as other trainers see it: ids of prompt and target, labels on the target, pixels."""

    input_ids: list[int]
    labels: list[int]
    images: dict[str, Tensor]
    kind: str
    weight: float


def encode_rows(groups: Sequence[Sequence[Example]], encoder: Encoder) -> list[Row]:
    """All examples as rows, problem by problem."""
    rows = []
    for example in (example for group in groups for example in group):
        prompt, target = encoder.prompt(example.prompt), target_ids(example, encoder)
        ids, labels = [*prompt.ids, *target], [IGNORE] * len(prompt.ids) + [*target]
        rows.append(Row(ids, labels, dict(prompt.images), example.kind, example.weight))
    return rows


def collate_rows(rows: Sequence[Row], encoder: Encoder) -> dict[str, Tensor]:
    """Right-padded model inputs and tagged labels."""
    longest = max(len(row.input_ids) for row in rows)
    pad_id = encoder.tokenizer.pad_token_id or 0

    def padded(values: Sequence[list[int]], fill: int) -> Tensor:
        return torch.tensor([v + [fill] * (longest - len(v)) for v in values])

    labels = padded([row.labels for row in rows], IGNORE)
    return {
        "input_ids": padded([row.input_ids for row in rows], pad_id),
        "attention_mask": padded([[1] * len(row.input_ids) for row in rows], 0),
        "labels": tag_rows(labels, [row.kind for row in rows], [row.weight for row in rows]),
        **encoder.collate_images([row.images for row in rows]),
    }


def main(train: Callable[[Settings], list[float]], documentation: str | None) -> None:
    """Command line of a recipe: settings as flags, the loss of every step on the terminal."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Settings()
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--problems-per-step", type=int, default=default.problems_per_step)
    parser.add_argument("--lr", type=float, default=default.lr)
    parser.add_argument("--model", default=default.model, help="folder, or geoworld-tiny or smolgeo")
    settings = Settings(**vars(parser.parse_args()))
    start = time.perf_counter()
    losses = train(settings)
    for step, loss in enumerate(losses):
        print(f"step {step:3d}  loss {loss:.4f}")
    print(f"{len(losses)} steps in {time.perf_counter() - start:.1f} s: {losses[0]:.4f} -> {losses[-1]:.4f}")
