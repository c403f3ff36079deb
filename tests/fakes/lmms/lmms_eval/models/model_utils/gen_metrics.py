"""Throughput, as models tell it."""

from __future__ import annotations

LOGGED: list[tuple[float, int, float]] = []


def log_metrics(total_elapsed_time: float, total_gen_tokens: int, avg_speed: float) -> None:
    LOGGED.append((total_elapsed_time, total_gen_tokens, avg_speed))
