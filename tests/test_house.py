"""How the library reads: a core of an hour, modules of a page or two, functions of a screen."""

import ast
from pathlib import Path

import pytest

import lagc_jax

ROOT = Path(lagc_jax.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
CORE = (
    *("problems/base", "schemes/base", "schemes/rules", "delays/base"),
    *("descent", "cluster", "costs", "clock", "trajectory"),
)


def num_lines(path):
    return len(path.read_text().splitlines())


def test_the_core_reads_in_an_hour():
    assert sum(num_lines(ROOT / f"{name}.py") for name in CORE) < 2000


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path):
    assert num_lines(path) <= 400
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 60] == []
