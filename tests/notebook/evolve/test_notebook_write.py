"""Failures to edits: supervisors, replies, lineage, duplicates, tombstones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from r3v.data.geoworld import item_of, source
from r3v.errors import ConfigError
from r3v.notebook.evolve.supervisors import (
    SUPERVISORS,
    Failure,
    Lesson,
    PolicySupervisor,
    Sabotaged,
    Symbolic,
    lesson_hash,
    parse,
    sabotage,
    unusable,
)
from r3v.notebook.evolve.write import duplicates, merge, propose, retired
from r3v.notebook.store.note import Note
from r3v.prompts import STYLES
from r3v.records import Outcome, Problem, Prompt, Verdict

RULE = "The angles sum to 180, so subtract both from 180."
OTHER = "Opposite sides are equal, so add both and double."


def problem(number: int, family: str = "triangle") -> Problem:
    return Problem(f"{family}-{number}", f"In {family} {number}, find x.", "7", "number", meta={"family": family})


def failure(number: int, family: str = "triangle", shown: tuple[Note, ...] = ()) -> Failure:
    return Failure(problem(number, family), "Answer: 3", Verdict(Outcome.WRONG), shown)


class Says:
    """A supervisor with one rule for each family."""

    name = "teacher"

    def __init__(self, **rules: str) -> None:
        self.rules = rules

    def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
        families = [f.problem.meta["family"] for f in failures]
        return [Lesson(name, self.rules[name]) if name in self.rules else None for name in families]


def test_new_subjects_become_new_notes_with_their_sources() -> None:
    found = propose([failure(1), failure(2), failure(3, "rectangle")], Says(triangle=RULE, rectangle=OTHER), {})
    assert [(e.kind, e.lesson.subject, e.lesson.guidance, e.quoted) for e in found.edits] == [
        ("add", "rectangle", OTHER, ("rectangle-3",)),
        ("add", "triangle", RULE, ("triangle-1", "triangle-2")),
    ]
    note = found.edits[1].lesson
    assert (note.author, note.parents, note.state) == ("teacher", (), "active")
    assert note.sources == ("triangle-1", "triangle-2")
    assert any(value.startswith("source:") for value in note.source_hashes)


def test_the_same_failures_give_the_same_edit_keys() -> None:
    keys = [propose([failure(1), failure(2)], Says(triangle=RULE), {}).edits[0].key for _ in range(2)]
    assert keys[0] == keys[1]
    assert propose([failure(1)], Says(triangle=RULE), {}).edits[0].key != keys[0]


def test_a_known_subject_is_edited_with_lineage() -> None:
    old = propose([failure(1)], Says(triangle=RULE), {}).edits[0].lesson
    edit = propose([failure(2, shown=(old,))], Says(triangle=OTHER), {old.id: old}).edits[0]
    assert edit.kind == "edit"
    assert edit.lesson.id == old.id
    assert edit.lesson.guidance == OTHER
    assert edit.lesson.parents == (old.revision,)
    assert edit.lesson.sources == ("triangle-1", "triangle-2")


def test_a_known_lesson_is_proposed_again_only_for_problems_it_did_not_reach() -> None:
    old = propose([failure(1)], Says(triangle=RULE), {}).edits[0].lesson
    told = propose([failure(2, shown=(old,))], Says(triangle=RULE.upper()), {old.id: old})
    assert (told.edits, told.left_out["known already"]) == ([], 1)
    again = propose([failure(1)], Says(triangle=RULE), {old.id: old})
    assert again.edits == []
    unreached = propose([failure(2)], Says(triangle=RULE), {old.id: old}).edits[0].lesson
    assert (unreached.guidance, unreached.sources) == (RULE, ("triangle-1", "triangle-2"))


def test_a_failure_shown_the_note_of_another_subject_splits_it() -> None:
    wide = Note("wide", "shapes", "Look at the shape and add all of its sides.")
    edit = propose([failure(1, shown=(wide,))], Says(triangle=RULE), {"wide": wide}).edits[0]
    assert (edit.kind, edit.lesson.subject, edit.lesson.parents) == ("split", "triangle", (wide.revision,))


def test_refused_lessons_are_not_proposed_again_however_they_are_typed() -> None:
    stone = lesson_hash("triangle", RULE)
    found = propose([failure(1)], Says(triangle=RULE.upper() + "!"), {}, refused=lambda h: {} if h == stone else None)
    assert found.edits == []
    assert found.left_out["refused before"] == 1


def test_the_most_frequent_rule_of_a_subject_is_taken_and_few_failures_are_shown() -> None:
    class Wavers(Says):
        def lessons(self, failures: Sequence[Failure]) -> list[Lesson | None]:
            return [Lesson("triangle", OTHER if f.problem.id == "triangle-0" else RULE) for f in failures]

    found = propose([failure(i) for i in range(6)], Wavers(), {}, per_subject=3)
    assert found.edits[0].lesson.guidance == RULE
    assert found.edits[0].quoted == ("triangle-0", "triangle-1", "triangle-2")
    assert found.left_out["beyond per_subject"] == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no rule in it"), ("180 - 40 = 140 140 140", "no rule in it"), ("a rule " * 100, "too long"),
     ("Subtract, so the answer is 140.", "states an answer"), ("sum of the sides " * 8, "repeats itself"),
     (RULE, None)],
)  # fmt: skip
def test_text_that_is_no_rule_is_left_out(text: str, why: str | None) -> None:
    assert unusable(Lesson("triangle", text), problem(1)) == why
    found = propose([failure(1)], Says(triangle=text), {})
    assert len(found.edits) == (why is None)
    assert found.left_out[why or "x"] == (why is not None)


def test_replies_may_name_their_parts() -> None:
    reply = (
        f"Subject: **angles**\n- Guidance: {RULE}\n  It always holds.\nAvoid: adding them\nApplies when: two are given"
    )
    assert parse(reply, default="d") == Lesson(
        "angles", f"{RULE} It always holds.", anti_pattern="adding them", applicability="two are given"
    )
    assert parse(f"  {RULE}\n", default="d", prompt_hash="h") == Lesson("d", RULE, prompt_hash="h")
    assert unusable(parse("", default="d"), problem(1)) == "no rule in it"


def test_policy_supervisor_asks_for_a_note_and_survives_an_outage() -> None:
    asked: list[Prompt] = []

    def ask(prompts: Sequence[Prompt], seed: int) -> list[str | None]:
        asked.extend(prompts)
        return [RULE, None]

    supervisor = PolicySupervisor("tiny", STYLES["short"], ask)
    found = propose([failure(1), failure(2, "rectangle")], supervisor, {})
    assert "Wrong: Answer: 3\nThe answer is 7. Write a note." in asked[0].messages[0].text
    assert [(e.lesson.guidance, e.lesson.author, e.lesson.prompt_hash) for e in found.edits] == [
        (RULE, "tiny", asked[0].hash)
    ]
    assert found.left_out["no lesson given"] == 1


def test_symbolic_teacher_gives_the_note_of_the_family() -> None:
    """Its pictures are drawn, so the note carries their hash; a problem from elsewhere gets nothing."""
    geo = source("novel", 3)[0]
    lesson = Symbolic().lessons([Failure(geo, "", Verdict(Outcome.WRONG)), failure(1)])
    assert lesson[0] == Lesson(geo.meta["family"], item_of(geo).note, example=item_of(geo).rationale)
    assert lesson[1] is None
    assert SUPERVISORS["symbolic"]("name", None, None).name == "geoworld"


def test_sabotage_makes_rules_wrong() -> None:
    assert sabotage(RULE) == "The angles difference to 360, so add both from 360."
    assert sabotage("Look closely at it.") == "It is wrong that look closely at it."


def test_sabotaged_share_is_by_subject_and_seed() -> None:
    inner = Says(**{f"f{i}": RULE for i in range(200)})
    failures = [failure(1, f"f{i}") for i in range(200)]
    wrong = [x.guidance != RULE for x in Sabotaged(inner, 0.5, seed=1).lessons(failures) if x]
    assert 70 < sum(wrong) < 130
    assert wrong == [x.guidance != RULE for x in Sabotaged(inner, 0.5, seed=1).lessons(failures[:]) if x]
    assert not any(x.guidance != RULE for x in Sabotaged(inner, 0.0).lessons(failures) if x)
    with pytest.raises(ConfigError, match="share"):
        Sabotaged(inner, 1.5)


def test_notes_that_say_the_same_are_merged_into_the_first() -> None:
    a = Note("a", "triangle", RULE, sources=("p1",), source_hashes=("h1",))
    b = Note("b", "angles", RULE.lower(), sources=("p2", "p1"), source_hashes=("h2",))
    c = Note("c", "rectangle", OTHER)
    edits = duplicates({"a": a, "b": b, "c": c, "d": retired(replace(a, id="d"))})
    assert [[(n.id, n.state) for n in e.put] for e in edits] == [[("a", "active"), ("b", "retired")]]
    kept, gone = edits[0].put
    assert (kept.sources, kept.source_hashes) == (("p1", "p2"), ("h1", "h2"))
    assert kept.parents == (a.revision, b.revision)
    assert gone.parents == (b.revision,)
    with pytest.raises(ConfigError, match="at least two"):
        merge([a])
