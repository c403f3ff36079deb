"""Tries of letters: one id per letter, so that layouts can be derived by hand."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from r3v.records import Example, ExampleKind, Message, Prompt
from r3v.training.layout.trie import build_trie


class LetterEncoder:
    """One id per letter; a target ends in 0. Positions count."""

    def prompt(self, prompt):
        return SimpleNamespace(ids=[ord(c) for c in prompt.messages[0].text], images={})

    fingerprint = "letters"

    def target(self, text, *, ended=True):
        return [*(ord(c) for c in text), *([0] if ended else [])]

    def positions(self, model, ids, images):
        return torch.arange(len(ids))


def example(prompt: str, target: str, kind: ExampleKind = "answer", problem="p", **more) -> Example:
    return Example(kind, problem, Prompt(problem, (Message("user", prompt),)), target, **more)


def build(examples, **options):
    return build_trie(examples, LetterEncoder(), **options)
