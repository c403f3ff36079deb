"""The keywords of `--model_args`: which model is asked, how its answer is chosen, and which notes it is shown.

--model r3v --model_args run=runs/first,method=fused,n=8,select.permutations=4
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from r3v.api import flags_of
from r3v.errors import ConfigError
from r3v.notebook.retrieval.flags import SWITCHES, VALUES, check_alone
from r3v.reflection.asked import model_settings
from r3v.reflection.settings import check_select
from r3v.serve.asked import selects
from r3v.serve.config import GREEDY, PROMPT_MODES, PromptMode, check_method
from r3v.settings.config import Config

Reply = Literal["text", "answer"]
REPLIES: tuple[Reply, ...] = ("text", "answer")
MODEL = ("model", "adapter", "run", "recipe")
OWN = ("method", "n", "prompt", "reply", "max_new_tokens")
NOTES = ("notebook", "notebook_ref", *VALUES, *SWITCHES)


@dataclass(frozen=True)
class Asking:
    """How the questions of a harness are asked and answered.

    method, n: the selector, and how many candidates it chooses among. prompt: `solve` asks in the words of training,
    `chat` leaves the task's messages as they are, None is solve for tasks of `r3v harness task` and chat for others.
    reply: what the harness is given, the chosen candidate's `text` or the `answer` that it names. max_new_tokens: of a
    candidate, None as many as the task allows. seed: of the candidates.
    """

    method: str = GREEDY
    n: int = 1
    prompt: PromptMode | None = None
    reply: Reply = "text"
    max_new_tokens: int | None = None
    seed: int = 0


def read(given: Mapping[str, Any], say: Callable[[str], None] = print) -> tuple[Config, Asking, dict[str, Any]]:
    """(settings of the model, how it is asked, flags of the notebook) of the keywords. Raises ConfigError for one that
    is unknown, and for values that cannot be used, before anything is loaded."""
    given = {name: value for name, value in given.items() if value is not None}
    fields = {name: value for name, value in given.items() if "." in name}
    known = (*MODEL, *OWN, *NOTES)
    for name in given:
        if name not in fields and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"found model_args {name}, expected one of {', '.join(known)}, or a field such as select.n{hint}"
            )
    notes = {name: given[name] for name in NOTES if name in given}
    check_alone(notes)
    where = {name: str(given[name]) for name in MODEL if name in given}
    config = model_settings(**where, flags=flags_of(fields), say=say)
    check_select(config.select)
    return config, _asking(given, config), notes


def _asking(given: Mapping[str, Any], config: Config) -> Asking:
    method, prompt, reply = given.get("method", GREEDY), given.get("prompt"), given.get("reply", "text")
    check_method(method)
    if not selects(method) and given.get("n", 1) != 1:
        raise ConfigError(f"found n {given['n']} with method {method}, which draws one answer; leave n out")
    for name, value, choices in (("prompt", prompt, (*PROMPT_MODES, None)), ("reply", reply, REPLIES)):
        if value not in choices:
            raise ConfigError(f"found {name} {value!r}, expected one of {', '.join(filter(None, choices))}")
    n = whole("n", given.get("n", config.select.n if selects(method) else 1))
    limit = given.get("max_new_tokens")
    return Asking(
        method, n, prompt, reply, None if limit is None else whole("max_new_tokens", limit), config.run.seed
    )  # fmt: skip


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1. Raises ConfigError."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"found {name} {value!r}, expected a whole number of at least 1")
    return value
