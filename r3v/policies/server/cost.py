"""What calls to a server cost: requests, tokens, images and money, counted across threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields

from r3v.settings.server import PRICES


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts since some moment. `money` is in the currency of the price table."""

    calls: int = 0
    """Requests answered by the server."""
    cached: int = 0
    """Requests answered by the cache, which cost nothing."""
    retries: int = 0
    """Attempts that failed and were made again; a server may bill them all the same, and they are not in `money`."""
    tokens_in: int = 0
    tokens_out: int = 0
    images: int = 0
    money: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


class CostMeter:
    """Adds up what is spent; safe to use from many threads.

    `prices`: `input` and `output` per million tokens, `image` per image; what is not named costs nothing.
    """

    def __init__(self, prices: Mapping[str, float] | None = None) -> None:
        unknown = set(prices or {}) - set(PRICES)
        if unknown:
            raise ValueError(f"found prices for {', '.join(sorted(unknown))}, expected {', '.join(PRICES)}")
        self._prices = dict(prices or {})
        self._total = Cost()
        self._lock = threading.Lock()

    def answered(self, tokens_in: int, tokens_out: int, images: int = 0) -> None:
        """One request the server answered."""
        price = self._prices.get
        money = (tokens_in * price("input", 0.0) + tokens_out * price("output", 0.0)) / 1e6
        self._add(Cost(1, 0, 0, tokens_in, tokens_out, images, money + images * price("image", 0.0)))

    def from_cache(self) -> None:
        """One request the cache answered."""
        self._add(Cost(cached=1))

    def retried(self) -> None:
        """One attempt that failed and is made again."""
        self._add(Cost(retries=1))

    def snapshot(self) -> Cost:
        """Everything so far."""
        with self._lock:
            return self._total

    def since(self, start: Cost) -> Cost:
        """What was spent after `start`, an earlier snapshot."""
        return self.snapshot() - start

    def _add(self, cost: Cost) -> None:
        with self._lock:
            self._total = self._total + cost
