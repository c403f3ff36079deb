"""The protocols on a scripted policy: who votes, which sample is the first, paired controls, and the ledger."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from PIL import Image

from r3v.errors import RunError
from r3v.policies.scripted import ScriptedPolicy
from r3v.prompts import STYLES
from r3v.records import BytesImage, Problem
from r3v.run.controls import paired, without_pictures
from r3v.run.evaluation import evaluate, read_rows
from r3v.run.ledger import append, entries, portable
from r3v.run.protocols import asked, protocol
from r3v.settings.config import SelectConfig

STYLE = STYLES["short"]


def problems() -> list[Problem]:
    """Four problems with the choices 30, 40, 50, 60; the gold is 40."""
    return [
        Problem(f"p{i}", "Angle C is ()", "B", "choice", choices=("30", "40", "50", "60"), split="test")
        for i in range(4)
    ]


SAID = {
    "p0": ["41", "41", "41", "40", "50", "40"],  # most say 41, which is no choice; of the others two of three say 40
    "p1": ["41", "50", "40", "40", "42", "43"],  # the first choice named is 50
    "p2": ["41", "42", "43", "44", "45", "46"],  # no choice at all
    "p3": ["I do not know", "40", "60", "60", "60", "1"],  # the first choice is 40, the majority 60
}


def scripted() -> ScriptedPolicy:
    def answer(prompt, index: int) -> str:
        said = SAID[prompt.problem_id][index]
        return f"Answer: {said}" if said.isdigit() else said

    return ScriptedPolicy(answer)


@pytest.mark.parametrize("name", ["choices", "open"])
def test_an_answer_that_is_no_choice_is_no_vote(name: str, tmp_path: Path) -> None:
    """p0: 40, 50, 40 vote: right. p1: 50, 40, 40: right. p2: wrong. p3: 40, 60, 60, 60: wrong."""
    out = tmp_path / "e.parquet"
    select = SelectConfig(n=6, max_new_tokens=40)
    block = evaluate(
        scripted(), asked(problems(), protocol(name)), ("greedy", "majority", "first"), select, STYLE, 0, out=out
    )
    assert block["majority@6"]["accuracy"] == 0.5
    assert block["first@6"]["accuracy"] == 0.5  # 40, 50, none, 40
    assert block["greedy"]["accuracy"] == 0.0  # sample 0 of each
    rows = {r["problem_id"]: r for r in read_rows(out) if r["metric"] == "first@6"}
    assert [rows[p]["index"] for p in ("p0", "p1", "p3")] == [3, 1, 1]
    assert rows["p2"]["outcome"] == "wrong"


class Drawing(ScriptedPolicy):
    """Draws a value by (seed, problem, index) alone, as every policy does."""

    def generate(self, prompts, n, params, *, seed=0, round=0, first_index=0):
        def answer(prompt, index: int) -> str:
            return f"Answer: {random.Random(f'{seed} {prompt.problem_id} {index}').randint(36, 64)}"

        self._answer = answer
        return super().generate(prompts, n, params, seed=seed, round=round, first_index=first_index)


def test_the_order_of_the_ten_is_fixed_by_the_seed(tmp_path: Path) -> None:
    """The first choice is the same whatever the order and the shards of the problems; the values are drawn here."""
    many = [Problem(f"p{i}", "Angle C is ()", "B", "choice", choices=("30", "40", "50", "60")) for i in range(12)]
    found = []
    for name, listed, seed, shard in (("a", many, 5, 256), ("b", many[::-1], 5, 5), ("c", many, 6, 256)):
        out, how = tmp_path / f"{name}.parquet", protocol("top10")
        select = SelectConfig(n=10, max_new_tokens=40)
        evaluate(
            Drawing(lambda prompt, index: ""),
            asked(listed, how),
            how.selectors,
            select,
            STYLE,
            seed,
            out=out,
            shard=shard,
        )
        found.append({r["problem_id"]: r["answer"] for r in read_rows(out) if r["metric"] == "first@10"})
    assert found[0] == found[1] != found[2]
    drawn = {
        p.id: [str(random.Random(f"5 {p.id} {i}").randint(36, 64)) for i in range(10)] for p in many
    }  # fmt: skip
    assert found[0] == {
        name: next((v for v in values if v in ("40", "50", "60")), None) for name, values in drawn.items()
    }


def test_open_prompts_hide_the_choices(tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(prompt, index: int) -> str:
        seen.append(prompt.messages[0].text)
        return "Answer: 40"

    for name, shown in (("open", False), ("choices", True)):
        seen.clear()
        evaluate(
            ScriptedPolicy(answer), asked(problems(), protocol(name)), ("greedy",), SelectConfig(), STYLE, 0,
            out=tmp_path / f"{name}.parquet",
        )  # fmt: skip
        assert {"Choices:" in text for text in seen} == {shown}


def test_rows_of_one_protocol_are_not_taken_for_another(tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    ask = (("greedy",), SelectConfig(), STYLE, 0)
    evaluate(scripted(), asked(problems(), protocol("open")), *ask, out=out)
    with pytest.raises(RunError, match="written with another model"):
        evaluate(scripted(), asked(problems(), protocol("top10")), *ask, out=out)


def test_paired_control() -> None:
    """a is right on p0, p1, p2; b on p2 alone; p3 has no answer of b. 2 won, 0 lost of 3: difference 2/3, and the exact
    two-sided sign test of 2 of 2 is 2 * 1/4 = 0.5. Wilson's interval of 1 of 3 is 6.1 to 79.2 %."""
    a = [row("p0", "correct"), row("p1", "correct"), row("p2", "correct"), row("p3", "wrong")]
    b = [row("p0", "wrong"), row("p1", "unparsed"), row("p2", "correct"), row("p3", "unavailable")]
    found = paired(a, "greedy", b, "greedy", "base")
    assert (found.n, found.wins, found.losses, found.p) == (3, 2, 0, 0.5)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.difference == pytest.approx(2 / 3)
    assert found.ci95 == pytest.approx((0.0615, 0.7923), abs=1e-4)
    with pytest.raises(RunError, match="no problem has an answer both"):
        paired(a, "greedy", [], "greedy", "base")


def row(problem: str, outcome: str) -> dict[str, str]:
    return {"problem_id": problem, "metric": "greedy", "outcome": outcome}


def test_blank_pictures_keep_their_size_and_say_nothing() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), (10, 20, 30)).save(buffer, "PNG")
    (blank,) = without_pictures([Problem("p", "?", "1", "number", (BytesImage(buffer.getvalue()),))])
    picture = Image.open(io.BytesIO(blank.images[0].read()))
    assert picture.size == (30, 20)
    assert picture.getcolors() == [(600, (255, 255, 255))]
    assert blank.meta["protocol"] == "blank"


def test_the_ledger_grows_by_one_line_and_never_changes_another(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    append(path, data="geoqa:data/geoqa?split=test", problems=608)
    first = path.read_text()
    append(path, data="geoqa:data/geoqa?split=test", problems=608, role="blank")
    assert path.read_text().startswith(first)
    assert [e.get("role") for e in entries(path)] == [None, "blank"]
    assert entries(path)[0]["date"] <= entries(path)[1]["date"]
    path.write_text(first + "{\n")
    with pytest.raises(RunError, match="line 2 is no JSON"):
        entries(path)
    with pytest.raises(RunError, match="cannot read"):
        entries(tmp_path / "none")


def test_a_command_is_noted_without_folders() -> None:
    said = ["r3v", "eval", "--data", "geoqa:/home/me/sets/geoqa?split=test", "--out", "/tmp/a/b.json", "--run.seed=3"]
    assert portable(said) == "r3v eval --data geoqa:geoqa?split=test --out b.json --run.seed=3"
    assert (
        portable(["--adapter=../runs/x/round_03/adapter", "--model", "smolgeo"]) == "--adapter=adapter --model smolgeo"
    )
    assert json.loads(json.dumps(portable(["geoqa:data/geoqa?split=test"]))) == "geoqa:data/geoqa?split=test"
