"""The command line: `r3v COMMAND --help` tells the rest.

Only argparse is imported here; what a command needs is imported when it runs, so that `r3v --help` is instant.
Every command that uses a model takes every field of the config tree as a flag (`--select.permutations 4`).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from r3v.app.commands import bench as bench_commands
from r3v.app.commands import diagnose as diagnose_commands
from r3v.app.commands import evolve as spiral_commands
from r3v.app.commands import fetch as fetch_commands
from r3v.app.commands import notebook_evolve as evolve_commands
from r3v.app.commands import notebook_retrieve as retrieve_commands
from r3v.app.commands import notebook_store as store_commands
from r3v.app.commands import reinforce as reinforce_commands
from r3v.app.commands import serve as serve_commands
from r3v.app.commands.recall import retrieval_flags
from r3v.app.first import chat as chat_command
from r3v.app.first import env as env_command
from r3v.app.first import init as init_command
from r3v.app.parser import Parser, at_least, model_flags, positive
from r3v.app.plan import command as plan_command
from r3v.app.share import harness as harness_commands
from r3v.app.share import push as push_command
from r3v.app.trees import fields_help
from r3v.app.ui import command as ui_command
from r3v.errors import ConfigError, R3VError
from r3v.run.signals import INTERRUPTED, Stopped, watched
from r3v.version import __version__

Handler = Callable[[argparse.Namespace, list[str]], int]
RESUMING = ("train", "compare", "eval", "sample", "evolve", "reinforce", "diagnose")
_FIELD = re.compile(r"--\w+\.\w")
EPILOG = "Fields of the config are flags too, such as --select.temperature 0.7; `--help select` explains a group."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 findings (`data check`, `notebook verify`,
    `plan` of what does not fit), 2 an error, 75
    stopped by SIGTERM or SIGUSR1 (a scheduler is to queue it again), 130 by Ctrl-C."""
    own, fields = split_fields(list(sys.argv[1:] if argv is None else argv))
    try:
        args, rest = build_parser().parse_known_args(own)
        rest = [*rest, *fields]
        handler: Handler = args.handler
        if rest and not args.takes_fields:
            raise ConfigError(f"found {' '.join(rest)}; `r3v {args.command} --help` lists what this command takes")
        with watched() if _resumes(args) else nullcontext():
            return handler(args, rest)
    except R3VError as error:
        print(f"r3v: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read has seen enough, as in `r3v ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder without permission
        print(f"r3v: error: {error.filename or 'files'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"r3v: stopped by {stopped}; the same command goes on where it stopped", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print("r3v: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED


def _resumes(args: argparse.Namespace) -> bool:
    """Whether the command keeps its work and goes on with it when it is called again."""
    return args.command in RESUMING or getattr(args, "notebook_command", None) in ("evolve", "qualify")


def split_fields(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and the fields of the config (`--group.field value`) with their values."""
    own: list[str] = []
    fields: list[str] = []
    rest = list(argv)
    while rest:
        token = rest.pop(0)
        if not _FIELD.match(token):
            own.append(token)
            continue
        fields.append(token)
        if "=" not in token and rest and not rest[0].startswith("--"):
            fields.append(rest.pop(0))
    return own, fields


def build_parser() -> argparse.ArgumentParser:
    """All commands. Handlers live in `r3v.app.commands.core` and are imported when called."""
    parser = Parser(prog="r3v", description="Vision-language models that learn from their own mistakes.")
    parser.add_argument("--version", action="version", version=f"r3v {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train(commands)
    _eval(commands)
    _select(commands)
    _sample(commands)
    _data(commands)
    _export(commands)
    _report(commands)
    _compare(commands)
    _filters(commands)
    _lucky(commands)
    fetch_commands.register(commands)
    spiral_commands.register(commands)
    _notebook(commands)
    diagnose_commands.register(commands)
    reinforce_commands.register(commands)
    bench_commands.register(commands)
    plan_command.register(commands)
    serve_commands.register(commands)
    harness_commands.register(commands)
    push_command.register(commands)
    ui_command.register(commands)
    for first in (init_command, chat_command, env_command):
        first.register(commands)
    _add(commands, "version", "print the version")
    return parser


def _later(name: str) -> Handler:
    def handler(args: argparse.Namespace, rest: list[str]) -> int:
        from r3v.app.commands import core, evaluate

        return getattr(evaluate if name == "eval" else core, name)(args, rest)

    return handler


def _add(commands: argparse._SubParsersAction, name: str, text: str, fields: bool = False) -> argparse.ArgumentParser:
    p = commands.add_parser(name, help=text, description=text, epilog=EPILOG if fields else None, add_help=not fields)
    if fields:
        fields_help(p, "train", listed=False)
    p.set_defaults(handler=_later(name.replace("-", "_")), takes_fields=fields)
    return p


def _train(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "train", help="self-train: the whole loop, resumed if it was interrupted", allow_abbrev=False, add_help=False
    )
    p.set_defaults(handler=_later("train"), takes_fields=True)
    fields_help(p, "train")
    p.add_argument("recipe", help="a YAML file, or the name of one that comes with the library")
    p.add_argument("--dry-run", action="store_true", help="random tiny weights of the same family, a few problems")
    p.add_argument("--print_config", action="store_true", help="print the effective config and stop")
    p.add_argument("--no-report", action="store_true", help="leave report.html out")


def _eval(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "eval", "measure a model: one number per selector, with interval", fields=True)
    model_flags(p)
    p.add_argument("--data", required=True, help="data spec, such as geoworld:test")
    p.add_argument("--selectors", help="comma-separated; default: select.selectors of the config")
    p.add_argument("--n", type=positive, help="candidates per problem (select.n)")
    p.add_argument("--limit", type=positive, help="use the first problems only")
    p.add_argument("--open", action="store_true", help="ask without choices")
    p.add_argument("--protocol", help="how choice problems are asked and judged: choices, open or top10")
    p.add_argument("--controls", action="store_true", help="also measure the base and the model without pictures")
    p.add_argument("--base", metavar="FILE", help="the base's earlier --out FILE, instead of measuring it again")
    p.add_argument("--ledger", metavar="FILE", help="note in this file that a split named test is asked")
    p.add_argument("--out", help="write the eval block to this JSON file and the rows beside it as .parquet")
    retrieval_flags(p)


def _select(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "select", "sample several answers and choose one; the gold answer is never used", fields=True)
    model_flags(p)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--question", help="ask this about --image")
    what.add_argument("--data", help="or answer a whole dataset: a data spec")
    p.add_argument("--image", action="append", default=[], help="image file; may be repeated")
    p.add_argument("--choices", nargs="+", help="the options, in order")
    p.add_argument("--kind", choices=("number", "text", "expression"), default="number", help="without choices")
    p.add_argument("--n", type=positive, default=8, help="candidates (default 8)")
    p.add_argument("--method", default="fused", help="selector (default fused)")
    p.add_argument("--limit", type=positive, help="use the first problems only")
    p.add_argument("--out", help="write JSON Lines here instead of printing")
    retrieval_flags(p)


def _sample(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "sample", "sample and grade K rationales per problem into Parquet shards", fields=True)
    model_flags(p)
    p.add_argument("--data", required=True, help="data spec")
    p.add_argument("--k", type=positive, help="rationales per problem (sample.k)")
    p.add_argument("--limit", type=positive, help="use the first problems only")
    p.add_argument("--open", action="store_true", help="ask without choices")
    p.add_argument("--out", required=True, help="folder of the shards; an interrupted one is completed")
    retrieval_flags(p)


def _data(commands: argparse._SubParsersAction) -> None:
    data = commands.add_parser("data", help="check a dataset, or make the built-in one", allow_abbrev=False)
    inner = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    check = inner.add_parser("check", help="counts, sizes, duplicates, leaks and bad rows; exit code 1 if any are bad")
    check.set_defaults(handler=_later("data_check"), takes_fields=False)
    check.add_argument("spec", help="data spec, such as geoqa:hz2475/geoQA?split=train, or a recipe: all sets it names")
    check.add_argument(
        "--against", metavar="SPEC", action="append", default=[], help="look for its problems in this set"
    )
    check.add_argument("--all", action="store_true", help="every finding, not only the first of each kind")
    check.add_argument("--model", help="count the tokens of the prompts for this model")
    check.add_argument("--limit", type=positive, help="look at the first rows only")
    check.add_argument("--skip-bad", action="store_true", help="go on without bad rows: name them, exit code 0")
    make = inner.add_parser("make", help="write a generated dataset with its images")
    make.set_defaults(handler=_later("data_make"), takes_fields=False)
    make.add_argument("world", choices=("geoworld",))
    make.add_argument("--n", type=positive, required=True, help="problems")
    make.add_argument("--split", default="train", help="train, gate, test or novel")
    make.add_argument("--seed", type=at_least(0), default=0)
    make.add_argument("--out", required=True, help="folder to write")


def _export(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "export", "merge an adapter into the 16-bit base model and check the logits", fields=True)
    model_flags(p)
    p.add_argument("--out", required=True, help="folder of the merged model")
    push_command.export_flags(p)


def _report(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "report", "make report.html of a run")
    p.add_argument("run", help="run folder")
    p.add_argument("--out", help="HTML file (default RUN/report.html)")
    p.add_argument("--gallery", type=at_least(0), default=12, help="problems shown (default 12)")


def _compare(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "compare", "run presets at equal samples and training tokens; one table, one plot", fields=True)
    p.add_argument("presets", nargs="+", help="such as r3v r3v-paper star")
    p.add_argument("--recipe", required=True, help="settings the presets share")
    p.add_argument("--out", required=True, help="folder of the runs, the table and the plot")
    p.add_argument("--seeds", type=positive, default=1, help="runs per preset (default 1)")
    p.add_argument("--dry-run", action="store_true", help="random tiny weights, a few problems")


def _filters(commands: argparse._SubParsersAction) -> None:
    p = _add(commands, "filters", "how many of a run's positives are lucky, and what each filter against them costs")
    p.add_argument("run", help="run folder; its training problems must be GeoWorld's, whose rationales can be checked")
    p.add_argument("--grounded", action="store_true", help="also the filter that scores rationales without the image")
    p.add_argument("--out", help="write the rows to this JSON file")


def _lucky(commands: argparse._SubParsersAction) -> None:
    text = "right answers with wrong rationales: draw some for two people to judge, and count what they found"
    inner = commands.add_parser("lucky", help=text, description=text, allow_abbrev=False).add_subparsers(
        dest="lucky_command", required=True, metavar="COMMAND"
    )
    drawing = inner.add_parser("draw", help="write right answers with a column for each judge")
    drawing.set_defaults(handler=_later("lucky_draw"), takes_fields=False)
    drawing.add_argument("rows", help="the --out FILE of `r3v eval`")
    drawing.add_argument("--data", required=True, help="the data spec that was measured")
    drawing.add_argument("--metric", default="greedy", help="whose answers (default greedy)")
    drawing.add_argument("--n", type=int, default=100, help="how many (default 100)")
    drawing.add_argument("--seed", type=int, default=0)
    drawing.add_argument("--out", required=True, help="folder to write")
    counting = inner.add_parser("count", help="share, interval and agreement of a filled file")
    counting.set_defaults(handler=_later("lucky_count"), takes_fields=False)
    counting.add_argument("file", help="lucky.jsonl with both columns filled")


def _notebook(commands: argparse._SubParsersAction) -> None:
    notebook = commands.add_parser("notebook", help="notes learnt from mistakes: keep, find, edit", allow_abbrev=False)
    inner = notebook.add_subparsers(dest="notebook_command", required=True, metavar="COMMAND")
    for group in (store_commands, evolve_commands, retrieve_commands):
        group.register(inner)


if __name__ == "__main__":
    sys.exit(main())
