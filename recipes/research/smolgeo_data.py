"""What smolgeo's warm-up reads: lessons from worlds that are drawn on demand, as token rows in batches of like length.

A lesson is a picture (or none) and one or more turns of a conversation about it, each a prompt and its target. Every
lesson depends on its world, its split and its number alone, so that a training goes on where it stopped without any
state of the data.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from r3v import prompts
from r3v.data import euclid
from r3v.data.euclid import picture as euclid_pictures
from r3v.data.geoworld import Item, item_of, source
from r3v.data.geoworld.render import draw
from r3v.prompts import STYLES
from r3v.recipes.research.smolgeo_eyes import Label, Picture
from r3v.recipes.research.smolgeo_model import FAKE, GLOBAL, IMAGE, SIZE, SPREAD, WHITE, Size

STYLE = STYLES["short"]


@dataclass(frozen=True)
class Lesson:
    """`task` names a kind of lesson in the log; `answer` is what a check compares, of the last turn."""

    task: str
    turns: tuple[tuple[str, str], ...]
    picture: Picture | None = None
    answer: str = ""


World = Callable[[str, int], Lesson]
"""The lesson of this number; `split` is "train" or "held"."""


# ---- GeoWorld ------------------------------------------------------------------------------------


def geoworld_item(split: str, index: int) -> Item:
    return item_of(source({"train": "warmup", "held": "gate"}[split], index + 1)[index])


def geoworld_picture(item: Item) -> Picture:
    picture, layout = draw(item)
    givens = {given.key: given for given in item.draft.givens}
    labels = []
    for label in layout.labels:
        about: tuple[str, ...] = (label.text,)
        if label.kind == "number":
            measure = givens[label.given].measure
            about = measure[2:3] if measure[0] == "angle" else measure[1:]
        labels.append(Label(label.text, tuple(float(v) for v in label.box), about))  # pyright: ignore[reportArgumentType]
    return Picture(np.asarray(picture), tuple(labels), dict(layout.points))


def geoworld_read(split: str, index: int) -> Lesson:
    """Short questions about what the picture shows, then its givens."""
    rng = random.Random(f"smolgeo-read-{split}-{index}")
    item = geoworld_item(split, index)
    picture = geoworld_picture(item)
    letters = sorted(label.text for label in picture.labels if label.about == (label.text,))
    numbers = sorted((label.text for label in picture.labels if label.about != (label.text,)), key=int)
    strokes = [m.points for m in item.draft.marks if m.kind == "segment" and not set(m.points) & set(item.draft.hidden)]
    asked = [("Which points are named?", ", ".join(letters) + ".")]
    asked.append(("Which numbers are in the figure?", f"{', '.join(numbers)}." if numbers else "None."))
    if strokes:
        joined = sorted("".join(sorted(pair)) for pair in strokes)
        asked.append(("Which segments are drawn?", ", ".join(joined) + "."))
        point = rng.choice(letters)
        ends = sorted({other for pair in strokes if point in pair for other in pair if other != point})
        if ends:
            asked.append((f"To which points is {point} joined?", ", ".join(ends) + "."))
    rng.shuffle(asked)
    text = f"{prompts.question_text(item.problem.open())}\nRead the figure."
    turns = (*asked[: rng.choice((1, 2, 2, 3))], (text, item.reading))
    return Lesson("geoworld_read", turns, restyle(picture, rng), item.reading)


def geoworld_solve(split: str, index: int) -> Lesson:
    """A problem with its right rationale; choices are shown to half of them."""
    rng = random.Random(f"smolgeo-solve-{split}-{index}")
    item = geoworld_item(split, index)
    problem = item.problem.open() if split == "held" or rng.random() < 0.5 else item.problem
    text = prompts.solve(problem, STYLE).messages[0].text
    picture = restyle(geoworld_picture(item), rng)
    return Lesson("geoworld_solve", ((text, item.rationale),), picture, item.problem.gold_text)


# ---- Euclid --------------------------------------------------------------------------------------


def euclid_item(split: str, index: int, seed: int) -> euclid.Item:
    return euclid.make({"train": "train", "held": "gate"}[split], seed, index)


def euclid_picture(item: euclid.Item) -> Picture:
    image, layout = euclid_pictures.draw(item)
    labels = []
    for label in layout.labels:
        about = (label.text,) if label.kind == "letter" else _measured(label.text, item)
        labels.append(Label(label.text, tuple(float(v) for v in label.box), about))  # pyright: ignore[reportArgumentType]
    return Picture(np.asarray(image.convert("L")), tuple(labels), dict(layout.points))


def _measured(text: str, item: euclid.Item) -> tuple[str, ...]:
    """Vertex of the angle, or ends of the segment, that a number in the picture states; nothing where two could be
    meant."""
    found = [q for q, value in item.pictured if value.text == text.rstrip("°")]
    if len(found) != 1 or found[0][0] not in ("angle", "length"):
        return ()
    return found[0][1:2] if found[0][0] == "angle" else found[0][1:3]


def euclid_read(split: str, index: int) -> Lesson:
    """A few of Euclid's reading tasks about one picture."""
    rng = random.Random(f"smolgeo-euclid-read-{split}-{index}")
    item = euclid_item(split, index, READ_SEED)
    turns: dict[str, tuple[str, str]] = {}
    for _ in range(rng.choice((1, 2, 3, 3))):
        found = euclid.reading(item, rng)
        turns[found.task] = (found.question, found.target)
    told = tuple(turns.values())
    return Lesson("euclid_read", told, euclid_picture(item), told[-1][1])


def euclid_solve(split: str, index: int) -> Lesson:
    """A problem with its solution; some of its givens may stand in the picture alone."""
    return _solved("euclid_solve", split, index, euclid_item(split, index, SOLVE_SEED))


def euclid_told(split: str, index: int) -> Lesson:
    """A problem whose givens all stand in its text, as in most of GeoQA. A model that cannot read numbers yet learns
    from the other kind to make them up."""
    seeds = range(TOLD_SEED, TOLD_SEED + 100)
    item = next(item for seed in seeds if not (item := euclid_item(split, index, seed)).pictured)
    return _solved("euclid_told", split, index, item)


def _solved(task: str, split: str, index: int, item: euclid.Item) -> Lesson:
    """The solution of a problem; choices are shown to half of them."""
    rng = random.Random(f"smolgeo-{task.replace('_', '-')}-{split}-{index}")
    problem = item.problem.open() if split == "held" or rng.random() < 0.5 else item.problem
    text = prompts.solve(problem, STYLE).messages[0].text
    # The solution ends in a decimal where the right option is written with a root or pi.
    answer = item.rationale.rsplit("Answer: ", 1)[-1].strip()
    return Lesson(task, ((text, item.rationale),), euclid_picture(item), answer)


READ_SEED, SOLVE_SEED, TOLD_SEED = 1, 2, 1000
WORLDS: dict[str, World] = {
    "geoworld_read": geoworld_read,
    "geoworld_solve": geoworld_solve,
    "euclid_read": euclid_read,
    "euclid_solve": euclid_solve,
    "euclid_told": euclid_told,
}
"""By the name a mix gives them. Their lessons hold right rationales only."""


def lesson(mix: Sequence[tuple[str, float]], split: str, index: int) -> Lesson:
    """Lesson `index` of a mix of worlds."""
    rng = random.Random(f"smolgeo-mix-{split}-{index}")
    name = rng.choices([name for name, _ in mix], weights=[share for _, share in mix])[0]
    return WORLDS[name](split, index)


# ---- pictures ------------------------------------------------------------------------------------


def restyle(picture: Picture, rng: random.Random) -> Picture:
    """The same figure as another printer and another screen would show it: more or less margin, stretched a little,
    another size, fainter, softer, with the noise of compression."""
    grey = Image.fromarray(picture.pixels)
    width, height = grey.size
    left, top, right, bottom = (rng.choice((0, 0, 1)) * rng.uniform(-0.04, 0.18) for _ in range(4))
    box = (-left * width, -top * height, width * (1 + right), height * (1 + bottom))
    scale = rng.choice((1.0, rng.uniform(0.8, 1.0), rng.uniform(1.0, 1.6)))
    stretch = rng.choice((1.0, rng.uniform(0.85, 1.18)))
    size = (round((box[2] - box[0]) * scale * stretch), round((box[3] - box[1]) * scale))
    out = Image.new("L", (round(box[2] - box[0]), round(box[3] - box[1])), 255)
    out.paste(grey, (round(-box[0]), round(-box[1])))
    out = out.resize(size, Image.Resampling.BICUBIC)
    array = np.asarray(out).astype(np.float32)
    ink = rng.choice((1.0, rng.uniform(0.6, 1.0)))
    array = 255 - ink * (255 - array)
    if rng.random() < 0.3:
        array += np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(1, 6), array.shape)
    sx, sy = size[0] / out_width(box), size[1] / out_height(box)

    def move(x: float, y: float) -> tuple[float, float]:
        return (x + round(-box[0])) * sx, (y + round(-box[1])) * sy

    labels = tuple(
        Label(label.text, (*move(*label.box[:2]), *move(*label.box[2:])), label.about) for label in picture.labels
    )
    points = {name: move(*at) for name, at in picture.points.items()}
    return Picture(array.clip(0, 255).astype(np.uint8), labels, points)


def out_width(box: Sequence[float]) -> int:
    return round(box[2] - box[0])


def out_height(box: Sequence[float]) -> int:
    return round(box[3] - box[1])


def canvas(picture: np.ndarray, size: Size = SIZE) -> np.ndarray:
    """Grey uint8 [image, image], resized in the two steps of Idefics3's processor."""
    image = Image.fromarray(picture)
    width, height = image.size
    longest = size.image
    # As the processor does it: the longer side exactly, the other one down to an even number of pixels.
    if width >= height:
        width, height = longest, int(longest / (width / height))
    else:
        width, height = int(longest * (width / height)), longest
    width, height = width + width % 2, height + height % 2
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image.resize((longest, longest), Image.Resampling.BICUBIC))


def pixels(pictures: Sequence[Picture], size: Size = SIZE) -> Tensor:
    """[B, 1, 3, image, image] as the processor would give."""
    grey = torch.from_numpy(np.stack([canvas(p.pixels, size) for p in pictures]))
    scaled = grey.float().div_(255.0).sub_(WHITE).div_(SPREAD)
    return scaled[:, None, None].expand(-1, 1, 3, -1, -1).contiguous()


# ---- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Token ids of a lesson, and which of them are targets."""

    lesson: Lesson
    ids: list[int]
    target: list[bool]


class Rows:
    """From lessons to token rows, laid out as the chat template would."""

    def __init__(self, tokenizer: object, size: Size = SIZE) -> None:
        self.tokenizer = tokenizer
        self.picture = self.encode(f"{FAKE}{GLOBAL}{IMAGE * size.tokens}{FAKE}")
        self.user = self.encode("<|im_start|>user\n")
        self.reply = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self.end, self.line = self.encode("<|im_end|>"), self.encode("\n")

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator]

    def prompt(self, text: str, picture: bool) -> list[int]:
        return [*self.user, *(self.picture if picture else []), *self.encode(text), *self.reply]

    def row(self, lesson: Lesson) -> Row:
        ids: list[int] = []
        target: list[bool] = []
        for i, (text, reply) in enumerate(lesson.turns):
            asked = self.prompt(text, lesson.picture is not None and i == 0)
            told = [*self.encode(reply), *self.end]
            ids += [*(self.line if i else []), *asked, *told]
            target += [False] * (len(ids) - len(target) - len(told)) + [True] * len(told)
        return Row(lesson, ids, target)


def bucket(rows: Sequence[Row], most_tokens: int) -> list[list[Row]]:
    """Rows of like length together, each part at most `most_tokens` wide with its padding (a longer row alone)."""
    parts: list[list[Row]] = []
    for row in sorted(rows, key=lambda r: (r.lesson.picture is None, len(r.ids))):
        last = parts[-1] if parts else []
        fits = last and (len(last) + 1) * len(row.ids) <= most_tokens
        if fits and (last[0].lesson.picture is None) == (row.lesson.picture is None):
            last.append(row)
        else:
            parts.append([row])
    return parts


def collate(rows: Sequence[Row], pad: int) -> tuple[Tensor, Tensor]:
    """ids and labels [B, L], padded on the right, where causal attention needs no mask; labels are -100 outside the
    targets. L is a multiple of 32: oneDNN prepares its kernels anew for every shape it meets."""
    length = -(-max(len(row.ids) for row in rows) // 32) * 32
    ids_BL = torch.full((len(rows), length), pad)
    labels_BL = torch.full((len(rows), length), -100)
    for b, row in enumerate(rows):
        ids = torch.tensor(row.ids)
        ids_BL[b, : len(ids)] = ids
        labels_BL[b, : len(ids)] = torch.where(torch.tensor(row.target), ids, -100)
    return ids_BL, labels_BL
