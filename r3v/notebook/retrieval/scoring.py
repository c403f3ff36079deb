"""How cosines become scores: fusion of text and image, scales, thresholds, and the settings of retrieval.

A cosine means nothing by itself: 0.4 is far apart for one embedder and a near match for another. So a `Calibration`
(made by `r3v.notebook.retrieval.calibrate`) carries, for one embedder and fusion, the spread of cosines between
unrelated items, and the score above which a note is taken. Without one, scores are plain cosines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from r3v.embedding.protocol import Embedder, Part, check_part, identity
from r3v.errors import ConfigError, DataError
from r3v.notebook.retrieval.index import Kind
from r3v.notebook.retrieval.pictures import Mode

Fusion = Literal["text", "mixed", "late"]
FUSIONS: tuple[Fusion, ...] = ("text", "mixed", "late")
Keys = Literal["source", "note", "both"]
KEYS: tuple[Keys, ...] = ("source", "note", "both")
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RetrievalConfig:
    """How notes are found and shown."""

    embedder: str = "self"
    """`self`, `lexical`, `plain`, `st:NAME` or `clip:NAME`."""
    fusion: Fusion | Literal["auto"] = "auto"
    """Compare the questions' words (`text`), one vector of words and picture (`mixed`), or both apart with their
    scores normalised and averaged (`late`); `auto` is `mixed` where the embedder has it, else `text`."""
    keys: Keys = "source"
    """What of a note is compared with a problem: the problems it was learnt from (its own words where it has none),
    its words (`note`), or whichever fits better (`both`)."""
    threshold: float | None = None
    """Least score of a note that is shown; None takes the calibrated one."""
    image_weight: float = 0.5
    """Weight of the image beside the text in `late`."""
    top_k: int = 1
    """Most notes that a problem is shown."""
    limit: int = 600
    """Longest note in a prompt, in characters."""
    images: Mode = "auto"
    """Whether a note is shown with its picture: `auto` where the solver's family takes several in one prompt."""
    index: Kind = "exact"
    """How keys are searched: `exact`, or `faiss` for notebooks of 100,000 notes and more (pip install faiss-cpu)."""


PRESETS: dict[str, dict[str, Any]] = {"m2note-paper": {"top_k": 1, "threshold": 0.4}}
"""`m2note-paper`: the best note if its cosine is at least 0.4 (arXiv 2607.00685), whatever the embedder."""


def with_preset(cfg: RetrievalConfig, name: str) -> RetrievalConfig:
    """The settings with those of a preset. Raises ConfigError for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"found retrieval preset {name!r}, expected one of {', '.join(PRESETS)}")
    return replace(cfg, **PRESETS[name])


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of cosines between unrelated items; (0, 1) leaves a cosine as it is."""

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.sd) and self.sd > 0):
            raise ConfigError(f"found a scale of mean {self.mean} and deviation {self.sd}, expected a deviation > 0")

    def __call__(self, cosines: Scores) -> Scores:
        return (cosines - np.float32(self.mean)) / np.float32(self.sd)


@dataclass(frozen=True)
class Measured:
    """What a threshold was measured on, and what it does there.

    `queries` items were each compared with `pool` unrelated ones: the share that found one is `rate` (95 % interval
    `rate_ci95`); `threshold_ci95` is the 95 % interval of the threshold itself. Of `related` items with a relative
    among the others, the share `found` reached it.
    """

    queries: int
    pool: int
    rate: float
    rate_ci95: tuple[float, float]
    threshold_ci95: tuple[float, float]
    related: int = 0
    found: float | None = None
    found_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Calibration:
    """Scales and thresholds of one embedder and fusion at one false-positive rate.

    `identities` are those of the parts compared. `source` scales problem-to-problem cosines by part; `note` scales
    problem-to-note ones, None where no notes were at hand when it was measured.
    """

    identities: tuple[str, ...]
    fusion: Fusion
    image_weight: float
    rate: float
    source: Mapping[Part, Scale]
    threshold: float
    measured: Measured
    note: Scale | None = None
    note_threshold: float | None = None
    note_measured: Measured | None = None
    data: str = ""

    def check(self, embedder: Embedder, fusion: Fusion, image_weight: float) -> None:
        """Raise ConfigError when this was measured with another embedder or fusion."""
        wanted = identities(embedder, fusion)
        weights = fusion == "late" and not math.isclose(self.image_weight, image_weight)
        if self.identities != wanted or self.fusion != fusion or weights:
            raise ConfigError(
                f"found a calibration of {self.fusion} with {', '.join(self.identities)} (image weight "
                f"{self.image_weight}), expected {fusion} with {', '.join(wanted)} (image weight {image_weight}); "
                f"run r3v notebook calibrate with --fusion {fusion} and this embedder"
            )

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Calibration:
        """Raises DataError for an unknown schema or a field that is missing or of the wrong type."""
        try:
            if row["schema"] != 1:
                raise DataError(f"found calibration schema {row['schema']!r}, expected 1")
            values = {f.name: row[f.name] for f in fields(cls)}
            values["identities"] = tuple(values["identities"])
            values["source"] = {part: Scale(**scale) for part, scale in values["source"].items()}
            values["note"] = Scale(**values["note"]) if values["note"] else None
            for name in ("measured", "note_measured"):
                values[name] = _measured(values[name]) if values[name] else None
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not a calibration: {error!r}", fix="Run r3v notebook calibrate again") from error


def _measured(row: Mapping[str, Any]) -> Measured:
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return Measured(**values)


def identities(embedder: Embedder, fusion: Fusion) -> tuple[str, ...]:
    """Identities of the vectors a fusion needs."""
    return tuple(identity(embedder, part) for part in parts(embedder, fusion))


def choose_fusion(embedder: Embedder, fusion: Fusion | Literal["auto"]) -> Fusion:
    """What `auto` means for this embedder; anything else stands."""
    if fusion != "auto":
        return fusion
    return "mixed" if "mixed" in embedder.modalities else "text"


def parts(embedder: Embedder, fusion: Fusion) -> tuple[Part, ...]:
    """The parts a fusion compares. Raises ConfigError for an unknown fusion or a part the embedder lacks."""
    if fusion not in FUSIONS:
        raise ConfigError(f"found fusion {fusion!r}, expected one of {', '.join(FUSIONS)}")
    found: tuple[Part, ...] = ("text", "image") if fusion == "late" else (fusion,)
    for part in found:
        check_part(embedder, part)
    return found


def fuse_late(text: Scores, image: Scores, both: npt.NDArray[np.bool_], weight: float) -> Scores:
    """Normalised text and image scores as one: their weighted sum over its deviation if they were independent, so
    that a pair without two pictures (`both` is False), judged by its text alone, has the same spread."""
    spread = math.sqrt((1.0 - weight) ** 2 + weight**2)
    fused = ((1.0 - weight) * text + weight * image) / spread
    return np.where(both, fused, text).astype(np.float32)


def calibration_file(notebook: str | Path) -> Path:
    """The file beside a notebook that holds its calibrations."""
    return Path(notebook).with_suffix(".calibration.json")


def read_calibrations(path: str | Path) -> list[Calibration]:
    """All calibrations of a file; none if it does not exist. Raises DataError for a damaged one."""
    try:
        rows = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=path, fix="Run r3v notebook calibrate again") from error
    if not isinstance(rows, list):
        raise DataError("expected a list of calibrations", file=path, fix="Run r3v notebook calibrate again")
    return [Calibration.from_dict(row) for row in rows]


def find_calibration(path: str | Path, embedder: Embedder, fusion: Fusion, image_weight: float) -> Calibration | None:
    """The calibration of this embedder and fusion, or None."""
    wanted = identities(embedder, fusion)
    for found in read_calibrations(path):
        same_weight = fusion != "late" or math.isclose(found.image_weight, image_weight)
        if found.identities == wanted and found.fusion == fusion and same_weight:
            return found
    return None
