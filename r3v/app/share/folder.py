"""The folder that is sent: the adapter in the layout that PEFT and vLLM load, the card, and nothing of this machine."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from r3v.app.share.card import About, card
from r3v.errors import RunError
from r3v.io import atomic_dir, atomic_write, write_json
from r3v.policies.model.adapters.reading import CONFIG, WEIGHTS, read_config, read_shapes
from r3v.policies.model.adapters.taught import Taught, read_taught, write_taught
from r3v.reflection.asked import model_settings
from r3v.reflection.stages import read_json
from r3v.settings.config import Config

CHOOSER = "chooser"
README = "README.md"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_OURS = {"geoworld-tiny": "apache-2.0"}
"""Models that ship with the library, and their licence."""


def write_run(
    run: str | Path, name: str, out: str | Path, licence: str | None = None, say: Callable[[str], None] = print
) -> Path:
    """Write the accepted adapter of a run, its chooser where one is used, and the card to the new folder `out`.

    Raises RunError: no run of `r3v train` or `r3v reinforce`, no accepted round, `out` exists; ModelError for a damaged
    adapter."""
    value = read_json(Path(run) / "run.json")
    if value.get("kind") == "evolve":
        raise RunError(f"{run}: a run of `r3v evolve` holds several; push the one of a turn")
    if not value.get("accepted_round"):
        raise RunError(f"{run}: no round was accepted, so the base is its best model and there is nothing to push")
    config = model_settings(run=run, say=say)
    adapter = Path(str(config.model.adapter))
    reports = [read_json(path) for path in sorted(Path(run).glob("round_*/report.json"))]
    about = _about(name, config, read_taught(adapter), licence)
    about = replace(about, run=value, reports=reports, chooser=bool(config.select.adapter))
    _check_new(out)
    with atomic_dir(out) as folder:
        copy_adapter(adapter, folder, about.base)
        if config.select.adapter:
            copy_adapter(Path(config.select.adapter), folder / CHOOSER, about.base)
        atomic_write(folder / README, card(about))
    return Path(out)


def add_card(merged: str | Path, name: str, config: Config, licence: str | None = None) -> None:
    """Write the card of a merged model into its folder, and take this machine's paths out of what stands beside it."""
    folder = Path(merged)
    taught = read_taught(folder)
    about = replace(_about(name, config, taught, licence), merged=True)
    if taught:
        write_taught(folder, _portable(taught, about.base))
    atomic_write(folder / README, card(about))


def copy_adapter(source: Path, target: Path, base: str | None) -> None:
    """Copy an adapter, with the hub's name of its base or none. Raises ModelError for a damaged one."""
    read_config(source)
    read_shapes(source)
    target.mkdir(exist_ok=True)
    shutil.copyfile(source / WEIGHTS, target / WEIGHTS)
    config: dict[str, Any] = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    write_json(target / CONFIG, {**config, "base_model_name_or_path": base})
    if taught := read_taught(source):
        write_taught(target, _portable(taught, base))


def files_of(folder: Path) -> list[tuple[str, int]]:
    """(name, bytes) of everything in a folder, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size) for path in found]


def licence_of(path: str) -> str | None:
    """The licence of a base, without asking anybody: of a model that ships with the library, or from the metadata of
    the README in its folder or in the hub's cache; None where nothing is known."""
    if path in _OURS:
        return _OURS[path]
    readme: Any = Path(path) / README
    if not Path(path).is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(path, README) if _HUB_NAME.fullmatch(path) else None
        readme = Path(found) if isinstance(found, str) else None
    if readme is None or not readme.is_file():
        return None
    import yaml

    parts = readme.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        told = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except yaml.YAMLError:
        return None
    said = told.get("license") if isinstance(told, dict) else None
    return said if isinstance(said, str) else None


def hub_name(path: str) -> str | None:
    """The path of a model as the hub knows it; None for a folder, and for models that ship with the library."""
    return path if _HUB_NAME.fullmatch(path) and not Path(path).exists() else None


def _about(name: str, config: Config, taught: Taught | None, licence: str | None) -> About:
    path = (taught.base.path if taught else None) or config.model.path
    return About(name, config, taught and _portable(taught, None), hub_name(path), licence or licence_of(path))


def _portable(taught: Taught, base: str | None) -> Taught:
    """Without the folder of this machine that the base lay in."""
    path = taught.base.path
    kept = path if path is None or hub_name(path) or not ("/" in path or "\\" in path) else Path(path).name
    return replace(taught, base=replace(taught.base, path=base or kept))


def _check_new(out: str | Path) -> None:
    if Path(out).exists():
        raise RunError(f"{out}: exists; delete it, or choose another --out")
