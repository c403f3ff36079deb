"""Thoughts in texts and prompts, and the compact form of token ids."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from reflection_fakes import number

from r3v import prompts as words
from r3v.errors import ConfigError
from r3v.records import Candidate
from r3v.thoughts import marked, opened, spoken
from r3v.token_ids import TokenIds

THOUGHT = "<think>\n2 + 2 is 5, no, 4\n</think>\n\nSo it is 4.\nAnswer: 4"
SAID = "So it is 4.\nAnswer: 4"
PLAIN = words.style("short")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b\nAnswer: 4", "a < b\nAnswer: 4"),
        ("<think>\nx\n</think>\n\ny", "\n\n\ny"),
        ("x\n</think>\n\ny", "\n\ny"),
        ("[THINK]x[/THINK]y", "\ny"),
        ("◁think▷x◁/think▷y", "\ny"),
        ("<think>\nx", None),
        ("y <think>x", None),
    ],
)
def test_what_was_said_is_what_follows_the_thought(text: str, expected: str | None) -> None:
    assert spoken(text) == expected


def test_tags_are_seen_where_they_count() -> None:
    assert opened("<|a|><think>\n") == ("<think>\n", "</think>")
    assert opened("<|a|>[THINK]") == ("[THINK]", "[/THINK]")
    assert opened("<|a|><think>\n\n</think>\n\n") is None, "an empty thought is closed"
    assert marked("x</think>y")
    assert marked(" <think>x")
    assert not marked("to <think> is to be"), "in the middle of a sentence nothing is opened"


def test_prompts_show_what_was_said_unless_the_style_shows_thoughts() -> None:
    problem, both = number(), words.style("short+thoughts")
    assert both.name == "short+thoughts", "so that shards and adapters of the other kind are other ones"
    for make in (
        lambda s: words.refine(problem, s, THOUGHT),
        lambda s: words.select(problem, s, ["Answer: 3", THOUGHT]),
        lambda s: words.write_note(problem, s, THOUGHT),
    ):
        dropped, shown = make(PLAIN).messages[0].text, make(both).messages[0].text
        assert "2 + 2 is 5" not in dropped
        assert "think>" not in dropped
        assert SAID in dropped
        assert THOUGHT in shown
    assert words.select_target(PLAIN, 1, "4", "solution", THOUGHT) == SAID
    cut = "<think>\n2 + 2 is"
    assert f"Check this: {cut}\n" in words.refine(problem, PLAIN, cut).messages[0].text, "nothing else was said"


def test_a_file_of_words_says_what_of_a_thought_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: short\nthoughts: shown\n")
    assert THOUGHT in words.refine(number(), words.style(str(path)), THOUGHT).messages[0].text
    path = tmp_path / "wrong.yaml"
    path.write_text("base: short\nthoughts: hidden\n")
    with pytest.raises(ConfigError, match="found thoughts 'hidden', expected dropped or shown"):
        words.style(str(path))
    with pytest.raises(ConfigError, match=r"found prompt style 'long', expected .* with or without \+thoughts"):
        words.style("long+thoughts")


def test_token_ids_are_a_sequence_of_four_bytes_each() -> None:
    ids = TokenIds((3, 2**31 - 1, 0))
    assert ids == (3, 2**31 - 1, 0) == ids
    assert ids == TokenIds([3, 2**31 - 1, 0])
    assert ids != (3, 0)
    assert (ids[0], ids[-1], ids[:2], len(ids), list(ids)) == (3, 0, (3, 2**31 - 1), 3, [3, 2**31 - 1, 0])
    assert len({ids, TokenIds(ids), (3, 2**31 - 1, 0)}) == 1
    assert pickle.loads(pickle.dumps(ids)) == ids
    found = np.frombuffer(ids.buffer, dtype=np.int32)
    assert (found.tolist(), found.nbytes) == ([3, 2**31 - 1, 0], 12)
    assert TokenIds.from_bytes(found.tobytes()) == ids
    assert isinstance(Candidate("p", 0, 0, 0, "x", [1, 2]).token_ids, TokenIds)
