"""Teach smolgeo to see, then to read pictures, then to solve problems with right rationales.

    r3v fetch smolgeo
    python -m r3v.recipes.research.warmup_smolgeo train --work checkpoints/runs/smolgeo
    python -m r3v.recipes.research.warmup_smolgeo export --work checkpoints/runs/smolgeo --out checkpoints/smolgeo

Hardware: one processor core or more, in bf16 where it multiplies bf16. Time and numbers to expect: in
checkpoints/smolgeo/README.md once it is there, beside the log of the run that made it.

Plain torch: one loop that reads top to bottom. What is trained is small: vision tower, connector, rows of the added
tokens, and a LoRA on the resting language half, which gets gradients passed through it but none of its own. First the
tower alone, asked by heads that are thrown away (`smolgeo_eyes`); then all of it on lessons (`smolgeo_data`), at first
reading alone, then more and more solving. A step is cut by tokens into parts of rows of like length.

The state is written every few minutes, whole or not at all; the same command goes on from it, with the lessons that
would have come. Other flags (worlds, steps, rates) may be given on the way; `--start checkpoints/smolgeo` begins a new
training from the parts of an earlier one. SIGSTOP holds a training and SIGCONT lets it go on; SIGTERM ends it after the
step it is at, with its state written.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from r3v.io import atomic_path
from r3v.policies.smolgeo.fetch import fetched
from r3v.policies.smolgeo.text import TextHalf
from r3v.precision import best_dtype, cpu_flags
from r3v.recipes.research import smolgeo_data as data
from r3v.recipes.research.smolgeo_eyes import Eyes, stack
from r3v.recipes.research.smolgeo_model import (
    SIZE,
    LoraLinear,
    Size,
    adapt,
    build_model,
    build_tokenizer,
    read_parts,
    write_parts,
)

STATE, LOG = "state.pt", "log.jsonl"
AHEAD = 4
"""Steps whose lessons are drawn before their turn."""
Mix = tuple[tuple[str, float], ...]
Meter = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Plan:
    """How long each part takes and how large a step is."""

    see_steps: int = 600
    """Steps of the tower alone."""
    read_steps: int = 1200
    """Step until which only reading is taught; solving then comes in over as many steps as `rise`."""
    rise: int = 300
    steps: int = 6000
    see_batch: int = 32
    """Pictures a step while the tower learns alone."""
    lessons: int = 16
    """Lessons a step afterwards."""
    tokens: int = 1536
    """Most tokens of one forward pass, padding included."""
    lr: float = 6e-4
    """Of the adapter; connector and rows have it too."""
    see_lr: float = 1e-3
    """Of tower and connector while they learn alone; a quarter of `lr` is the tower's afterwards."""
    reading: float = 0.3
    """Share of reading lessons at the end."""
    read: Mix = (("geoworld_read", 1.0),)
    solve: Mix = (("geoworld_solve", 1.0),)
    seed: int = 0

    def mix(self, step: int) -> Mix:
        """Shares of the worlds at this step."""
        risen = min(1.0, max(0.0, (step - self.read_steps) / max(1, self.rise)))
        reading = 1.0 - (1.0 - self.reading) * risen
        parts = [(name, reading * share) for name, share in _shares(self.read)]
        return (*parts, *((name, (1 - reading) * share) for name, share in _shares(self.solve)))

    def rates(self, step: int) -> tuple[float, float]:
        """Learning rates of the tower, and of everything else that is trained."""
        if step < self.see_steps:
            rate = curve(step, 0, self.see_steps, self.see_lr)
            return rate, rate
        rate = curve(step, self.see_steps, self.steps, self.lr)
        return 0.25 * rate, rate


def _shares(mix: Mix) -> list[tuple[str, float]]:
    total = sum(share for _, share in mix)
    return [(name, share / total) for name, share in mix]


def curve(step: int, first: int, last: int, peak: float, rise: int = 50) -> float:
    """Linear over `rise` steps from `first`, then a cosine to a twentieth of the peak at `last`."""
    done = step - first
    if done < rise:
        return peak * (done + 1) / rise
    share = min(1.0, (done - rise) / max(1, last - first - rise))
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))


class Student:
    """The model with its adapter, the heads, and the rows of the added tokens as a parameter of their own."""

    def __init__(
        self,
        text: TextHalf,
        size: Size = SIZE,
        seed: int = 0,
        elder: Any = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.size, self.text, self.dtype = size, text, dtype
        self.tokenizer = build_tokenizer(text)
        self.model = build_model(text, self.tokenizer, size, seed, elder)
        # What rests is kept in the precision of the products; what is learned, and sums across layers, in float32.
        self.model.model.text_model.to(dtype)
        self.lora: dict[str, LoraLinear] = adapt(self.model, size, seed)
        self.table = self.model.model.text_model.embed_tokens.weight  # at rest
        self.old = len(text.tokens)
        self.rows = nn.Parameter(self.table[self.old :].detach().float())
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.eyes = Eyes(self.table.shape[1], size)
        self.image_id = self.model.config.image_token_id
        self.pad = self.model.config.text_config.pad_token_id
        vision, connector = self.model.model.vision_model, self.model.model.connector
        self.sight = list(vision.parameters())
        self.speech = [*connector.parameters(), self.rows]
        self.speech += [p for layer in self.lora.values() for p in (layer.A, layer.B)]
        self.trained: dict[str, Tensor] = {f"vision.{n}": p for n, p in vision.named_parameters()}
        self.trained |= {f"connector.{n}": p for n, p in connector.named_parameters()}
        self.trained |= {f"eyes.{n}": p for n, p in self.eyes.named_parameters()}
        self.trained |= {f"{n}.{h}": getattr(layer, h) for n, layer in self.lora.items() for h in ("A", "B")}
        self.trained["rows"] = self.rows

    def products(self) -> torch.autocast:
        """Within it, products are taken in `dtype`."""
        return torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32)

    def look(self, pictures: Sequence[data.Picture]) -> tuple[Tensor, Tensor]:
        """Image tokens [B, C, H], and the patches half-way up the tower [B, P, W]."""
        layers = self.model.model.vision_model.encoder.layers
        seen: list[Tensor] = []
        hook = layers[len(layers) // 2 - 1].register_forward_hook(lambda _m, _i, out: seen.append(out))
        try:
            features = self.model.model.get_image_features(data.pixels(pictures, self.size)).pooler_output
        finally:
            hook.remove()
        return torch.stack(list(features)), seen[0]

    def embed(self, ids_BL: Tensor, tokens_BCH: Tensor | None) -> Tensor:
        """What the language half is given, [B, L, H]."""
        old = F.embedding(ids_BL.clamp(max=self.old - 1), self.table)
        new = F.embedding((ids_BL - self.old).clamp(min=0), self.rows)
        out = torch.where((ids_BL >= self.old)[..., None], new, old.float())
        if tokens_BCH is None:
            return out
        place = (ids_BL == self.image_id)[..., None].expand_as(out)
        return out.masked_scatter(place, tokens_BCH.float())

    def hidden(self, ids_BL: Tensor, tokens_BCH: Tensor | None) -> Tensor:
        """Last hidden states [B, L, H]. Rows are padded on the right, so causal attention needs no mask."""
        out = self.model.model.text_model(inputs_embeds=self.embed(ids_BL, tokens_BCH), use_cache=False)
        return out.last_hidden_state

    def compile(self) -> None:
        """Fuse what lies between the products of the language half (needs a C++ compiler): a step on one core of an
        AMD EPYC with AVX512-BF16 takes 12 s in place of 15.5. Attention is written out, since its own kernel's backward
        pass is slower than the products at these lengths."""
        self.model.model.text_model.config._attn_implementation = "eager"
        for layer in self.model.model.text_model.layers:
            layer.compile(dynamic=True)

    def settle(self) -> None:
        """Put the trained rows where `generate` and `state_dict` find them."""
        with torch.no_grad():
            self.table[self.old :] = self.rows


# ---- losses --------------------------------------------------------------------------------------


def add(meter: Meter, found: Meter) -> None:
    for name, (total, count) in found.items():
        old = meter.get(name, (0.0, 0.0))
        meter[name] = (old[0] + total, old[1] + count)


def lessons_of(plan: Plan, step: int) -> list[data.Lesson]:
    """The lessons of a step."""
    if step < plan.see_steps:
        first, count, mix = step * plan.see_batch, plan.see_batch, _shares(plan.read)
    else:
        first = plan.see_steps * plan.see_batch + (step - plan.see_steps) * plan.lessons
        count, mix = plan.lessons, plan.mix(step)
    return [data.lesson(mix, "train", first + i) for i in range(count)]


@contextmanager
def drawn_ahead(plan: Plan, first: int, last: int, workers: int) -> Iterator[Iterator[list[data.Lesson]]]:
    """The lessons of the steps from `first` to before `last`, drawn by `workers` processes while the steps before are
    taken; by this process where there are none."""
    if not workers:
        yield (lessons_of(plan, step) for step in range(first, last))
        return
    with ProcessPoolExecutor(workers, initializer=_leave_the_end_to_us) as pool:
        coming = deque(pool.submit(lessons_of, plan, step) for step in range(first, min(last, first + AHEAD)))

        def each() -> Iterator[list[data.Lesson]]:
            for step in range(first, last):
                lessons = coming.popleft().result()
                if step + AHEAD < last:
                    coming.append(pool.submit(lessons_of, plan, step + AHEAD))
                yield lessons

        try:
            yield each()
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_the_end_to_us() -> None:
    """A signal to the whole group must not take a worker away from a step that is to be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def see_step(student: Student, lessons: Sequence[data.Lesson]) -> Meter:
    """Gradients of one step of the tower alone; returns what the heads got right."""
    pictures = [lesson.picture for lesson in lessons if lesson.picture is not None and lesson.picture.known]
    with student.products():
        tokens, patches = student.look(pictures)
        loss, meter = student.eyes(tokens.float(), patches.float(), stack(pictures, student.size))
    loss.backward()
    return meter | {"pictures": (float(len(pictures)), 1)}


def speak_step(student: Student, rows: data.Rows, lessons: Sequence[data.Lesson], most_tokens: int) -> Meter:
    """Gradients of one step on lessons: the mean loss of their target tokens, and 0.1 of the heads'."""
    drawn = [rows.row(lesson) for lesson in lessons]
    targets = sum(sum(row.target) for row in drawn)
    meter: Meter = {"tokens": (float(sum(len(row.ids) for row in drawn)), 1), "targets": (float(targets), 1)}
    for part in data.bucket(drawn, most_tokens):
        ids, labels = data.collate(part, student.pad)
        pictures = [row.lesson.picture for row in part if row.lesson.picture is not None]
        wanted = labels[:, 1:]
        flat = (wanted != -100).flatten().nonzero()[:, 0]
        with student.products():
            tokens, patches = student.look(pictures) if pictures else (None, None)
            hidden = student.hidden(ids, tokens)[:, :-1]
            logits = hidden.flatten(0, 1)[flat] @ student.table[: student.old].T
        losses = F.cross_entropy(logits.float(), wanted.flatten()[flat], reduction="none")
        loss = losses.sum() / targets
        if tokens is not None and patches is not None and all(p.known for p in pictures):
            with student.products():
                seen, found = student.eyes(tokens.float(), patches.float(), stack(pictures, student.size))
            loss = loss + 0.1 * seen * len(pictures) / len(drawn)
            add(meter, found)
        loss.backward()
        owner = flat // wanted.shape[1]
        for b, row in enumerate(part):
            mine = losses.detach()[owner == b]
            add(meter, {row.lesson.task: (float(mine.sum()), len(mine))})
    return meter


# ---- checks --------------------------------------------------------------------------------------


@torch.inference_mode()
def answers(student: Student, rows: data.Rows, lessons: Sequence[data.Lesson], most: int = 96) -> list[str]:
    """Greedy replies to the last turn of each lesson, asked by itself."""
    student.settle()
    student.model.eval()
    told = []
    for start in range(0, len(lessons), 16):
        part = lessons[start : start + 16]
        asked = [rows.prompt(lesson.turns[-1][0], lesson.picture is not None) for lesson in part]
        length = max(map(len, asked))
        ids = torch.tensor([[student.pad] * (length - len(p)) + p for p in asked])
        pictures = [lesson.picture for lesson in part if lesson.picture is not None]
        sight = {"pixel_values": data.pixels(pictures, student.size)} if pictures else {}
        mask = (ids != student.pad).long()
        with student.products(), torch.compiler.set_stance("force_eager"):
            out = student.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False, use_cache=True, **sight
            )
        told += student.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
    student.model.train()
    return told


def check(student: Student, rows: data.Rows, plan: Plan, held: int) -> dict[str, float]:
    """Share of held-out lessons of each world that greedy decoding gets right, to the letter."""
    found = {}
    for name, _ in (*plan.read, *plan.solve):
        lessons = [data.WORLDS[name]("held", i) for i in range(held)]
        told = answers(student, rows, lessons)
        right = [
            reply.rsplit("Answer: ", 1)[-1].strip() == lesson.answer.strip()
            for reply, lesson in zip(told, lessons, strict=True)
        ]
        found[f"held_{name}"] = sum(right) / held
    return found


# ---- the loop ------------------------------------------------------------------------------------


def elder_tower() -> Any:
    """The vision tower of geoworld-tiny, which ships with the library."""
    from r3v.policies.model.loading import load
    from r3v.settings.config import ModelConfig

    return load(ModelConfig()).model.model.vision_model


def optimizer_of(student: Student, plan: Plan) -> torch.optim.AdamW:
    groups = [{"params": student.sight}, {"params": [*student.speech, *student.eyes.parameters()]}]
    return torch.optim.AdamW(groups, lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)


def save(work: Path, student: Student, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    state = {
        "trained": {name: p.detach() for name, p in student.trained.items()},
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
        "rng": torch.get_rng_state(),
    }
    with atomic_path(work / STATE) as temporary:
        torch.save(state, temporary)


def restore(work: Path, student: Student, optimizer: torch.optim.Optimizer | None = None) -> tuple[int, float]:
    """Step and seconds of the state in `work`, given to `student` and `optimizer`; (0, 0) where there is none."""
    if not (work / STATE).exists():
        return 0, 0.0
    saved = torch.load(work / STATE, weights_only=True)
    with torch.no_grad():
        for name, parameter in student.trained.items():
            parameter.copy_(saved["trained"][name])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
    return saved["step"], saved["seconds"]


def begin_from(student: Student, parts: Path) -> None:
    """Give `student` the tower, connector, rows and adapter of a folder of parts; the heads stay fresh."""
    known = read_parts(parts)
    if missing := sorted(n for n in student.trained if not n.startswith("eyes.") and n not in known):
        raise ValueError(f"{parts} has no {missing[0]}; it was made for another size of model")
    with torch.no_grad():
        for name, parameter in student.trained.items():
            if name in known:
                parameter.copy_(known[name])


@contextmanager
def told_to_stop() -> Iterator[list[int]]:
    """Signals asking for an end, noted; the loop looks after each step."""
    heard: list[int] = []
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(kind, lambda number, _frame: heard.append(number)) for kind in kinds]
    try:
        yield heard
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def train(
    student: Student,
    work: Path,
    plan: Plan,
    *,
    stop: int = 10**9,
    save_every: float = 240.0,
    log_every: int = 20,
    check_every: int = 300,
    held: int = 48,
    workers: int = 1,
) -> int:
    """Train until `plan.steps` or `stop`; returns the step reached. `seconds` in the log are processor time."""
    work.mkdir(parents=True, exist_ok=True)
    rows, optimizer = data.Rows(student.tokenizer, student.size), optimizer_of(student, plan)
    step, spent = restore(work, student, optimizer)
    student.model.train()
    clock, wall, saved_at = time.process_time(), time.monotonic(), time.monotonic()
    meter: Meter = {}
    last = min(stop, plan.steps)
    with (work / LOG).open("a") as log, told_to_stop() as stopping, drawn_ahead(plan, step, last, workers) as drawn:
        while step < last and not stopping:
            lessons = next(drawn)
            optimizer.zero_grad(set_to_none=True)
            if step < plan.see_steps:
                add(meter, see_step(student, lessons))
            else:
                add(meter, speak_step(student, rows, lessons, plan.tokens))
            grown = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            add(meter, {"norm": (float(nn.utils.clip_grad_norm_(grown, 1.0)), 1)})
            for group, rate in zip(optimizer.param_groups, plan.rates(step), strict=True):
                group["lr"] = rate
            optimizer.step()
            step += 1
            checked = step % check_every == 0 or (step == last and step > plan.see_steps)
            if step % log_every == 0 or step == last or checked:
                line: dict[str, Any] = {"step": step, "seconds": round(spent + time.process_time() - clock, 1)}
                line["wall"] = round(time.monotonic() - wall, 1)
                line |= {name: round(total / max(1, count), 4) for name, (total, count) in sorted(meter.items())}
                meter = {}
                if checked and step > plan.see_steps:
                    line |= check(student, rows, plan, held)
                log.write(json.dumps(line) + "\n")
                log.flush()
                print(json.dumps(line), flush=True)
            if time.monotonic() - saved_at > save_every:
                save(work, student, optimizer, step, spent + time.process_time() - clock)
                saved_at = time.monotonic()
        save(work, student, optimizer, step, spent + time.process_time() - clock)
    return step


def export(student: Student, work: Path, out: Path) -> dict[str, Any]:
    """Write the parts that ship from the state in `work`; returns their manifest."""
    step, _ = restore(work, student)
    if not step:
        raise ValueError(f"found no {STATE} in {work}; train first")
    student.settle()
    return write_parts(out, student.model, student.lora, student.rows, student.text, student.size, work / LOG)


def read_mix(text: str) -> Mix:
    """`a:2,b:1` as ((a, 2.0), (b, 1.0)). Raises ArgumentTypeError for a world that there is not."""
    pairs = [part.partition(":") for part in text.split(",")]
    if unknown := [name for name, _, _ in pairs if name not in data.WORLDS]:
        raise argparse.ArgumentTypeError(f"found world {unknown[0]!r}, expected some of {', '.join(data.WORLDS)}")
    return tuple((name, float(share or 1)) for name, _, share in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("train", help="train, or go on")
    p.add_argument("--work", required=True, help="folder of state and log")
    p.add_argument("--see-steps", type=int, default=plan.see_steps, help="steps of the tower alone")
    p.add_argument("--read-steps", type=int, default=plan.read_steps, help="step until which only reading is taught")
    p.add_argument("--rise", type=int, default=plan.rise, help="steps over which solving comes in")
    p.add_argument("--steps", type=int, default=plan.steps)
    p.add_argument("--see-batch", type=int, default=plan.see_batch, help="pictures a step at first")
    p.add_argument("--lessons", type=int, default=plan.lessons, help="lessons a step afterwards")
    p.add_argument("--tokens", type=int, default=plan.tokens, help="most tokens of a forward pass")
    p.add_argument("--lr", type=float, default=plan.lr)
    p.add_argument("--see-lr", type=float, default=plan.see_lr)
    p.add_argument("--reading", type=float, default=plan.reading, help="share of reading lessons at the end")
    p.add_argument("--read", type=read_mix, default=plan.read, help="worlds of reading lessons, NAME:SHARE,...")
    p.add_argument("--solve", type=read_mix, default=plan.solve, help="worlds of problems, NAME:SHARE,...")
    p.add_argument("--seed", type=int, default=plan.seed)
    p.add_argument("--stop", type=int, default=10**9, help="stop before, for a look")
    p.add_argument("--save-every", type=float, default=240.0, help="seconds between two states")
    p.add_argument("--check-every", type=int, default=300, help="steps between two checks on held-out lessons")
    p.add_argument("--held", type=int, default=48, help="held-out lessons of each world in a check")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--workers", type=int, default=1, help="processes that draw the lessons")
    p.add_argument("--dtype", choices=("bfloat16", "float32"), default=best_dtype(cpu_flags()), help="of the products")
    p.add_argument("--compile", action="store_true", help="fuse what lies between the products; needs a C++ compiler")
    p.add_argument("--start", type=Path, help="folder of parts to begin from, where --work holds no state")
    p = commands.add_parser("export", help="write the parts that ship")
    p.add_argument("--work", required=True)
    p.add_argument("--out", default="checkpoints/smolgeo")
    args = vars(parser.parse_args(argv))
    command, work = args.pop("command"), Path(args.pop("work"))
    text = TextHalf(fetched())
    if command == "export":
        manifest = export(Student(text), work, Path(args["out"]))
        print(f"wrote {args['out']}: assembled sha256 {manifest['assembled_sha256']}")
        return
    torch.set_num_threads(args.pop("threads"))
    loop = {name: args.pop(name) for name in ("stop", "save_every", "check_every", "held", "workers")}
    dtype, start, fused = getattr(torch, args.pop("dtype")), args.pop("start"), args.pop("compile")
    plan = Plan(**args)
    student = Student(text, seed=plan.seed, elder=elder_tower(), dtype=dtype)
    if start is not None:
        begin_from(student, start)
    if fused:
        student.compile()
    train(student, work, plan, **loop)


if __name__ == "__main__":
    main()
