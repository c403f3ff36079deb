"""The pages of `r3v notebook ui`: plain HTML without scripts. Every word of a note is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from r3v.notebook.exchange.editing import SECTIONS
from r3v.notebook.store.changes import Change, diff_text
from r3v.notebook.store.note import Note
from r3v.notebook.store.reading import Commit, Move

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #1a1a1a;
  background: #fff }
a { color: #0b57a4 } h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 1.5rem }
nav a { margin-right: 1rem } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
.soft { color: #555 } .words { white-space: pre-wrap; overflow-wrap: anywhere }
.error { border-left: 4px solid #b3261e; padding: .5rem 1rem; background: #fdecea; white-space: pre-wrap }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto } img { max-width: 100%; max-height: 24rem }
textarea { width: 100%; height: 28rem; font: 14px/1.4 monospace; box-sizing: border-box }
input[type=text] { width: 24rem; max-width: 100% } form.inline { display: inline }
button { font: inherit; padding: .25rem .9rem; margin-right: .5rem }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #181818 } a { color: #8ab4f8 }
  .soft { color: #aaa } pre { background: #252525 } td, th { border-color: #444 } .error { background: #3b1f1d }
  textarea, input, button { color: #eee; background: #252525; border: 1px solid #666 } }
"""


def link(text: str, path: str, **query: str) -> str:
    return f'<a href="{escape(path + ("?" + urlencode(query) if query else ""))}">{escape(text)}</a>'


def form(action: str, button: str, csrf: str, fields: Mapping[str, str], inside: str = "", css: str = "inline") -> str:
    """A POST form; `fields` are hidden ones."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in {"csrf": csrf, **fields}.items()
    )
    return (
        f'<form method="post" action="{action}" class="{css}">{hidden}{inside}<button>{escape(button)}</button></form>'
    )


def page(title: str, body: str, name: str) -> str:
    """A whole page; `name` is the notebook's file name."""
    bar = (
        f"<nav>{link('Notes', '/')}{link('History', '/log')}{link('New note', '/add')}{link('Verify', '/verify')}</nav>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)} - {escape(name)}</title><link rel="stylesheet" href="/style.css"></head><body>'
        f'{bar}<p class="soft">{escape(name)}</p><h1>{escape(title)}</h1>{body}</body></html>'
    )


def note_list(notes: Mapping[str, Note], counts: Mapping[str, Mapping[str, int]], benefits: Mapping[str, str]) -> str:
    rows = [
        f"<tr><td>{link(name, '/note', id=name)}</td><td>{escape(note.subject)}</td>"
        f"<td>{'retired' if note.state == 'retired' else ''}</td>"
        f"<td>{counts.get(name, {}).get('retrieved', 0)}</td><td>{escape(benefits.get(name, ''))}</td></tr>"
        for name, note in notes.items()
    ]
    if not rows:
        return "<p>No notes yet.</p>"
    head = "<tr><th>Note</th><th>Subject</th><th>State</th><th>Retrieved</th><th>Benefit</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def note_page(
    note: Note, history: Sequence[tuple[Commit, Change]], counts: Mapping[str, int], benefit: str, csrf: str
) -> str:
    """A note with images, sources, benefit and history; the receipts of its commits unfold."""
    parts = [f"<p><strong>{escape(note.subject)}</strong>{' (retired)' if note.state == 'retired' else ''}</p>"]
    for name, title in SECTIONS.items():
        if getattr(note, name):
            parts.append(f'<h2>{title}</h2><div class="words">{escape(getattr(note, name))}</div>')
    for number, sha in enumerate(note.images, 1):
        parts.append(f'<p><img src="/blob?{urlencode({"sha": sha})}" alt="image {number} of the note"></p>')
    verb, button = ("restore", "Restore") if note.state == "retired" else ("retire", "Retire")
    given = {"id": note.id, "base": note.revision}
    parts.append(f"<p>{link('Edit', '/edit', id=note.id)} {form(f'/{verb}', button, csrf, given)}</p>")
    parts.append(f"<h2>Benefit</h2><p>{escape(benefit or 'not measured yet')}</p>")
    told = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    parts.append(f'<p class="soft">Events: {escape(told or "none")}</p>')
    sources = "".join(f"<li>{escape(source)}</li>" for source in note.sources)
    parts.append(f"<h2>Sources</h2>{f'<ul>{sources}</ul>' if sources else '<p>None.</p>'}")
    author = f"Written by {note.author}. " if note.author else ""
    parts.append(f'<p class="soft">{escape(author)}Revision {note.revision[:12]}.</p><h2>History</h2>')
    for commit, change in history:
        parts.append(f"<h3>{commit_line(commit)}</h3><pre>{escape(diff_text([change]))}</pre>{receipt(commit)}")
    return "".join(parts)


def commit_line(commit: Commit) -> str:
    """A commit in one line of HTML, linked."""
    when = commit.time[:19].replace("T", " ")
    name = link(commit.hash[:12], "/commit", id=commit.hash)
    return f"{name} {escape(commit.message)} <span class='soft'>{escape(commit.author)}, {escape(when)}</span>"


def receipt(commit: Commit) -> str:
    if commit.receipt is None:
        return ""
    text = escape(json.dumps(commit.receipt, indent=2, ensure_ascii=False))
    return f"<details><summary>Receipt</summary><pre>{text}</pre></details>"


def edit_form(action: str, text: str, csrf: str, fields: Mapping[str, str], error: str = "") -> str:
    """The Markdown page of a note in a text box, with what was wrong with it."""
    told = f'<p class="error">{escape(error)}</p>' if error else ""
    inside = (
        f'<p><label>The note<br><textarea name="text" spellcheck="true">\n{escape(text)}</textarea></label></p>'
        '<p><label>Why <input type="text" name="message" maxlength="500"></label></p>'
    )
    return told + form(action, "Commit", csrf, fields, inside, css="page")


def history_page(
    commits: Sequence[Commit], head: str, refs: Mapping[str, str], moves: Sequence[Move], csrf: str
) -> str:
    """All commits of head with buttons to roll back and revert, and where the refs have been."""
    names: dict[str, list[str]] = {}
    for name, commit in refs.items():
        names.setdefault(commit, []).append(name)
    rows: list[str] = []
    for commit in commits:
        buttons = "" if commit.hash == head else form("/rollback", "Roll back to here", csrf, _to(commit, head))
        if commit.parent is not None:
            buttons += form("/revert", "Revert", csrf, _to(commit, head))
        mark = f" ({escape(', '.join(names[commit.hash]))})" if commit.hash in names else ""
        rows.append(f"<tr><td>{commit_line(commit)}{mark}{receipt(commit)}</td><td>{buttons}</td></tr>")
    moved = "".join(
        f"<li>{escape(move.time[:19].replace('T', ' '))} {escape(move.ref)}: {escape(move.reason)}, "
        f"{escape(move.author)}{_before(move, head, csrf)}</li>"
        for move in reversed(moves)
    )
    return f"<table>{''.join(rows)}</table><h2>Where the branches and tags have been</h2><ul>{moved}</ul>"


def _to(commit: Commit, head: str) -> dict[str, str]:
    return {"to": commit.hash, "expected": head}


def _before(move: Move, head: str, csrf: str) -> str:
    """After a rollback of head, the way forward again."""
    if move.ref != "head" or move.before is None or move.before == head or not move.reason.startswith("rollback"):
        return ""
    return " " + form("/rollback", f"Back to {move.before[:12]}", csrf, {"to": move.before, "expected": head})


def commit_page(commit: Commit, changes: Sequence[Change]) -> str:
    notes = " ".join(link(change.id, "/note", id=change.id) for change in changes if change.after is not None)
    return (
        f"<p>{commit_line(commit)}</p><p>{notes}</p><pre>{escape(diff_text(changes) or 'changes nothing')}</pre>"
        f"{receipt(commit)}"
    )


def findings(found: Sequence[str]) -> str:
    if not found:
        return "<p>Every hash fits.</p>"
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in found) + "</ul>"


def benefit_text(value: Any) -> str:
    """A `r3v.notebook.evolve.value.Value` in words; empty while nothing was measured."""
    if value is None or not (value.shown or value.withheld):
        return ""
    counts = (
        f"{value.shown_right} of {value.shown} right when shown, {value.withheld_right} of {value.withheld} when not"
    )
    if value.benefit is None:
        return counts
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.benefit:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}); {counts}"
