"""Gamma times are drawn from a table where their shape is known, and only drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.delays import Bursty, Gamma, ShiftedGamma
from lagc_jax.delays import drawn as module
from lagc_jax.delays.drawn import Drawn, law_of, tabulated
from lagc_jax.delays.scaled import Scaled
from lagc_jax.timeline import job_table

KEY, M, K, R = jax.random.key(0), 4, 5, 3
PROBLEM = lj.linear_regression(np.eye(M)[:, None], np.ones((M, 1)))
HAZARDS = np.geomspace(1e-12, 200, 3000)
SHAPES = np.array([0.05, 0.3, 2.0, 700.0])


def referee(shape, scale=1.0, start=0.0):
    law = stats.gamma(shape, start, scale)
    early = law.ppf(-np.expm1(-HAZARDS))
    return np.where(np.log(2) > HAZARDS, early, law.isf(np.exp(-HAZARDS)))


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_the_table_has_the_quantiles_of_scipy(dtype, rtol):
    drawn = tabulated(Gamma(dtype(2.0), SHAPES.astype(dtype)))
    assert isinstance(drawn, Drawn)
    found = np.asarray(drawn.inverse_hazard(HAZARDS[:, None]))
    for shape, times in zip(SHAPES.astype(dtype), found.T, strict=True):
        exact = referee(float(shape), 2.0)
        normal = exact > 1e-37
        np.testing.assert_allclose(times[normal], exact[normal], rtol=rtol)
        one = tabulated(Gamma(dtype(2.0), shape)).inverse_hazard(HAZARDS)
        np.testing.assert_allclose(times, one, rtol=4 * np.finfo(dtype).eps)


def test_a_shift_and_a_wrapper_keep_theirs():
    delays = Scaled(ShiftedGamma(50.0, 2.0, 3.0), 1.5)
    found = tabulated(delays).inverse_hazard(HAZARDS)
    np.testing.assert_allclose(found, 1.5 * referee(3.0, 2.0, 50.0), rtol=1e-9)
    assert float(tabulated(Gamma(1.0, 3.0)).inverse_hazard(0.0)) == 0
    bursty = Bursty(Gamma(1.0, 3.0), 5.0, 0.1, 0.2)
    assert isinstance(tabulated(bursty).delays, Drawn)
    assert law_of(tabulated(bursty)) == bursty


def test_what_has_no_gamma_is_the_very_same():
    delays = Bursty(lj.Exponential(1.0), 5.0, 0.1, 0.2)
    assert tabulated(delays) is delays


@pytest.mark.parametrize("delays", [Gamma(1.0, 1e-3), Gamma(1.0, np.linspace(1, 2, 300))])
def test_shapes_that_no_table_serves_keep_the_iteration(delays):
    assert tabulated(delays) is delays


def test_a_traced_shape_keeps_the_iteration_and_its_derivatives():
    def mean(scale, shape):
        source = clock_of(lj.gd(M), Gamma(scale, shape)).delays
        kinds.append(type(source))
        return jnp.mean(source.inverse_hazard(jnp.array([0.5, 1.5])))

    kinds = []
    value, by_scale = jax.value_and_grad(mean)(2.0, 3.0)
    by_shape = jax.grad(mean, argnums=1)(2.0, 3.0)
    assert kinds == [Drawn, Gamma]
    np.testing.assert_allclose(by_scale, value / 2, rtol=1e-12)
    step = 1e-5
    rise = [stats.gamma(3.0 + sign * step, scale=2.0).isf(np.exp([-0.5, -1.5])) for sign in (1, -1)]
    np.testing.assert_allclose(by_shape, np.mean(rise[0] - rise[1]) / (2 * step), rtol=1e-8)


@pytest.mark.parametrize("shape", [2.0, np.array([0.5, 1.0, 2.0, 3.0])], ids=["direct", "workers"])
def test_every_door_draws_the_same_times(shape):
    delays, sizes = Gamma(1.0, shape), {"num_iterations": K}
    keys = [jax.random.fold_in(KEY, i) for i in range(R)]
    runs = [lj.simulate(PROBLEM, lj.gd(M), delays, key, **sizes).wall_clock[K] for key in keys]
    batch = lj.simulate_batch(
        PROBLEM, lj.gd(M), delays, KEY, num_realisations=R, iterates=[K], keep_samples=True,
        quantiles=(), **sizes,
    )  # fmt: skip
    np.testing.assert_allclose(batch.curve.samples[0], runs, rtol=1e-14)  # order of sums
    traced = jax.jit(lambda delays: lj.simulate(PROBLEM, lj.gd(M), delays, keys[0], **sizes))(
        delays
    )
    np.testing.assert_allclose(traced.wall_clock[K], runs[0], rtol=1e-9)


def test_moments_know_no_table(monkeypatch):
    working = np.ones((1, 1), bool)
    found = clock_of(lj.gc(M, 2), Gamma(1.5, 2.5)).mean(working)
    monkeypatch.setattr(module, "_tables", lambda *_: None)
    clock = clock_of(lj.gc(M, 2), Gamma(1.5, 2.5))
    assert isinstance(clock.delays, Gamma)
    assert found.tolist() == clock.mean(working).tolist()


def test_a_table_of_times_replays_a_run():
    delays = Gamma(1.0, 0.5)
    run = lj.simulate(PROBLEM, lj.gd(M), delays, KEY, num_iterations=K, sampler="workers")
    table = job_table(run, lj.gd(M), delays, KEY)
    assert table["finish"].max() == pytest.approx(float(run.wall_clock[-1]), rel=1e-12)
