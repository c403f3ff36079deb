"""What the pages of `r3v notebook ui` show and do, apart from HTTP: fields in, a page or a redirect out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from r3v.errors import DataError, R3VError, RunError
from r3v.notebook.evolve.value import Value, values
from r3v.notebook.exchange import people
from r3v.notebook.exchange.editing import TEMPLATE, from_markdown, to_markdown
from r3v.notebook.page import pages as ui_pages
from r3v.notebook.page.judged import verdicts
from r3v.notebook.page.pages import Where
from r3v.notebook.store import changes
from r3v.notebook.store.note import Note, State
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    body: str
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Redirect:
    to: str


@dataclass(frozen=True, slots=True)
class Site:
    """One notebook, the person at the page, and the secret that its forms carry, empty where nothing can be changed."""

    notebook: Notebook
    author: str
    csrf: str
    base: str = ""
    """Below which address the pages are served."""

    @property
    def where(self) -> Where:
        return Where(self.base, self.csrf)

    def picture(self, query: Fields) -> tuple[bytes, str]:
        """Bytes and media type of a picture. Raises DataError for a blob that is none: nothing else is served."""
        data = self.notebook.blob(query.get("sha", ""))
        kind = next((kind for magic, kind in PICTURES if data.startswith(magic)), None)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            kind = "image/webp"
        if kind is None:
            raise DataError("the blob is no picture", row=query.get("sha"))
        return data, kind

    def benefits(self, notes: Mapping[str, Note]) -> dict[str, Value]:
        return values(notes, (event.data for event in self.notebook.events("retrieved")))


def _need(fields: Fields, name: str) -> str:
    if not fields.get(name):
        raise DataError("the field is missing", field=name)
    return fields[name]


def _show(note: str) -> Redirect:
    return Redirect(f"/note?{urlencode({'id': note})}")


# ---- pages


def notes(site: Site, query: Fields) -> Page:
    found = site.notebook.notes(retired=True)
    judged, counts = verdicts(site.notebook, found), site.notebook.event_counts()
    search, order = query.get("q", ""), query.get("sort", "name")
    body = ui_pages.note_list(site.where, found, counts, judged, site.benefits(found), search, order)
    return Page("Notes", body)


def note(site: Site, query: Fields) -> Page:
    found = people.find(site.notebook, _need(query, "id"))
    history = changes.note_log(site.notebook, found.id)
    counts = site.notebook.event_counts().get(found.id, {})
    judged = verdicts(site.notebook, {found.id: found}).get(found.id)
    value = site.benefits({found.id: found})[found.id]
    return Page(found.id, ui_pages.note_page(site.where, found, history, counts, judged, value))


def log(site: Site, query: Fields) -> Page:
    nb = site.notebook
    return Page("History", ui_pages.history_page(site.where, nb.log(), nb.head(), nb.refs(), nb.moves()))


def commit(site: Site, query: Fields) -> Page:
    found = site.notebook.get_commit(site.notebook.resolve(_need(query, "id")))
    changed = [] if found.parent is None else changes.diff(site.notebook, found.parent, found.hash)
    return Page(f"Change {found.hash[:7]}", ui_pages.commit_page(site.where, found, changed))


def edit_page(site: Site, query: Fields) -> Page:
    found = people.find(site.notebook, _need(query, "id"))
    given = {"id": found.id, "base": found.revision}
    return Page(f"Edit {found.id}", ui_pages.edit_form(site.where, "/edit", to_markdown(found), given))


def add_page(site: Site, query: Fields) -> Page:
    text = TEMPLATE.format(id=f"note-{uuid.uuid4().hex[:8]}")
    return Page("New note", ui_pages.edit_form(site.where, "/add", text, {}))


def verify_page(site: Site, query: Fields) -> Page:
    return Page("Verify", ui_pages.findings(verify(site.notebook)))


# ---- changes


def _typed(fields: Fields) -> Note:
    return from_markdown(_need(fields, "text"), file="the page")


def edit(site: Site, fields: Fields) -> Page | Redirect:
    name = _need(fields, "id")
    before = site.notebook.revision(_need(fields, "base"))
    try:
        people.edit(
            site.notebook, before, _typed(fields), author=site.author, message=fields.get("message", "").strip() or None
        )
    except R3VError as error:  # what was typed stays in the box
        given = {"id": name, "base": before.revision}
        body = ui_pages.edit_form(site.where, "/edit", fields.get("text", ""), given, str(error))
        return Page(f"Edit {name}", body, _status(error))
    return _show(name)


def add(site: Site, fields: Fields) -> Page | Redirect:
    try:
        new = _typed(fields)
        people.add(site.notebook, new, author=site.author, message=fields.get("message", "").strip() or None)
    except R3VError as error:
        body = ui_pages.edit_form(site.where, "/add", fields.get("text", ""), {}, str(error))
        return Page("New note", body, _status(error))
    return _show(new.id)


def _status(error: R3VError) -> HTTPStatus:
    return HTTPStatus.CONFLICT if isinstance(error, RunError) else HTTPStatus.BAD_REQUEST


def _set_state(site: Site, fields: Fields, state: State) -> Redirect:
    name = _need(fields, "id")
    with site.notebook.transaction():
        if people.find(site.notebook, name).revision != _need(fields, "base"):
            raise RunError(f"note {name!r} was changed meanwhile; look at it again")
        people.set_state(site.notebook, [name], state, author=site.author)
    return _show(name)


def retire(site: Site, fields: Fields) -> Redirect:
    return _set_state(site, fields, "retired")


def restore(site: Site, fields: Fields) -> Redirect:
    return _set_state(site, fields, "active")


def rollback(site: Site, fields: Fields) -> Redirect:
    site.notebook.rollback(_need(fields, "to"), author=site.author, expected=_need(fields, "expected"))
    return Redirect("/log")


def revert(site: Site, fields: Fields) -> Redirect:
    with site.notebook.transaction():
        if site.notebook.head() != _need(fields, "expected"):
            raise RunError("somebody committed meanwhile; look at the history again")
        changes.revert(site.notebook, _need(fields, "to"), author=site.author)
    return Redirect("/log")


READ: dict[str, Callable[[Site, Fields], Page]] = {"/": notes, "/note": note, "/log": log, "/commit": commit}
"""Pages that need nobody who changes something."""
GET: dict[str, Callable[[Site, Fields], Page]] = {
    **READ,
    "/edit": edit_page,
    "/add": add_page,
    "/verify": verify_page,
}
POST: dict[str, Callable[[Site, Fields], Page | Redirect]] = {
    "/edit": edit,
    "/add": add,
    "/retire": retire,
    "/restore": restore,
    "/rollback": rollback,
    "/revert": revert,
}
