"""`r3v notebook list|show|add|edit|...`: the commands with which people read and change a notebook."""

from __future__ import annotations

import argparse
from typing import Any

from r3v.app.parser import positive


def register(commands: Any) -> None:
    """Add the commands to the subparsers of `r3v notebook`. Imports nothing heavy."""
    _reading(commands)
    _writing(commands)
    _refs(commands)
    _folders(commands)
    p = _add(commands, "ui", "read and change the notebook on a page in the browser")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine only)")
    p.add_argument("--port", type=int, default=8765, help="port (default 8765; 0 takes a free one)")
    p.add_argument("--token", help="ask for this token (default: none on loopback, a random one elsewhere)")
    _person(p, message=False)


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    p = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    p.set_defaults(handler=_later(name), takes_fields=False)
    p.add_argument("file", help="the notebook")
    return p


def _later(name: str) -> Any:
    def handler(args: argparse.Namespace, rest: list[str]) -> int:
        from r3v.app.commands import notebook_actions as store_actions

        return getattr(store_actions, f"do_{name}")(args)

    return handler


def _ref(p: argparse.ArgumentParser, text: str = "branch, tag or commit (default head)") -> None:
    p.add_argument("--ref", default="head", help=text)


def _json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print JSON instead of text")


def _person(p: argparse.ArgumentParser, message: bool = True) -> None:
    p.add_argument("--author", help="who is writing (default: R3V_AUTHOR, else the account)")
    if message:
        p.add_argument("-m", "--message", help="why (default: what was done)")


def _reading(commands: Any) -> None:
    p = _add(commands, "list", "the notes, one a line")
    _ref(p)
    p.add_argument("--retired", action="store_true", help="retired ones as well")
    _json(p)
    p = _add(commands, "show", "one note, with what became of it")
    p.add_argument("note", help="id of the note")
    _ref(p)
    _json(p)
    p = _add(commands, "log", "the commits, newest first")
    _ref(p)
    what = p.add_mutually_exclusive_group()
    what.add_argument("--note", help="only those that changed this note")
    what.add_argument("--all", action="store_true", help="also those that no branch or tag reaches")
    what.add_argument("--moves", action="store_true", help="where branches and tags pointed, and when")
    p.add_argument("-n", type=positive, help="the first so many")
    _json(p)
    p = _add(commands, "diff", "what differs between two commits")
    p.add_argument("before", nargs="?", default="head~1", help="branch, tag or commit (default head~1)")
    p.add_argument("after", nargs="?", default="head", help="branch, tag or commit (default head)")
    p = _add(commands, "blame", "who wrote each line of a note")
    p.add_argument("note", help="id of the note")
    _ref(p)
    p = _add(commands, "verify", "derive every hash again; exit code 1 when something does not fit")
    p = _add(commands, "stats", "counts of notes, commits, events, blobs and vectors")
    _json(p)


def _writing(commands: Any) -> None:
    p = _add(commands, "add", "write a new note in $EDITOR; makes the notebook if there is none")
    p.add_argument("--from", dest="page", help="take this Markdown page instead (- for standard input)")
    _ref(p, "branch (default head)")
    _person(p)
    p = _add(commands, "edit", "change a note in $EDITOR")
    p.add_argument("note", help="id of the note")
    p.add_argument("--from", dest="page", help="take this Markdown page instead (- for standard input)")
    _ref(p, "branch (default head)")
    _person(p)
    p = _add(commands, "retire", "take notes out of use; they stay in the notebook")
    p.add_argument("note", nargs="+", help="ids of the notes")
    p.add_argument("--restore", action="store_true", help="bring them back into use")
    _ref(p, "branch (default head)")
    _person(p)
    p = _add(commands, "revert", "take back what one commit changed, in a new commit")
    p.add_argument("commit", help="the commit, such as head~2 or the start of its hash")
    _ref(p, "branch (default head)")
    _person(p)


def _refs(commands: Any) -> None:
    for kind, text in (("tag", "list tags, or name a commit for good"), ("branch", "list branches, or make one")):
        p = _add(commands, kind, text)
        p.add_argument("name", nargs="?", help=f"name of the {kind}; without it they are listed")
        p.add_argument("--at", default="head", help="branch, tag or commit (default head)")
        p.add_argument("--drop", action="store_true", help="forget the name; the commits stay")
        _person(p, message=False)
    p = _add(commands, "rollback", "point a branch at an earlier commit; nothing is lost")
    p.add_argument("to", help="tag, commit, or the likes of head~1")
    _ref(p, "branch (default head)")
    _person(p, message=False)


def _folders(commands: Any) -> None:
    p = _add(commands, "export", "write the notes into a folder, images beside, for reading and for git")
    p.add_argument("folder", help="a new folder, or one that was exported before")
    p.add_argument("--format", default="markdown", help="markdown (default) or jsonl")
    p.add_argument("--force", action="store_true", help="write over files that were edited since")
    _ref(p)
    p = _add(commands, "import", "commit notes from an exported folder, a .jsonl (also MNL's) or a .md file")
    p.add_argument("path", help="folder or file")
    p.add_argument("--replace", action="store_true", help="remove the notes that are not in it")
    _ref(p, "branch (default head)")
    _person(p)
