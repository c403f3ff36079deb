"""What the solver is asked, whoever asks it: a client over HTTP, or an evaluation harness in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from r3v.policies.base import SamplingParams
from r3v.records import Message, Problem
from r3v.serve.config import GREEDY, SAMPLE, Kind, PromptMode
from r3v.settings.config import Config


@dataclass(frozen=True)
class Asked:
    """One question as the solver takes it. `problem` holds question, choices and images of the last message, `before`
    the messages that come first. `n` candidates are drawn with `params`, `shown` of them are answered.

    `problem.id` stands for seed and content, so that the same question draws the same candidates beside any others.
    """

    problem: Problem
    before: tuple[Message, ...]
    params: SamplingParams
    method: str
    n: int
    shown: int
    kind: Kind
    prompt: PromptMode
    seed: int
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    stream: bool = False
    stream_usage: bool = False
    model: str = ""


def defaults_of(config: Config) -> SamplingParams:
    """How candidates are drawn where nobody says otherwise: as `r3v select` draws them."""
    cfg = config.select
    return SamplingParams(cfg.temperature, cfg.top_p, cfg.top_k, cfg.max_new_tokens, cfg.noise)


def selects(method: str) -> bool:
    """Whether the method chooses among candidates, which must then differ."""
    return method not in (GREEDY, SAMPLE)


def drawn(method: str, named: int | None, default: int) -> int:
    """How many candidates a method is given where `named` of them are asked for."""
    return named or (default if selects(method) else 1)


def params_of(
    method: str,
    defaults: SamplingParams,
    limit: int,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
) -> SamplingParams:
    """How candidates of at most `limit` tokens are drawn; None leaves a value to `defaults`.

    Harnesses ask at temperature 0 to get the same answer twice. Candidates that are all alike leave nothing to select,
    so a method that selects draws them at the default temperature then.
    """
    heat = defaults.temperature if temperature is None else temperature
    if heat == 0 and selects(method):
        heat = defaults.temperature
    return SamplingParams(
        0.0 if method == GREEDY else heat,
        defaults.top_p if top_p is None else top_p,
        defaults.top_k if top_k is None else max(top_k, 0),
        limit,
        defaults.noise,
    )


def problem_of(
    messages: Sequence[Message], choices: Sequence[str] | None, seed: int | Sequence[int]
) -> tuple[tuple[Message, ...], Problem]:
    """(the messages before the last, the last as a Problem with a placeholder for its gold). The problem's id is a hash
    of `seed` and everything in the messages. Raises DataError, ImageError."""
    *before, last = messages
    said = [seed, choices, [[m.role, m.text] for m in messages]]
    digest = hashlib.sha256(json.dumps(said).encode())
    for image in (image for m in messages for image in m.images):
        digest.update(hashlib.sha256(image.read()).digest())
    problem = Problem(
        digest.hexdigest()[:32], last.text, "A" if choices else "0", "choice" if choices else "number",
        images=last.images, choices=tuple(choices) if choices else None,
    )  # fmt: skip
    return tuple(before), problem
