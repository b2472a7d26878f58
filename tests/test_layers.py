"""The layers of the package: imports run upward only, and what is mutually ignorant stays so."""

import ast
from pathlib import Path

import pytest

import lagc_jax as lj

ROOT = Path(lj.__file__).parent
LAYERS = [
    {
        "_blocks",
        "_checks",
        "_display",
        "_entries",
        "_files",
        "_frames",
        "_halves",
        "_keys",
        "_loops",
        "_modes",
        "_programs",
        "_sorting",
        "_pytree",
        "_tables",
    },
    {"problems", "schemes", "delays"},
    {"doors", "descent", "stopping", "coded", "law", "costs", "targets", "cluster", "tasks"},
    {"times", "events", "stale"},
    {"clock"},
    {"summary", "records", "trajectory"},
    {"asynchrony"},
    {"batch", "theory", "energy", "timeline"},
    {"experiments"},
    {"plots"},
    {"__main__"},
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
# Within a layer folders do not know each other; single modules may.
FOLDERS = {"problems", "schemes", "delays", "law", "experiments", "plots"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path):
    """The folder or module of the top level that a file is in."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Rooms that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lagc_jax"):
            parts = node.module.split(".")[1:]
            yield from [parts[0]] if parts else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_upward_only(path):
    mine = room(path)
    for other in set(imported(path)) - {mine}:
        assert HEIGHT[other] <= HEIGHT[mine], f"{mine} imports {other}"
        if HEIGHT[other] == HEIGHT[mine]:
            assert mine not in FOLDERS or other not in FOLDERS, f"{mine} imports {other}"
