"""The process that runs math-verify: one JSON request per line on standard input, one JSON reply per line.

The kernel ends the process when a request has used its share of processor time (ITIMER_PROF, default action),
so neither a loop inside sympy nor a busy machine changes which requests are given up. It ends by itself when
its standard input closes."""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

MEMORY_BYTES = 4 * 2**30
WARM_UP = (
    ("verify", "\\frac{x}{2}", "x/2"),
    ("verify", "x(x+1)", "x^2+x"),
    ("verify", "\\frac{5\\sqrt{3}}{2}", "2.5*sqrt(3)"),
    ("canonical", "", "\\sin(x)"),
)
"""Load sympy, its LaTeX grammar and what it imports at the first expansion and root (0.8 s), so that no request's time
holds any of it: after these, one of the kinds above takes 0.05 s at most, a sixth of its limit."""


def main(cpu_seconds: float) -> None:
    """Serve requests until standard input closes. `cpu_seconds` limits each request."""
    logging.disable(logging.CRITICAL)  # math-verify warns that its own timeouts are off
    _limit_memory()
    for op, gold, answer in WARM_UP:
        handle({"op": op, "gold": gold, "answer": answer})
    print(json.dumps({"status": "ready"}), flush=True)
    for line in sys.stdin:
        _alarm(cpu_seconds)
        reply = handle(json.loads(line))
        _alarm(0.0)
        print(json.dumps(reply), flush=True)


def _alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system: the time limit alone holds
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def handle(request: dict[str, Any]) -> dict[str, str]:
    """`verify` replies equal, different, bad_answer or bad_gold; `canonical` replies canonical with a text,
    or bad_answer."""
    from math_verify import verify

    answer = _parse(request["answer"])
    if answer is None:
        return {"status": "bad_answer"}
    if request["op"] == "canonical":
        return {"status": "canonical", "text": _canonical(answer)}
    gold = _parse(request["gold"])
    if gold is None:
        return {"status": "bad_gold"}
    # not strict only about the form of sets; variables and numbers stay as written
    equal = verify(gold, answer, timeout_seconds=None)
    return {"status": "equal" if equal else "different"}


def _parse(text: str) -> Any | None:
    from math_verify import LatexExtractionConfig, parse

    parsed = parse(
        f"${text}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,  # type: ignore[arg-type]  # documented; the annotation is narrower
    )
    return parsed[0] if parsed and not isinstance(parsed[0], str) else None


def _canonical(expression: Any) -> str:
    from sympy import Expr, expand

    return str(expand(expression)) if isinstance(expression, Expr) else str(expression)
