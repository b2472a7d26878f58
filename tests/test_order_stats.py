"""Order statistics against closed forms, SciPy's quadrature and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import special, stats

from lagc_jax import Exponential, Pareto
from lagc_jax.law import (
    iteration_cdf,
    iteration_mean,
    iteration_variance,
    order_statistic_mean,
    order_statistic_variance,
)
from lagc_jax.times import sample_iteration_times

SIZES = [
    (rank, n)
    for n in (1, 3, 12, 250)
    for rank in sorted({1, 2, n // 2, n - 1, n})
    if 1 <= rank <= n
]
LEVEL = 1e-3  # of the Kolmogorov-Smirnov tests; keys are fixed, so a test that passes keeps passing


def pareto_moment(scale, shape, rank, n, order=1):
    """`E[tau^order]` of the rank-th smallest of n (OS)."""
    k = order / shape
    log_ratio = (
        special.gammaln(n + 1)
        - special.gammaln(n - rank + 1)
        + special.gammaln(n - rank + 1 - k)
        - special.gammaln(n + 1 - k)
    )
    return scale**order * np.exp(log_ratio)


def order_statistic(delays, rank, n):
    """Mean and variance."""
    mean = order_statistic_mean(delays, rank, n)
    return mean, order_statistic_variance(delays, rank, n)


@pytest.mark.parametrize(("rank", "n"), SIZES)
def test_order_statistics_are_sums_of_spacings_and_ratios_of_gamma_functions(rank, n):
    rates = 2.5 * np.arange(n - rank + 1, n + 1)
    mean, variance = order_statistic(Exponential(2.5), rank, n)
    np.testing.assert_allclose(mean, (1 / rates).sum(), rtol=1e-13)
    np.testing.assert_allclose(variance, (1 / rates**2).sum(), rtol=1e-13)
    expected, square = (pareto_moment(3.0, 2.5, rank, n, order) for order in (1, 2))
    mean, variance = order_statistic(Pareto(3.0, 2.5), rank, n)
    # The reference itself cancels logarithms of up to 1,000, rounded to 1e-13, and its variance is
    # a difference of moments. One worker and a shape of 2.5 have a finite variance.
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    rtol = 1e-12 * max(1, square / variance)
    np.testing.assert_allclose(variance, square - expected**2, rtol=rtol)


@pytest.mark.parametrize(("rank", "n"), [(1, 1), (2, 2), (12, 12), (7, 12)])
def test_pareto_means_with_an_infinite_variance(rank, n):
    expected = pareto_moment(3.0, 1.05, rank, n)
    mean = order_statistic_mean(Pareto(3.0, 1.05), rank, n)
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


def harmonic(s, power=1):
    return np.array([(1 / np.arange(1, k + 1.0) ** power).sum() for k in np.atleast_1d(s)])


@pytest.mark.parametrize("n", [1, 3, 12])
def test_iteration_moments_with_full_redundancy_have_closed_forms(n):
    s = np.arange(0, 30)
    exponential, pareto = Exponential(2.0), Pareto(3.0, 4.5)
    np.testing.assert_allclose(iteration_mean(exponential, n, n, s), harmonic(s) / 2.0, rtol=1e-13)
    variance = iteration_variance(exponential, n, n, s)
    np.testing.assert_allclose(variance, harmonic(s, 2) / 4.0, rtol=1e-13)
    # The fastest of n is Pareto(scale, n shape), the maximum of s of them its s-th smallest.
    mean = n * pareto_moment(3.0, n * 4.5, s[1:], s[1:])
    square = n**2 * pareto_moment(3.0, n * 4.5, s[1:], s[1:], order=2)
    np.testing.assert_allclose(iteration_mean(pareto, n, n, s)[1:], mean, rtol=1e-12)
    # The reference is a difference of moments, for n = 12 up to 3,000 times as large.
    np.testing.assert_allclose(iteration_variance(pareto, n, n, s)[1:], square - mean**2, rtol=1e-9)


LAWS = [(Exponential(2.0), stats.expon(scale=0.5)), (Pareto(3.0, 1.5), stats.pareto(1.5, scale=3))]
SHAPES = [(4, 2, 1), (4, 2, 3), (12, 5, 1), (6, 3, 2), (12, 11, 5), (30, 4, 8)]


@pytest.mark.parametrize(("n", "r", "s"), SHAPES)
@pytest.mark.parametrize(("delays", "law"), LAWS)
def test_iteration_moments_agree_with_quadrature(delays, law, n, r, s):
    mean, variance = reference.moments_by_quadrature(law.isf, n, r, s)
    # SciPy's inverse of the incomplete beta function is good to some 1e-13.
    np.testing.assert_allclose(iteration_mean(delays, n, r, s), mean, rtol=1e-11)
    np.testing.assert_allclose(iteration_variance(delays, n, r, s), variance, rtol=1e-11)


@pytest.mark.parametrize(("n", "r", "s"), [*SHAPES, (5, 1, 2), (5, 5, 4)])
@pytest.mark.parametrize(("delays", "law"), LAWS)
def test_iteration_cdf_is_the_beta_law_of_order_statistics(delays, law, n, r, s):
    time = r * law.ppf(np.linspace(0.0, 0.999, 25))
    expected = special.betainc(n - r + 1, r, law.cdf(time / r)) ** s
    np.testing.assert_allclose(
        iteration_cdf(delays, time, n, r, s), expected, rtol=1e-10, atol=1e-14
    )


def test_no_selected_group_takes_no_time():
    for delays in (Exponential(1.0), Pareto(1.0, 3.0)):
        assert float(iteration_mean(delays, 4, 2, 0)) == 0
        assert float(iteration_variance(delays, 4, 2, 0)) == 0
        assert iteration_mean(delays, 4, 2, jnp.array([0, 1])).shape == (2,)
    working = jnp.zeros((3, 2), bool)
    for r in (1, 2, 4):
        times = sample_iteration_times(Pareto(1.0, 3.0), jax.random.key(0), 4, r, working)
        np.testing.assert_array_equal(times, 0)


MOMENTS = {
    1: ("mean", iteration_mean, order_statistic_mean),
    2: ("variance", iteration_variance, order_statistic_variance),
}


@pytest.mark.parametrize("power", MOMENTS)
@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("excess", [-1e-3, 0.0, 1e-3])
def test_moments_are_finite_exactly_above_their_tail_index(power, r, excess):
    word, of_iteration, of_one = MOMENTS[power]
    delays, rank = Pareto(1.0, (power + excess) / r), 3 - r + 1
    if r * delays.shape > power:
        # 3 workers, F-th smallest: close to the pole the closed form is the same ratio.
        mean, square = (pareto_moment(1.0, delays.shape, rank, 3, order) for order in (1, 2))
        expected = r * mean if power == 1 else r**2 * (square - mean**2)
        np.testing.assert_allclose(of_iteration(delays, 3, r, 1), expected, rtol=1e-9)
        return
    with pytest.warns(RuntimeWarning, match=rf"{word} .* infinite: r \* shape = \S+ <= {power}"):
        assert jnp.isposinf(of_iteration(delays, 3, r, 1))
    with pytest.warns(RuntimeWarning, match=r"r \* shape"):
        assert jnp.isposinf(of_one(delays, rank, 3))
    if power == 2:  # without a warning
        assert jnp.isfinite(iteration_mean(delays, 3, r, 1))


def test_moments_run_inside_jit_and_vmap_over_parameters():
    shapes = jnp.array([0.9, 1.5, 3.0])

    @jax.jit
    @jax.vmap
    def means(shape):
        return iteration_mean(Pareto(2.0, shape), 4, 1, jnp.array([1, 3]))

    batched = means(shapes)
    assert jnp.isposinf(batched[0]).all()
    for i in (1, 2):
        expected = iteration_mean(Pareto(2.0, float(shapes[i])), 4, 1, jnp.array([1, 3]))
        np.testing.assert_allclose(batched[i], expected, rtol=1e-12)


# (n, r) covers the closed-form draws (r = 1, r = n) and both ends of spacings: F <= r and F > r.
@pytest.mark.parametrize(("n", "r"), [(5, 1), (4, 4), (6, 4), (9, 3)])
@pytest.mark.parametrize("delays", [delays for delays, _ in LAWS])
def test_draws_follow_the_distribution_of_the_iteration_time(delays, n, r):
    for s in (1, 3):
        working = jnp.tile(jnp.arange(3) < s, (20_000, 1))
        times = sample_iteration_times(delays, jax.random.key(s), n, r, working)
        law = stats.kstest(np.asarray(times), lambda t, s=s: iteration_cdf(delays, t, n, r, s))
        assert law.pvalue > LEVEL


@pytest.mark.parametrize(("n", "r"), [(5, 1), (4, 4), (6, 4), (9, 3)])
def test_draws_of_a_longer_path_begin_with_those_of_the_shorter(n, r):
    working = jax.random.bernoulli(jax.random.key(7), 0.5, (50, 3))
    key, delays = jax.random.key(0), Pareto(1.0, 1.5)
    long = sample_iteration_times(delays, key, n, r, working)
    short = sample_iteration_times(delays, key, n, r, working[:20])
    np.testing.assert_array_equal(short, long[:20])


@pytest.mark.parametrize(
    "call",
    [
        lambda delays: order_statistic_mean(delays, 1, 2),
        lambda delays: order_statistic_variance(delays, 1, 2),
        lambda delays: iteration_mean(delays, 2, 1, 1),
        lambda delays: iteration_variance(delays, 2, 1, 1),
        lambda delays: iteration_cdf(delays, 1.0, 2, 1, 1),
        lambda delays: sample_iteration_times(
            delays, jax.random.key(0), 2, 1, jnp.ones((3, 2), bool)
        ),
    ],
)
def test_worker_dependent_delays_are_refused(call):
    with pytest.raises(ValueError, match=r"delays=.* differ between workers"):
        call(Exponential(jnp.array([1.0, 2.0])))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: order_statistic_mean(d, 3, 2), "rank=3 exceeds num_samples=2; give"),
        (lambda d: order_statistic_mean(d, 0, 2), "rank=0 is too small; give"),
        (lambda d: order_statistic_variance(d, 1, 2.5), "num_samples=2.5 is not a whole number"),
        (lambda d: iteration_mean(d, 2, 3, 1), "redundancy=3 exceeds group_size=2; give"),
        (lambda d: iteration_cdf(d, 1.0, 2, 0, 1), "redundancy=0 is too small; give"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(Exponential(1.0))


def test_float32_delays_give_float32_moments():
    delays = Pareto(jnp.float32(3.0), jnp.float32(1.5))
    s = jnp.arange(1, 6)
    mean = iteration_mean(delays, 12, 5, s)
    assert mean.dtype == jnp.float32
    # Logarithms of the masses reach -60: rounded to 4e-6 in float32.
    np.testing.assert_allclose(mean, iteration_mean(Pareto(3.0, 1.5), 12, 5, s), rtol=1e-5)
