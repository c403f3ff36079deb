"""Clicking through the page of a notebook in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import Browser, find
from test_notebook_ui import EVIL, path, served

from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

__all__ = ["path"]


@pytest.mark.slow
@pytest.mark.skipif(find() is None, reason="no chromium is installed (or named by R3V_CHROMIUM)")
def test_a_person_clicks_through_the_page(path: Path, tmp_path: Path) -> None:
    program = find()
    assert program
    with served(path) as client, Notebook.open(path) as nb, Browser(program, tmp_path / "profile") as browser:
        browser.open(client.server.url)
        browser.click("a", "bars")
        assert EVIL in browser.text(), "markup of a note is shown as text"
        assert "+100.0 points" in browser.text()
        assert browser.run("document.images[0].naturalWidth") == 1
        assert browser.run("getComputedStyle(document.querySelector('main')).maxWidth") == "1000px", (
            "the style sheet came through the CSP"
        )
        browser.click("a", "Edit")
        page = browser.run("document.querySelector('textarea').value")
        browser.type("textarea", page.replace("axis", "scale"))
        browser.type("input[type=text]", "by mouse")
        browser.click("button", "Commit")
        assert "Read the scale." in browser.text()
        assert nb.log()[0].message == "by mouse"
        browser.click("button", "Retire")
        assert "(retired)" in browser.text()
        assert nb.notes() == {}
        browser.click("a", "History")
        browser.click("tr:nth-child(3) button", "Roll back to here")
        assert nb.notes()["bars"].guidance == "Read the axis."
        browser.click("button", "Back to")
        assert nb.notes() == {}
        browser.click("button", "Revert")
        assert nb.notes()["bars"].guidance == "Read the scale."
        browser.click("a", "New note")
        browser.type("textarea", "nonsense")
        browser.click("button", "Commit")
        assert "does not begin with a head" in browser.text()
        assert browser.run("document.querySelector('textarea').value") == "nonsense"
        browser.click("a", "Verify")
        assert "Every hash fits." in browser.text()
        assert verify(nb) == []
