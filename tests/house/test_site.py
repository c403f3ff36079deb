"""The documentation holds together: every link leads somewhere, every page is in the site's table of contents once, and
the site builds and needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\((?![a-z]+:)([^)#\s]*)(#[^)\s]*)?\)")
OUTSIDE = dict(re.findall(r'^    "([^"]+\.md)": "([^"]+\.md)",$', (DOCS / "pages.py").read_text(), re.MULTILINE))
"""Files elsewhere in the repository that are pages of the site, as docs/pages.py lists them."""
PAGES = [*(ROOT / path for path in OUTSIDE), *sorted(DOCS.rglob("*.md"))]


def prose(path: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL))


def anchors(path: Path) -> set[str]:
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def dead(path: Path) -> list[str]:
    found = []
    for target, anchor in LINK.findall(prose(path)):
        there = (path.parent / target).resolve() if target else path
        if not there.exists():
            found.append(f"{path.relative_to(ROOT)}: {target}")
        elif anchor and anchor[1:] not in anchors(there):
            found.append(f"{path.relative_to(ROOT)}: {target}{anchor}")
    return found


def entries(nav: list[Any]) -> list[str]:
    """The pages of a table of contents, however deep."""
    found: list[str] = []
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += entries(value) if isinstance(value, list) else [value]
    return found


def test_every_link_leads_somewhere() -> None:
    assert len(PAGES) > 30
    assert [link for path in PAGES for link in dead(path)] == []


def test_dead_links_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("# One two\n[x](b.md) [y](#one-two) [z](#three) `[q](r.md)` [s](https://t.u)\n")
    assert dead(tmp_path / "a.md") == ["a.md: b.md", "a.md: #three"]


def test_every_page_is_in_the_contents_once() -> None:
    nav = Counter(entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = {*OUTSIDE.values(), *(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))}
    assert set(nav) == pages
    assert set(nav.values()) == {1}


def test_the_glossary_is_in_order_and_each_word_one_sentence() -> None:
    text = (DOCS / "glossary.md").read_text()
    words = re.findall(r"^## (.*)\n\n(.*)\n", text, re.MULTILINE)
    assert len(words) == text.count("\n## ") > 40
    names = [name for name, _ in words]
    assert names == sorted(names, key=str.lower)
    for name, sentence in words:
        assert sentence[0].isupper(), name
        assert sentence.endswith("."), name
        assert not re.search(r"\. [A-Z]", sentence), name


@pytest.mark.slow
def test_the_site_builds_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    program = Path(os.environ.get("R3V_MKDOCS") or ROOT / ".venv-docs" / "bin" / "mkdocs")
    if not program.exists():
        pytest.skip(f"mkdocs not found: {program} (make docs installs it, or set R3V_MKDOCS)")
    done = subprocess.run(
        [str(program), "build", "--strict", "-d", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    built = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.html")}
    assert "index.html" in built
    assert 'id="r3v.losses.contract.LossInputs"' in built["reference/losses.html"]
    fetched = re.compile(
        r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* rel="(?:stylesheet|preconnect)"'
        r'[^>]* href="(?:https?:)?//|<link[^>]* href="(?:https?:)?//[^>]* rel="stylesheet"'
    )
    assert {name: fetched.findall(text) for name, text in built.items() if fetched.search(text)} == {}
