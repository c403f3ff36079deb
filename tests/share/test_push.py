"""`r3v push` with the real client of the hub against a stand-in of it: what is sent, loaded again, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_hub import Hub, fake_hub
from places import ROOT

from r3v.app.cli import main
from r3v.settings.config import Config, ModelConfig
from r3v.settings.tree import to_yaml

# The hub's client sends large files in a way that its HTTP library calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw:DeprecationWarning")
TINY = ModelConfig(prompt_style="short", lora_r=4, lora_alpha=8)
EVAL = {"greedy": {"accuracy": 0.4, "n": 200, "ci95": [0.335, 0.469], "unparsed": 0.0}}
BETTER = {"greedy": {"accuracy": 0.525, "n": 200, "ci95": [0.456, 0.593], "unparsed": 0.0}}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from adapter_folders import written

    from r3v.policies.model.loading import load

    return written(load(TINY), TINY, tmp_path_factory.mktemp("made") / "adapter")


@pytest.fixture
def run(adapter: Path, tmp_path: Path) -> Path:
    """A run of one round, accepted, whose data lie in a folder of this machine."""
    folder = tmp_path / "runs" / "first"
    shutil.copytree(adapter, folder / "round_01" / "adapter")
    from dataclasses import replace

    config = Config(model=TINY)
    data = replace(config.data, train=f"jsonl:{tmp_path}/secret/train.jsonl", eval=f"jsonl:{tmp_path}/secret/t.jsonl")
    (folder / "config.yaml").write_text(to_yaml(replace(config, data=data)))
    rounds = [{"round": 0, "eval": EVAL}, {"round": 1, "eval": BETTER}]
    value = {"schema": 1, "recipe": str(tmp_path / "mine.yaml"), "accepted_round": 1, "rounds": rounds}
    (folder / "run.json").write_text(json.dumps(value))
    (folder / "round_01" / "report.json").write_text(
        json.dumps({"round": 1, "fit": {"machine": "1 x NVIDIA L4, 22 GiB"}})
    )
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the client asks, with a token that may write below `ada`."""
    from huggingface_hub import constants

    with fake_hub() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", made.token)
        yield made


def fetched(hub: Hub, name: str, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    for file in hub.repositories[name].files:
        hf_hub_download(name, file, local_dir=folder, endpoint=hub.url, token=hub.token)
    return folder


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # plain PEFT asks it
def test_an_adapter_is_sent_downloaded_and_loaded(
    hub: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["push", str(run), "ada/first", "--private"]) == 0
    repository = hub.repositories["ada/first"]
    assert repository.private
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "r3v_adapter.json"]
    assert sorted(repository.files) == names
    said = capsys.readouterr().out
    assert said.startswith("4 files, ")
    assert f"sent: {hub.url}/ada/first/commit/" in said
    # weights by git-lfs, texts inside the commit
    assert sum(line.startswith("PUT /stored/") for line in hub.asked) == 1
    assert not any(str(tmp_path).encode() in content for content in repository.files.values())

    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    from r3v.policies.model.loading import load

    folder = fetched(hub, "ada/first", tmp_path / "fetched")
    base = AutoModelForImageTextToText.from_pretrained(ROOT / "checkpoints" / "geoworld-tiny", dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, str(folder)).eval()
    ours = load(ModelConfig(prompt_style="short", lora_r=4, lora_alpha=8, adapter=str(folder))).model
    ids = torch.tensor([[5, 9, 12, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(plain(input_ids=ids).logits, ours(input_ids=ids).logits, atol=1e-5, rtol=0)
        with plain.disable_adapter():
            assert not torch.equal(plain(input_ids=ids).logits, ours(input_ids=ids).logits)


def test_the_same_again_is_a_commit_more(hub: Hub, run: Path) -> None:
    assert main(["push", str(run), "ada/first"]) == 0
    assert main(["push", str(run), "ada/first", "--private"]) == 0
    repository = hub.repositories["ada/first"]
    assert repository.commits == ["Adapter of first"] * 2
    assert not repository.private  # as it was made


def test_the_card_says_what_the_run_knows(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["push", str(run), "ada/first", "--dry-run"]) == 0
    card = (tmp_path / "first" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "apache-2.0"
    assert (head["library_name"], head["pipeline_tag"]) == ("peft", "image-text-to-text")
    assert "base_model" not in head  # geoworld-tiny is on no hub
    assert "| greedy | 40.0 % (33.5-46.9) | 52.5 % (45.6-59.3) | 200 |" in card
    assert "QUESTION\nSolve step by step." in card
    assert "| hardware of the fit | `1 x NVIDIA L4, 22 GiB` |" in card
    assert "| data learned from | `jsonl:train.jsonl` |" in card
    assert "| prompt_style | `short` |" in card
    assert "--max-lora-rank 4" in card
    assert str(tmp_path) not in card


def test_a_dry_run_asks_nobody_and_says_what_would_be_sent(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    out = tmp_path / "kept"
    assert main(["push", str(run), "ada/first", "--dry-run", "--private", "--out", str(out), "--license", "mit"]) == 0
    said = capsys.readouterr().out
    assert "would be sent to ada/first (private where it is new)" in said
    assert "adapter_model.safetensors" in said
    assert said.endswith(f"nothing was sent; the folder is {out}\n")
    assert 'license: "mit"' in (out / "README.md").read_text()
    assert main(["push", str(run), "ada/first", "--dry-run", "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_base_of_the_hub_is_named_where_peft_looks(run: Path, tmp_path: Path) -> None:
    path = run / "round_01" / "adapter" / "r3v_adapter.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "base": {"path": "Qwen/Qwen2.5-VL-3B-Instruct", "revision": "abc"}}))
    out = tmp_path / "kept"
    assert main(["push", str(run), "ada/first", "--dry-run", "--out", str(out)]) == 0
    card = (out / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert "its licence was not known here" in card
    assert "vllm serve Qwen/Qwen2.5-VL-3B-Instruct --enable-lora" in card


def change(run: Path, **fields: Any) -> None:
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("name", "token", "code", "said"),
    [
        ("first", "hf_right", 2, "'first', a name without its owner, expected OWNER/NAME"),
        ("ada/../x", "hf_right", 2, "no name of the hub"),
        ("ada/first", "hf_wrong", 2, "the hub refused ada/first with status 401: Invalid username or password."),
        ("bob/first", "hf_right", 2, "the hub refused bob/first with status 403: You don't have the rights"),
    ],
)
def test_what_is_refused_is_said(
    hub: Hub, run: Path, name: str, token: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", str(run), name]) == code
    assert said in capsys.readouterr().err
    assert not hub.repositories


def test_no_token_offline_and_no_accepted_round(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["push", str(run), "ada/first"]) == 2
    assert "found no token of the hub; run `hf auth login`" in capsys.readouterr().err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["push", str(run), "ada/first"]) == 2
    assert "found HF_HUB_OFFLINE set" in capsys.readouterr().err
    change(run, accepted_round=0)
    assert main(["push", str(run), "ada/first", "--dry-run"]) == 2
    assert "no round was accepted" in capsys.readouterr().err
    change(run, kind="evolve")
    assert main(["push", str(run), "ada/first", "--dry-run"]) == 2
    assert "r3v evolve" in capsys.readouterr().err
    assert not hub.asked


def test_a_hub_that_is_not_there_is_said(
    hub: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert main(["push", str(run), "ada/first"]) == 2
    assert "ada/first could not be sent to http://127.0.0.1:1" in capsys.readouterr().err


def test_an_upload_that_fails_is_said_and_commits_nothing(hub: Hub, run: Path, capsys: pytest.CaptureFixture) -> None:
    hub.full = True
    assert main(["push", str(run), "ada/first"]) == 2
    said = capsys.readouterr().err
    assert "ada/first could not be sent" in said
    assert "adapter_model.safetensors" in said
    assert "413" in said
    assert not hub.repositories["ada/first"].files


def test_a_merged_model_is_sent_with_its_card(hub: Hub, adapter: Path, tmp_path: Path) -> None:
    flags = ["--adapter", str(adapter), "--model.prompt_style", "short", "--model.lora_r", "4"]
    out = str(tmp_path / "merged")
    assert main(["export", *flags, "--out", out, "--push", "ada/merged"]) == 0
    files = hub.repositories["ada/merged"].files
    assert {"model.safetensors", "config.json", "README.md", "r3v_adapter.json"} <= files.keys()
    assert not any(str(tmp_path).encode() in content for content in files.values())
    card = files["README.md"].decode()
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
    assert "vllm serve merged" in card


def test_flags_of_a_push_want_a_push(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", "--out", str(tmp_path / "m"), "--private"]) == 2
    assert "found --private without --push OWNER/NAME" in capsys.readouterr().err
