"""What reading one stated answer yields: a `Reading`, or an `Unread` with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

from r3v.grading.number import Quantity

MAX_PAYLOAD = 300  # characters of one stated answer; the rest of the line is ignored


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer that was named. `canonical` is equal for equal answers; `raw` is what was written.

    `equal_options` are the letters of all options the answer names (choice only): more than one where the
    dataset repeats an option. `whole` is the canonical form of all that was stated, where `canonical` is its
    first sentence (text only): a gold may be several sentences."""

    canonical: str
    raw: str
    quantity: Quantity | None = None
    equal_options: str = ""
    whole: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """No answer was named, and why. `blocks` means that the statement takes back or blurs what stood before
    it ("the answer is not B", "5 or 6"), so no earlier statement counts either."""

    reason: str
    blocks: bool = False


REFUSAL = re.compile(
    r"^(?:(?:i|we)\s+(?:do\s*n[o']t|cannot|can\s*not|can't|am not|'m not|are not)\b|i'm not\b"
    r"|unknown$|n/?a$|not\b"
    r"|unclear$|undetermined$|unsure$|none$|none of (?:the|these|them)\b|neither\b"
    r"|(?:it\s+)?(?:cannot|can't|can not|could not) be\b|impossible to\b|there is no (?:answer|way|correct))",
    re.IGNORECASE,
)
REASON_TAIL = re.compile(
    r"[\s,;(\[-]*\b(?:because|since|as (?:the|it|we|this)|so that|where)\b.*$", re.IGNORECASE | re.DOTALL
)
SENTENCE_END = re.compile(r"(?:(?<=[A-Za-z]{3})|(?<=[\d°%)]))[.!?]\s+(?=[A-Z(]).*$", re.DOTALL)


def main_clause(payload: str) -> str:
    """The payload up to the end of its first sentence or the reason given for it."""
    return REASON_TAIL.sub("", SENTENCE_END.sub("", payload))
