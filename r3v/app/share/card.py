"""The model card of an adapter or a merged model, from what its run and its folder say. What is not known is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r3v.policies.model.adapters.taught import Taught
from r3v.prompts import solve, style
from r3v.records import Problem
from r3v.run.ledger import portable
from r3v.settings.config import Config
from r3v.version import __version__

TEMPLATE = """\
---
{head}---

# {title}

{what}

Made with r3v {version}, which samples rationales, grades them by their answers, and learns from its own mistakes.

## The prompt it expects

The picture comes first, then this text, as one user message of the base's chat template:

```text
{prompt}
```

Options of a multiple-choice question stand on a line of their own: `Choices: (A) ... (B) ...`.

## Use

```sh
{use}
```

## Figures

{figures}

## How it was taught

{taught}

## Licence

{licence}
"""


@dataclass(frozen=True)
class About:
    """What a card is made of. `base`: the hub's name of the base, None where it has none. `run`: the content of
    `run.json`, None for a model without a run. `merged`: a whole model, not an adapter."""

    name: str
    config: Config
    taught: Taught | None
    base: str | None
    licence: str | None
    run: Mapping[str, Any] | None = None
    reports: Sequence[Mapping[str, Any]] = ()
    chooser: bool = False
    merged: bool = False


def card(about: About) -> str:
    """The text of README.md."""
    return TEMPLATE.format(
        head=_head(about),
        title=about.name,
        what=_what(about),
        version=about.taught.r3v if about.taught else __version__,
        prompt=_prompt(about.config),
        use=_use(about),
        figures=_figures(about),
        taught=_taught(about),
        licence=_licence(about),
    )


def _head(about: About) -> str:
    """Metadata that the hub reads; JSON strings are YAML strings."""
    rows = {
        "base_model": about.base,
        "library_name": "transformers" if about.merged else "peft",
        "pipeline_tag": "image-text-to-text",
        "license": about.licence,
    }
    told = "".join(f"{name}: {json.dumps(value)}\n" for name, value in rows.items() if value)
    tags = ["r3v", "self-training", *([] if about.merged else ["lora"])]
    return told + "tags:\n" + "".join(f"- {tag}\n" for tag in tags)


def base_of(about: About) -> str:
    known = about.base or (about.taught.base.path if about.taught else None) or about.config.model.path
    return Path(known).name if Path(known).is_absolute() else known


def _what(about: About) -> str:
    kind = "A model with its adapter merged in" if about.merged else "A LoRA adapter"
    told = f"{kind}, on the vision-language model `{base_of(about)}`."
    if about.run:
        rounds = len(about.run["rounds"]) - 1
        told += f" It is round {about.run['accepted_round']} of {rounds} of a self-training run."
    if about.chooser:
        told += " The folder `chooser` holds a second adapter, which only chooses among sampled answers."
    return told


def _prompt(config: Config) -> str:
    words = solve(Problem("card", "QUESTION", "0", "number"), style(config.model.prompt_style))
    return words.messages[0].text


def _use(about: About) -> str:
    base, here = about.base or f"/path/to/{base_of(about)}", about.name.rpartition("/")[2]
    lines = [f"hf download {about.name} --local-dir {here}"]
    if about.merged:
        lines += [f"r3v select --model {here} --image figure.png --question '...'", f"vllm serve {here}"]
    else:
        lines += [
            f"r3v select --model {base} --adapter {here} --image figure.png --question '...'",
            f"vllm serve {base} --enable-lora --max-lora-rank {about.config.model.lora_r} --lora-modules own={here}",
        ]
    return "\n".join(lines)


def _figures(about: About) -> str:
    """Accuracy of base and accepted round on the run's evaluation set, from the run's own records."""
    if not about.run:
        return "Not measured by the command that made this."
    rounds = {entry["round"]: entry for entry in about.run["rounds"]}
    base, own = rounds.get(0, {}).get("eval", {}), rounds[about.run["accepted_round"]].get("eval", {})
    if not own:
        return "The run holds no evaluation."
    rows = [f"On `{portable([about.config.data.eval])}`, share right with its 95 % interval:", ""]
    rows += ["| answer chosen by | base | this model | n |", "|---|---|---|---|"]
    rows += [f"| {metric} | {_cell(base.get(metric))} | {_cell(cell)} | {cell['n']} |" for metric, cell in own.items()]
    if any(metric.startswith("oracle") for metric in own):
        rows += ["", "`oracle` knows the right answer: the share of problems with any right candidate, a bound."]
    return "\n".join(rows)


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    low, high = cell["ci95"]
    return f"{100 * cell['accuracy']:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _taught(about: About) -> str:
    config, rows = about.config, []
    if about.run:
        machines = dict.fromkeys(r["fit"]["machine"] for r in about.reports if r.get("fit", {}).get("machine"))
        rows += [
            ("data learned from", portable([config.data.train])),
            ("gate", portable([config.data.gate])),
            ("command", f"r3v train {Path(str(about.run.get('recipe') or 'RECIPE')).stem}"),
            ("preset", config.build.preset),
            ("rationales for a problem and round", str(config.sample.k)),
            ("learning rate, epochs", f"{config.train.lr:g}, {config.train.epochs:g}"),
            ("LoRA rank, alpha", f"{config.model.lora_r}, {config.model.lora_alpha}"),
            ("hardware of the fit", "; ".join(machines) or "not recorded"),
        ]
    if about.taught:
        told = asdict(about.taught)
        rows += [(f"base: {name}", str(value)) for name, value in told.pop("base").items() if value is not None]
        rows += [(name, str(value)) for name, value in told.items() if value is not None]
    elif not rows:
        return "Not known: the adapter has no `r3v_adapter.json`."
    lines = ["| | |", "|---|---|"] + [f"| {name} | `{value}` |" for name, value in rows]
    return "\n".join(lines)


def _licence(about: About) -> str:
    base = f"The base `{base_of(about)}`"
    if about.licence:
        return f"{base} is under `{about.licence}`, and so is this."
    return f"{base}: its licence was not known here. Look at the page of the base before you use or pass this on."
