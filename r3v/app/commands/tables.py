"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def block_table(block: Mapping[str, Mapping[str, Any]]) -> str:
    """The eval block for the terminal, percentages with their 95 % intervals."""
    lines = [f"{'selector':<16} {'accuracy':>8}  {'95 % interval':<15} {'unparsed':>8} {'n':>6}"]
    for name, cell in block.items():
        low, high = cell["ci95"]
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{name:<16} {100 * cell['accuracy']:>7.1f}%  {interval:<15} {100 * cell['unparsed']:>7.1f}% {cell['n']:>6}"
        )
    return "\n".join(lines)


def run_table(value: Mapping[str, Any]) -> str:
    """`run.json` for the terminal: a line per round, a column per selector; * marks the accepted round."""
    names = list(value["rounds"][0]["eval"])
    lines = [f"{'round':<7}" + "".join(f"{name:>15}" for name in names) + f"{'seconds':>10}"]
    for entry in value["rounds"]:
        mark = "*" if entry["round"] == value["accepted_round"] else " "
        cells = [entry["eval"][name] for name in names]
        shown = "".join(f"{_with_half_width(cell):>15}" for cell in cells)
        lines.append(f"{entry['round']:<6}{mark}{shown}{sum(entry['seconds'].values()):>10.0f}")
    n = value["rounds"][0]["eval"][names[0]]["n"]
    return "\n".join([*lines, f"accuracy in %, half width of the 95 % interval, n = {n}; * is the accepted round"])


def _with_half_width(cell: Mapping[str, Any]) -> str:
    low, high = cell["ci95"]
    return f"{100 * cell['accuracy']:.1f} ±{50 * (high - low):.1f}"


def endings(found: Sequence[tuple[str, int]]) -> str:
    """The commonest ends of answers that named none, a line each; nothing where every answer was read."""
    if not found:
        return ""
    return "commonest endings of unparsed answers:\n" + "".join(f"{n:>6}  {end}\n" for end, n in found)


def controls_table(guess: Mapping[str, Any], compared: Sequence[Any]) -> str:
    """What the figures are compared with, a line each: the control's share, and the figure minus it."""
    kinds = ", ".join(f"{n} problems with {k} choices" for k, n in guess["choices"].items())
    lines = [f"{'control':<24} {'share':>7}  figure minus control (95 % interval, sign test)"]
    lines.append(f"{'guessing a letter':<24} {100 * guess['accuracy']:>6.1f}%  expected, {kinds}")
    for one in compared:
        name = one.control if one.control.startswith("own ") else f"{one.control}, {one.metric}"
        lines.append(
            f"{name:<24} {100 * one.accuracy:>6.1f}%  {one.figure} {100 * one.difference:+.1f} "
            f"({100 * one.low:+.1f} to {100 * one.high:+.1f}), {one.wins} won, {one.losses} lost of {one.n}, "
            f"p {one.p:.2g}"
        )
    return "\n".join(lines)
