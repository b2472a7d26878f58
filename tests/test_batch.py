"""Many realisations: bounded memory, fixed blocks, common random numbers, batches by vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax
from lagc_jax.clock import clock_of
from lagc_jax.summary import BLOCK, constant, realise
from lagc_jax.times import DirectTimes

KEY, K = jax.random.key(11), 40
G_LAG = lagc_jax.g_lag(6, 2, xi=0.1, memory=4)
LAGC = lagc_jax.lagc(6, 2, 2, xi=0.1, memory=4)
EXPONENTIAL = lagc_jax.Exponential(1.0)
SIZE = BLOCK[DirectTimes]


def run(problem, scheme=LAGC, delays=EXPONENTIAL, count=100, **changes):
    settings = dict(num_iterations=K, accuracies=(1e-1, 1e-2), step_size=0.03) | changes
    return lagc_jax.simulate_batch(problem, scheme, delays, KEY, num_realisations=count, **settings)


def drawn(count):
    selected = jax.random.bernoulli(KEY, 0.6, (K, 2))
    times = clock_of(LAGC, lagc_jax.Pareto(1.0, 1.5)).along(selected)
    return realise(times, KEY, jnp.array([5, K]), True, jnp.array([0.5]), count, True)


def test_realisations_are_bit_for_bit_the_same_for_any_number_of_them():
    counts = (3, SIZE, SIZE + 1, 3 * SIZE)
    samples = [np.asarray(drawn(count).samples) for count in counts]
    for fewer, count in zip(samples, counts, strict=True):
        assert fewer.shape == (2, count)
        assert np.array_equal(fewer, samples[-1][:, :count])


def test_streamed_moments_are_those_of_the_samples():
    summary = drawn(SIZE + 100)
    samples = np.asarray(summary.samples)
    np.testing.assert_allclose(summary.mean, samples.mean(1), rtol=1e-12)
    np.testing.assert_allclose(summary.variance, samples.var(1, ddof=1), rtol=1e-12)
    error = samples.std(1, ddof=1) / np.sqrt(SIZE + 100)
    np.testing.assert_allclose(summary.standard_error, error, rtol=1e-12)
    np.testing.assert_allclose(summary.quantiles[:, 0], np.median(samples, 1), rtol=1e-12)


def test_without_quantiles_nothing_of_the_size_of_the_realisations_is_kept(problem):
    times = clock_of(LAGC, EXPONENTIAL).along(jnp.ones((K, 2), bool))
    none = jnp.zeros(0)

    def memory(count):
        lower = jax.jit(realise, static_argnames="num_realisations").lower
        program = lower(times, KEY, jnp.array([K]), True, none, num_realisations=count)
        return program.compile().memory_analysis().temp_size_in_bytes

    # The numbers of the blocks alone grow: 8 bytes each, 8 MB for one float64 a realisation.
    assert memory(1_000_000) - memory(2 * SIZE) < 20_000
    assert run(problem, quantiles=()).quantiles.shape == (2, 0)


def test_quantile_bounds_cover_the_true_quantile_as_often_as_they_say():
    # One iteration of one worker: the time is the delay itself. Of 400 intervals at 95 %, fewer
    # than 360 cover with probability below 1e-5 (binomial).
    times = clock_of(lagc_jax.gd(1), EXPONENTIAL).along(jnp.ones((1, 1), bool))
    levels = jnp.array([0.05, 0.5, 0.95])

    def bounds(key):
        return realise(times, key, jnp.array([1]), True, levels, 200).quantile_bounds[0]

    low, high = np.moveaxis(jax.vmap(bounds)(jax.random.split(KEY, 400)), 2, 0)
    truth = -np.log1p(-np.asarray(levels))
    covered = ((low <= truth) & (truth <= high)).sum(0)
    assert (covered >= 360).all(), covered


def test_too_few_realisations_bound_no_quantile(problem):
    bounds = run(problem, count=5, quantiles=(0.01, 0.99)).costs.time.quantile_bounds[0]
    assert bounds[0, 0] == 0
    assert np.isinf(bounds[1, 1])


def test_the_curve_is_the_cumulative_time_at_the_iterates_asked_for(problem):
    batch = run(problem, count=50, iterates=range(K + 1), keep_samples=True)
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(50))
    runs = jax.vmap(
        lambda key: lagc_jax.simulate(
            problem, LAGC, EXPONENTIAL, key, num_iterations=K, step_size=0.03
        )
    )(keys)
    assert batch.curve is not None
    # Same draws, added up in another order.
    np.testing.assert_allclose(batch.curve.samples.T, runs.wall_clock, rtol=1e-13)
    expected = lagc_jax.expected_wall_clock(LAGC, EXPONENTIAL, batch.selected)
    # Six standard errors at 41 dependent points: missed with probability below 1e-7.
    assert (abs(batch.curve.mean - expected) <= 6 * batch.curve.standard_error).all()


def test_common_random_numbers_shrink_the_error_of_a_difference(problem):
    def samples(scheme, key):
        batch = lagc_jax.simulate_batch(
            problem, scheme, lagc_jax.Pareto(1.0, 3.0), key, num_iterations=K,
            num_realisations=400, accuracies=(1e-2,), step_size=0.03, keep_samples=True,
        )  # fmt: skip
        return np.asarray(batch.costs.time.samples[0])

    first = samples(G_LAG, KEY)
    paired = (first - samples(LAGC, KEY)).std()
    independent = (first - samples(LAGC, jax.random.key(12))).std()
    assert paired < 0.6 * independent


@pytest.mark.parametrize("what", ["xi", "step_size", "rate", "problem"])
def test_a_batch_by_vmap_is_a_loop(problem, what):
    values = {"xi": [0.0, 0.1, 0.3], "step_size": [0.01, 0.03, 10.0], "rate": [0.5, 1.0, 2.0]}
    keys = jax.random.split(KEY, 3)
    problems = [lagc_jax.synthetic_linear_regression(key, 6, 8) for key in keys]

    def one(value):
        scheme = lagc_jax.lagc(6, 2, 2, value if what == "xi" else 0.1, 4)
        delays = lagc_jax.Exponential(value if what == "rate" else 1.0)
        step = value if what == "step_size" else 0.03
        data = value if what == "problem" else problem
        return run(data, scheme, delays, step_size=step)

    if what == "problem":
        batch = jax.vmap(one)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems))
        alone = [one(each) for each in problems]
    else:
        batch = jax.vmap(one)(jnp.array(values[what]))
        alone = [one(value) for value in values[what]]
    for i, each in enumerate(alone):
        np.testing.assert_array_equal(batch.selected[i], each.selected)
        np.testing.assert_allclose(batch.mean[i], each.mean, rtol=1e-12)
        np.testing.assert_allclose(batch.quantiles[i], each.quantiles, rtol=1e-12)


def test_a_single_number_is_a_list_of_one(problem):
    scheme, delays = lagc_jax.gd(6), lagc_jax.Exponential(1.0)
    sizes = dict(num_iterations=3, num_realisations=4)
    key = jax.random.key(0)
    one = dict(accuracies=1.0, quantiles=0.5, iterates=2)
    listed = {name: [value] for name, value in one.items()}
    alone = lagc_jax.simulate_batch(problem, scheme, delays, key, **sizes, **one)
    several = lagc_jax.simulate_batch(problem, scheme, delays, key, **sizes, **listed)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), alone, several))
    assert alone.quantiles.shape == (1, 1)


@pytest.mark.parametrize("sampler", ["direct", "workers"])
def test_times_that_overflow_are_infinite_not_undefined(sampler):
    ones = np.ones((4, 1), np.float32)
    problem = lagc_jax.linear_regression(ones[:, :, None], ones)
    # One time in 7000 is beyond float32: all sums of 20000 overflow but for a chance of 1e-5.
    delays = lagc_jax.Pareto(np.float32(1), np.float32(0.1))
    sizes = dict(num_iterations=20_000, num_realisations=5, sampler=sampler)
    more = dict(accuracies=(1e9,), iterates=(1, 20_000), keep_samples=True)
    curve = lagc_jax.simulate_batch(problem, lagc_jax.gd(4), delays, KEY, **sizes, **more).curve
    assert np.isfinite(curve.samples[0]).all()
    # Draws beyond the five fill up a block, and must not count.
    np.testing.assert_allclose(curve.mean[0], curve.samples[0].mean(), rtol=1e-5)
    assert np.isinf(curve.samples[1]).all()
    for statistic in (curve.mean[1], curve.variance[1], curve.quantiles[1]):
        assert np.isinf(statistic).all()


def test_means_of_many_paths_of_their_own_lose_nothing_in_float32():
    """Nobody is given up, so that every path is the same: its mean is itself."""
    with jax.enable_x64(False):
        problem = lagc_jax.linear_regression(np.eye(3)[:, None], [[1.1], [1.3], [1.7]])
        sizes = dict(num_iterations=1, num_realisations=50_000, accuracies=[1e-3], quantiles=[])
        batch = lagc_jax.simulate_batch(
            problem, lagc_jax.gd(3), lagc_jax.Exponential(1.0), jax.random.key(0), step_size=0.3,
            cluster=lagc_jax.Cluster(timeout=1e6), **sizes,
        )  # fmt: skip
        path = lagc_jax.descend(problem, lagc_jax.gd(3), num_iterations=1, step_size=0.3)
        np.testing.assert_allclose(batch.gap, path.gap, rtol=3e-7)


def test_costs_that_all_realisations_share_have_no_spread_where_they_are_known():
    shared = constant(np.array([3.0, np.inf]), 1)
    assert shared.variance.tolist() == shared.standard_error.tolist() == [0, np.inf]
