"""Bad input is refused with the argument, its value and the remedy, before any compilation."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.delays.contract import check_draws
from lagc_jax.law import iteration_cdf, iteration_mean
from lagc_jax.theory import (
    communication_bound,
    expected_complexity,
    iteration_bound,
    iteration_costs,
)

NAN, INF = float("nan"), float("inf")
X, Y = np.arange(1.0, 9.0).reshape(4, 2, 1) % 5, np.arange(8.0).reshape(4, 2) % 3
SIGNS = np.where(Y > 0, 1, -1)


def replaced(array, value):
    array = np.array(array, float)
    array[1, 0] = value
    return array


@pytest.fixture(scope="module")
def small():
    return lj.linear_regression(X, Y)


SCHEMES = [
    (lambda: lj.lagc(12, 5, 1), r"num_groups=5 does not divide num_workers=12; give"),
    (lambda: lj.grouping(12, 5), r"num_groups=5 does not divide num_workers=12; give"),
    (lambda: lj.g_lag(12, 24), r"num_groups=24 does not divide num_workers=12; give"),
    (lambda: lj.gc(12, 0), r"redundancy=0 is too small; give a whole number >= 1"),
    (lambda: lj.lagc(12, 4, -1), r"redundancy=-1 is too small; give"),
    (lambda: lj.gc(12, 13), r"redundancy=13 exceeds the 12 .*; give 1 <= redundancy <="),
    (lambda: lj.lagc(12, 4, 4), r"redundancy=4 exceeds the 3 .*; give 1 <= redundancy <="),
    (lambda: lj.lag(12, xi=-0.1), r"xi=-0.1 must be .* not negative; give xi >= 0"),
    (lambda: lj.lag(12, xi=NAN), r"xi=nan must be finite .*; give xi >= 0"),
    (lambda: lj.lag(12, xi=INF), r"xi=inf must be finite .*; give xi >= 0"),
    (lambda: lj.lag(12, xi="1"), r"xi='1' is not a real number .*; give"),
    (lambda: lj.lag(12, xi=np.ones(3)), r"xi has shape \(3,\); give .*memory=10"),
    (lambda: lj.lag(12, xi=np.r_[-1, np.ones(9)]), r"xi=.* not negative; give xi >= 0"),
    (lambda: lj.lag(12, memory=0), r"memory=0 is too small; give a whole number >= 1"),
    (lambda: lj.lag(12, memory=2.5), r"memory=2.5 is not a whole number; give an int"),
    (lambda: lj.lagc(12, 4, 2, trigger="worker"),
     r"trigger='worker' needs .* redundancy=2 .*; give trigger='server' or redundancy=3"),
    (lambda: lj.lag(12, trigger="lazy"), r"trigger='lazy' is unknown; give one of"),
    (lambda: lj.gd(2.5), r"num_workers=2.5 is not a whole number; give an int"),
    (lambda: lj.gd(True), r"num_workers=True .*; give"),
    (lambda: lj.gd("3"), r"num_workers='3' is not a whole number; give an int"),
    (lambda: lj.gd(0), r"num_workers=0 is too small; give"),
    (lambda: lj.gd(-12), r"num_workers=-12 is too small; give"),
    (lambda: lj.grouping(12, 4.0), r"num_groups=4.0 is not a whole number; give an int"),
    (lambda: lj.gc(12, np.float64(2)), r"redundancy=.*2.0.* is not a whole number; give"),
]  # fmt: skip

DELAYS = [
    (lambda v=v, call=call: call(v), rf"{name}=.* must be positive and finite; give {name} > 0")
    for name, call in (
        ("rate", lj.Exponential),
        ("scale", lambda scale: lj.Pareto(scale, 1.5)),
        ("shape", lambda shape: lj.Pareto(1.0, shape)),
    )
    for v in (0.0, -1.0, NAN, INF, np.array([1.0, 0.0]))
] + [
    (lambda: lj.Exponential("1"), r"rate='1' is not a real number .*; give"),
    (lambda: lj.Exponential(np.timedelta64(1)), r"rate=.* is not a real number .*; give"),
    (lambda: lj.Pareto(None, 1.5), r"scale=None is not a real number .*; give"),
]

PROBLEMS = [
    (lambda: lj.linear_regression(X, Y[:3]),
     r"y has shape \(3, 2\) but X has 4 partitions .*; give y of shape \(4, 2\)"),
    (lambda: lj.linear_regression(X, Y[:, :1]),
     r"y has shape \(4, 1\) but X .* 2 rows; give y of shape \(4, 2\)"),
    (lambda: lj.linear_regression(X[0], Y), r"X has shape \(2, 1\); give \(M, N, d\)"),
    (lambda: lj.linear_regression(X[:0], Y[:0]), r"X has shape \(0, 2, 1\); give"),
    (lambda: lj.linear_regression(np.float32(1e20) * X.astype(np.float32), Y),
     r"X has squares beyond float32; give it in smaller units"),
    (lambda: lj.logistic_regression(1e200 * X, SIGNS, l2=1.0),
     r"X has squares beyond float64; give it in smaller units"),
    (lambda: lj.linear_regression(X, 1e200 * Y),
     r"y has squares beyond float64; give it in smaller units"),
    (lambda: lj.linear_regression(0 * X, Y), r"X has only zeros; give features that vary"),
    (lambda: lj.linear_regression(replaced(X, NAN), Y),
     r"X\[1, 0, 0\]=nan is not finite; remove or replace"),
    (lambda: lj.linear_regression(X, replaced(Y, INF)),
     r"y\[1, 0\]=inf is not finite; remove or replace"),
    (lambda: lj.logistic_regression(replaced(X, -INF), SIGNS, l2=1.0),
     r"X\[1, 0, 0\]=-inf is not finite; remove or replace"),
    (lambda: lj.logistic_regression(X, replaced(SIGNS, 0), l2=1.0),
     r"y holds the label 0.0; give labels in \{-1, \+1\}"),
    (lambda: lj.logistic_regression(X, replaced(SIGNS, 2), l2=1.0),
     r"y holds the label 2.0; give labels in \{-1, \+1\}"),
    (lambda: lj.logistic_regression(X, replaced(SIGNS, NAN), l2=1.0),
     r"y\[1, 0\]=nan is not finite; remove or replace"),
    (lambda: lj.logistic_regression(X, SIGNS, l2=-1.0), r"l2=-1.0 must be .*; give l2 >= 0"),
    (lambda: lj.logistic_regression(X, SIGNS, l2=NAN), r"l2=nan must be .*; give l2 >= 0"),
    (lambda: lj.logistic_regression(X, np.ones((4, 2)), l2=0.0),
     r"no optimum found: X separates .* l2=0.*; give l2 > 0"),
    (lambda: lj.logistic_regression(X - 2.5, np.sign(X[..., 0] - 2.5), l2=0.0),
     r"no optimum found: X separates .* l2=0.*; give l2 > 0"),
    (lambda: lj.logistic_regression(X, SIGNS, l2=[]), r"l2 has shape \(0,\); give a scalar"),
    (lambda: lj.init(lj.linear_regression(X, Y), lj.gd(4), step_size=[]),
     r"step_size has shape \(0,\); give a scalar"),
    (lambda: lj.descend(lj.linear_regression(X, Y), lj.gd(4), num_iterations=2, accuracy=[]),
     r"accuracy has shape \(0,\); give a scalar"),
]  # fmt: skip


def synthetic(**arguments):
    return lambda: lj.synthetic_linear_regression(jax.random.key(0), **arguments)


PROBLEMS += [
    (synthetic(num_workers=5, num_features=4),
     r"num_features=4 is less than num_workers=5; .* give num_features >= num_workers"),
    (synthetic(num_workers=2.5), r"num_workers=2.5 is not a whole number; give"),
    (synthetic(num_features="50"), r"num_features='50' is not a whole number; give"),
    (synthetic(growth=0.0), r"growth=0.0 must be positive and finite; give growth > 0"),
    (synthetic(growth=NAN), r"growth=nan must be positive and finite; give growth > 0"),
    (synthetic(noise=-0.1), r"noise=-0.1 must be finite and not negative; give noise >= 0"),
    (synthetic(noise=INF), r"noise=inf must be finite and not negative; give noise >= 0"),
    (synthetic(noise=[0.1, 0.2]), r"noise has shape \(2,\); give a scalar"),
    (synthetic(growth=[1.1, 1.2]), r"growth has shape \(2,\); give a scalar"),
    (lambda: lj.problems.gaussian_linear_regression(KEY, 2, spread=[1.0, 2.0]),
     r"spread has shape \(2,\); give a scalar"),
]  # fmt: skip

CODES = [
    (lambda: lj.schemes.fractional_repetition(6, 4),
     r"redundancy=4 does not divide group_size=6.*; give a divisor or use cyclic_repetition"),
    (lambda: lj.schemes.cyclic_repetition(6, 7), r"redundancy=7 exceeds group_size=6; give"),
]  # fmt: skip


TIMES = np.ones((3, 2))
PARTS = [
    (lambda: lj.Link(shared="no"), r"shared='no' is no truth; give True or False"),
    (lambda: lj.Cluster(independent=NAN), r"independent=nan is no truth; give True or False"),
    (lambda: lj.Cluster(link="fast"), r"link='fast' is no Link; give lagc_jax.Link"),
    (lambda: lj.schemes.ringmaster(4, 2, stops="no"), r"stops='no' is no truth; give True"),
    (lambda: lj.schemes.k_sync(4, 0), r"num_waited=0 is too small; give a whole number >= 1"),
    (lambda: lj.schemes.k_async(4, "2"), r"num_waited='2' is not a whole number; give an int"),
    (lambda: lj.schemes.multi_message_gc(2.0, 2), r"num_workers=2.0 is not a whole number; give"),
    (lambda: lj.schemes.stochastic_gc(0, 2, 1), r"num_workers=0 is too small; give a whole"),
    (
        lambda: lj.schemes.local_sgd(4, 2, local_step_size=0.0),
        r"local_step_size=0.0 must be positive .*; give",
    ),
    (lambda: lj.Trace(TIMES, "Blocks"), r"resample='Blocks' is unknown; give one of"),
    (lambda: lj.Trace(TIMES, "blocks", 2.0), r"block=2.0 is not a whole number; give an int"),
    (lambda: lj.Trace(TIMES, "blocks", 4), r"block=4 is longer than the trace of 3 rows; give"),
    (lambda: lj.Trace(np.ones((0, 2))), r"times has shape \(0, 2\); give \(iterations, workers\)"),
    (lambda: lj.Exponential(1.0).quantile(-0.5), r"probability=-0.5 must lie in \[0, 1\]; give"),
    (
        lambda: lj.delays.Hyperexponential([1.0, 2.0], 3 * [0.5], 0.1),
        r"slow_rate has shape \(3,\) but rate has shape \(2,\); give one number or one a worker",
    ),
    (lambda: lj.Gap([0.0]), r"levels=\[0.\] must be positive and finite; give levels > 0"),
    (lambda: lj.schemes.m_sgc(1, 1, 2, 1), r"num_stragglers=1 asks for 2 .* num_workers=1; give"),
    (lambda: lj.schemes.sr_sgc(2, 1, 2, 3), r"num_stragglers=3 asks for 3 .* num_workers=2; give"),
]
RAGGED = [[1.0], [1.0, 2.0]]
BURSTS = dict(slowdown=2.0, enter=0.1, leave=0.1)
PARTS += [
    (lambda name=name: lj.delays.Bursty(lj.Exponential(1.0), **BURSTS | {name: RAGGED}),
     rf"{name} is ragged; give rows of equal lengths")
    for name in BURSTS
] + [
    (lambda: lj.delays.Roster(lj.Exponential(1.0), RAGGED), r"present is ragged; give"),
    (lambda: lj.delays.Failures(lj.Exponential(1.0), lj.Exponential), r"once=.* is not a real"),
    (lambda: lj.delays.Bursty(lj.Exponential(1.0), **BURSTS).sample_chunk(KEY, 0, (3, 1, 2)),
     r"a chunk has 3 iterations; give a power of two"),
    (lambda: lj.problems.smooth_regression(KEY, RAGGED), r"smoothness is ragged; give"),
    (lambda: lj.problems.classification_accuracy(RAGGED, [0, 1]), r"logits is ragged; give"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), SCHEMES + DELAYS + PROBLEMS + CODES + PARTS)
def test_bad_parts_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


KEY = jax.random.key(0)
PATH = SimpleNamespace(gap=np.ones(2), selected=np.ones((1, 4), bool))
UNEQUAL = lj.Exponential(np.array([1.0, 2.0, 1.0, 1.0]))
# Of `simulate` and `simulate_batch` alike; the first four are also of `descend`.
RUNS = [
    (dict(num_iterations=0), r"num_iterations=0 is too small; give a whole number >= 1"),
    (dict(num_iterations=2.5), r"num_iterations=2.5 is not a whole number; give an int"),
    (dict(step_size=0.0), r"step_size=0.0 must be positive and finite; give step_size > 0"),
    (dict(step_size=-1.0), r"step_size=-1.0 must be positive and finite; give step_size > 0"),
    (dict(step_size=NAN), r"step_size=nan must be positive and finite; give step_size > 0"),
    (dict(step_size=INF), r"step_size=inf must be positive and finite; give step_size > 0"),
    (dict(step_size="1"), r"step_size='1' is not a real number .*; give"),
    (dict(step_size=np.ones(7)), r"step_size has shape \(7,\); give a scalar"),
    (dict(theta0=np.zeros(2)), r"theta0 has shape \(2,\); give \(1,\)"),
    (dict(theta0=0.0), r"theta0 has shape \(\); give \(1,\)"),
    (dict(theta0=np.array([NAN])), r"theta0\[0\]=nan is not finite; remove or replace"),
    (dict(theta0=np.array([INF])), r"theta0\[0\]=inf is not finite; remove or replace"),
    (dict(scheme=lj.gd(3)),
     r"problem has 4 partitions but .* num_workers=3; give one partition a worker"),
]  # fmt: skip
CLOCKS = [
    (dict(sampler="sorted"), r"sampler='sorted' is unknown; give one of"),
    (dict(sampler="direct", delays=UNEQUAL),
     r"sampler='direct' needs identical delays; give sampler='workers'"),
    (dict(delays=lj.Exponential(np.ones(3))), r"delays.rate has shape \(3,\); give \(\) or \(4,\)"),
    (dict(delays=lj.Pareto(1.0, np.full((4, 4), 1.5))),
     r"delays.shape has shape \(4, 4\); give \(\) or \(4,\)"),
]  # fmt: skip
BATCHES = [
    (dict(num_realisations=0), r"num_realisations=0 is too small; give a whole number >= 1"),
    (dict(num_realisations=2.5), r"num_realisations=2.5 is not a whole number; give an int"),
    (dict(accuracies=(0.0,)), r"accuracies=\[0.\] must be positive and finite; give"),
    (dict(accuracies=(1e-2, -1e-8)), r"accuracies=.*-1.e-08\] must be positive and finite; give"),
    (dict(accuracies=(NAN,)), r"accuracies=\[nan\] must be positive and finite; give"),
    (dict(quantiles=(0.5, 1.1)), r"quantiles=\(0.5, 1.1\) must lie in \[0, 1\]; give"),
    (dict(quantiles=(-0.1,)), r"quantiles=\(-0.1,\) must lie in \[0, 1\]; give"),
    (dict(accuracies=()), r"accuracies has shape \(0,\); give a list of at least 1 numbers"),
    (dict(accuracies=[[1e-2]]), r"accuracies has shape \(1, 1\); give a list of at least 1"),
    (dict(quantiles=[[0.5]]), r"quantiles has shape \(1, 1\); give a list of at least 0"),
    (dict(iterates=[]), r"iterates has shape \(0,\); give a list of at least 1 numbers"),
    (dict(iterates=[[1]]), r"iterates has shape \(1, 1\); give a list of at least 1 numbers"),
    (dict(quantiles=(NAN,)), r"quantiles=\(nan,\) must lie in \[0, 1\]; give"),
]
CODED = [
    (dict(exact_recovery="no"), r"exact_recovery='no' is no truth; give True or False"),
    (dict(code=lj.schemes.fractional_repetition(4, 2)),
     r"code is given but exact_recovery=True; give exact_recovery=False"),
    (dict(code=lj.schemes.fractional_repetition(4, 2), exact_recovery=False),
     r"code has group_size=4 and redundancy=2; the scheme needs 1 and 1"),
    (dict(sampler="direct", exact_recovery=False),
     r"sampler='direct' has no arrival order; give sampler='workers'"),
]  # fmt: skip


def simulate(problem, **changes):
    arguments = dict(scheme=lj.gd(4), delays=lj.Exponential(1.0), key=KEY, num_iterations=2)
    return lj.simulate(problem, **(arguments | changes))


def simulate_batch(problem, **changes):
    arguments = dict(
        scheme=lj.gd(4), delays=lj.Exponential(1.0), key=KEY, num_iterations=2, num_realisations=2
    )
    return lj.simulate_batch(problem, **(arguments | changes))


def descend(problem, **changes):
    return lj.descend(problem, **(dict(scheme=lj.gd(4), num_iterations=2) | changes))


CALLS = [
    *((descend, changes, message) for changes, message in RUNS),
    *((simulate, changes, message) for changes, message in RUNS + CLOCKS + CODED),
    *((simulate_batch, changes, message) for changes, message in RUNS + CLOCKS + BATCHES),
]


@pytest.mark.parametrize(("call", "changes", "message"), CALLS)
def test_bad_runs_are_refused(small, call, changes, message):
    with pytest.raises(ValueError, match=message):
        call(small, **changes)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (dict(step_size=0.0), r"step_size=0.0 must be positive"),
        (dict(theta0=np.zeros(3)), r"theta0 has shape \(3,\); give \(1,\)"),
        (dict(theta0=np.array([NAN])), r"theta0\[0\]=nan is not finite"),
    ],
)
def test_bad_starts_of_single_steps_are_refused(small, start, message):
    with pytest.raises(ValueError, match=message):
        lj.init(small, lj.gd(4), **start)


@dataclasses.dataclass(frozen=True)
class Unregistered(lj.delays.Delays):
    """A family whose class JAX does not know."""

    rate: float = 1.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unfinished(lj.delays.Delays):
    """A family without a law."""

    rate: float = 1.0


NO_SOURCES = [
    (
        "exponential",
        r"delays is a str, not a source of times; give one of lagc_jax.delays.FAMILIES",
    ),
    (1.0, r"delays is a float, not a source of times; give one of"),
    (None, r"delays is a NoneType, not a source"),
    (lj.Exponential, r"delays is the class Exponential, not a source of times"),
    (np.ones((3, 4)), r"delays is a ndarray, not .*; give lagc_jax.Trace.from_array\(times\)"),
    (Unregistered(), r"delays is a Unregistered, which is no pytree.*register_dataclass"),
    (Unfinished(), r"delays is a Unfinished, which lacks tail_index, hazard, inverse_hazard"),
]
ONES = np.ones((2, 4), bool)
DOORS = {
    "simulate": lambda p, d: simulate(p, delays=d),
    "simulate_batch": lambda p, d: simulate_batch(p, delays=d),
    "expected_wall_clock": lambda p, d: lj.expected_wall_clock(lj.gd(4), d, ONES),
    "wall_clock_variance": lambda p, d: lj.theory.wall_clock_variance(lj.gd(4), d, ONES),
    "iteration_mean": lambda p, d: lj.law.iteration_mean(d, 4, 2, 1),
    "iteration_cdf": lambda p, d: lj.law.iteration_cdf(d, 1.0, 4, 2, 1),
    "order_statistic_mean": lambda p, d: lj.law.order_statistic_mean(d, 1, 4),
    "sample_iteration_times": lambda p, d: lj.times.sample_iteration_times(d, KEY, 4, 2, ONES),
    "iteration_costs": lambda p, d: iteration_costs(lj.schemes.g_cada(4, 2, xi=1.0), d),
    "design": lambda p, d: lj.design(4, d, problem=p),
    "Bursty": lambda p, d: lj.delays.Bursty(d, 2.0, 0.1, 0.1),
    "Failures": lambda p, d: lj.delays.Failures(d, 0.1),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_source_of_times_is_refused_by_every_door(small, door):
    for delays, message in NO_SOURCES:
        with pytest.raises(ValueError, match=message):
            DOORS[door](small, delays)


def test_what_has_no_law_is_refused_where_one_is_needed(small):
    trace = lj.Trace.from_array(np.ones((3, 4)))
    exact = ("expected_wall_clock", "iteration_mean", "sample_iteration_times", "iteration_costs")
    for door in exact:
        with pytest.raises(ValueError, match=r"delays of type Trace have no exact moments; sample"):
            DOORS[door](small, trace)


MASKED = np.ma.masked_less(X, 0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lj.linear_regression(MASKED, Y),
        lambda: lj.logistic_regression(MASKED, SIGNS, l2=1.0),
        lambda: lj.problems.shard(MASKED[2], Y[2], 1, KEY),
        lambda: lj.Exponential(np.ma.masked_less([0.0, 1.0], 0.5)),
    ],
)
def test_masks_are_not_lost(call):
    with pytest.raises(ValueError, match=r"has masked entries; give an array without"):
        call()


@pytest.mark.parametrize("accuracy", [0.0, -1e-8, NAN, INF])
def test_bad_accuracies_are_refused(small, accuracy):
    run = lj.Trajectory(*[jnp.ones(3)] * 11)
    for call in (
        lambda: lj.complexity(run, accuracy),
        lambda: iteration_bound(small, lj.gd(4), accuracy),
    ):
        with pytest.raises(ValueError, match=r"accuracy=.* must be positive and finite; give"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: lj.expected_wall_clock(lj.gd(4), lj.Exponential(1.0), np.ones((3, 2), bool)),
         r"selected has shape \(3, 2\); give \(K, 4\)"),
        (lambda p: lj.expected_wall_clock(lj.gd(6), UNEQUAL, np.ones((3, 6), bool)),
         r"delays.rate has shape \(4,\); give \(\) or \(6,\)"),
        (lambda p: lj.theory.wall_clock_variance(lj.gd(6), UNEQUAL, np.ones((3, 6), bool)),
         r"delays.rate has shape \(4,\); give \(\) or \(6,\)"),
        (lambda p: iteration_costs(lj.gd(4), lj.Exponential(1.0), 5),
         r"num_selected=5 must be whole numbers from 0 to 4"),
        (lambda p: iteration_bound(p, lj.lag(4, xi=0.2), 1e-8),
         r"xi=0.2 has no guarantee with memory=10; give one number below 1/memory=0.1"),
        (lambda p: communication_bound(p, lj.lag(4, xi=np.arange(10.0))), r"xi=.* increases in d"),
        (lambda p: communication_bound(p, lj.lag(4), step_size=0.0),
         r"step_size=0.0 must be positive and finite; give"),
        (lambda p: communication_bound(p, "lag"), r"scheme='lag' is no Scheme; give one"),
        (lambda p: lj.theory.safe_step_size(lj.gd(4), lj.gd(4)), r"problem is a Scheme; give a"),
        (lambda p: iteration_bound(p, lj.gd(4), [0.1]), r"accuracy has shape \(1,\); give a"),
        (lambda p: lj.expected_wall_clock(lj.gd(4), lj.Exponential(1.0), [[0.5, 1, 1, 1]]),
         r"selected holds other than bool or 0 and 1; give"),
        (lambda p: iteration_costs("gd", lj.Exponential(1.0)), r"scheme='gd' is no Scheme; give"),
        (lambda p: expected_complexity(lj.gd(4), lj.Exponential(1.0), p, 0.1),
         r"path is a LinearRegression; give one of lagc_jax.descend"),
        (lambda p: expected_complexity(lj.gd(4), lj.Exponential(1.0), PATH, -0.1),
         r"accuracy=-0.1 must be positive and finite"),
        (lambda p: iteration_mean(lj.Exponential(1.0), 2, 1, "2"), r"num_selected='2' is not a"),
        (lambda p: iteration_mean(lj.Exponential(1.0), 2, 1, np.ones((2, 2))),
         r"num_selected has shape \(2, 2\); give a list"),
        (lambda p: iteration_cdf(lj.Exponential(1.0), -1.0, 2, 1, 1),
         r"time=-1.0 must not be negative; give t >= 0"),
        (lambda p: iteration_cdf(lj.Exponential(1.0), 1.0, 2, 1, -1),
         r"num_selected=-1 must be whole numbers >= 0"),
        (lambda p: lj.theory.time_complexity(RAGGED, 1.0, 1.0, 0.0, 0.1), r"times is ragged; give"),
        (lambda p: lj.theory.time_complexity([1.0], [1.0, 2.0], 1.0, 0.0, 0.1),
         r"smoothness has shape \(2,\); give a scalar"),
        (lambda p: lj.theory.time_bound("rennala", [1.0]), r"scheme='rennala' is no Scheme; give"),
        (lambda p: lj.theory.delay_row("x", 1.0), r"expectation=1.0 is none .*; give"),
    ],
)  # fmt: skip
def test_bad_requests_of_exact_answers_are_refused(small, call, message):
    with pytest.raises(ValueError, match=message):
        call(small)


def test_bad_input_is_refused_before_anything_is_compiled(small, compilations):
    jax.clear_caches()
    with compilations() as refused:
        for build, message in SCHEMES + DELAYS + CODES:
            with pytest.raises(ValueError, match=message):
                build()
        for call, changes, message in CALLS:
            with pytest.raises(ValueError, match=message):
                call(small, **changes)
    assert refused == [0]
    with compilations() as accepted:
        simulate(small)
    assert accepted[0] > 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OwnTimes(lj.delays.TimeSource):
    """Times of a user's own: the same number everywhere, in a shape of one's own."""

    value: float
    shape: tuple[int, ...] = dataclasses.field(default=(), metadata=dict(static=True))
    dtype = np.dtype(float)
    identical = False

    def check(self, num_workers, draws=1):
        pass

    def sample_chunk(self, key, chunk, shape):
        return jnp.full(self.shape or shape, self.value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoChunk(OwnTimes):
    """A chunk is asked for with more than a key."""

    def sample_chunk(self, key):
        return key


@pytest.mark.parametrize(
    ("delays", "words"),
    [
        (OwnTimes(-1.0), r"OwnTimes holds -1.0; give times that are not negative"),
        (
            NoChunk(1.0),
            r"`sample_chunk` of .*NoChunk takes \(key\); let it take \(key, chunk, shape\)",
        ),
        (OwnTimes(np.nan), r"OwnTimes holds nan; give"),
        (OwnTimes(1.0, (3,)), r"OwnTimes has shape \(3,\); give \(2, 1, 4\)"),
    ],
)
def test_times_of_ones_own_are_checked(small, delays, words):
    simulate(small, delays=OwnTimes(1.0))
    with pytest.raises(ValueError, match=words):
        simulate(small, delays=delays)


def test_times_of_ones_own_are_looked_at_once_an_object(monkeypatch):
    asked, draw = [], OwnTimes.sample_chunk
    count = lambda self, *arguments: asked.append(self.value) or draw(self, *arguments)  # noqa: E731
    monkeypatch.setattr(OwnTimes, "sample_chunk", count)
    one, other = OwnTimes(1.0), OwnTimes(2.0)
    for delays in (one, one, other, one):
        check_draws(delays, 4)
    check_draws(one, 5)
    assert asked == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: lj.simulate("x", lj.gd(4), lj.Exponential(1), KEY, num_iterations=1),
         "problem is a str; give a problem"),
        (lambda p: lj.simulate(p, "gd", lj.Exponential(1), KEY, num_iterations=1),
         "scheme='gd' is no Scheme; give one"),
        (lambda p: lj.simulate(p, lj.gd(4), lj.Exponential(1), KEY, num_iterations=1, cluster=1.0),
         "cluster=1.0 is no Cluster; give"),
        (lambda p: lj.Vary("lag", xi=1.0), "make='lag' cannot be called; give a constructor"),
        (lambda p: lj.Vary(lj.lag, num_workers=4, x=1.0),
         "'x' is no argument of lag; did you mean 'xi'"),
        (lambda p: lj.descend(p, lj.gd(4), num_iterations=1, record=lambda: 0),
         r"record takes \(\); let it take \(theta\)"),
        (lambda p: lj.Experiment(problems={"p": p}, schemes={"s": lj.gd(4)}, num_iterations=1,
                                 delays={"d": lj.Exponential(1)}, target=1e-3),
         r"target=0.001 is none; give Gap"),
        (lambda p: lj.Cluster(link=0.1), r"link=0.1 is no Link; give lagc_jax.Link"),
        (lambda p: lj.complexity(p, 0.1),
         r"trajectory is a LinearRegression; give one of simulate"),
        (lambda p: lj.problems.minibatch(lj.gd(4), 1, KEY),
         r"problem is a Scheme .*; give a problem"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused(small, call, words):
    with pytest.raises(ValueError, match=words):
        call(small)
