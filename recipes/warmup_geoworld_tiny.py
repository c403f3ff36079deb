"""Train geoworld-tiny from scratch on GeoWorld's warm-up split: first to see, then to reason badly.

    python -m r3v.recipes.warmup_geoworld_tiny --out checkpoints/geoworld-tiny --work checkpoints/runs/warmup

Hardware: 2 CPU cores with bf16 matrix units (AMX); slower without them.
Time and numbers to expect: in checkpoints/geoworld-tiny/README.md, beside the log of the run that made it.

Plain torch on purpose: one loop that reads top to bottom, no Lightning, no adapter. Trained straight on solving, a
model of this size guesses the commonest numbers and never looks at the picture; so it reads first. Interrupted, the
same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from r3v.recipes import warmup_tasks as tasks
from r3v.recipes.warmup_model import (
    IMAGE_SIZE,
    IMAGE_TOKENS,
    Size,
    build_model,
    build_processor,
    build_tokenizer,
)
from torch import Tensor
from torch.nn import functional as F

from r3v.data.geoworld import Item, item_of, source
from r3v.data.images import decode
from r3v.io import atomic_dir, atomic_path


def corpus(n: int = 4000) -> list[str]:
    """Texts the tokenizer is trained on: every task of n items, and every fixed phrase."""
    rng = random.Random(0)
    problems = source("warmup", n)
    texts: list[str] = []
    for i in range(n):
        item = item_of(problems[i])
        for task in tasks.TASKS.values():
            pair = task(item, rng)
            texts += [pair.text, pair.target]
    fixed = [value for style in tasks.prompts.STYLES.values() for value in style_texts(style)]
    return texts + ([*fixed, "User:", "Assistant:", "System:"]) * 50


def style_texts(style: Any) -> list[str]:
    return [getattr(style, name) for name in style.__dataclass_fields__]


def render_pool(path: str, n: int, done: Any) -> None:
    """Fill the picture pool in a process of its own, so that training need not wait for drawing."""
    pool = np.lib.format.open_memmap(path, mode="r+")
    problems = source("warmup", n)
    for i in range(done.value, n):
        pool[i] = np.asarray(decode(problems[i].images[0]).convert("L").resize((IMAGE_SIZE, IMAGE_SIZE)))
        done.value = i + 1
    pool.flush()


@dataclass
class Pool:
    """Pictures as uint8 [n, 112, 112] and their items, made once and drawn from many times."""

    pictures: np.ndarray
    done: Any
    items: dict[int, Item]
    problems: Any

    def item(self, index: int) -> Item:
        if index not in self.items:
            self.items[index] = item_of(self.problems[index])
        return self.items[index]


def open_pool(work: Path, n: int) -> Pool:
    path, mark = work / "pictures.npy", work / "pictures.json"
    made = json.loads(mark.read_text())["n"] if mark.exists() else 0
    if not path.exists() or made < n:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, IMAGE_SIZE, IMAGE_SIZE)).flush()
        made = 0
    done = mp.get_context("spawn").Value("i", made)
    if made < n:
        mp.get_context("spawn").Process(target=render_pool, args=(str(path), n, done), daemon=True).start()
    return Pool(np.lib.format.open_memmap(path, mode="r"), done, {}, source("warmup", n))


class Rows:
    """From lessons to token rows, laid out as the chat template would."""

    def __init__(self, processor: Any) -> None:
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids("<image>")
        self.eos = self.tokenizer.eos_token_id
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


def pixels(pictures: np.ndarray) -> Tensor:
    """[B, 1, 3, 112, 112] as the processor would give: grey to RGB, scaled to [-1, 1]."""
    grey = torch.from_numpy(pictures.copy()).float().div_(127.5).sub_(1.0)
    return grey[:, None, None].expand(-1, 1, 3, -1, -1).contiguous()


def fast_attention(model: Any) -> None:
    """Attention in fp32 under bf16 autocast: on CPU its bf16 backward is three times slower than fp32's."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    def attention(module, query, key, value, attention_mask, **kwargs):
        with torch.autocast("cpu", enabled=False):
            return sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **kwargs)

    AttentionInterface.register("sdpa_fp32", attention)
    AttentionMaskInterface.register("sdpa_fp32", sdpa_mask)
    model.set_attn_implementation("sdpa_fp32")


def compile_layers(model: Any, on: bool) -> None:
    """Compiled layers for training (a quarter faster); the plain ones for generation, whose shapes all differ."""
    torch._dynamo.config.cache_size_limit = 64
    for layer in [*model.model.text_model.layers, *model.model.vision_model.encoder.layers]:
        if on:
            layer.forward = torch.compile(layer.forward, dynamic=layer in model.model.text_model.layers)
        else:
            layer.__dict__.pop("forward", None)


def batches(pool: Pool, rows: Rows, step: int, mix: dict[str, float], size: int, group: int = 4):
    """`group` batches at a time, sorted by length so that little is padding; depends on the step alone."""
    rng = random.Random(f"warmup-{step}")
    drawn = []
    for _ in range(size * group):
        index = rng.randrange(pool.done.value)
        name, lesson = tasks.lesson(pool.item(index), mix, rng)
        drawn.append((rows.row(lesson), index, name))
    drawn.sort(key=lambda entry: len(entry[0][0]))
    parts = [drawn[i * size : (i + 1) * size] for i in range(group)]
    rng.shuffle(parts)
    return parts


def step_loss(model: Any, part: Any, pool: Pool, pad: int) -> tuple[Tensor, dict[str, tuple[float, int]]]:
    """Mean token loss of one batch, and (sum, tokens) per task for the log."""
    ids, mask, labels = collate([row for row, _, _ in part], pad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=pixels(pool.pictures[[i for _, i, _ in part]]),
            use_cache=False,
        ).last_hidden_state[:, :-1]
        flat = (labels[:, 1:] != -100).flatten().nonzero()[:, 0]
        fill = -len(flat) % 512
        logits = model.lm_head(hidden.flatten(0, 1)[F.pad(flat, (0, fill))])[: len(flat)]
    losses = F.cross_entropy(logits.float(), labels[:, 1:].flatten()[flat], reduction="none")
    per_task: dict[str, tuple[float, int]] = {}
    owner = flat // (labels.shape[1] - 1)
    for b, (_, _, name) in enumerate(part):
        mine = losses.detach()[owner == b]
        total, count = per_task.get(name, (0.0, 0))
        per_task[name] = (total + float(mine.sum()), count + len(mine))
    return losses.mean(), per_task


@torch.inference_mode()
def quick_check(model: Any, rows: Rows, items: list[Item], pictures: np.ndarray, mode: str) -> float:
    """Share of items whose greedy reading is right, or whose open answer is (exact text)."""
    model.eval()
    compile_layers(model, False)
    right = 0
    pad = rows.tokenizer.pad_token_id
    for start in range(0, len(items), 64):
        part = items[start : start + 64]
        texts = [
            tasks.read(i, random.Random(0)).text
            if mode == "read"
            else tasks.prompts.solve(i.problem.open(), tasks.STYLE).messages[0].text
            for i in part
        ]
        prompt = [rows.prompt(text) for text in texts]
        length = max(map(len, prompt))
        ids = torch.tensor([[pad] * (length - len(p)) + p for p in prompt])
        out = model.generate(
            input_ids=ids,
            attention_mask=(ids != pad).long(),
            pixel_values=pixels(pictures[start : start + 64]),
            max_new_tokens=90,
            do_sample=False,
        )
        for item, text in zip(
            part, rows.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True), strict=True
        ):
            if mode == "read":
                right += text.strip() == item.reading.strip()
            else:
                right += text.rsplit("Answer: ", 1)[-1].strip() == item.problem.gold_text
    model.train()
    compile_layers(model, True)
    return right / len(items)


def rate(step: int, total: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then cosine to a twentieth of the peak."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - 100) / max(1, total - 100))))


def save_state(path: Path, **state: Any) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def train(args: argparse.Namespace) -> None:
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = build_tokenizer(corpus())
    processor = build_processor(tokenizer)
    model = build_model(tokenizer, Size())
    fast_attention(model)
    rows = Rows(processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    first, state = 0, work / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    pool = open_pool(work, args.pictures)
    while pool.done.value < min(args.pictures, args.first):
        time.sleep(0.5)
    held = source("gate", 128)
    held_items = [item_of(held[i]) for i in range(len(held))]
    held_pictures = np.stack(
        [np.asarray(decode(p.images[0]).convert("L").resize((IMAGE_SIZE, IMAGE_SIZE))) for p in held]
    )
    model.train()
    compile_layers(model, True)
    started, queue, meter = time.time(), [], {}
    with (work / "log.jsonl").open("a") as log:
        for step in range(first, args.steps):
            mix = tasks.READING_MIX if step < args.read_steps else tasks.SOLVING_MIX
            if not queue or (step == args.read_steps):
                queue = batches(pool, rows, step, mix, args.batch)
            loss, per_task = step_loss(model, queue.pop(), pool, tokenizer.pad_token_id)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate(step, args.steps, args.lr)
            optimizer.step()
            for name, (total, count) in per_task.items():
                old = meter.get(name, (0.0, 0))
                meter[name] = (old[0] + total, old[1] + count)
            if (step + 1) % 50 == 0:
                line: dict[str, Any] = {
                    "step": step + 1,
                    "seconds": round(time.time() - started, 1),
                    "pictures": pool.done.value,
                    **{name: round(total / count, 4) for name, (total, count) in sorted(meter.items())},
                }
                meter = {}
                if (step + 1) % args.check == 0:
                    line["held_read"] = quick_check(model, rows, held_items, held_pictures, "read")
                    line["held_open"] = quick_check(model, rows, held_items, held_pictures, "solve")
                    save_state(state, model=model.state_dict(), optimizer=optimizer.state_dict(), step=step + 1)
                    if pool.done.value == args.pictures:
                        (work / "pictures.json").write_text(json.dumps({"n": args.pictures}))
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(json.dumps(line), flush=True)
    export(model, processor, Path(args.out), work)


def export(model: Any, processor: Any, out: Path, work: Path) -> None:
    """bf16 safetensors that load with plain AutoModelForImageTextToText and AutoProcessor, and the log beside."""
    compile_layers(model, False)
    model.set_attn_implementation("sdpa")
    keep = {p.name: p.read_bytes() for p in out.glob("*.md")} if out.exists() else {}
    with atomic_dir(out) as folder:
        model.to(torch.bfloat16).save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "log.jsonl").write_bytes((work / "log.jsonl").read_bytes())
        for name, data in keep.items():
            (folder / name).write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="checkpoints/geoworld-tiny")
    parser.add_argument("--work", default="checkpoints/runs/warmup")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--read-steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--pictures", type=int, default=24000)
    parser.add_argument("--first", type=int, default=2000, help="pictures to wait for before the first step")
    parser.add_argument("--check", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
