"""The HTTP side of `r3v ui`: addresses to pages. It only reads, and only below its folder.

`/` the list; `/run/NAME` a run, below it `/-/live` (its curves, again and again), `/-/report` (the page it wrote, with
pictures) and `/-/diagnosis`; `/notebook/NAME/-/` a notebook; `/compare?a=NAME&b=NAME`. Names are paths relative to the
folder. Pages carry no script and no form that changes anything; a run's own `report.html` is shown in a sandbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from r3v.app.ui import pages
from r3v.app.ui.compare import compare
from r3v.app.ui.curves import curves
from r3v.app.ui.folder import Missing, Root, is_notebook, is_run
from r3v.app.ui.standing import DIAGNOSIS, EVOLVE, Standing, said, standing
from r3v.errors import R3VError
from r3v.pages.kit import POLICY
from r3v.serve.address import has_key, names_this_machine

log = logging.getLogger(__name__)
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SANDBOX = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox",
}
"""For pages that lie in the folder ready made: whatever is in them, they run and fetch nothing."""


def make_app(root: Root, key: str | None = None) -> FastAPI:
    """The application. `key`: what browsers must send, None for nobody who is not on this machine."""

    async def allowed(request: Request) -> None:
        if key is not None:
            if not has_key(request.headers.get("authorization", ""), key):
                raise HTTPException(401, "the key is missing or wrong", {"WWW-Authenticate": 'Basic realm="r3v ui"'})
        elif not names_this_machine(host := request.headers.get("host", "")):
            raise HTTPException(403, f"found Host {host[:100]!r}, expected this machine's own name such as 127.0.0.1")

    own: dict[str, Any] = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    app = FastAPI(title="r3v ui", dependencies=[Depends(allowed)], **own)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return html(pages.told_page("Not shown", str(error.detail)), error.status_code, error.headers or {})

    @app.exception_handler(Missing)
    async def missing(request: Request, error: Missing) -> Response:
        return html(pages.told_page("Not found", "There is nothing of this name in the folder."), 404)

    @app.exception_handler(R3VError)
    async def wrong(request: Request, error: R3VError) -> Response:
        return html(pages.told_page("Cannot be shown", str(error)), 422)

    @app.get("/")
    def runs() -> Response:
        return html(pages.list_page(root.path, [standing(root, path) for path in root.runs()]))

    @app.get("/compare")
    def two(a: str = "", b: str = "") -> Response:
        first, second = (whole(root, name)[1] for name in (a, b))
        names = root.name_of(first), root.name_of(second)
        return answered(lambda: html(pages.compare_page(names, compare(first, second))))

    @app.get("/run/{name:path}/-/live")
    def live(name: str) -> Response:
        found, folder = whole(root, name)
        links = {"Whole page": pages.address(found.name)}
        return answered(lambda: html(pages.run_page(found, links, curves(folder), refresh=True)))

    @app.get("/run/{name:path}/-/report")
    def report(name: str) -> Response:
        _, folder = whole(root, name)
        place = root.inside(f"{root.name_of(folder)}/report.html")
        return Response(place.read_bytes(), media_type="text/html; charset=utf-8", headers=SANDBOX)

    @app.get("/run/{name:path}/-/diagnosis")
    def diagnosis(name: str, round: int | None = None) -> Response:
        found, _ = whole(root, name)
        where = "" if round is None else f"/round_{round:02d}/diagnosis"
        place = root.inside(f"{found.name}{where}/diagnosis.json")
        nav = pages.home() + pages.link(found.name, pages.address(found.name))
        return answered(lambda: html(diagnosis_page(place, nav)))

    @app.get("/run/{name:path}")
    def run(name: str) -> Response:
        found, folder = known(root, name)
        return answered(lambda: html(run_page(root, found, folder)))

    @app.get("/notebook/{name:path}/-/{page:path}")
    def notebook(name: str, page: str, request: Request) -> Response:
        path = root.inside(name)
        if not is_notebook(path):
            raise Missing(name)
        base = f"{pages.address(root.name_of(path), 'notebook')}/-"
        return answered(lambda: notebook_answer(path, base, f"/{page}", request.query_params))

    return app


def html(text: str, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(text.encode("utf-8", "replace").decode(), status, {**HEADERS, **(more or {})})


def answered(work: Callable[[], Response]) -> Response:
    """What `work` answers; where it fails over what a file holds, a page that says so."""
    try:
        return work()
    except (R3VError, Missing, HTTPException):
        raise
    except Exception as error:
        return html(pages.told_page("Cannot be shown", told(error)), 422)


def told(error: Exception) -> str:
    """What went wrong with a run's files; the log has where."""
    log.warning("a page could not be made", exc_info=error)
    return said(error)


def known(root: Root, name: str) -> tuple[Standing, Path]:
    """A run or diagnosis of the folder. Raises Missing for what is none."""
    folder = root.inside(name)
    if not is_run(folder) and not (folder / "diagnosis.json").is_file():
        raise Missing(name)
    return standing(root, folder), folder


def whole(root: Root, name: str) -> tuple[Standing, Path]:
    """A run that may be read. Raises Missing for what is none, HTTPException for one with files that lead out."""
    found, folder = known(root, name)
    if wrong := root.look(folder).wrong:
        raise HTTPException(422, wrong)
    return found, folder


def run_page(root: Root, found: Standing, folder: Path) -> str:
    """The page of a run; of one with something wrong, what is wrong and what can be shown all the same."""
    if root.look(folder).wrong:
        return pages.run_page(found, {}, {})
    base = f"{pages.address(found.name)}/-"
    if found.kind == DIAGNOSIS:
        return diagnosis_page(folder / "diagnosis.json", pages.home())
    links = {"Curves live": f"{base}/live"} if found.alive else {}
    if (folder / "report.html").is_file():
        links["Report with pictures"] = f"{base}/report"
    for place in sorted([*folder.glob("round_*/diagnosis/diagnosis.json"), *folder.glob("round_*/*/notebook.db")]):
        number = place.parent.parent.name.removeprefix("round_")
        if number.isdecimal() and place.suffix == ".json":
            links[f"Diagnosis {int(number)}"] = f"{base}/diagnosis?round={int(number)}"
        elif number.isdecimal():
            links[f"Notebook {int(number)}"] = f"{pages.address(root.name_of(place), 'notebook')}/-/"
    live, body = {}, []
    try:
        live = curves(folder)
        body = learner_page(found.kind, folder)
    except Exception as error:
        body = [f'<p class="error">{escape(told(error))}</p>'] if not found.wrong else []
    return pages.run_page(found, links, live, body)


def learner_page(kind: str, folder: Path) -> list[str]:
    """What the learner's own page says, without its head, and without the pictures of problems: those lie where the
    settings say, which is not in the folder."""
    if not (folder / "config.yaml").exists():
        return []
    if kind == EVOLVE:
        from r3v.curriculum.spiral.page import render

        return render(folder)[1][1:] if (folder / "run.json").exists() else []
    from r3v.pages.report import render as report

    return report(folder, data=False)[1][2:]


def diagnosis_page(path: Path, nav: str) -> str:
    from r3v.curriculum.diagnosis.findings import read_diagnosis
    from r3v.curriculum.diagnosis.page import render

    return render(read_diagnosis(path), nav=nav)


def notebook_answer(path: Path, base: str, page: str, query: Mapping[str, str]) -> Response:
    """A page or a picture of a notebook, which is opened to be read alone."""
    from r3v.notebook.page.actions import READ, Site
    from r3v.notebook.page.pages import page as whole_page
    from r3v.notebook.store.store import Notebook

    with Notebook.open(path, read_only=True, wait=2.0) as notebook:
        site = Site(notebook, "", "", base)
        if page == "/blob":
            data, kind = site.picture(query)
            return Response(data, media_type=kind, headers=HEADERS)
        if page not in READ:
            raise Missing(page)
        found = READ[page](site, query)
        nav = pages.home() + site.where.nav()
    return html(whole_page(found.title, found.body, path.name, nav), found.status)
