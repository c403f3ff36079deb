"""Notes in prompts. Whoever wrote a note, it is untrusted text: marked off, limited in length, without control tokens.

    recall = Recall(retriever, style)
    prompts = [solve(problem, style, notes) for problem, notes in zip(problems, recall(problems))]

What `clean` guarantees of its result, whatever the input:
- no `<` is followed by anything but a space or `=`, and no `[NAME]` in capitals is left, so no chat, image or tool
  token of any known family can stand in it (`<|im_start|>`, `<image>`, `</s>`, `<start_of_turn>`, `[INST]`, ...);
- no speaker is named with a colon (`Assistant:`), the way plain templates begin a turn;
- no control, format (zero-width, direction), private or unassigned character, and no line break but `\\n`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from r3v.embedding.table import make_embedder
from r3v.errors import ConfigError, RunError
from r3v.notebook.retrieval.pictures import Pictured, Pictures, shows_pictures
from r3v.notebook.retrieval.qualified import Unqualified, objection
from r3v.notebook.retrieval.retrieve import Hit, Retriever, index_of
from r3v.notebook.retrieval.scoring import (
    RetrievalConfig,
    calibration_file,
    choose_fusion,
    find_calibration,
    identities,
)
from r3v.notebook.store.note import Note, canonical
from r3v.prompts import Style
from r3v.records import Problem

Form = Literal["full", "short"]
"""`full`: all parts between marks, one a line. `short`: the guidance on one line, for models with little context."""
OPEN, CLOSE = "[[note]]", "[[end of note]]"
_CUT = " ..."
_SHORTEST = len(OPEN) + len(CLOSE) + 2 + 24
"""Least limit that leaves room for words between the marks."""

_SPEAKER = re.compile(
    r"\b(system|user|assistant|human|model|developer|tool|bot|ai|gpt|instruction|response|observation)(\W*):",
    re.IGNORECASE,
)
_ANGLE = re.compile(r"<(?![ =])")
_BRACKET = re.compile(r"\[(?=/?[^\W\d_a-z])|\[(?=\[)|\](?=\])")
_GAPS, _LINES = re.compile(r"[^\S\n]+"), re.compile(r" ?\n[ \n]*")
# Signs that some tokenizers fold into ASCII before they look for tokens (Unicode compatibility forms), and lookalikes.
_FOLDED: dict[int, str] = {
    code: unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0x2000, 0x2C00), *range(0xFE10, 0xFE70), *range(0xFF01, 0xFF5F))
    if code >= 0xFF00 or set("<>[]|:") & set(unicodedata.normalize("NFKC", chr(code)))
}
_FOLDED |= {0x2581: " ", 0x00A6: "|", 0x2223: "|", 0xA789: ":", 0x2236: ":", 0x02D0: ":"}
_DROPPED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))


def clean(text: str) -> str:
    """The text without anything a chat template or tokenizer could take for structure; ordinary words, numbers and
    mathematical signs stay. `clean(clean(x)) == clean(x)`."""
    text = re.sub(r"\r\n?|[\u2028\u2029\u0085\v\f]", "\n", text.translate(_FOLDED))
    text = "".join(c for c in text if c == "\n" or c == "\t" or unicodedata.category(c) not in _DROPPED)
    text = _LINES.sub("\n", _GAPS.sub(" ", text)).strip()
    text = _BRACKET.sub(lambda m: m.group() + " ", _ANGLE.sub("< ", text))
    text = _SPEAKER.sub(lambda m: m[1] + re.sub(r"[\s:]+", " ", m[2]).rstrip() + " -", text)
    # What is put behind the text must not meet a bare "<" at its end.
    return re.sub(r"[\s<]+\Z", "", text).lstrip()


def note_text(note: Note, limit: int, form: Form = "full") -> str:
    """A note as it stands in a prompt: at most `limit` characters, safe whatever the note holds.

    The guidance comes first and is cut at a word when it is too long; applicability, anti-pattern and example are
    added in this order as far as they fit whole. Raises ConfigError for a limit too small to hold anything.
    """
    if form == "short":
        return _cut(clean(note.guidance.replace("\n", " ")).replace("\n", " "), limit)
    if limit < _SHORTEST:
        raise ConfigError(f"found a note limit of {limit} characters, expected at least {_SHORTEST}")
    room = limit - len(OPEN) - len(CLOSE) - 2
    subject, guidance = clean(f"About {' '.join(note.subject.split())}"), clean(note.guidance)
    body = _cut(f"{_cut(subject, max(room // 3, room - len(guidance) - 1))}\n{guidance}", room)
    extra = (("Applies when", note.applicability), ("Avoid", note.anti_pattern), ("Example", note.example))
    for name, value in extra:
        line = clean(f"{name} - {value}")
        if value.strip() and len(body) + 1 + len(line) <= room:
            body += "\n" + line
    return f"{OPEN}\n{body}\n{CLOSE}"


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters, ending at a word; ` ...` says that something is missing."""
    if limit < len(_CUT) + 1:
        raise ConfigError(f"found a note limit of {limit} characters, expected at least {len(_CUT) + 1}")
    if len(text) <= limit:
        return text
    head = text[: limit - len(_CUT) + 1]
    at = max(head.rfind(" "), head.rfind("\n"))
    return (head[:at] if at > 0 else head[:-1]).rstrip() + _CUT


@dataclass
class Recall:
    """Gives the solver of any kind its notes: call it with problems, get each one's note texts.

    Nothing else changes for who asks: `Selector(..., notes=recall)`, `evaluate(..., notes=recall)`,
    `bootstrap(..., notes=recall)`. Each problem is looked up once, however often it is asked.

    `record` (such as `Notebook.record_many`) is told of every note retrieved and of every one injected: it is called
    with a list of (kind, data), once per batch of problems.
    `withhold` is the share of retrieved notes that are not shown, drawn from (`seed`, problem, note): what such
    problems do without their note measures its worth. `exclude_sources` as in `Retriever.retrieve`; False is for the
    paper's gate only. `pictures` gives those to show with a note; None shows words only.
    """

    retriever: Retriever
    style: Style
    limit: int = 600
    record: Callable[[Sequence[tuple[str, Mapping[str, Any]]]], Any] | None = None
    withhold: float = 0.0
    seed: int = 0
    exclude_sources: bool = True
    pictures: Pictures | None = None
    _seen: dict[str, tuple[list[Hit], list[Hit]]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.withhold <= 1.0:
            raise ConfigError(f"found withhold {self.withhold}, expected a share from 0 to 1")
        for note in self.retriever.notes[:1]:
            note_text(note, self.limit, self.form)

    @property
    def form(self) -> Form:
        return "short" if self.style.name == "short" else "full"

    @property
    def name(self) -> str:
        """16 hexadecimal digits over everything the texts depend on; results with other notes have another name."""
        own = {"limit": self.limit, "form": self.form, "withhold": self.withhold, "seed": self.seed}
        value = {**self.retriever.settings, **own, "exclude_sources": self.exclude_sources}
        if self.pictures is not None:
            value["pictures"] = True
        return hashlib.sha256(canonical(value)).hexdigest()[:16]

    def __call__(self, problems: Sequence[Problem]) -> list[tuple[str, ...]]:
        """The texts for `prompts.solve(problem, style, notes)`, best first, each with its pictures (`Pictured`).
        Raises ImageError, EngineError."""
        self._look_up(problems)
        texts = [[self._told(hit.note) for hit in self.shown(p)] for p in problems]
        return [tuple(filter(None, found)) for found in texts]  # nothing may be left of hostile guidance

    def _told(self, note: Note) -> str:
        text = note_text(note, self.limit, self.form)
        return Pictured(text, self.pictures(note)) if self.pictures else text

    def forget(self) -> None:
        """Let go the problems looked up so far, where none of them comes again."""
        self._seen.clear()

    def shown(self, problem: Problem) -> list[Hit]:
        """What this problem's prompt holds."""
        return self._look_up([problem])[0][0]

    def withheld(self, problem: Problem) -> list[Hit]:
        """What was retrieved for this problem and kept back."""
        return self._look_up([problem])[0][1]

    def _look_up(self, problems: Sequence[Problem]) -> list[tuple[list[Hit], list[Hit]]]:
        new = list({p.id: p for p in problems if p.id not in self._seen}.values())
        found = self.retriever.retrieve(new, exclude_sources=self.exclude_sources) if new else []
        events: list[tuple[str, Mapping[str, Any]]] = []
        for problem, hits in zip(new, found, strict=True):
            shown = [_draw(self.seed, problem.id, hit.note.id) >= self.withhold for hit in hits]
            self._seen[problem.id] = (
                [hit for hit, kept in zip(hits, shown, strict=True) if kept],
                [hit for hit, kept in zip(hits, shown, strict=True) if not kept],
            )
            for hit, kept in zip(hits, shown, strict=True):
                data = {"note": hit.note.id, "revision": hit.note.revision, "problem": problem.id}
                events.append(("retrieved", {**data, "score": hit.score, "key": hit.key, "withheld": not kept}))
                if kept:
                    events.append(("injected", data))
        if self.record is not None and events:
            self.record(events)
        return [self._seen[problem.id] for problem in problems]


@contextmanager
def open_recall(
    path: str | Path,
    policy: Any,
    style: Style,
    cfg: RetrievalConfig | None = None,
    *,
    ref: str = "head",
    record: bool = True,
    seed: int = 0,
    say: Callable[[str], None] = print,
    unqualified: Unqualified = "refuse",
) -> Iterator[Recall]:
    """The notes of a notebook file, ready for a solver; the file is open inside the block.

    `policy` is the solver (embedder `self` reads its hidden states). Without `cfg.threshold`, the calibration beside
    the file is taken. `record` keeps what was retrieved and injected in the notebook's log. `say` is told where
    pictures of notes cannot be shown. `unqualified` says what becomes of notes that passed the gate for another model
    and were not qualified for this one. Raises RunError for those, and where the file, its vectors or the calibration
    are missing, each with the command to run.
    """
    from r3v.notebook.retrieval.keys import stored_vectors
    from r3v.notebook.store.store import Notebook

    cfg = cfg or RetrievalConfig()
    embedder = make_embedder(cfg.embedder, policy)
    fusion = choose_fusion(embedder, cfg.fusion)
    with Notebook.open(path) as notebook:
        notes = notebook.notes(ref)
        _check_solver(notebook, notes, policy, unqualified, say)
        threshold = cfg.threshold
        if threshold is None:
            threshold = find_calibration(calibration_file(path), embedder, fusion, cfg.image_weight)
        if threshold is None:
            raise RunError(
                f"{path}: no threshold for {', '.join(identities(embedder, fusion))}. Run r3v notebook calibrate "
                f"{path} --embedder {cfg.embedder} --fusion {fusion} --data SPEC, or give --threshold"
            )
        retriever = Retriever(
            notes, embedder, threshold, cfg.top_k, fusion, keys=cfg.keys, image_weight=cfg.image_weight,
            stored=stored_vectors(notebook, notes, embedder, fusion, path=path, spec=cfg.embedder),
            index=index_of(cfg, path, say),
        )  # fmt: skip
        drawn = any(note.images for note in retriever.notes) and shows_pictures(policy, cfg.images, style, say)
        pictures = Pictures(notebook.blob, say) if drawn else None
        log = notebook.record_many if record else None
        yield Recall(retriever, style, cfg.limit, log, seed=seed, pictures=pictures)


def _check_solver(
    notebook: Any, notes: Mapping[str, Note], policy: Any, unqualified: Unqualified, say: Callable[[str], None]
) -> None:
    """Hold the notes against the name of the solver; a policy of None has none."""
    if unqualified == "allow" or policy is None:
        return
    why = objection(notebook, notes, policy.name)
    if why and unqualified == "refuse":
        raise RunError(f"{why}, or take them as they are with --unqualified")
    if why:
        say(why)


def _draw(seed: int, problem: str, note: str) -> float:
    """A number in [0, 1) that depends on seed, problem and note alone."""
    digest = hashlib.sha256(canonical([seed, problem, note])).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
