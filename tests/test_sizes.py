"""Many workers, samples or features: other routes to the same numbers."""

import io
import math
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

import lagc_jax as lj
from lagc_jax import _checks
from lagc_jax.law import binomial
from lagc_jax.law.identical import iteration_mean
from lagc_jax.law.inverse import make_inverse
from lagc_jax.problems import _arrays, _least_squares, _logistic_fit, _newton_cg, _optimum, linear
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


# Condition of the data: their Gram matrix has the square. Beyond 1e4 it is not to be trusted, in
# float32 beyond 30.
@pytest.mark.parametrize("condition", [2, 1e3, 1e7, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_gram", [True, False])
def test_many_data_are_solved_as_few_are(condition, dtype, with_gram):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(600, 20)))[0]
    X = (q / np.geomspace(1, condition, 20) if condition < np.inf else q * (np.arange(20) < 9)) @ (
        np.linalg.qr(rng.normal(size=(20, 20)))[0]
    )
    X, y = X.reshape(3, 200, 20).astype(dtype), rng.normal(size=(3, 200)).astype(dtype)
    fit = _least_squares._fit_many(X, y, with_gram, lambda: None)
    flat, targets = X.reshape(-1, 20).astype(float), y.reshape(-1).astype(float)
    minimizer = linalg.lstsq(flat, targets, cond=600 * 2.3e-16, lapack_driver="gelsd")[0]
    residual = flat @ minimizer - targets
    exact = np.linalg.svd(flat)[1] ** 2
    rank = np.sum(exact > (600 * 2.3e-16) ** 2 * exact[0])
    # The sum's rounding over its smallest eigenvalue, or that of singular values.
    single = 1e-6 if dtype == "float32" and condition < 30 else 1e-15
    known = 1e-15 * np.sqrt(exact[0] / exact[rank - 1])
    share = single * condition**2 if condition < 1e4 else 10 * known
    np.testing.assert_allclose(fit.extremes, exact[[rank - 1, 0]], rtol=share + single)
    moved = np.linalg.norm(flat @ (fit.minimizer - minimizer))
    assert moved <= known * np.linalg.norm(targets)  # as far as the data tell
    np.testing.assert_allclose(fit.optimum, 0.5 * residual @ residual, rtol=known + 1e-14)
    tilt = np.einsum("mn,mnd->md", residual.reshape(3, 200), X)
    np.testing.assert_allclose(fit.tilt, tilt, atol=10 * known + 1e-14)
    directions = np.linalg.svd(flat)[2][:rank]
    np.testing.assert_allclose(
        np.linalg.norm(fit.root @ directions.T, axis=0) ** 2, exact[:rank], rtol=share + single
    )
    grams = np.einsum("mni,mnj->mij", X, X, dtype=float)
    single = {"float32": 1e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(fit.smoothness, np.linalg.eigvalsh(grams)[:, -1], rtol=single)
    if with_gram:
        assert fit.gram.dtype == dtype
        np.testing.assert_allclose(fit.gram, grams, atol=single)


@pytest.mark.parametrize("seed", [0, 5, 8])
def test_an_optimum_of_zero_is_not_negative(seed):
    rng = np.random.default_rng(seed)
    X = (1e-20 * rng.normal(size=(3, 50, 4))).astype("float32")
    y = X.astype(float) @ rng.normal(size=4) / 1e-20
    for with_gram in (True, False):
        fit = _least_squares._fit_many(X, y, with_gram, lambda: None)
        assert 0 <= fit.optimum < 1e-20


@pytest.mark.parametrize("order", ["C", "F", "apart"])
def test_many_numbers_are_checked_without_a_copy(order):
    numbers = np.ones((1200, 2000), order="F" if order == "F" else "C")
    numbers = numbers[:, ::2] if order == "apart" else numbers
    tracemalloc.start()
    assert _checks.finite("X", numbers) is numbers
    assert tracemalloc.get_traced_memory()[1] < numbers.nbytes / 16
    tracemalloc.stop()
    numbers[7, 9] = np.inf
    with pytest.raises(ValueError, match=r"X\[7, 9\]=inf is not finite"):
        _checks.finite("X", numbers)


def test_largest_eigenvalue_alone_is_that_of_all():
    X = np.random.default_rng(0).normal(size=(300, 300))
    gram = (X @ X.T)[None]
    exact = np.linalg.eigvalsh(gram)[:, -1]
    np.testing.assert_allclose(_arrays.largest_eigenvalues(gram), exact, rtol=1e-13)
    assert _arrays.lanczos(np.zeros((5, 5)).__matmul__, 5) == 0


def test_newton_direction_of_many_parameters_is_least_squares():
    X = np.random.default_rng(0).normal(size=(300, 300))
    gradient = X[0]
    for hessian in (X @ X.T + np.eye(300), X[:, :5] @ X[:, :5].T):
        expected = np.linalg.lstsq(hessian, -gradient)[0]
        np.testing.assert_allclose(
            _optimum.newton_direction(hessian, gradient, np.ones(300)),
            expected,
            rtol=1e-9,
            atol=1e-12,
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


@pytest.mark.parametrize(("dtype", "slow"), [("float32", 40), ("float64", 40), ("float64", 0)])
@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_logistic_regressions_of_many_data_are_fitted_as_those_of_few(
    monkeypatch, dtype, slow, C, l2
):
    """`slow=0` makes another preconditioner for every direction."""
    monkeypatch.setattr(_newton_cg, "SLOW", slow)
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3, 100, 8)) * np.geomspace(1, 30, 8)).astype(dtype)
    labels, weights = rng.integers(0, C, size=(3, 100)), rng.integers(0, 3, size=(3, 100)) * 1.0
    binary = np.array([[0.0], [1.0]])
    space = binary if C == 2 else np.eye(3)
    basis = binary if C == 2 else np.linalg.svd(np.ones((1, 3)))[2][1:].T
    arguments = X, labels, weights, l2, space, basis, np.dtype("float64")
    many, few = _logistic_fit._fit_many(*arguments), _logistic_fit._fit_few(*arguments)
    # Gradients vanish to the rounding of 300 terms of size up to 60.
    np.testing.assert_allclose(many.tilt, 0, atol=1e-11)
    np.testing.assert_allclose(many.minimizer, few.minimizer, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(many.optimum, few.optimum, rtol=1e-13)
    single = {"float32": 1e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(many.norms, few.norms, rtol=single)
    np.testing.assert_allclose(many.total_norm, few.total_norm, rtol=single)


def test_many_separable_data_have_no_optimum():
    X = np.random.default_rng(0).normal(size=(1, 50, 3))
    X[..., 0] += np.sign(X[..., 0])
    binary, ones = np.array([[0.0], [1.0]]), np.ones((1, 50))
    labels = (X[..., 0] > 0).astype(int)
    with pytest.raises(ValueError, match="no optimum found"):
        _logistic_fit._fit_many(X, labels, ones, 0.0, binary, binary, np.dtype(float))
