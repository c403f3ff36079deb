"""One note as a Markdown page that a person reads and edits, and the way back.

A page has a head of `key: value` lines between two `---` lines, the subject as its title, and a section for each
part. Text that Markdown sections cannot carry unchanged (spaces at the ends, control characters) stands as a JSON
string in the head instead, so every note survives the round trip byte for byte. A line of text that begins with `# `
or `## ` is written `\\# `.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, DataError, near
from r3v.notebook.store.check import LISTS, check_note
from r3v.notebook.store.note import SCHEMA, Note

SECTIONS = {
    "guidance": "Guidance",
    "applicability": "Applies when",
    "anti_pattern": "Avoid",
    "example": "Example",
}
_TITLES = {title.lower(): name for name, title in SECTIONS.items()}
_LISTS = tuple(name for name in LISTS if name != "images")
_WORDS = ("id", "state", "author", "prompt_hash")
_SIMPLE = re.compile(r"[A-Za-z][\w./@:-]*", re.ASCII)
_HEADING = re.compile(r"(#{1,2}) +(.*?) *$")
_ESCAPED = re.compile(r"\\+#{1,2} ")
_IMAGE = re.compile(r"!\[[^\]]*\]\((.+)\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff]")

TEMPLATE = """---
id: {id}
state: active
---
# Subject: the domain and the concept, in a few words

## Guidance

Steps that can be checked, for the next problem of this kind.

## Applies when

## Avoid

## Example
"""


def to_markdown(note: Note, link: Callable[[str], str] = lambda sha: f"blob:{sha}") -> str:
    """The page of a note; `link` says where the image with a blob hash is found."""
    head = [f"schema: {SCHEMA}", *(f"{name}: {_value(getattr(note, name))}" for name in _WORDS if getattr(note, name))]
    for name in _LISTS:
        if getattr(note, name):
            head.extend([f"{name}:", *(f"- {_value(item)}" for item in getattr(note, name))])
    body: list[str] = []
    if _plain(note.subject) and "\n" not in note.subject:
        body.extend([f"# {note.subject}", ""])
    else:
        head.append(f"subject: {_value(note.subject)}")
    for name, title in SECTIONS.items():
        text = getattr(note, name)
        if text and not _plain(text):
            head.append(f"{name}: {_value(text)}")
        elif text:
            lines = [f"\\{line}" if _ESCAPED.match(f"\\{line}") else line for line in text.split("\n")]
            body.extend([f"## {title}", "", *lines, ""])
    if note.images:
        pictures = [f"![image {n}]({link(sha)})" for n, sha in enumerate(note.images, 1)]
        body.extend(["## Images", "", *pictures, ""])
    return "\n".join(["---", *head, "---", *body]).rstrip("\n") + "\n"


def _plain(text: str) -> bool:
    return text == text.strip() and not _CONTROL.search(text)


def _value(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def from_markdown(text: str, *, image: Callable[[str], str] | None = None, file: object = None) -> Note:
    """The note of a page. `image` turns an image's link into a blob hash; without it only `blob:` links are known.

    Raises DataError naming file, line and field for a page that does not fit the schema.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    ends = [n for n, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or any(line.strip() for line in lines[: ends[0]]):
        raise DataError("the page does not begin with a head between two --- lines", file=file, row="line 1")
    row = _head(lines[ends[0] + 1 : ends[1]], ends[0] + 2, file)
    links = _body(lines[ends[1] + 1 :], ends[1] + 2, row, file)
    row["images"] = [_blob(link, image, file) for link in links]
    try:
        note = Note.from_dict(row)
        check_note(note)
    except DataError as error:
        raise DataError(error.what, file=file, row=error.row, field=error.field, fix=error.fix) from error
    return note


def _head(lines: Sequence[str], first: int, file: object) -> dict[str, Any]:
    row: dict[str, Any] = {}
    current = ""
    known = ("schema", *_WORDS, "subject", *SECTIONS, *_LISTS)
    for number, line in enumerate(lines, first):
        where = f"line {number}"
        if not line.strip():
            continue
        if line.startswith("- "):
            if current not in _LISTS:
                raise DataError("an item that belongs to no list", file=file, row=where)
            row[current].append(_unquoted(line[2:], file, where))
            continue
        name, colon, value = line.partition(":")
        if not colon or name not in known:
            raise DataError(
                f"found {line!r}, expected one of {', '.join(known)}{near(name, known)}", file=file, row=where
            )
        if name in row:
            raise DataError(f"{name} is there twice", file=file, row=where)
        current = name
        if name in _LISTS:
            if value.strip():
                raise DataError(
                    f"found {value.strip()!r}, expected one `- item` a line", file=file, row=where, field=name
                )
            row[name] = []
        else:
            row[name] = _unquoted(value, file, where)
    if "schema" in row:
        row["schema"] = int(row["schema"]) if row["schema"].isdecimal() else row["schema"]
    return row


def _unquoted(text: str, file: object, where: str) -> str:
    text = text.strip(" \t")
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"found {text}, expected a closed JSON string: {error}", file=file, row=where) from error
    if not isinstance(value, str):
        raise DataError(f"found {text}, expected a string", file=file, row=where)
    return value


def _body(lines: Sequence[str], first: int, row: dict[str, Any], file: object) -> list[str]:
    """Fill `row` with subject and sections; returns the links of the images."""
    links: list[str] = []
    texts: dict[str, list[str]] = {}
    current = ""
    for number, line in enumerate(lines, first):
        where = f"line {number}"
        heading = _HEADING.match(line)
        if heading:
            current = _section(heading, row, texts, file, where)
        elif current == "images":
            found = _IMAGE.fullmatch(line.strip())
            if found:
                links.append(found[1])
            elif line.strip():
                raise DataError(f"found {line!r}, expected ![name](file)", file=file, row=where, field="images")
        elif current:
            texts[current].append(line[1:] if _ESCAPED.match(line) else line)
        elif line.strip():
            raise DataError(
                f"found {line!r} outside of every section", file=file, row=where, fix="Move it under ## Guidance"
            )
    row.update({name: "\n".join(text).strip() for name, text in texts.items() if "\n".join(text).strip()})
    return links


def _section(heading: re.Match[str], row: dict[str, Any], texts: dict[str, Any], file: object, where: str) -> str:
    title = heading[2]
    if len(heading[1]) == 1:
        if "subject" in row:
            raise DataError("a second title", file=file, row=where, fix="Write \\# where a line of text begins with #")
        row["subject"] = title
        return ""
    name = "images" if title.lower() == "images" else _TITLES.get(title.lower())
    if name is None:
        raise DataError(
            f"found section {title!r}, expected {', '.join(SECTIONS.values())} or Images",
            file=file,
            row=where,
            fix="Write \\## where a line of text begins with ##",
        )
    if name in texts or name in row:
        raise DataError(f"section {title!r} is there twice", file=file, row=where)
    texts[name] = []
    return name


def _blob(link: str, image: Callable[[str], str] | None, file: object) -> str:
    if link.startswith("blob:"):
        return link.removeprefix("blob:")
    if image is None:
        raise DataError(f"found image {link!r}, expected blob:HASH", file=file, field="images")
    return image(link)


def image_reader(put_blob: Callable[[bytes], str], base: Path) -> Callable[[str], str]:
    """For `from_markdown`: reads the image file a person linked, checks that it is one, and keeps it as a blob."""

    def read(link: str) -> str:
        from r3v.data.images import decode
        from r3v.records import BytesImage

        path = base / link
        if not path.is_file():
            raise DataError("no such image", file=path, field="images")
        data = path.read_bytes()
        decode(BytesImage(data, str(path)))
        return put_blob(data)

    return read


def run_editor(text: str, *, name: str = "note") -> str:
    """The text as it stands after $VISUAL or $EDITOR (else vi) was closed.

    Raises ConfigError when the editor cannot be started or fails; what was typed then stays in the file it names.
    """
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    slug = re.sub(r"[^A-Za-z0-9-]+", "-", name)[:40].strip("-")
    handle, path = tempfile.mkstemp(prefix=f"{slug or 'note'}-", suffix=".md")
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    try:
        code = subprocess.run([*words, path], check=False).returncode
    except OSError as error:
        os.unlink(path)
        raise ConfigError(f"editor {words[0]!r} cannot be started: {error}; set EDITOR") from error
    if code:
        raise ConfigError(f"editor {words[0]!r} ended with code {code}; nothing was committed. Your text is in {path}")
    with open(path, encoding="utf-8", newline="") as file:
        edited = file.read()
    os.unlink(path)
    return edited


def keep(text: str, name: str = "note") -> str:
    """Write text that could not be used to a file of its own, and return the path."""
    handle, path = tempfile.mkstemp(prefix=f"{re.sub(r'[^A-Za-z0-9-]+', '-', name)[:40]}-", suffix=".md")
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return path
