"""Answers that end because they ran out of tokens name no answer; when there are many, that is said."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)
CUT = 0.10
"""Share of the answers beyond which it is told that they were cut off."""


def tell_cut(cut: int, answers: int, setting: str, limit: int) -> bool:
    """Warn where more than CUT of the answers ended by length; whether it did."""
    if answers and cut > CUT * answers:
        log.warning(
            "%.0f %% of %d answers ended by length (%s %d): they count as wrong or unparsed. Raise %s",
            100 * cut / answers, answers, setting, limit, setting,
        )  # fmt: skip
        return True
    return False
