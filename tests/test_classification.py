"""Multinomial logistic regression against plain NumPy, weights of samples, and accuracy."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import sparse

import lagc_jax as lj
from lagc_jax.problems import _logistic_fit

M, N, D, C = 6, 5, 3, 4
GROUPS = (1, 2, 3, 6)
L2 = 0.3
# Sums of under a hundred terms of order one in float64.
ROUNDING = 1e-12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(M, N, D)) * np.linspace(0.3, 1.5, M)[:, None, None]
    return reference.Data("multinomial", X, rng.integers(C, size=(M, N)), L2)


@pytest.fixture(scope="module")
def multinomial(data):
    return lj.problems.multinomial_regression(data.X, data.y, l2=L2)


@pytest.fixture(scope="module")
def theta():
    return np.random.default_rng(1).normal(size=(D, C))


@pytest.mark.parametrize("num_groups", GROUPS)
def test_group_constants_are_those_of_the_definition(data, multinomial, num_groups):
    expected = reference.smoothness(data, num_groups)
    np.testing.assert_allclose(multinomial.group_smoothness(num_groups), expected, rtol=ROUNDING)


@pytest.mark.parametrize("l2", [0.0, L2])
def test_optimum_loss_and_gap(data, theta, l2):
    plain = data._replace(l2=l2)
    problem = lj.problems.multinomial_regression(data.X, data.y, l2=l2)
    best = reference.minimiser(plain)
    # A gradient below 1e-7 at SciPy's point leaves its value within 1e-13.
    np.testing.assert_allclose(problem.optimum, reference.loss(plain, best), rtol=ROUNDING)
    ours = np.asarray(problem.unflatten(problem.minimizer))
    # Without a penalty the columns are determined up to a common vector.
    centred = best - best.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, centred, atol=1e-5)
    assert float(problem.strong_convexity) == pytest.approx(M * l2)
    gap, loss = jax.jit(lambda theta: (problem.gap(theta), problem.loss(theta))), problem.loss
    for scale in (1.0, 1e3):  # far away no exponential may overflow
        flat = problem.flatten(scale * theta)
        expected = reference.loss(plain, scale * theta)
        np.testing.assert_allclose(gap(flat)[0], expected - problem.optimum, rtol=1e-11)
    np.testing.assert_allclose(loss(problem.flatten(theta)), reference.loss(plain, theta))


def exact_gap(problem, move):
    """Loss minus optimum in 60 decimals, the stored minimiser's slope included."""
    D60 = decimal.Decimal
    with decimal.localcontext() as context:
        context.prec = 60
        best = [[D60(float(v)) for v in row] for row in problem.unflatten(problem.minimizer)]
        moved = [
            [b + D60(float(m)) for b, m in zip(*rows, strict=True)]
            for rows in zip(best, move, strict=True)
        ]

        def loss(W):
            total = D60(float(problem.l2)) * M / 2 * sum(v * v for row in W for v in row)
            for x, label in zip(
                np.asarray(problem.X).reshape(-1, D), np.ravel(problem.labels), strict=True
            ):
                z = [sum(D60(float(x[i])) * W[i][c] for i in range(D)) for c in range(C)]
                total += sum(v.exp() for v in z).ln() - z[label]
            return total

        return float(loss(moved) - loss(best))


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-8])
def test_gap_keeps_its_relative_precision_near_the_optimum(multinomial, theta, distance):
    """A gap of 1e-15 next to a loss of 40 would be rounding as a difference of losses."""
    flat = multinomial.minimizer + distance * multinomial.flatten(theta)
    move = np.asarray(multinomial.unflatten(flat)) - multinomial.unflatten(multinomial.minimizer)
    gap = jax.jit(multinomial.gap)(flat)
    # The slope at the stored minimiser is a sum of 30 terms of order one that cancel: it is known
    # to some 50 roundings, the only part of the gap that is not known to relative precision.
    slope = 50 * np.finfo(float).eps * np.linalg.norm(move)
    np.testing.assert_allclose(gap, exact_gap(multinomial, move), rtol=1e-11, atol=slope)


def test_smoothness_is_the_smallest_constant_with_an_intercept(data):
    X = data.X.copy()
    X[..., -1] = 1.0
    problem = lj.problems.multinomial_regression(X, data.y, l2=L2)
    # Logits (0, 0, -50, -50): the first two classes share every sample.
    W = np.zeros((D, C))
    W[-1, 2:] = -50.0
    gradient = problem.group_gradients(1)
    hessian = jax.jit(jax.jacfwd(lambda theta: gradient(theta)[0]))(problem.flatten(W))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(hessian)[-1], problem.total_smoothness, rtol=ROUNDING
    )


def test_two_classes_are_the_binary_regression(data):
    """With half the penalty: W = (-theta/2, theta/2), and the same path at the default step."""
    sign = np.where(data.y > 1, 1, -1)
    binary = lj.logistic_regression(data.X, sign, l2=L2)
    two = lj.problems.multinomial_regression(data.X, (sign + 1) // 2, l2=2 * L2)
    np.testing.assert_allclose(two.optimum, binary.optimum, rtol=ROUNDING)
    np.testing.assert_allclose(two.smoothness, 2 * np.asarray(binary.smoothness), rtol=ROUNDING)
    W = two.unflatten(two.minimizer)
    np.testing.assert_allclose(W[:, 1] - W[:, 0], binary.minimizer, rtol=1e-10)
    scheme = lj.lag(M, xi=0.3)
    paths = [lj.descend(p, scheme, num_iterations=30) for p in (binary, two)]
    np.testing.assert_allclose(paths[0].gap, paths[1].gap, rtol=1e-9)
    np.testing.assert_array_equal(paths[0].selected, paths[1].selected)
    assert 0 < np.mean(paths[0].selected) < 1


@pytest.mark.parametrize("trigger", ["server", "worker"])
def test_path_is_that_of_the_definition(data, multinomial, trigger):
    K, scheme = 30, lj.g_lag(M, 3, xi=0.4, memory=5, trigger=trigger)
    alpha = 1 / float(multinomial.total_smoothness)
    expected = reference.run_path(data, 3, trigger, 0.4, 5, alpha, K, theta0=np.zeros((D, C)))
    assert reference.tie_margin(expected) > 1e-9
    run = lj.simulate(multinomial, scheme, lj.Pareto(1.0, 1.5), jax.random.key(0), num_iterations=K)
    np.testing.assert_array_equal(run.selected, expected.selected)
    assert 0 < run.selected.mean() < 1
    np.testing.assert_allclose(run.theta, expected.theta[-1], rtol=1e-9)
    # The reference subtracts losses of order 40.
    np.testing.assert_allclose(run.gap, expected.gap, rtol=1e-9, atol=1e-12)


@jax.jit
def answers(problem, flat):
    return problem.gap(flat), problem.group_gradients(2)(flat), problem.group_smoothness(2)


@pytest.mark.parametrize("kind", ["binary", "multinomial"])
def test_weights_count_samples_and_zeros_leave_no_trace(data, theta, kind):
    """A weight of two is a sample twice, a weight of zero is no sample, whatever its label."""
    build, y, point = lj.problems.multinomial_regression, data.y, theta
    if kind == "binary":
        build, y, point = lj.logistic_regression, np.where(data.y > 1, 1, -1), theta[:, 0]
    weights = np.zeros((M, N + 2))
    weights[:, :N], weights[:, 0] = 1.0, 2.0
    X = np.concatenate([data.X, np.full((M, 2, D), 7.0)], axis=1)
    labels = np.pad(y, ((0, 0), (0, 2)), constant_values=99)
    ours = build(X, labels, l2=L2, weights=weights)
    repeated = np.concatenate([data.X, data.X[:, :1]], axis=1)
    plain = build(repeated, np.concatenate([y, y[:, :1]], axis=1), l2=L2)
    for name in ("optimum", "smoothness", "total_smoothness"):
        np.testing.assert_allclose(getattr(ours, name), getattr(plain, name), rtol=1e-11)
    for got, expected in zip(
        answers(ours, plain.flatten(point)), answers(plain, plain.flatten(point)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)


def test_single_precision(data, theta):
    X = data.X.astype(np.float32)
    single = lj.problems.multinomial_regression(X, data.y, l2=L2)
    double = lj.problems.multinomial_regression(X.astype(np.float64), data.y, l2=L2)
    flat = single.flatten(theta)
    gap, gradients, _ = answers(single, flat)
    for leaf in (gap, gradients, single.smoothness, single.minimizer, single.tilt):
        assert leaf.dtype == jnp.float32
    exact_gap, exact_gradients, _ = answers(double, np.float64(flat))
    np.testing.assert_allclose(gap, exact_gap, rtol=1e-5)
    np.testing.assert_allclose(gradients, exact_gradients, rtol=1e-5, atol=1e-5)
    # Near the stored optimum the gap of 1e-8, next to a loss of 40, keeps five digits.
    near = np.asarray(single.minimizer) + np.float32(1e-5) * np.asarray(flat)
    exact_gap = answers(double, np.float64(near))[0]
    assert 0 < exact_gap < 1e-7
    np.testing.assert_allclose(answers(single, near)[0], exact_gap, rtol=1e-3)


def test_problem_passes_through_jit_and_vmap(multinomial, data, theta):
    other = lj.problems.multinomial_regression(2 * data.X, data.y, l2=L2)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), multinomial, other)
    flat = multinomial.flatten(theta)
    batched = jax.vmap(answers, in_axes=(0, None))(both, flat)
    for i, problem in enumerate((multinomial, other)):
        for got, expected in zip(batched, answers(problem, flat), strict=True):
            np.testing.assert_allclose(got[i], expected, rtol=1e-11, atol=1e-12)


def test_accuracy_counts_right_classes_and_keeps_nan():
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 5.0], [1.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    assert float(lj.problems.classification_accuracy(logits, [0, 2, 1, 0])) == 0.5
    logits[0, 0] = np.nan
    assert np.isnan(lj.problems.classification_accuracy(logits, [0, 2, 0, 0]))
    with pytest.raises(ValueError, match=r"logits has shape \(4, 3\) and y has shape \(3,\); give"):
        lj.problems.classification_accuracy(logits, [0, 1, 2])


def test_accuracy_is_recorded_along_the_path(data, multinomial):
    """Along whole paths, stopped paths and coded ones; as a pytree, in the form of the user."""
    X, y = data.X.reshape(-1, D), data.y.reshape(-1)

    def record(W):
        return {"accuracy": lj.problems.classification_accuracy(X @ W, y), "W": W, "one": 1}

    scheme, run = lj.gc(M, 2), dict(num_iterations=40, record=record)
    path = lj.descend(multinomial, scheme, **run)
    W = np.asarray(path.recorded["W"])
    assert W.shape == (41, D, C)
    np.testing.assert_array_equal(W[0], 0)
    np.testing.assert_array_equal(W[-1], path.theta)
    shares = [np.mean((X @ w).argmax(1) == y) for w in W]
    np.testing.assert_allclose(path.recorded["accuracy"], shares, rtol=ROUNDING)
    gap = jax.jit(jax.vmap(lambda w: multinomial.gap(multinomial.flatten(w))))(W)
    np.testing.assert_allclose(path.gap, gap, rtol=ROUNDING)

    short = lj.descend(multinomial, scheme, accuracy=float(path.gap[20]), **run)
    np.testing.assert_allclose(short.recorded["W"][:21], W[:21], rtol=1e-9)
    assert np.isnan(short.recorded["accuracy"][21:]).all()
    assert np.isnan(short.recorded["W"][21:]).all()
    assert short.recorded["one"].tolist() == [1] * 21 + [0] * 20
    delays, key = lj.Exponential(1.0), jax.random.key(0)
    for exact in (True, False):
        coded = lj.simulate(multinomial, scheme, delays, key, exact_recovery=exact, **run)
        np.testing.assert_allclose(coded.recorded["W"], W, rtol=1e-7, atol=1e-10)
    assert lj.descend(multinomial, scheme, num_iterations=40).recorded is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(y=np.array([[0, 1], [-1, 0]])), r"y holds the class -1.0; give whole numbers from 0"),
        (dict(y=np.array([[0, 1], [0.5, 0]])), r"y holds the class 0.5; give whole numbers from 0"),
        (dict(y=np.array([[1, 2], [2, 1]])), r"no sample of class 0 but of class 2; count from 0"),
        (dict(num_classes=2), r"y holds the class 2.0; give whole numbers from 0 to 1"),
        (dict(num_classes=1), r"num_classes=1 is too small; give"),
        (dict(weights=np.ones(2)), r"weights has shape \(2,\); give \(2, 2\)"),
        (dict(weights=-np.ones((2, 2))), r"must be finite and not negative; give weights >= 0"),
        (dict(l2=-1.0), r"l2=-1.0 must be .* not negative; give l2 >= 0"),
        (dict(y=np.zeros((2, 2)), l2=0.0), r"no optimum found: X separates .* l2=0.*; give l2 > 0"),
        (dict(X=np.full((2, 2, 1), np.nan)), r"X\[0, 0, 0\]=nan is not finite"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = dict(X=np.ones((2, 2, 1)), y=np.array([[0, 1], [2, 0]]), l2=1.0) | changes
    with pytest.raises(ValueError, match=message):
        lj.problems.multinomial_regression(**arguments)


def test_starts_of_another_form_are_refused(multinomial):
    with pytest.raises(ValueError, match=r"theta0 has shape \(12,\); give \(3, 4\)"):
        lj.descend(multinomial, lj.gd(M), num_iterations=1, theta0=np.zeros(D * C))


@pytest.mark.parametrize("kind", ["dense", "many", "sparse", "multinomial"])
def test_an_optimum_does_not_depend_on_the_units_of_the_features(kind, monkeypatch):
    rng = np.random.default_rng(4)
    X, units = rng.normal(size=(3, 40, 3)), np.array([1.0, 1e9, 1e-10])
    y = np.sign(X[..., 0] + rng.logistic(size=(3, 40)))
    if kind == "many":
        monkeypatch.setattr(_logistic_fit, "SMALL_DATA", 0)

    def problem(X):
        if kind == "multinomial":
            return lj.problems.multinomial_regression(X, (y > 0).astype(int), l2=0)
        return lj.logistic_regression(
            sparse.csr_matrix(X.reshape(-1, 3)) if kind == "sparse" else X, y, l2=0
        )

    plain, scaled = problem(X), problem(X * units)
    assert float(scaled.optimum) == pytest.approx(float(plain.optimum), rel=1e-10)
    there = scaled.unflatten(scaled.minimizer) * (
        units if kind != "multinomial" else units[:, None]
    )
    np.testing.assert_allclose(there, plain.unflatten(plain.minimizer), rtol=1e-6, atol=1e-8)


def test_a_penalty_in_tiny_units_is_no_separable_problem():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3, 40, 2))
    y = np.sign(X[..., 0] + rng.logistic(size=(3, 40)))
    plain, scaled = (
        lj.logistic_regression(X, y, l2=1.0),
        lj.logistic_regression(1e-10 * X, y, l2=1e-20),
    )
    assert float(scaled.optimum) == pytest.approx(float(plain.optimum), rel=1e-10)
