"""Train geoworld-tiny from scratch on GeoWorld's warm-up split: first to see, then to read, then to reason badly.

    python -m r3v.recipes.research.warmup_geoworld_tiny --out checkpoints/geoworld-tiny --work checkpoints/runs/warmup

Hardware: 2 CPU cores with bf16 matrix units (AMX); slower without them.
Time and numbers to expect: in checkpoints/geoworld-tiny/README.md, beside the log of the run that made it.

Plain torch on purpose: one loop that reads top to bottom, no Lightning, no adapter. Trained straight on solving, a
model of this size guesses the commonest numbers and never looks at the picture. So the vision tower learns alone first
(`recipes/research/warmup_eyes.py`); then the language model learns from what the resting tower sees, which is kept in
memory and halves the time of a step; at last both go on together, with words that the model has never seen
(`recipes/research/warmup_words.py`). Interrupted, the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from r3v.data.geoworld import Item, item_of, source
from r3v.data.geoworld.render import draw
from r3v.io import atomic_dir, atomic_path
from r3v.recipes.research import warmup_eyes as eyes
from r3v.recipes.research import warmup_tasks as tasks
from r3v.recipes.research import warmup_words as words
from r3v.recipes.research.warmup_data import Pool, Rows, batches, collate, corpus, open_pool
from r3v.recipes.research.warmup_model import (
    SPREAD,
    WHITE,
    Size,
    build_model,
    build_processor,
    build_tokenizer,
)


def pixels(pictures: np.ndarray) -> Tensor:
    """[B, 1, 3, 112, 112] as the processor would give: grey to RGB, scaled to its mean and spread."""
    grey = torch.from_numpy(pictures.copy()).float().div_(255.0).sub_(WHITE).div_(SPREAD)
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


def add(meter: dict[str, tuple[float, int]], found: dict[str, tuple[float, int]]) -> None:
    for name, (total, count) in found.items():
        old = meter.get(name, (0.0, 0))
        meter[name] = (old[0] + total, old[1] + count)


def see_loss(model: Any, heads: eyes.Eyes, step: int, pool: Pool, size: int) -> tuple[Tensor, dict]:
    """The vision tower and the connector alone, on pictures with numbers alone."""
    index = np.random.default_rng(step).choice(pool.numbered, size)
    with watch(model) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        model.model.get_image_features(pixels(pool.pictures[index]))
    return heads(seen["tokens"], seen["patches"], torch.from_numpy(pool.cells[index]))


@contextmanager
def watch(model: Any) -> Iterator[dict[str, Tensor]]:
    """What passes the connector (`tokens`) and the middle of the tower (`patches`) in the forward inside."""
    seen: dict[str, Tensor] = {}
    layers = model.model.vision_model.encoder.layers
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name, module in (("tokens", model.model.connector), ("patches", layers[len(layers) // 2 - 1]))
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def look(model: Any, pool: Pool) -> Tensor:
    """The image tokens of every picture, bf16 [n, 49, H]."""
    model.eval()
    parts = []
    with watch(model) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(pool.pictures), 256):
            model.model.get_image_features(pixels(pool.pictures[start : start + 256]))
            parts.append(seen["tokens"].bfloat16())
    model.train()
    return torch.cat(parts)


def speak_loss(
    model: Any, heads: eyes.Eyes, part: Any, pool: Pool, pad: int, looks: Tensor | None
) -> tuple[Tensor, dict]:
    """Mean token loss of one batch; and (sum, tokens) per task for the log.

    `looks`: what `look` returned, where the tower is frozen; None where it learns, and then 0.3 times the heads' loss
    is added.
    """
    ids, mask, labels = collate([row for row, _, _ in part], pad)
    index = [i for _, i, _ in part]
    if looks is None:
        sight = {"pixel_values": pixels(pool.pictures[index])}
    else:
        sight = {"mm_encoder_outputs": {"image": SimpleNamespace(pooler_output=list(looks[index].float()))}}
    with watch(model) as shown, torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False, **sight).last_hidden_state[:, :-1]
        flat = (labels[:, 1:] != -100).flatten().nonzero()[:, 0]
        fill = -len(flat) % 512
        logits = model.lm_head(hidden.flatten(0, 1)[F.pad(flat, (0, fill))])[: len(flat)]
    losses = F.cross_entropy(logits.float(), labels[:, 1:].flatten()[flat], reduction="none")
    loss, meter = losses.mean(), {}
    if looks is None:
        seen, meter = heads(shown["tokens"], shown["patches"], torch.from_numpy(pool.cells[index]))
        loss = loss + 0.3 * seen
    owner = flat // (labels.shape[1] - 1)
    for b, (_, _, name) in enumerate(part):
        mine = losses.detach()[owner == b]
        add(meter, {name: (float(mine.sum()), len(mine))})
    return loss, meter


@torch.inference_mode()
def quick_check(model: Any, rows: Rows, items: list[Item], pictures: np.ndarray, mode: str) -> float:
    """Share of items whose greedy reading is right, or whose open answer is (exact text)."""
    model.eval()
    compile_layers(model, False)
    right = 0
    pad = rows.pad
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


def rate(step: int, first: int, last: int, peak: float) -> float:
    """Linear warm-up over 100 steps from `first`, then cosine to a twentieth of the peak at `last`."""
    done = step - first
    if done < 100:
        return peak * (done + 1) / 100
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (done - 100) / max(1, last - first - 100))))


def mix_at(step: int, args: argparse.Namespace) -> Mapping[tasks.Task, float]:
    if step < args.read_steps:
        return tasks.READING_MIX
    if step < args.listen_steps:
        return tasks.SOLVING_MIX
    return words.MIX if step < args.words_steps else words.JUDGING_MIX


def rate_at(step: int, args: argparse.Namespace) -> float:
    """Of the language model. Listening ends with a rate still high; each part after it starts anew, lower."""
    if step < args.listen_steps:
        return rate(step, args.see_steps, args.listen_steps + 800, args.lr)
    if step < args.words_steps:
        return rate(step, args.listen_steps, args.words_steps, 0.5 * args.lr)
    return rate(step, args.words_steps, args.steps, 0.4 * args.lr)


def save_state(path: Path, **state: Any) -> None:
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def train(args: argparse.Namespace) -> None:
    work, state = Path(args.work), Path(args.work) / "state.pt"
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    pool = open_pool(work, args.pictures)
    tokenizer = build_tokenizer(corpus())
    processor = build_processor(tokenizer)
    model, size = build_model(tokenizer, Size()), Size()
    heads = eyes.Eyes(size.text_width, size.vision_width)
    fast_attention(model)
    rows = Rows(processor)
    sight = [*model.model.vision_model.parameters(), *model.model.connector.parameters(), *heads.parameters()]
    known = {id(p) for p in sight}
    speech = [p for p in model.parameters() if id(p) not in known]
    both = [*sight, *speech]
    optimizer = torch.optim.AdamW(
        [{"params": sight}, {"params": speech}], lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    first = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        heads.load_state_dict(saved["heads"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    held = source("gate", args.held)
    held_items = [item_of(problem) for problem in held]
    held_pictures = np.stack([np.asarray(draw(item)[0]) for item in held_items])
    model.train()
    compile_layers(model, True)
    started, meter = time.time(), {}
    queue: list[Any] = []
    looks: Tensor | None = None
    with (work / "log.jsonl").open("a") as log:
        for step in range(first, min(args.stop, args.steps)):
            if step < args.see_steps:
                loss, found = see_loss(model, heads, step, pool, args.see_batch)
                rates = [rate(step, 0, args.see_steps, args.lr)] * 2
            else:
                together = args.listen_steps <= step < args.words_steps
                if not queue or step in (args.read_steps, args.listen_steps, args.words_steps):
                    queue = batches(pool, rows, step, mix_at(step, args), args.batch)
                if together:
                    looks = None
                elif looks is None:
                    looks = look(model, pool)
                loss, found = speak_loss(model, heads, queue.pop(), pool, rows.pad, looks)
                lr = rate_at(step, args)
                # What the tower has learned does not survive the language model's rate.
                rates = [0.25 * lr, lr]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(both, 1.0)
            for group, lr in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = lr
            optimizer.step()
            add(meter, found)
            if (step + 1) % 50 == 0:
                line: dict[str, Any] = {"step": step + 1, "seconds": round(time.time() - started, 1)}
                line |= {name: round(total / max(1, count), 4) for name, (total, count) in sorted(meter.items())}
                meter = {}
                if (step + 1) % args.check == 0 or step + 1 == min(args.stop, args.steps):
                    if step >= args.see_steps:
                        line["held_read"] = quick_check(model, rows, held_items, held_pictures, "read")
                        line["held_open"] = quick_check(model, rows, held_items, held_pictures, "solve")
                    parts = {"model": model, "heads": heads, "optimizer": optimizer}
                    save_state(state, step=step + 1, **{name: part.state_dict() for name, part in parts.items()})
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
    parser.add_argument("--see-steps", type=int, default=2800, help="steps of the vision tower alone")
    parser.add_argument("--read-steps", type=int, default=3400, help="step at which reading gives way to the full mix")
    parser.add_argument("--listen-steps", type=int, default=4800, help="step until which the tower then rests")
    parser.add_argument("--words-steps", type=int, default=6400, help="step until which both learn, in new words")
    parser.add_argument("--steps", type=int, default=7100, help="last step; the tower rests again at the end")
    parser.add_argument("--stop", type=int, default=10**9, help="stop before, for a look")
    parser.add_argument("--see-batch", type=int, default=32, help="pictures a step while the tower learns alone")
    parser.add_argument("--batch", type=int, default=64, help="lessons a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--pictures", type=int, default=24000, help="different pictures, drawn once")
    parser.add_argument("--check", type=int, default=200, help="steps between checks on held-out problems")
    parser.add_argument("--held", type=int, default=96, help="held-out problems of a check")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
