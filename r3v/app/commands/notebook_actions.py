"""What the commands of `r3v.app.commands.notebook_store` do once their arguments are read."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from r3v.errors import ConfigError, R3VError, RunError
from r3v.notebook.exchange import people
from r3v.notebook.exchange.editing import TEMPLATE, from_markdown, image_reader, keep, run_editor, to_markdown
from r3v.notebook.retrieval.qualified import reports
from r3v.notebook.store import changes
from r3v.notebook.store.note import Note
from r3v.notebook.store.store import Commit, Notebook
from r3v.notebook.store.verify import verify


def _print(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _commit_line(commit: Commit) -> str:
    return (
        f"{commit.hash[:12]}  {commit.time[:19].replace('T', ' ')}  {commit.author}  {commit.message.splitlines()[0]}"
    )


def _author(args: argparse.Namespace) -> str:
    return args.author or people.whoami()


# ---- reading


def do_list(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        notes = notebook.notes(args.ref, retired=args.retired)
        counts = notebook.event_counts()
    if args.json:
        _print([note.to_dict() for note in notes.values()])
        return 0
    width = max((len(name) for name in notes), default=0)
    for name, note in notes.items():
        told = "".join(f"  {kind} {n}" for kind, n in counts.get(name, {}).items() if kind in ("helped", "hurt"))
        print(f"{name:<{width}}  {note.subject}{told}{'  (retired)' if note.state == 'retired' else ''}")
    if not notes:
        print("no notes", file=sys.stderr)
    return 0


def do_show(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        note = people.find(notebook, args.note, args.ref)
        commits = [commit for commit, _ in changes.log(notebook, args.ref, args.note)]
        counts = notebook.event_counts().get(args.note, {})
    if args.json:
        _print({**note.to_dict(), "revision": note.revision, "commits": [asdict(c) for c in commits], "events": counts})
        return 0
    print(to_markdown(note), end="")
    print(f"\nrevision {note.revision[:12]}")
    for commit in commits:
        print(_commit_line(commit))
    if counts:
        print("events: " + ", ".join(f"{kind} {count}" for kind, count in counts.items()))
    return 0


def do_log(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        if args.moves:
            moves = notebook.moves()[::-1][: args.n]
            if args.json:
                _print([asdict(move) for move in moves])
            for move in [] if args.json else moves:
                where = " -> ".join("none" if name is None else name[:12] for name in (move.before, move.after))
                print(f"{move.time[:19].replace('T', ' ')}  {move.ref}  {where}  {move.author}  {move.reason}")
            return 0
        names: dict[str, list[str]] = {}
        for name, commit in notebook.refs().items():
            names.setdefault(commit, []).append(name)
        if args.all:
            rows = [(commit, notebook.changes(commit.hash)) for commit in notebook.all_commits()[::-1][: args.n]]
        else:
            rows = list(changes.log(notebook, args.ref, args.note))[: args.n]
    if args.json:
        _print([{**asdict(commit), "change": change, "refs": names.get(commit.hash, [])} for commit, change in rows])
        return 0
    for commit, change in rows:
        refs = f"  ({', '.join(names[commit.hash])})" if commit.hash in names else ""
        print(f"{_commit_line(commit)}{refs}")
        for name, revision in change.items():
            print(f"    {'-' if revision is None else '+'} {name}")
    return 0


def do_diff(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        found = changes.diff(notebook, args.before, args.after)
    if found:
        print(changes.diff_text(found))
    return 0


def do_blame(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        lines = changes.blame(notebook, args.note, args.ref)
    for line in lines:
        print(f"{line.commit.hash[:12]}  {line.commit.time[:10]}  {line.commit.author:<12}  {line.field}: {line.text}")
    return 0


def do_verify(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        found = verify(notebook)
        count = len(notebook.all_commits())
    for line in found:
        print(line)
    if not found:
        print(f"{args.file}: {count} commits, every hash fits")
    return 1 if found else 0


def do_stats(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        found = stats(notebook)
    if args.json:
        _print(found)
        return 0
    for name, value in found.items():
        text = ", ".join(f"{key} {n}" for key, n in value.items()) or "none" if isinstance(value, dict) else value
        print(f"{name:<10} {text}")
    return 0


def stats(notebook: Notebook) -> dict[str, Any]:
    """Counts of everything in a notebook; `vectors` by embedder, `events` by kind."""
    notes = notebook.notes(retired=True)
    one = {
        name: notebook.query(sql)[0][0]
        for name, sql in (
            ("revisions", "SELECT count(*) FROM revisions"),
            ("commits", "SELECT count(*) FROM commits"),
            ("blobs", "SELECT count(*) FROM blobs"),
            ("blob_bytes", "SELECT coalesce(sum(length(data)), 0) FROM blobs"),
        )
    }
    return {
        "notes": sum(note.state == "active" for note in notes.values()),
        "retired": sum(note.state == "retired" for note in notes.values()),
        **one,
        "refused": len(notebook.refusals()),
        "qualified": {solver: report["verdict"] for solver, report in reports(notebook).items()},
        "refs": {name: commit[:12] for name, commit in notebook.refs().items()},
        "events": dict(notebook.query("SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind")),
        "vectors": dict(notebook.query("SELECT embedder, count(*) FROM vectors GROUP BY embedder ORDER BY embedder")),
        "file_bytes": notebook.path.stat().st_size,
    }


# ---- writing


def do_add(args: argparse.Namespace) -> int:
    with Notebook.open(args.file, create=True) as notebook:
        start = TEMPLATE.format(id=f"note-{uuid.uuid4().hex[:8]}")

        def commit(note: Note) -> str:
            return people.add(notebook, note, author=_author(args), message=args.message, ref=args.ref)

        return _from_page(args, notebook, start, commit)


def do_edit(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        before = people.find(notebook, args.note, args.ref)

        def commit(note: Note) -> str:
            return people.edit(notebook, before, note, author=_author(args), message=args.message, ref=args.ref)

        return _from_page(args, notebook, to_markdown(before), commit)


def _from_page(args: argparse.Namespace, notebook: Notebook, start: str, commit: Callable[[Note], str]) -> int:
    """Read the page from a file, standard input or the editor, and commit its note.

    What was typed in the editor and cannot be used is kept in a file that the error names.
    """
    typed = args.page is None
    if typed:
        text, base, name = run_editor(start, name=getattr(args, "note", "note")), Path.cwd(), "the page"
        if text == start:
            print("nothing was changed", file=sys.stderr)
            return 0
    elif args.page == "-":
        text, base, name = sys.stdin.read(), Path.cwd(), "standard input"
    else:
        try:
            text, base, name = Path(args.page).read_bytes().decode(), Path(args.page).parent, args.page
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{args.page}: cannot be read: {error}") from error
    try:
        new = commit(from_markdown(text, image=image_reader(notebook.put_blob, base), file=name))
    except R3VError as error:
        if not typed:
            raise
        path = keep(text, getattr(args, "note", "note"))
        raise RunError(
            f"{error}\nYour text is in {path}; correct it and run the command again with --from {path}"
        ) from error
    print(_commit_line(notebook.get_commit(new)))
    return 0


def do_retire(args: argparse.Namespace) -> int:
    state = "active" if args.restore else "retired"
    with Notebook.open(args.file) as notebook:
        new = people.set_state(notebook, args.note, state, author=_author(args), message=args.message, ref=args.ref)
        print(_commit_line(notebook.get_commit(new)))
    return 0


def do_revert(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        new = changes.revert(notebook, args.commit, author=_author(args), ref=args.ref, message=args.message)
        print(_commit_line(notebook.get_commit(new)))
    return 0


def do_tag(args: argparse.Namespace) -> int:
    return _names(args, "tag")


def do_branch(args: argparse.Namespace) -> int:
    return _names(args, "branch")


def _names(args: argparse.Namespace, kind: str) -> int:
    with Notebook.open(args.file) as notebook:
        own = {name: c for name, c in notebook.refs().items() if (name in notebook.tags()) == (kind == "tag")}
        if args.name is None:
            if args.drop:
                raise ConfigError(f"found --drop without a name, expected the {kind} to drop")
            for name, commit in own.items():
                print(f"{name}  {_commit_line(notebook.get_commit(commit))}")
        elif args.drop:
            if args.name not in own:
                raise RunError(f"{args.file}: no {kind} {args.name!r}{changes.near(args.name, own)}")
            print(f"dropped {args.name}, which was {notebook.drop(args.name, author=_author(args))[:12]}")
        else:
            make = notebook.tag if kind == "tag" else notebook.branch
            print(f"{args.name} is {make(args.name, args.at, author=_author(args))[:12]}")
    return 0


def do_rollback(args: argparse.Namespace) -> int:
    with Notebook.open(args.file) as notebook:
        before = notebook.head(args.ref)
        after = notebook.rollback(args.to, ref=args.ref, author=_author(args), expected=before)
        print(f"{args.ref} is {_commit_line(notebook.get_commit(after))}")
        if after != before:
            print(f"it was {before[:12]}; `r3v notebook rollback {args.file} {before[:12]}` undoes this")
    return 0


def do_export(args: argparse.Namespace) -> int:
    from r3v.notebook.exchange.exchange import export

    with Notebook.open(args.file) as notebook:
        commit = export(notebook, args.folder, format=args.format, ref=args.ref, force=args.force)
        print(f"{args.folder}: {len(notebook.snapshot(commit))} notes of {commit[:12]}")
    return 0


def do_import(args: argparse.Namespace) -> int:
    from r3v.notebook.exchange.exchange import import_

    if not Path(args.path).exists():
        raise ConfigError(f"{args.path}: no such file or folder")
    with Notebook.open(args.file, create=True) as notebook:
        found = import_(
            notebook, args.path, author=_author(args), message=args.message, ref=args.ref, replace=args.replace
        )
    where = "nothing to commit" if found.commit is None else found.commit[:12]
    print(
        f"{where}: {found.added} added, {found.changed} changed, {found.removed} removed, "
        f"{found.refusals} refused lessons"
    )
    return 0


def do_ui(args: argparse.Namespace) -> int:
    from r3v.notebook.page.server import Server

    server = Server(args.file, args.host, args.port, token=args.token, author=_author(args))
    print(f"{args.file} is at {server.url} (Ctrl+C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        server.server_close()
    return 0
