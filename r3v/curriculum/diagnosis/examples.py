"""Example failures for the cells of a diagnosis, the same ones for the same records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r3v.curriculum.diagnosis.cells import BASE, RIGHT, TRUNCATED, UNPARSED, VARIANTS, WRONG, ProbeRecord, Tally
from r3v.curriculum.diagnosis.findings import DiagnosisConfig, Example


class Examples:
    """Finds failures to show: one answer of each problem, in the order of the records."""

    def __init__(self, found: Tally, records: Sequence[ProbeRecord], config: DiagnosisConfig) -> None:
        self.found, self.records, self.config = found, records, config
        base = found.variant_R == VARIANTS.index(BASE)
        self._failed = self._first(base & np.isin(found.state_R, (WRONG, UNPARSED, TRUNCATED)))
        self._by_state = {state: self._first(base & (found.state_R == state)) for state in (WRONG, UNPARSED, TRUNCATED)}
        self._right = {
            name: self._first((found.variant_R == v) & (found.state_R == RIGHT)) for v, name in enumerate(VARIANTS)
        }

    def _first(self, keep_R: np.ndarray) -> np.ndarray:
        """The first record of each problem [P] among those kept, -1 for none."""
        first_P = np.full(len(self.found.problems), -1)
        kept = np.flatnonzero(keep_R)[::-1]
        first_P[self.found.problem_R[kept]] = kept
        return first_P

    def of(self, s: int, variant: str, gain_P: np.ndarray) -> tuple[Example, ...]:
        """Problems that failed and went well with the aid, largest gain first."""
        fits = (
            self.found.tags_PS[:, s] & (self._failed >= 0) & (self._right[variant] >= 0) & (np.nan_to_num(gain_P) > 0)
        )
        chosen = np.flatnonzero(fits)
        order = chosen[np.argsort(-gain_P[chosen], kind="stable")][: self.config.examples]
        return tuple(self._example(int(self._failed[p]), int(self._right[variant][p])) for p in order)

    def with_state(self, s: int, state: int) -> tuple[Example, ...]:
        first_P = self._by_state[state]
        chosen = np.flatnonzero(self.found.tags_PS[:, s] & (first_P >= 0))[: self.config.examples]
        return tuple(self._example(int(first_P[p])) for p in chosen)

    def _example(self, r: int, aided: int | None = None) -> Example:
        record, cut = self.records[r], self.config.example_chars
        other = "" if aided is None else self.records[aided].text[:cut]
        return Example(record.problem_id, record.question[:cut], record.gold[:cut], record.text[:cut], other)
