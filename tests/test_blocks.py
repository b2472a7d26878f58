"""Sizes of blocks by platform and memory, and realisations that do not depend on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import _blocks, _programs

M, K, R = 4, 70, 21
KEY = jax.random.key(3)


def test_blocks_fill_an_accelerator_and_no_more():
    assert _blocks.block_size(16, 10**9, 10**6, "cpu") == 16
    assert _blocks.block_size(16, 1, 10**6, "tpu", 2**34) == _blocks.LARGEST
    assert _blocks.block_size(16, 2**20, 10**6, "gpu", 2**34) == 2**11
    assert _blocks.block_size(16, 2**20, 100, "gpu", 2**34) == 2**7
    assert _blocks.block_size(16, 2**40, 100, "gpu", 2**34) == 1


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
