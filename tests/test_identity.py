"""Names of contents: kept results are of what is asked for, code of one's own included."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.experiments.identity import identity

CODE = """
import functools
import jax
import jax.numpy as jnp
import numpy as np
import lagc_jax as lj

X = jnp.arange(3.0)
TABLE = {"weights": [np.ones(2), 1.0]}


def scale(x):
    return 2.0 * x


@jax.jit
def compiled(x):
    return scale(x) + 1.0


def record(theta, *, shift=1.0):
    return compiled(theta @ X) + shift + TABLE["weights"][1]


class Base(lj.Rule):
    share = 0.5

    def propose(self, gradients, round, notes):
        return self.message(gradients(round.theta))

    def message(self, g):
        return lj.Proposal(jnp.zeros(len(g), bool), g * self.share)


class Own(Base):
    @functools.cached_property
    def limit(self):
        return 3.0

    @staticmethod
    def step(x):
        return x if x > 0 else Own.step(x + 1)
"""
# What is changed in the code, and which of `record` and `Own()` it is part of.
CHANGES = {
    "shift=1.0": ("shift=2.0", "record"),
    "arange(3.0)": ("arange(4.0)[1:]", "record"),
    "np.ones(2)": ("np.ones(3)", "record"),
    "2.0 * x": ("3.0 * x", "record"),
    "share = 0.5": ("share = 0.6", "rule"),
    "bool), g *": ("bool), -g *", "rule"),
    "return 3.0": ("return 4.0", "rule"),
    "else Own.step(x + 1)": ("else Own.step(x + 2)", "rule"),
}


def names(code):
    """Names of a module's function and of an object of its class."""
    module = types.ModuleType("own_module")
    exec(compile(code, "own_module.py", "exec"), vars(module))
    return {"record": identity(module.record), "rule": identity(module.Own())}


def test_equal_code_has_the_same_name_wherever_it_is():
    assert names(CODE) == names("\n\n" + CODE)


@pytest.mark.parametrize("old", CHANGES)
def test_code_that_changes_changes_the_name_of_what_it_is_part_of(old):
    new, part = CHANGES[old]
    assert CODE.count(old) == 1
    before, after = names(CODE), names(CODE.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == {part}


HELPERS = """
FACTOR, OTHER = 1.0, 1.0

def double(x):
    return 2.0 * x * FACTOR

class Box:
    size = 1
"""


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (("FACTOR, OTHER = 1.0", "FACTOR, OTHER = 3.0"), True),
        (("2.0 * x", "3.0 * x"), True),
        (("size = 1", "size = 2"), True),
        (("1.0, 1.0", "1.0, 3.0"), False),  # nobody names it
        (("", ""), False),
    ],
)
def test_what_a_module_of_ones_own_holds_counts_where_it_is_named(change, counts):
    def name(code):
        helpers, module = types.ModuleType("own_helpers"), types.ModuleType("own_module")
        exec(compile(code, "own_helpers.py", "exec"), vars(helpers))
        module.helpers = helpers
        own = "def record(theta):\n    return helpers.double(theta) + helpers.Box.size\n"
        exec(compile(own, "own_module.py", "exec"), vars(module))
        return identity(module.record)

    assert (name(HELPERS) != name(HELPERS.replace(*change))) == counts


def test_objects_that_only_a_global_holds_do_not_count():
    code = CODE + "\nlog = object()\n\ndef record(theta):\n    return log, theta\n"
    assert names(code)["record"] == names(code)["record"]


def test_what_is_alike_and_what_is_not():
    equal = [
        (np.arange(3), np.arange(3)),
        (jnp.ones(2), jnp.ones(2)),
        (functools.partial(max, 1), functools.partial(max, 1)),
        (jax.random.key(1), jax.random.key(1)),
        (lj.lag(4, xi=0.1), lj.lag(4, xi=0.1)),
    ]
    assert all(identity(one) == identity(other) for one, other in equal)
    different = [
        (np.arange(3), np.arange(3.0)),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (jax.random.key(1), jax.random.key(2)),
        (lj.lag(4, xi=0.1), lj.lag(4, xi=0.2)),
        (lambda x: x + 1, lambda x: x + 2),
    ]
    assert not any(identity(one) == identity(other) for one, other in different)


def test_things_that_hold_themselves_and_functions_that_jax_transforms_have_a_name():
    def made():
        def counted(n):
            return counted(n - 1) if n else 0

        return counted

    one, other = types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)
    one.me = other.me = one
    assert identity(made()) == identity(made())
    assert identity(one) != identity(other)
    twice = [jax.vmap(lambda x: 2 * x) for _ in range(2)]
    assert identity(twice[0]) == identity(twice[1]) != identity(jax.vmap(lambda x: 3 * x))


GLOBAL = """
import argparse, functools, types
import numpy as np
import pandas as pd

class Own:
    def __init__(self, a):
        self.a = a

    def __call__(self, x):
        return x

THING = {}

def record(theta):
    return THING
"""


@pytest.mark.parametrize(
    "thing",
    [
        "pd.DataFrame({{'a': [{}], 'b': ['text']}})",
        "pd.Series([{}])",
        "{{{}, 5}}",
        "types.SimpleNamespace(a={})",
        "argparse.Namespace(a={})",
        "Own({})",
        "functools.update_wrapper(Own({}), Own.__init__)",
        "np.array([{}, 'text'], object)",
    ],
)
def test_data_that_a_global_holds_count(thing):
    def name(value):
        module = types.ModuleType("own_module")
        code = GLOBAL.replace("THING = {}", f"THING = {thing.format(value)}")
        exec(compile(code, "own_module.py", "exec"), vars(module))
        return identity(module.record)

    assert name(1) == name(1) != name(2)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of a file, a scale of them and their mean."""

    path: str
    rows: dataclasses.InitVar[list]
    scale: float = dataclasses.field(default=1.0, compare=False)

    def __post_init__(self, rows):
        object.__setattr__(self, "held", np.array(rows))

    @functools.cached_property
    def mean(self):
        return self.held.mean()


def test_all_that_a_dataclass_of_ones_own_holds_counts_but_what_it_computes_once():
    table = Table("a", [1, 2])
    before = identity(table)
    assert table.mean == 1.5
    assert identity(table) == before == identity(Table("a", [1, 2]))
    assert len({before, identity(Table("a", [1, 2], 2.0)), identity(Table("a", [1, 3]))}) == 3


def keys_of(**changes):
    """Keys of the points of a small experiment."""
    experiment = lj.Experiment(
        problems={"own": lj.linear_regression(np.ones((2, 2, 1)), np.ones((2, 2)))},
        delays={"low tail": lj.Exponential(1.0)},
        num_iterations=2,
        **{"schemes": {"GD": lj.gd(2)}} | changes,
    )
    return lj.experiments.Points(experiment).keys()


def test_files_that_a_constructor_or_a_record_of_ones_own_reads_count(tmp_path):
    path = tmp_path / "number.txt"

    def scheme(num_workers, xi):
        return lj.lag(num_workers, xi=xi, memory=int(path.read_text()))

    def recorder():
        return lambda theta: jnp.asarray(np.full(3, float(path.read_text()))) @ jnp.tile(theta, 3)

    made = lj.Vary(scheme, num_workers=2, xi=[0.1, 0.2])
    found = {"schemes": [], "target": []}
    for number in "445":
        path.write_text(number)
        found["schemes"].append(set(keys_of(schemes={"own": made})))
        found["target"].append(set(keys_of(target=lj.Accuracy([1.0], recorder()))))
    for one, again, other in found.values():
        assert one == again
        assert not one & other


def test_a_file_that_a_problem_of_ones_own_reads_counts(tmp_path):
    path = tmp_path / "y.txt"

    def problem(num_workers):
        y = np.loadtxt(path).reshape(num_workers, -1)
        return lj.linear_regression(np.ones((*y.shape, 1)), y)

    experiment = lj.Experiment(
        problems={"own": problem},
        schemes={"GD": lj.gd(2)},
        delays={"low tail": lj.Exponential(1.0)},
        num_iterations=2,
    )
    keys = []
    for y in ([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 5]):
        np.savetxt(path, y)
        keys.append(lj.experiments.Points(experiment).keys()[0])
    assert keys[0] == keys[1] != keys[2]
