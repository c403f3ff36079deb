"""A hook of mkdocs: pages that lie outside docs/ join the site, and r3v is laid out as an install has it.

README, CONTRIBUTING, CHANGELOG and the cards stay the one copy. Links are written for the repository (relative to the
file they stand in); here those between pages become links of the site, and those to other files plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "losses/README.md": "losses.md",
    "checkpoints/geoworld-tiny/README.md": "models/geoworld-tiny.md",
    "checkpoints/smolgeo/README.md": "models/smolgeo.md",
}
"""File in the repository -> page of the site."""
SOURCES = {page: source for source, page in OUTSIDE.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_startup(**_: Any) -> None:
    """`build/docs/r3v` shows the reference what is installed as r3v: its rooms, and the folders at the top. Made before
    the reference looks for its paths, which it leaves out where they do not exist yet."""
    package = ROOT / "build" / "docs" / "r3v"
    package.mkdir(parents=True, exist_ok=True)
    for path in [*(ROOT / "r3v").iterdir(), ROOT / "losses", ROOT / "recipes"]:
        link = package / path.name
        if path.name != "__pycache__" and not link.is_symlink():
            link.symlink_to(path)


def on_files(files: Any, config: Any) -> Any:
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    own = page.file.src_uri
    return LINK.sub(lambda found: _link(found, own), markdown)


def _link(found: re.Match[str], own: str) -> str:
    """One link of the repository as a link of the site."""
    picture, text, target, anchor = found.groups()
    source = SOURCES.get(own, f"docs/{own}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path in OUTSIDE:
        page = OUTSIDE[path]
    elif path.startswith("docs/"):
        page = path.removeprefix("docs/")
    else:
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{source}: found a link to {path}, which does not exist")
        return text
    there = posixpath.relpath(page, posixpath.dirname(own) or ".")
    return f"{picture}[{text}]({there}{anchor or ''})"
