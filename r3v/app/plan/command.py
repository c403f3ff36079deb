"""`r3v plan RECIPE`: reads the recipe, counts, prints. Only argparse at import."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r3v.app.plan.recipe import Planned
    from r3v.plan.shape import Shape

FITS, TOO_MUCH = 0, 1


def register(commands: Any) -> None:
    """Add `plan` to the subparsers of the command line."""
    text = "memory, work and time of a recipe by arithmetic, before anything is loaded"
    p = commands.add_parser(
        "plan", help=text, description=f"{text}. Exit code 0: every stage fits on the card; 1: one does not.",
        allow_abbrev=False, epilog="Fields of the recipe are flags of their own, such as --sample.slots 64.",
    )  # fmt: skip
    p.set_defaults(handler=run, takes_fields=True)
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument("--gpu", type=float, default=24, help="GiB of memory of the card (default 24)")
    p.add_argument("--card", help="estimate minutes from the data sheet of this card, such as 'RTX 4090'")
    p.add_argument("--picture", default="448x448", help="width and height of a picture (default 448x448)")
    p.add_argument(
        "--probe", action="store_true", help="load the model and measure 20 steps on this machine for the minutes"
    )
    p.add_argument("--dry-run", action="store_true", help="with --probe: random tiny weights of the same family")
    p.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    """The handler of the command."""
    import json

    from r3v.app.plan import table
    from r3v.app.plan.recipe import precision_of, read_recipe, work_of
    from r3v.errors import ConfigError
    from r3v.plan.cards import CARDS, counts, rates_of
    from r3v.plan.judge import plan
    from r3v.plan.stages import usable

    if args.card is not None and args.card not in CARDS:
        raise ConfigError(f"found --card {args.card!r}, expected one of {', '.join(CARDS)}")
    if args.dry_run and not args.probe:
        raise ConfigError("found --dry-run without --probe: a plan loads nothing; add --probe, or leave it out")
    picture = _picture(args.picture)
    gib = CARDS[args.card].gib if args.card else args.gpu
    planned = read_recipe(args.recipe, rest)
    shape, p, free = _shape(planned), precision_of(planned), usable(gib)
    longest, typical = work_of(planned, shape, picture, 1.0), work_of(planned, shape, picture)
    found, work = plan(shape, p, longest, free), counts(shape, p, typical)
    rates = rates_of(args.card, shape, p, typical) if args.card else None
    if args.probe:
        from r3v.app.plan.probe import probe

        rates = probe(planned, args.dry_run)
    name, fits = planned.config.model.path, found.fits(free)
    ways = [] if fits else settings_that_fit(planned, shape, picture, free)
    disk = _disk(planned, shape, typical)
    if args.json:
        rest_ = {"disk": disk, "nearest": [dict(way) for way in ways], "rates": vars(rates) if rates else None}
        print(json.dumps(table.as_json(name, shape, p, found, free, work, rest_), indent=2))
        return FITS if fits else TOO_MUCH
    blocks = [
        table.heading(name, shape, p, typical),
        table.weight_table(shape, p),
        table.memory_table(found, free, gib),
        table.work_table(work, typical, rates),
        table.disk_table(disk),
        *([] if fits else [table.advice(ways, gib)]),
        ["By arithmetic alone; no GPU has been measured against it (docs/gpu.md)."],
    ]
    print("\n\n".join("\n".join(block) for block in blocks))
    return FITS if fits else TOO_MUCH


def _picture(text: str) -> tuple[int, int]:
    from r3v.errors import ConfigError

    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"found --picture {text!r}, expected WIDTHxHEIGHT such as 448x448")
    return int(width), int(height)


def _shape(planned: Planned) -> Shape:
    model = planned.config.model
    return _shape_of(model.path, model.revision, model.lora_targets)


@functools.cache
def _shape_of(path: str, revision: str | None, targets: str) -> Shape:
    from r3v.plan.known import config_of, meta_model
    from r3v.plan.shape import shape_of
    from r3v.settings.config import ModelConfig

    return shape_of(meta_model(config_of(ModelConfig(path=path, revision=revision))), targets)


def _disk(planned: Planned, shape: Shape, work: Any) -> dict[str, float]:
    from r3v.run.disk import COPIES, samples

    rounds = work.rounds if getattr(planned.config, "run", None) is not None else 1
    adapter = 4.0 * shape.adapter(planned.config.model.lora_r)
    drawn = [samples(d.problems, d.each, d.new_tokens) for d in (work.sample, work.evaluate)]
    found = {
        "weights of the model": 2.0 * sum(shape.weights.values()),
        "answers of all rounds": float(rounds * sum(drawn)),
    }
    if work.fit is not None:
        found |= {"adapters of all rounds": rounds * adapter, "checkpoint of a fit": (COPIES - 1) * adapter}
        found |= {"an export": 2.0 * sum(shape.weights.values())}
    return found


def settings_that_fit(planned: Planned, shape: Shape, picture: tuple[int, int], free: float) -> Sequence[Any]:
    """The nearest settings with which every stage fits."""
    from dataclasses import replace

    from r3v.app.plan.recipe import precision_of, work_of
    from r3v.plan.judge import halvings, nearest, plan
    from r3v.settings.tree import get_field, set_field

    config = planned.config
    named: list[tuple[str, Any]] = []
    if planned.fit:
        group = planned.fit
        batch = get_field(config, f"{group}.max_batch_tokens")
        named += [(f"{group}.gradient_checkpointing", [True])]
        named += [(f"{group}.max_batch_tokens", halvings(batch, 512) if batch else [])]
        named += [(f"{group}.max_tokens", halvings(get_field(config, f"{group}.max_tokens"), 512))]
    named += [(f"{planned.draw}.slots", halvings(get_field(config, f"{planned.draw}.slots"), 1))]
    for name in (f"{planned.draw}.max_new_tokens", "select.max_new_tokens"):
        if name.partition(".")[0] in vars(config):
            named.append((name, halvings(get_field(config, name), 128)))
    most = config.model.max_pixels or picture[0] * picture[1]
    named += [("model.max_pixels", [v for v in halvings(most, 784) if v >= (config.model.min_pixels or 784)])]
    named += [("model.quantization", ["nf4"] if config.model.quantization == "none" else [])]

    def fits(changed: Any) -> bool:
        other = replace(planned, config=changed)
        return plan(shape, precision_of(other), work_of(other, shape, picture, 1.0), free).fits(free)

    return nearest(config, fits, named, set_field)
