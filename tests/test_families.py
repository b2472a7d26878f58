"""The further families of computing times against SciPy's distributions and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import special, stats

from lagc_jax import Exponential, Pareto, _keys
from lagc_jax._keys import survival_uniforms
from lagc_jax.delays import (
    Discrete,
    Gamma,
    Hyperexponential,
    Lognormal,
    ShiftedExponential,
    Weibull,
)
from lagc_jax.law import iteration_cdf, iteration_mean, iteration_variance, order_statistic_mean
from lagc_jax.times import sample_iteration_times, sample_worker_times

LAWS = [
    (Exponential(2.0), stats.expon(scale=0.5)),
    (Pareto(3.0, 1.5), stats.pareto(1.5, scale=3.0)),
    (Pareto(0.5, 0.7), stats.pareto(0.7, scale=0.5)),
    (ShiftedExponential(0.5, 2.0), stats.expon(0.5, 0.5)),
    (Weibull(2.0, 0.5), stats.weibull_min(0.5, scale=2.0)),
    (Weibull(2.0, 5.0), stats.weibull_min(5.0, scale=2.0)),
    (Lognormal(-0.5, 1.5), stats.lognorm(1.5, scale=np.exp(-0.5))),
    (Lognormal(2.0, 0.1), stats.lognorm(0.1, scale=np.exp(2.0))),
    (Gamma(2.0, 0.3), stats.gamma(0.3, scale=2.0)),
    (Gamma(2.0, 40.0), stats.gamma(40.0, scale=2.0)),
]
LATER = LAWS[3:]
SIMPLE = Exponential, Pareto
MIXTURES = [(2.0, 0.2, 0.1), (2.0, 2e-3, 1e-3), (1.0, 1.0, 0.5), (2.0, 1.0, 0.0), (2.0, 1.0, 1.0)]
EVERY = [delays for delays, _ in LAWS] + [Hyperexponential(*MIXTURES[0])]
# Level of the Kolmogorov-Smirnov tests; keys are fixed.
LEVEL = 1e-3
# Compiled whole, which takes less than compiling every operation of theirs.
survival = jax.jit(lambda delays, time: delays.survival(time))
quantile = jax.jit(lambda delays, probability: delays.quantile(probability))
hazard_of = jax.jit(lambda delays, time: delays.hazard(time))
inverse_hazard = jax.jit(lambda delays, hazard: delays.inverse_hazard(hazard))
log_inverse_hazard = jax.jit(lambda delays, hazard: delays.log_inverse_hazard(hazard))
sample = jax.jit(lambda delays, key, shape: delays.sample(key, shape), static_argnums=2)


def moments(delays, n, r, s):
    """Mean and variance of an iteration's time, of all sizes in one program."""
    return iteration_mean(delays, n, r, s), iteration_variance(delays, n, r, s)


@pytest.mark.parametrize(("dtype", "last"), [(np.float64, 65), (np.float32, 33)])
@pytest.mark.parametrize(("delays", "law"), LAWS)
def test_times_are_those_of_the_law_down_to_the_smallest_survival(delays, law, dtype, last):
    """Float32's 2e-5: an incomplete gamma of shape 40 rounds logarithms of 100."""
    rtol = (1e-12, 2e-5) if not isinstance(delays, SIMPLE) else (1e-13, 4e-6)
    rtol = rtol[dtype == np.float32]
    delays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), delays)
    above, below = 2.0 ** -np.arange(1, last + 1.0), 2.0 ** -np.arange(2, 30.0)
    hazard = np.concatenate([-np.log1p(-below), -np.log(above)]).astype(dtype)
    exact = np.concatenate([law.ppf(-np.expm1(-np.float64(hazard[:28]))),
                            law.isf(np.exp(-np.float64(hazard[28:])))])  # fmt: skip
    times, logs = inverse_hazard(delays, hazard), log_inverse_hazard(delays, hazard)
    assert times.dtype == logs.dtype == dtype
    np.testing.assert_allclose(times, exact, rtol=rtol)
    np.testing.assert_allclose(logs, np.log(exact), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("delays", "law"), LAWS)
def test_survival_hazard_and_quantile_are_those_of_the_law(delays, law):
    rtol = 1e-13 if isinstance(delays, SIMPLE) else 1e-12
    time = law.ppf(np.array([1e-6, 0.1, 0.5, 0.9, 1 - 1e-9]))
    np.testing.assert_allclose(survival(delays, time), law.sf(time), rtol=rtol)
    np.testing.assert_allclose(np.exp(-hazard_of(delays, time)), law.sf(time), rtol=rtol)
    probability = np.array([0.0, 1e-9, 0.1, 0.5, 0.999, 1 - 1e-12, 1.0])
    np.testing.assert_allclose(quantile(delays, probability), law.ppf(probability), rtol=rtol)
    ends = np.array([-1.0, 0.0, np.inf])
    np.testing.assert_array_equal(survival(delays, ends), [1.0, 1.0, 0.0])
    assert delays.tail_index == (delays.shape if isinstance(delays, Pareto) else jnp.inf)


def test_log_inverse_hazard_is_finite_where_the_time_overflows():
    delays = Pareto(1.0, 1e-3)
    assert jnp.isinf(inverse_hazard(delays, 10.0))
    assert float(log_inverse_hazard(delays, 10.0)) == pytest.approx(1e4)


@pytest.mark.parametrize(("dtype", "smallest"), [(jnp.float32, 2.0**-33), (jnp.float64, 2.0**-65)])
def test_survival_uniforms_are_in_the_half_open_interval(dtype, smallest, monkeypatch):
    draws = np.asarray(survival_uniforms(jax.random.key(0), (100_000,), dtype), np.float64)
    assert draws.min() >= smallest
    assert draws.max() <= 1
    assert stats.kstest(draws, "uniform").pvalue > LEVEL
    for fill, expected in ((0, smallest), (-1, 1.0)):  # the smallest and the largest words

        def bits(key, shape, word, fill=fill):
            return jnp.full(shape, fill % 2 ** jnp.iinfo(word).bits, word)

        monkeypatch.setattr(_keys, "bits", bits)
        assert float(survival_uniforms(jax.random.key(0), (), dtype)) == expected


def test_every_worker_has_its_own_law():
    rate = np.array([0.5, 1.0, 4.0])
    delays, mixed = Exponential(rate), Pareto(1.0, np.array([1.5, 2.0]))
    assert not delays.identical
    assert not mixed.identical
    times = np.asarray(sample(delays, jax.random.key(1), (5_000, 3)))
    for worker in range(3):
        assert (
            stats.kstest(times[:, worker], stats.expon(scale=1 / rate[worker]).cdf).pvalue > LEVEL
        )
    np.testing.assert_allclose(quantile(delays, 0.5), np.log(2) / rate, rtol=1e-13)
    np.testing.assert_allclose(survival(mixed, 4.0), [1 / 8, 1 / 16], rtol=1e-13)
    # As pytrees they are batched by vmap.
    medians = jax.jit(jax.vmap(lambda rate: Exponential(rate).quantile(0.5)))(rate)
    np.testing.assert_allclose(medians, np.log(2) / rate, rtol=1e-13)
    late = jax.vmap(survival, in_axes=(0, None))(Pareto(np.ones(2), mixed.shape), 4.0)
    np.testing.assert_allclose(late, [1 / 8, 1 / 16], rtol=1e-13)


@pytest.mark.parametrize("parameters", MIXTURES)
def test_hyperexponential_is_a_mixture_of_exponentials(parameters):
    rate, slow_rate, share = parameters
    delays = Hyperexponential(*parameters)
    time = np.array([0.0, 1e-9, 0.3, 2.0, 7.0, 30.0])
    mixture = (1 - share) * np.exp(-rate * time) + share * np.exp(-slow_rate * time)
    np.testing.assert_allclose(survival(delays, time), mixture, rtol=1e-13)
    # The hazard is nearly flat where slow draws take over: compare hazards, not times.
    hazard = np.concatenate([2.0 ** -np.arange(1, 40.0), np.linspace(0.5, 45.1, 300)])
    np.testing.assert_allclose(
        hazard_of(delays, inverse_hazard(delays, hazard)), hazard, rtol=1e-13
    )
    single = jax.tree.map(jnp.float32, delays)
    times = inverse_hazard(single, jnp.asarray(hazard, jnp.float32))
    np.testing.assert_allclose(hazard_of(single, times), hazard, rtol=2e-6)


@pytest.mark.parametrize("delays", [Hyperexponential(1.7, 0.14, 0.3)])
def test_inverses_carry_second_derivatives(delays):
    """By the hazard, and by a factor of all parameters; the first is checked below."""

    def time(point):
        step, x = point
        return jax.tree.map(lambda leaf: leaf * (1 + step), delays).inverse_hazard(x)

    point, slope = np.array([0.0, 1.3]), jax.jit(jax.grad(time))
    found = jax.jit(jax.hessian(time))(point)
    rows = [(slope(point + d) - slope(point - d)) / 2e-6 for d in 1e-6 * np.eye(2)]
    np.testing.assert_allclose(found, rows, rtol=1e-6)


@pytest.mark.parametrize("delays", EVERY)
def test_inverses_carry_derivatives_by_the_parameters(delays):
    def time(step, x):
        return jax.tree.map(lambda leaf: leaf * (1 + step), delays).inverse_hazard(x)

    slope = jax.jit(jax.grad(time))(0.0, 1.3)
    after, before = jax.jit(jax.vmap(time, in_axes=(0, None)))(np.array([1e-6, -1e-6]), 1.3)
    np.testing.assert_allclose(slope, (after - before) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("delays", EVERY)
def test_samples_follow_the_law(delays, dtype):
    delays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), delays)
    size = 20_000 if isinstance(delays, SIMPLE) else 5_000
    times = sample(delays, jax.random.key(0), (size,))
    assert times.dtype == dtype
    exact = jax.tree.map(np.float64, delays)
    assert stats.kstest(np.asarray(times, float), lambda t: 1 - survival(exact, t)).pvalue > LEVEL


def test_discrete_is_a_finite_law():
    delays = Discrete([3.0, 1.0, 2.0], [0.2, 0.5, 0.3])
    times = jnp.array([0.5, 1.0, 1.5, 2.0, 2.9, 3.0, 9.0])
    np.testing.assert_allclose(survival(delays, times), [1, 0.5, 0.5, 0.2, 0.2, 0, 0], rtol=1e-15)
    chances = np.array([0.0, 0.49, 0.51, 0.79, 0.81, 1.0])
    np.testing.assert_array_equal(quantile(delays, chances), [1, 1, 2, 2, 3, 3])
    drawn = np.asarray(sample(delays, jax.random.key(0), (20_000,)))
    counts = [(drawn == value).sum() for value in (1, 2, 3)]
    assert stats.chisquare(counts, 20_000 * np.array([0.5, 0.3, 0.2])).pvalue > LEVEL
    assert jnp.isnan(inverse_hazard(delays, jnp.nan))
    rare = Discrete(jnp.float32([1, 2]), jnp.float32([1 - 1e-9, 1e-9]))
    assert inverse_hazard(rare, jnp.float32([20.0, 21.0])).tolist() == [1, 2]  # -log 1e-9 = 20.7


def test_a_single_value_is_deterministic():
    delays = Discrete(2.5)
    assert delays.identical
    assert sample(delays, jax.random.key(0), (4,)).tolist() == [2.5] * 4
    mean, variance = moments(delays, 4, 2, 3)
    assert float(mean) == pytest.approx(5.0, rel=1e-14)
    assert float(variance) == pytest.approx(0.0, abs=1e-25)
    assert iteration_cdf(delays, np.array([4.9, 5.0]), 4, 2, 3).tolist() == [0, 1]
    medians = jax.jit(jax.vmap(lambda value: Discrete(value).quantile(0.5)))(np.array([1.0, 2.0]))
    assert medians.tolist() == [1, 2]


def test_supports_have_an_axis_of_their_own():
    shared, own = Discrete(np.arange(1.0, 5)), Discrete(np.arange(1.0, 13).reshape(4, 3))
    assert shared.identical
    assert not own.identical
    shared.check(6)
    own.check(4)
    with pytest.raises(
        ValueError, match=r"delays.values has shape \(4, 3\); give \(3,\) or \(6, 3\)"
    ):
        own.check(6)
    assert survival(own, 5.0).tolist() == [0, pytest.approx(1 / 3), 1, 1]
    drawn = jax.eval_shape(lambda key: sample_worker_times(own, key, 5, 4), jax.random.key(0))
    assert drawn.shape == (5, 4)


@pytest.mark.parametrize(("n", "r", "s"), [(4, 4, 1), (6, 3, 2), (5, 1, 3)])
@pytest.mark.parametrize(("delays", "law"), LATER)
def test_iteration_moments_agree_with_quadrature(delays, law, n, r, s):
    expected = reference.moments_by_quadrature(law.isf, n, r, s)
    np.testing.assert_allclose(moments(delays, n, r, s), expected, rtol=1e-10)


def test_single_times_have_the_moments_of_their_law():
    for delays, law in LATER:
        single = order_statistic_mean(delays, 1, 1), iteration_variance(delays, 1, 1, 1)
        np.testing.assert_allclose(single, law.stats("mv"), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 7])
def test_the_fastest_times_have_closed_forms(n):
    fastest = 2.0 * n ** (-1 / 0.5) * special.gamma(1 + 1 / 0.5)
    np.testing.assert_allclose(order_statistic_mean(Weibull(2.0, 0.5), 1, n), fastest, rtol=1e-12)
    shifted = order_statistic_mean(ShiftedExponential(0.5, 2.0), 1, n)
    np.testing.assert_allclose(shifted, 0.5 + 0.5 / n, rtol=1e-13)
    for rate, slow_rate, q in MIXTURES:
        # The fastest of n: a binomial mixture of exponentials.
        j = np.arange(n + 1)
        weight = stats.binom(n, q).pmf(j)
        expected = weight @ (1 / ((n - j) * rate + j * slow_rate))
        delays = Hyperexponential(rate, slow_rate, q)
        np.testing.assert_allclose(order_statistic_mean(delays, 1, n), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [2.0, 3.5])
def test_wide_lognormal_and_stretched_weibull_times_keep_their_moments(scale):
    """Their moments come from hazards far beyond the bulk: 60 and more."""
    for delays, law in (
        (Lognormal(0.0, scale), stats.lognorm(scale)),
        (Weibull(1.0, 0.1), stats.weibull_min(0.1)),
    ):
        np.testing.assert_allclose(moments(delays, 1, 1, 1)[1], law.var(), rtol=1e-10)


@pytest.mark.parametrize(("n", "r"), [(5, 1), (4, 4), (9, 3)])
@pytest.mark.parametrize("delays", [*EVERY[4::3], Discrete([1.0, 2.0, 5.0])])
def test_direct_draws_follow_the_distribution_of_the_iteration_time(delays, n, r):
    working = jnp.ones((4_000, 2), bool)
    times = np.asarray(sample_iteration_times(delays, jax.random.key(1), n, r, working))
    mean, variance = map(float, moments(delays, n, r, 2))
    # Four standard errors, 6e-5 two-sided.
    assert abs(times.mean() - mean) < 4 * np.sqrt(variance / times.size)
    if not isinstance(delays, Discrete):
        law = stats.kstest(times, lambda t: iteration_cdf(delays, t, n, r, 2))
        assert law.pvalue > LEVEL
    else:
        for value in (1.0, 2.0):
            p = float(iteration_cdf(delays, r * value, n, r, 2))
            assert abs((times <= r * value).mean() - p) < 4 * np.sqrt(p * (1 - p) / times.size)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ShiftedExponential(-1.0, 1.0), r"shift=-1.0 must be .*; give shift >= 0"),
        (lambda: ShiftedExponential(1.0, 0.0), r"rate=0.0 must be positive .*; give rate > 0"),
        (lambda: Weibull(1.0, -1.0), r"shape=-1.0 must be positive .*; give shape > 0"),
        (lambda: Lognormal(np.nan, 1.0), r"location=nan is not finite"),
        (lambda: Lognormal(0.0, 0.0), r"scale=0.0 must be positive .*; give scale > 0"),
        (lambda: Gamma("1", 1.0), r"scale='1' is not a real number"),
        (lambda: Hyperexponential(1.0, 2.0, 0.1),
         r"slow_rate=2.0 exceeds rate=1.0; give slow_rate"),
        (lambda: Hyperexponential(1.0, 0.5, 1.5), r"slow_share=1.5 must lie in \[0, 1\]; give"),
        (lambda: Hyperexponential(1.0, 0.5, np.nan), r"slow_share=nan must lie in \[0, 1\]; give"),
        (lambda: Discrete([1.0, 0.0]), r"values=.* must be positive .*; give values > 0"),
        (lambda: Discrete([]), r"values=\[\] is empty; give"),
        (lambda: Discrete([1.0, 2.0], [0.5, 0.6]), r"probabilities=.* add up to .*; divide"),
        (lambda: Discrete([1.0, 2.0], [1.5, -0.5]), r"probabilities=.* must lie in \[0, 1\]; give"),
        (lambda: Discrete([1.0, 2.0], [1.0]),
         r"probabilities has shape \(1,\) but values .*; give"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
