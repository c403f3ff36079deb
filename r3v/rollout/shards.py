"""Parquet files of graded candidates and of examples, which `datasets.load_dataset("parquet", ...)` opens as
they are.

A file is whole or absent (temporary name, fsync, rename), carries the name and version of its schema, and
its pages carry checksums, so that a half-written, damaged or foreign file is an error that says what to do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3v.errors import RunError
from r3v.grading import grader_name, regrade
from r3v.io import atomic_path
from r3v.records import SCHEMA, Candidate, Example, Graded, Message, Outcome, Problem, Prompt, Verdict
from r3v.token_ids import TokenIds

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = "shard-{index:05d}.parquet"
CANDIDATES, EXAMPLES = "candidates", "examples"
IDS = "token_ids"
_META = {"kind": b"r3v.kind", "schema": b"r3v.schema", "settings": b"r3v.settings", "grader": b"r3v.grader"}
OLD_GRADER = "r3v 1"
"""What graded the shards that name no grader."""


def _schema(kind: str) -> pa.Schema:
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    if kind == CANDIDATES:
        columns = {
            "schema": pa.int32(),
            "problem_id": text,
            "round": pa.int32(),
            "index": pa.int32(),
            "seed": whole,
            "text": text,
            "token_ids": pa.list_(pa.int32()),
            "tokenizer": text,
            "logprobs": pa.list_(number),
            "stop": text,
            "model": text,
            "prompt_hash": text,
            "notes": pa.list_(text),
            "outcome": text,
            "extracted": text,
            "reason": text,
        }
    else:
        message = pa.struct({"role": text, "text": text, "images": pa.list_(pa.int32())})
        columns = {
            "schema": pa.int32(),
            "kind": text,
            "problem_id": text,
            "messages": pa.list_(message),
            "target": text,
            "weight": number,
            "sources": pa.list_(text),
            "advantage": number,
            "pair": whole,
            "rejected": pa.bool_(),
            "token_ids": pa.list_(pa.int32()),
            "tokenizer": text,
            "logprobs": pa.list_(number),
            "ended": pa.bool_(),
        }
    return pa.schema(list(columns.items()))


def graded_to_row(graded: Graded) -> dict[str, Any]:
    """One flat row: the candidate's fields, then outcome, extracted and reason of its verdict."""
    c, v = graded.candidate, graded.verdict
    return {
        "schema": SCHEMA,
        "problem_id": c.problem_id,
        "round": c.round,
        "index": c.index,
        "seed": c.seed,
        "text": c.text,
        "token_ids": _numbers(c.token_ids),
        "tokenizer": c.tokenizer,
        "logprobs": list(c.logprobs),
        "stop": c.stop,
        "model": c.model,
        "prompt_hash": c.prompt_hash,
        "notes": list(c.notes),
        "outcome": v.outcome.value,
        "extracted": v.extracted,
        "reason": v.reason,
    }


def graded_from_row(row: Mapping[str, Any]) -> Graded:
    """The inverse of `graded_to_row`."""
    candidate = Candidate(
        problem_id=row["problem_id"],
        round=row["round"],
        index=row["index"],
        seed=row["seed"],
        text=row["text"],
        token_ids=row.get("token_ids") or (),
        tokenizer=row.get("tokenizer") or "",
        logprobs=tuple(row["logprobs"]),
        stop=row["stop"],
        model=row["model"],
        prompt_hash=row["prompt_hash"],
        notes=tuple(row["notes"]),
    )
    return Graded(candidate, Verdict(Outcome(row["outcome"]), row["extracted"], row["reason"]))


def _write(
    path: Path,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any] | None,
    grader: str | None = None,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {_META["kind"]: kind.encode(), _META["schema"]: str(SCHEMA).encode()}
    if settings is not None:
        metadata[_META["settings"]] = json.dumps(settings, sort_keys=True).encode()
    if grader is not None:
        metadata[_META["grader"]] = grader.encode()
    table = pa.Table.from_pylist(list(rows), schema=_schema(kind).with_metadata(metadata))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _open(path: Path, kind: str) -> Any:
    """The opened file, its kind and schema version checked. Raises RunError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found; run the stage that writes it again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(
            f"{path}: not a whole Parquet file ({error}). Delete this file and run the same command again; "
            "only what it held is made anew"
        ) from error
    metadata = file.metadata.metadata or {}
    found = metadata.get(_META["kind"], b"none").decode()
    version = metadata.get(_META["schema"], b"none").decode()
    if found != kind or version != str(SCHEMA):
        file.close()
        raise RunError(
            f"{path}: found r3v.kind {found} with schema {version}, expected {kind} with schema {SCHEMA}. "
            f"This file "
            "was not written by this stage of this version of r3v: move it away and run the same command "
            "again"
        )
    return file


def _rows(path: Path, kind: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    import pyarrow as pa

    file = _open(path, kind)
    try:
        with file:
            return _listed(file.read(columns=list(columns) if columns else None, use_threads=False))
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(
            f"{path}: damaged Parquet file ({error}). Delete this file and run the same command again"
        ) from error


def _numbers(ids: Sequence[int]) -> Any:
    """Ids as an array that pyarrow takes without looking at each; None for no ids."""
    import numpy as np

    return np.frombuffer(TokenIds(ids).buffer, dtype=np.int32) if len(ids) else None


def _listed(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table; token ids (64 bits each in files of 0.1) as `TokenIds` or None, never as Python numbers."""
    import pyarrow as pa

    if IDS not in table.column_names:
        return table.to_pylist()
    lists: Any = table.column(IDS).cast(pa.list_(pa.int32())).combine_chunks()
    rows = table.drop_columns([IDS]).to_pylist() or [{} for _ in range(len(table))]
    flat = lists.values.to_numpy().tobytes()
    ends, missing = lists.offsets.to_numpy(), lists.is_null().to_numpy(zero_copy_only=False)
    for n, row in enumerate(rows):
        row[IDS] = None if missing[n] else TokenIds.from_bytes(flat[4 * ends[n] : 4 * ends[n + 1]])
    return rows


def write_shard(
    path: str | Path, graded: Sequence[Graded], settings: Mapping[str, Any] | None = None, grader: str | None = None
) -> None:
    """Write one shard of graded candidates; `settings` (JSON values) and the `grader` that judged them (None: the
    library's, in its present version) are kept in the file's metadata."""
    _write(Path(path), CANDIDATES, [graded_to_row(item) for item in graded], settings, grader or grader_name())


def shard_grader(path: str | Path) -> str:
    """The grader that judged a shard, with its version. Raises RunError for a damaged or foreign file."""
    with _open(Path(path), CANDIDATES) as file:
        return (file.metadata.metadata or {}).get(_META["grader"], OLD_GRADER.encode()).decode()


def regrade_folders(
    folders: Iterable[str | Path], problems: Sequence[Problem], say: Callable[[str], None] | None = None
) -> tuple[int, int]:
    """Judge the shards that another grader, or another version of this one, has judged anew from their texts.

    Returns how many verdicts were made anew and how many of them changed; `say` (default: a line on standard error) is
    told both for each folder. Raises RunError for a problem that is not among `problems`."""
    now = grader_name(problems[0] if len(problems) else None)
    known: dict[str, Problem] = {}
    verdicts = changes = 0
    for folder in map(Path, folders):
        old = {path: name for path in shard_paths(folder) if (name := shard_grader(path)) != now}
        known = known or ({problem.id: problem for problem in problems} if old else {})
        here = changed_here = 0
        for path in old:
            graded = read_shard(path)
            for item in graded:
                _problem(known, item.candidate.problem_id, path)
            found, changed = regrade(graded, known)
            write_shard(path, found, shard_settings(path), now)
            here, changed_here = here + len(found), changed_here + changed
        if old:
            told = f"{folder}: judged by {', '.join(sorted(set(old.values())))}, now {now}: {here} verdicts made anew "
            (say or _say)(f"{told}from the texts, {changed_here} of them changed")
        verdicts, changes = verdicts + here, changes + changed_here
    return verdicts, changes


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def read_shard(path: str | Path) -> list[Graded]:
    """All graded candidates of one shard, in the order written. Raises RunError for a damaged or foreign
    file.
    """
    return [graded_from_row(row) for row in _rows(Path(path), CANDIDATES)]


def shard_settings(path: str | Path) -> dict[str, Any] | None:
    """The settings a shard was written with, or None. Raises RunError for a damaged or foreign file."""
    with _open(Path(path), CANDIDATES) as file:
        raw = (file.metadata.metadata or {}).get(_META["settings"])
    return None if raw is None else json.loads(raw)


def shard_column(path: str | Path, column: str) -> list[Any]:
    """One column of one shard, without reading the others."""
    return [row[column] for row in _rows(Path(path), CANDIDATES, [column])]


def shard_paths(folder: str | Path) -> list[Path]:
    """The whole shards of a folder, in order. Raises RunError where the folder is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: folder of candidates not found; sample first")
    return sorted(folder.glob("shard-*.parquet"))


def read_shards(folder: str | Path) -> Iterator[Graded]:
    """Every graded candidate of a folder, one shard in memory at a time."""
    for path in shard_paths(folder):
        yield from read_shard(path)


def _message_to_row(message: Message, problem: Problem) -> dict[str, Any]:
    indices = []
    for image in message.images:
        if image not in problem.images:
            raise RunError(
                f"the prompt of an example of problem {problem.id} shows image {image.describe()}, which "
                f"is not one of "
                "the problem's images; examples keep images by reference, so build prompts with r3v.prompts"
            )
        indices.append(problem.images.index(image))
    return {"role": message.role, "text": message.text, "images": indices}


def _problem(problems: Mapping[str, Problem], problem_id: str, path: object) -> Problem:
    if problem_id not in problems:
        raise RunError(
            f"{path}: problem {problem_id!r} is not among the {len(problems)} problems given; "
            "load the same data as when the examples were built"
        )
    return problems[problem_id]


def write_examples(path: str | Path, examples: Iterable[Example], problems: Mapping[str, Problem]) -> None:
    """Write examples with the messages of their prompts; images are kept as positions in `Problem.images`."""
    rows = [
        {
            "schema": SCHEMA,
            "kind": e.kind,
            "problem_id": e.problem_id,
            "messages": [_message_to_row(m, _problem(problems, e.problem_id, path)) for m in e.prompt.messages],
            "target": e.target,
            "weight": e.weight,
            "sources": list(e.sources),
            "advantage": e.advantage,
            "pair": e.pair,
            "rejected": e.rejected,
            "token_ids": _numbers(e.token_ids),
            "tokenizer": e.tokenizer,
            "logprobs": list(e.logprobs),
            "ended": e.ended,
        }
        for e in examples
    ]
    _write(Path(path), EXAMPLES, rows, None)


def read_examples(path: str | Path, problems: Mapping[str, Problem]) -> list[Example]:
    """The examples of a file, their images taken from `problems` by id. Raises RunError."""
    examples = []
    for row in _rows(Path(path), EXAMPLES):
        problem = _problem(problems, row["problem_id"], path)
        if any(i >= len(problem.images) for m in row["messages"] for i in m["images"]):
            raise RunError(
                f"{path}: an example of problem {problem.id} shows more images than its "
                f"{len(problem.images)}; "
                "the data has changed since the examples were built: build them again"
            )
        messages = tuple(
            Message(m["role"], m["text"], tuple(problem.images[i] for i in m["images"])) for m in row["messages"]
        )
        examples.append(
            Example(
                kind=row["kind"],
                problem_id=problem.id,
                prompt=Prompt(problem.id, messages),
                target=row["target"],
                weight=row["weight"],
                sources=tuple(row["sources"]),
                advantage=row["advantage"],
                pair=row["pair"],
                rejected=row["rejected"],
                token_ids=row.get("token_ids") or (),
                tokenizer=row.get("tokenizer") or "",
                logprobs=tuple(row.get("logprobs") or ()),
                ended=row.get("ended") is not False,
            )
        )
    return examples
