"""`r3v report RUN`: one self-contained HTML page about a run, readable without a network, in light and dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from r3v.errors import DataError, RunError
from r3v.io import atomic_write
from r3v.pages import charts, gallery
from r3v.pages.charts import point
from r3v.pages.kit import card, count, details, page, percent, points, standalone, table, tile
from r3v.records import Problem
from r3v.run.evaluation import read_rows
from r3v.run.gate import rule

MAX_ROWS = 40
"""Skills or families drawn in one chart."""


def write_report(run: str | Path, out: str | Path | None = None, *, problems: int = 12) -> Path:
    """Write `RUN/report.html` (or `out`), and its first chart beside it as `.svg`; return the page's path.

    `problems`: how many are shown.

    Raises RunError where the folder is no run or a file of it is missing.
    """
    folder = Path(run)
    target = Path(out) if out is not None else folder / "report.html"
    title, body = render(folder, problems=problems)
    atomic_write(target, page(title, body))
    if reports := read_reports(folder):
        atomic_write(target.with_suffix(".svg"), standalone(_accuracy_chart(reports)))
    return target


def render(folder: Path, *, problems: int = 12, data: bool = True) -> tuple[str, list[str]]:
    """Title and body of the page. `data`: read the problems, for their pictures, from where the run's settings say;
    without, nothing outside the folder is opened. Raises what `write_report` raises."""
    value, reports = _run(folder), read_reports(folder)
    title = f"R3V: {Path(value['recipe'] or folder.name).stem}"
    done = count(len(reports) - 1, "round") if reports else "no round measured yet"
    head = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(str(folder))} · {done}</p>',
        _under_way(folder, reports),
    ]
    settings = details("Settings of the run", f"<pre><code>{escape((folder / 'config.yaml').read_text())}</code></pre>")
    if not reports:
        return title, [*head, settings]
    return title, [
        *head,
        _tiles(value, reports),
        _accuracy(reports),
        _chooser(value),
        _skills(reports, value["accepted_round"]),
        _losses(reports),
        _pool(reports),
        _seconds(reports),
        _gallery(folder, value["accepted_round"], problems, data),
        _taught(folder, reports),
        settings,
    ]


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """The reports of the rounds that `run.json` tells of."""
    return [read_json(folder / f"round_{entry['round']:02d}" / "report.json") for entry in _run(folder)["rounds"]]


def _run(folder: Path) -> dict[str, Any]:
    """`run.json`; of a run that has not closed a round yet, which has none, its beginning."""
    if not (folder / "run.json").exists() and (folder / "config.yaml").exists():
        return {"recipe": "", "accepted_round": None, "rounds": []}
    return read_json(folder / "run.json")


def _under_way(folder: Path, reports: Sequence[Mapping[str, Any]]) -> str:
    """What the finished stages of the round that is not closed have said."""
    place = folder / f"round_{len(reports):02d}" / "stages.json"
    if not place.exists():
        return ""
    rows = []
    for name, said in read_json(place).items():
        told = [f"{key.replace('_', ' ')} {value:,}" for key, value in said.items() if type(value) is int]
        if losses := said.get("losses"):
            told.append(f"loss {losses[0]:.3f} to {losses[-1]:.3f}")
        rows.append([name, f"{said.get('seconds', 0):.0f}", ", ".join(told)])
    caption = f"Finished stages of {'the base measurement' if not reports else f'round {len(reports)}'}"
    return f"<h2>Under way</h2>{card(table(caption, ['', 'seconds', 'what it made'], rows, css='stack'))}"


def read_json(path: Path) -> Any:
    """A JSON file of a run. Raises RunError where it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{path}: file not found, expected a run folder made by `r3v train`") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: damaged ({error}); run the same `r3v train` command again") from error


def _name(report: Mapping[str, Any]) -> str:
    return "base" if report["round"] == 0 else f"round {report['round']}"


def _tiles(value: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> str:
    accepted, base = reports[value["accepted_round"]], reports[0]
    tiles = [tile(_name(accepted), "accepted")]
    if "greedy" in base["eval"]:
        gain = 100 * (accepted["eval"]["greedy"]["accuracy"] - base["eval"]["greedy"]["accuracy"])
        css = "good" if gain > 0 else "bad" if gain < 0 else ""
        tiles.append(tile(points(gain), "points greedy, accepted minus base", css))
    for name, cell in accepted["eval"].items():
        if not name.startswith("oracle"):
            tiles.append(tile(f"{100 * cell['accuracy']:.1f}%", f"{name}, n = {cell['n']}"))
    seconds = sum(sum(report["seconds"].values()) for report in reports)
    tiles.append(tile(f"{seconds / 60:.1f} min", "all stages together"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _accuracy_chart(reports: Sequence[Mapping[str, Any]]) -> str:
    names = list(reports[0]["eval"])
    series = {n: [point(r["round"], r["eval"][n], r["accepted"]) for r in reports] for n in names}
    return charts.rounds_chart("Accuracy by round and selector", series)


def _accuracy(reports: Sequence[Mapping[str, Any]]) -> str:
    names = list(reports[0]["eval"])
    rows = [
        [
            _name(r),
            *(percent(r["eval"][n]) for n in names),
            percent(r["gate"]["greedy"]),
            "yes" if r["accepted"] else "no",
        ]
        for r in reports
    ]
    worst = max(cell["unparsed"] for r in reports for cell in r["eval"].values())
    n = reports[0]["eval"][names[0]]["n"]
    return (
        "<h2>Accuracy by round and selector</h2>"
        f"<p class='soft'>On {n} held-out problems, with 95 % Wilson intervals. Hollow points: rounds that were not "
        f"accepted.{_rule(reports)} Highest unparsed rate: {100 * worst:.1f}%.</p>"
        + card(charts.keys(names), _accuracy_chart(reports))
        + card(table("Accuracy in % (95 % interval)", ["", *names, "gate, greedy", "accepted"], rows))
        + "".join(f"<p class='soft'>{escape(_name(r))}: {escape(r['reason'])}.</p>" for r in reports[1:])
        + _endings(reports)
    )


def _endings(reports: Sequence[Mapping[str, Any]]) -> str:
    """The commonest ends of answers that named none, of the last round that has any."""
    told = [(r, r["unparsed_endings"]) for r in reports if r.get("unparsed_endings")]
    if not told:
        return ""
    report, found = told[-1]
    rows = [[str(n), end] for end, n in found]
    return details(
        f"Commonest endings of unparsed answers, {_name(report)}", card(table("Answers", ["", "ends in"], rows))
    )


def _rule(reports: Sequence[Mapping[str, Any]]) -> str:
    """The rule by which the newest round was judged; rounds of older versions have none written down."""
    decision = reports[-1].get("decision") or {}
    return f" {escape(rule(decision['alpha']))}" if "alpha" in decision else ""


def _chooser(value: Mapping[str, Any]) -> str:
    """What the run's second adapter measured, where it has one."""
    if "chooser" not in value:
        return ""
    found = value["chooser"]
    names = list(found["eval"])
    used = "Used" if found.get("accepted", True) else "Not used"
    reason = escape(f" {used}: {found['reason']}.") if found.get("reason") else ""
    row = [f"round {found['accepted_round']}, chooser", *(percent(found["eval"][n]) for n in names)]
    n = found["eval"][names[0]]["n"]
    return (
        "<h2>With the chooser</h2>"
        f"<p class='soft'>A second adapter, taught on {found['problems']} further problems, weighs the candidates of "
        f"the accepted round (self_select, fused); n = {n}.{reason}</p>"
        + card(table("Accuracy in % (95 % interval)", ["", *names], [row]))
    )


def _skills(reports: Sequence[Mapping[str, Any]], accepted: int) -> str:
    parts = []
    for kind, title in (("skill", "skill"), ("family", "family"), ("level", "difficulty level")):
        base = reports[0].get("breakdown", {}).get(kind, {})
        after = reports[accepted].get("breakdown", {}).get(kind, {})
        both = [v for v in base if "greedy" in base[v] and "greedy" in after.get(v, {})]
        if not both:
            continue
        if kind != "level":
            both.sort(key=lambda v: (-after[v]["greedy"]["accuracy"], v))
        cut = f" The {MAX_ROWS} most frequent of {len(both)}." if len(both) > MAX_ROWS else ""
        often = sorted(both, key=lambda v: -base[v]["greedy"]["n"])[:MAX_ROWS]
        drawn = [(v, point(0, base[v]["greedy"], False), point(1, after[v]["greedy"])) for v in both if v in often]
        names = list(after[both[0]])
        rows = [
            [v, str(after[v]["greedy"]["n"]), percent(base[v]["greedy"]), *(percent(after[v][n]) for n in names)]
            for v in both
        ]
        head = ["", "n", "base greedy", *names]
        chart = charts.change_chart(f"Greedy accuracy by {title}", drawn, ("base", _name(reports[accepted])))
        parts.append(
            f"<h2>By {title}</h2><p class='soft'>Greedy, base and accepted round.{cut}</p>{card(chart)}"
            + details("The numbers", card(table("Accuracy in % (95 % interval)", head, rows)))
        )
    return "".join(parts)


def _losses(reports: Sequence[Mapping[str, Any]]) -> str:
    series = {_name(r): r["fit"]["losses"] for r in reports if r.get("fit", {}).get("losses")}
    if not series:
        return ""
    rows = [
        [_name(r), str(r["fit"]["steps"]), f"{r['fit']['losses'][0]:.3f}", f"{r['fit']['losses'][-1]:.3f}",
         f"{r['fit']['tokens']:,}", f"{r['fit']['tokens_target']:,}", "yes" if r["fit"]["fused"] else "no",
         str(sum(r["fit"]["dropped"].values()))]
        for r in reports if r.get("fit", {}).get("losses")
    ]  # fmt: skip
    head = ["", "steps", "first loss", "last loss", "tokens", "target tokens", "prefix shared", "too long"]
    return (
        "<h2>Training loss</h2><p class='soft'>Thin: every step; bold: running mean.</p>"
        + card(charts.keys(list(series)), charts.curve_chart("Training loss by step", series))
        + card(table("Fits", head, rows))
    )


def _pool(reports: Sequence[Mapping[str, Any]]) -> str:
    sampled = [r for r in reports if r.get("pool")]
    if not sampled:
        return ""
    kinds = ("correct", "wrong", "unparsed", "unavailable")
    bars = {_name(r): {k: r["pool"].get(k, 0) for k in kinds} for r in sampled}
    made = {_name(r): r["examples"].get("kinds", {}) for r in sampled}
    names = list(dict.fromkeys(kind for row in made.values() for kind in row))
    rows = [
        [name, *(str(made[name].get(k, 0)) for k in names), str(sum(r["examples"].get("dropped", {}).values()))]
        for name, r in zip(made, sampled, strict=True)
    ]
    return (
        "<h2>What was sampled, and what was made of it</h2>"
        + card(charts.stacked_chart("Sampled rationales by verdict", bars))
        + card(charts.stacked_chart("Examples by kind", made))
        + details("The numbers", card(table("Examples by kind", ["", *names, "positives filtered out"], rows)))
    )


def _seconds(reports: Sequence[Mapping[str, Any]]) -> str:
    bars = {_name(r): dict(r["seconds"]) for r in reports}
    head = ["", *bars["base"]]
    rows = [[name, *(f"{seconds:.1f}" for seconds in row.values())] for name, row in bars.items()]
    return (
        "<h2>Where the time went</h2>"
        + card(charts.stacked_chart("Seconds by stage", bars, " s"))
        + details("The numbers", card(table("Seconds", head, rows)))
    )


def _gallery(folder: Path, accepted: int, n: int, data: bool) -> str:
    before = gallery.by_problem(read_rows(folder / "round_00" / "eval.parquet"))
    after = gallery.by_problem(read_rows(folder / f"round_{accepted:02d}" / "eval.parquet"))
    ids = gallery.choose(before, after, n)
    found, missing = _problems(folder, ids) if data else ({}, "")
    name = "base" if accepted == 0 else f"round {accepted}"
    cards = [gallery.problem_card(found.get(i), before.get(i, []), after[i], ("base", name)) for i in ids]
    told = "<p class='soft'>Newly right, rescued or misled by a selector, and still wrong.</p>"
    return f"<h2>Problems</h2>{told}{missing}{''.join(cards)}"


def _problems(folder: Path, ids: Sequence[str]) -> tuple[dict[str, Problem], str]:
    """The problems of these ids, or why they cannot be loaded any more."""
    import yaml

    from r3v.data import load

    data = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    try:
        problems = load(data["eval"], limit=data["n_eval"], skip_bad=data["skip_bad"], open=data["open"])
        return gallery.find(problems, ids), ""
    except DataError as error:
        return {}, f"<p class='soft'>No pictures: {escape(str(error))}</p>"


def _taught(folder: Path, reports: Sequence[Mapping[str, Any]]) -> str:
    rows = gallery.read_examples(folder / f"round_{reports[-1]['round']:02d}" / "examples.parquet")
    if not rows:
        return ""
    return (
        f"<h2>What {_name(reports[-1])} was taught</h2>"
        "<p class='soft'>The first two examples of every kind: answering, correcting a wrong solution, leaving a right "
        "one alone, choosing.</p>" + gallery.taught(rows)
    )
