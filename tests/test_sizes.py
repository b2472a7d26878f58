"""Many workers, samples or features: other routes to the same numbers."""

import io
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lagc_jax as lj
from lagc_jax.law import binomial
from lagc_jax.law.identical import iteration_mean
from lagc_jax.law.inverse import make_inverse
from lagc_jax.problems import _arrays, _optimum, linear
from lagc_jax.schemes import codes
from lagc_jax.schemes.decoding import FirstDecodable, Rescaled


@pytest.mark.parametrize("r", [2, 40, 127])
def test_both_sums_of_binomial_terms_agree(r):
    n = binomial.LARGEST_SUM
    mean = (1 / np.arange(r, n + 1)).sum()
    x = mean * np.geomspace(1e-3, 1e3, 50)
    few, many = (np.array(f(x, n, r)) for f in (binomial._add_terms, binomial._add_neighbours))
    smaller = np.where(few[0] < few[1], 0, 1), np.arange(x.size)
    # A relative 1e-14 of the logarithm, and the rounding of the few terms' own size.
    np.testing.assert_allclose(many[smaller], few[smaller], rtol=1e-13, atol=1e-12)


def test_mean_of_a_hundred_thousand_workers_is_that_of_harmonic_numbers():
    n, r = 100_000, 10
    exact = r * math.fsum(1 / k for k in range(r, n + 1))
    assert iteration_mean(lj.Exponential(1.0), n, r, 1) == pytest.approx(exact, rel=1e-12)


def test_inverse_of_many_workers_inverts_their_law():
    n, r, survival = 5000, 2500, jnp.array([1e-12, 0.3, 0.7])
    inverse = make_inverse(n, r, np.dtype("float64"))
    z = inverse.times(lj.Exponential(1.0), survival, jnp.ones(3)) / r
    np.testing.assert_allclose(stats.binom.sf(r - 1, n, np.exp(-z)), survival, rtol=1e-9)


def test_least_squares_through_the_gram_matrix_is_that_of_the_data():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 30)), rng.normal(size=200)
    found, root, extremes = linear._solve_normal_equations(X, y, X.T @ X)
    exact, exact_root, exact_extremes = linear._solve_directly(X, y)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    np.testing.assert_allclose(extremes, exact_extremes, rtol=1e-12)
    np.testing.assert_allclose(np.abs(root), np.abs(exact_root), atol=1e-12)
    X[:, 0] *= 1e-5
    assert linear._solve_normal_equations(X, y, X.T @ X) is None


def test_largest_eigenvalue_alone_is_that_of_all():
    X = np.random.default_rng(0).normal(size=(300, 300))
    gram = (X @ X.T)[None]
    exact = np.linalg.eigvalsh(gram)[:, -1]
    np.testing.assert_allclose(_arrays.largest_eigenvalues(gram), exact, rtol=1e-13)
    assert _arrays._lanczos(np.zeros((5, 5))) == 0


def test_newton_direction_of_many_parameters_is_least_squares():
    X = np.random.default_rng(0).normal(size=(300, 300))
    gradient = X[0]
    for hessian in (X @ X.T + np.eye(300), X[:, :5] @ X[:, :5].T):
        expected = np.linalg.lstsq(hessian, -gradient)[0]
        np.testing.assert_allclose(
            _optimum._newton_direction(hessian, gradient), expected, rtol=1e-9, atol=1e-12
        )


def test_fewer_samples_than_features_are_solved_in_their_span():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, 5, 40)), rng.choice([-1, 1], size=(2, 5))
    problem = lj.logistic_regression(X, y, l2=0.1)
    gradient = problem.group_gradients(1)(problem.minimizer)
    np.testing.assert_allclose(gradient, 0, atol=1e-13)


def test_estimated_smoothness_of_a_quadratic_is_its_largest_eigenvalue():
    curvature = jnp.linspace(0.9, 1.0, 200)
    estimate = lj.problems.estimate_smoothness(
        lambda theta, scale: scale * jnp.sum(curvature * theta**2) / 2,
        jnp.array([1.0, 3.0]),
        jnp.zeros(200),
    )
    np.testing.assert_allclose(estimate, [1, 3], rtol=1e-9)


def test_blocks_decode_as_their_matrix_does():
    code = lj.schemes.fractional_repetition(6, 2)
    arrival = jax.random.uniform(jax.random.key(0), (50, 6)).round(1)
    arrival = arrival.at[0, 2:4].set(jnp.inf)
    by_block = FirstDecodable(code).wait(arrival)
    by_matrix = FirstDecodable(codes.GradientCode(code.encoding, 2)).wait(arrival)
    jax.tree.map(np.testing.assert_array_equal, by_block, by_matrix)


def test_every_worker_with_a_partition_of_its_own_is_the_identity():
    taken = jnp.array([True, False, True])
    expected = Rescaled(np.eye(3), 2).weights(taken)
    np.testing.assert_array_equal(Rescaled(None, 2).weights(taken), expected)


def test_decoding_vectors_of_many_sets_are_those_of_pseudoinverses():
    encoding = np.asarray(lj.schemes.cyclic_repetition(10, 3).encoding)
    sets = codes._consecutive_sets(10, 8)
    expected = np.linalg.pinv(encoding[sets]).sum(-2)
    vectors = codes._vectors_of_many(encoding, sets)
    np.testing.assert_allclose(np.take_along_axis(vectors, sets, 1), expected, atol=1e-10)


def test_what_takes_long_shows_how_far_it_is(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(linear, "SLOW_DATA", 0)
    lj.linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    assert "linear_regression: 100%" in terminal.getvalue()
