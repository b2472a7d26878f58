"""Sparse features and partitions of unequal size are what the dense, padded ones are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse as jax_sparse
from scipy import sparse

import lagc_jax as lj

D, LENGTHS, L2 = 9, [5, 2, 7, 4], 0.1
RNG = np.random.default_rng(0)
PARTS = [RNG.normal(size=(n, D)) * (RNG.random((n, D)) < 0.4) for n in LENGTHS]
PARTS[1][0] = 0  # a row without a nonzero
LABELS = [np.where(RNG.random(n) < 0.5, 1, -1) for n in LENGTHS]
WHOLE = np.concatenate(PARTS)
FORMS = {
    "csr": sparse.csr_matrix(WHOLE),
    "coo": sparse.coo_array(WHOLE),
    "bcsr": jax_sparse.BCSR.fromdense(jnp.asarray(WHOLE)),
    "bcoo": jax_sparse.BCOO.fromdense(jnp.asarray(WHOLE), nse=np.count_nonzero(WHOLE) + 3),
    "lil": sparse.lil_matrix(WHOLE),
    "dok": sparse.dok_array(WHOLE),
    "list": [sparse.csr_matrix(part) for part in PARTS],
}


def broken(field, value):
    """A matrix whose first index or start is wrong."""
    matrix = FORMS["csr"].copy()
    getattr(matrix, field)[0] = value
    return matrix


def fill(parts):
    stacked = np.zeros((len(parts), max(LENGTHS), *np.shape(parts[0])[1:]))
    for one, part in zip(stacked, parts, strict=True):
        one[: len(part)] = part
    return stacked


@pytest.fixture(scope="module")
def dense():
    ones = fill([np.ones(n) for n in LENGTHS])
    return lj.logistic_regression(fill(PARTS), fill(LABELS), l2=L2, weights=ones)


@jax.jit
def answers(problem, theta, points):
    groups = [
        (problem.group_gradients(G)(theta), problem.group_gradients(G)(points[:G]),
         problem.group_smoothness(G)) for G in (1, 2, 4)
    ]  # fmt: skip
    constants = problem.smoothness, problem.minimizer, problem.optimum, problem.strong_convexity
    return groups, constants, problem.gap(theta), problem.loss(theta)


@pytest.mark.parametrize("form", FORMS)
def test_sparse_features_are_as_dense_ones(dense, form):
    theta, points = RNG.normal(size=D), RNG.normal(size=(4, D))
    problem = lj.logistic_regression(FORMS[form], LABELS, l2=L2)
    mine, expected = (jax.tree.leaves(answers(p, theta, points)) for p in (problem, dense))
    for one, other in zip(mine, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)
    plain = np.logaddexp(0, -np.concatenate(LABELS) * (WHOLE @ theta)).sum()
    np.testing.assert_allclose(mine[-1], plain + 2 * L2 * theta @ theta, rtol=1e-12)


def test_sparse_paths_costs_and_weights_are_dense_ones():
    weights = [RNG.integers(0, 3, n) for n in LENGTHS]
    weights[0][:] = 1
    one = lj.logistic_regression(FORMS["csr"], LABELS, l2=L2, weights=weights)
    other = lj.logistic_regression(PARTS, LABELS, l2=L2, weights=weights)
    runs = [
        lj.simulate(p, lj.lag(4, xi=0.1), lj.Exponential(1.0), jax.random.key(0), num_iterations=30)
        for p in (one, other)
    ]
    np.testing.assert_array_equal(runs[0].selected, runs[1].selected)
    np.testing.assert_allclose(runs[0].gap, runs[1].gap, rtol=1e-9)


def test_sparse_minibatches_are_dense_ones(dense):
    key, theta = jax.random.key(1), RNG.normal(size=D)
    problem = lj.logistic_regression(FORMS["csr"], LABELS, l2=L2)
    mine, other = (
        jax.jit(lj.problems.minibatch(p, 3, key).group_oracle(2))(theta, 5)
        for p in (problem, dense)
    )
    np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-13)


def test_groups_of_many_rows_have_their_largest_eigenvalue():
    X = sparse.random(600, 400, density=0.05, random_state=1, format="csr")
    problem = lj.logistic_regression(X, np.ones((6, 100)), l2=L2)
    dense = X.toarray()
    expected = [np.linalg.norm(x, 2) ** 2 / 4 + 2 * L2 for x in np.split(dense, 3)]
    np.testing.assert_allclose(problem.group_smoothness(3), expected, rtol=1e-11)
    total = np.linalg.norm(dense, 2) ** 2 / 4 + 6 * L2
    np.testing.assert_allclose(problem.total_smoothness, total, rtol=1e-13)


def test_float32_stays(dense):
    problem = lj.logistic_regression(FORMS["csr"].astype(np.float32), LABELS, l2=L2)
    floats = (leaf for leaf in jax.tree.leaves(problem) if leaf.dtype != np.int32)
    assert {leaf.dtype for leaf in floats} == {jnp.dtype("float32")}
    np.testing.assert_allclose(problem.optimum, dense.optimum, rtol=1e-6)


def test_lists_of_unequal_length_are_padded():
    targets = [RNG.normal(size=n) for n in LENGTHS]
    one = lj.linear_regression(PARTS, targets)
    other = lj.linear_regression(fill(PARTS), fill(targets))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    classes = [np.arange(n) % 2 for n in LENGTHS]
    one = lj.problems.multinomial_regression(PARTS, classes, l2=L2)
    ones = fill([np.ones(n) for n in LENGTHS])
    other = lj.problems.multinomial_regression(fill(PARTS), fill(classes), l2=L2, weights=ones)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (FORMS["csr"], LABELS[1:], "y has 13 labels but X has 18 rows"),
        (
            FORMS["list"],
            [*LABELS[1:], LABELS[0]],
            r"y has partitions of \[2, 7, 4, 5\] labels but X of \[5, 2, 7, 4\] rows",
        ),
        (FORMS["csr"], np.concatenate(LABELS), "y is no list of partitions"),
        (FORMS["csr"], 1.0, "y is no list of partitions"),
        (PARTS, 1.0, "y is no list of partitions"),
        (FORMS["csr"], [np.zeros(n) for n in LENGTHS], "y holds the label 0.0"),
        (FORMS["csr"] * np.nan, LABELS, r"X\[0\]=nan is not finite"),
        ([FORMS["csr"], FORMS["csr"][:, 1:]], LABELS, r"X has partitions of \[8, 9\] features"),
        (broken("indices", 99), LABELS, r"X.indices has entries outside of 0 to 8; mend them"),
        (broken("indices", -1), LABELS, r"X.indices has entries outside of 0 to 8; mend them"),
        (broken("indptr", 1), LABELS, r"X.indptr does not rise from 0"),
        (PARTS, LABELS[1:] + LABELS[:1], "y has partitions of shapes"),
        (jax_sparse.BCOO.fromdense(jnp.ones((2, 3, 4))), LABELS, r"sparse with shape \(2, 3, 4\)"),
        (jax_sparse.BCOO.fromdense(jnp.ones((2, 3)), n_batch=1), LABELS, "batch axes"),
    ],
)
def test_what_does_not_fit_is_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        lj.logistic_regression(X, y, l2=L2)


def test_linear_regression_refuses_sparse_features():
    with pytest.raises(ValueError, match="X is sparse"):
        lj.linear_regression(FORMS["csr"], LABELS)
