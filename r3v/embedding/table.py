"""Embedders by name (`make_embedder`): the one table. Those on models are imported only when one is asked for."""

from __future__ import annotations

import difflib
from typing import Any

from r3v.embedding.lexical import Lexical
from r3v.embedding.plain import PlainEmbedder
from r3v.embedding.protocol import Embedder, Factory
from r3v.errors import ConfigError


def _lexical(argument: str, policy: Any) -> Embedder:
    if argument and not argument.isdecimal():
        raise ConfigError(f"found embedder lexical:{argument}, expected lexical or lexical:WIDTH")
    return Lexical(int(argument)) if argument else Lexical()


def _plain(argument: str, policy: Any) -> Embedder:
    if argument:
        raise ConfigError(f"found embedder plain:{argument}, expected plain")
    return PlainEmbedder()


def _model(name: str) -> Factory:
    def make(argument: str, policy: Any) -> Embedder:
        from r3v.embedding import models

        return models.FACTORIES[name](argument, policy)

    return make


EMBEDDERS: dict[str, Factory] = {
    "self": _model("self"),
    "lexical": _lexical,
    "plain": _plain,
    "st": _model("st"),
    "clip": _model("clip"),
}
"""`self` (the solver's hidden states), `lexical`, `plain` (words and looks, without a model), `st:NAME`
(sentence-transformers), `clip:NAME` (CLIP, SigLIP)."""


def make_embedder(spec: str, policy: Any = None) -> Embedder:
    """The embedder of a spec such as `self`, `lexical`, `st:Qwen/Qwen3-VL-Embedding-2B`,
    `clip:google/siglip2-base-patch16-224`.

    `policy` is the solver, which `self` needs. Raises ConfigError for an unknown name, ModelError where a model or
    package is missing.
    """
    name, _, argument = spec.partition(":")
    if name not in EMBEDDERS:
        near = difflib.get_close_matches(name, EMBEDDERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"found embedder {spec!r}, expected one of {', '.join(EMBEDDERS)}{hint}")
    return EMBEDDERS[name](argument, policy)
