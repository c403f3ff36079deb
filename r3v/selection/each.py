"""Selection over many problems of which one may be refused: its answer is lost, the others' are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r3v.errors import EngineError, R3VError
from r3v.records import Problem
from r3v.selection.methods import Selection
from r3v.selection.selector import Selector


@dataclass(frozen=True, slots=True)
class Lost:
    """A problem without an answer, and the error that says why."""

    problem_id: str
    method: str
    error: R3VError

    def to_dict(self) -> dict[str, Any]:
        """A row beside those of Selections: without answer, text and candidates."""
        said = {"answer": None, "text": None, "error": str(self.error)}
        return {"problem_id": self.problem_id, "method": self.method, **said}


def select_each(
    selector: Selector,
    problems: Sequence[Problem],
    n: int,
    method: str,
    seed: int = 0,
    isolated: tuple[type[R3VError], ...] = (EngineError,),
) -> list[Selection | Lost]:
    """A Selection for each problem, all asked together; where that fails with an `isolated` error each is asked alone,
    and those that fail again are Lost. Raises every other error."""
    try:
        return list(selector.select_many(problems, n, [method], seed)[method])
    except isolated as error:
        if len(problems) == 1:
            return [Lost(problems[0].id, method, error)]
    return [one for problem in problems for one in select_each(selector, [problem], n, method, seed, isolated)]
