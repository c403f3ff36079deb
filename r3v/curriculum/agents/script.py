"""Agents that follow a script, for `--dry-run` and `--random-weights`: every message is typed and read as always.

The planner plans a seed item over again, the writer asks its question anew, and the checker knows the answer, so that
all stages are gone through; what they make is as good as the seed items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from r3v.curriculum.agents.roles import ROLES, Role
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Problem, Prompt


def scripted_roles(seeds: Sequence[Problem]) -> dict[str, Role]:
    """A Role for each of `ROLES` that knows the seed items."""
    policy = ScriptedPolicy(_answerer(seeds), name="scripted-agents")
    return {name: Role(policy) for name in ROLES}


def _answerer(seeds: Sequence[Problem]) -> Callable[[Prompt, int], str]:
    by_question = {p.question: p for p in sorted(seeds, key=lambda p: len(p.question))}

    def seed_in(text: str) -> Problem:
        """The seed item with the longest question that stands in a prompt."""
        return next(p for question, p in reversed(by_question.items()) if question in text)

    def answer(prompt: Prompt, index: int) -> str:
        text, stage = prompt.messages[0].text, prompt.problem_id.partition("/")[2]
        if stage == "pick":
            return json.dumps({"picture": 1, "reason": "the seed item's own"})
        seed = seed_in(text)
        if stage == "plan":
            plan = {"skill": seed.skills[0] if seed.skills else "any", "kind": seed.kind, "summary": seed.question}
            return json.dumps({**plan, "queries": ["figure"], "edit": "none"})
        if stage == "write":
            asked = {"question": seed.question, "kind": seed.kind, "answer": seed.answer, "solution": "As in the seed."}
            return json.dumps({**asked, "choices": seed.choices, "unit": seed.unit})
        return f"Answer: {seed.gold_text}"

    return answer
