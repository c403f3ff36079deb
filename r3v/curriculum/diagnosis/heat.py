"""The heat map of a diagnosis for the terminal: skills by failure modes, weakest first, plain text."""

from __future__ import annotations

from r3v.curriculum.diagnosis.cells import MEANING, MODES
from r3v.curriculum.diagnosis.findings import Diagnosis, ModeCell

SHADES = " ░▒▓█"
MAX_NAME = 30


def shade(value: float) -> str:
    """A block character for 0 to 0.5 and above; below 0 counts as 0."""
    return SHADES[min(len(SHADES) - 1, max(0, round(value * 2 * (len(SHADES) - 1))))]


def order(diagnosis: Diagnosis) -> list[str]:
    """All skills: the ranked ones from the weakest, then those on too few problems for a statement, then the others by
    accuracy."""
    rest = sorted(set(diagnosis.skills) - set(diagnosis.ranking), key=lambda n: (diagnosis.skills[n].accuracy, n))
    return [*sorted(diagnosis.ranking, key=lambda n: not diagnosis.skills[n].stated), *rest]


def place(diagnosis: Diagnosis, name: str) -> int | None:
    """The skill's place among those about which something can be said, 1 for the weakest; None for the others. Skills
    that cannot be told apart share one."""
    own = diagnosis.skills[name]
    if not own.stated or own.rank is None:
        return None
    return 1 + len({c.rank for c in diagnosis.skills.values() if c.stated and c.rank is not None and c.rank < own.rank})


def modes_shown(diagnosis: Diagnosis) -> list[str]:
    """The modes that any cell has, in their fixed order."""
    return [mode for mode in MODES if any(mode in cell.modes for cell in diagnosis.skills.values())]


def heat_map(diagnosis: Diagnosis, most: int = 40) -> str:
    """The `most` weakest skills as lines of text. Numbers are percentages; `*` marks weak skills, `+` failure modes
    above 0 beyond chance."""
    modes = modes_shown(diagnosis)
    names = order(diagnosis)
    width = min(MAX_NAME, max(len("skill"), *(len(name) for name in names))) if names else 5
    head = f"{'':>4}  {'skill':<{width}} {'n':>4}  {'right':>5} {'interval':<10} {'own':>4} "
    lines = [head + " ".join(f"{mode[:11]:>11}" for mode in modes)]
    for name in names[:most]:
        cell = diagnosis.skills[name]
        rank = place(diagnosis, name) or ""
        low, high = (round(100 * v) for v in cell.ci95)
        own = "" if cell.own is None else f"{100 * cell.own:.0f}"
        shown = name if len(name) <= width else name[: width - 1] + "…"
        mark = "*" if cell.weak else " "
        lines.append(
            f"{rank:>3}{mark}  {shown:<{width}} {cell.problems:>4}  {100 * cell.accuracy:>5.0f} "
            f"{f'{low}-{high}':<10} {own:>4} " + " ".join(_mode(cell.modes.get(mode)) for mode in modes)
        )
    if len(names) > most:
        lines.append(f"... and {len(names) - most} more skills in diagnosis.json")
    lines.append(
        f"{diagnosis.problems} problems, {diagnosis.answers} answers, {100 * diagnosis.accuracy:.1f} % right; "
        f"* weak beyond chance, + mode above 0 beyond chance; in %"
    )
    lines += [f"  {mode}: {MEANING[mode]}" for mode in modes]
    lines += [f"note: {limit}" for limit in diagnosis.limits]
    return "\n".join(lines)


def _mode(cell: ModeCell | None) -> str:
    if cell is None:
        return f"{'·':>11}"
    mark = "+" if cell.supported else " "
    return f"{shade(cell.value) * 3} {100 * cell.value:>6.0f}{mark}"
