"""What geoworld-tiny's warm-up reads: pictures drawn once, lessons as token rows, batches of rows."""

from __future__ import annotations

import multiprocessing as mp
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r3v.data.geoworld import Item, item_of, source
from r3v.data.geoworld.render import draw
from r3v.io import atomic_path
from r3v.recipes.research import warmup_eyes as eyes
from r3v.recipes.research import warmup_tasks as tasks
from r3v.recipes.research.warmup_model import IMAGE_SIZE, IMAGE_TOKENS


def corpus(n: int = 4000) -> list[str]:
    """Texts the tokenizer is trained on: every task of n items, and every fixed phrase."""
    rng = random.Random(0)
    problems = source("warmup", n)
    texts: list[str] = []
    for i in range(n):
        item = item_of(problems[i])
        for task in tasks.TASKS:
            pair = task(item, rng)
            texts += [pair.text, pair.target]
    fixed = [value for style in tasks.prompts.STYLES.values() for value in style_texts(style)]
    return texts + ([*fixed, "User:", "Assistant:", "System:"]) * 50


def style_texts(style: Any) -> list[str]:
    return [getattr(style, name) for name in style.__dataclass_fields__]


def render_one(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and cell targets of one warm-up problem."""
    item = item_of(source("warmup", index + 1)[index])
    picture, layout = draw(item)
    return np.asarray(picture), eyes.targets(item, layout)


@dataclass
class Pool:
    """Pictures, uint8 [n, 112, 112], what their cells show, uint8 [n, 49, F], and their items."""

    pictures: np.ndarray
    cells: np.ndarray
    items: dict[int, Item]
    problems: Any

    @cached_property
    def numbered(self) -> np.ndarray:
        """Indices of the pictures with numbers on them; the others state theirs in the text."""
        return np.flatnonzero(self.cells[:, :, 0].any(axis=1))

    def item(self, index: int) -> Item:
        if index not in self.items:
            self.items[index] = item_of(self.problems[index])
        return self.items[index]


def open_pool(work: Path, n: int) -> Pool:
    """Draw every picture once, on two processes, and keep them for the next start."""
    path = work / f"pictures-{n}-{eyes.FIELDS}.npz"
    if not path.exists():
        pictures = np.zeros((n, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
        cells = np.zeros((n, eyes.CELLS, eyes.FIELDS), dtype=np.uint8)
        with mp.get_context("spawn").Pool(2) as workers:
            for i, (picture, cell) in enumerate(workers.imap(render_one, range(n), chunksize=32)):
                pictures[i], cells[i] = picture, cell
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, pictures=pictures, cells=cells)
    saved = np.load(path)
    return Pool(saved["pictures"], saved["cells"], {}, source("warmup", n))


class Rows:
    """From lessons to token rows, laid out as the chat template would."""

    def __init__(self, processor: Any) -> None:
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids("<image>")
        self.eos = self.tokenizer.eos_token_id
        self.pad: int = self.tokenizer.convert_tokens_to_ids("<pad>")
        around = "<fake_token_around_image>"
        self.picture = self.encode(f"{around}<global-img>{'<image>' * IMAGE_TOKENS}{around}")
        self.head, self.tail = self.encode("<bos>User:"), self.encode("<end_of_utterance>\nAssistant:")

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, text: str) -> list[int]:
        return self.head + self.picture + self.encode(text) + self.tail

    def row(self, lesson: tasks.Lesson) -> tuple[list[int], int]:
        prompt = self.prompt(lesson.text)
        return [*prompt, *self.encode(lesson.target), self.eos], len(prompt)


def collate(rows: list[tuple[list[int], int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids, attention mask and labels [B, L], padded on the right; labels are -100 outside the target.

    L is a multiple of 32, because oneDNN prepares its bf16 kernels anew for every shape it has not seen.
    """
    length = -(-max(len(ids) for ids, _ in rows) // 32) * 32
    ids_BL = torch.full((len(rows), length), pad)
    labels_BL = torch.full((len(rows), length), -100)
    for b, (ids, start) in enumerate(rows):
        ids_BL[b, : len(ids)] = torch.tensor(ids)
        labels_BL[b, start : len(ids)] = ids_BL[b, start : len(ids)]
    mask_BL = torch.zeros_like(ids_BL)
    for b, (ids, _) in enumerate(rows):
        mask_BL[b, : len(ids)] = 1
    return ids_BL, mask_BL, labels_BL


def batches(pool: Pool, rows: Rows, step: int, mix: Mapping[tasks.Task, float], size: int, group: int = 4):
    """`group` batches at a time, sorted by length so that little is padding; depends on the step alone."""
    rng = random.Random(f"warmup-{step}")
    drawn = []
    for _ in range(size * group):
        index = rng.randrange(len(pool.pictures))
        name, lesson = tasks.lesson(pool.item(index), mix, rng)
        drawn.append((rows.row(lesson), index, name))
    drawn.sort(key=lambda entry: len(entry[0][0]))
    parts = [drawn[i * size : (i + 1) * size] for i in range(group)]
    rng.shuffle(parts)
    return parts
