"""What follows a prompt is what the model would have written there: templates with thoughts, and ids by hand.

The tokenizer has a merge, so that "ab" is one token, while a model may well write it as two. Its vocabulary is small
enough to say every id by heart.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from r3v.errors import ModelError
from r3v.policies.model.encode import Encoder
from r3v.records import Candidate

SPECIAL = ("<pad>", "<|u|>", "<|a|>", "<|e|>")
TAGS = ("<think>", "</think>")
VOCABULARY = {token: i for i, token in enumerate((*SPECIAL, *TAGS, "x", "a", "b", "c", " ", "\n", "ab"))}
USER = "{% for m in messages %}{% if m.role == 'user' %}<|u|>{% for c in m.content %}{{ c.text }}{% endfor %}<|e|>"
SAY = "{% else %}<|a|>{}{% for c in m.content %}{{ c.text }}{% endfor %}<|e|>{% endif %}{% endfor %}"
ASK = "{% if add_generation_prompt %}<|a|>{}{% endif %}"
EMPTY = "<think>\n\n</think>\n\n"
TEMPLATES = {
    "plain": ("", ""),
    "opens": (EMPTY, "<think>\n"),  # Qwen3.5: history holds an empty thought
    "drops": ("", "<think>\n"),  # DeepSeek-R1: history holds none
    "writes": (EMPTY, ""),  # Qwen3: the model opens the thought itself
    "switch": (EMPTY, "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"),
}
EOT, THINK, THOUGHT, X, A, B, C, BLANK, LINE, AB = range(3, 13)


def encoder(name: str, thinking: bool | None = None, special: bool = False) -> Encoder:
    raw = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[("a", "b")]))
    raw.decoder = decoders.Fuse()
    raw.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL])
    raw.add_tokens([AddedToken(t, special=special, normalized=False) for t in TAGS])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|e|>", pad_token="<pad>")
    said, asked = TEMPLATES[name]
    tokenizer.chat_template = USER + SAY.replace("{}", said, 1) + ASK.replace("{}", asked, 1)
    return Encoder(tokenizer, SimpleNamespace(), thinking=thinking)


def candidate(text: str, ids: tuple[int, ...], stop: Any = "eos", tokenizer: str = "") -> Candidate:
    return Candidate("p", 0, 0, 0, text, ids, stop=stop, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("plain", (C, EOT)),
        ("opens", (LINE, THOUGHT, LINE, LINE, C, EOT)),
        ("drops", (LINE, THOUGHT, LINE, LINE, C, EOT)),
        ("writes", (THINK, LINE, LINE, THOUGHT, LINE, LINE, C, EOT)),
    ],
)
def test_a_direct_answer_comes_after_an_empty_thought(name: str, direct: tuple[int, ...]) -> None:
    """Taught inside the thought that the prompt has opened, it would be no answer."""
    found = encoder(name)
    assert found.target("c") == direct
    assert found.decode(direct[:-1]) == "c"


@pytest.mark.parametrize("name", ["opens", "drops"])
@pytest.mark.parametrize("text", ["<think>\nb\n</think>\n\na", "b\n</think>\n\na"])
def test_a_thought_of_its_own_is_not_thought_twice(name: str, text: str) -> None:
    """After a prompt that ends in "<think>\\n" the model goes on with b; so does the target, however it is kept."""
    ids = encoder(name).target(text)
    assert ids == (B, LINE, THOUGHT, LINE, LINE, A, EOT)
    assert encoder(name).decode(ids[:-1]) == "<think>\nb\n</think>\n\na", "a text that can be read by itself"


def test_a_thought_that_the_model_opens_is_taught_as_it_stands() -> None:
    ids = (THINK, LINE, B, LINE, THOUGHT, LINE, LINE, A, EOT)
    assert encoder("writes").target("<think>\nb\n</think>\n\na") == ids
    assert encoder("writes").decode(ids[:-1]) == "<think>\nb\n</think>\n\na"


def test_a_thought_that_was_cut_off_is_seen_in_the_text() -> None:
    """Its opening tag stood in the prompt: without it the graders would search the thought for an answer."""
    found = encoder("opens")
    assert found.decode((B, BLANK, A)) == "<think>\nb a"
    assert found.target("<think>\nb a", ended=False) == (B, BLANK, A)


def test_tags_that_are_special_tokens_are_part_of_the_reply() -> None:
    """As in Magistral: they may be sampled, and stay in the text."""
    found = encoder("opens", special=True)
    assert set(found.banned_ids) == {0, 1, 2}
    assert found.decode((B, THOUGHT, A)) == "<think>\nb</think>a"
    assert found.target("<think>\nb</think>a") == (B, THOUGHT, A, EOT)


def test_a_candidate_is_its_ids() -> None:
    """ "ab" sampled as a and b: its text would be the one token ab."""
    found = encoder("plain")
    mark = found.fingerprint
    assert found.target("ab") == (AB, EOT)
    assert found.sampled(candidate("ab", (A, B, EOT), tokenizer=mark)) == (A, B, EOT), "one end, not two"
    assert found.sampled(candidate("ab", (A, B), "length", mark)) == (A, B), "no end that was not sampled"
    assert found.sampled(candidate("ab", (A, B), "length", "")) == (AB,), "nor where only the text is known"
    assert found.sampled(candidate("ab", (A, B, EOT), tokenizer="another")) == (AB, EOT)
    assert found.sampled("ab") == (AB, EOT)


def test_fingerprints_differ_where_ids_mean_something_else() -> None:
    marks = [encoder("plain"), encoder("opens"), encoder("drops"), encoder("switch"), encoder("switch", False)]
    more = encoder("plain")
    more.tokenizer.add_tokens(["new"])
    assert len({e.fingerprint for e in (*marks, more)}) == 6
    assert encoder("opens").fingerprint == encoder("opens").fingerprint


def test_thinking_is_switched_where_the_template_can() -> None:
    assert encoder("switch").target("c") == (LINE, THOUGHT, LINE, LINE, C, EOT)
    assert encoder("switch", True).target("c") == (LINE, THOUGHT, LINE, LINE, C, EOT)
    assert encoder("switch", False).target("c") == (C, EOT), "the prompt has closed the thought"
    with pytest.raises(ModelError, match=r"found model\.thinking false, and the chat template"):
        encoder("opens", False)
