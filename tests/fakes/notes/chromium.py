"""A headless Chromium driven over its debugging pipe: open a page, click with the mouse, type, read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The browser named by R3V_CHROMIUM, else the first that is installed."""
    named = os.environ.get("R3V_CHROMIUM")
    return named or next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One browser with one page; raises AssertionError when something does not come within a minute."""

    def __init__(self, program: str, profile: Path) -> None:
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        words = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        shell = f'exec "$0" "$@" 3<&{command_read} 4>&{answer_write} 2>/dev/null'
        self._process = subprocess.Popen(["bash", "-c", shell, *words], pass_fds=(command_read, answer_write))
        os.close(command_read)
        os.close(answer_write)
        self._buffer, self._last, self._session = b"", 0, ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        self._process.kill()
        self._process.wait()
        os.close(self._read)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "result" in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 16)
            assert data, "the browser ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        self.run("window.old = 1")
        self.ask("Page.navigate", url=url)
        self._loaded()

    def click(self, selector: str, text: str = "") -> None:
        """Press the mouse on the first element of a selector (with this text) and wait for the page it leads to."""
        self.run("window.old = 1")
        every = f"[...document.querySelectorAll({json.dumps(selector)})]"
        wanted = f"{every}.find(e => e.textContent.includes({json.dumps(text)}))"
        where = self.run(
            f"(() => {{ const e = {wanted}; if (!e) return null; e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        assert where, f"no {selector} with {text!r} on {self.run('location.href')}"
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)
        self._loaded()

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select() }})()")
        self.ask("Input.insertText", text=text)

    def text(self) -> str:
        return self.run("document.body.innerText")

    def _loaded(self) -> None:
        deadline = time.monotonic() + 60
        while self.run("window.old === 1 || document.readyState !== 'complete'"):
            assert time.monotonic() < deadline, f"no new page after {self.run('location.href')}"
            time.sleep(0.02)
