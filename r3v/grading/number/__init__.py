"""Numbers as people and models write them. Read `parser` first; `tokens` cuts the text up, `value` knows digits, words,
powers and roots, `units` what may stand behind them, `quantity` is what comes out."""

from __future__ import annotations

from r3v.grading.number.parser import MAX_WRITTEN, of_plain, parse
from r3v.grading.number.quantity import Measure, Quantity, Reading, Unread

__all__ = ["MAX_WRITTEN", "Measure", "Quantity", "Reading", "Unread", "of_plain", "parse"]
