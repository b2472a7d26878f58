"""Sizes of blocks by platform and memory, and realisations that do not depend on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import _blocks, _programs
from lagc_jax.delays.drawn import tabulated
from lagc_jax.law.inverse import make_inverse

M, K, R = 4, 70, 21
KEY = jax.random.key(3)


def test_blocks_fill_an_accelerator_and_no_more():
    def size(bytes_each, *given):
        return _blocks.block_size(16, lambda: bytes_each, *given)

    assert size(10**9, 10**6, "cpu") == 16
    assert size(1, 10**6, "tpu", 2**34) == _blocks.LARGEST
    assert size(2**20, 10**6, "gpu", 2**34) == 2**9
    assert size(2**20, 100, "gpu", 2**34) == 2**7
    assert size(2**40, 100, "gpu", 2**34) == 1


def test_the_largest_result_is_that_of_one_realisation():
    shared = jnp.ones((100, 100))

    def run(keys):
        drawn = jax.vmap(lambda key: jax.random.normal(key, (4, 6)))(keys)
        repeated = lambda c, _: (c + jnp.stack([drawn] * 9).sum(), None)  # noqa: E731
        return (shared @ shared).sum() + jax.lax.scan(repeated, 0.0, None, 2)[0]

    assert _blocks.largest_result(run, jax.random.split(KEY, 2)) == 9 * 24 * 8


@pytest.mark.parametrize(
    "scheme", [lj.lagc(M, 2, 1, xi=0.5), lj.schemes.fastest_k(M, 3)], ids=["path", "paths"]
)
@pytest.mark.parametrize("sampler", [None, "workers"])
def test_realisations_are_the_same_on_an_accelerator(monkeypatch, scheme, sampler):
    """With its blocks and its loops of fixed length, which this machine can run as well."""
    problem = lj.linear_regression(np.eye(M)[:, None], np.ones((M, 1)))

    def samples():
        return lj.simulate_batch(
            problem, scheme, lj.Pareto(1.0, 1.5), KEY, num_iterations=K, num_realisations=R,
            iterates=[1, 3, 64, 65, K], keep_samples=True, sampler=sampler,
        ).curve.samples  # fmt: skip

    here = samples()
    for function in _programs._functions:
        function.clear_cache()
    monkeypatch.setattr(_blocks.jax, "default_backend", lambda: "gpu")
    there = samples()
    for function in _programs._functions:
        function.clear_cache()
    rounding = 4 * jnp.finfo(here.dtype).eps  # sums are added in another order
    np.testing.assert_allclose(there, here, rtol=rounding)


@pytest.mark.parametrize("count", [1.0, 3.0])
def test_a_table_is_read_on_a_tpu_as_here_to_the_bit(monkeypatch, count):
    uniform = jnp.asarray(np.random.default_rng(0).random((8, 32)), jnp.float32)
    inverse, delays = make_inverse(6, 3, "float32"), lj.Exponential(jnp.float32(1))
    here = inverse.times(delays, uniform, jnp.full(32, count, jnp.float32))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    program = jax.make_jaxpr(inverse.times)(delays, uniform, jnp.full(32, count, jnp.float32))
    assert "dot_general" in str(program)
    assert "gather" not in str(program)
    there = inverse.times(delays, uniform, jnp.full(32, count, jnp.float32))
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("resample", ["iid", "worker", "blocks"])
@pytest.mark.parametrize("rows", [3, 10_000])
def test_entries_of_a_trace_are_drawn_on_a_tpu_as_here_to_the_bit(monkeypatch, resample, rows):
    times = np.random.default_rng(0).exponential(size=(rows, M)).astype(np.float32)
    times[1, 0] = np.nan
    trace = lj.Trace.from_array(times, resample=resample)
    here = trace.sample_chunk(KEY, 5, (16, 1, M))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    program = str(jax.make_jaxpr(lambda key: trace.sample_chunk(key, 5, (16, 1, M)))(KEY))
    assert ("gather" in program) == (rows == 10_000)  # larger tables are looked up
    np.testing.assert_array_equal(trace.sample_chunk(KEY, 5, (16, 1, M)), here)
    assert np.isinf(here).any() == (rows == 3)


def test_a_table_of_quantiles_is_read_on_a_tpu_as_here_to_the_bit(monkeypatch):
    delays = tabulated(lj.delays.Gamma(jnp.float32(1), jnp.float32(2)))
    hazards = np.random.default_rng(0).exponential(size=(8, 32)).astype(np.float32)
    here = delays.inverse_hazard(hazards)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    program = str(jax.make_jaxpr(delays.inverse_hazard)(hazards))
    assert "dot_general" in program
    assert "gather" not in program
    np.testing.assert_array_equal(delays.inverse_hazard(hazards), here)


def test_bursts_are_the_same_on_an_accelerator(monkeypatch):
    bursty = lj.delays.Bursty(lj.Exponential(1.0), 5.0, 0.1, 0.2)
    here = bursty.bad_in_chunk(KEY, 5, (16, M))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(bursty.bad_in_chunk(KEY, 5, (16, M)), here)
    assert 0 < here.mean() < 1
