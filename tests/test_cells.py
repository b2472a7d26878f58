"""Cells of the whole grid through three doors: a batch, an experiment in Python, a grid file.

The combinations are an orthogonal array: of problems, families of schemes, sources of times,
clusters and minibatches every value meets every value of the others, and every scheme is met.
Those of its diagonal meet every value once; the others are for a long run.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax._pytree import pytree
from lagc_jax.experiments import Experiment, read_grid, run
from lagc_jax.problems._arrays import draw_samples
from lagc_jax.problems.data import load_csv
from lagc_jax.schemes.catalogue import CATALOGUE
from lagc_jax.targets import Gap

M, D, K, R = 4, 5, 12, 3
STEP = 0.25  # over the smoothness
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, NOISE = RNG.normal(size=(M, 3, D)), RNG.normal(size=(M, 3))
CLASSES = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
TIMES = RNG.uniform(0.5, 3.0, size=(7, M))
COSTS = ("time", "iterations", "communication", "computation", "bits", "timeouts")


@dataclass(frozen=True)
class Alternate(lj.Rule):
    """Every other group in turn."""

    def propose(self, gradients, round, notes):
        turn = (jnp.arange(round.held.shape[0]) + round.k) % 2 == 1
        return lj.Proposal(turn, gradients(round.theta))


@pytree("waited")
class Impatient(lj.Decoding):
    """The sum of what the fastest hold."""

    waited: int

    @property
    def fastest(self):
        return self.waited

    def weights(self, taken):
        return taken.astype(float)


def impatient(num_workers, num_groups=1, waited=2, xi=0.0, trigger="always"):
    return lj.Scheme(num_workers, num_groups, 1, xi, trigger=trigger, decoding=Impatient(waited))


def huber(theta, part):
    features, targets = part[:2]
    weights = part[2] if len(part) == 3 else 1.0
    return jnp.sum(weights * (jnp.sqrt(1 + (features @ theta - targets) ** 2) - 1))


def draw(part, key, batch_size):
    rows, weights = draw_samples(key, part[:2], jnp.ones(part[1].shape), batch_size)
    return *rows, weights


@cache  # one object: its loss is traced once for all that ask for it
def make_problem(num_workers, loss, batch_size=None, partitions=M, drawn=True):
    """A problem that no file has a word for."""
    features, classes = X[:partitions], CLASSES[:partitions]
    if loss == "logistic":
        problem = lj.logistic_regression(features, 2 * classes - 1, l2=0.1)
    elif loss == "multinomial":
        problem = lj.problems.multinomial_regression(features, classes, l2=0.1)
    elif loss == "network":
        network = lj.problems.initial_network(KEY, (D, 2, 2))
        problem = lj.problems.network_problem(features, classes, network, l2=0.1)
    else:
        data, sampler = (features, NOISE[:partitions]), draw if drawn else None
        problem = lj.problems.general_problem(huber, data, jnp.zeros(D), sampler=sampler)
    return problem if batch_size is None else lj.problems.minibatch(problem, batch_size, KEY)


class Cell(NamedTuple):
    """Tables as a grid file has them; a cluster may be none."""

    problem: dict[str, Any]
    scheme: dict[str, Any]
    delays: dict[str, Any]
    cluster: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None

    def setting(self, name, default=None):
        return (self.settings or {}).get(name, default)


HERE, GD = __name__, {"name": "GD"}
OWN = {"trigger": f"{HERE}:Alternate", "xi": 0.1}
PROBLEMS = (
    ({"kind": "synthetic"}, {"kind": "gaussian", "num_rows": 3}),
    ({"kind": "csv", "file": "data.csv"},),
    ({"loss": "logistic"}, {"loss": "multinomial"}),
    ({"loss": "general"},),
    ({"loss": "network"},),
)
SCHEMES = (
    (
        GD,
        {"name": "GC", "redundancy": 2},
        {"name": "grouping", "num_groups": 2},
        {"name": "first decodable", "redundancy": 3},
        {"name": "first decodable", "redundancy": 2},
    ),
    (
        {"name": "LAG", "xi": 0.1},
        {"name": "LAG", "xi": [[0.1, 0.2]], "memory": 2, "trigger": "worker"},
        {"name": "LAGC", "num_groups": 2, "redundancy": 2, "xi": 0.1},
        {"name": "G-LAG", "num_groups": 2, "xi": 0.1, "trigger": "worker"},
        {"name": "LAQ", "bits": 3},
    ),
    (
        {"name": "LASG", "xi": 0.1},
        {"name": "LASG", "xi": 0.1, "trigger": "lasg-server", "silence": 5},
        {"name": "CADA", "xi": 0.1},
        {"name": "CADA", "xi": 0.1, "trigger": "cada1", "snapshot_life": 4},
        {"name": "G-CADA", "xi": 0.1, "num_groups": 2},
    ),
    (
        {"name": "fastest-k", "num_waited": 3},
        {"name": "stochastic GC", "redundancy": 2, "num_waited": 3},
        {"name": "approximate GC", "redundancy": 2, "num_waited": 2},
        {"name": "approximate GC", "redundancy": 2, "deadline": 2.0},
        {"name": "ErasureHead", "redundancy": 2, "num_waited": 3},
    ),
    (
        {"name": f"{HERE}:impatient"},
        {"name": f"{HERE}:impatient", "num_groups": 2, "waited": 1} | OWN,
        {"name": "LAG"} | OWN,
        {"name": "G-LAG", "num_groups": 2} | OWN,
        {"name": "LAGC", "num_groups": 2, "redundancy": 1} | OWN,
    ),
)
EXPONENTIAL = {"family": "exponential", "rate": 1.0}
DELAYS = (
    {"family": "pareto", "scale": 1.0, "shape": 2.5},
    {"family": "exponential", "rate": [[1.0, 2.0, 0.5, 1.5]]},
    {"file": "times.csv", "resample": "worker"},
    EXPONENTIAL | {"bursty": {"slowdown": 3.0, "enter": 0.2, "leave": 0.5}},
    EXPONENTIAL | {"failures": {"once": [[0.1, 0.0, 0.0, 0.1]], "forever": 0.01}},
)
LINK = {"latency": 0.1, "bandwidth": 4.0}
CLUSTERS = (
    None,
    LINK | {"startup": 0.2},
    LINK | {"shared": True},
    {"timeout": 2.5},
    {"independent": True, "startup": [[0.1, 0.2, 0.3, 0.4]]},
)


def cells():
    """A row a family of schemes; one that a shared link disturbs leaves that to GD."""
    for i, family in enumerate(SCHEMES):
        for j, scheme in enumerate(family):
            problem = PROBLEMS[j][i % len(PROBLEMS[j])]
            if (i + 3 * j) % 5 % 2:
                problem = problem | {"batch_size": 2}
            cluster = CLUSTERS[(i + 2 * j) % 5]
            delays = DELAYS[(i + j) % 5]
            marks = () if i == j else pytest.mark.long
            if i == 3 and cluster is CLUSTERS[2]:
                yield pytest.param(Cell(problem, GD, delays, cluster), marks=marks)
                cluster = None
            yield pytest.param(Cell(problem, scheme, delays, cluster), marks=marks)


def tables(cell):
    """All that the file says of a cell."""
    problem, settings = dict(cell.problem), {"iterations": K, "realisations": R}
    if "loss" in problem:
        problem["kind"] = f"{HERE}:make_problem"
    elif problem["kind"] != "csv":
        problem = {"num_features": D} | problem
    found = settings | {"quantiles": [0.5]} | (cell.settings or {}) | {"problem": problem}
    scheme = {"num_workers": M, "step_size": STEP} | cell.scheme
    found |= {"scheme": scheme, "delays": cell.delays}
    return found if cell.cluster is None else found | {"cluster": cell.cluster}


def written(value):
    """TOML of a value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {written(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def write_files(folder, cell):
    """The grid of a cell in a folder, with the data and times that it names; its path."""
    rows = np.concatenate([X, NOISE[..., None]], -1).reshape(-1, D + 1)
    for name, table in (("data", rows), ("times", TIMES)):
        header = ",".join(f"c{i}" for i in range(table.shape[1]))
        np.savetxt(folder / f"{name}.csv", table, "%.17g", ",", header=header, comments="")
    lines = [
        f"[[{name}]]\n" + "".join(f"{key} = {written(each)}\n" for key, each in value.items())
        if isinstance(value, dict)
        else f"{name} = {written(value)}\n"
        for name, value in tables(cell).items()
    ]
    path = folder / "grid.toml"
    path.write_text("".join(lines))
    return path


def given(table, *without):
    """Arguments of a constructor: what a list in a list holds, and what a path stands for."""
    plain = {name: value for name, value in table.items() if name not in without}
    found = {n: np.array(v[0]) if isinstance(v, list) else v for n, v in plain.items()}
    if str(found.get("trigger")).startswith(HERE):
        found["trigger"] = Alternate()
    return found


def problem_of(cell, folder):
    table = tables(cell)["problem"]
    if "loss" in table:
        return make_problem(M, **given(table, "kind"))
    arguments = given(table, "kind", "batch_size", "file")
    if table["kind"] == "csv":
        problem = lj.linear_regression(*load_csv(folder / "data.csv", M))
    elif table["kind"] == "synthetic":
        problem = lj.synthetic_linear_regression(KEY, M, **arguments)
    else:
        problem = lj.problems.gaussian_linear_regression(KEY, M, **arguments)
    size = table.get("batch_size")
    return (
        problem
        if size is None
        else lj.problems.minibatch(problem, size, jax.random.fold_in(KEY, 1))
    )


def scheme_of(cell):
    table = tables(cell)["scheme"]
    return (CATALOGUE | {f"{HERE}:impatient": impatient})[table["name"]](
        **given(table, "name", "step_size")
    )


def delays_of(cell):
    if "file" in cell.delays:
        return lj.Trace.from_array(TIMES).resampled(**given(cell.delays, "file"))
    times = lj.delays.FAMILIES[cell.delays["family"]](
        **given(cell.delays, "family", "bursty", "failures")
    )
    for name, wrapper in (("bursty", lj.delays.Bursty), ("failures", lj.delays.Failures)):
        if name in cell.delays:
            times = wrapper(times, **given(cell.delays[name]))
    return times


def cluster_of(cell):
    if cell.cluster is None:
        return None
    parts = "startup", "timeout", "independent"
    link = given(cell.cluster, *parts)
    rest = given({name: each for name, each in cell.cluster.items() if name in parts})
    return lj.Cluster(link=lj.Link(**link) if link else None, **rest)


def batch(cell, folder, problem=None):
    problem = problem or problem_of(cell, folder)
    return lj.simulate_batch(
        problem, scheme_of(cell), delays_of(cell), KEY,
        num_iterations=K, num_realisations=R, quantiles=(0.5,), cluster=cluster_of(cell),
        accuracies=cell.setting("accuracies", [1e-8]), sampler=cell.setting("sampler"),
        step_size=STEP / float(problem.total_smoothness),
    )  # fmt: skip


def experiment(cell, folder, problem=None):
    cluster = cluster_of(cell)
    return run(
        Experiment(
            problems={"own": problem or problem_of(cell, folder)},
            schemes={"own": scheme_of(cell)},
            delays={"own": delays_of(cell)},
            clusters=None if cluster is None else {"own": cluster},
            num_iterations=K,
            num_realisations=R,
            target=Gap(cell.setting("accuracies", [1e-8])),
            quantiles=(0.5,),
            sampler=cell.setting("sampler"),
            step_sizes=(STEP,),
        )
    )


def grid_file(cell, folder):
    return run(read_grid(write_files(folder, cell)).experiment)


def name_of(cell):
    words = [cell.problem.get("kind", cell.problem.get("loss")), cell.scheme["name"].split(":")[-1]]
    return "-".join([*words, *(cell.cluster or {})])


# Gamma times come from tables, which paths of their own and wrappers have to meet, too.
GAMMA = {"family": "gamma", "scale": 1.0, "shape": 2.0}
TABULATED = (
    Cell(PROBLEMS[1][0], GD, GAMMA),
    Cell(PROBLEMS[1][0], SCHEMES[3][0], GAMMA | {"shape": [[0.5, 1.0, 2.0, 3.0]]}),
    Cell(PROBLEMS[1][0], GD, GAMMA | {"bursty": DELAYS[3]["bursty"]}, CLUSTERS[3]),
)


@pytest.mark.parametrize("cell", [*cells(), *TABULATED], ids=name_of)
def test_three_doors_give_the_same_bits(cell, tmp_path):
    write_files(tmp_path, cell)
    problem = problem_of(cell, tmp_path)
    gap = batch(cell, tmp_path, problem).gap
    level = float(min(gap[K // 2], 0.999 * gap[0]))  # of some realisations, after some iterations
    cell = cell._replace(settings={"accuracies": [level]})
    expected = batch(cell, tmp_path, problem)
    for table in (experiment(cell, tmp_path, problem), grid_file(cell, tmp_path)):
        for name in COSTS:
            cost = getattr(expected.costs, name)
            mean = "time_mean" if name == "time" else name
            np.testing.assert_array_equal(table[mean], cost.mean, name)
            np.testing.assert_array_equal(table[f"{name}_q0.5"], cost.quantiles[:, 0], name)
        np.testing.assert_array_equal(table["reached"], expected.reached)
        np.testing.assert_array_equal(table["diverged"], float(expected.diverged))


SYNTHETIC = {"kind": "synthetic"}
NONSENSE = {
    "decoding and shared link": Cell(SYNTHETIC, SCHEMES[3][0], EXPONENTIAL, CLUSTERS[2]),
    "own decoding and shared link": Cell(SYNTHETIC, SCHEMES[4][0], EXPONENTIAL, CLUSTERS[2]),
    "values of other workers": Cell(SYNTHETIC, GD, {"family": "exponential", "rate": [[1.0, 2.0]]}),
    "trace and independent": Cell(
        SYNTHETIC, SCHEMES[0][1], {"file": "times.csv", "resample": "blocks"}, CLUSTERS[4]
    ),
    "direct and failures": Cell(SYNTHETIC, GD, DELAYS[4], settings={"sampler": "direct"}),
    "worker trigger and coding": Cell(
        SYNTHETIC, SCHEMES[1][2] | {"redundancy": 1, "trigger": "worker"}, EXPONENTIAL
    ),
    "groups that do not divide": Cell(SYNTHETIC, SCHEMES[1][3] | {"num_groups": 3}, EXPONENTIAL),
    "weights of another memory": Cell(SYNTHETIC, SCHEMES[1][1] | {"memory": 3}, EXPONENTIAL),
    "lossy decoding and worker trigger": Cell(
        SYNTHETIC, SCHEMES[4][0] | {"num_groups": 4, "waited": 1, "trigger": "worker"}, EXPONENTIAL
    ),
    "features for fewer workers": Cell(SYNTHETIC | {"num_features": 3}, GD, EXPONENTIAL),
    "partitions for fewer workers": Cell({"loss": "general", "partitions": 3}, GD, EXPONENTIAL),
    "minibatches of nothing": Cell(
        {"loss": "general", "batch_size": 2, "drawn": False}, GD, EXPONENTIAL
    ),
}


@pytest.mark.parametrize("cell", list(NONSENSE.values()), ids=list(NONSENSE))
def test_three_doors_refuse_in_the_same_words(cell, tmp_path):
    said = set()
    for door in (batch, experiment, grid_file):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            door(cell, tmp_path)
        said.add(str(error.value))
    assert len(said) == 1, said
