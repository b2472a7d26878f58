"""Speeds that change in time, against plain NumPy, and their limits."""

import jax
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import delays
from lagc_jax.times import sample_worker_times

KEY, K, M = jax.random.key(2), 150, 3
INNER = lj.Pareto(1.0, [1.5, 2.0, 3.0])


def draw(source):
    return np.asarray(sample_worker_times(source, KEY, K, M))


def test_times_are_those_inside_times_the_factor_of_the_iteration():
    k, inside = np.arange(K)[:, None], draw(INNER)
    growth = np.array([1.01, 1.0, 0.98])
    np.testing.assert_allclose(draw(delays.Drift(INNER, growth)), inside * growth**k, rtol=1e-12)
    a, phase = np.array([0.0, 0.5, 0.9]), np.array([0.0, 0.25, 0.7])
    rhythm = 1 + a * np.sin(2 * np.pi * (k / 24.0 + phase))
    np.testing.assert_allclose(draw(delays.Diurnal(INNER, a, 24.0, phase)), inside * rhythm)


def test_without_drift_or_amplitude_nothing_changes():
    np.testing.assert_array_equal(draw(delays.Drift(INNER, 1.0)), draw(INNER))
    np.testing.assert_array_equal(draw(delays.Diurnal(INNER, 0.0, 24.0)), draw(INNER))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: delays.Drift(INNER, 0.0), "growth"),
        (lambda: delays.Drift(None, 1.0), "delays"),
        (lambda: delays.Diurnal(INNER, 1.0, 24.0), "amplitude=1.0 must lie"),
        (lambda: delays.Diurnal(INNER, 0.5, -1.0), "period"),
        (lambda: delays.Drift(INNER, [1.0, 1.0]).check(M), "growth"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_phase_is_kept_for_a_million_iterations_in_single_precision():
    k = 1_000_000 + np.arange(64)
    times = delays.Diurnal(lj.Exponential(np.float32(1.0)), np.float32(0.5), np.float32(24.0))
    with jax.enable_x64(False):
        found = np.ravel(times.factor(np.asarray(k, np.float32)[:, None]))
    np.testing.assert_allclose(found, 1 + 0.5 * np.sin(2 * np.pi * (k % 24) / 24), rtol=2e-6)
