"""The gallery: problems with their picture, what the base and the trained model wrote, and who chose what."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from r3v.errors import R3VError
from r3v.pages.kit import card, details, says
from r3v.records import LETTERS, ImageSource, Problem
from r3v.run.evaluation import SAMPLE, Row

MARKS = {"correct": "right", "wrong": "wrong", "unparsed": "no answer named", "unavailable": "engine failed"}
_MIME = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp", b"GIF8": "gif"}
MAX_INLINE = 400_000
"""Larger pictures (bytes) are scaled down before they go into the page."""


def css_of(outcome: str) -> str:
    return {"correct": "right", "wrong": "wrong"}.get(outcome, "")


def by_problem(rows: Iterable[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["problem_id"], []).append(row)
    return grouped


def _outcome(rows: Sequence[Row], selector: str) -> str | None:
    return next((row["outcome"] for row in rows if row["selector"] == selector), None)


def choose(before: Mapping[str, list[Row]], after: Mapping[str, list[Row]], n: int) -> list[str]:
    """Ids of `n` problems worth seeing, the same for the same run: newly right, rescued by a selector, misled by
    one, newly wrong, still wrong, and the rest, dealt in turn."""
    kinds: list[list[str]] = [[] for _ in range(6)]
    for problem_id in sorted(after):
        rows = after[problem_id]
        was, now = _outcome(before.get(problem_id, []), "greedy"), _outcome(rows, "greedy")
        others = {r["outcome"] for r in rows if r["selector"] in ("self_select", "fused", "refine")}
        if was != "correct" and now == "correct":
            kinds[0].append(problem_id)
        elif now != "correct" and "correct" in others:
            kinds[1].append(problem_id)
        elif now == "correct" and others - {"correct"}:
            kinds[2].append(problem_id)
        elif was == "correct" and now != "correct":
            kinds[3].append(problem_id)
        else:
            kinds[4 if now != "correct" else 5].append(problem_id)
    chosen: list[str] = []
    while any(kinds) and len(chosen) < n:
        for kind in kinds:
            if kind and len(chosen) < n:
                chosen.append(kind.pop(0))
    return chosen


def find(problems: Iterable[Problem], ids: Iterable[str]) -> dict[str, Problem]:
    """The problems with these ids; stops when all are found."""
    wanted, found = set(ids), {}
    for problem in problems:
        if problem.id in wanted:
            found[problem.id] = problem
            if len(found) == len(wanted):
                break
    return found


def picture(image: ImageSource) -> str:
    """The image as a data URI inside <img>; one that cannot be read is named instead."""
    try:
        data = image.read()
    except R3VError as error:
        return f'<p class="soft">{escape(str(error))}</p>'
    kind = next((name for magic, name in _MIME.items() if data.startswith(magic)), None)
    if kind is None or len(data) > MAX_INLINE:
        data, kind = _smaller(image), "png"
    coded = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{coded}" alt="figure of the problem">'


def _smaller(image: ImageSource) -> bytes:
    import io

    from r3v.data.images import decode

    shown = decode(image)
    shown.thumbnail((640, 640))
    out = io.BytesIO()
    shown.save(out, format="PNG")
    return out.getvalue()


def question(problem: Problem | None, problem_id: str, gold: str) -> str:
    """Question, choices and gold; where the data cannot be loaded any more, the id and the gold."""
    if problem is None:
        return f"<h3>{escape(problem_id)}</h3><p class='soft'>gold answer: {escape(gold)}</p>"
    tags = "".join(f'<span class="tag">{escape(skill)}</span>' for skill in problem.skills)
    choices = "".join(
        f"<br>({LETTERS[i]}) {escape(c)}{' <b class=good>✓</b>' if LETTERS[i] == problem.answer else ''}"
        for i, c in enumerate(problem.choices or ())
    )
    answer = "" if problem.choices else f"<br><span class='soft'>gold answer: {escape(gold)}</span>"
    return f"<p>{escape(problem.question)}{choices}{answer}</p><p>{tags}</p>"


def problem_card(problem: Problem | None, before: Sequence[Row], after: Sequence[Row], names: tuple[str, str]) -> str:
    """One problem: its picture, greedy before and after, the samples, and which of them each selector chose."""
    greedy = []
    for rows, name in ((before, names[0]), (after, names[1])):
        for row in rows:
            if row["selector"] == "greedy":
                greedy.append(says(f"{name}, greedy: {MARKS[row['outcome']]}", row["text"], css_of(row["outcome"])))
    chosen: dict[int, list[str]] = {}
    refined = []
    for row in after:
        if row["selector"] == "refine":
            refined.append(_refined(row))
        if row["selector"] not in ("greedy", SAMPLE, "oracle") and row["index"] is not None:
            chosen.setdefault(row["index"], []).append(row["selector"])
    samples = []
    for row in after:
        if row["selector"] == SAMPLE:
            by = chosen.get(row["index"], [])
            told = f"; chosen by {', '.join(by)}" if by else ""
            css = f"{css_of(row['outcome'])}{' picked' if by else ''}"
            samples.append(says(f"sample {row['index'] + 1}: {MARKS[row['outcome']]}{told}", row["text"], css))
    pictures = "".join(picture(image) for image in problem.images) if problem else ""
    text = question(problem, after[0]["problem_id"], after[0]["gold"])
    inside = f'<div>{text}<div class="pair">{"".join(f"<div>{g}</div>" for g in greedy)}</div>'
    inside += details(f"{len(samples)} samples and what was chosen", *samples) if samples else ""
    return card(f'<div class="problem"><div>{pictures}</div>{inside}{"".join(refined)}</div></div>')


def _refined(row: Row) -> str:
    told = json.loads(row["details"])
    trail = " → ".join("no answer" if a is None else str(a) for a in told.get("trail", []))
    state = "confirmed" if told.get("confirmed") else "not confirmed, the vote stands"
    return says(f"refine: {trail} ({state}): {MARKS[row['outcome']]}", row["text"], css_of(row["outcome"]))


def taught(rows: Sequence[Mapping[str, Any]], each: int = 2) -> str:
    """What the model was trained to do: a few examples of every kind, prompt and target."""
    shown: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if len(shown.setdefault(row["kind"], [])) < each:
            shown[row["kind"]].append(row)
    parts = []
    for kind, examples in shown.items():
        for row in examples:
            asked = "\n".join(message["text"] for message in row["messages"])
            parts.append(card(f"<h3>{escape(kind)}</h3>", says("asked", asked), says("target", row["target"], "right")))
    return "".join(parts)


def read_examples(path: Path) -> list[dict[str, Any]]:
    """The rows of an examples file; none where a run has no such file."""
    if not path.exists():
        return []
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["kind", "messages", "target"], use_threads=False).to_pylist()
