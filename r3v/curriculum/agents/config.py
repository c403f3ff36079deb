"""Settings of the generator `agents`: who plays each role, where pictures come from, who edits them."""

from __future__ import annotations

from dataclasses import dataclass, field

from r3v.errors import ConfigError
from r3v.settings.server import ServerConfig


@dataclass(frozen=True)
class RoleGroup:
    """Who plays a role: a server, or a model in this process, or (neither named) whoever `agents.all` names."""

    server: ServerConfig = field(default_factory=ServerConfig)
    path: str = ""
    """A model in this process, as `model.path`; loaded once for all roles that name it."""
    price: float = 0.0
    """What a million tokens of its answers cost, on top of `server.prices`."""
    temperature: float | None = None
    """None is that of `agents.all`, and 0.7 there."""
    max_new_tokens: int | None = None
    """None is that of `agents.all`, and 1024 there."""

    def sampling(self) -> tuple[float, int]:
        """(temperature, max_new_tokens), defaults filled in."""
        t, n = self.temperature, self.max_new_tokens
        return 0.7 if t is None else t, 1024 if n is None else n


@dataclass(frozen=True)
class PicturesGroup:
    """Where pictures are looked for. With no pool and no search engine, the seed item lends its own."""

    pool: str = ""
    """folder:PATH, wds:PATTERN or hub:NAME, indexed once and searched by words and by looks."""
    embedder: str = "plain"
    """What the pool is indexed by: `plain` (words, and looks like the seed item's picture; no model) or `clip:NAME`."""
    index: str = ""
    """Folder of the pool's index; empty is `agents/index` in the run folder. Runs may share one, one after another."""
    searxng: str = ""
    """Address of a SearXNG server whose settings list `json` under search.formats."""
    serper_key_env: str = ""
    """Environment variable that holds a key of serper.dev; the key itself is never written down."""
    allow: tuple[str, ...] = ()
    """Networks (CIDR) that downloads may reach although they are not public."""
    allow_engine: tuple[str, ...] = ()
    """The same for the search server alone, which is often one's own."""


@dataclass(frozen=True)
class EditorGroup:
    """An OpenAI-compatible image-edit endpoint. Without one, plans edit with Pillow alone."""

    url: str = ""
    """Its address; empty is none."""
    model: str = ""
    """Model name there."""
    api_key_env: str = ""
    """Environment variable that holds the key."""
    size: str = ""
    """Size of the picture that is asked for, such as 512x512; empty is the server's."""
    price: float = 0.0
    """What one edited picture costs."""
    seconds: float = 180.0
    """Longest wait for a picture."""
    allow: tuple[str, ...] = ()
    """Networks (CIDR) that may be reached although they are not public."""


@dataclass(frozen=True)
class AgentConfig:
    """`candidates` pictures are shown to the selector. The checker answers `checks` times; `agreement` must agree.
    `attempts` is how many jobs may be tried for each item wanted, `workers` how many are under way at once: more than
    one for policies that many threads may use (servers). Raises ConfigError for values out of range."""

    candidates: int = 5
    checks: int = 5
    agreement: float = 0.8
    attempts: int = 4
    workers: int = 1
    guidance: str = ""
    style: str = "full"

    def __post_init__(self) -> None:
        for name in ("candidates", "checks", "attempts", "workers"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"found agents.{name} {value}, expected at least 1")
        if not 0 < self.agreement <= 1:
            raise ConfigError(f"found agents.agreement {self.agreement:g}, expected a share above 0, at most 1")


@dataclass(frozen=True)
class AgentsGroup:
    """practice.generator agents (DPE, arXiv 2602.22859): planner, selector, writer, checker, each with its own model.

    The checker should be another model than the writer, or at least a strong one: its agreement alone accepts an item.
    """

    all: RoleGroup = field(default_factory=RoleGroup)
    """Plays every role that has nobody of its own."""
    planner: RoleGroup = field(default_factory=RoleGroup)
    selector: RoleGroup = field(default_factory=RoleGroup)
    writer: RoleGroup = field(default_factory=RoleGroup)
    checker: RoleGroup = field(default_factory=RoleGroup)
    pictures: PicturesGroup = field(default_factory=PicturesGroup)
    editor: EditorGroup = field(default_factory=EditorGroup)
    candidates: int = 5
    """Pictures the selector is shown."""
    checks: int = 5
    """Independent answers of the checker."""
    agreement: float = 0.8
    """Share of them that must agree with the writer."""
    attempts: int = 4
    """Items tried for each one wanted."""
    workers: int = 8
    """Items written at once where every role is played by a server; a model in this process writes one at a time."""
    guidance: str = ""
    """A sentence for the planner about what is wanted."""
    prompt_style: str = "full"
    """Style in which the checker is asked."""

    def jobs(self) -> AgentConfig:
        """The part that the generator takes. Raises ConfigError for values out of range."""
        return AgentConfig(
            self.candidates, self.checks, self.agreement, self.attempts, self.workers, self.guidance, self.prompt_style
        )


def named(group: RoleGroup) -> bool:
    """Whether the group says who plays."""
    return bool(group.server.url or group.path)


def check_agents(config: AgentsGroup) -> None:
    """Raises ConfigError where a role has nobody to play it, or a value cannot be used."""
    from r3v.curriculum.agents.roles import ROLES

    for name in ("all", *ROLES):
        role: RoleGroup = getattr(config, name)
        if role.server.url and role.path:
            raise ConfigError(f"found agents.{name}.server.url and agents.{name}.path, expected one of them")
        temperature, tokens = role.sampling()
        if role.price < 0 or tokens < 1 or temperature < 0:
            raise ConfigError(
                f"found agents.{name} with price {role.price:g}, max_new_tokens {tokens} and temperature "
                f"{temperature:g}, expected at least 0, 1 and 0"
            )
        if not named(role) and (role.price or role.server != ServerConfig()):
            raise ConfigError(
                f"found a price or server settings of agents.{name}, which has neither server.url nor path of its own; "
                "set one of them, or take these settings out"
            )
        if name != "all" and not named(role) and not named(config.all):
            raise ConfigError(
                f"practice.generator agents needs somebody to play the {name}: set agents.{name}.server.url or "
                f"agents.{name}.path, or agents.all.server.url or agents.all.path for every role"
            )
    config.jobs()
    if config.pictures.embedder.partition(":")[0] not in ("plain", "clip"):
        raise ConfigError(f"found agents.pictures.embedder {config.pictures.embedder!r}, expected plain or clip:NAME")
    if config.pictures.searxng and config.pictures.serper_key_env:
        raise ConfigError("found agents.pictures.searxng and serper_key_env, expected one search engine")
    if config.pictures.index and not config.pictures.pool:
        raise ConfigError("found agents.pictures.index without agents.pictures.pool, which it would be the index of")
    if bool(config.editor.url) != bool(config.editor.model):
        raise ConfigError("agents.editor needs both url and model, or neither")
    if not config.editor.url and config.editor != EditorGroup():
        raise ConfigError("found settings of agents.editor without agents.editor.url; set that too, or take them out")
