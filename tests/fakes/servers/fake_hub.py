"""A stand-in of the hub's HTTP interface on loopback: as much as the real client needs to make a repository, commit
files by both ways (inline and git-lfs), and download them again. It keeps what is sent and checks every hash."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr([self.commits, sorted(self.files)]).encode()).hexdigest()


@dataclass
class Hub:
    """The state behind the server. `token` may write below `owner`."""

    token: str = "hf_right"
    owner: str = "ada"
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    full: bool = False
    """Takes no large files any more."""
    asked: list[str] = field(default_factory=list)
    """METHOD and path of every request, in order."""


class Answer(Exception):
    """Ends a request: status, JSON or bytes, headers."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers


@contextlib.contextmanager
def fake_hub(**state: Any) -> Iterator[Hub]:
    hub = Hub(**state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def handle_one(self) -> None:
        data, path = self.body(), unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        try:
            self.route(path, data)
            raise Answer(404, {"error": f"no {path}"})
        except Answer as answer:
            self.reply(answer)

    def body(self) -> bytes:
        """What was sent, by length or in chunks."""
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one

    def reply(self, answer: Answer) -> None:
        known = isinstance(answer.body, bytes)
        body = answer.body if known else json.dumps(answer.body if answer.body is not None else {}).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/octet-stream" if known else "application/json", **answer.headers}
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def route(self, path: str, data: bytes) -> None:
        if path == "/api/repos/create":
            self.create(json.loads(data))
        if path == "/api/validate-yaml":
            self.validate(json.loads(data)["content"])
        if found := re.fullmatch(r"/stored/(\w+)", path):
            self.store(found[1], data)
        if path == "/verify":
            said = json.loads(data)
            right = len(self.hub.stored.get(said["oid"], b"")) == said["size"]
            raise Answer(200 if right else 422)
        if found := re.fullmatch(r"/(.+?/.+?)\.git/info/lfs/objects/batch", path):
            self.batch(found[1], json.loads(data))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(preupload|commit|revision|tree)/([^/]+))?", path):
            self.model(found[1], found[2], data)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self.resolve(found[1], found[2])

    # ---- who may do what -------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {self.hub.token}"

    def may_write(self, owner: str) -> None:
        if not self.known:
            raise Answer(401, {"error": "Invalid username or password."})
        if owner != self.hub.owner:
            raise Answer(403, {"error": f"You don't have the rights to create a model under {owner}"})

    def repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.known):
            raise Answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        return found

    # ---- writing ---------------------------------------------------------------------------------

    def create(self, said: dict[str, Any]) -> None:
        owner = said.get("organization") or self.hub.owner
        self.may_write(owner)
        name = f"{owner}/{said['name']}"
        if name in self.hub.repositories:
            raise Answer(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        self.hub.repositories[name] = Repository(bool(said.get("private")) or said.get("visibility") == "private")
        raise Answer(200, {"url": f"{self.hub.url}/{name}"})

    def validate(self, content: str) -> None:
        try:
            told = yaml.safe_load(content.split("---")[1])
            assert isinstance(told, dict)
        except Exception as error:
            raise Answer(400, {"errors": [{"message": str(error)}], "warnings": []}) from None
        raise Answer(200, {"errors": [], "warnings": []})

    def batch(self, name: str, said: dict[str, Any]) -> None:
        self.may_write(name.partition("/")[0])
        objects = [
            {
                **one,
                "actions": {
                    "upload": {"href": f"{self.hub.url}/stored/{one['oid']}", "header": {}},
                    "verify": {"href": f"{self.hub.url}/verify", "header": {}},
                },
            }
            for one in said["objects"]
        ]
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def store(self, oid: str, data: bytes) -> None:
        if self.hub.full:
            raise Answer(413, {"error": "no room for it"})
        if hashlib.sha256(data).hexdigest() != oid:
            raise Answer(422, {"error": "other bytes than were announced"})
        self.hub.stored[oid] = data
        raise Answer(200)

    def commit(self, repository: Repository, data: bytes, name: str) -> None:
        for line in data.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                repository.commits.append(value["summary"])
            elif entry["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                raise Answer(400, {"error": f"unknown entry {entry['key']}"})
        url = f"{self.hub.url}/{name}/commit/{repository.sha}"
        raise Answer(200, {"commitUrl": url, "commitOid": repository.sha, "hookOutput": ""})

    # ---- reading and the rest of /api/models -----------------------------------------------------

    def model(self, name: str, what: str | None, data: bytes) -> None:
        repository = self.repository(name)
        if what in ("preupload", "commit"):
            self.may_write(name.partition("/")[0])
        if what == "commit":
            self.commit(repository, data, name)
        if what == "preupload":
            files = [
                {
                    "path": one["path"], "shouldIgnore": False,
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                }
                for one in json.loads(data)["files"]
            ]  # fmt: skip
            raise Answer(200, {"files": files})
        if what == "tree":
            rows = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in repository.files.items()
            ]
            raise Answer(200, rows)
        siblings = [{"rfilename": path} for path in sorted(repository.files)]
        told = {"_id": "1", "id": name, "modelId": name, "sha": repository.sha, "private": repository.private}
        raise Answer(200, {**told, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})

    def resolve(self, name: str, path: str) -> None:
        repository = self.repository(name)
        if path not in repository.files:
            raise Answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=repository.sha)
        content = repository.files[path]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        raise Answer(200, content, ETag=etag, X_Repo_Commit=repository.sha)
