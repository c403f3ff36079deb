"""Notes in prompts: no token gets through, no limit is passed, and solvers are given what was retrieved."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from r3v import prompts
from r3v.embedding.lexical import Lexical
from r3v.errors import ConfigError, ImageError, RunError
from r3v.io import write_json
from r3v.notebook.retrieval.calibrate import calibrate
from r3v.notebook.retrieval.inject import CLOSE, OPEN, Recall, clean, note_text, open_recall
from r3v.notebook.retrieval.keys import remember
from r3v.notebook.retrieval.pictures import note_images
from r3v.notebook.retrieval.retrieve import Retriever
from r3v.notebook.retrieval.scoring import RetrievalConfig, calibration_file
from r3v.notebook.store.identity import hashes_of
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Notebook
from r3v.records import Problem

TOKENS = """<|im_start|> <|im_end|> <|endoftext|> <|vision_start|> <|image_pad|> <image> <img> </s> <s> <pad> <unk>
<start_of_turn> <end_of_turn> <start_of_image> <end_of_utterance> <fake_token_around_image> <row_1_col_1> <think>
</think> <tool_call> <|eot_id|> <|start_header_id|> <|begin_of_text|> <|user|> <|assistant|> <|channel|> <｜User｜>
<｜begin▁of▁sentence｜> <0x0A> <unused99> <<SYS>> [INST] [/INST] [IMG] [IMG_BREAK] [TOOL_CALLS] [SYSTEM_PROMPT]
[BOS] [CLS] [MASK] [AVAILABLE_TOOLS] <|"|> <bos> <eos> ＜image＞ ﹤image﹥ ［INST］""".split()  # noqa: SIM905
SPEAKERS = ("USER:", "ASSISTANT:", "### Human:", "System :", "assistant：", "Model**:", "user\u200b:")
HIDDEN = ("\u200b", "\u202e", "\ufeff", "\u00ad", "\x00", "\x1b", "\u2066", "\U000e0041", "\ue000", "\ud800", "\x85")
NASTY = st.lists(st.sampled_from([*TOKENS, *SPEAKERS, *HIDDEN, "<", "[", "]", "|", "\n", "\r", " ", OPEN, CLOSE]))
ANY = st.one_of(st.text(), NASTY.map("".join), st.tuples(st.text(), NASTY.map("".join), st.text()).map("".join))


def dangers(text: str) -> list[str]:
    """What must never stand in cleaned text, looked for without the code under test."""
    found = [token for token in TOKENS if token in text]
    folded = unicodedata.normalize("NFKC", text)
    found += re.findall(r"<[^ =]\S*|\[/?[A-Z]\w*\]|\[\[|\]\]", folded)
    found += re.findall(r"(?i)\b(?:user|assistant|system|human|model|tool)\W*:", folded)
    found += [
        f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") and c != "\n"
    ]
    return found


@given(ANY)
@settings(max_examples=300)
def test_nothing_dangerous_survives(text: str) -> None:
    cleaned = clean(text)
    assert dangers(cleaned) == []
    assert clean(cleaned) == cleaned


@given(ANY, ANY, ANY, st.integers(60, 400), st.sampled_from(["full", "short"]))
@settings(max_examples=300)
def test_a_note_in_a_prompt_is_short_marked_and_clean(
    subject: str, guidance: str, rest: str, limit: int, form: Any
) -> None:
    note = Note("n", subject + "s", guidance + "g", example=rest, anti_pattern=rest, applicability=rest)
    shown = note_text(note, limit, form)
    assert len(shown) <= limit
    if form == "short":
        assert "\n" not in shown
        assert dangers(shown) == []
        return
    assert shown.startswith(OPEN + "\n")
    assert shown.endswith("\n" + CLOSE)
    assert dangers(shown[len(OPEN) : -len(CLOSE)]) == []


@pytest.mark.parametrize("token", [*TOKENS, *SPEAKERS])
def test_each_known_token_is_broken(token: str) -> None:
    assert dangers(token.replace("\u200b", "")), "the test would not see it"
    for text in (token, f"a{token}b", f"{token[:2]}\u200b{token[2:]}", token.replace("_", "\u00ad_")):
        assert dangers(clean(text)) == []


def test_ordinary_words_and_mathematics_stay() -> None:
    text = "If x <= 3 and y < 5, then A = 2πr² ≥ 10 %; sides a, b: [1] 30°, (2) √2. Ratio 3:4 [cm]"
    assert clean(text) == text
    assert clean("角度の和は 180° です。") == "角度の和は 180° です。"
    assert clean("x<y") == "x< y"


NOTE = Note(
    "n",
    "Angles on a line",
    "They sum to 180, so subtract.",
    applicability="two angles share a line",
    anti_pattern="Adding them to 90.",
    example="135 gives 45.",
)


def test_the_full_form_holds_every_part_and_the_short_one_the_guidance() -> None:
    assert note_text(NOTE, 400) == (
        "[[note]]\nAbout Angles on a line\nThey sum to 180, so subtract.\nApplies when - two angles share a line\n"
        "Avoid - Adding them to 90.\nExample - 135 gives 45.\n[[end of note]]"
    )
    assert note_text(NOTE, 400, "short") == "They sum to 180, so subtract."


def test_what_does_not_fit_is_left_out_whole_and_guidance_is_cut_at_a_word() -> None:
    """Marks and their line breaks take 25; `About Angles on a line` 22, a break, the guidance 29: 77 in all. Another 40
    hold `Applies when - two angles share a line` (39 with its break)."""
    base = "[[note]]\nAbout Angles on a line\nThey sum to 180, so subtract.\n[[end of note]]"
    assert len(base) == 77
    assert note_text(NOTE, 77) == base
    assert "Applies when" not in note_text(NOTE, 115)
    assert "Applies when - two angles share a line\n[[" in note_text(NOTE, 116)
    assert note_text(NOTE, 20, "short") == "They sum to 180, ..."
    assert note_text(NOTE, 19, "short") == "They sum to ..."
    with pytest.raises(ConfigError, match="expected at least 49"):
        note_text(NOTE, 48)


def test_a_long_word_is_cut_and_a_cut_never_mends_a_token() -> None:
    assert note_text(replace(NOTE, guidance="a" * 50), 10, "short") == "aaaaaa ..."
    for limit in range(10, 60):
        assert dangers(note_text(replace(NOTE, guidance="see <|im_end|><|im_start|>x [INST] y"), limit, "short")) == []


def test_images_are_checked_before_they_are_decoded() -> None:
    data = io.BytesIO()
    Image.new("1", (3000, 2000)).save(data, "PNG")
    big, broken = data.getvalue(), b"no image"
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "PNG")
    blobs = {hashlib.sha256(b).hexdigest(): b for b in (big, broken, small.getvalue())}
    names = list(blobs)
    [image] = note_images(replace(NOTE, images=(names[2],)), blobs.__getitem__)
    assert image.read() == small.getvalue()
    for name, message in ((names[0], "6,000,000 pixels, more than the limit of 4,000,000"), (names[1], "not an image")):
        with pytest.raises(ImageError, match=message):
            note_images(replace(NOTE, images=(name,)), blobs.__getitem__)
    with pytest.raises(ImageError, match="other bytes"):
        note_images(replace(NOTE, images=(names[2],)), lambda name: broken)


# ---- Recall --------------------------------------------------------------------------------------------


def problem(name: str, question: str) -> Problem:
    return Problem(id=name, question=question, answer="5", kind="number")


ASKED = problem("q1", "Two angles on a line: one is 40, find the other.")
OFF = problem("q2", "How many red cars?")
LINE = Note("line", "angles on a line", "Two angles on a line sum to 180; subtract.")


def recall(**more: Any) -> Recall:
    return Recall(Retriever({"line": LINE}, Lexical(), 0.2), prompts.style("short"), **more)


def test_recall_gives_texts_for_prompts_and_tells_what_it_did() -> None:
    told: list[Any] = []
    found = recall(record=told.append)
    assert found([ASKED, OFF, ASKED]) == [(LINE.guidance,), (), (LINE.guidance,)]
    found([ASKED])
    [events] = told
    assert [(kind, data["note"], data["problem"]) for kind, data in events] == [
        ("retrieved", "line", "q1"),
        ("injected", "line", "q1"),
    ]
    assert events[0][1]["withheld"] is False
    assert events[0][1]["revision"] == LINE.revision
    text = prompts.solve(ASKED, found.style, found([ASKED])[0]).messages[0].text
    assert text == f"{ASKED.question}\nNote: {LINE.guidance}\nSolve step by step."


def test_withheld_notes_are_told_but_not_shown() -> None:
    told: list[Any] = []
    found = recall(record=told.append, withhold=1.0)
    assert found([ASKED]) == [()]
    assert [(kind, data["withheld"]) for kind, data in told[0]] == [("retrieved", True)]
    assert [hit.note.id for hit in found.withheld(ASKED)] == ["line"]
    assert found.shown(ASKED) == []


def test_withholding_is_a_share_drawn_from_the_seed() -> None:
    """Of 400 problems with a note, 20 % withheld: 80 expected, deviation 8; 50 to 110 is within four deviations."""
    asked = [problem(f"p{i}", ASKED.question) for i in range(400)]
    empty = [i for i, notes in enumerate(recall(withhold=0.2)(asked)) if not notes]
    assert 50 <= len(empty) <= 110
    assert empty == [i for i, notes in enumerate(recall(withhold=0.2)(list(reversed(asked)))[::-1]) if not notes]
    assert empty != [i for i, notes in enumerate(recall(withhold=0.2, seed=1)(asked)) if not notes]
    with pytest.raises(ConfigError, match="withhold"):
        recall(withhold=1.5)


def test_the_name_changes_with_whatever_changes_the_texts() -> None:
    other = Retriever({"line": replace(LINE, guidance="Subtract from 180.")}, Lexical(), 0.2)
    names = {
        recall().name,
        recall(limit=50).name,
        recall(withhold=0.5).name,
        Recall(other, prompts.style("short")).name,
        Recall(recall().retriever, prompts.style("full")).name,
    }
    assert len(names) == 5
    assert recall().name == recall(record=print).name


def test_a_limit_too_small_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="note limit of 3"):
        recall(limit=3)


def test_a_notebook_file_opens_ready_to_use_and_logs(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    source = problem("s", "Two angles on a line: one is 75, find the other.")
    cfg = RetrievalConfig(embedder="lexical", threshold=0.4)
    with Notebook.open(path, create=True) as notebook:
        remember(notebook, [source], Lexical(), "text")
        learnt = replace(LINE, sources=("s",), source_hashes=hashes_of([source]))
        notebook.commit([learnt], message="learn", author="test")
    with open_recall(path, None, prompts.style("short"), cfg) as found:
        assert found([ASKED, source, OFF]) == [(LINE.guidance,), (), ()]
    with Notebook.open(path) as notebook:
        assert [(e.kind, e.data["problem"]) for e in notebook.events()] == [("retrieved", "q1"), ("injected", "q1")]
    with open_recall(path, None, prompts.style("short"), cfg, record=False) as found:
        found([ASKED])
    with Notebook.open(path) as notebook:
        assert len(list(notebook.events())) == 2


def test_without_a_threshold_the_calibration_is_asked_for_then_used(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    Notebook.open(path, create=True).close()
    cfg = RetrievalConfig(embedder="lexical")
    with (
        pytest.raises(RunError, match=r"Run r3v notebook calibrate .*n\.sqlite --embedder lexical --fusion text"),
        open_recall(path, None, prompts.style("short"), cfg),
    ):
        pass
    items = [problem(f"p{i}", f"{word} {i} of {word}s and {word}ing?") for i, word in enumerate(WORDS)]
    made = calibrate(items, Lexical(), fusion="text", rate=0.3, by="none")
    write_json(calibration_file(path), [made.to_dict()])
    with open_recall(path, None, prompts.style("short"), cfg) as found:
        assert found.retriever.threshold == made


WORDS = "car tree house river stone cloud light paper chair glass apple horse".split()  # noqa: SIM905
