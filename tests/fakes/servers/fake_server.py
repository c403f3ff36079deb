"""A small OpenAI-compatible server over real HTTP on loopback, for tests: vLLM's, SGLang's and other dialects.

Every character is a token (its code point the id), so expected values can be worked out by hand. Answers follow
from prompt and seed alone. `faults` are used up one by one, each by the next chat request. Run as a program, it is a
process that can be killed: `python fake_server.py PORT LOG [ANSWERS]` hangs after that many answers.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

END = 0
"""Id of the end-of-turn token; the template puts a line break (10) behind it."""


def answer(body: dict[str, Any]) -> str:
    last = body["messages"][-1]["content"]
    text = last if isinstance(last, str) else last[-1]["text"]
    return f"{len(text)} characters, seed {body.get('seed')}.\nAnswer: {body.get('seed', 0) % 7}"


class FakeServer:
    """`with FakeServer() as server: ... server.url`. `say` makes the text of an answer from the request's body."""

    def __init__(self, kind: str = "vllm", say: Callable[[dict[str, Any]], str] = answer, port: int = 0) -> None:
        self.kind, self.say = kind, say
        self.models = ["base"]
        self.key = ""
        """What requests but /health must carry; empty is no key."""
        self.faults: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.adapters: dict[str, str] = {}
        self.tops: Callable[[str], list[tuple[str, float]]] | None = None
        """Alternatives after a text so far, where the server gives any."""
        self.answered: Callable[[], None] = lambda: None
        self.before: Callable[[], object] = lambda: None
        self.refuse: Callable[[dict[str, Any]], str] = lambda body: ""
        """Why a request is refused with status 400; empty where it is not."""
        self.hidden = 0
        """How many times a loaded adapter is left out of the list of models."""
        self.in_flight = self.most = self.connections = 0
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def chats(self) -> list[Any]:
        return [body for _, path, body in self.requests if path == "/v1/chat/completions"]

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        self._server.serve_forever()


def tokens_of(messages: list[dict[str, Any]], body: dict[str, Any]) -> list[int]:
    """The prompt by a template like ChatML: role, text, end, line break; images are one token, -1."""
    ids: list[int] = []
    for i, m in enumerate(messages):
        parts = [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"]
        ids += [ord(m["role"][0]), ord(":")]
        for part in parts:
            ids += [-1] if part["type"] == "image_url" else [ord(c) for c in part["text"]]
        if not (body.get("continue_final_message") and i == len(messages) - 1):
            ids += [END, 10]
    return [*ids, ord("a"), ord(":")] if body.get("add_generation_prompt", True) else ids


def logprob_of(position: int) -> float:
    return -(position % 8) / 8


def _choice(fake: FakeServer, body: dict[str, Any]) -> dict[str, Any]:
    text = fake.say(body)
    limit = body.get("max_tokens") or body["max_completion_tokens"]
    ids = [*(ord(c) for c in text), END]
    stop, ids = ("stop", ids) if len(ids) <= limit else ("length", ids[:limit])
    shown = [chr(i) if i else "<end>" for i in ids]
    choice: dict[str, Any] = {"index": 0, "finish_reason": stop}
    choice["message"] = {"role": "assistant", "content": "".join(s for s in shown if s != "<end>")}
    if body.get("logprobs"):
        content = []
        for place, token in enumerate(shown):
            top = fake.tops("".join(shown[:place])) if fake.tops and body.get("top_logprobs") else []
            own = dict(top).get(token, logprob_of(place))
            row = {"token": token, "logprob": own, "top_logprobs": [{"token": t, "logprob": p} for t, p in top]}
            content.append(row)
        choice["logprobs"] = {"content": content}
    if body.get("return_token_ids"):
        choice["token_ids"] = ids
    return choice


def chat(fake: FakeServer, body: dict[str, Any]) -> dict[str, Any]:
    prompt = tokens_of(body["messages"], body)
    # Several samples are drawn with the seeds that follow, as vLLM does.
    bodies = [{**body, "seed": body.get("seed", 0) + i} for i in range(body["n"])] if "n" in body else [body]
    choices = [{**_choice(fake, one), "index": i} for i, one in enumerate(bodies)]
    used = sum(len(choice.get("token_ids") or choice["message"]["content"]) for choice in choices)
    value: dict[str, Any] = {"choices": choices, "usage": {"prompt_tokens": len(prompt), "completion_tokens": used}}
    if body.get("return_token_ids"):
        value["prompt_token_ids"] = prompt
    if "prompt_logprobs" in body:
        rows = [{str(t): {"logprob": logprob_of(i), "rank": 1}} for i, t in enumerate(prompt)]
        value["prompt_logprobs"] = [None, *rows[1:]]
    return value


def events(value: dict[str, Any], piece: int = 4) -> list[bytes]:
    """The answer as server-sent events, `piece` tokens each."""
    choice = value["choices"][0]
    text, ids = choice["message"]["content"], choice.get("token_ids") or []
    logprobs = (choice.get("logprobs") or {}).get("content") or []
    out: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant"}}]}]
    for start in range(0, max(len(text), len(ids)), piece):
        end = start + piece
        part: dict[str, Any] = {"index": 0, "delta": {"content": text[start:end]}}
        part |= {"token_ids": ids[start:end], "logprobs": {"content": logprobs[start:end]}} if ids else {}
        out.append({"choices": [part]})
    out.append({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    out.append({"choices": [], "usage": value["usage"]})
    return [f"data: {json.dumps(event)}\n\n".encode() for event in out] + [b"data: [DONE]\n\n"]


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with fake.lock:
                fake.connections += 1

        def log_message(self, format: str, *args: Any) -> None:
            return

        def send(self, status: int, value: Any, kind: str = "application/json", **headers: str) -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            self.wfile.write(data)

        def take(self) -> Any:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(data) if data else None
            with fake.lock:
                fake.requests.append((self.command, self.path, body))
                fake.headers.append(dict(self.headers.items()))
            return body

        def do_GET(self) -> None:
            self.take()
            if self.path == "/health":
                self.send(200, b"", "text/plain")
            elif fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                self.send(401, {"error": "Unauthorized"})
            elif self.path == "/v1/models" and not fake.models:
                self.send(500, {"error": {"message": "no download folder"}})
            elif self.path == "/v1/models":
                names = list(fake.models)
                if fake.kind in ("vllm", "sglang") and fake.hidden <= 0:
                    names += fake.adapters
                fake.hidden -= 1
                self.send(200, {"data": [{"id": name, "owned_by": fake.kind} for name in names]})
            elif self.path == "/openapi.json" and fake.kind == "transformers":
                self.send(200, {"paths": {"/load_model": {}, "/v1/responses": {}}})
            else:
                self.send(404, {"error": {"message": f"no {self.path}"}})

        def do_POST(self) -> None:
            body = self.take()
            if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                self.send(401, {"error": "Unauthorized"})
            elif self.path == "/v1/chat/completions":
                with fake.lock:
                    fake.in_flight += 1
                    fake.most = max(fake.most, fake.in_flight)
                    fault = fake.faults.pop(0) if fake.faults else {}
                try:
                    fake.before()
                    self.chat(body, fault)
                finally:
                    with fake.lock:
                        fake.in_flight -= 1
            elif self.path.endswith("load_lora_adapter"):
                self.adapter(body)
            else:
                self.send(404, {"error": {"message": f"no {self.path}"}})

        def chat(self, body: dict[str, Any], fault: dict[str, Any]) -> None:
            time.sleep(fault.get("delay", 0))
            if refused := fake.refuse(body):
                self.send(400, {"error": {"message": refused}})
                return
            if "status" in fault:
                headers = {"Retry_After": fault["retry_after"]} if "retry_after" in fault else {}
                self.send(fault["status"], fault.get("value", {"error": {"message": "told to"}}), **headers)
                return
            if fault.get("reset"):
                self.close_connection = True
                return
            if "raw" in fault:
                self.send(200, fault["raw"])
                return
            known = [*fake.models, *fake.adapters, *(f"base:{a}" for a in fake.adapters if fake.kind == "sglang")]
            if body["model"] not in known:
                self.send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
                return
            value = chat(fake, body)
            if body.get("stream"):
                parts = events(value)
                parts = parts[: len(parts) // 2] if fault.get("cut") else parts
                self.send(200, b"".join(parts), "text/event-stream")
            elif fault.get("cut"):
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            else:
                self.send(200, value)
                fake.answered()

        def adapter(self, body: dict[str, Any]) -> None:
            base = "/v1" if fake.kind == "vllm" else ""
            name = body["lora_name"]
            if self.path == f"{base}/load_lora_adapter" and fake.kind in ("vllm", "sglang"):
                if "huge" in body["lora_path"]:
                    said = "LoRA rank 64 is greater than max_lora_rank 16"
                    value = {"error": {"message": said}} if base else {"success": False, "error_message": said}
                    self.send(400, value)
                    return
                fake.adapters[name] = body["lora_path"]
            elif self.path == f"{base}/unload_lora_adapter" and name in fake.adapters:
                del fake.adapters[name]
            else:
                self.send(404, {"detail": "Not Found"})
                return
            if base:
                self.send(200, f"Success: LoRA adapter '{name}' done.".encode(), "text/plain")
            else:
                self.send(200, {"success": True, "loaded_adapters": fake.adapters, "error_message": ""})

    return Handler


def main(port: int, log: str, answers: int) -> None:
    server = FakeServer(port=port)
    given = 0

    def answered() -> None:
        with open(log, "a") as file:
            file.write("answered\n")

    def before() -> None:
        nonlocal given
        with server.lock:
            given += 1
            hang = given > answers
        if hang:
            with open(log, "a") as file:
                file.write("hangs\n")
            time.sleep(600)

    server.answered, server.before = answered, before
    with open(log, "a") as file:
        file.write("ready\n")
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10**9)
