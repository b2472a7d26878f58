"""One uniform an iteration: its bits, its inverse, and the sums along a path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import special

import lagc_jax as lj
from lagc_jax.clock import clock_of
from lagc_jax.law.inverse import CHUNK, chunk_uniforms, make_inverse, threefry

KEY = jax.random.key(3)
CODED = [(3, 2), (6, 3), (12, 2), (12, 11), (40, 20)]
CLOSED = [(1, 1), (5, 1), (5, 5), (300, 1)]


def exact_statistic(survival, n, r, s):
    """Value that the maximum of `s` F-th smallest of n unit exponentials exceeds so often."""
    one_group = -np.expm1(np.log1p(-survival) / s)
    # P(Z > z) = P(at least r of n exceed z), the betainc of exp(-z).
    return -np.log(special.betaincinv(r, n - r + 1, one_group))


def test_words_are_those_of_jax():
    seed, counter = jnp.array([7, 9], jnp.uint32), jnp.arange(10, dtype=jnp.uint32)
    expected = threefry_2x32((seed[0], seed[1]), jnp.concatenate([counter, 0 * counter]))
    assert np.array_equal(jnp.concatenate(threefry(seed, counter, jnp.uint32(0))), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniforms_are_uniform_and_never_zero(dtype):
    seed = jnp.array([1, 2], jnp.uint32)
    draws = jax.jit(jax.vmap(lambda chunk: jnp.concatenate(chunk_uniforms(seed, chunk, dtype))))(
        jnp.arange(2000)
    ).ravel()
    assert draws.dtype == dtype
    assert draws.min() > 0
    assert draws.max() <= 1
    # Kolmogorov-Smirnov at level 1e-6: the distance exceeds 2.69 / sqrt(N) so rarely.
    ranks = (np.arange(draws.size) + 0.5) / draws.size
    assert np.abs(np.sort(draws) - ranks).max() < 2.69 / np.sqrt(draws.size)


@pytest.mark.parametrize(("dtype", "last"), [(np.float32, 33), (np.float64, 65)])
@pytest.mark.parametrize(("n", "r"), CODED + CLOSED)
def test_inverse_is_exact_from_the_far_tail_to_the_median_and_beyond(n, r, dtype, last):
    survival = np.concatenate(
        [2.0 ** -np.linspace(1, last, 4001), np.linspace(0.01, 0.999, 4001)]
    ).astype(dtype)
    unit = lj.Exponential(np.asarray(1.0, dtype))
    inverse = make_inverse(n, r, np.dtype(dtype))
    for s in (1, 2, 7, 100):
        times = jax.jit(inverse.times)(unit, survival, np.asarray(s, dtype))
        exact = exact_statistic(survival.astype(np.float64), n, r, s)
        # A rounded uniform moves z by up to eps/(1-w); a few roundings of z follow.
        scale = np.maximum(exact, 1) / np.minimum(1, (1 - survival.astype(np.float64)) * 20)
        error = np.abs(np.asarray(times, np.float64) / r - exact) / scale
        assert error.max() < (2e-6 if dtype == np.float32 else 2e-13), (s, error.max())


def test_the_far_tail_of_a_heavy_tail_is_finite_in_float32():
    heavy = lj.Pareto(np.float32(1.0), np.float32(0.5))
    for n, r in CODED + CLOSED:
        inverse = make_inverse(n, r, np.dtype(np.float32))
        times = jax.jit(inverse.times)(heavy, np.float32([2.0**-33, 1.0]), np.float32(4))
        assert np.isfinite(times).all()
        assert (times >= r).all()


@pytest.mark.parametrize("sampler", ["direct", "workers"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_streamed_sums_are_those_of_the_whole_path(sampler, dtype):
    K = 3 * CHUNK + 5
    selected = jax.random.bernoulli(KEY, 0.6, (K, 2))
    delays = lj.Exponential(np.asarray(2.0, dtype))
    times = clock_of(lj.lagc(6, 2, 2), delays, sampler=sampler).along(selected)
    iterates = jnp.array([0, 1, CHUNK - 1, CHUNK, CHUNK, CHUNK + 1, K])
    sums = jax.jit(times.until)(KEY, iterates)
    assert sums.dtype == dtype
    whole = np.asarray(jax.jit(times.whole)(KEY), np.float64)
    expected = np.concatenate([[0], np.cumsum(whole)])[iterates]
    np.testing.assert_allclose(sums, expected, rtol=10 * np.finfo(dtype).eps)


def test_a_million_iterations_lose_nothing_in_float32():
    K = 1_000_000
    selected = jnp.ones((K, 1), bool)
    times = clock_of(lj.gc(3, 3), lj.Exponential(jnp.float32(1))).along(selected)
    total = jax.jit(times.until)(KEY, jnp.array([K]))[0]
    whole = jax.jit(times.whole)(KEY)
    exact = np.asarray(whole, np.float64).sum()
    # One rounding of the sum, and those of the sums of 64 times, which average out.
    np.testing.assert_allclose(total, exact, rtol=2e-7)
    curve = jax.jit(lj.costs.accumulate)(whole)
    np.testing.assert_allclose(curve[-1], exact, rtol=1e-6)  # a tree of 20 roundings
    naive = np.cumsum(whole)[-1]
    assert abs(total - exact) < abs(naive - exact)


def test_exact_means_lose_nothing_in_float32_over_a_million_iterations():
    K = 1_000_000
    scheme, delays = lj.gc(3, 3), lj.Exponential(jnp.float32(3.0))
    clock = lj.expected_wall_clock(scheme, delays, np.ones((K, 1), bool))
    assert clock.dtype == jnp.float32
    np.testing.assert_allclose(clock[-1], K / 3, rtol=1e-6)  # a tree of 20 roundings
