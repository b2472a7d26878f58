"""Families after a start-up, against SciPy's with a location, and their exact moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import stats

import lagc_jax as lj
from lagc_jax.delays import FAMILIES, ShiftedGamma, ShiftedLognormal, ShiftedWeibull
from lagc_jax.law import iteration_mean, iteration_variance

LAWS = [
    (ShiftedWeibull(3.0, 2.0, 0.5), stats.weibull_min(0.5, 3.0, 2.0)),
    (ShiftedLognormal(0.7, -0.5, 1.5), stats.lognorm(1.5, 0.7, np.exp(-0.5))),
    (ShiftedGamma(50.0, 2.0, 3.0), stats.gamma(3.0, 50.0, 2.0)),
]
PROBABILITY = np.array([1e-9, 0.1, 0.5, 0.999, 1 - 1e-12])


@jax.jit
def everything(delays, time, hazard, key):
    return (
        delays.hazard(time),
        delays.inverse_hazard(hazard),
        delays.log_inverse_hazard(hazard),
        delays.sample(key, (2000,)),
        iteration_mean(delays, 6, 3, 2),
        iteration_variance(delays, 6, 3, 2),
    )


@pytest.mark.parametrize(("delays", "law"), LAWS)
def test_laws_and_moments_are_those_of_scipy(delays, law):
    time, hazard = law.ppf(PROBABILITY), -np.log1p(-PROBABILITY)
    found = everything(delays, time, hazard, jax.random.key(0))
    # Of the excess, a time near a large shift keeps the digits beyond it.
    np.testing.assert_allclose(found[0][1:], -law.logsf(time)[1:], rtol=1e-10)
    np.testing.assert_allclose(found[1], time, rtol=1e-12)
    np.testing.assert_allclose(found[2], np.log(time), rtol=1e-12, atol=1e-12)
    assert stats.kstest(found[3], law.cdf).pvalue > 1e-3
    expected = reference.moments_by_quadrature(law.isf, 6, 3, 2)
    np.testing.assert_allclose(found[4:], expected, rtol=1e-9)
    assert float(delays.hazard(0.5 * delays.shift)) == 0


def test_without_a_shift_the_law_is_that_of_the_excess():
    for delays, _ in LAWS:
        none = type(delays)(**vars(delays) | {"shift": 0.0})
        hazard = np.array([0.0, 1e-3, 1.0, 40.0])
        inverse = jax.jit(lambda law, x: law.inverse_hazard(x))
        np.testing.assert_array_equal(inverse(none, hazard), inverse(none.over, hazard))


def test_one_shift_a_worker_moves_its_times():
    shift = np.array([0.0, 1.0, 5.0, 2.0])
    scheme, working = lj.lagc(4, 2, 2), np.ones((1, 2), bool)
    delays = ShiftedWeibull(shift, 2.0, 1.0)
    equal = lj.delays.ShiftedExponential(shift, 0.5)
    for of in (lj.expected_wall_clock, lj.theory.wall_clock_variance):
        np.testing.assert_allclose(of(scheme, delays, working), of(scheme, equal, working),
                                   rtol=1e-10)  # fmt: skip


def test_single_precision_does_not_overflow():
    delays = ShiftedLognormal(jnp.float32(1.0), jnp.float32(0.0), jnp.float32(9.0))
    log_time = delays.log_inverse_hazard(jnp.float32(80.0))
    np.testing.assert_allclose(log_time, stats.norm.isf(np.exp(-80)) * 9, rtol=1e-5)


@pytest.mark.parametrize("name", ["shifted_weibull", "shifted_lognormal", "shifted_gamma"])
def test_bad_shifts_are_refused(name):
    with pytest.raises(ValueError, match=r"shift=-1.0 must be .*; give shift >= 0"):
        FAMILIES[name](-1.0, 1.0, 1.0)
