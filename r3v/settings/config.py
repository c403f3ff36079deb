"""One tree of frozen dataclasses for every setting, and nothing that costs an import.

The command line and the YAML recipes are read into this tree by `r3v.app.cli` (jsonargparse); every field is a flag:
`--train.lr 1e-4`, `--run.dir DIR`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from r3v.errors import ConfigError
from r3v.settings.cluster import PolicyConfig
from r3v.settings.server import ServerConfig

Noise = Literal["independent", "arithmetic"]
"""How the samples of one prompt go together: `independent` of each other, or spread out by arithmetic sampling (Vilnis
et al. 2023, arXiv:2210.15458), so that fewer of them are alike. Each sample by itself has the same distribution."""


@dataclass(frozen=True)
class RunConfig:
    """Where a run lives and how long it goes on."""

    dir: str = "checkpoints/runs/run"
    """Run folder; an existing one is resumed."""
    seed: int = 0
    """Seed of everything that is drawn; another one is another run."""
    rounds: int = 3
    """Rounds of self-training after the base evaluation."""
    restart: Literal["base", "continue"] = "base"
    """Each round trains a fresh adapter on the base model, or continues the accepted one."""
    gate_alpha: float = 0.05
    """Largest chance that a round whose model is no worse is refused (exact sign test on the gate problems, paired with
    the best accepted round)."""
    keep_rounds: int | None = None
    """Once so many newer rounds are closed, older ones give up what neither resuming nor reports nor the accepted model
    need (such as their adapters); None keeps everything."""
    log: tuple[str, ...] = ()
    """Where curves go beside the run's own report: csv, tensorboard, wandb, mlflow (extra `log`)."""
    name: str = "r3v"
    """Name of the run in tables and logs."""


@dataclass(frozen=True)
class DataConfig:
    """Which problems to learn from, to accept rounds on, and to measure on; three disjoint sets."""

    train: str = "geoworld:train"
    """Data spec of the problems to learn from, such as jsonl:mine.jsonl; see `r3v.spec`."""
    gate: str = "geoworld:gate"
    """Rounds are accepted on these; where it is the same spec as `train`, `n_gate` problems are held out of it."""
    eval: str = "geoworld:test"
    """Problems that every round is measured on. They decide nothing."""
    n_train: int | None = None
    """Use the first n problems; None is all."""
    n_gate: int | None = None
    """As `n_train`, for the gate."""
    n_eval: int | None = None
    """As `n_train`, for the measuring."""
    open: bool = False
    """Ask without choices: the value must be stated."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of stopping at the first."""
    grader: str | None = None
    """A grader of your own in place of the library's: package.module:function or FILE.py:function."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model, at which precision, with which adapter."""

    path: str = "geoworld-tiny"
    """Folder, hub name, or `geoworld-tiny` or `smolgeo`, which ship with the library."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; pin it, or the run cannot be repeated."""
    adapter: str | None = None
    """LoRA folder to begin with, such as RUN/round_03/adapter."""
    force: bool = False
    """Use the adapter also where its `r3v_adapter.json` says that it was taught on another base or with other limits of
    pixels."""
    quantization: Literal["none", "nf4", "int8"] = "none"
    """4 or 8 bits for the weights of the language model, by bitsandbytes; the adapter stays whole."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """auto is bfloat16 where the processor multiplies bf16 or there is a GPU, float32 elsewhere; smolgeo's default."""
    device: str = "auto"
    """auto (the first GPU, else the processor), cpu, cuda or cuda:N."""
    matmul: Literal["highest", "high"] = "highest"
    """How a GPU multiplies float32 numbers: exactly, or by TF32 (high), faster and exact to 10 bits; of use where dtype
    is float32."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Implementation of attention; flash_attention_2 needs the package flash-attn."""
    max_pixels: int | None = None
    """Larger pictures are scaled down to this many pixels before the processor sees them."""
    min_pixels: int | None = None
    """Smaller ones are scaled up to this many: 132 x 117 pixels are 20 tokens to Qwen2.5-VL, too few to be read."""
    lora_r: int = 32
    """Rank of the LoRA (Hu et al. 2021, arXiv:2106.09685)."""
    lora_alpha: int = 64
    """The LoRA's part is scaled by `lora_alpha` / `lora_r`."""
    lora_dropout: float = 0.0
    """Share of the LoRA's inputs that is dropped while training."""
    lora_targets: Literal["language", "all"] = "language"
    """Linear layers of the language model, or of the whole model."""
    thinking: bool | None = None
    """Switches the thoughts of chat templates that know `enable_thinking` on or off; unset, the template decides."""
    prompt_style: str = "full"
    """full, short, or a file of your own words, FILE.yaml; with +thoughts behind it, prompts show solutions with the
    thoughts before them."""
    letters: bool = False
    """Targets name the letter of a choice instead of its value."""
    blank: bool = False
    """The pictures are blank on purpose (a control run): nobody checks that the model looks at them."""


FEWEST_PIXELS = 784
"""28 x 28: what Qwen2-VL makes one token of. Less than that is no picture to any family."""


def check_pixels(model: ModelConfig) -> None:
    """Raise ConfigError for limits that leave no picture to see, or that none can keep."""
    least, most = model.min_pixels, model.max_pixels
    for name, value in (("min_pixels", least), ("max_pixels", most)):
        if value is not None and value < FEWEST_PIXELS:
            raise ConfigError(
                f"found model.{name} {value}, expected at least {FEWEST_PIXELS} (28 x 28): a picture is width x height "
                "pixels, and fewer make no whole token"
            )
    if least is not None and most is not None and least > most:
        raise ConfigError(f"found model.min_pixels {least} above model.max_pixels {most}; lower one or raise the other")


@dataclass(frozen=True)
class SampleConfig:
    """Bootstrapping: how many rationales for each problem, and how they are drawn."""

    k: int = 4
    """Rationales for each problem and round."""
    temperature: float = 0.9
    """0 is greedy, 1 the model's own distribution."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that have this share of the probability; 1 is all."""
    top_k: int = 0
    """Draw from so many likeliest tokens; 0 is all."""
    max_new_tokens: int = 384
    """Longest rationale in tokens; one that is cut off there counts as unparsed."""
    noise: Noise = "independent"
    """How the candidates of a problem go together, see `Noise`; arithmetic needs the model in this
    process or on a Ray cluster."""
    slots: int = 32
    """Sequences decoded at once."""
    shard_size: int = 128
    """Problems per Parquet shard; a killed run loses at most one unfinished shard."""


@dataclass(frozen=True)
class BuildConfig:
    """From graded candidates to training examples. Presets: see r3v.reflection.presets."""

    preset: str = "r3v"
    """Named recipe that fills the fields nobody set: r3v, r3v-fused, r3v-paper, star, star-rationalization, star-dpo,
    rft, rest-em."""
    pool: Literal["cumulative", "newest"] = "cumulative"
    """Examples are built from the candidates of all rounds, or of the newest alone."""
    positives: int = 2
    """At most this many diverse positives per problem."""
    refine: int = 1
    """Refine examples per problem, at most: a wrong rationale is shown and the right one is the target."""
    keep: int = 1
    """Keep examples per problem, at most: a right rationale is shown and is the target again."""
    select: int = 2
    """Refine, keep and select examples per problem, at most."""
    select_min: int = 2
    """Fewest candidates of a select example."""
    select_max: int = 4
    """Most candidates of a select example."""
    select_none: float = 0.15
    """Share of select examples in which every candidate is wrong and the target says so; with `drawn`, the share of
    such sets that is used."""
    select_target: Literal["solution", "index_answer", "answer"] = "index_answer"
    """What a select example teaches: the right solution told again, its number and answer, or the answer alone."""
    filters: tuple[str, ...] = ()
    """Named filters against lucky positives, applied in order."""
    hint: bool = False
    """Rationalise never-solved problems with the answer given away (STaR with rationalisation)."""
    qa: float = 0.0
    """Weight of direct-answer examples; 0 leaves them out."""
    prefer: int = 0
    """Preference pairs per problem (for STaR+DPO)."""
    order: Literal["diverse", "newest"] = "diverse"
    """Which candidates are used first: unlike ones from any round, or the newest (as the published recipe)."""
    select_mix: Literal["drawn", "random", "published"] = "random"
    """Select candidates as test time draws them (one round's, joined by answer), one right among random wrong ones
    of any round, or the published 2 right + 1 wrong and 1 right + 2 wrong."""
    select_pairs: bool = False
    """In place of select examples, preference pairs under the select prompt: the right solution told again, and each
    wrong one of the set. For `select_target: solution` and `train.loss: simpo` or dpo."""
    unparsed_negatives: bool = False
    """Count candidates that name no answer as wrong solutions to refine and to select from."""
    prefix: bool = False
    """Sample never-solved problems again, beginning from the first part of a wrong rationale."""
    weight_answer: float = 1.0
    """Weight of examples that answer the question."""
    weight_refine: float = 0.5
    """Weight of refine examples."""
    weight_keep: float = 0.25
    """Weight of keep examples."""
    weight_select: float = 0.5
    """Weight of select examples."""


@dataclass(frozen=True)
class TrainConfig:
    """One fit of an adapter."""

    loss: str = "reflection"
    """Name of a loss of `r3v.losses`: reflection, nll, refine, select, dpo, simpo and others."""
    lr: float = 1e-3
    """Largest learning rate (AdamW)."""
    warmup: float = 0.05
    """Share of the steps used to warm the learning rate up."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """How the learning rate goes after the warm-up."""
    epochs: float = 1.0
    """Passes over the examples; parts of one are allowed."""
    max_steps: int | None = None
    """Stop after so many optimiser steps; null is no limit."""
    problems_per_step: int = 16
    """Problems (tries) per optimiser step, over accumulation and devices together."""
    problems_per_batch: int = 16
    """Problems (tries) per forward pass on one device."""
    max_batch_tokens: int | None = None
    """Most padded tokens in one forward pass; a batch with more is cut, with the same loss. None: on a GPU as many as
    the free memory is reckoned to hold, no limit on a CPU. Where memory runs out all the same, passes are halved."""
    max_tokens: int = 2048
    """Longest branch in tokens, image included; longer examples are dropped and counted, never cut."""
    weight_decay: float = 0.0
    """AdamW's weight decay."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's two decay rates of the moments."""
    grad_clip: float = 1.0
    """Largest norm of the gradient; longer ones are cut to it."""
    precision: str = "32-true"
    """32-true, bf16-mixed or 16-mixed; bf16-true and 16-true hold the base model in 16 bit (`model.dtype`)."""
    strategy: str = "auto"
    """How a step is spread over devices: auto (ddp on several), ddp, fsdp, deepspeed_stage_2, deepspeed:FILE.json;
    all in `r3v.training.strategies`. A run may be resumed with another one."""
    devices: int = 1
    """Devices of this machine; under torchrun the group's own number."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    fuse: bool = True
    """Shared-prefix tries; a failed parity self-test switches this off with a warning."""
    loss_reduction: Literal["kind", "tokens"] = "kind"
    """Each kind has its own denominator, or one token mean over everything (as the published recipe)."""
    kind_weights: dict[str, float] = field(default_factory=dict)
    """Kind of example (answer, refine, keep, select, qa) -> factor on its part of the loss."""
    dpo_beta: float = 0.1
    """Scale of the preference margins of dpo: of whole log-ratios."""
    simpo_beta: float = 10.0
    """Scale of the preference margins of simpo: of log-probabilities per token."""


@dataclass(frozen=True)
class SelectConfig:
    """Test-time selection and the evaluation after each round."""

    n: int = 3
    """Candidates for each problem."""
    selectors: tuple[str, ...] = ("greedy", "majority", "self_select", "fused", "oracle")
    """Selectors that are measured: greedy, majority, likelihood, self_select, fused, refine, tournament, oracle."""
    temperature: float = 0.9
    """As `sample.temperature`."""
    top_p: float = 1.0
    """As `sample.top_p`."""
    top_k: int = 0
    """As `sample.top_k`."""
    noise: Noise = "independent"
    """As `sample.noise`."""
    permutations: int = 2
    """Candidate orders averaged by self_select, at most."""
    sure: float = 1.0
    """With an answer above this share in the first order no further one is asked; 1: all are, always. For a model that
    does not prefer a place, as one that tells solutions again."""
    fused_weight: float = 0.5
    """Weight of the vote share beside the self-select probability."""
    max_new_tokens: int = 384
    """As `sample.max_new_tokens`."""
    target: Literal["solution", "index_answer", "answer"] = "index_answer"
    """What select prompts are answered with; as `build.select_target` when the model was trained. Solutions are
    compared by their log-probability per token."""
    group: int = 4
    """Most candidates a tournament shows at once."""
    refine_rounds: int = 2
    """Most times the refine selector asks again."""
    adapter: str | None = None
    """Adapter that weighs candidates in place of the one that answers; see `ChooserConfig`."""


@dataclass(frozen=True)
class ChooserConfig:
    """A second adapter that only chooses, taught after the last round on problems that no round has learned from."""

    n: int = 0
    """Further training problems, those of `data.train` that follow the first `data.n_train`; 0: no chooser."""
    k: int = 4
    """Candidates of each, drawn from the accepted model."""
    sets: int = 2
    """Sets of `select.n` candidates drawn from them, at most."""
    epochs: float = 1.0
    """Passes over the pairs, whatever those of the rounds are."""
    lr: float = 5e-4
    """Its learning rate."""
    beta: float = 10.0
    """Scale of the margin between a right and a wrong solution, in log-probability per token."""


@dataclass(frozen=True)
class Config:
    """Everything a run needs to be repeated."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    chooser: ChooserConfig = field(default_factory=ChooserConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)


LATER: dict[str, Any] = {"noise": "independent", "sure": 1.0}
"""Settings that files of older versions do not name, and the value under which those were made."""


def kept_settings(group: Any, *without: str) -> dict[str, Any]:
    """What a file says of the group of settings it was made with: all but those `without` a part in its content, and
    but those of `LATER` that have their old value, so that files of older versions go on being theirs."""
    return {k: v for k, v in asdict(group).items() if k not in without and (k not in LATER or v != LATER[k])}
