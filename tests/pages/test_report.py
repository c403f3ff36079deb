"""The report of a scripted run: self-contained, escaped, every number in a table, and the charts' arithmetic."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import scripted_run

from r3v.errors import RunError
from r3v.pages import charts, gallery
from r3v.pages.charts import BOTTOM, HEIGHT, Point, rounds_chart, spread_labels
from r3v.pages.kit import count, points
from r3v.pages.report import write_report
from r3v.reflection.loop import train

VOID = {"meta", "img", "br", "wbr"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    scripted_run.run(folder, rounds=2, n=16)
    return folder


class Balance(HTMLParser):
    """Fails on a tag that is closed and was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(run: Path) -> None:
    text = write_report(run).read_text()
    page = Balance()
    page.feed(text)
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "object"}
    sources = [attrs["src"] for tag, attrs in page.seen if tag == "img"]
    assert len(sources) == 12
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|url\(|@import", text)


def test_charts_have_titles_and_tables_have_headers(run: Path) -> None:
    page = Balance()
    page.feed(write_report(run).read_text())
    drawings = [attrs for tag, attrs in page.seen if tag == "svg"]
    assert len(drawings) >= 7
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.seen if tag == "th")
    tables = [attrs for tag, attrs in page.seen if tag == "table"]
    assert len(tables) > 5
    assert all(attrs["aria-label"] for attrs in tables)


def test_the_numbers_of_run_json_stand_in_the_page(run: Path) -> None:
    text = write_report(run).read_text()
    for entry in json.loads((run / "run.json").read_text())["rounds"]:
        for cell in entry["eval"].values():
            low, high = cell["ci95"]
            assert f"<td>{100 * cell['accuracy']:.1f}\n{100 * low:.1f} to {100 * high:.1f}</td>" in text
    assert "gate, greedy" in text


def test_what_the_model_writes_is_escaped(run: Path) -> None:
    text = write_report(run, problems=16).read_text()
    assert "I cannot read the &lt;figure&gt; &amp; stop." in text
    assert "<figure>" not in text


def test_the_gallery_survives_data_that_is_gone(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("eval: geoworld:test", "eval: jsonl:/gone.jsonl"))
    text = write_report(copy).read_text()
    assert "No pictures" in text
    assert "/gone.jsonl" in text


def test_a_run_with_missing_files_is_an_error(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "round_01" / "report.json").unlink()
    with pytest.raises(RunError, match=r"round_01/report\.json: file not found"):
        write_report(copy)


def row(problem: str, selector: str, outcome: str) -> dict:
    return {"problem_id": problem, "selector": selector, "outcome": outcome}


def test_the_gallery_deals_the_kinds_in_turn() -> None:
    """a: newly right. b: wrong but rescued by fused. c: right but misled. d: newly wrong. e: still wrong. f: still
    right. g: newly right too, so it comes after one of each."""
    pairs = {"a": "wc", "b": "ww", "c": "cc", "d": "cw", "e": "ww", "f": "cc", "g": "wc"}
    words = {"w": "wrong", "c": "correct"}
    fused = {"a": "c", "b": "c", "c": "w", "d": "w", "e": "w", "f": "c", "g": "c"}
    before = {i: [row(i, "greedy", words[p[0]])] for i, p in pairs.items()}
    after = {i: [row(i, "greedy", words[p[1]]), row(i, "fused", words[fused[i]])] for i, p in pairs.items()}
    assert gallery.choose(before, after, 7) == list("abcdefg")
    assert gallery.choose(before, after, 3) == list("abc")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 3, [0, 1, 2, 3]),
        (31, 68, [30, 40, 50, 60, 70]),
        (5, 5, [5, 5.2, 5.4, 5.6, 5.8, 6]),
    ],
)
def test_ticks_are_round_and_cover(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == expected


def test_labels_are_spread_without_changing_their_order() -> None:
    assert charts.spread_labels([10, 11, 50], 15) == [10, 25, 50]
    assert charts.spread_labels([11, 10, 12], 15) == [25, 10, 40]


def test_the_running_mean_is_bias_corrected() -> None:
    """Decay 0.5 on 4, 0: first (0.5 * 4) / 0.5 = 4, then (0.5 * 2 + 0) / 0.75 = 4/3."""
    assert charts._running_mean([4.0, 0.0], 0.5) == pytest.approx([4.0, 4 / 3])


def test_a_flat_curve_and_a_single_round_can_be_drawn() -> None:
    assert "<polyline" in charts.curve_chart("loss", {"round 1": [0.0, 0.0]})
    one = charts.rounds_chart("accuracy", {"greedy": [charts.Point(0, 0.5, 0.5, 0.5)]})
    assert "nan" not in one
    assert "base" in one


def test_the_first_chart_is_a_file_of_its_own(run: Path) -> None:
    """It parses as SVG with its own style and the names of the selectors."""
    from xml.etree import ElementTree

    page = write_report(run)
    root = ElementTree.parse(page.with_suffix(".svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "greedy" in "".join(root.itertext())


def test_the_page_is_there_from_the_first_stage_on(tmp_path: Path) -> None:
    """Stopped in the fit of round 1: the page shows the base, and the finished stages of the round under way."""
    seen: list[str] = []

    def stop(*args: object) -> dict:
        raise RunError("stopped in the fit")

    def report(folder: Path) -> None:
        seen.append(write_report(folder).read_text())

    made = replace(scripted_run.stages(), fit=stop, report=report)
    with pytest.raises(RunError, match="stopped in the fit"):
        train(scripted_run.config(tmp_path, rounds=1, n=8, selectors=("greedy",)), made, say=lambda line: None)
    first, base, sampled, built = seen
    assert "no round measured yet" in first
    assert "Finished stages of the base measurement" in first
    assert "Under way" not in base
    assert "0 rounds" in base
    assert "Finished stages of round 1" in sampled
    under_way = [text.partition("Under way")[2].partition("</table>")[0] for text in (sampled, built)]
    assert [re.findall(r'scope="row">(\w+)<', text) for text in under_way] == [["sample"], ["sample", "build"]]
    assert write_report(tmp_path).read_text() == built


def test_numbers_and_nouns_agree() -> None:
    assert [count(n, "round") for n in (0, 1, 2)] == ["0 rounds", "1 round", "2 rounds"]
    assert [points(v) for v in (0.0, -0.04, 0.04, -0.05, 1.26)] == ["0.0", "0.0", "0.0", "-0.1", "+1.3"]
    assert points(-0.4, 0) == "0"


def test_labels_stay_in_the_chart_at_nought_percent() -> None:
    """Five selectors at 0 %: their names stand above each other and none below the axis."""
    assert spread_labels([280.0] * 3, 15, 280) == [250.0, 265.0, 280.0]
    line = [Point(0, 0.0, 0.0, 0.2)]
    chart = rounds_chart("t", dict.fromkeys("abcde", line))
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="start"', chart)]
    assert len(heights) == 5
    assert max(heights) <= HEIGHT - BOTTOM + 5


def test_steps_of_a_short_fit_are_counted_from_one() -> None:
    """Four steps: marks 1 2 3 4, the first at the left end and the last at the right one."""
    chart = charts.curve_chart("t", {"round 1": [4.0, 3.0, 2.0, 1.0]})
    marks = re.findall(rf'x="([\d.]+)" y="{HEIGHT - BOTTOM + 20:.1f}" text-anchor="middle" class="label">(\d+)<', chart)
    assert [label for _, label in marks] == ["1", "2", "3", "4"]
    assert (float(marks[0][0]), float(marks[-1][0])) == (charts.LEFT, charts.WIDTH - charts.RIGHT)


def test_a_long_legend_takes_a_second_line() -> None:
    """The seven stages of an iteration at a phone's size of letters: every word ends inside the chart."""
    stages = ("mixture", "generate", "score", "learn", "evaluate", "accept", "diagnose")
    chart = charts.stacked_chart("t", {"iteration 1": dict.fromkeys(stages, 1.0)}, " s")
    words = re.findall(r'x="([\d.]+)" y="([\d.]+)" text-anchor="start" class="label">(\w+)<', chart)
    assert [word for *_, word in words[:7]] == list(stages)
    assert all(float(x) + charts.LETTER * len(word) <= charts.WIDTH for x, _, word in words[:7])
    assert len({y for _, y, _ in words[:7]}) == 2


def test_names_of_lines_stand_above_the_chart_on_a_phone(run: Path) -> None:
    text = write_report(run).read_text()
    keys = text[text.index('<div class="keys"') :].partition("</div>")[0]
    assert re.findall(r"</i>([^<]+)</span>", keys)[:2] == ["greedy", "majority@3"]
    assert "@media(max-width:640px)" in text
