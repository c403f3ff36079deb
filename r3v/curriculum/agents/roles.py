"""The roles of agents: who answers, what an answer costs, and every answer written down once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from r3v.curriculum.agents.messages import MessageError, Pick, Plan, Question, parse
from r3v.curriculum.agents.prompts import repair
from r3v.errors import ConfigError
from r3v.policies.base import Policy, SamplingParams
from r3v.policies.server.cost import Cost, CostMeter
from r3v.records import Candidate, Prompt
from r3v.run.journal import Journal, Meter, key_of

ROLES = ("planner", "selector", "writer", "checker")
_M = TypeVar("_M", Plan, Pick, Question)


@dataclass(frozen=True)
class Role:
    """One agent: who answers, how it samples, and what a million tokens of its answers cost.

    A policy with a meter of its own (a server's) counts its tokens and money itself; `price` comes on top.
    """

    policy: Policy
    params: SamplingParams = field(default_factory=lambda: SamplingParams(temperature=0.7, max_new_tokens=1024))
    price: float = 0.0


class Rejected(Exception):
    """A job that gives no item, with the stage and the reason. Never leaves the generator."""

    def __init__(self, stage: str, reason: str) -> None:
        self.stage, self.reason = stage, reason
        super().__init__(f"{stage}: {reason}")


class Desk:
    """Puts prompts to the roles; what was answered before comes from the journal at `path`. Safe to use from many
    threads; close it when done.

    `meters` counts what this process asked, by role and by the `others` that are counted here. Raises ConfigError
    unless `roles` has a Role for each of `ROLES`; RunError for a journal that is damaged or in use.
    """

    def __init__(self, roles: Mapping[str, Role], path: str | Path, others: Sequence[str] = ()) -> None:
        if sorted(roles) != sorted(ROLES):
            raise ConfigError(f"found roles {sorted(roles)}, expected exactly {', '.join(ROLES)}")
        self.roles, self.journal = dict(roles), Journal(path)
        self.meters: dict[str, Meter] = {name: Meter() for name in (*ROLES, *others)}
        self.stop = threading.Event()
        """While it is set nobody is asked anything new, and jobs are rejected at stage `stopped`."""
        self._lock = threading.Lock()
        meters = [_meter(role.policy) for role in roles.values()]
        self._booked: dict[CostMeter, Cost] = {meter: meter.snapshot() for meter in meters if meter is not None}

    def close(self) -> None:
        self.journal.close()

    @property
    def spent(self) -> dict[str, float]:
        """`tokens` and `money` of every answer in the journal, those of earlier processes included."""
        rows = self.journal.rows()
        return {"tokens": sum(r.get("tokens", 0) for r in rows), "money": sum(r.get("cost", 0.0) for r in rows)}

    def ask(self, role: str, prompt: Prompt, n: int) -> list[str]:
        """`n` answers of a role, from the journal where they have been given before."""
        who = self.roles[role]
        key = key_of("ask", role, who.policy.name, prompt.problem_id, prompt.hash, asdict(who.params), n)

        def answer() -> Mapping[str, Any]:
            answers = who.policy.generate([prompt], n, who.params, seed=0)[0]
            tokens, money = self._cost(who, answers)
            texts = [a.text for a in answers]
            return {"role": role, "model": who.policy.name, "texts": texts, "tokens": tokens, "cost": money}

        return list(self.once(role, key, answer)["texts"])

    def message(self, role: str, prompt: Prompt, kind: type[_M]) -> _M:
        """A typed message; one repair attempt, then the job is rejected."""
        reply = self.ask(role, prompt, 1)[0]
        try:
            return parse(kind, reply)
        except MessageError as error:
            with self._lock:
                self.meters[role].repairs += 1
            again = repair(prompt, reply, error.what)
        try:
            return parse(kind, self.ask(role, again, 1)[0])
        except MessageError as error:
            raise Rejected(role, error.what) from error

    def once(self, name: str, key: str, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The journal's row for `key`; where there is none, `work` makes it, which is counted under `name`. A row may
        say what it cost (`tokens`, `cost`)."""
        row = self.journal.get(key)
        if row is not None:
            self.count(name, cached=True)
            return row
        if self.stop.is_set():
            raise Rejected("stopped", "the generator was closed")
        started = time.monotonic()
        row = work()
        self.journal.put(key, row)
        self.count(name, seconds=time.monotonic() - started, row=row)
        return row

    def count(
        self, name: str, *, cached: bool = False, seconds: float = 0.0, row: Mapping[str, Any] | None = None
    ) -> None:
        """Count one call that was answered, or one answer that was known."""
        with self._lock:
            meter = self.meters[name]
            meter.cached, meter.calls = meter.cached + cached, meter.calls + (not cached)
            meter.seconds += seconds
            meter.tokens += (row or {}).get("tokens", 0)
            meter.cost += (row or {}).get("cost", 0.0)

    def _cost(self, who: Role, answers: Sequence[Candidate]) -> tuple[int, float]:
        """Tokens and money not booked yet. Answers under way at the same time are booked with whichever comes first,
        so single rows may be off and their sum is not."""
        meter = _meter(who.policy)
        if meter is None:
            tokens, money = sum(len(a.token_ids) or len(a.logprobs) for a in answers), 0.0
        else:
            with self._lock:
                now = meter.snapshot()
                new, self._booked[meter] = now - self._booked[meter], now
            tokens, money = new.tokens_out, new.money
        return tokens, money + tokens * who.price / 1e6


def _meter(policy: Policy) -> CostMeter | None:
    found = getattr(policy, "meter", None)
    return found if isinstance(found, CostMeter) else None
