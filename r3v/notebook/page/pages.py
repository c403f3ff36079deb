"""The pages of a notebook: plain HTML without scripts, in the style of all pages. Every word of a note is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

from r3v.notebook.evolve.value import Value
from r3v.notebook.exchange.editing import SECTIONS
from r3v.notebook.page.judged import Judged
from r3v.notebook.store.changes import Change, diff_text
from r3v.notebook.store.note import Note
from r3v.notebook.store.reading import Commit, Move
from r3v.pages import kit
from r3v.pages.kit import Cell, card, details, link, points, table

ORDERS = {"name": "by name", "gate": "best at the gate first", "shown": "most often found first",
          "benefit": "largest benefit first"}  # fmt: skip
"""How the list of notes can be sorted."""
HASHES = ("source_hashes: ", "prompt_hash: ")
"""Fields of a note that say nothing to a reader."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where the pages are served: below which address, and the secret of the forms, empty where nothing can be
    changed."""

    base: str = ""
    csrf: str = ""

    def to(self, path: str, **query: str) -> str:
        return self.base + path + ("?" + urlencode(query) if query else "")

    def form(self, action: str, button: str, fields: Mapping[str, str], inside: str = "", css: str = "inline") -> str:
        """A POST form; `fields` are hidden ones."""
        hidden = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in {"csrf": self.csrf, **fields}.items()
        )
        to = escape(self.to(action), quote=True)
        return (
            f'<form method="post" action="{to}" class="{css}">{hidden}{inside}<button>{escape(button)}</button></form>'
        )

    def nav(self) -> str:
        """Links to the pages of the notebook."""
        pages = {"/": "Notes", "/log": "History"}
        if self.csrf:
            pages |= {"/add": "New note", "/verify": "Verify"}
        return "".join(link(name, self.to(path)) for path, name in pages.items())


def page(title: str, body: str, name: str, nav: str) -> str:
    """A whole page; `name` is the notebook's file name."""
    head = f'<h1>{escape(title)}</h1><p class="soft">{escape(name)}</p>'
    return kit.page(f"{title} - {name}", [head, body], nav=nav)


# ---- the list


def note_list(
    where: Where,
    notes: Mapping[str, Note],
    counts: Mapping[str, Mapping[str, int]],
    judged: Mapping[str, Judged],
    values: Mapping[str, Value],
    search: str = "",
    order: str = "name",
) -> str:
    """The notes that hold every word of `search`, in one of `ORDERS`; what the gate and later use say of each."""
    if not notes:
        return "<p>No notes yet.</p>"
    words = search.casefold().split()
    found = [name for name, note in notes.items() if all(w in _searched(note) for w in words)]
    keys: dict[str, Any] = {
        "gate": lambda n: judged[n].effect if n in judged else None,
        "shown": lambda n: counts.get(n, {}).get("retrieved", 0),
        "benefit": lambda n: values[n].benefit if n in values else None,
    }
    if order in keys:
        found.sort(key=lambda n: -9.0 if keys[order](n) is None else keys[order](n), reverse=True)
    rows = [
        [
            Cell(name, f"{notes[name].subject}{' (retired)' if notes[name].state == 'retired' else ''}",
                 link=where.to("/note", id=name)),
            _gate_cell(judged.get(name)),
            str(counts.get(name, {}).get("retrieved", 0)),
            _benefit_cell(values.get(name)),
        ]
        for name in found
    ]  # fmt: skip
    told = f"{len(found)} of {kit.count(len(notes), 'note')}"
    drawn = table(told, ["note", "at the gate", "times found", "benefit since"], rows, css="stack")
    return _finder(where, search, order) + (card(drawn) if rows else "<p>No note holds these words.</p>")


def _searched(note: Note) -> str:
    return f"{note.id} {note.subject} {note.guidance}".casefold()


def _finder(where: Where, search: str, order: str) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if value == order else ""}>{escape(told)}</option>'
        for value, told in ORDERS.items()
    )
    return (
        f'<form method="get" action="{escape(where.to("/"), quote=True)}" class="bar">'
        f'<label>Words <input type="search" name="q" value="{escape(search, quote=True)}"></label>'
        f'<label>Order <select name="sort">{options}</select></label><button>Show</button></form>'
    )


def _gate_cell(judged: Judged | None) -> Cell:
    if judged is None:
        return Cell("not judged", "written by hand")
    since = "; changed by hand since" if judged.changed else ""
    effect = "" if judged.effect is None else _points(judged.effect, judged.low, judged.high)
    return Cell(judged.counts or judged.reason, f"{effect}{since}".removeprefix("; "), tip=judged.reason)


def _benefit_cell(value: Value | None) -> Cell:
    if value is None or not (value.shown or value.withheld):
        return Cell("")
    counts = _counts(value)
    if value.benefit is None:
        return Cell("not measured", counts)
    css = "good" if value.low > 0 else "bad" if value.high < 0 else ""
    return Cell(_points(value.benefit, value.low, value.high), counts, css)


def _points(value: float, low: float, high: float) -> str:
    return f"{points(100 * value)} points (95 % interval {points(100 * low)} to {points(100 * high)})"


def _counts(value: Value) -> str:
    shown = f"{value.shown_right} of {value.shown} right when shown"
    if not value.withheld:
        return f"{shown}, never withheld to compare"
    return f"{shown}, {value.withheld_right} of {value.withheld} when not"


def benefit_text(value: Value | None) -> str:
    """What the note has been worth since, in words."""
    cell = _benefit_cell(value)
    return f"{cell.text}; {cell.small}" if cell.text else "not measured yet"


# ---- one note


def note_page(
    where: Where,
    note: Note,
    history: Sequence[tuple[Commit, Change]],
    counts: Mapping[str, int],
    judged: Judged | None,
    value: Value | None,
) -> str:
    """A note with images, sources, verdict, benefit and history; the receipts of its commits unfold."""
    parts = [f"<p><b>{escape(note.subject)}</b>{' (retired)' if note.state == 'retired' else ''}</p>"]
    for name, title in SECTIONS.items():
        if getattr(note, name):
            parts.append(f'<h2>{title}</h2><div class="free">{escape(getattr(note, name))}</div>')
    for number, sha in enumerate(note.images, 1):
        source = escape(where.to("/blob", sha=sha), quote=True)
        parts.append(f'<p><img class="shown" src="{source}" alt="image {number} of the note"></p>')
    if where.csrf:
        verb, button = ("restore", "Restore") if note.state == "retired" else ("retire", "Retire")
        given = {"id": note.id, "base": note.revision}
        edit = link("Edit", where.to("/edit", id=note.id))
        parts.append(f"<div>{edit} {where.form(f'/{verb}', button, given)}</div>")
    gate = _gate_cell(judged)
    parts.append(f'<h2>At the gate</h2><p>{escape(gate.text)}<br><span class="soft">{escape(gate.small)}</span></p>')
    if judged is not None and judged.reason and judged.counts:
        parts.append(f'<p class="soft">{escape(judged.reason)}</p>')
    parts.append(f"<h2>Benefit since</h2><p>{escape(benefit_text(value))}</p>")
    told = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    parts.append(f'<p class="soft">Events: {escape(told or "none")}</p>')
    sources = "".join(f"<li>{escape(source)}</li>" for source in note.sources)
    parts.append(f"<h2>Sources</h2>{f'<ul>{sources}</ul>' if sources else '<p>None.</p>'}")
    author = f"Written by {note.author}. " if note.author else ""
    parts.append(f'<p class="soft">{escape(author)}Revision {note.revision[:12]}.</p><h2>History</h2>')
    for commit, change in history:
        changed = difference([change])
        parts.append(card(f"<p>{commit_line(where, commit)}</p>{changed}{receipt(commit)}"))
    return "".join(parts)


def difference(changes: Sequence[Change]) -> str:
    """What changed, line by line; hashes are counted and not shown."""
    lines = diff_text(changes).splitlines()
    shown = [line for line in lines if not line[1:].startswith(HASHES)]
    left = len(lines) - len(shown)
    told = f'<p class="soft">and {kit.count(left, "hash", "hashes")}</p>' if left else ""
    text = "\n".join(shown) or "changes nothing"
    return f"<pre>{escape(text)}</pre>{told}"


def commit_line(where: Where, commit: Commit) -> str:
    """A commit in two lines of HTML: what it did, linked, and who, when, and the start of its hash."""
    said = link(commit.message or commit.hash[:7], where.to("/commit", id=commit.hash))
    return f'{said}<br><small class="soft">{escape(_signed(commit))}</small>'


def _signed(commit: Commit) -> str:
    return f"{commit.author}, {commit.time[:16].replace('T', ' ')}, {commit.hash[:7]}"


def receipt(commit: Commit) -> str:
    if commit.receipt is None:
        return ""
    return details("Receipt", f"<pre>{escape(json.dumps(commit.receipt, indent=2, ensure_ascii=False))}</pre>")


def edit_form(where: Where, action: str, text: str, fields: Mapping[str, str], error: str = "") -> str:
    """The Markdown page of a note in a text box, with what was wrong with it."""
    told = f'<p class="error">{escape(error)}</p>' if error else ""
    inside = (
        f'<p><label>The note<br><textarea name="text" spellcheck="true">\n{escape(text)}</textarea></label></p>'
        '<p><label>Why <input type="text" name="message" maxlength="500"></label></p>'
    )
    return told + where.form(action, "Commit", fields, inside, css="whole")


# ---- history


def history_page(
    where: Where, commits: Sequence[Commit], head: str, refs: Mapping[str, str], moves: Sequence[Move]
) -> str:
    """All commits of head with buttons to roll back and revert, and where the refs have been."""
    names: dict[str, list[str]] = {}
    for name, commit in refs.items():
        names.setdefault(commit, []).append(name)
    rows: list[list[str | Cell]] = []
    for commit in commits:
        mark = f"; {', '.join(names[commit.hash])}" if commit.hash in names else ""
        said = Cell(
            commit.message or commit.hash[:7], f"{_signed(commit)}{mark}", link=where.to("/commit", id=commit.hash)
        )
        gate = _gate_cell(Judged.of(commit.receipt)) if commit.receipt is not None else Cell()
        rows.append([said, gate, *([Cell(html=_buttons(where, commit, head))] if where.csrf else [])])
    head_row = ["change", "at the gate", *([""] if where.csrf else [])]
    moved = "".join(
        f"<li>{escape(move.time[:16].replace('T', ' '))} {escape(move.ref)}: {escape(move.reason)}, "
        f"{escape(move.author)}{_before(where, move, head)}</li>"
        for move in reversed(moves)
    )
    drawn = card(table(kit.count(len(commits), "change"), head_row, rows, css="stack"))
    return f"{drawn}<h2>Where the branches and tags have been</h2><ul>{moved}</ul>"


def _buttons(where: Where, commit: Commit, head: str) -> str:
    given = {"to": commit.hash, "expected": head}
    back = "" if commit.hash == head else where.form("/rollback", "Roll back to here", given)
    return back if commit.parent is None else back + where.form("/revert", "Revert", given)


def _before(where: Where, move: Move, head: str) -> str:
    """After a rollback of head, the way forward again."""
    if not where.csrf or move.ref != "head" or move.before is None or move.before == head:
        return ""
    if not move.reason.startswith("rollback"):
        return ""
    return " " + where.form("/rollback", f"Back to {move.before[:7]}", {"to": move.before, "expected": head})


def commit_page(where: Where, commit: Commit, changes: Sequence[Change]) -> str:
    notes = " ".join(link(c.id, where.to("/note", id=c.id)) for c in changes if c.after is not None)
    gate = _gate_cell(Judged.of(commit.receipt)) if commit.receipt is not None else Cell()
    verdict = f"<p>{escape(gate.text)}: {escape(gate.small)}</p>" if gate.text else ""
    return f"<p>{commit_line(where, commit)}</p><p>{notes}</p>{verdict}{difference(changes)}{receipt(commit)}"


def findings(found: Sequence[str]) -> str:
    if not found:
        return "<p>Every hash fits.</p>"
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in found) + "</ul>"
