"""The generator `agents` of a recipe, opened: its models, pictures and editor; or a script in the models' place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from r3v.curriculum.agents.agents import AgentGenerator, ImageEditor
from r3v.curriculum.agents.config import AgentsGroup, EditorGroup, PicturesGroup, RoleGroup, named
from r3v.curriculum.agents.roles import ROLES, Role
from r3v.curriculum.agents.script import scripted_roles
from r3v.curriculum.images.fetch import Limits
from r3v.curriculum.images.finders import Finder, PoolFinder, WebFinder
from r3v.curriculum.images.pool import open_pool
from r3v.curriculum.images.remote_edit import ImageEditEndpoint
from r3v.curriculum.images.search import PoolIndex
from r3v.curriculum.images.web import SearXNG, Serper, WebSearch
from r3v.embedding.table import make_embedder
from r3v.policies.base import Policy, SamplingParams
from r3v.records import Problem
from r3v.settings.config import ModelConfig
from r3v.settings.server import key_in


@contextmanager
def open_agents(
    config: AgentsGroup,
    seeds: Sequence[Problem],
    folder: Path,
    index: Path,
    model: ModelConfig,
    *,
    slots: int = 8,
    scripted: bool = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[AgentGenerator]:
    """The generator, open in the block; `folder` keeps its journal and pictures, `index` the pool's index where the
    config names none. Models in this process are loaded on the device and in the type of `model`, with `slots`
    sequences at once. `scripted`: no model, no pictures but the seeds' own, no network.

    Raises ConfigError (no seeds, keys that are not set), DataError for the pool, EngineError for a server.
    """
    own = replace(config.jobs(), workers=workers(config))
    with ExitStack() as stack:
        if scripted:
            yield stack.enter_context(AgentGenerator(scripted_roles(seeds), seeds, folder, config=own))
            return
        roles = _roles(config, model, slots, stack, say)
        finders = _finders(config.pictures, folder, index, stack, say)
        yield stack.enter_context(AgentGenerator(roles, seeds, folder, finders, _editor(config.editor), own))


def workers(config: AgentsGroup) -> int:
    """Items written at once: a model in this process is asked by one thread alone."""
    served = all(player(config, name).server.url for name in ROLES)
    return config.workers if served else 1


def player(config: AgentsGroup, name: str) -> RoleGroup:
    """Who plays a role, and how it samples: its own settings, then those of `all`."""
    own, rest = getattr(config, name), config.all
    who = own if named(own) else rest
    temperature = rest.temperature if own.temperature is None else own.temperature
    tokens = rest.max_new_tokens if own.max_new_tokens is None else own.max_new_tokens
    return replace(who, temperature=temperature, max_new_tokens=tokens)


def _roles(
    config: AgentsGroup, model: ModelConfig, slots: int, stack: ExitStack, say: Callable[[str], None] | None
) -> dict[str, Role]:
    """One policy for each role at a server, so that each has its own meter; one for each path."""
    from r3v.policies.sampling.hf import HFPolicy
    from r3v.policies.server.policy import OpenAIPolicy

    loaded: dict[str, Policy] = {}
    roles = {}
    for name in ROLES:
        who = player(config, name)
        if who.server.url:
            policy: Policy = stack.enter_context(OpenAIPolicy.from_config(who.server, ModelConfig(), say))
        else:
            if who.path not in loaded:
                asked = replace(ModelConfig(), path=who.path, device=model.device, dtype=model.dtype)
                loaded[who.path] = HFPolicy.from_config(asked, slots=slots)
            policy = loaded[who.path]
        temperature, tokens = who.sampling()
        roles[name] = Role(policy, SamplingParams(temperature=temperature, max_new_tokens=tokens), who.price)
    return roles


def _finders(
    config: PicturesGroup, folder: Path, index: Path, stack: ExitStack, say: Callable[[str], None] | None
) -> list[Finder]:
    finders: list[Finder] = []
    if config.pool:
        embedder = make_embedder(config.embedder)
        where = Path(config.index) if config.index else index
        found = stack.enter_context(PoolIndex(where, open_pool(config.pool), embedder, config.pool))
        if say:
            say(f"indexing {config.pool} in {where}; what is indexed already is kept")
        count = found.build()
        if say:
            say(f"{config.pool}: {count} pictures" + (f", {len(found.bad)} cannot be read" if found.bad else ""))
        finders.append(PoolFinder(found, by_looks=config.embedder == "plain"))
    engine: WebSearch | None = None
    limits = Limits(allow=config.allow_engine)
    if config.searxng:
        engine = SearXNG(config.searxng, limits)
    elif config.serper_key_env:
        engine = Serper(key_in(config.serper_key_env, "agents.pictures.serper_key_env") or "", limits=limits)
    if engine is not None:
        finders.append(WebFinder(engine, folder / "pictures", Limits(allow=config.allow)))
    return finders


def _editor(config: EditorGroup) -> ImageEditor | None:
    if not config.url:
        return None
    key = key_in(config.api_key_env, "agents.editor.api_key_env") or ""
    limits = Limits(seconds=config.seconds, allow=config.allow)
    return ImageEditEndpoint(config.url, config.model, key, limits, config.size, config.price)
