"""The forward paths on tiny random models of the real families, and the module in a plain Trainer."""

from __future__ import annotations

import warnings

import pytest
import pytorch_lightning as pl
import torch
from tiny_models import FAMILIES, NAMES, need_torchvision, tiny
from training_examples import examples_of

import r3v.training.forward as forward
from r3v.errors import ConfigError
from r3v.losses import reduce, reflection
from r3v.policies.model.loading import load
from r3v.reflection.datamodule import R3VDataModule
from r3v.settings.config import ModelConfig, SelectConfig, TrainConfig
from r3v.training.forward import token_logprobs, why_not_fusable
from r3v.training.layout import attention
from r3v.training.layout.batching import collate
from r3v.training.layout.trie import build_trie
from r3v.training.module import R3VModule
from r3v.training.optimiser import lr_factor
from r3v.training.selftest.parity import ParityWarning

# Lightning's loader asks torch's pytree in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
FUSABLE = ("idefics3", "llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
CONFIG = ModelConfig(path=NAMES["idefics3"], lora_r=4, lora_alpha=8)
TRAIN = TrainConfig(problems_per_step=2, problems_per_batch=2, lr=1e-2, warmup=0.0)


def fresh(config: ModelConfig = CONFIG):
    return load(config, dry_run=True)


def tries_of(loaded, problems):
    made = [build_trie(e, loaded.encoder, model=loaded.model)[0] for e in problems]
    return [t for t in made if t is not None]


def loss_and_gradient(loaded, tries, path):
    model = loaded.model
    batch = collate(tries, fused=path == "fused", collate_images=loaded.encoder.collate_images)
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    for p in parameters:
        p.requires_grad_(True)
    logprobs = token_logprobs(model, batch, path)
    loss, _ = reduce(reflection(batch.loss_inputs(logprobs)))
    gradient = torch.autograd.grad(loss, parameters, allow_unused=True)
    flat = [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(gradient, parameters, strict=True)]
    return float(loss.detach()), torch.cat(flat), logprobs.detach()


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_loss_and_gradients_equal_the_models_own(family):
    """Every parameter's gradient, vision tower included: fused and rows against the model's complete
    forward."""
    loaded = tiny(family)
    tries = tries_of(loaded, [examples_of(3), examples_of(4)])
    plain = loss_and_gradient(loaded, tries, "plain")
    assert (why_not_fusable(loaded.model) is None) == (family in FUSABLE)
    for path in ("fused", "rows") if family in FUSABLE else ("rows",):
        loss, gradient, logprobs = loss_and_gradient(loaded, tries, path)
        assert loss == pytest.approx(plain[0], rel=1e-5)
        torch.testing.assert_close(logprobs, plain[2], atol=1e-4, rtol=1e-4)
        assert float((gradient - plain[1]).norm() / plain[1].norm()) < 1e-4


def test_image_tokens_stay_whole_and_pixels_come_once():
    """Two pictures, four branches: the row holds the image tokens of one prompt, and two pictures."""
    loaded = tiny("idefics3")
    (trie,) = tries_of(loaded, [examples_of(3, images=2)])
    token = loaded.encoder.image_token_id
    one = loaded.encoder.prompt(examples_of(3, images=2)[0].prompt)
    assert int((trie.ids_L == token).sum()) == [i == token for i in one.ids].count(True)
    assert trie.images["pixel_values"].shape[:2] == one.images["pixel_values"].shape[:2]
    assert trie.tokens < trie.tokens_unfused / 2


def test_problems_with_and_without_pictures_in_one_batch():
    loaded = tiny("idefics3")
    tries = tries_of(loaded, [examples_of(3, images=0), examples_of(4), examples_of(5, images=2)])
    assert loss_and_gradient(loaded, tries, "fused")[0] == pytest.approx(
        loss_and_gradient(loaded, tries, "plain")[0], rel=1e-5
    )


def test_chunked_head_equals_whole(monkeypatch):
    loaded = tiny("idefics3")
    tries = tries_of(loaded, [examples_of(3)])
    whole = loss_and_gradient(loaded, tries, "fused")
    monkeypatch.setattr("r3v.losses.logprobs.CHUNK_LOGITS", {"cpu": 1})
    chunked = loss_and_gradient(loaded, tries, "fused")
    assert chunked[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(chunked[1], whole[1], atol=1e-5, rtol=1e-3)


def quiet_trainer(**options) -> pl.Trainer:
    defaults = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**(defaults | options))


class StepLosses(pl.Callback):
    """Loss of every optimiser step, from what the module logs."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def train(module, problems=6, trainer=None, images=1, **options):
    examples = [e for n in range(2, 2 + problems) for e in examples_of(n, images)]
    losses = StepLosses()
    trainer = trainer or quiet_trainer(callbacks=[losses], **options)
    trainer.fit(module, R3VDataModule(examples, seed=1))
    return losses.values, trainer


def weights(module):
    return {k: v.detach().clone() for k, v in module._trainable().items()}


def test_accumulation_gives_the_step_of_one_big_batch():
    """Four problems a step at once, or in four parts: same weights after three steps."""
    config = TrainConfig(problems_per_step=4, problems_per_batch=4, lr=1e-2)
    one, parts = R3VModule(fresh(), config, config=CONFIG), R3VModule(fresh(), config, config=CONFIG)
    losses, _ = train(one, problems=10)
    split, _ = train(parts, problems=10, accumulate_grad_batches=4)
    steps = torch.tensor(split).reshape(-1, 4).mean(1)
    torch.testing.assert_close(torch.tensor(losses), steps, atol=1e-4, rtol=1e-4)
    # Adam moves a weight by up to lr = 1e-2 a step, also one whose gradient is hardly more than rounding.
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(parts)[name], value, atol=1e-3, rtol=1e-3, msg=name)


def test_unfused_training_gives_the_same_weights():
    fused = R3VModule(fresh(), TRAIN, config=CONFIG)
    rows = R3VModule(fresh(), TrainConfig(**{**vars(TRAIN), "fuse": False}), config=CONFIG)
    assert (fused.path, rows.path) == ("fused", "rows")
    a, _ = train(fused)
    b, _ = train(rows)
    assert a == pytest.approx(b, rel=1e-4)
    assert a[-1] < a[0]


def causal(exit_RL: torch.Tensor) -> torch.Tensor:
    """A plain causal mask in place of the tree's."""
    return torch.ones(*exit_RL.shape, exit_RL.shape[1]).tril().bool()[:, None]


@pytest.mark.parametrize("split", [False, True])
def test_sabotaged_mask_trips_the_self_test(split: bool, monkeypatch):
    """With a plain causal mask, or one run for the whole row, later branches would see earlier ones: a warning, and
    the unfused loss.
    """
    good, _ = train(R3VModule(fresh(), TRAIN, config=CONFIG))
    if split:
        whole = attention.runs_of
        lengths = lambda e: torch.full_like(e, e.shape[1])  # noqa: E731
        monkeypatch.setattr(attention, "SPLIT_ABOVE", 0)
        monkeypatch.setattr(attention, "runs_of", lambda exit_RL, dtype: whole(lengths(exit_RL), dtype))
    else:
        monkeypatch.setattr(attention, "SPLIT_ABOVE", 10**6)
        monkeypatch.setattr(forward, "tree_mask", causal)
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    with pytest.warns(ParityWarning, match="fusing is off"):
        losses, _ = train(module)
    assert module.path == "rows"
    assert losses == pytest.approx(good, rel=1e-4)


def test_wrong_positions_trip_the_self_test(monkeypatch):
    """Positions that count along the row instead of the branch: the tree mask alone is not enough."""
    whole = forward._inputs

    def counting(base, batch, path):
        inputs = whole(base, batch, path)
        return inputs | {"position_ids": torch.arange(batch.ids_RL.shape[1]).expand_as(batch.ids_RL)}

    monkeypatch.setattr(forward, "_inputs", counting)
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    with pytest.warns(ParityWarning, match="fusing is off"):
        train(module)


def test_bidirectional_attention_is_trained_unfused():
    config = ModelConfig(path=NAMES["gemma3"], lora_r=4)
    with pytest.warns(ParityWarning, match="one per row"):
        module = R3VModule(load(config, dry_run=True), TRAIN, config=config)
    assert module.path == "rows"
    losses, _ = train(module)
    assert losses[-1] < losses[0]


def test_metrics_of_each_kind_are_logged_and_only_the_adapter_is_kept(tmp_path):
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    _, trainer = train(module)
    logged = trainer.callback_metrics
    assert {"train/loss", "train/loss/answer", "train/loss/refine", "train/loss/select"} <= set(logged)
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    kept = torch.load(tmp_path / "c.ckpt", weights_only=True)["state_dict"]
    assert kept
    assert all("lora_" in name for name in kept)


def test_dpo_starts_at_log_two():
    """Policy and reference are the same model at the first step: the loss is -log sigmoid(0) = log 2; then
    it falls."""
    from r3v.records import Example

    pairs = []
    for n in range(2, 8):
        right = examples_of(n)[0]
        pairs.append(Example("prefer", right.problem_id, right.prompt, right.target, pair=n))
        pairs.append(Example("prefer", right.problem_id, right.prompt, "No. Answer: 1", pair=n, rejected=True))
    module = R3VModule(fresh(), TrainConfig(**{**vars(TRAIN), "loss": "dpo", "dpo_beta": 1.0}), config=CONFIG)
    losses = StepLosses()
    quiet_trainer(callbacks=[losses]).fit(module, R3VDataModule(pairs, seed=0))
    assert losses.values[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses.values[-1] < 0.69


def test_bf16_autocast_on_the_cpu_stays_fused():
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    full, _ = train(R3VModule(fresh(), TRAIN, config=CONFIG))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ParityWarning)
        half, _ = train(module, precision="bf16-mixed")
    assert module.path == "fused"
    assert half == pytest.approx(full, rel=3e-2)


def test_a_step_too_large_for_one_batch_is_an_error():
    module = R3VModule(fresh(), TrainConfig(problems_per_step=8, problems_per_batch=2), config=CONFIG)
    with pytest.raises(ConfigError, match="accumulate_grad_batches=4"):
        train(module)


def test_learning_rate_factors():
    """10 steps, 20 % warm-up: 1/2, 1, then a cosine from 1 at step 2 to 0 at step 10, half way at step 6."""
    config = TrainConfig(warmup=0.2, schedule="cosine")
    assert [lr_factor(s, 10, config) for s in (0, 1, 2, 6, 10)] == pytest.approx([0.5, 1, 1, 0.5, 0])
    linear = TrainConfig(warmup=0.0, schedule="linear")
    assert [lr_factor(s, 10, linear) for s in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    assert lr_factor(9, 10, TrainConfig(warmup=0.0, schedule="constant")) == 1.0


def test_qwen_is_trained_fused_in_a_plain_trainer():
    need_torchvision()
    config = ModelConfig(path=NAMES["qwen3_vl"], lora_r=4)
    module = R3VModule(load(config, dry_run=True), TRAIN, config=config)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ParityWarning)
        losses, _ = train(module)
    assert module.path == "fused"
    assert losses[-1] < losses[0]


def test_problems_bootstrap_then_train_then_select(tmp_path):
    """`trainer.fit(module, R3VDataModule(problems=...))`: a scripted policy solves problem n at its second sample; the
    examples are kept beside the candidates, and the live model then selects."""
    from training_examples import problem

    from r3v.policies.scripted import ScriptedPolicy
    from r3v.settings.config import BuildConfig, SampleConfig

    problems = [problem(n) for n in range(2, 6)]
    gold = {p.id: p.answer for p in problems}
    policy = ScriptedPolicy(lambda prompt, index: f"So. Answer: {gold[prompt.problem_id] if index else 1}")
    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    data = R3VDataModule(
        problems=problems, policy=policy, dir=tmp_path, sample=SampleConfig(k=2), build=BuildConfig(select=0)
    )
    losses = StepLosses()
    quiet_trainer(callbacks=[losses]).fit(module, data)
    assert len(losses.values) == 2
    assert (tmp_path / "examples.parquet").exists()
    chosen = module.select(problems[0], n=2, method="majority")
    assert len(chosen.candidates) == 2


def test_weights_are_hashed_once_while_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two selections of one model, then one after a step: two hashes, and samples carry the name of their weights."""
    from training_examples import problem

    module = R3VModule(fresh(), TRAIN, config=CONFIG)
    own, hashed = module._name_of_weights, []
    monkeypatch.setattr(module, "_name_of_weights", lambda: hashed.append(own()) or hashed[-1])
    asked = problem(2)
    cfg = SelectConfig(max_new_tokens=2)
    names = [module.select(asked, n=1, method="majority", cfg=cfg).candidates[0].model for _ in range(2)]
    with torch.no_grad():
        next(p for p in module.parameters() if p.requires_grad).add_(0.01)
    names.append(module.select(asked, n=1, method="majority", cfg=cfg).candidates[0].model)
    assert len(hashed) == 2
    assert names[0] == names[1] != names[2]
    assert [name.split("+live")[1] for name in names] == [hashed[0], hashed[0], hashed[1]]
