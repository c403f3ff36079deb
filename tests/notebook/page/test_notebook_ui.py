"""The page of a notebook over real HTTP on loopback."""

from __future__ import annotations

import base64
import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from r3v.errors import ConfigError, RunError
from r3v.notebook.page.server import MAX_BODY, Server, is_loopback
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.notebook.store.verify import verify

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
EVIL = "<script>alert('&')</script>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "my.notebook"
    with Notebook.open(file, create=True) as nb:
        note = Note(id="bars", subject=EVIL, guidance="Read the axis.", sources=("p1",), images=(nb.put_blob(PNG),))
        nb.commit([note], message="first", author="gate", receipt={"wins": 12, "losses": 3})
        shown = {"note": "bars", "revision": note.revision}
        nb.record_many([("retrieved", {**shown, "withheld": False, "outcome": "correct"})] * 3)
        nb.record_many([("retrieved", {**shown, "withheld": True, "outcome": "wrong"})] * 2)
    return file


class Client:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.headers = {"Host": f"127.0.0.1:{server.server_port}"}

    def send(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        try:
            sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("latin-1"), dict(answer.getheaders())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        status, text, _ = self.send("GET", path, **headers)
        return status, text

    def submit(self, page: str, action: str, **typed: str) -> tuple[int, str, dict[str, str]]:
        """Fill in the form with this action, hidden fields as the page has them, and send it."""
        status, text = self.get(page)
        assert status == 200
        form = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', text, re.DOTALL)
        assert form, f"{page} has no form for {action}"
        hidden = re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', form[0])
        fields = {unescape(name): unescape(value) for name, value in hidden} | typed
        return self.send("POST", action, urlencode(fields))


@contextmanager
def served(path: Path, host: str = "127.0.0.1", token: str | None = None) -> Iterator[Client]:
    server = Server(path, host, token=token, author="ann")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Client(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_note_is_shown_with_all_that_is_known_of_it(path: Path) -> None:
    with served(path) as client:
        status, text = client.get("/")
        assert status == 200
        assert "/note?id=bars" in text
        assert "3 of 3 right when shown, 0 of 2 when not" in text
        status, text, headers = client.send("GET", "/note?id=bars")
        assert status == 200
        assert EVIL not in text
        assert "&lt;script&gt;" in text
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        for part in ("Read the axis.", "<li>p1</li>", "+100.0 points", "retrieved 5", "first", "&quot;wins&quot;: 12"):
            assert part in text
        sha = re.search(r'src="/blob\?sha=([0-9a-f]{64})"', text)
        assert sha
        status, picture, headers = client.send("GET", f"/blob?sha={sha[1]}")
        assert picture.encode("latin-1") == PNG
        assert headers["Content-Type"] == "image/png"
        assert "every hash fits" in client.get("/verify")[1].lower()


def test_the_list_tells_the_verdict_of_the_gate_and_can_be_searched_and_sorted(tmp_path: Path) -> None:
    """`sums` won 5 and lost 1 of 8 problems, `bars` was never judged, `turns` was changed by hand after its verdict."""
    file = tmp_path / "n.notebook"
    won = {"accepted": True, "reason": "better", "wins": 5, "losses": 1, "items": list("abcdefgh")}
    won |= {"effect": 0.5, "ci95": [0.1, 0.9]}
    with Notebook.open(file, create=True) as nb:
        nb.commit([Note(id="sums", subject="angle sums", guidance="180")], message="m", author="g", receipt=won)
        turns = Note(id="turns", subject="turning", guidance="clockwise")
        nb.commit([turns], message="m", author="g", receipt=won | {"wins": 2, "losses": 0, "effect": 0.25})
        nb.commit([replace(turns, guidance="left", parents=(turns.revision,))], message="m", author="ann")
        nb.commit([Note(id="bars", subject="axes", guidance="read the axis")], message="by hand", author="ann")
        shown = {"note": "sums", "revision": nb.notes()["sums"].revision, "withheld": False, "outcome": "wrong"}
        nb.record_many([("retrieved", shown)] * 14)
    with served(file) as client:
        text = client.get("/")[1]
        assert "5 won, 1 lost of 8 problems<small>+50.0 points (95 % interval +10.0 to +90.0)</small>" in text
        assert "2 won, 0 lost of 8 problems" in text
        assert text.count("changed by hand since") == 1
        assert text.count("not judged") == 1
        assert "0 of 14 right when shown, never withheld to compare" in text
        assert re.findall(r'id=(\w+)">', text) == ["bars", "sums", "turns"]
        assert re.findall(r'id=(\w+)">', client.get("/?sort=gate")[1]) == ["sums", "turns", "bars"]
        assert re.findall(r'id=(\w+)">', client.get("/?sort=shown")[1])[0] == "sums"
        assert re.findall(r'id=(\w+)">', client.get("/?q=AXIS+read")[1]) == ["bars"]
        assert "No note holds these words" in client.get("/?q=zebra")[1]
        assert 'value="&quot;&gt;&lt;b&gt;"' in client.get("/?q=%22%3E%3Cb%3E")[1]


def test_hashes_do_not_fill_the_history(tmp_path: Path) -> None:
    file = tmp_path / "n.notebook"
    hashes = tuple(f"text:{n:064x}" for n in range(12))
    with Notebook.open(file, create=True) as nb:
        nb.commit([Note(id="n", subject="s", guidance="g", source_hashes=hashes)], message="m", author="a")
        head = nb.head()
    with served(file) as client:
        for place in ("/note?id=n", f"/commit?id={head}"):
            text = client.get(place)[1]
            assert "+guidance: g" in text
            assert "and 12 hashes" in text
            assert "text:000" not in text


def test_a_notebook_opened_to_be_read_cannot_be_changed(path: Path) -> None:
    with Notebook.open(path, read_only=True) as nb:
        assert list(nb.notes()) == ["bars"]
        with pytest.raises(RunError, match="readonly"):
            nb.commit([Note(id="x", subject="s", guidance="g")], message="m", author="a")


def test_clicking_through_edit_retire_rollback_revert(path: Path) -> None:
    with served(path) as client, Notebook.open(path) as nb:
        page = client.get("/edit?id=bars")[1]
        typed = unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1])  # type: ignore[index]
        status, _, headers = client.submit(
            "/edit?id=bars", "/edit", text=typed.replace("axis", "légende").replace("\n", "\r\n"), message="clearer"
        )
        assert (status, headers["Location"]) == (303, "/note?id=bars")
        commit = nb.log()[0]
        assert (commit.author, commit.message) == ("ann", "clearer")
        assert nb.notes()["bars"].guidance == "Read the l\u00e9gende."
        assert nb.notes()["bars"].images
        assert [e.data["author"] for e in nb.events("edited")] == ["ann"]

        assert client.submit("/note?id=bars", "/retire")[0] == 303
        assert nb.notes() == {}
        assert client.submit("/note?id=bars", "/restore")[0] == 303
        assert list(nb.notes()) == ["bars"]

        new = "---\nid: circles\n---\n# Circles\n\n## Guidance\n\nUse pi.\n"
        assert client.submit("/add", "/add", text=new)[2]["Location"] == "/note?id=circles"
        tip = nb.head()
        assert client.submit("/log", "/revert")[0] == 303
        assert list(nb.notes()) == ["bars"]
        first = nb.log()[-2].hash
        assert client.submit("/log", "/rollback", to=first)[0] == 303
        assert nb.head() == first
        assert client.submit("/log", "/rollback", to=tip)[0] == 303
        assert list(nb.notes()) == ["bars", "circles"]
        assert f"/commit?id={tip}" in client.get("/log")[1]
        assert "+guidance: Use pi." in client.get(f"/commit?id={tip}")[1]
        assert verify(nb) == []


def test_what_was_typed_stays_in_the_box_when_it_does_not_fit(path: Path) -> None:
    with served(path) as client, Notebook.open(path) as nb:
        head = nb.head()
        status, text, _ = client.submit("/edit?id=bars", "/edit", text="---\nid: bars\n---\n# My </textarea> words\n")
        assert status == 400
        assert "missing guidance" in text
        assert "# My &lt;/textarea&gt; words" in text
        assert client.submit("/add", "/add", text="---\nid: bars\n---\n# B\n\n## Guidance\n\nx\n")[0] == 400
        assert (
            client.submit(
                "/add", "/add", text="---\nid: z\n---\n# B\n\n## Guidance\n\nx\n\n## Images\n\n![](/etc/hosts)"
            )[0]
            == 400
        )
        assert nb.head() == head


def test_stale_pages_change_nothing(path: Path) -> None:
    with served(path) as client, Notebook.open(path) as nb:
        old = nb.notes()["bars"]
        head = nb.commit([replace(old, guidance="theirs")], message="m", author="bob")
        page = "---\nid: bars\n---\n# S\n\n## Guidance\n\nmine\n"
        status, text, _ = client.submit("/edit?id=bars", "/edit", text=page, base=old.revision)
        assert status == 409
        assert "mine" in text
        assert client.submit("/note?id=bars", "/retire", base=old.revision)[0] == 409
        stale = nb.get_commit(head).parent or ""
        assert client.submit("/log", "/rollback", expected=stale, to=stale)[0] == 409
        assert client.submit("/log", "/revert", expected=stale)[0] == 409
        assert nb.head() == head


@pytest.mark.parametrize("action", ["/edit", "/add", "/retire", "/restore", "/rollback", "/revert"])
def test_a_change_needs_the_secret_of_the_form(path: Path, action: str) -> None:
    with served(path) as client, Notebook.open(path) as nb:
        head, note = nb.head(), nb.notes()["bars"]
        fields = {"id": "bars", "base": note.revision, "to": nb.log()[-1].hash, "expected": head}
        fields["text"] = "---\nid: bars\n---\n# S\n\n## Guidance\n\nmine\n"
        for csrf in ({}, {"csrf": ""}, {"csrf": "é"}, {"csrf": "guess"}):
            assert client.send("POST", action, urlencode({**fields, **csrf}))[0] == 403
        assert client.send("GET", f"{action}?{urlencode(fields)}")[0] in (200, 404), "reading changes nothing"
        good = urlencode({**fields, "csrf": client.server.site.csrf})
        assert client.send("POST", action, good, Origin="http://evil.example")[0] == 403
        assert client.send("POST", action, good, Host="evil.example")[0] == 403
        assert nb.head() == head


def test_a_foreign_host_name_sees_nothing(path: Path) -> None:
    with served(path) as client:
        assert client.get("/", Host="evil.example")[0] == 403
        assert client.get("/", Host=f"localhost:{client.server.server_port}")[0] == 200


@pytest.mark.parametrize(
    ("method", "where", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/note?id=bar", None, 409),
        ("GET", "/note", None, 400),
        ("GET", "/commit?id=zz", None, 409),
        ("GET", "/blob?sha=" + "0" * 64, None, 400),
        ("GET", "/../../etc/passwd", None, 404),
        ("POST", "/edit", "é", 400),
        ("POST", "/edit", "a" * (16 * MAX_BODY), 413),
        ("PUT", "/edit", "x", 501),
    ],
)
def test_bad_requests_get_an_answer(path: Path, method: str, where: str, body: str | None, status: int) -> None:
    with served(path) as client:
        assert client.send(method, where, body and body)[0] == status
        assert client.get("/")[0] == 200, "and the server goes on"


def test_only_pictures_are_served_as_blobs(path: Path) -> None:
    with Notebook.open(path) as nb:
        sha = nb.put_blob(b"<html><script>1</script>")
    with served(path) as client:
        assert client.get(f"/blob?sha={sha}")[0] == 400


def test_a_token_opens_the_page_once_and_then_the_cookie_does(path: Path) -> None:
    with served(path, token="s3cret/+") as client:
        assert client.server.url.endswith("/?token=s3cret/%2B")
        assert client.get("/")[0] == 401
        assert client.get("/?token=wrong")[0] == 401
        assert client.get("/", Cookie="r3v_notebook=wrong")[0] == 401
        status, _, headers = client.send("GET", f"/note?id=bars&token={quote('s3cret/+', safe='')}")
        assert (status, headers["Location"]) == (303, "/note?id=bars")
        assert "HttpOnly" in headers["Set-Cookie"]
        assert client.get("/", Cookie=headers["Set-Cookie"].split(";")[0])[0] == 200


def test_other_addresses_always_have_a_token(path: Path) -> None:
    with served(path, host="0.0.0.0") as client:
        assert client.server.token
        assert client.get("/")[0] == 401
        assert client.get("/log")[0] == 401
    with served(path) as client:
        assert client.server.token is None
    assert [is_loopback(h) for h in ("127.0.0.5", "::1", "localhost", "0.0.0.0", "example.org")] == [True] * 3 + [
        False
    ] * 2


def test_what_cannot_be_served_is_told(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such notebook"):
        Server(tmp_path / "none")
    with served(path) as client, pytest.raises(ConfigError, match="cannot listen"):
        Server(path, port=client.server.server_port)
    with pytest.raises(ConfigError, match="empty token"):
        Server(path, token="")
