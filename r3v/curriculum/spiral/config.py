"""Every setting of `r3v evolve`, as one tree of frozen dataclasses, and its presets. Nothing here costs an import.

The groups `group`, `reward`, `train` and `drift` are those of `r3v reinforce`; `sample`, `build` and `fit` those of the
reflection rounds; `supervisor`, `teacher`, `retrieval` and `note_gate` those of the notebook. A run reads the groups of
the learner that it names.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from r3v.curriculum.agents.config import AgentsGroup, check_agents
from r3v.curriculum.reinforce.config import DriftConfig, GroupConfig, RewardConfig, UpdateConfig
from r3v.curriculum.spiral.mixture import MixtureConfig, check_config
from r3v.errors import ConfigError, near
from r3v.notebook.evolve.config import SupervisorConfig
from r3v.notebook.gate.gate import GateConfig
from r3v.notebook.retrieval.scoring import RetrievalConfig
from r3v.reflection.settings import check_select
from r3v.run.fixed import ALWAYS, POLICY, SERVER_ALWAYS, Table
from r3v.run.logs import check_logs
from r3v.settings.checks import check_drawn, check_numbers
from r3v.settings.cluster import PolicyConfig, check_engine
from r3v.settings.config import BuildConfig, ModelConfig, SampleConfig, SelectConfig, TrainConfig, check_pixels
from r3v.settings.server import ServerConfig
from r3v.settings.tree import flatten
from r3v.training.precision import check_precision


@dataclass(frozen=True)
class SpiralRun:
    """Where a run lives and how long it goes on."""

    dir: str = "checkpoints/runs/evolve"
    """Run folder; an existing one is resumed."""
    seed: int = 0
    """Seed of everything that is drawn; another one is another run."""
    iterations: int = 3
    """Turns of the spiral after the base measurement. May be raised later."""
    preset: str = "evolve"
    """evolve or dpe-paper: values for the fields that nobody set."""
    gate_alpha: float = 0.05
    """Largest chance that an iteration whose model is no worse is refused (exact sign test on the gate problems, paired
    with the best accepted one)."""
    log: tuple[str, ...] = ()
    """Where curves go beside the run's own report: csv, tensorboard, wandb, mlflow (extra `log`)."""
    keep_rounds: int | None = None
    """Once so many newer rounds are closed, older ones give up what neither resuming nor reports nor the accepted model
    need (such as their adapters); None keeps everything."""


@dataclass(frozen=True)
class SpiralData:
    """What is measured on; nothing of it is ever practised."""

    gate: str = "geoworld:gate"
    """Iterations are accepted on these problems."""
    eval: str = "geoworld:test"
    """Problems that every turn is measured on. They decide nothing."""
    n_gate: int | None = 300
    """Use the first n problems; null is all."""
    n_eval: int | None = None
    """As `n_gate`, for the measuring."""
    seeds: str = ""
    """Problems that the generators `edit` and `agents` start from; `geoworld` and `euclid` need none."""
    n_seeds: int | None = None
    """As `n_gate`, for the seeds."""
    benchmarks: tuple[str, ...] = ()
    """Further data specs that practice must not repeat; gate and eval are always among them."""
    open: bool = False
    """Ask without choices: the value must be stated."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, instead of stopping at the first."""


@dataclass(frozen=True)
class ProbeGroup:
    """The diagnosis: a new held-out probe set for each iteration."""

    data: str = "geoworld:gate"
    """Data spec of the probes."""
    n: int = 240
    """Probes of a diagnosis; each turn asks others."""
    k: int = 4
    """Answers to every probe."""
    variants: tuple[str, ...] = ()
    """Aids to ask again with (numbers, described, named, round_numbers, one_rule). They tell why a skill is weak and
    cost k answers each; the mixture does without them."""
    min_problems: int = 10
    """Fewer probes of a skill than this support no statement about it."""


@dataclass(frozen=True)
class AskGroup:
    """How probes and new items are put to the model."""

    temperature: float = 1.0
    """0 is greedy, 1 the model's own distribution."""
    max_new_tokens: int = 384
    """Longest answer in tokens."""
    slots: int = 32
    """Sequences decoded at once."""
    shard_size: int = 64
    """Problems per Parquet shard; a killed run loses at most one unfinished shard."""


@dataclass(frozen=True)
class PracticeGroup:
    """Items made for the weak skills, and which of them are practised."""

    generator: Literal["geoworld", "euclid", "edit", "agents"] = "geoworld"
    """geoworld or euclid (exact by construction; euclid's skills are theorems, which `geoqa:DIR?split=train` names with
    `skills=theorems`), edit (of `data.seeds`), or agents (models, as `agents` says)."""
    items: int = 160
    """Items practised in an iteration, replayed ones included."""
    overdraw: float = 1.5
    """Items made for each one wanted, so that some may be dropped."""
    levels: tuple[int, ...] = ()
    """Difficulty levels to make in equal parts (euclid: steps of the solution); empty is any."""
    score_k: int = 4
    """Answers by which an item's pass rate is told; 0 leaves the scoring out."""
    low: float = 0.05
    """As `high`, the lower end."""
    high: float = 0.95
    """Window of the pass rate: items outside are dropped as too hard or too easy."""
    fill: bool = False
    """Fill up with items outside the window where too few are inside (as the published recipe)."""
    ops: tuple[str, ...] = ()
    """edit: edits to draw from; empty is all."""


@dataclass(frozen=True)
class LearnGroup:
    """Who learns from the practice, and how long."""

    kind: tuple[str, ...] = ("reinforce",)
    """reinforce, reflect, note; several learn one after another from the same practice."""
    steps: int = 10
    """reinforce: most iterations of sample, grade, update. note: most batches."""
    samples: int | None = None
    """reinforce: no further step begins once so many answers are drawn, so that mixtures and presets are compared at
    equal budget whatever dynamic sampling throws away."""
    rounds: int = 1
    """reflect: rounds of sample, build, fit."""
    decay: float = 1.0
    """reinforce, reflect: factor on the learning rate from one turn of the spiral to the next. Every turn has less left
    to learn and a new optimiser, so a rate that is right for the first may undo in the third what was learned."""


@dataclass(frozen=True)
class NoteGroup:
    """The learner `note`: a notebook that evolves on the practice."""

    start: str = ""
    """Notebook to begin with; empty is an empty one."""
    batch: int = 16
    """Problems of a step."""
    pool: float = 0.5
    """Share of the practice that edits are judged on instead of learnt from."""
    withhold: float = 0.05
    """Share of retrieved notes not shown while a batch is solved, to measure what notes are worth."""
    per_subject: int = 4
    """Most failures of one subject that the supervisor is shown in a step."""


@dataclass(frozen=True)
class GuardGroup:
    """When an iteration that the gate accepts is refused all the same, for a skill that it lost."""

    skill_alpha: float = 0.1
    """A skill's fall counts when the exact paired test (two-sided) has a p-value below this, divided by the number of
    skills tested (Bonferroni); 0 switches the guard off."""
    had: float = 0.5
    """A skill is one the model had from this gate accuracy on."""
    min_problems: int = 10
    """Skills on fewer gate problems are not tested."""


@dataclass(frozen=True)
class BudgetGroup:
    """Limits on the whole run; None is no limit. What is spent counts probes, scoring and learning; measuring on gate
    and eval problems is not learning and costs money only. A limit may be raised later."""

    samples: int | None = None
    """Answers drawn by the model that learns."""
    tokens: int | None = None
    """Tokens generated, those of agents included."""
    money: float | None = None
    """Prices of servers (`server.prices`, `teacher.prices`, those of agents and their editor), and `price_hour`."""
    price_hour: float = 0.0
    """What an hour of this machine costs."""


@dataclass(frozen=True)
class SpiralConfig:
    """Everything a spiral needs to be repeated."""

    run: SpiralRun = field(default_factory=SpiralRun)
    data: SpiralData = field(default_factory=SpiralData)
    model: ModelConfig = field(default_factory=ModelConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    """With a `url`, the model is asked there; `note` alone can learn then."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """Who is asked; vLLM as the run's own engine gives way to whatever learns."""
    probe: ProbeGroup = field(default_factory=ProbeGroup)
    ask: AskGroup = field(default_factory=AskGroup)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    practice: PracticeGroup = field(default_factory=PracticeGroup)
    agents: AgentsGroup = field(default_factory=AgentsGroup)
    learn: LearnGroup = field(default_factory=LearnGroup)
    guard: GuardGroup = field(default_factory=GuardGroup)
    budget: BudgetGroup = field(default_factory=BudgetGroup)
    select: SelectConfig = field(default_factory=lambda: SelectConfig(selectors=("greedy",)))
    group: GroupConfig = field(default_factory=GroupConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    train: UpdateConfig = field(default_factory=UpdateConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    fit: TrainConfig = field(default_factory=TrainConfig)
    note: NoteGroup = field(default_factory=NoteGroup)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    teacher: ServerConfig = field(default_factory=ServerConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    note_gate: GateConfig = field(default_factory=GateConfig)


FIXED = Table(
    first={
        "run": "diagnose", "run.dir": ALWAYS, "run.iterations": ALWAYS, "run.keep_rounds": ALWAYS, "run.log": ALWAYS,
        "run.gate_alpha": "accept",
        "data": "evaluate", "data.seeds": "generate", "data.n_seeds": "generate", "data.benchmarks": "generate",
        "model": "evaluate", "model.lora_r": "learn", "model.lora_alpha": "learn", "model.lora_dropout": "learn",
        "model.lora_targets": "learn", "model.force": ALWAYS,
        "server": "evaluate", **SERVER_ALWAYS, **POLICY,
        "select": "evaluate",
        "probe": "diagnose", "ask": "diagnose", "ask.slots": ALWAYS,
        "mixture": "mixture",
        "practice": "generate", "practice.items": "mixture", "practice.score_k": "score", "practice.low": "score",
        "practice.high": "score", "practice.fill": "score",
        "agents": "generate", "agents.workers": ALWAYS,
        "guard": "accept",
        "budget": ALWAYS,
        "learn": "learn", "learn.kind": "mixture",
        "group": "learn", "group.n": "mixture", "group.slots": ALWAYS, "reward": "learn", "train": "learn",
        "drift": "learn", "train.max_batch_tokens": ALWAYS, "fit.max_batch_tokens": ALWAYS,
        "sample": "learn", "sample.k": "mixture", "sample.slots": ALWAYS, "build": "learn", "fit": "learn",
        "note": "learn", "note.start": "evaluate", "supervisor": "learn", "teacher": "learn", "note_gate": "learn",
        "retrieval": "evaluate",
    },
    begun={
        "evaluate": ("round_00/.*.parts/*", "round_00/*.parquet", "round_00/stages.json"),
        "diagnose": ("round_00/diagnosis/answers/*.parquet",),
        "mixture": ("round_01/stages.json",),
        "generate": ("round_*/items.parquet", "round_*/agents/*"),
        "score": ("round_*/answers/*.parquet", "round_*/practice.parquet"),
        "learn": ("round_*/reinforce/*", "round_*/reflect/*", "round_*/note/*"),
        "accept": ("round_01/DONE",),
    },
    length="run.iterations",
    renamed={"guard.alpha": lambda two_sided: ("run.gate_alpha", two_sided / 2)},
)  # fmt: skip
"""Which stage of `r3v evolve` reads a setting first; from then on it is fixed for the run."""

LEARNERS = ("reinforce", "reflect", "note")

PRESETS: dict[str, dict[str, Any]] = {
    "evolve": {"mixture.kind": "learnability"},
    "dpe-paper": {
        "mixture.kind": "dpe-paper",
        "mixture.replay": 0.0,
        "practice.low": 0.3,
        "practice.high": 0.8,
        "practice.fill": True,
        "group.dynamic": False,
        "group.overlong": "none",
        "reward.correct": 0.9,
        "reward.format": 0.1,
        "train.loss": "grpo",
        "train.clip_low": 0.2,
        "train.clip_high": 0.3,
        "train.ratio_cap": 3.0,
        "train.beta": 0.01,
        "train.warmup": 0.0,
        "train.schedule": "constant",
        "train.weight_decay": 0.01,
    },
}
"""`evolve`: our defaults. `dpe-paper`: what DPE's released code does (arXiv 2602.22859) where it can be compared: its
step function, pass-rate window, filling-up and update. Counts (probes, items, answers, steps) and the learning rate
stay those of the recipe, so that budgets are equal: DPE's 1e-6 belongs to full fine-tuning, and its 200 probes with
one answer each are the same ones in every iteration."""


def with_preset(config: SpiralConfig, explicit: Collection[str] = ()) -> SpiralConfig:
    """`config` with the values of `run.preset`, except for the dotted names in `explicit`. Raises ConfigError."""
    name = config.run.preset
    if name not in PRESETS:
        raise ConfigError(f"found run.preset {name!r}, expected one of {', '.join(PRESETS)}{near(name, PRESETS)}")
    groups: dict[str, dict[str, Any]] = {}
    for dotted, value in PRESETS[name].items():
        if dotted not in explicit:
            group, leaf = dotted.split(".")
            groups.setdefault(group, {})[leaf] = value
    return replace(
        config,
        **{f.name: replace(getattr(config, f.name), **groups[f.name]) for f in fields(config) if f.name in groups},
    )


def check(config: SpiralConfig) -> None:
    """Raise ConfigError for sizes below 1 and settings that contradict each other."""
    check_config(config.mixture)
    c = config
    at_least_one = {
        "run.iterations": c.run.iterations, "probe.n": c.probe.n, "probe.k": c.probe.k, "ask.slots": c.ask.slots,
        "ask.max_new_tokens": c.ask.max_new_tokens, "ask.shard_size": c.ask.shard_size,
        "practice.items": c.practice.items, "practice.overdraw": c.practice.overdraw, "learn.steps": c.learn.steps,
        "learn.rounds": c.learn.rounds, "note.batch": c.note.batch,
    }  # fmt: skip
    if c.run.keep_rounds is not None:
        at_least_one["run.keep_rounds"] = c.run.keep_rounds
    for name, value in at_least_one.items():
        if value < 1:
            raise ConfigError(f"found {name} {value}, expected at least 1")
    if c.practice.score_k < 0 or not 0 <= c.practice.low <= c.practice.high <= 1:
        raise ConfigError(
            f"found practice.score_k {c.practice.score_k}, low {c.practice.low}, high {c.practice.high}; expected at "
            "least 0, and 0 <= low <= high <= 1"
        )
    if not 0 < c.note.pool < 1:
        raise ConfigError(f"found note.pool {c.note.pool}, expected a share between 0 and 1")
    if not 0 < c.learn.decay <= 1:
        raise ConfigError(f"found learn.decay {c.learn.decay}, expected more than 0 and at most 1")
    for group, leaf in (("run", "gate_alpha"), ("guard", "skill_alpha"), ("guard", "had")):
        if not 0 <= (value := getattr(getattr(c, group), leaf)) <= 1:
            raise ConfigError(f"found {group}.{leaf} {value}, expected a share from 0 to 1")
    for name in ("samples", "tokens", "money"):
        value = getattr(c.budget, name)
        if value is not None and value <= 0:
            raise ConfigError(f"found budget.{name} {value}, expected more than 0, or null for no limit")
    check_numbers(flatten(c))
    check_logs(c.run.log)
    check_pixels(c.model)
    check_select(c.select)
    check_precision(c.fit.precision, c.model)
    for name, n in (("probe.k", c.probe.k), ("practice.score_k", c.practice.score_k)):
        check_drawn(n, c.ask.temperature, (name, "ask.temperature"))
    if "reflect" in c.learn.kind:
        check_drawn(c.sample.k, c.sample.temperature, ("sample.k", "sample.temperature"))
    _check_generator(c)
    _check_learners(c)


def _check_generator(c: SpiralConfig) -> None:
    name = c.practice.generator
    made = name in ("geoworld", "euclid")
    if not made and not c.data.seeds:
        raise ConfigError(f"practice.generator {name} needs data.seeds, a data spec of problems to start from")
    if made and c.data.seeds:
        raise ConfigError("found data.seeds, which practice.generator edit and agents alone use; take it out")
    if name != "edit" and c.practice.ops:
        raise ConfigError("found practice.ops, which practice.generator edit alone uses; take it out")
    if name == "agents":
        check_agents(c.agents)
    elif c.agents != AgentsGroup():
        raise ConfigError("found settings of agents, which practice.generator agents alone uses; take them out")


def _check_learners(c: SpiralConfig) -> None:
    unknown = [name for name in c.learn.kind if name not in LEARNERS]
    if unknown or not c.learn.kind or len(set(c.learn.kind)) != len(c.learn.kind):
        raise ConfigError(f"found learn.kind {list(c.learn.kind)}, expected some of {', '.join(LEARNERS)}, each once")
    if c.build.preset != BuildConfig().preset:
        raise ConfigError(
            f"found build.preset {c.build.preset!r}, which `r3v evolve` does not apply; set the fields of build that "
            "the preset would change"
        )
    check_engine(c.policy, c.server.url)
    if c.server.url and c.learn.kind != ("note",):
        raise ConfigError(
            f"found server.url and learn.kind {', '.join(c.learn.kind)}; the weights at a server cannot be trained, "
            "so use --learn.kind note"
        )
    if "greedy" not in c.select.selectors:
        raise ConfigError("found select.selectors without greedy, which is the number runs are compared by; add it")
