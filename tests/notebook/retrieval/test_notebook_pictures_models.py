"""A note's picture in prompts of real model families: numbered, encoded behind the problem's own, and looked at."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from tiny_models import tiny

from r3v import prompts
from r3v.notebook.retrieval.pictures import Pictured, takes_several
from r3v.policies.base import SamplingParams
from r3v.policies.sampling.hf import HFPolicy
from r3v.prompts import STYLES
from r3v.records import BytesImage, Problem


def picture(colour: str) -> BytesImage:
    data = io.BytesIO()
    Image.new("RGB", (48, 40), colour).save(data, "PNG")
    return BytesImage(data.getvalue(), colour)


ASKED = Problem("p", "How large is angle B?", "40", "number", images=(picture("blue"),))
NOTE = Pictured("Subtract from 180.", (picture("red"),))


def test_pictures_of_notes_are_numbered_behind_those_of_the_problem() -> None:
    other = Pictured("Look twice.", (picture("green"), picture("white")))
    prompt = prompts.solve(ASKED, STYLES["full"], (NOTE, "Words alone.", other))
    assert [image.describe() for image in prompt.images] == ["blue", "red", "green", "white"]
    lines = prompt.messages[0].text.split("\n")
    assert lines[1].endswith("Subtract from 180.")
    assert lines[2] == "Image 2 belongs to this note; the question is not about it."
    assert lines[3].endswith("Words alone.")
    assert [line.split(" belongs")[0] for line in lines[5:7]] == ["Image 3", "Image 4"]
    plain = prompts.solve(ASKED, STYLES["full"], (str(NOTE),))
    assert plain.images == ASKED.images
    assert plain.hash != prompts.solve(ASKED, STYLES["full"], (NOTE,)).hash


@pytest.mark.parametrize("family", ["idefics3", "gemma3", "qwen2_5_vl", "qwen3_vl"])
def test_families_of_several_pictures_see_the_one_of_the_note(family: str) -> None:
    policy = HFPolicy(tiny(family))
    assert takes_several(policy)
    words, red = (prompts.solve(ASKED, STYLES["full"], (text,)) for text in (str(NOTE), NOTE))
    blue = prompts.solve(ASKED, STYLES["full"], (Pictured(NOTE, (picture("blue"),)),))
    count = [policy.encoder.prompt(p).ids.count(policy.encoder.image_token_id) for p in (words, red)]
    assert count[1] == 2 * count[0] > 0
    rows = policy.generate([words, red, blue], 1, SamplingParams(temperature=0, max_new_tokens=4))
    first = [row[0].logprobs[0] for row in rows]
    assert first[1] != first[2], "another picture of the same size is another input"


def test_a_family_of_one_picture_is_known_as_such() -> None:
    assert takes_several(HFPolicy(tiny("llava"))) is False
