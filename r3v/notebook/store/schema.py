"""The tables of a notebook file, and the triggers that keep its history as it was written.

Notes, commits, blobs, events and refusals are only ever added; the triggers refuse every update and delete, whichever
program opens the file. Refs move, and each move is logged. Vectors are a cache and may be replaced.
"""

from __future__ import annotations

VERSION = 1
APPLICATION_ID = 0x72337662  # "r3vb" in the file header, so that another SQLite file is not taken for a notebook

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revisions (hash TEXT PRIMARY KEY, note TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX revisions_note ON revisions (note);
CREATE TABLE commits (
  seq INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, parent TEXT REFERENCES commits (hash), message TEXT NOT NULL,
  author TEXT NOT NULL, time TEXT NOT NULL, receipt TEXT
);
CREATE TABLE changes (
  "commit" TEXT NOT NULL REFERENCES commits (hash), note TEXT NOT NULL, revision TEXT REFERENCES revisions (hash),
  PRIMARY KEY ("commit", note)
) WITHOUT ROWID;
CREATE INDEX changes_note ON changes (note);
CREATE INDEX changes_revision ON changes (revision);
CREATE TABLE refs (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('branch', 'tag')),
  "commit" TEXT NOT NULL REFERENCES commits (hash)
) WITHOUT ROWID;
CREATE TABLE moves (
  id INTEGER PRIMARY KEY AUTOINCREMENT, ref TEXT NOT NULL, before TEXT, after TEXT, time TEXT NOT NULL,
  author TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, kind TEXT NOT NULL, note TEXT, data TEXT NOT NULL
);
CREATE INDEX events_kind ON events (kind);
CREATE INDEX events_note ON events (note);
CREATE TABLE refusals (
  id INTEGER PRIMARY KEY AUTOINCREMENT, lesson TEXT NOT NULL, time TEXT NOT NULL, receipt TEXT
);
CREATE INDEX refusals_lesson ON refusals (lesson);
CREATE TABLE blobs (hash TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE vectors (
  embedder TEXT NOT NULL, role TEXT NOT NULL CHECK (role IN ('note', 'query')), content TEXT NOT NULL,
  dim INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (embedder, role, content)
);
"""

IMMUTABLE = {  # table -> its key; an insert over an existing key is ignored, so that REPLACE cannot rewrite a row
    "meta": ("key",),
    "revisions": ("hash",),
    "commits": ("hash",),
    "changes": ('"commit"', "note"),
    "moves": ("id",),
    "events": ("id",),
    "refusals": ("id",),
    "blobs": ("hash",),
}


def triggers() -> dict[str, str]:
    """Name -> CREATE TRIGGER statement."""
    found: dict[str, str] = {}
    for table, key in IMMUTABLE.items():
        for verb in ("UPDATE", "DELETE"):
            name = f"{table}_no_{verb.lower()}"
            found[name] = (
                f"CREATE TRIGGER {name} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
            )
        same = " AND ".join(f"{column} = NEW.{column}" for column in key)
        name = f"{table}_no_replace"
        found[name] = (
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) BEGIN SELECT RAISE(IGNORE); END"
        )
    found["refs_tag_stays"] = (
        "CREATE TRIGGER refs_tag_stays BEFORE UPDATE ON refs WHEN OLD.kind = 'tag' "
        "BEGIN SELECT RAISE(ABORT, 'a tag is never moved'); END"
    )
    found["refs_head_stays"] = (
        "CREATE TRIGGER refs_head_stays BEFORE DELETE ON refs WHEN OLD.name = 'head' "
        "BEGIN SELECT RAISE(ABORT, 'head is never dropped'); END"
    )
    return found


def statements() -> list[str]:
    """Everything a new file needs, in order."""
    tables = [part.strip() for part in TABLES.split(";\n") if part.strip()]
    return [*tables, *triggers().values()]
