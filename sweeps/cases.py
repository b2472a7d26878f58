"""The library's programs as functions of arrays: what `compile.py` compiles ahead of time.

Every array that a user could give is an argument, so that nothing folds away as a constant. The
precision is JAX's when they are made.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

import lagc_jax as lj
from lagc_jax.clock import Clock, clock_of
from lagc_jax.delays.drawn import tabulated
from lagc_jax.experiments import measure, spread
from lagc_jax.law.inverse import CHUNK
from lagc_jax.problems._around import measured
from lagc_jax.problems.base import Problem
from lagc_jax.schemes.catalogue import CATALOGUE
from lagc_jax.stopping import _stretch
from lagc_jax.summary import realise

M, G, FEATURES, ROWS = 12, 4, 50, 20
# Iterations of a clock and of a path; realisations of a clock and of whole trajectories; paths.
CLOCK_K, PATH_K = 2000, 400
R, OWN_R, PATHS = 8192, 256, 256
DEVICES = 4
# What constructors are given, by the names of their parameters.
SIZES = {
    **{"num_workers": M, "num_groups": G, "redundancy": 2, "num_waited": 9},
    **{"speeds": (1.0, 2.0) * (M // 2), "num_stragglers": 2, "pieces": 2, "num_clusters": G},
    **{"compressor": "top-k(4)", "rate": 0.5, "probability": 0.3, "num_steps": 5},
    **{"start": 6, "threshold": 3, "batch": M, "trials": 2, "allotted": 1.0, "most": 3},
    **{"burst": 1, "window": 2},
}
FAMILY_ARGUMENTS = {
    "rate": 1.0,
    "scale": 1.0,
    "shape": 1.5,
    "shift": 0.5,
    "location": 0.0,
    "slow_rate": 0.1,
    "slow_share": 0.2,
    "values": (1.0, 3.0, 9.0),
    "probabilities": (0.7, 0.2, 0.1),
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "LAG, worker trigger": ("LAG", {"trigger": "worker"}),
    "LASG, server rule": ("LASG", {"trigger": "lasg-server"}),
    "CADA1": ("CADA", {"trigger": "cada1"}),
    "approximate GC, deadline": ("approximate GC", {"num_waited": None, "deadline": 3.0}),
    "first decodable, cyclic": ("first decodable", {"redundancy": 5}),
}


class Case(NamedTuple):
    """A program to compile.

    Attributes:
        group, name: what it is.
        function: of arrays.
        arguments: pytrees of arrays, of which shapes and types count.
        iterations: how many a realisation or path has; 0 where there are none.
        turns: of its outermost loops whose bounds the compiler does not know.
        mesh: whether the function takes a mesh of several devices as its first argument; the
            leading axis of all arguments but the first is then spread over them.
    """

    group: str
    name: str
    function: Callable
    arguments: tuple
    iterations: int = 0
    turns: int = 1
    mesh: bool = False


def scheme_named(name: str, xi: Any = 1.0) -> lj.Scheme:
    """A scheme of the catalogue, or a variant, of this module's sizes."""
    base, settings = VARIANTS.get(name, (name, {}))
    make = CATALOGUE[base]
    wanted = inspect.signature(make).parameters
    return make(**{k: v for k, v in (SIZES | {"xi": xi} | settings).items() if k in wanted})


def family_named(name: str, **settings: Any) -> Any:
    """A family of delays of this module's parameters, as arrays."""
    family = lj.delays.FAMILIES[name]
    wanted = inspect.signature(family).parameters
    chosen = {k: settings.get(k, v) for k, v in FAMILY_ARGUMENTS.items() if k in wanted}
    return family(**{k: jnp.asarray(v, float) for k, v in chosen.items()})


def cases() -> Iterator[Case]:
    """All programs."""
    yield from path_cases()
    yield from problem_cases()
    yield from clock_cases()
    yield from trajectory_cases()
    yield from moment_cases()
    yield from sweep_cases()


def _problem(num_groups: int = 1) -> Problem:
    """As every door hands it to a program for so many groups."""
    problem = lj.synthetic_linear_regression(jax.random.key(0), M, FEATURES)
    return measured(problem, num_groups)


def _grid() -> tuple[Array, Array]:
    """Values of xi and step sizes, (PATHS,)."""
    return jnp.linspace(0.1, 1, PATHS), jnp.linspace(0.001, 0.01, PATHS)


def paths(name: str, stop: bool, problem: Problem, xi: Array, step: Array) -> tuple:
    """Paths over hyperparameters."""

    def one(xi: Array, step: Array) -> tuple[Array, Array]:
        sizes = {"num_iterations": PATH_K, "accuracy": 1e-4 if stop else None}
        path = lj.descend(problem, scheme_named(name, xi), step_size=step, **sizes)
        return path.gap, path.selected

    return jax.vmap(one)(xi, step)


def path_cases() -> Iterator[Case]:
    """Paths of every scheme that has one without delays."""
    for name in (*CATALOGUE, *VARIANTS):
        scheme = scheme_named(name)
        if clock_of(scheme, lj.Exponential(1.0)).shared:
            given = (_problem(scheme.num_groups), *_grid())
            yield Case("paths", name, partial(paths, name, False), given, PATH_K)
    given = (_problem(), *_grid())
    stretches = PATH_K // _stretch(PATH_K)
    yield Case("paths", "LAG to an accuracy", partial(paths, "LAG", True), given, PATH_K, stretches)


def problem_cases() -> Iterator[Case]:
    """Paths of G-LAG on every kind of problem."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(M, ROWS, 10)), rng.normal(size=(M, ROWS))
    classes = rng.integers(0, 3, size=(M, ROWS))
    key = jax.random.key(1)
    network = lj.problems.initial_network(key, (10, 8, 3))

    def huber(theta: Array, part: tuple[Array, Array]) -> Array:
        return jnp.sum(jnp.sqrt(1 + (part[0] @ theta - part[1]) ** 2) - 1)

    problems = {
        "wide rows": lj.problems.gaussian_linear_regression(key, M, 5, FEATURES),
        "logistic": lj.logistic_regression(X, np.sign(y), l2=0.1),
        "multinomial": lj.problems.multinomial_regression(X, classes, l2=0.1),
        "general": lj.problems.general_problem(huber, (X, y), jnp.zeros(10)),
        "network": lj.problems.network_problem(X, classes, network, l2=0.1),
        "minibatches, linear": lj.problems.minibatch(_problem(), 4, key),
        "minibatches, logistic": lj.problems.minibatch(
            lj.logistic_regression(X, np.sign(y), l2=0.1), 4, key
        ),
    }
    for name, problem in problems.items():
        given = (measured(problem, G), *_grid())
        yield Case("problems", name, partial(paths, "G-LAG", False), given, PATH_K)


def clock(
    scheme: lj.Scheme,
    sampler: str | None,
    levels: int,
    delays: Any,
    cluster: lj.Cluster | None,
    selected: Array,
    key: Array,
    ends: Array,
) -> Any:
    """Realisations along a path; with `levels` quantiles."""
    times = clock_of(scheme, delays, cluster, sampler).along(selected)
    return realise(times, key, ends, True, jnp.linspace(0.1, 0.9, levels), num_realisations=R)


def clock_cases() -> Iterator[Case]:
    """Clocks along a path: drawn directly, and worker by worker."""
    rng = np.random.default_rng(0)
    selected, ends = jnp.asarray(rng.random((CLOCK_K, G)) < 0.3), jnp.array([CLOCK_K])
    rest, sizes = (selected, jax.random.key(0), ends), (CLOCK_K, -(-CLOCK_K // CHUNK))
    exponential, lagc = family_named("exponential"), lj.lagc(M, G, 2)
    for r in (1, 2, M // G):
        run = partial(clock, lj.lagc(M, G, r), "direct", 0)
        yield Case("clocks", f"exponential, r = {r}", run, (exponential, None, *rest), *sizes)
    run = partial(clock, lagc, "direct", 0)
    for name in list(lj.delays.FAMILIES)[1:]:
        given = (tabulated(family_named(name)), None, *rest)  # as a shape that is known is drawn
        yield Case("clocks", f"{name}, r = 2", run, given, *sizes)
    given = (family_named("gamma"), None, *rest)
    yield Case("clocks", "gamma of a traced shape, r = 2", run, given, *sizes)
    unit = SimpleNamespace(ppf=lambda q: -np.log1p(-q), isf=lambda q: -np.log(q))
    given = (lj.delays.tabulate(unit), None, *rest)
    yield Case("clocks", "tabulated, r = 2", run, given, *sizes)
    run = partial(clock, lagc, "direct", 3)
    yield Case("clocks", "exponential, quantiles", run, (exponential, None, *rest), *sizes)

    each, table = jnp.linspace(1, 2, M), jnp.asarray(rng.exponential(size=(500, M)))
    bursty = lj.delays.Bursty(exponential, *jnp.array([5.0, 0.01, 0.1]))
    sources = {"identical": exponential, "unequal": lj.Pareto(each, 1 + each)}
    for resample, block in (("iid", 1), ("worker", 1), ("blocks", 20), ("replay", 1)):
        sources[f"trace, {resample}"] = lj.Trace(table, resample, block)
    sources["bursts"] = bursty
    rare = jnp.array(0.01)
    sources["on and off"] = lj.delays.OnOff(exponential, rare, 10 * rare)
    sources["a roster"] = lj.delays.Roster(exponential, jnp.asarray(rng.random((50, M)) < 0.9))
    sources["drift"] = lj.delays.Drift(exponential, 1 + rare)
    sources["days"] = lj.delays.Diurnal(exponential, 50 * rare, jnp.array(300.0))
    sources["failures of bursts"] = lj.delays.Failures(bursty, rare)
    clusters = {
        "links": lj.Cluster(startup=0.1 * each, link=lj.Link(0.1 * each, 10 * each)),
        "a shared link": lj.Cluster(link=lj.Link(0.01, jnp.array(10.0), shared=True)),
        "independent partitions": lj.Cluster(independent=True),
    }
    every = [(name, delays, None) for name, delays in sources.items()]
    every += [(name, exponential, cluster) for name, cluster in clusters.items()]
    run = partial(clock, lagc, "workers", 0)
    for name, delays, cluster in every:
        yield Case("worker by worker", name, run, (delays, cluster, *rest), *sizes)


def batch(
    name: str, problem: Problem, delays: Any, cluster: lj.Cluster | None, key: Array, step: Array
) -> Any:
    """Realisations of whole trajectories, or of the times along one path."""
    sizes = {"num_iterations": PATH_K, "num_realisations": OWN_R, "accuracies": (1e-4,)}
    scheme = scheme_named(name)
    return lj.simulate_batch(problem, scheme, delays, key, cluster=cluster, step_size=step, **sizes)


def single(name: str, problem: Problem, delays: Any, key: Array, code: Any = None) -> lj.Trajectory:
    """One trajectory, coded where a code is given."""
    extra: dict[str, Any] = {} if code is None else {"exact_recovery": False, "code": code}
    return lj.simulate(problem, scheme_named(name), delays, key, num_iterations=PATH_K, **extra)


def trajectory_cases() -> Iterator[Case]:
    """Whole trajectories: of schemes whose paths depend on the delays, with timeouts, coded."""
    problem, pareto = _problem(G), family_named("pareto")
    key, step = jax.random.key(0), jnp.array(0.005)
    for name in (*CATALOGUE, *VARIANTS):
        scheme = scheme_named(name)
        if not clock_of(scheme, lj.Exponential(1.0)).shared:
            given = (_problem(scheme.num_groups), pareto, None, key, step)
            yield Case("trajectories", name, partial(batch, name), given, PATH_K)
    once = lj.delays.Failures(pareto, jnp.array(0.01))
    for name, link in (
        ("timeout", None),
        ("timeout, shared link", lj.Link(0.01, 9.0, shared=True)),
    ):
        given = (problem, once, lj.Cluster(link=link, timeout=jnp.array(30.0)), key, step)
        yield Case("trajectories", name, partial(batch, "LAGC"), given, PATH_K)
    along = (problem, pareto, None, key, step)
    yield Case("batches", "G-LAG", partial(batch, "G-LAG"), along, PATH_K, PATH_K // CHUNK + 1)
    yield Case("one trajectory", "G-LAG", partial(single, "G-LAG"), (problem, pareto, key), PATH_K)
    code = lj.schemes.cyclic_repetition(M // G, 2)
    given = (problem, pareto, key, code)
    yield Case("one trajectory", "LAGC, coded", partial(single, "LAGC"), given, PATH_K)


def moments(scheme: lj.Scheme, delays: Any, selected: Array) -> tuple[Array, Array]:
    """Exact means and variances along a path."""
    expected = lj.expected_wall_clock(scheme, delays, selected)
    return expected, lj.theory.wall_clock_variance(scheme, delays, selected)


def decoded(code: Any, gradients: Array, alive: Array) -> Array:
    """What a code makes of coded messages."""
    return code.decode(code.encode(gradients), alive)


def moment_cases() -> Iterator[Case]:
    """Exact moments, laws and decoding: what no loop over iterations has."""
    selected = jnp.asarray(np.random.default_rng(0).random((8, G)) < 0.5)
    each, run = jnp.linspace(1, 2, M), partial(moments, lj.lagc(M, G, 2))
    for name in lj.delays.FAMILIES:
        delays = family_named(name, shape=3.0)
        yield Case("exact moments", name, run, (delays, selected))
    for name, delays in {
        "pareto": lj.Pareto(each, 3 * each),
        "exponential": lj.Exponential(each),
    }.items():
        yield Case("exact moments", f"unequal {name}", run, (delays, selected))
    cdf = partial(lj.law.iteration_cdf, num_selected=2, group_size=3, redundancy=2)
    given = (family_named("exponential"), jnp.linspace(0, 9, 1000))
    yield Case("exact moments", "distribution", lambda d, t: cdf(d, t), given)
    codes = {
        "cyclic code": lj.schemes.cyclic_repetition(M, 5),
        "fractional code": lj.schemes.fractional_repetition(M, 3),
    }
    for name, code in codes.items():
        given = (code, jnp.ones((64, M, FEATURES)), jnp.ones((64, M), bool))
        yield Case("decoding", name, decoded, given)


def spread_over(
    body: Callable, together: bool, mesh: Mesh, shared: Any, items: Any, counts: Array
) -> Any:
    """The program of a sweep, on all devices of a mesh."""
    return spread._spread(body, mesh, shared, items, counts, together=together, one_thread=False)


def sweep_cases() -> Iterator[Case]:
    """Sweeps on several devices: paths, clocks, trajectories."""
    problem, target, key = _problem(G), lj.Gap(jnp.array([1e-4])), jax.random.key(0)
    start, levels, capacity = jnp.zeros(FEATURES), jnp.array([0.5]), 8
    exponential = family_named("exponential")

    def stacked(task: Any) -> Any:
        shape = (DEVICES, capacity)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *jnp.shape(leaf))), task)

    def case(name: str, body: Callable, shared: Any, task: Any, iterations: int) -> Case:
        given = (shared, stacked(task), jnp.full(DEVICES, capacity))
        run, turns = partial(spread_over, body, name == "paths"), capacity
        return Case("sweep on 4 devices", name, run, given, iterations, turns, mesh=True)

    task = measure.PathTask(lj.g_lag(M, G).path_key, jnp.array(0.005))
    body = measure._path_body(PATH_K, None)
    yield case("paths", body, (problem, start, None), task, PATH_K)
    drawn: Clock = clock_of(lj.lagc(M, G, 2), exponential)
    part = jnp.zeros((-(-CLOCK_K // CHUNK), CHUNK))
    hit, reached = jnp.array([CLOCK_K]), jnp.array([True])
    clock_task = measure.ClockTask(drawn.times(None, CLOCK_K), part, hit, reached)
    yield case("clocks", measure._clock_body(R), (key, levels), clock_task, CLOCK_K)
    own = measure.BatchTask(clock_of(lj.schemes.fastest_k(M, 9), exponential), jnp.array(0.005))
    shared = (problem, start, target, key, levels)
    yield case("trajectories", measure._batch_body(PATH_K, OWN_R), shared, own, PATH_K)
