"""A written number as tokens, by the lexer of the table of rules, and a cursor over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from r3v.grading import rules


class Unreadable(Exception):
    """The tokens are no number."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    meaning: Any
    text: str


END = Token("end", None, "")


def tokens_of(table: rules.Table, text: str) -> list[Token]:
    """The whole text as tokens. Raises Unreadable where a part of it is none."""
    found, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = table.lexer.match(text, position)
        if match is None or match.end() == position:
            raise Unreadable
        kind, meaning = table.meanings[str(match.lastgroup)]
        found.append(Token(kind, meaning, match[0]))
        position = match.end()
    return found


class Cursor:
    """Tokens from left to right. `unit` and `question`: the problem's own; `nouns`: whether they count as units."""

    def __init__(self, table: rules.Table, tokens: list[Token], unit: str, question: str, nouns: bool) -> None:
        self.table, self.tokens, self.nouns = table, tokens, nouns
        self.unit, self.question = unit.casefold(), question.casefold()
        self.at = 0

    def peek(self, ahead: int = 0) -> Token:
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else END

    def next_is(self, *texts: str) -> bool:
        token = self.peek()
        return token.kind == "operator" and token.text in texts

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, text: str) -> None:
        if not self.next_is(text):
            raise Unreadable
        self.at += 1

    def sign(self) -> bool | None:
        """One sign in front: True for minus, False for plus, None for no sign."""
        token = self.peek()
        if token.kind == "minus" or self.next_is("-"):
            self.take()
            return True
        if token.kind == "plus" or self.next_is("+"):
            self.take()
            return False
        return None
