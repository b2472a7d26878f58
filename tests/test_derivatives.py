"""Derivatives of exact moments and of realisations, against differences and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagc_jax as lj
from lagc_jax.delays import families
from lagc_jax.law import unequal
from lagc_jax.law.identical import iteration_mean, iteration_variance

CASES = {
    "exponential": (2.0,),
    "pareto": (1.3, 3.5),
    "shifted_exponential": (0.4, 2.0),
    "weibull": (1.2, 0.8),
    "lognormal": (0.2, 0.7),
    "gamma": (1.2, 1.7),
    "hyperexponential": (2.0, 0.3, 0.2),
    "discrete": (np.array([1.0, 2.5, 4.2]), np.array([0.5, 0.3, 0.2])),
}
SPREAD = np.array([1.0, 1.1])


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_moments_are_differences(name):
    leaves = [np.array([p, p]) for p in CASES[name]]
    leaves[0] = (leaves[0].T * SPREAD).T
    flat, unravel = ravel_pytree([jnp.asarray(leaf) for leaf in leaves])

    def moments(flat):
        leaves = unravel(flat)
        unlike = families.FAMILIES[name](*leaves)
        alike = families.FAMILIES[name](*(leaf[0] for leaf in leaves))
        equal = [f(alike, 2, 1, 1) for f in (iteration_mean, iteration_variance)]
        return jnp.concatenate([*unequal.moments(unlike, np.ones((1, 1)), 2, 1), jnp.stack(equal)])

    @jax.jit
    def run(flat):
        values, pull = jax.vjp(moments, flat)
        return values, jax.vmap(pull)(jnp.eye(values.size))[0]

    direction = np.random.default_rng(0).normal(size=flat.size) * 1e-4
    near, far = (run(flat + s * direction)[0] - run(flat - s * direction)[0] for s in (1, 2))
    # Four correct orders; the rest is the rounding of moments over the step.
    expected = (8 * near - far) / 12
    np.testing.assert_allclose(run(flat)[1] @ direction, expected, rtol=1e-7, atol=1e-12)


def test_gradients_of_the_clock_are_those_of_closed_forms():
    rate = np.array([1.0, 2.0, 1.5, 0.7])

    def slower(a, b):
        return 1 / a + 1 / b - 1 / (a + b)

    def lagc(rate):  # one group, of which all are waited for
        return slower(rate[0], rate[1])

    def g_lag(rate):  # the slower of two groups' fastest, with twice the load
        return 2 * slower(rate[0] + rate[1], rate[2] + rate[3])

    for scheme, working, exact in (
        (lj.lagc(4, 2, 1), [True, False], lagc),
        (lj.g_lag(4, 2), [True, True], g_lag),
    ):

        def clock(rate, scheme=scheme, working=working):
            delays = lj.Exponential(rate)
            return lj.expected_wall_clock(scheme, delays, [working])[-1]

        @jax.jit
        def derivatives(rate, exact=exact, clock=clock):
            return jax.grad(exact)(rate), jax.grad(clock)(rate), jax.jvp(clock, (rate,), (rate,))[1]

        expected, gradient, tangent = derivatives(rate)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(tangent, expected @ rate, rtol=1e-8)


def test_a_mean_that_is_infinite_does_not_spoil_the_gradient_of_another():
    def first_mean(shape):
        return unequal.moments(lj.Pareto(1.0, shape), np.eye(2), 1, 1)[0][0]

    gradient = jax.jit(jax.grad(first_mean))(np.array([3.0, 0.5]))
    np.testing.assert_allclose(gradient, [-1 / 4, 0], rtol=1e-8)  # of shape / (shape - 1)


def test_realisations_have_gradients_in_reverse(problem):
    def total(rate):
        batch = lj.simulate_batch(
            problem, lj.gc(6, 2), lj.Exponential(rate), jax.random.key(0),
            num_iterations=70, num_realisations=3, iterates=[3, 70],
        )  # fmt: skip
        return batch.curve.mean.sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(2.0)
    np.testing.assert_allclose(gradient, -value / 2, rtol=1e-12)  # times are inverse to the rate


def test_gamma_delays_do_not_keep_the_compiler_busy(capfd):
    delays = families.Gamma(1.2, np.array([1.7, 1.8, 1.9, 2.0]))
    jax.block_until_ready(
        jax.jit(unequal._edges, static_argnums=1)(delays, 2, jnp.full(2, jnp.inf))
    )
    assert "stuck" not in capfd.readouterr().err
