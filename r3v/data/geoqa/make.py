"""`r3v fetch geoqa`: the folder that `geoqa:DIR` reads, from the public parts.

    DIR/join_multiple_choice.jsonl   one row a problem: {split, geoqa_id, problem_id, image, record}
    DIR/formalgeo_raw_text.jsonl     FormalGeo's record of every GeoQA problem, those without choices too
    DIR/images/ID.png                their pictures
    DIR/SOURCE.json                  repositories, commits, hashes, counts

`record` is what the release says of the problem; the path of its author's machine is left out of it. What was
downloaded is kept in DIR/.parts until all is done, so a second call goes on.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3v.data.geoqa import join
from r3v.data.geoqa.download import download, known, room, sha256
from r3v.data.geoqa.sources import ARCHIVES, COMMAND, JOIN_SHA256, PARTS, RAW, Part
from r3v.errors import DataError
from r3v.io import atomic_dir, make_folder, write_json

JOIN, RAW_TEXT = "join_multiple_choice.jsonl", "formalgeo_raw_text.jsonl"
ROOM = 400_000_000
"""Bytes that the downloads and the finished folder need together, generously."""
_MEMBER = re.compile(r"[^/]+/(data/(?:problems|images)/\d{1,6}\.(?:json|png))")
_SOURCE = re.compile(r"GeoQA(-angle)?-(\d+)")
MOST = 8_000_000
"""Most bytes of one file in the archive; the largest has 0.4 MB."""


@dataclass(frozen=True)
class Made:
    """What was made: where, how many rows of each split, and the hash of the join file."""

    folder: Path
    train: int
    test: int
    pictures: int
    sha256: str


def make(
    out: str | Path,
    source: str | Path | None = None,
    *,
    parts: Sequence[Part] = PARTS,
    raw: str = RAW,
    archives: str = ARCHIVES,
    expected: str = JOIN_SHA256,
    bar: bool = True,
) -> Made:
    """Fetch the parts, or take them from the folder `source`, and write the folder `out`.

    Raises DataError where a part cannot be had or is another one than the pinned, where the join comes out differently
    than `expected`, and where `out` holds something else.
    """
    out = Path(out)
    if (out / JOIN).exists():
        found = sha256(out / JOIN)
        if found == expected:
            return _told(out, found)
        raise DataError(
            f"found a join file with sha256 {found}, expected {expected}",
            file=out / JOIN,
            fix="It is another version; name another folder (--out), or remove this one",
        )
    if out.exists() and any(path.name != ".parts" for path in out.iterdir()):
        raise DataError("the folder is not empty and holds no join file", file=out, fix="Name another --out")
    kept = make_folder(out / ".parts")
    room(out, ROOM)
    files = [_have(part, kept, source, raw, archives, bar) for part in parts]
    with atomic_dir(out.with_name(f"{out.name}.new")) as folder:
        digest = _write(folder, parts, files, expected)
    fresh = out.with_name(f"{out.name}.new")
    shutil.rmtree(out)
    fresh.rename(out)
    return _told(out, digest)


def _have(part: Part, kept: Path, source: str | Path | None, raw: str, archives: str, bar: bool) -> Path:
    """A part as a file whose hash is right."""
    if source is not None:
        path = Path(source) / part.name
        if not path.is_file():
            names = ", ".join(p.name for p in PARTS)
            raise DataError(
                f"no such file; --from names a folder with {names}", file=path, fix=f"Download {part.url()}"
            )
        known(part, path)
        return path
    path = kept / part.name
    if not path.is_file():
        download(part, path, part.url(raw, archives), bar=bar)
    try:
        known(part, path)
    except DataError:
        path.unlink()
        raise
    return path


def _write(folder: Path, parts: Sequence[Part], files: Sequence[Path], expected: str) -> str:
    train, test = (json.loads(path.read_text(encoding="utf-8")) for path in files[:2])
    problems = _unpack(parts[2], files[2], folder)
    joinable = {number: problem for number, problem in problems.items() if number >= 0}
    drawings = {number: join.drawn(problem) for number, problem in joinable.items()}
    left = {number: drawing for number, drawing in drawings.items() if str(number) not in test}
    rows = [
        _row("train", number, joinable[number], {"messages": train[row]["messages"]})
        for row, number in join.join_training([join.training(record) for record in train], left).items()
    ]
    rows += [_row("test", number, joinable[number], test[str(number)]) for number in join.join_test(test, drawings)]
    _lines(folder / JOIN, rows)
    _lines(folder / RAW_TEXT, sorted(problems.values(), key=lambda problem: problem["problem_id"]))
    digest = sha256(folder / JOIN)
    if expected and digest != expected:
        raise DataError(
            f"the join has sha256 {digest}, expected {expected}; the parts are the pinned ones, so the joining differs",
            file=folder / JOIN,
            fix="Report it with your version of Python",
        )
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "test")}
    told = [
        {"repository": p.repository, "commit": p.commit, "path": p.path, "sha256": p.sha256 or p.listing} for p in parts
    ]
    write_json(folder / "SOURCE.json", {"schema": 1, "made_by": COMMAND, "parts": told, "join": digest, **counts})
    return digest


def _row(split: str, number: int, problem: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    image = f"images/{problem['problem_id']}.png"
    return {"split": split, "geoqa_id": number, "problem_id": problem["problem_id"], "image": image, "record": record}


def _lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _unpack(part: Part, archive: Path, folder: Path) -> dict[int, dict[str, Any]]:
    """GeoQA's problems out of the archive, by number (those of its second series below zero), their pictures written to
    `folder`/images. Raises DataError where the files are not the pinned ones."""
    (folder / "images").mkdir()
    hashes: dict[str, str] = {}
    problems: dict[int, dict[str, Any]] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                match = _MEMBER.fullmatch(member.name)
                if not match or not member.isfile() or member.size > MOST:
                    continue
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                hashes[match[1]] = hashlib.sha256(data).hexdigest()
                if match[1].endswith(".png"):
                    (folder / "images" / Path(match[1]).name).write_bytes(data)
                    continue
                problem = json.loads(data)
                if source := _SOURCE.fullmatch(problem["source"]):
                    problems[-int(source[2]) if source[1] else int(source[2])] = problem
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"not a whole archive ({error})", file=archive, fix="Remove it and run the command again"
        ) from error
    listing = hashlib.sha256("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)).encode()).hexdigest()
    if part.listing is not None and listing != part.listing:
        raise DataError(
            f"found {len(hashes)} files whose hashes have sha256 {listing}, expected {part.files} and {part.listing} "
            f"({part.repository} at {part.commit})",
            file=archive,
            fix="It is damaged or another version; remove it and run the command again",
        )
    wanted = {f"{problem['problem_id']}.png" for problem in problems.values()}
    for path in (folder / "images").iterdir():
        if path.name not in wanted:
            path.unlink()
    return problems


def _told(folder: Path, digest: str) -> Made:
    told = json.loads((folder / "SOURCE.json").read_text(encoding="utf-8"))
    return Made(folder, told["train"], told["test"], sum(1 for _ in (folder / "images").iterdir()), digest)
