"""The policy of a run whose engine is vLLM: an `OpenAIPolicy` on a server that this process starts and stops."""

from __future__ import annotations

import atexit
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from r3v.policies.base import Choice
from r3v.policies.engine.command import ENVIRONMENT, command
from r3v.policies.engine.process import Engine
from r3v.policies.model.loading import encoder_of, resolve
from r3v.policies.sampling.chooser import WithChooser
from r3v.policies.server.own_ids import OwnIds
from r3v.policies.server.policy import OpenAIPolicy
from r3v.records import Prompt
from r3v.settings.config import ModelConfig
from r3v.settings.engine import VllmConfig, check
from r3v.settings.server import ServerConfig

Say = Callable[[str], None]
TIMEOUT = 900.0
"""Seconds in which an answer must come: with many requests in flight, each of them takes long."""


class _Held:
    """The one engine of this process, and the command line it was started with."""

    engine: Engine | None = None
    command: Sequence[str] = ()


def vllm_policy(
    config: VllmConfig,
    model: ModelConfig,
    server: ServerConfig,
    *,
    run: Path | None = None,
    chooser: str = "",
    say: Say | None = None,
) -> OpenAIPolicy | ServedChooser:
    """A policy on vLLM, which is started unless it runs already with the same settings; `model.adapter` is loaded into
    it under a fresh name. `server` says how answers are asked for and weighed; its address is the engine's own.

    `chooser`: the folder of an adapter that weighs the answers of the other. `run`: folder whose `engine/` takes the
    output. Raises ConfigError; EngineGoneError where the engine does not start; ServerError for an adapter it refuses.
    """
    check(config)
    engine = _started(config, model, run, say)
    asked = replace(
        server, url=engine.url, kind="vllm", model=str(resolve(model.path)), api_key_env="",
        concurrency=server.concurrency or config.concurrency, timeout=max(server.timeout, TIMEOUT), retries=2,
    )  # fmt: skip

    if model.thinking is not None:
        switch = {"chat_template_kwargs": {"enable_thinking": model.thinking}}
        asked = replace(asked, extra={**switch, **asked.extra})

    def policy(adapter: str | None) -> OpenAIPolicy:
        made = OpenAIPolicy(asked, adapter=adapter, say=say, key=engine.key, unanswered=engine.must_answer)
        made.own = OwnIds(lambda: encoder_of(model), say)
        return made

    answering = policy(model.adapter)
    if not chooser:
        return answering
    try:
        return ServedChooser(answering, policy(chooser))
    except BaseException:
        answering.close()
        raise


def let_go() -> None:
    """Stop the engine of this process, where it has one: its card is free when this returns."""
    engine, _Held.engine = _Held.engine, None
    if engine is not None:
        engine.stop()


def _started(config: VllmConfig, model: ModelConfig, run: Path | None, say: Say | None) -> Engine:
    folder = str(resolve(model.path))
    wanted = command(config, model, folder, 0)
    if _Held.engine is not None and _Held.engine.alive and _Held.command == wanted:
        return _Held.engine
    let_go()
    if say:
        say(f"starting the engine: {' '.join(wanted[:3])}")
    _Held.engine = Engine(
        lambda port: command(config, model, folder, port), _log(config, run), env=ENVIRONMENT | config.env,
        start=config.start, say=say,
    )  # fmt: skip
    _Held.command = wanted
    return _Held.engine


def _log(config: VllmConfig, run: Path | None) -> Path:
    if config.logs:
        folder = Path(config.logs).expanduser()
    else:
        folder = run / "engine" if run is not None else Path(tempfile.gettempdir()) / "r3v-engine"
    return folder / f"{time.strftime('%Y%m%d-%H%M%S')}.log"


atexit.register(let_go)


@dataclass(frozen=True)
class ServedChooser(WithChooser):
    """Both adapters in one engine, which weighs given answers in its own ways."""

    answering: OpenAIPolicy
    choosing: OpenAIPolicy

    def choose_index(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, seed: int = 0, solutions: bool = False
    ) -> list[Choice]:
        """See `OpenAIPolicy.choose_index`."""
        return self.choosing.choose_index(prompts, options, seed=seed, solutions=solutions)

    def close(self) -> None:
        """Unload both adapters."""
        self.answering.close()
        self.choosing.close()
