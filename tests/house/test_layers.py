"""The three rules of the house, computed from the source: at most 15 modules in a folder, imports downwards from room
to room, no circle of imports. Imports inside functions, under TYPE_CHECKING and through an `__init__` count too."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from places import FAKES, FOLDERS, ROOT

PACKAGES = {"losses": "r3v.losses", "recipes": "r3v.recipes", "checkpoints": "r3v.checkpoints", "r3v": "r3v"}
MOST_MODULES = 15

# From the ground up: a room may import its own modules, rooms on the same line and rooms above it in this list.
ROOMS = (
    ("r3v.losses", "r3v.checkpoints"),
    (
        "r3v.errors",
        "r3v.records",
        "r3v.prompts",
        "r3v.io",
        "r3v.machine",
        "r3v.stats",
        "r3v.version",
        "r3v.moved",
        "r3v.precision",
        "r3v.spec",
        "r3v.thoughts",
        "r3v.token_ids",
    ),
    # How far long work is, and when it is asked to stop: said and asked by whatever works long, engines included.
    ("r3v.run.progress", "r3v.run.signals"),
    ("r3v.settings",),
    ("r3v.data", "r3v.grading"),
    ("r3v.policies.base", "r3v.policies.scripted"),
    ("r3v.policies.smolgeo",),
    ("r3v.policies.model",),
    ("r3v.plan",),
    ("r3v.policies.sampling",),
    ("r3v.policies.server",),
    ("r3v.policies.cluster", "r3v.policies.engine"),
    ("r3v.embedding",),
    ("r3v.selection", "r3v.rollout"),
    ("r3v.run",),
    ("r3v.training",),
    ("r3v.pages",),
    ("r3v.reflection", "r3v.notebook"),
    ("r3v.curriculum",),
    ("r3v.api",),
    ("r3v",),  # the package itself: lazy names of what people import most
    ("r3v.bench", "r3v.serve"),
    ("r3v.harness",),
    ("r3v.app",),
    ("r3v.recipes",),
)


def modules() -> dict[str, Path]:
    """Dotted name -> file, of library, losses, recipes and checkpoints."""
    found: dict[str, Path] = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of `known` that a file names in any import."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])] if node.level else []
            module = ".".join(base) or node.module or ""
            # Nobody names a module by way of the root for its own sake: `from r3v import prompts` is r3v.prompts.
            named = {f"{module}.{alias.name}" for alias in node.names}
            found |= (named & known.keys()) or {module}
            found |= {module} if module != "r3v" and named - known.keys() else set()
    return (found & known.keys()) - {name}


def graph() -> dict[str, set[str]]:
    known = modules()
    assert len(known) > 200, "the walk lost the tree"
    return {name: imports(name, path, known) for name, path in known.items()}


def room(module: str) -> int:
    """The place of a module's room in ROOMS; the longest name that fits counts."""
    fitting = [
        (len(name), place)
        for place, names in enumerate(ROOMS)
        for name in names
        if module == name or (name != "r3v" and module.startswith(f"{name}."))
    ]
    assert fitting, f"{module} is in no room"
    return max(fitting)[1]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach one another (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in sorted(edges[name]):
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return found


def test_a_folder_holds_at_most_fifteen_modules() -> None:
    count = Counter(path.parent for path in modules().values() if path.name != "__init__.py")
    full = {str(folder.relative_to(ROOT)): n for folder, n in count.items() if n > MOST_MODULES}
    assert not full, full


def test_a_folder_of_fakes_holds_as_few_and_is_on_the_path() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        path = tomllib.load(file)["tool"]["pytest"]["ini_options"]["pythonpath"]
    assert [ROOT / folder for folder in path] == list(FOLDERS)
    # lmms-eval's own name: on the path of the tests that import it alone.
    fakes = [p for p in FAKES.rglob("*.py") if FAKES / "lmms" not in p.parents]
    assert {p.parent for p in fakes} == set(FOLDERS)
    assert max(Counter(p.parent for p in fakes).values()) <= MOST_MODULES
    assert len({p.name for p in fakes}) == len(fakes), "they are imported by their bare names"


def test_imports_point_downwards() -> None:
    upward = [
        f"{name} imports {target}"
        for name, targets in graph().items()
        for target in targets
        if room(target) > room(name)
    ]
    assert not upward, "\n".join(upward)


def test_no_imports_run_in_a_circle() -> None:
    assert circles(graph()) == []


def test_a_circle_would_be_found() -> None:
    """a -> b -> c -> a, with d outside: one group of three."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_every_package_says_what_lives_there() -> None:
    silent = [
        name
        for name, path in modules().items()
        if path.name == "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent, silent


def test_losses_import_nothing_of_r3v() -> None:
    for name, targets in graph().items():
        if name.startswith("r3v.losses"):
            assert all(target.startswith("r3v.losses") for target in targets), name


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import r3v", {"torch", "transformers", "numpy"}),
        (
            "import r3v.records, r3v.settings.config, r3v.prompts, r3v.errors",
            {"torch", "transformers", "numpy", "PIL"},
        ),
        ("import r3v.losses", {"transformers", "peft", "pytorch_lightning", "datasets", "r3v.records"}),
        ("import r3v.grading, r3v.stats", {"torch", "transformers"}),
        ("import r3v.data", {"torch", "transformers", "datasets"}),
        ("import r3v.reflection.build, r3v.selection.selector", {"torch", "transformers"}),
        ("import r3v.app.cli", {"torch", "transformers", "peft", "pytorch_lightning"}),
    ],
)
def test_what_an_import_costs(statement: str, forbidden: set[str]) -> None:
    code = f"import sys; {statement}; print(*sorted(set({sorted(forbidden)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
