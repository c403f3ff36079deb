"""What a rule looks like once it is written out for named points, and how an equation is solved for its unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from r3v.data.euclid.exact import Exact, number
from r3v.data.euclid.figure import Fact, Quantity
from r3v.data.euclid.names import Names

Why = Callable[[Names], str]


@dataclass(slots=True)
class Instance:
    """A rule written out for named points. `needs` are facts; a need ("is", quantity, Exact) wants that value."""

    rule: str
    needs: tuple[Fact, ...]
    why: Why
    tags: tuple[str, ...] = ()
    """Theorem tags beside those of the rule, for this instance alone."""

    def keys(self) -> Iterable[Fact]:
        """What may wake this instance."""
        for need in self.needs:
            yield need[1] if need[0] == "is" else need
            if need[0] == "eq":
                yield need[1]
                yield need[2]


@dataclass(slots=True)
class Implies(Instance):
    """From facts to a fact."""

    gives: Fact = ()


@dataclass(slots=True)
class Equal(Instance):
    """Two quantities are equal: a fact, and a way for a value to pass from one to the other."""

    a: Quantity = ()
    b: Quantity = ()

    def keys(self) -> Iterable[Fact]:
        yield from Instance.keys(self)
        yield self.a
        yield self.b


@dataclass(slots=True)
class Relation(Instance):
    """An equation of quantities, solved for the only one that is not known.

    form "linear": sum of c·q = const. form "product": product of q^c = const. form "squares": a² + b² = c² with
    `terms` a, b, c. form "cosines": c² = a² + b² ± ab.
    """

    form: str = "linear"
    terms: tuple[tuple[int, Quantity], ...] = ()
    const: Exact = field(default_factory=lambda: number(0))

    def keys(self) -> Iterable[Fact]:
        yield from Instance.keys(self)
        for _, q in self.terms:
            yield q


def value_of(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> Exact | None:
    """The unknown of a relation, or None where it is no exact number."""
    c, key = unknown
    if r.form == "linear":
        total = r.const
        for k, q in r.terms:
            if q != key:
                total = total + number(-k) * values[q]
        return total.over(number(c))
    if r.form == "product":
        above, below = _sides(r, unknown, values)
        total = number(1)
        for v in above:
            total = total * v
        for v in below:
            quotient = total.over(v)
            if quotient is None:
                return None
            total = quotient
        return total.root() if abs(c) == 2 else total
    (sign, a), (_, b), (_, hypotenuse) = r.terms
    if r.form == "cosines":
        if key != hypotenuse:
            return None
        x, y = values[a], values[b]
        return (x * x + y * y + number(sign) * x * y).root()
    return _square_sum(r, key, values)[2].root()


def _sides(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> tuple[list[Exact], list[Exact]]:
    """What is multiplied and what is divided by to solve a product."""
    c, key = unknown
    above = [v for k, q in r.terms if q != key and k * c < 0 for v in [values[q]] * abs(k)]
    below = [v for k, q in r.terms if q != key and k * c > 0 for v in [values[q]] * abs(k)]
    const = r.const.fraction
    if const is None:
        (above if c > 0 else below).append(r.const)
    else:
        top, bottom = (const.numerator, const.denominator) if c > 0 else (const.denominator, const.numerator)
        above += [number(top)] * (top != 1)
        below += [number(bottom)] * (bottom != 1)
    return above, below


def _square_sum(r: Relation, key: Quantity, values: Mapping[Fact, Exact]) -> tuple[Exact, Exact, Exact, str]:
    """The two known sides of a right triangle, the square of the third, and the sign between."""
    (_, a), (_, b), (_, c) = r.terms
    first, other = (a, b) if key == c else (c, b if key == a else a)
    x, y = values[first], values[other]
    return (x, y, x * x + y * y, "+") if key == c else (x, y, x * x - y * y, "-")


def working(r: Relation, key: Quantity, values: Mapping[Fact, Exact]) -> str:
    """The calculation that solves a relation for `key`, such as "180 - 80 - 60"; "" where there is nothing to do."""
    unknown = next(term for term in r.terms if term[1] == key)
    if r.form == "linear":
        return _linear_text(r, unknown, values)
    if r.form == "product":
        return _product_text(r, unknown, values)
    if r.form == "cosines":
        (sign, a), (_, b), _ = r.terms
        x, y = values[a], values[b]
        total = x * x + y * y + number(sign) * x * y
        mark = "+" if sign > 0 else "-"
        return f"√({_squared(x)} + {_squared(y)} {mark} {_factor(x)} * {_factor(y)}) = √{_factor(total)}"
    x, y, total, mark = _square_sum(r, key, values)
    return f"√({_squared(x)} {mark} {_squared(y)}) = √{_factor(total)}"


def _linear_text(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> str:
    c, key = unknown
    parts = [] if not r.const.terms else [(1, r.const)]
    parts += [(-k, values[q]) for k, q in r.terms if q != key]
    if c < 0:
        parts = [(-k, v) for k, v in parts]
    parts.sort(key=lambda part: part[0] < 0)
    text = ""
    for k, v in parts:
        plain = v.text if len(v.terms) < 2 or k == 1 else f"({v.text})"
        written = plain if abs(k) == 1 else f"{abs(k)} * {plain}"
        text += written if not text and k > 0 else f" {'+' if k > 0 else '-'} {written}"
    if abs(c) != 1:
        text = f"({text}) / {abs(c)}" if len(parts) > 1 else f"{text} / {abs(c)}"
    return text.strip() if len(parts) > 1 or abs(c) != 1 or abs(parts[0][0]) != 1 else ""


def _product_text(r: Relation, unknown: tuple[int, Quantity], values: Mapping[Fact, Exact]) -> str:
    """Multiplied first and divided then."""
    above, below = _sides(r, unknown, values)
    text = " * ".join(map(_factor, above)) if above else "1"
    text += "".join(f" / {_factor(v)}" for v in below)
    if abs(unknown[0]) == 2:
        return f"√({text})" if len(above) + len(below) > 1 else f"√{text}"
    return text if len(above) + len(below) > 1 else ""


def _factor(v: Exact) -> str:
    text = v.text
    return f"({text})" if any(mark in text for mark in " /√") else text


def _squared(v: Exact) -> str:
    return f"{_factor(v)}²"
