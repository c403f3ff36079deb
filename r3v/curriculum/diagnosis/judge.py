"""An optional model that names the failure mode of wrong answers, held against what the counterfactual tests found.

The diagnosis never rests on it: its opinions stand beside the measured modes, with how often both agree. Every opinion
is journalled, so a repeated diagnosis pays for none again.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from r3v.curriculum.agents import prompts as words
from r3v.curriculum.diagnosis.cells import AIDS, BASE, VARIANTS, WRONG, ProbeRecord, Tally, gain, tally
from r3v.policies.base import Policy, SamplingParams
from r3v.policies.server.cost import CostMeter
from r3v.records import Problem
from r3v.run.journal import Journal, Meter, key_of
from r3v.stats import wilson

OTHER = "other"
MODES: dict[str, str] = {
    "reading": "a number or a name in the figure was misread",
    "perception": "the figure was misunderstood: what is drawn, marked or where",
    "knowledge": "a rule is not known, or a wrong one was used",
    "arithmetic": "the calculation is wrong",
    "composition": "several steps are needed and one is missing",
    OTHER: "none of these",
}
"""What the judge chooses from: the modes that an aid stands for, in the words of a fault, and none of them."""


@dataclass(frozen=True)
class Judge:
    """Who judges. `price`: of a million tokens of its answers, where the policy names them; a policy with a meter of
    its own (`OpenAIPolicy`) is metered there."""

    policy: Policy
    price: float = 0.0
    params: SamplingParams = field(default_factory=lambda: SamplingParams(temperature=0.0, max_new_tokens=256))


@dataclass(frozen=True)
class Opinion:
    """One wrong answer: the judge's mode (None where it named none or several) and the modes whose aids helped this
    problem most (`other` where none helped, empty where no aid was asked)."""

    problem_id: str
    judge: str | None
    tested: tuple[str, ...]


def named(text: str) -> str | None:
    """The mode a reply names: the only one that is in its last line with words, else in the whole reply."""
    lines = [line for line in text.lower().splitlines() if line.strip()]
    for part in (lines[-1] if lines else "", text.lower()):
        found = {mode for mode in MODES if re.search(rf"\b{mode}\b", part)}
        if len(found) == 1:
            return found.pop()
    return None


def modes_found(found: Tally) -> dict[str, tuple[str, ...]]:
    """Problem id -> the modes with the largest gain above 0; `other` where no aid that was asked helped."""
    gain_MP = np.stack([gain(found, variant) for variant in AIDS])
    modes = [aid.mode for aid in AIDS.values()]
    said: dict[str, tuple[str, ...]] = {}
    for p, name in enumerate(found.problems):
        column = gain_MP[:, p]
        if np.isnan(column).all():
            said[name] = ()
            continue
        best = float(np.nanmax(column))
        said[name] = tuple(m for m, g in zip(modes, column, strict=True) if g == best) if best > 0 else (OTHER,)
    return said


def ask_judge(
    judge: Judge, problems: Mapping[str, Problem], records: Sequence[ProbeRecord], folder: str | Path
) -> tuple[list[Opinion], Meter]:
    """An opinion on the first wrong answer to every problem as it is, in the order of the records. Answers that name
    nothing or were cut off need no judge. The journal is `folder`/judge.jsonl. Raises EngineError."""
    found, meter = tally(records), Meter()
    tested = modes_found(found)
    base = VARIANTS.index(BASE)
    wrong: dict[str, ProbeRecord] = {}
    for r in np.flatnonzero((found.variant_R == base) & (found.state_R == WRONG)):
        wrong.setdefault(records[int(r)].problem_id, records[int(r)])
    opinions = []
    with Journal(Path(folder) / "judge.jsonl") as journal:
        for name, record in wrong.items():
            text = _reply(judge, problems[name], record.text, journal, meter)
            opinions.append(Opinion(name, named(text), tested[name]))
    return opinions, meter


def _reply(judge: Judge, problem: Problem, answer: str, journal: Journal, meter: Meter) -> str:
    prompt = words.judge(problem, answer, MODES)
    key = key_of("judge", judge.policy.name, prompt.hash, asdict(judge.params))
    row = journal.get(key)
    if row is not None:
        meter.cached += 1
        return str(row["text"])
    started = time.monotonic()
    (reply,) = judge.policy.generate([prompt], 1, judge.params, seed=0)[0]
    tokens = len(reply.token_ids) or len(reply.logprobs)
    meter.calls, meter.tokens = meter.calls + 1, meter.tokens + tokens
    meter.seconds += time.monotonic() - started
    meter.cost += tokens * judge.price / 1e6
    journal.put(key, {"text": reply.text, "tokens": tokens})
    return reply.text


def summary(opinions: Sequence[Opinion], meter: Meter, judge: Judge) -> dict[str, Any]:
    """JSON values for the context of a diagnosis: counts by mode, agreement with the tests, what it cost.

    `agreement`: share of opinions that name one of the tested modes, with Wilson's interval; `by_chance`: what the
    same two piles of verdicts would share if they were dealt out at random. Unnamed opinions disagree.
    """
    compared = [o for o in opinions if o.tested]
    same, n = sum(o.judge in o.tested for o in compared), len(compared)
    said = Counter(o.judge for o in compared)
    chance = sum(said[mode] * sum(mode in o.tested for o in compared) for mode in MODES) / n**2 if n else None
    own = getattr(judge.policy, "meter", None)
    spent = asdict(own.snapshot()) if isinstance(own, CostMeter) else None
    return {
        "model": judge.policy.name,
        "judged": len(opinions),
        "modes": {mode: sum(o.judge == mode for o in opinions) for mode in MODES},
        "unnamed": sum(o.judge is None for o in opinions),
        "compared": n,
        "same": same,
        "agreement": same / n if n else None,
        "ci95": list(wilson(same, n)),
        "by_chance": chance,
        "meter": meter.to_dict(),
        "server": spent,
    }


def sentence(value: Mapping[str, Any]) -> str:
    """One sentence on a judge's `summary`."""
    if not value["compared"]:
        return f"Judge {value['model']}: {value['judged']} opinions, none to compare with (no aid was asked)."
    low, high = value["ci95"]
    money = value["server"]["money"] if value["server"] else value["meter"]["cost"]
    return (
        f"Judge {value['model']} names a mode that the tests found for {value['same']} of {value['compared']} failures "
        f"({100 * value['agreement']:.0f} %, {100 * low:.0f} to {100 * high:.0f}; {100 * value['by_chance']:.0f} % by "
        f"chance); {value['meter']['calls']} calls, {value['meter']['cached']} cached, cost {money:.4g}."
    )
