"""From a document of a task to what the solver is asked.

Fields of `generation_kwargs` that would change the answer and cannot be honoured are refused by name; those about other
models' inputs (`image_aspect_ratio`) say nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from r3v.errors import ConfigError
from r3v.harness.arguments import Asking
from r3v.harness.docs import OWN, problem_from
from r3v.policies.base import SamplingParams
from r3v.records import Message
from r3v.selection.selector import blind
from r3v.serve.asked import Asked, params_of, problem_of
from r3v.serve.config import Kind

_NEUTRAL = {"num_beams": (1,), "repetition_penalty": (1, 1.0), "presence_penalty": (0,), "frequency_penalty": (0,)}
"""Values of fields that ask for nothing beyond what is done anyway."""
_FEWSHOT = "\n\n"
"""What lmms-eval puts into `until` where a task names nothing; it would end every answer at its first blank line."""


def asked_of(
    messages: Sequence[Message],
    doc: Mapping[str, Any],
    gen: Mapping[str, Any],
    asking: Asking,
    defaults: SamplingParams,
    repeat: int = 0,
) -> Asked:
    """What the solver is asked by `messages` about `doc`. `repeat` counts how often the same was asked before: other
    candidates are drawn each time. `defaults`: how they are drawn where the task does not say.

    A task of `r3v harness task` is asked as `r3v eval` asks its problems: with their kind and choices, and with seed 0
    by the same candidates. Raises ConfigError, DataError, ImageError."""
    own = OWN in doc
    prompt = asking.prompt or ("solve" if own else "chat")
    for name, neutral in _NEUTRAL.items():
        if gen.get(name) not in (None, *neutral):
            raise ConfigError(
                f"found generation_kwargs {name} {gen[name]}, which r3v cannot do; --gen_kwargs {name}={neutral[0]}"
            )
    limit = asking.max_new_tokens or gen.get("max_new_tokens") or gen.get("max_gen_toks") or defaults.max_new_tokens
    if prompt == "solve" and not own and asking.max_new_tokens is None and limit < defaults.max_new_tokens:
        raise ConfigError(
            f"found a task that allows {limit} tokens, too few for an answer step by step (prompt=solve); say how many "
            f"with max_new_tokens, such as {defaults.max_new_tokens}, or take prompt=chat"
        )
    seed = asking.seed if repeat == 0 else [asking.seed, repeat]
    kind: Kind = "auto"
    if own and prompt == "solve":
        problem = problem_from(doc)
        before, kind = (), problem.kind
        problem = replace(blind(problem), id=_id(problem.id, asking.seed, repeat), images=messages[-1].images)
    else:
        before, problem = problem_of(messages, None, seed)
    return Asked(
        problem=problem,
        before=before,
        params=_params(gen, asking.method, defaults, limit),
        method=asking.method,
        n=asking.n,
        shown=1,
        kind=kind,
        prompt=prompt,
        seed=asking.seed,
        stop=_stop(gen),
    )


def _id(problem: str, seed: int, repeat: int) -> str:
    """The problem's own id where nothing but the first candidates of seed 0 is asked for."""
    return problem + (f"@{seed}" if seed else "") + (f"#{repeat}" if repeat else "")


def _params(gen: Mapping[str, Any], method: str, defaults: SamplingParams, limit: int) -> SamplingParams:
    """A task that samples says how; else selectors draw as `select.temperature` says."""
    temperature = gen.get("temperature")
    if gen.get("do_sample") is False or temperature in (None, 0):
        return params_of(method, defaults, limit, temperature=0.0)
    top_p = gen.get("top_p")
    return params_of(
        method, defaults, limit, temperature=float(temperature), top_p=float(top_p) if top_p else None,
        top_k=gen.get("top_k"),
    )  # fmt: skip


def _stop(gen: Mapping[str, Any]) -> tuple[str, ...]:
    until = gen.get("until") or ()
    return tuple(text for text in ([until] if isinstance(until, str) else until) if text and text != _FEWSHOT)
