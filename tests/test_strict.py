"""The core runs under JAX's strict modes, which users switch on to find errors of their own."""

import warnings
from contextlib import contextmanager

import jax
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.theory import wall_clock_variance

M, G, K = 4, 2, 3
KEY = jax.random.key(0)
EQUAL, UNEQUAL = lj.Exponential(1.0), lj.Pareto(np.arange(2.0, M + 2), 3.0)
WORKING = np.ones((K, G), bool)
FIT = dict(num_iterations=K)


@contextmanager
def strict():
    """All modes at once, for each compiles anew."""
    with (
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.debug_nans(True),
    ):
        yield


@pytest.fixture(scope="module")
def small():
    return lj.linear_regression(np.eye(M)[:, None], np.ones((M, 1)))


@pytest.fixture(scope="module")
def logistic():
    return lj.logistic_regression(np.eye(M)[:, None], np.ones((M, 1)), l2=0.1)


CALLS = {
    "path": lambda p, q: lj.descend(p, lj.lag(M), num_iterations=40, accuracy=0.1),
    "steps": lambda p, q: lj.step(p, lj.lag(M), lj.init(p, lj.lag(M))),
    "run": lambda p, q: lj.complexity(lj.simulate(p, lj.lagc(M, G, 1), UNEQUAL, KEY, **FIT), 0.1),
    "coded": lambda p, q: lj.simulate(p, lj.gc(M, 2), EQUAL, KEY, exact_recovery=False, **FIT),
    "optimiser": lambda p, q: lj.simulate(
        q, lj.schemes.g_cada(M, G, xi=0.1), lj.Exponential(2), KEY, **FIT
    ),
    "minibatch": lambda p, q: lj.simulate(
        lj.problems.minibatch(q, 1, KEY), lj.schemes.stochastic_gc(M, 3, 2), EQUAL, KEY, **FIT
    ),
    "cluster": lambda p, q: lj.simulate(
        p, lj.schemes.first_decodable(M, 2),
        lj.delays.Failures(lj.delays.Bursty(EQUAL, [2.0] * M, 0.1, 0.1), [0.1] * M), KEY,
        cluster=lj.Cluster([1.0] * M, lj.Link(1.0), timeout=9.0), **FIT,
    ),
    "one realisation": lambda p, q: lj.simulate_batch(
        p, lj.lagc(M, G, 1), EQUAL, KEY, num_realisations=1, iterates=[1, 2], **FIT
    ),
    "paths of their own": lambda p, q: lj.simulate_batch(
        p, lj.schemes.fastest_k(M, 3), EQUAL, KEY, num_realisations=3, accuracies=[1.0, 1e-9],
        quantiles=[], **FIT,
    ),
    "updates": lambda p, q: lj.simulate_batch(
        p, lj.schemes.asynchronous(M), EQUAL, KEY, num_realisations=3, quantiles=[], **FIT
    ),
    "mean": lambda p, q: lj.expected_wall_clock(lj.lagc(M, G, 1), EQUAL, WORKING),
    "moments": lambda p, q: wall_clock_variance(lj.lagc(M, G, 1), UNEQUAL, WORKING),
    "network": lambda p, q: lj.problems.network_problem(
        np.ones((M, 1, 1)), np.zeros((M, 1), int), lj.problems.initial_network(KEY, (1, 2, 2)),
        l2=0.1, smoothness=np.ones(M),
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_strict_modes_change_nothing(small, logistic, call):
    expected = jax.tree.leaves(CALLS[call](small, logistic))
    with strict():
        found = jax.tree.leaves(CALLS[call](small, logistic))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_paths_that_stop_early_are_the_same_without_jit(small):
    arguments = dict(num_iterations=K, accuracy=1e-30)
    expected = lj.descend(small, lj.lag(M), **arguments)
    with jax.disable_jit():
        found = lj.descend(small, lj.lag(M), **arguments)
    np.testing.assert_array_equal(found.selected, expected.selected)
    np.testing.assert_allclose(found.gap, expected.gap, rtol=1e-12, atol=1e-15)


def test_nothing_is_known_of_the_spread_of_one_realisation(small):
    batch = CALLS["one realisation"](small, None)
    assert np.isinf(batch.variance).all()
    assert np.isinf(batch.costs.time.standard_error).all()
    assert np.isinf(batch.curve.variance).all()


WARNED = {
    "mean": lambda p: lj.expected_wall_clock(lj.gd(M), lj.Pareto(1.0, 1.0), np.ones((K, M), bool)),
    "mean, unequal": lambda p: lj.expected_wall_clock(
        lj.gd(M), lj.Pareto(1.0, np.ones(M)), np.ones((K, M), bool)
    ),
    "variance": lambda p: wall_clock_variance(lj.gd(M), lj.Pareto(1.0, 1.5), np.ones((K, M), bool)),
    "order statistic": lambda p: lj.law.order_statistic_mean(lj.Pareto(1.0, 1.0), 2, 2),
    "iteration": lambda p: lj.law.iteration_mean(lj.Pareto(1.0, 1.0), 2, 1, 1),
    "inside jit": lambda p: jax.jit(lambda: lj.law.iteration_mean(lj.Pareto(1.0, 1.0), 2, 1, 1))(),
    "costs": lambda p: lj.theory.iteration_costs(lj.gd(M), lj.Pareto(1.0, 1.0)),
    "expectation": lambda p: lj.theory.expected_complexity(
        lj.gd(M), lj.Pareto(1.0, 1.0), lj.descend(p, lj.gd(M), **FIT), 0.1
    ),
    "short trace": lambda p: lj.simulate(p, lj.gd(M), REPLAY, KEY, **FIT),
    "short trace of a batch": lambda p: lj.simulate_batch(
        p, lj.gd(M), REPLAY, KEY, num_realisations=1, **FIT
    ),
}
REPLAY = lj.Trace.from_array(np.ones((2, M)), resample="replay")


@pytest.mark.parametrize("call", WARNED)
def test_warnings_point_at_the_users_line(small, call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNED[call](small)
    assert caught
    assert {one.filename for one in caught} == {__file__}
