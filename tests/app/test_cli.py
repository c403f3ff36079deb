"""The command line: what an import costs, errors that help, settings, and each command on a scripted policy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import scripted_run

import r3v
from r3v.app.cli import main, split_fields
from r3v.app.commands import core as commands
from r3v.data.geoworld import item_of, source
from r3v.grading import grade
from r3v.policies.scripted import ScriptedPolicy
from r3v.records import Candidate, Graded
from r3v.reflection import stages
from r3v.reflection.settings import read
from r3v.rollout.shards import write_shard
from r3v.settings.config import Config, DataConfig
from r3v.settings.tree import differences, field_types, fill, flatten, get_field, set_field, to_yaml

COMMANDS = ("train", "eval", "select", "sample", "data", "export", "report", "compare", "filters", "version")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands get a policy that answers GeoWorld problems, half of them rightly, in place of a model."""
    by_id = {p.id: p for split in ("test", "train") for p in source(split, 8)}

    def answer(prompt, index: int) -> str:
        if prompt.problem_id in by_id:
            return scripted_run.answerer(by_id, 0.5)(prompt, index)
        return "90 - 35 = 55.\nAnswer: 55"

    def make(model, config, dry_run=False, say=None, **more) -> ScriptedPolicy:
        return ScriptedPolicy(answer, name=f"scripted {model.path}")

    monkeypatch.setattr(commands, "make_policy", make)
    monkeypatch.setattr(stages, "make_policy", make)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["version"], ["eval", "--help"]])
def test_light_commands_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom r3v.app.cli import main\n"
        f"try: code = main({arguments!r})\nexcept SystemExit as stop: code = stop.code\n"
        "print(code, [m for m in ('torch', 'transformers', 'peft', 'pytorch_lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("0 []"), done.stdout


def test_help_names_every_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in text] == []


def test_help_of_train_lists_every_field(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert len(field_types()) > 60
    assert [name for name in field_types() if f"--{name}" not in text] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train.lrr", "1"], "found train.lrr, expected a field of the config; did you mean train.lr?"),
        (["--lr", "1"], "found lr, expected a field of the config; did you mean train.lr or chooser.lr?"),
        (["--modle.path", "x"], "did you mean model.path?"),
        (["--train.lr", "fast"], "Expected a <class 'float'>. Got value: fast"),
        (["--model.quantization", "nf3"], "Got value: nf3"),
        (["--train.lr"], "--train.lr has no value"),
        (["--build.preset", "r3v-papr"], "Did you mean 'r3v-paper'?"),
    ],
)
def test_wrong_settings_name_the_nearest(flags: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "geoworld_tiny", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("r3v: error: ")
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  lrr: 1\n", "found train.lrr, expected a field of the config; did you mean train.lr?"),
        ("tarin:\n  lr: 1\n", "did you mean train.lr?"),
        ("train: [1]\n", "found train"),
        ("- 1\n", "found list, expected a mapping"),
        ("train: {lr: 1\n", "not valid YAML"),
    ],
)
def test_wrong_recipes_are_errors(tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert main(["train", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error


def test_a_missing_recipe_is_an_error(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "absent.yaml"]) == 2
    assert "absent.yaml: cannot read the recipe" in capsys.readouterr().err


def test_print_config_is_the_effective_config(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert (
        main(["train", "--train.lr", "2e-4", "geoworld_tiny", "--select.selectors", "greedy,fused", "--print_config"])
        == 0
    )
    path = tmp_path / "c.yaml"
    path.write_text(capsys.readouterr().out)
    config = read(path).config
    assert config.train.lr == 2e-4
    assert config.select.selectors == ("greedy", "fused")
    assert config.build.filters == ("computed_last", "steps_hold"), "the preset is applied"


def test_yaml_round_trip_keeps_every_field(tmp_path: Path) -> None:
    config = read(
        None, ["--train.kind_weights.refine", "0.5", "--train.betas", "0.8,0.9", "--data.n_train", "7"]
    ).config
    assert config.train.kind_weights == {"refine": 0.5}
    assert set(flatten(config)) == set(field_types())
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert differences(config, read(tmp_path / "c.yaml").config) == []


def test_explicit_fields_win_over_the_preset(tmp_path: Path) -> None:
    """r3v-paper says sample.k 3 and build.keep 0; the recipe says keep 2 and a flag says k 9."""
    path = tmp_path / "r.yaml"
    path.write_text("build:\n  preset: r3v-paper\n  keep: 2\n")
    settings = read(path, ["--sample.k=9"])
    assert settings.explicit == {"build.preset", "build.keep", "sample.k"}
    assert (settings.config.build.keep, settings.config.sample.k, settings.config.build.refine) == (2, 9, 1)
    assert read(path).config.sample.k == 3


def test_the_built_in_model_gets_the_style_it_was_trained_on() -> None:
    assert read().config.model.prompt_style == "short"
    assert read(None, ["--model.path", "other"]).config.model.prompt_style == "full"
    assert read(None, ["--model.prompt_style", "full"]).config.model.prompt_style == "full"


def test_fields_are_told_from_other_arguments() -> None:
    own, fields = split_fields(["--train.lr", "1e-4", "r.yaml", "--data.open", "--dry-run", "--run.dir=x"])
    assert own == ["r.yaml", "--dry-run"]
    assert fields == ["--train.lr", "1e-4", "--data.open", "--run.dir=x"]
    assert read(None, fields).config.data.open is True


def test_commands_without_settings_refuse_flags(capsys: pytest.CaptureFixture) -> None:
    assert main(["version", "--train.lr", "1"]) == 2
    assert "`r3v version --help`" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"r3v {r3v.__version__}\n"


@pytest.mark.usefixtures("scripted")
def test_eval_writes_block_rows_and_config(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "e.json"
    arguments = ["eval", "--data", "geoworld:test", "--limit", "8", "--selectors", "greedy,majority,oracle", "--n", "2"]
    assert main([*arguments, "--out", str(out), "--run.seed", "5"]) == 0
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines()] == ["selector", "greedy", "majority@2", "oracle@2"]
    value = json.loads(out.read_text())
    assert list(value["eval"]["greedy"]) == ["accuracy", "n", "ci95", "unparsed"]
    assert value["eval"]["oracle@2"]["accuracy"] >= value["eval"]["majority@2"]["accuracy"]
    assert value["model"] == "scripted geoworld-tiny"
    assert (tmp_path / "e.parquet").is_file()
    assert read(tmp_path / "e.json.config.yaml").config.run.seed == 5


@pytest.mark.usefixtures("scripted")
def test_eval_open_takes_the_choices_away(tmp_path: Path) -> None:
    out = tmp_path / "e.json"
    assert (
        main(["eval", "--data", "geoworld:test", "--limit", "4", "--selectors", "greedy", "--open", "--out", str(out)])
        == 0
    )
    assert json.loads(out.read_text())["open"] is True


@pytest.mark.usefixtures("scripted")
def test_eval_of_an_unknown_selector(capsys: pytest.CaptureFixture) -> None:
    assert main(["eval", "--data", "geoworld:test", "--limit", "4", "--selectors", "majorty"]) == 2
    assert "did you mean majority?" in capsys.readouterr().err


@pytest.mark.usefixtures("scripted")
def test_select_one_question(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    image = tmp_path / "f.png"
    image.write_bytes(next(iter(source("test", 1))).images[0].read())
    arguments = ["select", "--image", str(image), "--question", "Find angle A.", "--n", "3"]
    assert main([*arguments, "--method", "majority"]) == 0
    text = capsys.readouterr().out
    assert "chosen answer: 55  (majority" in text
    assert main([*arguments, "--choices", "45", "55", "65"]) == 0
    assert "chosen answer: B" in capsys.readouterr().out
    assert main([*arguments, "--method", "oracle"]) == 2
    assert "needs the gold answer" in capsys.readouterr().err


def test_select_of_a_broken_image(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "f.png").write_bytes(b"no picture")
    assert main(["select", "--image", str(tmp_path / "f.png"), "--question", "Find angle A."]) == 2
    assert "f.png" in capsys.readouterr().err


@pytest.mark.usefixtures("scripted")
def test_select_over_a_dataset(tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    assert main(["select", "--data", "geoworld:test", "--limit", "5", "--n", "2", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["problem_id"] for row in rows] == [p.id for p in source("test", 5)]
    assert all(len(row["candidates"]) == 2 and row["method"] == "fused" for row in rows)


@pytest.mark.usefixtures("scripted")
def test_sample_writes_shards(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "c"
    assert main(["sample", "--data", "geoworld:train", "--limit", "4", "--k", "2", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == 8
    assert [p.name for p in out.glob("*.parquet")] == ["shard-00000.parquet"]
    assert (tmp_path / "c.config.yaml").is_file()


def test_data_make_and_check(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "world"
    assert main(["data", "make", "geoworld", "--n", "5", "--split", "test", "--out", str(out)]) == 0
    assert len(list((out / "images").glob("*.png"))) == 5
    assert main(["data", "check", f"jsonl:{out / 'problems.jsonl'}"]) == 0
    assert "5 rows, 5 good, 0 bad" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (["data", "make", "geoworld", "--n", "0", "--out", "OUT"], "--n 0, expected at least 1"),
        (["select", "--question", "q", "--choices", "4", "5", " 4"], "--choices with '4' twice"),
        (["select", "--question", "q", "--model.max_pixels", "100"], "model.max_pixels 100, expected at least 784"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    line: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([word.replace("OUT", str(tmp_path / "out")) for word in line]) == 2
    assert what in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_check_counts_the_tokens_of_the_built_in_model(capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "check", "geoworld:test?n=2", "--model", "geoworld-tiny"]) == 0
    assert "prompt tokens" in capsys.readouterr().out


def test_data_check_of_a_recipe_looks_for_its_problems_in_its_test_set(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The one training problem shows the picture of the second test problem; the gate shows none of them."""
    out = tmp_path / "made"
    assert main(["data", "make", "geoworld", "--n", "3", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    for name, chosen in (("train", [rows[1]]), ("gate", [rows[2]]), ("eval", rows[:2])):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data:\n" + "".join(f"  {n}: jsonl:{out / n}.jsonl\n" for n in ("train", "gate", "eval")))
    capsys.readouterr()
    assert main(["data", "check", str(recipe)]) == 0
    told = capsys.readouterr().out
    assert f"problems of jsonl:{out / 'train'}.jsonl in jsonl:{out / 'eval'}.jsonl: 1\n" in told
    assert f"problems of jsonl:{out / 'gate'}.jsonl in jsonl:{out / 'eval'}.jsonl: 0\n" in told
    assert main(["data", "check", f"jsonl:{out}/gate.jsonl", "--against", f"jsonl:{out}/problems.jsonl"]) == 0
    assert f"problems of jsonl:{out}/gate.jsonl in jsonl:{out}/problems.jsonl: 1\n" in capsys.readouterr().out


def test_data_check_of_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "1 + 2?", "answer": ""}\n')
    assert main(["data", "check", f"jsonl:{path}"]) == 1
    assert main(["data", "check", f"jsonl:{path}", "--skip-bad"]) == 0
    assert "going on without 1 bad rows, 1 are left" in capsys.readouterr().out
    assert main(["data", "check", "jsnl:x"]) == 2
    assert "jsonl" in capsys.readouterr().err


def test_report_of_no_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "expected a run folder made by `r3v train`" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupt(args, rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "version", interrupt)
    assert main(["version"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_run_brings_its_settings_and_adapter(tmp_path: Path) -> None:
    """Round 1 of a finished run is accepted; --run takes its adapter and its config, flags still win."""
    import argparse

    scripted_run.run(tmp_path, rounds=1, n=4, selectors=("greedy",))
    args = argparse.Namespace(model=None, adapter=None, run=str(tmp_path), recipe=None)
    config: Config = commands.model_config(args, ["--select.n", "7"])
    assert config.model.adapter == str(tmp_path / "round_01" / "adapter")
    assert (config.select.n, config.sample.k) == (7, 3)


def test_filters_tells_the_lucky_positives(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two candidates are graded correct: the gold rationale and a wrong one with the right answer put at its end.
    computed_last sees that the wrong one computed something else, so it keeps 1 of 2, and that one is right."""
    item = item_of(source("train", 1)[0])
    body = item.wrong[0][0].rpartition("Answer:")[0]
    texts = [item.rationale, f"{body}Answer: {item.problem.gold_text}", item.wrong[0][0]]
    graded = [
        Graded(c := Candidate("geoworld-train-000000", 1, i, 0, text), grade(item.problem, c.text))
        for i, text in enumerate(texts)
    ]
    write_shard(tmp_path / "round_01" / "candidates" / "shard-00000.parquet", graded)
    (tmp_path / "config.yaml").write_text(to_yaml(Config(data=DataConfig(n_train=1))))
    assert main(["filters", str(tmp_path), "--out", str(tmp_path / "f.json")]) == 0
    rows = {r["name"]: r for r in json.loads((tmp_path / "f.json").read_text())["filters"]}
    assert (rows["none"]["kept"], rows["none"]["precision"]) == (2, 0.5)
    assert (rows["computed_last"]["kept"], rows["computed_last"]["precision"], rows["computed_last"]["cost"]) == (
        1,
        1,
        0,
    )
    assert "n = 2 candidates graded correct" in capsys.readouterr().out


def test_filters_of_another_data_set(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(Config(data=DataConfig(train="geoqa:DIR"))))
    assert main(["filters", str(tmp_path)]) == 2
    assert "only GeoWorld can tell" in capsys.readouterr().err


def test_a_field_three_deep_is_read_and_replaced() -> None:
    config = set_field(Config(), "policy.ray.actors", 7)
    assert get_field(config, "policy.ray.actors") == 7
    assert set_field(Config(), "policy.ray", config.policy.ray) == config
    assert differences(Config(), config) == [f"policy.ray.actors: {Config().policy.ray.actors!r} -> 7"]


def test_fill_leaves_what_the_command_line_names() -> None:
    config = fill(Config(), {"sample.k": 5, "run.dir": "d"}, ["--sample.k=9"])
    assert (config.sample.k, config.run.dir) == (Config().sample.k, "d")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "r3v.app.cli", "train", "geoworld_tiny.yaml", "--print_config"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.close()
    _, told = program.communicate(timeout=120)
    assert (program.returncode, told) == (141, b"")
