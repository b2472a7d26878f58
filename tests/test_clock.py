"""The clock: sampled times against loops over the same draws, and exact moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import stats

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.costs import accumulate, count_costs
from lagc_jax.times import sample_worker_times

M, K = 6, 5
# 1 < r < n with r below F (gc) and not below it (lagc), r = 1 < n, and both ends r = n and n = 1.
SCHEMES = {
    "gd": lj.gd(M),
    "gc": lj.gc(M, 2),
    "grouping": lj.grouping(M, 2),
    "lag": lj.lag(M),
    "lagc, no redundancy": lj.lagc(M, 2, 1),
    "lagc": lj.lagc(M, 2, 2),
    "g-lag": lj.g_lag(M, 3),
    "g-lag, worker": lj.g_lag(M, 2, trigger="worker"),
}
DELAYS = {
    "exponential": lj.Exponential(2.0),
    # r * shape > 4: the fourth moment is finite, so that sample means are close to normal.
    "pareto": lj.Pareto(0.5, 4.5),
}
PARAMETERS = {"exponential": (2.0,), "pareto": (0.5, 4.5)}
SAMPLES = 20_000


def some_selections(scheme):
    """A path (K, G) on which all groups, one group, none, and all but one are selected."""
    selected = np.ones((K, scheme.num_groups), bool)
    if scheme.adaptive:
        selected[1, 1:] = False
        selected[2] = False
        selected[3, 0] = False
    return selected


UNEQUAL = lj.Pareto(np.array([1, 1, 1, 1, 1, 50.0]), np.linspace(1.2, 3, M))


@pytest.mark.parametrize(
    ("name", "delays"),
    [(name, lj.Pareto(1.0, 1.5)) for name in SCHEMES]
    + [(name, UNEQUAL) for name in ("gd", "grouping", "lagc")],
)
def test_clock_is_that_of_loops_over_the_same_times(name, delays):
    scheme, key = SCHEMES[name], jax.random.key(5)
    selected = some_selections(scheme)
    clock = clock_of(scheme, delays, sampler="workers").along(jnp.asarray(selected))
    times = np.asarray(sample_worker_times(delays, key, K, M))
    expected = reference.wall_clock(times, selected, scheme.redundancy, scheme.trigger.name)
    # Sums of 5 times, rounded.
    np.testing.assert_allclose(accumulate(jax.jit(clock.whole)(key)), expected, rtol=1e-14)


@pytest.mark.parametrize("name", SCHEMES)
def test_messages_and_gradients_are_counted_exactly(name):
    scheme = SCHEMES[name]
    selected = some_selections(scheme)
    expected = reference.costs(selected, M, scheme.redundancy, scheme.trigger.name)
    for counted, count in zip(count_costs(scheme, jnp.asarray(selected)), expected, strict=True):
        assert jnp.issubdtype(counted.dtype, jnp.integer)
        assert np.array_equal(counted, count)


@pytest.mark.parametrize("name", SCHEMES)
def test_expected_clock_and_its_variance_are_sums_of_iteration_moments(name):
    scheme = SCHEMES[name]
    selected = some_selections(scheme)

    @jax.jit
    def moments(delays):
        mean = lj.expected_wall_clock(scheme, delays, selected)
        return mean, lj.theory.wall_clock_variance(scheme, delays, selected)

    for family, parameters in PARAMETERS.items():
        expected = reference.expected_clock(
            family, parameters, selected, M, scheme.redundancy, scheme.trigger.name
        )
        for moment, value in zip(moments(DELAYS[family]), expected, strict=True):
            np.testing.assert_allclose(moment, value, rtol=1e-10)


@pytest.mark.parametrize("name", SCHEMES)
def test_both_samplers_have_the_exact_distribution(name):
    scheme = SCHEMES[name]
    selected = some_selections(scheme)
    # The workers' clock is a function of their times, above: three of the schemes suffice.
    samplers = ["direct", "workers"] if name in ("gc", "lagc", "g-lag, worker") else ["direct"]

    @jax.jit
    def draw(keys):
        def one(key, delays, sampler):
            return accumulate(
                clock_of(scheme, delays, sampler=sampler).along(jnp.asarray(selected)).whole(key)
            )

        return {
            (family, sampler): jax.vmap(lambda key, s=sampler, d=delays: one(key, d, s))(keys)
            for family, delays in DELAYS.items()
            for sampler in samplers
        }

    for (family, _), clock in draw(jax.random.split(jax.random.key(11), SAMPLES)).items():
        clock = np.asarray(clock)
        moments = reference.expected_clock(
            family, PARAMETERS[family], selected, M, scheme.redundancy, scheme.trigger.name
        )
        mean, variance = moments[0][-1], moments[1][-1]
        # 4.9 standard errors: a two-sided normal level of 1e-6 a check.
        assert abs(clock[:, -1].mean() - mean) < 4.9 * np.sqrt(variance / SAMPLES)
        # Dvoretzky-Kiefer-Wolfowitz: the distance exceeds this with probability below 1e-6.
        largest = np.sqrt(np.log(2 / 1e-6) / (2 * SAMPLES))
        law = {"exponential": stats.expon(scale=1 / 2.0), "pareto": stats.pareto(4.5, scale=0.5)}
        for k in (0, 1):  # all groups selected; one group selected
            s = int(scheme.working(jnp.asarray(selected))[k].sum())
            distance = stats.ks_1samp(
                clock[:, k + 1] - clock[:, k],
                reference.iteration_cdf,
                args=(law[family].cdf, s, scheme.group_size, scheme.redundancy),
            ).statistic
            assert distance < largest


@pytest.mark.parametrize("sampler", ["direct", "workers"])
def test_an_iteration_that_selects_no_group_takes_no_time(sampler):
    idle = jnp.zeros((2, 2), bool)
    times = clock_of(lj.lagc(M, 2, 2), DELAYS["pareto"], sampler=sampler).along(idle)
    clock = accumulate(jax.jit(times.whole)(jax.random.key(0)))
    assert np.array_equal(clock, np.zeros(3))


def test_parameters_of_shape_m_slow_down_one_worker_alone():
    key, rates = jax.random.key(2), np.array([1, 1, 1, 1, 1, 0.01])
    times = sample_worker_times(lj.Exponential(1.0), key, K, M)
    slowed = sample_worker_times(lj.Exponential(rates), key, K, M)
    np.testing.assert_allclose(slowed, times / rates, rtol=1e-15)


def test_an_infinite_mean_is_inf_and_warned_of():
    selected = np.array([[True, False], [False, False], [True, True]])
    with pytest.warns(RuntimeWarning, match="mean"):
        clock = lj.expected_wall_clock(lj.lagc(M, 2, 2), lj.Pareto(1.0, 0.4), selected)
    assert np.array_equal(clock, [0, np.inf, np.inf, np.inf])


def test_a_heavy_tail_has_a_finite_mean_and_an_infinite_variance():
    delays, selected = lj.Pareto(1.0, 1.5), np.ones((2, M), bool)
    assert np.isfinite(lj.expected_wall_clock(lj.gd(M), delays, selected)).all()
    with pytest.warns(RuntimeWarning, match="variance"):
        variance = lj.theory.wall_clock_variance(lj.gd(M), delays, selected)
    assert np.array_equal(variance, [0, np.inf, np.inf])


def test_expected_clock_can_be_batched_over_the_delays():
    scheme = SCHEMES["lagc"]
    selected, shapes = some_selections(scheme), np.array([1.5, 2.5, 4.0])

    def clock(shape):
        return lj.expected_wall_clock(scheme, lj.Pareto(1.0, shape), selected)

    together = jax.jit(jax.vmap(clock))(shapes)
    for shape, batched in zip(shapes, together, strict=True):
        np.testing.assert_allclose(batched, clock(shape), rtol=1e-13)
