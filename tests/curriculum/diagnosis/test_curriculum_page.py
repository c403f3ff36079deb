"""The heat map, the page and the command: whole, escaped, the same numbers everywhere, resumed after a stop."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import r3v.reflection.stages
from r3v.app.commands import diagnose as diagnose_commands
from r3v.app.parser import Parser
from r3v.curriculum.diagnosis.cells import MODES, ProbeRecord
from r3v.curriculum.diagnosis.diagnosis import diagnose
from r3v.curriculum.diagnosis.findings import ModeCell, SkillCell, read_diagnosis
from r3v.curriculum.diagnosis.heat import heat_map, order, place, shade
from r3v.curriculum.diagnosis.page import mode_cell, render, right_and_own
from r3v.curriculum.diagnosis.probes import probe_set
from r3v.errors import ConfigError, DataError
from r3v.pages.kit import Cell
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import BytesImage, Outcome, Problem, Prompt
from r3v.settings.config import Config, ModelConfig, SampleConfig

EVIL = "<script>alert('x')</script>&\""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e221bc330000"
    "000049454e44ae426082"
)


class Balance(HTMLParser):
    """Fails on a tag that is closed and was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in {"meta", "img", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def evil_records() -> list[ProbeRecord]:
    """Skill EVIL is on 12 of 24 problems, wrong there unless the theorem is named; every text is hostile."""
    made = []
    for i in range(24):
        skills = (EVIL,) if i % 2 else ("fine",)
        for variant in ("base", "named"):
            for k in range(2):
                right = skills == ("fine",) or variant == "named"
                outcome = Outcome.CORRECT if right else Outcome.WRONG
                made.append(
                    ProbeRecord(f"p{i}{EVIL}", variant, skills, outcome, index=k, question=EVIL, gold=EVIL, text=EVIL)
                )
    return made


def test_the_page_is_whole_fetches_nothing_and_escapes_everything() -> None:
    found = diagnose(evil_records(), context={"model": EVIL, "data": EVIL})
    problems = {f"p{i}{EVIL}": Problem(f"p{i}{EVIL}", "?", "1", "number", (BytesImage(PNG),)) for i in range(24)}
    text = render(found, problems)
    page = Balance()
    page.feed(text)
    assert page.open == []
    assert not page.seen & {"script", "link", "iframe", "object"}
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") > 10
    assert "data:image/png;base64," in text
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|url\(|@import", text)


def test_the_numbers_of_the_diagnosis_stand_in_the_page_and_the_heat_map() -> None:
    found = diagnose(evil_records())
    cell = found.skills[EVIL]
    text, lines = render(found), heat_map(found).splitlines()
    low, high = (round(100 * v) for v in cell.ci95)
    assert f">{100 * cell.accuracy:.0f}<small>{100 * cell.ci95[0]:.0f} to {100 * cell.ci95[1]:.0f}</small></td>" in text
    assert lines[1].startswith("  1*  <script>alert(")
    assert f"{low}-{high}" in lines[1]
    assert f"{100 * cell.modes['knowledge'].value:.0f}+" in lines[1]
    assert "2" in lines[2].split()[0]
    assert "24 problems, 48 answers, 50.0 % right" in "\n".join(lines)
    assert "note: Variant described was not asked" in "\n".join(lines)
    assert set(cell.modes) == {"knowledge", "unparsed", "truncated", "unexplained"}
    assert list(cell.modes) == [mode for mode in MODES if mode in cell.modes]


def test_what_was_not_asked_stands_in_a_table_not_in_the_heading() -> None:
    text = render(diagnose(evil_records(), context={"k": 2, "variants_missing": {"named": {"no note <b>": 12}}}))
    assert "variants_missing" not in text
    assert "{&quot;" not in text
    assert '<p class="soft">k: 2</p>' in text
    assert '<th scope="row">named</th><td>12</td><td>no note &lt;b&gt;</td>' in text


def test_shades_rise_with_the_value() -> None:
    assert [shade(v) for v in (-1, 0, 0.125, 0.25, 0.375, 0.5, 1)] == [" ", " ", "░", "▒", "▓", "█", "█"]


def test_a_long_list_is_cut_in_the_terminal_only() -> None:
    made = [ProbeRecord(f"p{i}", "base", (f"s{i % 50:02d}",), Outcome.CORRECT) for i in range(100)]
    text = heat_map(diagnose(made))
    assert "... and 10 more skills" in text
    text = render(diagnose(made))
    assert text.count('<th scope="row">s') == 50, "two problems each are too few for a place in the ranking"
    assert "50 of 50 skills" in text


def scripted(problems: list[Problem]) -> ScriptedPolicy:
    """Right but on problems with a circle, where it reads nothing unless the figure is described."""
    circles = {p.id for p in problems if "perception:circle" in p.skills}
    gold = {p.id: p.gold_text for p in problems}

    def answer(prompt: Prompt, index: int) -> str:
        base, _, variant = prompt.problem_id.partition("~")
        right = base not in circles or "The figure:" in prompt.messages[0].text
        return f"Answer: {gold[base]}" if right and variant in ("", "described") else "Answer: 12345"

    return ScriptedPolicy(answer)


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    diagnose_commands.register(parser.add_subparsers())
    return parser.parse_args(["diagnose", *flags])


def test_the_command_writes_json_page_and_answers_and_goes_on_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = scripted(probe_set("geoworld:gate", 48, iteration=2))
    monkeypatch.setattr(r3v.reflection.stages, "make_policy", lambda model, config: policy)
    flags = ["--data", "geoworld:gate", "--n", "48", "--k", "2", "--iteration", "2", "--variants", "described"]
    args = parse(*flags, "--out", str(tmp_path / "d"))
    assert args.handler(args, []) == 0
    shown = capsys.readouterr().out
    found = read_diagnosis(tmp_path / "d" / "diagnosis.json")
    weakest = found.ranking[0]
    assert "perception:circle" in (weakest, *found.skills[weakest].together)
    assert found.skills["perception:circle"].modes["perception"].value > 0.6
    circle = found.skills["perception:circle"]
    assert circle.modes["perception"].note == f"{circle.problems} problems, fewer than 10: no statement"
    assert found.context["iteration"] == 2
    assert order(found)[0][:30] in shown.splitlines()[1]
    assert "data:image/png" in (tmp_path / "d" / "diagnosis.html").read_text()
    assert (tmp_path / "d" / "diagnosis.json.config.yaml").exists()
    calls = len(policy.calls)
    assert args.handler(args, []) == 0
    assert len(policy.calls) == calls, "the answers were there"


def test_the_flags_name_every_aid() -> None:
    from r3v.curriculum.diagnosis.cells import AIDS

    parser = argparse.ArgumentParser()
    told = diagnose_commands.register(parser.add_subparsers()).format_help()
    assert ",".join(AIDS) in "".join(told.split())
    with pytest.raises(ConfigError, match="found --iteration -1, expected a whole number of at least 0"):
        registered().parse_args(["diagnose", "--data", "geoworld:gate", "--iteration", "-1"])


def registered() -> Parser:
    parser = Parser()
    diagnose_commands.register(parser.add_subparsers())
    return parser


def test_no_statement_has_no_colour_and_nothing_is_minus_nought() -> None:
    """A skill on too few problems to rank is not red, however wrong; an interval from just below 0 begins at 0."""
    cell = SkillCell(2, 2, 0.0, 0.1, (-0.001, 0.4), None, None, None, None, None, None, False, (), False, "too few", {})
    assert right_and_own(cell) == [Cell("10", "0 to 40"), Cell("–")]
    few = replace(cell, rank=1, own=0.05, note="2 problems, fewer than 10: no statement")
    assert [c.css for c in right_and_own(few)] == ["", ""]
    assert mode_cell(ModeCell(0.5, (-0.002, 0.9), 2, False), few.stated) == Cell("50", "0 to 90")
    known = replace(few, note="")
    assert [c.css for c in right_and_own(known)] == ["t7", "t7"], "10 % right: as red as it gets"


def test_skills_with_a_statement_stand_first_and_are_counted_alone() -> None:
    """a and b are ranked 1 and 3 on enough problems, c is ranked 2 on two: places 1, 2 and none."""
    base = SkillCell(12, 12, 0.1, 0.1, (0.0, 0.4), None, None, None, None, None, 1, False, (), False, "", {})
    few = replace(base, rank=2, problems=2, note="2 problems, fewer than 10: no statement")
    found = replace(
        diagnose(evil_records()), skills={"c": few, "b": replace(base, rank=3), "a": base}, ranking=("a", "c", "b")
    )
    assert order(found) == ["a", "b", "c"]
    assert [place(found, name) for name in "abc"] == [1, 2, None]
    text = render(found)
    assert text.index(">1. a<") < text.index(">2. b<") < text.index("1 of 3 skills") < text.index('<th scope="row">c<')


def test_other_categories(tmp_path: Path) -> None:
    problems = probe_set("geoworld:gate", 24, iteration=0)
    config = replace(Config(), model=ModelConfig(prompt_style="short"), sample=SampleConfig(shard_size=64))
    policy, settings = scripted(problems), {"variants": (), "k": 1, "progress": False}
    types = diagnose_commands.measure(policy, problems, tmp_path / "t", config, categories="image-types", **settings)
    assert list(types.skills) == ["geometric"]
    vectors = {p.id: np.eye(3)[i % 3] for i, p in enumerate(problems)}
    path = tmp_path / "v.npz"
    np.savez(path, ids=np.array(list(vectors)), vectors=np.stack(list(vectors.values())))
    read = diagnose_commands.read_vectors(str(path))
    found = diagnose_commands.measure(
        policy, problems, tmp_path / "c", config, categories="clusters", vectors=read, **settings
    )
    assert [cell.problems for cell in found.skills.values()] == [8, 8, 8]
    with pytest.raises(DataError, match="found no embedding for 23 of 24"):
        diagnose_commands.categories_of(problems, "clusters", policy, {problems[0].id: np.ones(2)}, 0)
    with pytest.raises(ConfigError, match="without --vectors"):
        diagnose_commands.read_vectors(None)
    path.write_text("no archive")
    with pytest.raises(DataError, match="cannot read embeddings"):
        diagnose_commands.read_vectors(str(path))


def test_answers_of_another_iteration_are_not_mixed_in(tmp_path: Path) -> None:
    config = replace(Config(), model=ModelConfig(prompt_style="short"))
    settings = {"variants": (), "k": 1, "progress": False}
    first = probe_set("geoworld:gate", 24, iteration=0)
    second = probe_set("geoworld:gate", 24, iteration=1)
    diagnose_commands.measure(scripted(first), first, tmp_path, config, iteration=0, **settings)
    from r3v.errors import RunError

    with pytest.raises(RunError, match="other settings"):
        diagnose_commands.measure(scripted(second), second, tmp_path, config, iteration=1, **settings)
    assert json.loads((tmp_path / "diagnosis.json").read_text())["context"]["iteration"] == 0
