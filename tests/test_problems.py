"""The regressions against plain NumPy: gradients, constants, optimum and gap."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

import lagc_jax as lj
from lagc_jax._pytree import pytree
from lagc_jax.descent import find_path
from lagc_jax.problems._around import Around, Measured, measured

M = 6
GROUPS = (1, 2, 3, 6)
# Data and optima are float64 and the sums have under a hundred terms: a few hundred roundings.
ROUNDING = 1e-12


def draw(rows, features, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(M, rows, features)), rng.normal(size=(M, rows))


# With 7 rows of 4 features the Gram matrices are used throughout; with 2 rows of 9 features the
# data are used for single partitions, and the Gram matrices from 3 partitions a group on.
TALL, WIDE = (7, 4), (2, 9)


def labels(y):
    return np.where(y > 0, 1.0, -1.0)


def merged(array, num_groups):
    return array.reshape(num_groups, -1, *array.shape[2:])


def quadratic(X, y, theta):
    return 0.5 * np.sum((X @ theta - y) ** 2)


def logistic(X, y, l2, theta):
    return np.logaddexp(0, -y * (X @ theta)).sum() + 0.5 * M * l2 * theta @ theta


def logistic_minimizer(X, y, l2):
    """An optimum from SciPy, independent of the library's."""
    flat, sign = X.reshape(-1, X.shape[-1]), y.reshape(-1)

    def value_and_grad(theta):
        slope = -sign * expit(-sign * (flat @ theta))
        return logistic(X, y, l2, theta), flat.T @ slope + M * l2 * theta

    return minimize(value_and_grad, np.zeros(X.shape[-1]), jac=True, tol=1e-12, method="BFGS")


@pytest.mark.parametrize("sizes", [TALL, WIDE])
def test_linear_constants_optimum_and_loss(sizes):
    X, y = draw(*sizes)
    problem = lj.linear_regression(X, y)
    for num_groups in GROUPS:
        expected = [np.linalg.eigvalsh(x.T @ x)[-1] for x in merged(X, num_groups)]
        np.testing.assert_allclose(problem.group_smoothness(num_groups), expected, rtol=ROUNDING)
    flat = X.reshape(-1, sizes[1])
    eigenvalues = np.linalg.eigvalsh(flat.T @ flat)
    minimizer = np.linalg.lstsq(flat, y.reshape(-1))[0]
    np.testing.assert_allclose(problem.smoothness, problem.group_smoothness(M))
    np.testing.assert_allclose(problem.total_smoothness, eigenvalues[-1], rtol=ROUNDING)
    np.testing.assert_allclose(problem.strong_convexity, eigenvalues[0], rtol=1e-11)
    np.testing.assert_allclose(problem.minimizer, minimizer, rtol=1e-10)
    np.testing.assert_allclose(problem.optimum, quadratic(X, y, minimizer), rtol=ROUNDING)
    theta = np.linspace(-1, 1, sizes[1])
    np.testing.assert_allclose(problem.loss(theta), quadratic(X, y, theta), rtol=ROUNDING)
    difference = quadratic(X, y, theta) - quadratic(X, y, minimizer)
    np.testing.assert_allclose(problem.gap(jnp.asarray(theta)), difference, rtol=ROUNDING)


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-8])
def test_linear_gap_keeps_its_relative_precision_near_the_optimum(distance):
    X, y = draw(*TALL)
    problem = lj.linear_regression(X, y)
    theta = problem.minimizer + distance * jnp.arange(1.0, 5.0)
    # The move is exact here: close floats are subtracted without rounding.
    move = np.asarray(theta, np.longdouble) - np.asarray(problem.minimizer, np.longdouble)
    image = X.astype(np.longdouble).reshape(-1, 4) @ move
    # A gap of 1e-15 next to a loss of order 10 would be all rounding as a difference of losses.
    np.testing.assert_allclose(problem.gap(theta), float(0.5 * image @ image), rtol=ROUNDING)


def test_synthetic_smoothness_grows_as_lag_prescribes():
    problem = lj.synthetic_linear_regression(jax.random.key(3), 5, 8, growth=1.4)
    assert problem.X.shape == (5, 8, 8)
    np.testing.assert_allclose(problem.smoothness, (1.4 ** np.arange(5) + 1) ** 2, rtol=1e-12)
    problem = lj.synthetic_linear_regression(jax.random.key(0))  # of the study
    smoothness = (1.3 ** np.arange(12) + 1) ** 2
    assert problem.X.shape == (12, 50, 50)
    np.testing.assert_allclose(problem.smoothness, smoothness, rtol=1e-12)
    # q_m are orthonormal: X_m^T X_m = (L_m - 1) q_m q_m^T + I, so the sum has these eigenvalues.
    largest = (M * 2 + smoothness - 1).max()
    np.testing.assert_allclose(problem.total_smoothness, largest, rtol=1e-12)
    np.testing.assert_allclose(problem.strong_convexity, 12.0, rtol=1e-12)


def test_synthetic_without_noise_is_solved_exactly():
    problem = lj.synthetic_linear_regression(jax.random.key(0), 3, 5, noise=0.0)
    # Residuals of 1e-16 times targets of order 1, squared.
    assert float(problem.optimum) < 1e-26


@partial(jax.jit, static_argnums=2)
def answers(problem, theta, sizes=(1, 3, 6)):
    groups = [(problem.group_gradients(G)(theta), problem.group_smoothness(G)) for G in sizes]
    return groups, problem.total_smoothness, problem.gap(theta)


@pytest.mark.parametrize("kind", ["linear", "logistic"])
@pytest.mark.parametrize("sizes", [TALL, WIDE])
def test_rows_of_zeros_change_nothing(kind, sizes):
    X, y = draw(*sizes)
    padded_X = np.concatenate([X, np.zeros((M, 2, sizes[1]))], axis=1)
    if kind == "linear":
        plain = lj.linear_regression(X, y)
        padded = lj.linear_regression(padded_X, np.pad(y, ((0, 0), (0, 2))))
    else:
        # A zero row adds log 2 to loss and optimum, whatever its label, and nothing to the gap.
        plain = lj.logistic_regression(X, labels(y), l2=0.3)
        sign = np.pad(labels(y), ((0, 0), (0, 2)), constant_values=1)
        padded = lj.logistic_regression(padded_X, sign, l2=0.3)
    *ours, gap = jax.tree.leaves(answers(padded, np.linspace(-1, 1, sizes[1])))
    *theirs, expected = jax.tree.leaves(answers(plain, np.linspace(-1, 1, sizes[1])))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(gap, expected, rtol=1e-10)


def test_rank_deficient_data_have_the_smallest_nonzero_curvature():
    X, y = draw(7, 4)
    X[..., 3] = X[..., 0] - X[..., 1]
    problem = lj.linear_regression(X, y)
    flat = X.reshape(-1, 4)
    np.testing.assert_allclose(
        problem.strong_convexity, np.linalg.eigvalsh(flat.T @ flat)[1], rtol=1e-11
    )
    # The minimiser is not unique; its value is.
    full = np.linalg.lstsq(flat[:, :3], y.reshape(-1))[0]
    np.testing.assert_allclose(problem.optimum, quadratic(X[..., :3], y, full), rtol=ROUNDING)


def test_fewer_rows_than_features_are_solved_without_residual():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(3, 1, 8)), rng.normal(size=(3, 1))
    problem = lj.linear_regression(X, y)
    assert problem.root.shape == (3, 8)
    assert float(problem.optimum) < 1e-26
    expected = np.linalg.eigvalsh(X[:, 0] @ X[:, 0].T)[0]
    np.testing.assert_allclose(problem.strong_convexity, expected, rtol=1e-11)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_logistic_constants_optimum_loss_and_gap(l2):
    X, y = draw(7, 4)
    y = labels(y)
    problem = lj.logistic_regression(X, y, l2=l2)
    for num_groups in GROUPS:
        norms = [np.linalg.eigvalsh(x.T @ x)[-1] for x in merged(X, num_groups)]
        expected = np.array(norms) / 4 + M // num_groups * l2
        np.testing.assert_allclose(problem.group_smoothness(num_groups), expected, rtol=ROUNDING)
    found = logistic_minimizer(X, y, l2)
    assert np.linalg.norm(found.jac) < 1e-6
    # A gradient of 1e-6 at SciPy's point leaves it within 1e-6 of the optimum, its value 1e-12.
    np.testing.assert_allclose(problem.minimizer, found.x, atol=1e-6)
    np.testing.assert_allclose(problem.optimum, found.fun, rtol=ROUNDING)
    assert float(problem.strong_convexity) == pytest.approx(M * l2)
    theta = np.linspace(-1, 1, 4)
    loss = logistic(X, y, l2, theta)
    np.testing.assert_allclose(problem.loss(jnp.asarray(theta)), loss, rtol=ROUNDING)
    # Far away a partition's softplus must not overflow.
    far = logistic(X, y, l2, 1e3 * theta) - problem.optimum
    np.testing.assert_allclose(problem.gap(jnp.asarray(1e3 * theta)), far, rtol=ROUNDING)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_logistic_gap_near_the_optimum_is_the_quadratic_form(distance):
    X, y = draw(7, 4)
    y = labels(y)
    problem = lj.logistic_regression(X, y, l2=0.3)
    theta = problem.minimizer + distance * jnp.array([1.0, -2.0, 0.5, 1.0])
    move = np.asarray(theta) - np.asarray(problem.minimizer)
    slope = expit(-y * (X @ np.asarray(problem.minimizer)))
    curvature = np.einsum("mn,mni,mnj->ij", slope * (1 - slope), X, X) + M * 0.3 * np.eye(4)
    gap = float(problem.gap(theta))
    assert gap > 0
    # The third-order term is of relative size |move|; below it, the rounding of 42 terms of size
    # |move| in a sum of size |move|^2 remains.
    tolerance = 3 * distance + 50 * np.finfo(float).eps / distance
    np.testing.assert_allclose(gap, 0.5 * move @ curvature @ move, rtol=tolerance)


@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_problems_pass_through_jit_and_vmap(kind):
    def build(X, y):
        if kind == "linear":
            return lj.linear_regression(X, y)
        return lj.logistic_regression(X, labels(y), l2=0.3)

    problems, theta = [build(*draw(7, 4, seed)) for seed in (0, 1)], np.linspace(-1, 1, 4)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    batched = jax.vmap(answers, in_axes=(0, None))(both, theta)
    for i, problem in enumerate(problems):
        leaves = map(jax.tree.leaves, (batched, answers(problem, theta)))
        for got, expected in zip(*leaves, strict=True):
            np.testing.assert_allclose(got[i], expected, rtol=1e-11, atol=1e-12)


def test_integer_data_become_floats():
    problem = lj.linear_regression(np.ones((2, 1, 1), int), np.ones((2, 1), int))
    assert problem.X.dtype == jnp.result_type(float)


def test_gaussian_problem_has_the_smoothness_it_was_asked_for():
    key = jax.random.key(3)
    problem = lj.problems.gaussian_linear_regression(
        key, 5, num_rows=3, num_features=4, spread=16.0
    )
    assert problem.X.shape == (5, 3, 4)
    X = np.asarray(problem.X)
    norms = np.linalg.eigvalsh(X.swapaxes(1, 2) @ X)[:, -1]
    np.testing.assert_allclose(norms, [1, 2, 4, 8, 16], rtol=1e-12)
    np.testing.assert_allclose(problem.smoothness, norms, rtol=1e-12)
    with pytest.raises(ValueError, match=r"spread=0\.0"):
        lj.problems.gaussian_linear_regression(key, 5, spread=0.0)


def spiked_data(d=30):
    """X_m = c_m q q^T + 2 I and targets; one spike is zero."""
    X, y = np.random.default_rng(1).normal(size=(2, M, d))
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    X[0] = 0
    growth = 1.5 ** np.arange(M)[:, None, None]
    return growth * X[:, :, None] * X[:, None, :] + 2 * np.eye(d), y


def test_one_spike_a_partition_is_found_and_changes_no_number():
    X, y = spiked_data()
    problem = lj.linear_regression(X, y)
    assert problem.spiked.floor.tolist() == pytest.approx([4.0] * M, rel=1e-12)
    for num_groups in GROUPS:
        rows, targets = merged(X, num_groups), merged(y, num_groups)
        points = np.random.default_rng(2).normal(size=(num_groups, X.shape[2]))
        gradients = jax.jit(problem.group_gradients(num_groups))
        for given in (points[0], points):
            residual = np.einsum("gnd,gd->gn", rows, np.broadcast_to(given, points.shape)) - targets
            expected = np.einsum("gn,gnd->gd", residual, rows)
            np.testing.assert_allclose(gradients(jnp.asarray(given)), expected, rtol=ROUNDING,
                                       atol=ROUNDING * abs(expected).max())  # fmt: skip
    theta = np.asarray(problem.minimizer) + 1e-9 * points[0]
    distance = np.einsum("mnd,d->mn", X, theta - np.asarray(problem.minimizer))
    np.testing.assert_allclose(
        problem.gap(jnp.asarray(theta)), 0.5 * np.sum(distance**2), rtol=1e-12
    )


@pytest.mark.parametrize("entry", [(2, 5, 7), (0, 4, 4), (0, 4, 6)])
def test_what_differs_from_one_spike_by_more_than_rounding_has_none(entry):
    X, y = spiked_data()
    X[entry] += 1e-9
    assert lj.linear_regression(X, y).spiked is None


@pytest.mark.parametrize("sampled", [False, True])
def test_constants_of_groups_are_found_once_and_change_no_number(sampled):
    problem = lj.problems.gaussian_linear_regression(jax.random.key(0), 6, 4, 5)
    whole = lj.problems.minibatch(problem, 2, jax.random.key(1)) if sampled else problem
    known = measured(whole, 3)
    assert type(known) is (type(whole) if sampled else Measured)
    assert known.group_smoothness(3) is measured(whole, 3).group_smoothness(3)
    assert known.group_smoothness(2).shape == (2,)
    start = (lj.g_lag(6, 3), None, np.zeros(5), 50)
    apart, together = find_path(whole, *start), find_path(known, *start)
    assert all((a == b).all() for a, b in zip(apart[:3], together[:3], strict=True))


def test_constants_of_groups_stay_traced_where_the_problem_is():
    problem = lj.problems.gaussian_linear_regression(jax.random.key(0), 6, 4, 5)
    found = jax.jit(lambda p: measured(p, 3).group_smoothness(3))(problem)
    assert measured(problem, 1) is measured(problem, 6) is problem
    assert (found == problem.group_smoothness(3)).all()


@pytree()
class Halved(Around):
    """Another problem with half of its gradients."""

    problem: lj.Problem

    def group_gradients(self, num_groups):
        inner = self.problem.group_gradients(num_groups)
        return lambda theta: inner(theta) / 2


def test_an_oracle_is_of_the_gradients_that_a_problem_around_another_defines():
    inner = lj.linear_regression(*draw(*TALL))
    theta = jnp.ones(TALL[1])
    own = Halved(inner).group_oracle(2)(theta, jnp.asarray(0))
    np.testing.assert_array_equal(own, inner.group_gradients(2)(theta) / 2)
    drawn = lj.problems.minibatch(inner, 2, jax.random.key(0))
    through = Measured(drawn, jnp.ones(2)).group_oracle(2)(theta, jnp.asarray(0))
    np.testing.assert_array_equal(through, drawn.group_oracle(2)(theta, jnp.asarray(0)))
