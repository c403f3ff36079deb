"""Imports point one way, and what an import costs is a promise."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

NOTEBOOK_LANGUAGE = (
    *("note", "schema", "database", "attachments", "check", "reading", "store", "verify", "changes", "people"),
    *("editing", "loading", "exchange", "value"),
)
"""What a notebook is, without asking any model."""
CURRICULUM_LANGUAGE = (
    *("cells", "shrink", "effects", "findings", "examples", "diagnosis", "mixture", "heat", "probes", "practice"),
    *("measure", "hashes", "messages", "sniff", "fetch", "web", "pool", "embed", "search", "journal"),
    "reinforce_config",
)

# A module may import from its own rank and from lower ones. First match wins.
RANKS: list[tuple[str, int]] = [
    ("r3v.losses", 0),
    ("r3v.errors", 1),
    ("r3v.precision", 1),
    ("r3v.records", 2),
    ("r3v.config", 2),
    ("r3v.io", 2),
    ("r3v.prompts", 3),
    ("r3v.stats", 3),
    ("r3v.grading", 3),
    ("r3v.data", 4),
    ("r3v.embedding", 4),
    ("r3v.policies.base", 4),
    ("r3v.policies.openai_config", 2),
    ("r3v.policies.ray_config", 2),
    ("r3v.policies.scripted", 5),
    ("r3v.reflection", 5),
    ("r3v.smolgeo", 5),
    ("r3v.evaluation", 6),
    *((f"r3v.notebook.{name}", 4) for name in NOTEBOOK_LANGUAGE),
    ("r3v.notebook.evolve_commands", 9),
    ("r3v.notebook.retrieve_commands", 9),
    ("r3v.notebook.store_commands", 9),
    ("r3v.notebook", 6),
    *((f"r3v.curriculum.{name}", 4) for name in CURRICULUM_LANGUAGE),
    ("r3v.curriculum.diagnose_commands", 9),
    ("r3v.curriculum.reinforce_commands", 9),
    *(
        (f"r3v.curriculum.spiral{name}", 9)
        for name in ("", "_run", "_learners", "_parts", "_dry", "_page", "_commands")
    ),
    ("r3v.curriculum.reinforce", 9),
    ("r3v.curriculum.learner", 9),
    ("r3v.curriculum.drift", 8),
    ("r3v.curriculum.page", 8),
    ("r3v.curriculum", 6),
    ("r3v.policies", 6),
    ("r3v.training", 7),
    ("r3v.report", 8),
    ("r3v.recipes", 11),
    ("r3v.checkpoints", 0),
    ("r3v", 9),
]


def rank(module: str) -> int:
    for prefix, value in RANKS:
        if module == prefix or module.startswith(prefix + "."):
            return value
    raise AssertionError(f"{module} has no rank")


def module_files() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder, package in (("r3v", "r3v"), ("losses", "r3v.losses"), ("recipes", "r3v.recipes")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def imports(path: Path, *, top_only: bool) -> set[str]:
    """Absolute r3v imports of a file; with `top_only`, the ones run on import (not in functions, not for typing)."""
    tree = ast.parse(path.read_text())
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
                names.add(child.module)
            visit(child)

    visit(tree)
    return names


def test_imports_point_one_way() -> None:
    files = module_files()
    assert len(files) > 40, "the walk lost the tree"
    upward = [
        f"{name} (rank {rank(name)}) imports {target} (rank {rank(target)})"
        for name, path in files.items()
        if name != "r3v"
        for target in imports(path, top_only=True)
        if target.startswith("r3v.") and rank(target) > rank(name)
    ]
    assert not upward, "\n".join(upward)


def test_losses_import_nothing_of_r3v() -> None:
    for name, path in module_files().items():
        if name.startswith("r3v.losses"):
            assert not {i for i in imports(path, top_only=False) if i.split(".")[0] == "r3v"}, name


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import r3v", {"torch", "transformers", "numpy"}),
        (
            "import r3v.records, r3v.config, r3v.prompts, r3v.errors",
            {"torch", "transformers", "numpy", "PIL"},
        ),
        ("import r3v.losses", {"transformers", "peft", "pytorch_lightning", "datasets", "r3v.records"}),
        ("import r3v.grading, r3v.stats", {"torch", "transformers"}),
        ("import r3v.data", {"torch", "transformers", "datasets"}),
        ("import r3v.reflection.build, r3v.reflection.selector", {"torch", "transformers"}),
        ("import r3v.cli", {"torch", "transformers", "peft", "pytorch_lightning"}),
    ],
)
def test_what_an_import_costs(statement: str, forbidden: set[str]) -> None:
    code = f"import sys; {statement}; print(*sorted(set({sorted(forbidden)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
