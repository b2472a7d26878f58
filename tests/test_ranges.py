"""A float64 of a TPU has the range of a float32, and what hangs on it stays right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from lagc_jax._modes import range_of
from lagc_jax.delays import Gamma, Lognormal


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_only_a_tpu_narrows_the_range(platform):
    expected = np.float32 if platform == "tpu" else np.float64
    assert range_of(np.float64, platform).max == np.finfo(expected).max
    assert range_of(np.float32, platform).tiny == np.finfo(np.float32).tiny


def test_far_tails_survive_a_narrow_range(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    x = jnp.geomspace(1e-10, 600, 200)
    assert x.dtype == np.float64
    found = Lognormal(0.0, 1.0).log_inverse_hazard(x)
    # Near the median the value is 0, and its error is that of rounding to 1.
    np.testing.assert_allclose(found, -special.ndtri_exp(-np.asarray(x)), rtol=1e-10, atol=1e-14)
    t = jnp.geomspace(1e-3, 700, 200)
    hazard = Gamma(1.0, 2.5).hazard(t)
    # The leading term of the far tail is good to 1 / t, at hazards above 0.9 * 87.
    exact = -stats.gamma(2.5).logsf(t)
    early = np.asarray(t) < 1  # where earlier versions of scipy take the logarithm of nearly 1
    exact[early] = -np.log1p(-special.gammainc(2.5, np.asarray(t)[early]))
    near = exact < 78
    np.testing.assert_allclose(hazard[near], exact[near], rtol=1e-11)
    np.testing.assert_allclose(hazard[~near], exact[~near], rtol=1e-3)
