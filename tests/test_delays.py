"""The families of computing times against their formulas and SciPy's distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lagc_jax import Exponential, Pareto, _keys
from lagc_jax._keys import survival_uniforms

FAMILIES = [
    (Exponential(2.0), stats.expon(scale=0.5)),
    (Pareto(3.0, 1.5), stats.pareto(1.5, scale=3.0)),
    (Pareto(0.5, 0.7), stats.pareto(0.7, scale=0.5)),
]
# Level of the Kolmogorov-Smirnov tests. The keys are fixed: a test that passes keeps passing, and
# a wrong law of 20,000 draws has a p-value far below.
LEVEL = 1e-3


@pytest.mark.parametrize(("delays", "law"), FAMILIES)
def test_survival_and_quantile_are_those_of_the_law(delays, law):
    time = np.array([0.0, 0.1, 0.5, 3.0, 3.5, 20.0])
    np.testing.assert_allclose(delays.survival(time), law.sf(time), rtol=1e-13)
    probability = np.array([0.0, 1e-9, 0.1, 0.5, 0.999, 1 - 1e-12])
    np.testing.assert_allclose(delays.quantile(probability), law.ppf(probability), rtol=1e-13)


@pytest.mark.parametrize(("delays", "law"), FAMILIES)
def test_hazard_and_its_inverse_undo_each_other(delays, law):
    hazard = jnp.array([1e-6, 0.1, 1.0, 30.0, 300.0])
    # Pareto's hazard is a logarithm of a number near 1 for a small hazard: absolute rounding.
    np.testing.assert_allclose(
        delays.hazard(delays.inverse_hazard(hazard)), hazard, rtol=1e-13, atol=1e-15
    )
    time = delays.inverse_hazard(hazard)
    np.testing.assert_allclose(delays.log_inverse_hazard(hazard), jnp.log(time), rtol=1e-13)
    np.testing.assert_allclose(delays.survival(time), jnp.exp(-hazard), rtol=1e-12)


def test_log_inverse_hazard_is_finite_where_the_time_overflows():
    delays = Pareto(1.0, 1e-3)
    assert jnp.isinf(delays.inverse_hazard(10.0))
    assert float(delays.log_inverse_hazard(10.0)) == pytest.approx(1e4)


@pytest.mark.parametrize("delays", [Exponential(2.0), Pareto(3.0, 1.5)])
def test_time_below_the_support_survives_surely(delays):
    np.testing.assert_array_equal(delays.survival(jnp.array([-1.0, 0.0])), 1.0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("delays", "law"), FAMILIES)
def test_samples_follow_the_law(delays, law, dtype):
    delays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), delays)
    times = delays.sample(jax.random.key(0), (20_000,))
    assert times.dtype == dtype
    assert stats.kstest(np.asarray(times, np.float64), law.cdf).pvalue > LEVEL


def test_every_worker_has_its_own_law():
    rate = jnp.array([0.5, 1.0, 4.0])
    delays = Exponential(rate)
    assert not delays.identical
    times = np.asarray(delays.sample(jax.random.key(1), (5_000, 3)))
    for worker in range(3):
        law = stats.expon(scale=1 / float(rate[worker]))
        assert stats.kstest(times[:, worker], law.cdf).pvalue > LEVEL
    np.testing.assert_allclose(delays.quantile(0.5), np.log(2) / rate, rtol=1e-13)
    mixed = Pareto(1.0, jnp.array([1.5, 2.0]))
    assert not mixed.identical
    np.testing.assert_allclose(mixed.survival(4.0), [1 / 8, 1 / 16], rtol=1e-13)


def test_tail_index_is_the_shape_and_infinite_for_a_light_tail():
    assert Pareto(1.0, 1.5).tail_index == 1.5
    assert Exponential(1.0).tail_index == jnp.inf


@pytest.mark.parametrize(("dtype", "smallest"), [(jnp.float32, 2.0**-33), (jnp.float64, 2.0**-65)])
def test_survival_uniforms_are_in_the_half_open_interval(dtype, smallest):
    draws = np.asarray(survival_uniforms(jax.random.key(0), (100_000,), dtype), np.float64)
    assert draws.min() >= smallest
    assert draws.max() <= 1
    assert stats.kstest(draws, "uniform").pvalue > LEVEL


@pytest.mark.parametrize(("dtype", "smallest"), [(jnp.float32, 2.0**-33), (jnp.float64, 2.0**-65)])
def test_smallest_and_largest_words_give_usable_uniforms(dtype, smallest, monkeypatch):
    for fill, expected in ((0, smallest), (-1, 1.0)):

        def bits(key, shape, word, fill=fill):
            return jnp.full(shape, fill % 2 ** jnp.iinfo(word).bits, word)

        monkeypatch.setattr(_keys, "bits", bits)
        assert float(survival_uniforms(jax.random.key(0), (), dtype)) == expected


@pytest.mark.parametrize(
    "parameters", [(Exponential, (2.0,)), (Pareto, (3.0, 1.5)), (Pareto, (1.0, 0.7))]
)
def test_far_tail_in_float32_agrees_with_float64(parameters):
    """Times down to the smallest survival probability that float32 draws, 2^-33."""
    family, values = parameters
    single = family(*(jnp.float32(value) for value in values))
    double = family(*(float(jnp.float32(value)) for value in values))
    probability = 2.0 ** -np.arange(0.0, 33.5, 0.5)
    hazard = -np.log(probability)
    times = single.inverse_hazard(jnp.asarray(hazard, jnp.float32))
    assert times.dtype == jnp.float32
    assert jnp.isfinite(times).all()
    # The exponent x / shape <= 33 carries a rounding of 2^-24 relative: 4e-6 in the time.
    np.testing.assert_allclose(times, double.inverse_hazard(hazard), rtol=4e-6)


def test_delays_are_pytrees_that_vmap_over_parameters():
    rates = jnp.array([0.5, 1.0, 2.0])
    medians = jax.jit(jax.vmap(lambda rate: Exponential(rate).quantile(0.5)))(rates)
    np.testing.assert_allclose(medians, np.log(2) / rates, rtol=1e-13)
    shapes = jnp.array([1.5, 2.0])
    survival = jax.vmap(lambda delays: delays.survival(4.0))(Pareto(jnp.ones(2), shapes))
    np.testing.assert_allclose(survival, [1 / 8, 1 / 16], rtol=1e-13)
