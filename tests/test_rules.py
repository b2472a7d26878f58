"""The lazy rules of later papers: against their own plain loops, and where they become another."""

import numpy as np
import reference

import lagc_jax

M, K, D = 6, 40, 4
DATA = reference.random_data("logistic", 0)
PROBLEM = lagc_jax.logistic_regression(DATA.X, DATA.y, l2=DATA.l2)
ALPHA = 1 / float(PROBLEM.total_smoothness)
EXPONENTIAL = lagc_jax.Exponential(1.0)


def full_gradient(sizes):
    return lambda g, theta, k: reference.group_gradient(DATA, sizes, g, theta)


def assert_same_path(problem, scheme, expected, step_size):
    """A path against its plain loop; no decision of the loop is within rounding of the other."""
    theta, uploads, left, right = expected
    larger = np.maximum(left, right)
    assert np.min(np.abs(left - right)[larger > 0] / larger[larger > 0]) > 1e-9
    path = lagc_jax.descend(
        problem, scheme, num_iterations=K, step_size=step_size, record=lambda theta: theta
    )
    assert np.array_equal(path.selected, uploads)
    assert 0 < uploads[1:].mean() < 1
    # Tens of steps of some tens of roundings each; AMSGrad divides by small numbers.
    np.testing.assert_allclose(path.recorded, theta, rtol=1e-8, atol=1e-10)
