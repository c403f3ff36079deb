"""A small OpenAI-compatible server that plays every agent, as a process that can be killed.

    python agents_server.py PORT LOG [ANSWERS]

LOG gets `ready`, then `chat` or `edit` for every answer given; after ANSWERS answers it hangs, so that a kill always
hits a request in flight. Answers follow from what is asked alone. Writer and checker read a number off the bytes of
the picture, so they agree only where both were sent the same one; every third picture the checker reads differently.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def number(url: str) -> int:
    return int.from_bytes(hashlib.sha256(url.encode()).digest()[:6], "big")


def say(body: dict[str, Any]) -> str:
    """What the role that is asked replies."""
    content = body["messages"][0]["content"]
    pictures = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    text = content[-1]["text"]
    assert pictures
    assert all(p.startswith("data:image/png;base64,") for p in pictures)
    if text.startswith("Here is an example"):
        edit = ("none", "noise", "endpoint")[number(text) % 3]
        queries = re.findall(r"[a-z]{4,}", text)[:2]
        plan = {"skill": "read", "kind": "number", "summary": "read a number", "queries": queries, "edit": edit}
        return json.dumps({**plan, "instruction": "draw a frame"})
    if text.startswith("Choose the picture"):
        return json.dumps({"picture": 1 + number(pictures[0]) % len(pictures), "reason": "sharp"})
    read = number(pictures[0]) % 90
    if text.startswith("Write one problem"):
        question = {"question": "Which number is written?", "kind": "number", "answer": str(read), "solution": "I read"}
        return json.dumps(question)
    return f"It says so.\nAnswer: {read + (number(pictures[0]) % 3 == 0)}"


def framed(body: bytes) -> dict[str, Any]:
    """The answer of an image-edit endpoint: the picture of the form with a frame."""
    from PIL import Image, ImageOps

    start = body.index(b"\r\n\r\n", body.index(b'name="image"')) + 4
    image = Image.open(io.BytesIO(body[start : body.rindex(b"\r\n--")])).convert("RGB")
    buffer = io.BytesIO()
    ImageOps.expand(image, 3, "red").save(buffer, "PNG")
    return {"data": [{"b64_json": base64.b64encode(buffer.getvalue()).decode()}]}


class Agents(ThreadingHTTPServer):
    """Counts answers before they are given, so that exactly `answers` are."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, log: str, answers: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.log, self.left, self.lock = log, answers, threading.Lock()

    def note(self, line: str) -> None:
        with self.lock, open(self.log, "a") as file:
            file.write(line + "\n")

    def take(self) -> None:
        with self.lock:
            self.left -= 1
            hang = self.left < 0
        if hang:
            time.sleep(600)


class Handler(BaseHTTPRequestHandler):
    server: Agents

    def log_message(self, format: str, *args: Any) -> None:
        return

    def answer(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "agents"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take()
        if self.path == "/v1/images/edits":
            self.answer(framed(body))
            self.server.note("edit")
            return
        message = {"role": "assistant", "content": say(json.loads(body))}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}})
        self.server.note("chat")


def main(port: int, log: str, answers: int) -> None:
    server = Agents(port, log, answers)
    server.note("ready")
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10**9)
