"""The parts of an `evolve` run on real models, servers and data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from r3v.embedding.table import make_embedder
from r3v.errors import ConfigError
from r3v.notebook.evolve.book import TheoremBook
from r3v.notebook.evolve.config import NotebookConfig, ProblemsConfig
from r3v.notebook.evolve.meter import Ledger, Prices
from r3v.notebook.evolve.solving import Asker, Say
from r3v.notebook.evolve.step import Parts
from r3v.notebook.evolve.supervisors import SUPERVISORS, Sabotaged, Supervisor
from r3v.notebook.retrieval.pictures import Pictures, shows_pictures
from r3v.notebook.retrieval.shelf import Shelf
from r3v.notebook.store.store import Notebook
from r3v.policies.base import Policy, SamplingParams
from r3v.policies.model.ready import check_model
from r3v.prompts import Style, style
from r3v.records import Problem
from r3v.settings.config import ModelConfig
from r3v.settings.server import PRICES, ServerConfig


def assemble(config: NotebookConfig, stack: ExitStack, say: Say = print) -> Parts:
    """Notebook (made where there is none), models and data of a run; `stack` closes what is opened.

    Raises ConfigError, DataError, ModelError, EngineError.
    """
    if not config.server.url:
        check_model(config.model)
    train, pool = load_problems(config.data)
    notebook, shelf, solver, words, _ = assemble_solver(config, stack, say, create=True)
    supervisor, writer = _supervisor(config, solver, say)
    return Parts(config, notebook, shelf, solver, words, supervisor, train, pool, writer, say)


def assemble_solver(
    config: NotebookConfig, stack: ExitStack, say: Say = print, create: bool = False
) -> tuple[Notebook, Shelf, Asker, Style, Prices]:
    """Notebook, retrieval, the solver behind its ledger, its prompt style and its prices."""
    own, path = config.solver, Path(config.evolve.notebook)
    policy = _policy(config.server, config.model, own.slots, say)
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = stack.enter_context(Notebook.open(path, create=create))
    ledger = Ledger(path.with_name(f"{path.name}.calls"))
    stack.callback(ledger.close)
    words = style(config.model.prompt_style)
    drawn = shows_pictures(policy, config.retrieval.images, words, say)
    shelf = Shelf(
        notebook,
        make_embedder(config.retrieval.embedder, policy),
        config.retrieval,
        words,
        Pictures(notebook.blob, say) if drawn else None,
    )
    params = SamplingParams(own.temperature, own.top_p, own.top_k, own.max_new_tokens)
    asker = Asker(policy, params, ledger, "solver", own.slots, own.attempts, own.pause, say=say)
    prices = Prices(*(config.server.prices.get(name, 0.0) for name in PRICES))
    return notebook, shelf, asker, words, prices


def _policy(server: ServerConfig, model: ModelConfig, slots: int, say: Say) -> Policy:
    if server.url:
        from r3v.policies.server.policy import OpenAIPolicy

        return OpenAIPolicy.from_config(server, model, say)
    from r3v.policies.engine.policy import let_go
    from r3v.policies.sampling.hf import HFPolicy

    let_go()  # in a spiral vLLM may have been asked before, and one device holds one of both
    return HFPolicy.from_config(model, slots=slots)


def _supervisor(config: NotebookConfig, solver: Asker, say: Say) -> tuple[Supervisor, Asker | None]:
    own = config.supervisor
    writer: Asker | None = None
    if own.kind == "theorem_book":
        made = TheoremBook()
    elif own.kind == "symbolic":
        made = SUPERVISORS["symbolic"]()
    else:
        policy = solver.policy
        if config.teacher.url or own.path:
            model = replace(ModelConfig(), path=own.path, device=config.model.device, dtype=config.model.dtype)
            policy = _policy(config.teacher, model, config.solver.slots, say)
        params = SamplingParams(temperature=own.temperature, max_new_tokens=own.max_new_tokens)
        writer = replace(solver, policy=policy, params=params, role="supervisor", asked=0)
        made = SUPERVISORS["policy"](policy.name, style(own.prompt_style), writer.ask, config.evolve.seed)
    return (Sabotaged(made, own.sabotage, config.evolve.seed) if own.sabotage else made), writer


def load_problems(data: ProblemsConfig) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """The problems to learn from, and the gate pool. Where both are one spec, the `n_pool` (default a tenth) with the
    smallest sha256 of their id are held out. Raises ConfigError, DataError."""
    from r3v.data import load

    if data.pool != data.train:
        train = load(data.train, limit=data.n_train, skip_bad=data.skip_bad, open=data.open)
        return train, load(data.pool, limit=data.n_pool, skip_bad=data.skip_bad, open=data.open)
    if data.train.startswith("geoworld:"):
        raise ConfigError("data.pool is the same as data.train; give it another split or seed (geoworld:novel?seed=1)")
    whole = load(data.train, skip_bad=data.skip_bad, open=data.open)
    order = sorted(range(len(whole)), key=lambda i: hashlib.sha256(whole[i].id.encode()).digest())
    size = data.n_pool if data.n_pool is not None else max(1, len(whole) // 10)
    kept = sorted(order[size:])[: data.n_train]
    return [whole[i] for i in kept], [whole[i] for i in order[:size]]
