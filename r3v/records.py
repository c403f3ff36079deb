"""The language of the library: frozen records that every stage reads and writes. Standard library only.

A `Problem` is asked with a `Prompt`, sampled into `Candidate`s, judged by `Verdict`s, turned into `Example`s,
and measured in `Report`s. Each has `to_dict` and `from_dict` with a schema version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from r3v.errors import DataError, ImageError
from r3v.token_ids import TokenIds

SCHEMA = 1
AnswerKind = Literal["choice", "number", "text", "expression"]
ANSWER_KINDS: tuple[AnswerKind, ...] = ("choice", "number", "text", "expression")
ExampleKind = Literal["answer", "refine", "select", "keep", "prefer", "reinforce"]
EXAMPLE_KINDS: tuple[ExampleKind, ...] = ("answer", "refine", "select", "keep", "prefer", "reinforce")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@runtime_checkable
class ImageSource(Protocol):
    """Where the encoded bytes of an image come from; nothing is read before `read` is called."""

    def read(self) -> bytes:
        """Encoded bytes (PNG, JPEG, ...). Raises ImageError."""
        ...

    def describe(self) -> str:
        """A short name for messages."""
        ...


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image file, read when asked for.

    `origin` is the (file, row, field) that named it, for messages; it takes no part in comparison.
    """

    path: str
    origin: tuple[str, str, str] | None = field(default=None, compare=False, repr=False)

    def read(self) -> bytes:
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            file, row, name = self.origin or (self.path, None, None)
            raise ImageError(
                f"cannot read the image {self.path}: {error.strerror or error}",
                file=file,
                row=row,
                field=name,
                fix="Check the path and permissions",
            ) from error

    def describe(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class BytesImage:
    """An image already in memory, as encoded bytes."""

    data: bytes = field(repr=False)
    name: str = "<bytes>"

    def read(self) -> bytes:
        return self.data

    def describe(self) -> str:
        return self.name


def image_hash(image: ImageSource) -> str:
    """sha256 of the encoded bytes, hexadecimal."""
    return hashlib.sha256(image.read()).hexdigest()


@dataclass(frozen=True, slots=True)
class Problem:
    """Question + image(s) + short gold answer. Never a rationale: that is what the model has to find.

    `answer` is the gold: the letter for `choice`, otherwise the text of the value. `tolerance` is relative
    (0.05 accepts 5 %), None means exact up to the printed precision. `meta` holds JSON values only, such as the
    original text before normalisation.
    """

    id: str
    question: str
    answer: str
    kind: AnswerKind
    images: tuple[ImageSource, ...] = ()
    choices: tuple[str, ...] | None = None
    unit: str | None = None
    tolerance: float | None = None
    skills: tuple[str, ...] = ()
    split: str = "train"
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "question", "answer"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(
                    f"found {value!r}, expected a non-empty string",
                    file=self.source or None,
                    row=self.id or None,
                    field=name,
                )
        if self.kind not in ANSWER_KINDS:
            raise DataError(
                f"found {self.kind!r}, expected one of {', '.join(ANSWER_KINDS)}", row=self.id, field="kind"
            )
        if self.kind == "choice":
            if not self.choices or len(self.choices) < 2:
                raise DataError(f"found {self.choices!r}, expected at least two choices", row=self.id, field="choices")
            if len(self.choices) > len(LETTERS):
                raise DataError(
                    f"found {len(self.choices)} choices, expected at most {len(LETTERS)}", row=self.id, field="choices"
                )
            if self.answer not in LETTERS[: len(self.choices)]:
                raise DataError(
                    f"gold {self.answer!r} is not among the choices {LETTERS[0]}-{LETTERS[len(self.choices) - 1]}",
                    file=self.source or None,
                    row=self.id,
                    field="answer",
                )

    @property
    def gold_text(self) -> str:
        """The gold as a person would write it: the text of the right option, or the answer itself."""
        if self.kind == "choice" and self.choices:
            return self.choices[LETTERS.index(self.answer)]
        return self.answer

    def open(self, kind: AnswerKind = "number") -> Problem:
        """The same problem asked without its choices, so that a lucky letter counts for nothing."""
        if self.kind != "choice":
            return self
        return replace(self, choices=None, answer=self.gold_text, kind=kind)


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[ImageSource, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat messages with images. In every message the images come first, then the text."""

    problem_id: str
    messages: tuple[Message, ...]

    @property
    def images(self) -> tuple[ImageSource, ...]:
        return tuple(image for message in self.messages for image in message.images)

    def chat(self) -> list[dict[str, Any]]:
        """The messages in the form chat templates take; images are placeholders, in the order of `images`."""
        return [
            {
                "role": m.role,
                "content": [{"type": "image"} for _ in m.images] + [{"type": "text", "text": m.text}],
            }
            for m in self.messages
        ]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over roles, texts and image bytes."""
        digest = hashlib.sha256()
        for m in self.messages:
            digest.update(json.dumps([m.role, m.text]).encode())
            for image in m.images:
                digest.update(image.read())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled rationale with its tokens and their log-probabilities under the model that wrote it.

    A candidate is its `token_ids`, stop token included where it was sampled (kept as `TokenIds`); `text` is for people
    and graders. `tokenizer`: fingerprint of the tokenizer and chat template they belong to, empty where nobody checked
    it; ids of another one, or of none, are neither taught nor scored, the text is.
    """

    problem_id: str
    round: int
    index: int
    seed: int
    text: str
    token_ids: Sequence[int] = ()
    logprobs: tuple[float, ...] = ()
    stop: Literal["eos", "length"] = "eos"
    model: str = ""
    prompt_hash: str = ""
    notes: tuple[str, ...] = ()
    tokenizer: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", TokenIds(self.token_ids))

    @property
    def id(self) -> str:
        return f"{self.problem_id}/{self.round}/{self.index}"

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability per token; minus infinity for an empty candidate."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else float("-inf")


class Outcome(Enum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grader says of a candidate. Four-valued on purpose: `if verdict` raises.

    UNPARSED (no answer was named) counts as not correct and is reported apart. UNAVAILABLE (the engine or a judge
    failed) is never "wrong": such items leave the denominator.
    """

    outcome: Outcome
    extracted: str | None = None
    reason: str = ""

    @property
    def correct(self) -> bool:
        return self.outcome is Outcome.CORRECT

    @property
    def wrong(self) -> bool:
        return self.outcome is Outcome.WRONG

    def __bool__(self) -> bool:
        raise TypeError("a Verdict has four values; ask for .correct, .wrong or compare .outcome")


@dataclass(frozen=True, slots=True)
class Graded:
    candidate: Candidate
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Example:
    """One training branch: a prompt, the target the model should write, and how much it counts.

    `sources` are ids of the candidates it came from. `advantage` is for `reinforce` only; `pair` joins the chosen
    and the rejected branch of a `prefer` pair (same number; `weight` > 0 is chosen, `rejected` says which is not).
    `token_ids`: the target's exact tokens where it was sampled, stop token included, so that it is trained on what was
    drawn and not on its text tokenised anew; empty where `target` is to be tokenised. `tokenizer`: whose ids they are
    (see `Candidate`); with another one the target is tokenised, empty says that they are those of the model trained.
    `logprobs`: those tokens' log-probabilities under the model that sampled them. `ended`: the target ends its turn;
    one that was cut off is taught no end.
    """

    kind: ExampleKind
    problem_id: str
    prompt: Prompt
    target: str
    weight: float = 1.0
    sources: tuple[str, ...] = ()
    advantage: float | None = None
    pair: int | None = None
    rejected: bool = False
    token_ids: Sequence[int] = ()
    logprobs: tuple[float, ...] = ()
    tokenizer: str = ""
    ended: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", TokenIds(self.token_ids))


@dataclass(frozen=True, slots=True)
class Report:
    """One measured number with its 95 % interval. `n` excludes UNAVAILABLE items."""

    metric: str
    value: float
    n: int
    ci95: tuple[float, float]
    unparsed: float = 0.0
    unavailable: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **{f.name: getattr(self, f.name) for f in fields(self)}, "ci95": list(self.ci95)}


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    row = {f.name: getattr(candidate, f.name) for f in fields(candidate)}
    return {"schema": SCHEMA, **{k: list(v) if isinstance(v, (tuple, TokenIds)) else v for k, v in row.items()}}


def candidate_from_dict(row: Mapping[str, Any]) -> Candidate:
    names = {f.name for f in fields(Candidate)}
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for k, v in row.items()
    }
    return Candidate(**{k: v for k, v in values.items() if k in names})
