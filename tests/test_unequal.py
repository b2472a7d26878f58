"""Exact moments for workers that differ and for times that jump, against brute force and draws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import lagc_jax as lj
from lagc_jax import Exponential, Pareto
from lagc_jax.clock import clock_of
from lagc_jax.delays import Discrete, Gamma, Hyperexponential, Lognormal, Weibull
from lagc_jax.theory import expected_complexity
from lagc_jax.times import sample_worker_times

M = 6
PATHS = np.array([[True, True], [True, False], [False, True], [False, False]])
SCHEMES = {r: lj.lagc(M, 2, r) for r in (1, 2, 3)}
RATES = np.array([1.0, 2.0, 0.1, 1.0, 30.0, 5.0])
FAMILIES = {
    "exponential": Exponential(RATES),
    "pareto": Pareto(1 / RATES, np.linspace(2.2, 6, M)),
    "weibull": Weibull(1 / RATES, np.array([0.5, 1.0, 9.0, 0.7, 2.0, 1.3])),
    "lognormal": Lognormal(-np.log(RATES), np.linspace(0.2, 1.5, M)),
    "gamma": Gamma(1 / RATES, np.array([0.3, 1.0, 2.0, 40.0, 7.5, 1.5])),
    "hyperexponential": Hyperexponential(100 * RATES, RATES, np.linspace(0.01, 0.2, M)),
}


@jax.jit
def moments(scheme, delays):
    """Mean and variance of the iterations of PATHS, in one program."""
    mean = lj.expected_wall_clock(scheme, delays, PATHS)
    return jnp.diff(mean), jnp.diff(lj.theory.wall_clock_variance(scheme, delays, PATHS))


def late(survival, r):
    """P(at least r of the group's workers are not done), by all sets of workers."""
    n = len(survival)
    total = 0.0
    for size in range(r, n + 1):
        for busy in itertools.combinations(range(n), size):
            total += np.prod([survival[i] if i in busy else 1 - survival[i] for i in range(n)])
    return total


def brute_force(survival, row, r, knots):
    """Mean and variance of an iteration's time by SciPy over all sets of workers."""

    def exceeds(t):
        by_worker = survival(t / r)
        groups = [late(by_worker[3 * g : 3 * g + 3], r) for g in range(2) if row[g]]
        return sum(groups) - (np.prod(groups) if row.all() else 0)

    def moment(power):
        # Over the logarithm of t, so that every scale is resolved.
        parts = [
            integrate.quad(
                lambda y: power * np.exp(power * y) * exceeds(np.exp(y)), a, b, epsrel=1e-11
            )[0]
            for a, b in itertools.pairwise(np.log(knots))
        ]
        return sum(parts) + knots[0] ** power

    mean = moment(1)
    return mean, moment(2) - mean**2


@pytest.mark.parametrize("r", [1, 2])
@pytest.mark.parametrize(
    ("name", "survival"),
    [
        ("exponential", lambda t: np.exp(-RATES * t)),
        ("pareto", lambda t: np.minimum(1, t * RATES) ** 0 * np.maximum(1, t * RATES)
            ** -np.linspace(2.2, 6, M)),
        ("hyperexponential", lambda t: (1 - np.linspace(0.01, 0.2, M)) * np.exp(-100 * RATES * t)
            + np.linspace(0.01, 0.2, M) * np.exp(-RATES * t)),
    ],
)  # fmt: skip
def test_moments_are_those_of_brute_force(name, survival, r):
    mean, variance = moments(SCHEMES[r], FAMILIES[name])
    # Beyond the last knot lie 1e-15 of the means.
    kinks = 1 / RATES if name == "pareto" else np.empty(0)
    last = 1e14 if name == "pareto" else 4e3
    knots = np.sort(np.concatenate([np.logspace(-14, np.log10(last), 30), r * kinks]))
    for k in range(3):
        expected, spread = brute_force(survival, PATHS[k], r, knots)
        np.testing.assert_allclose(mean[k], expected, rtol=1e-10)
        if name != "pareto" or r > 1:
            np.testing.assert_allclose(variance[k], spread, rtol=1e-9)  # difference of moments
    assert mean[3] == variance[3] == 0


# Gamma, whose moments take seconds to compile, is compared with draws below.
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "gamma"])
def test_equal_parameters_give_the_moments_of_identical_delays(name):
    delays = jax.tree.map(lambda leaf: float(leaf[3]), FAMILIES[name])
    spread = jax.tree.map(lambda leaf: np.full(M, leaf), delays)
    expected = moments(SCHEMES[2], delays)
    np.testing.assert_allclose(moments(SCHEMES[2], spread), expected, rtol=1e-11)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "pareto"])
def test_moments_are_those_of_draws(name):
    """Four standard errors, 6e-5 two-sided a check; the key is fixed."""
    scheme, delays = SCHEMES[2], FAMILIES[name]
    R = 2_500 if name == "gamma" else 10_000  # whose draws are slow
    selected = jnp.ones((R, 2), bool)
    times = jax.jit(clock_of(scheme, delays, sampler="workers").along(selected).whole)(
        jax.random.key(4)
    )
    mean, variance = (values[0] for values in moments(scheme, delays))
    assert abs(times.mean() - mean) < 4 * np.sqrt(variance / R)
    error = np.std((times - mean) ** 2) / np.sqrt(R)
    assert abs(np.mean((times - mean) ** 2) - variance) < 4 * error


def enumerate_discrete(values, weights, r, row):
    """Mean and variance over all joint outcomes of the workers."""
    first = second = 0.0
    for outcome in itertools.product(range(values.shape[1]), repeat=M):
        tau = [values[m, j] for m, j in enumerate(outcome)]
        weight = np.prod([weights[m, j] for m, j in enumerate(outcome)])
        groups = [sorted(tau[3 * g : 3 * g + 3])[3 - r] for g in range(2) if row[g]]
        time = r * max(groups)
        first, second = first + weight * time, second + weight * time**2
    return first, second - first**2


@pytest.mark.parametrize("r", SCHEMES)
@pytest.mark.parametrize("unequal", [False, True])
def test_discrete_moments_are_finite_sums(r, unequal):
    rng = np.random.default_rng(0)
    values, weights = rng.uniform(1, 5, (M, 3)), rng.dirichlet(np.ones(3), M)
    if not unequal:
        values, weights = np.tile(values[0], (M, 1)), np.tile(weights[0], (M, 1))
    delays = Discrete(values, weights) if unequal else Discrete(values[0], weights[0])
    mean, variance = moments(SCHEMES[r], delays)
    for k in range(2):
        expected, spread = enumerate_discrete(values, weights, r, PATHS[k])
        np.testing.assert_allclose(mean[k], expected, rtol=1e-12)
        np.testing.assert_allclose(variance[k], spread, rtol=1e-11)


def test_an_infinite_moment_is_recognised_from_the_heaviest_workers():
    shapes = np.array([0.4, 0.61, 9.0, 5.0, 5.0, 5.0])
    delays = Pareto(1.0, shapes)
    mean = np.diff(lj.expected_wall_clock(SCHEMES[2], delays, PATHS[:3]))
    assert np.isfinite(mean).all()  # 0.4 + 0.61 > 1
    with pytest.warns(RuntimeWarning, match=r"variance .* F \+ 1 = 2 .* add up to 1.01 <= 2"):
        variance = lj.theory.wall_clock_variance(SCHEMES[2], delays, PATHS[2:0:-1])
    assert np.isfinite(variance[1])
    assert np.isinf(variance[2])
    with pytest.warns(RuntimeWarning, match=r"mean .* F \+ 1 = 1 .* add up to 0.4 <= 1"):
        clock = lj.expected_wall_clock(SCHEMES[1], delays, PATHS[2:0:-1])
    assert np.isfinite(clock[1])
    assert np.isinf(clock[2])


def test_tail_indices_may_be_whole_numbers():
    clock, same = (
        lj.expected_wall_clock(lj.gc(2, 1), Pareto([1, 1], shape), [[True]])
        for shape in ([3, 3], [3.0, 3.0])
    )
    assert np.array_equal(clock, same)


def test_a_mean_that_is_barely_finite_is_exact():
    """One group of two, r = 2: the fastest of two Pareto times is Pareto of the summed shape."""
    shapes = np.array([0.4, 0.601])
    clock = lj.expected_wall_clock(lj.gc(2, 2), Pareto(1.0, shapes), [[True]])
    np.testing.assert_allclose(clock[1], 2 * 1.001 / 0.001, rtol=1e-9)


def test_moments_trace_and_batch():
    def clock(scale):
        return lj.expected_wall_clock(SCHEMES[2], Exponential(RATES * scale), PATHS)

    batched = jax.jit(jax.vmap(clock))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(batched[0], clock(1.0), rtol=1e-12)
    np.testing.assert_allclose(batched[1], clock(1.0) / 2, rtol=1e-12)


def test_float32_moments_agree_with_float64():
    single = Exponential(RATES.astype(np.float32))
    mean = lj.expected_wall_clock(SCHEMES[2], single, PATHS)
    assert mean.dtype == jnp.float32
    exact = lj.expected_wall_clock(SCHEMES[2], FAMILIES["exponential"], PATHS)
    np.testing.assert_allclose(mean, exact, rtol=1e-5)  # logarithms of up to 40, rounded


def test_expected_complexity_takes_unequal_workers(problem):
    path = lj.descend(problem, SCHEMES[2], num_iterations=20)
    delays = FAMILIES["exponential"]
    expected = expected_complexity(SCHEMES[2], delays, path, float(path.gap[5]))
    clock = lj.expected_wall_clock(SCHEMES[2], delays, path.selected)
    np.testing.assert_allclose(expected.mean, clock[int(expected.iterations)], rtol=1e-12)


def test_worker_times_of_a_support_a_worker_are_its_values():
    values = np.arange(1.0, 2 * M + 1).reshape(M, 2)
    times = np.asarray(sample_worker_times(Discrete(values), jax.random.key(0), 50, M))
    assert ((times[..., None] == values).any(-1)).all()
