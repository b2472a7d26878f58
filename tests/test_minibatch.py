"""Gradients on minibatches, and of every group at a point of its own, against plain NumPy."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import chi2

import lagc_jax as lj
from lagc_jax.problems._arrays import draw_samples, partition_keys

M, N, D, C, L2, B = 6, 5, 3, 4, 0.3, 3
GROUPS = (1, 2, 6)
# Sums of under a hundred terms of order one in float64.
ROUNDING = 1e-12
KINDS = ("linear", "wide", "logistic", "multinomial", "general", "network")
KEY = jax.random.key(7)


def weighted_squares(theta, part):
    X, y, weights = part
    return 0.5 * jnp.sum(weights * (X @ theta - y) ** 2)


def sampler(part, key, batch_size):
    X, y, weights = part
    (X, y), weights = draw_samples(key, (X, y), weights, batch_size)
    return X, y, weights


@partial(jax.jit, static_argnums=2)
def rows_drawn(key, weights, batch_size):
    """Rows (M, B) drawn of partitions with weights (M, N)."""

    def draw(key, weights):
        return draw_samples(key, jnp.arange(N), weights, batch_size)[0]

    return jax.vmap(draw)(partition_keys(key, len(weights)), weights)


@jax.jit
def single_rows(keys, weights):
    """Rows (R, M) drawn of partitions, one each, with R keys."""
    return jax.vmap(lambda key: rows_drawn(key, weights, 1)[:, 0])(keys)


class Case(NamedTuple):
    """A problem, and in NumPy the weights (M, N) and gradients (M, N, d) of its samples."""

    kind: str
    problem: lj.Problem
    weights: np.ndarray
    each: Callable[[np.ndarray], np.ndarray]
    theta: np.ndarray

    def partition_gradients(self, theta, rows=None):
        """Gradients (M, d) of all samples, or of the given rows (M, B) as an unbiased estimate."""
        each = self.weights[..., None] * self.each(theta)
        total = each.sum(1)
        if rows is not None:
            count = (self.weights > 0).sum(1)
            total = np.stack([each[m, rows[m]].sum(0) for m in range(M)])
            total *= count[:, None] / rows.shape[1]
        return total if self.kind in ("linear", "wide", "general") else total + L2 * theta

    def group_gradients(self, points, num_groups, rows=None):
        """The same of groups, at one point or at points of their own (G, d)."""
        gradients = [
            self.partition_gradients(point, rows).reshape(num_groups, M // num_groups, -1).sum(1)
            for point in np.broadcast_to(points, (num_groups, self.theta.size))
        ]
        return np.array(gradients)[np.arange(num_groups), np.arange(num_groups)]

    def drawn(self, key, batch_size):
        """The rows (M, B) that `sample` draws with this key."""
        return rows_drawn(key, jnp.asarray(self.weights), batch_size)


@cache
def make(kind, dtype=np.float64):
    """A case of a kind, on the same data in every precision."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(M, N, 12 if kind == "wide" else D)).astype(dtype)
    y = rng.normal(size=(M, N))
    classes, sign = rng.integers(C, size=(M, N)), np.where(y > 0, 1, -1)
    # Not whole, zero here and there and not only at the end; one partition is empty.
    weights = rng.uniform(0.5, 2.0, size=(M, N)) * (rng.uniform(size=(M, N)) < 0.7)
    weights[1] = [0, 0, 1.5, 0, 0]
    weights[2] = 0
    given, unknown = dict(l2=L2, weights=weights), dict(smoothness=np.ones(M))

    def squares(theta):
        return (X @ theta - y)[..., None] * X

    def binary(theta):
        return (-sign * expit(-sign * (X @ theta)))[..., None] * X

    def softmax_slopes(theta):
        slope = softmax(X @ theta.reshape(D, C), axis=-1) - np.eye(C)[classes]
        return (X[..., None] * slope[:, :, None, :]).reshape(M, N, -1)

    def backpropagated(theta):
        W, b, V, c = np.split(theta, np.cumsum([D * 2, 2, 2 * C]))
        hidden = np.tanh(X @ W.reshape(D, 2) + b)
        error = softmax(hidden @ V.reshape(2, C) + c, axis=-1) - np.eye(C)[classes]
        back = (error @ V.reshape(2, C).T) * (1 - hidden**2)
        parts = [X[..., None] * back[:, :, None, :], back]
        parts += [hidden[..., None] * error[:, :, None, :], error]
        return np.concatenate([part.reshape(M, N, -1) for part in parts], axis=-1)

    if kind in ("linear", "wide"):
        weights, each = np.ones((M, N)), squares
        problem = lj.linear_regression(X, y)
    elif kind == "logistic":
        problem, each = lj.logistic_regression(X, sign, **given), binary
    elif kind == "multinomial":
        problem, each = lj.problems.multinomial_regression(X, classes, **given), softmax_slopes
    elif kind == "general":
        data, each = tuple(a.astype(dtype) for a in (X, y, weights)), squares
        start = jnp.zeros(D, dtype)
        problem = lj.problems.general_problem(
            weighted_squares, data, start, optimum=0.0, sampler=sampler, **unknown
        )
    else:
        start, each = lj.problems.initial_network(jax.random.key(0), (D, 2, C)), backpropagated
        problem = lj.problems.network_problem(X, classes, start, **given, **unknown)
    theta = np.random.default_rng(1).normal(size=problem.num_parameters)
    return Case(kind, problem, weights, each, theta)


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    return make(request.param)


def points_of(case, num_groups, own):
    """One point, or a point for every group."""
    shape = (num_groups, case.theta.size)
    return np.random.default_rng(2).normal(size=shape) if own else case.theta


def test_group_gradients_at_one_point_and_at_points_of_their_own(case):
    places = [(groups, own) for groups in GROUPS for own in (False, True)]
    points = [points_of(case, *place) for place in places]
    gradients = [case.problem.group_gradients(groups) for groups, _ in places]
    answers = jax.jit(lambda points: [g(p) for g, p in zip(gradients, points, strict=True)])(points)
    for (groups, _), at, answer in zip(places, points, answers, strict=True):
        expected = case.group_gradients(at, groups)
        np.testing.assert_allclose(answer, expected, rtol=ROUNDING, atol=ROUNDING)


def test_points_of_their_own_cost_one_evaluation(case):
    """No G x G gradients: memory and products of the compiled program are those of one point."""

    def flops(points):
        compiled = jax.jit(case.problem.group_gradients(M)).lower(points).compile()
        return compiled.cost_analysis()["flops"]

    one, own = (flops(jnp.zeros(shape)) for shape in ((case.theta.size,), (M, case.theta.size)))
    # At most what taking the move from the minimiser and the penalty at M points adds.
    assert own <= one + 5 * M * case.theta.size


def test_the_oracle_of_a_problem_that_draws_nothing_is_its_gradient_bit_for_bit(case):
    """Alone and in a batch."""
    gradients, oracle = case.problem.group_gradients(2), case.problem.group_oracle(2)
    points = np.stack([case.theta, -2 * case.theta])
    drawn, exact = (
        jax.jit(lambda points, f=f: (f(points[0]), jax.vmap(f)(points)))(points)
        for f in (lambda theta: oracle(theta, jnp.int32(3)), gradients)
    )
    for one, other in zip(drawn, exact, strict=True):
        np.testing.assert_array_equal(one, other)


def test_minibatch_gradients_are_those_of_the_rows_drawn(case):
    noisy = lj.problems.minibatch(case.problem, B, KEY)
    places = ((1, False), (2, False), (M, False), (M, True))
    points = [points_of(case, *place) for place in places]
    oracles = [noisy.group_oracle(groups) for groups, _ in places]
    draw = jax.jit(lambda points, k: [o(p, k) for o, p in zip(oracles, points, strict=True)])
    for k in (0, 5):
        rows = np.asarray(case.drawn(jax.random.fold_in(KEY, k), B))
        for (groups, _), at, answer in zip(places, points, draw(points, k), strict=True):
            expected = case.group_gradients(at, groups, rows)
            np.testing.assert_allclose(answer, expected, rtol=ROUNDING, atol=ROUNDING)


def test_mean_over_all_rows_is_the_exact_gradient(case):
    """Exact, not sampled: one key is looked up for every row that a draw of one can give."""
    keys = jax.random.split(jax.random.key(3), 200)
    rows = np.asarray(single_rows(keys, case.weights))
    gradients = np.asarray(
        jax.jit(jax.vmap(lambda key: case.problem.sample(key, 1).group_gradients(M)(case.theta)))(
            keys
        )
    )
    exact = case.partition_gradients(case.theta)
    for m in range(M):
        counted = np.flatnonzero(case.weights[m] > 0)
        found, first = np.unique(rows[:, m], return_index=True)
        if len(counted):
            np.testing.assert_array_equal(found, counted)  # never a row of weight zero
        mean = gradients[first, m].mean(0)
        np.testing.assert_allclose(mean, exact[m], rtol=ROUNDING, atol=ROUNDING)


def test_rows_are_uniform_and_independent_of_one_another():
    """Pearson's test at the level 1e-3, with a fixed seed: single rows, pairs and partitions."""
    weights, R = jnp.tile(jnp.array([0.0, 2.0, 0.5, 0.0, 1.0]), (2, 1)), 9000
    keys = jax.random.split(jax.random.key(4), R)
    drawn = np.asarray(jax.vmap(lambda key: rows_drawn(key, weights, 2))(keys))
    place = np.searchsorted([1, 2, 4], drawn)
    for first, second in ((place[:, 0, 0], place[:, 0, 1]), (place[:, 0, 0], place[:, 1, 0])):
        counts = np.bincount(3 * first + second, minlength=9)
        statistic = np.sum((counts - R / 9) ** 2 / (R / 9))
        assert statistic < chi2.ppf(1 - 1e-3, df=8)


def test_all_but_the_oracle_is_that_of_all_samples(case):
    noisy, problem = lj.problems.minibatch(case.problem, B, KEY), case.problem
    theta = jnp.asarray(case.theta)

    @jax.jit
    def values(p):
        gradients = [q.group_gradients(2)(theta) for q in (p, p.sample(KEY, 2))]
        return p.gap(theta), p.loss(theta), gradients, p.group_smoothness(2)

    for answer in (
        lambda p: (p.smoothness, p.total_smoothness, p.strong_convexity, p.minimizer, p.optimum),
        lambda p: (p.num_partitions, p.num_parameters),
        lambda p: (p.unflatten(theta), p.flatten(p.unflatten(theta))),
        values,
    ):
        jax.tree.map(np.testing.assert_array_equal, answer(noisy), answer(problem))


def descend(noisy, step_size, num_iterations):
    """Minibatch gradient descent from zeros; the gaps."""
    oracle = noisy.group_oracle(2)

    def body(theta, k):
        return theta - step_size * oracle(theta, k).sum(0), noisy.gap(theta)

    start = jnp.zeros_like(noisy.minimizer)
    return jax.lax.scan(body, start, jnp.arange(num_iterations))[1]


def test_keys_batch_and_never_compile_anew(compilations):
    case = make("linear")
    steps = jax.jit(lambda noisy: descend(noisy, 0.01, 5))
    noisy = lj.problems.minibatch(case.problem, B, KEY)
    keys = jax.random.split(KEY, 3)
    first = steps(noisy)
    others = [lj.problems.minibatch(case.problem, B, key) for key in keys]
    with compilations() as compiled:
        single = [steps(other) for other in others]
    assert compiled == [0]
    assert not np.array_equal(first[1:], single[0][1:])
    batched = jax.vmap(lambda key: steps(lj.problems.minibatch(case.problem, B, key)))(keys)
    np.testing.assert_allclose(batched, np.stack(single), rtol=1e-10)
    again = jax.vmap(steps, in_axes=(replace(noisy, problem=None, key=0),))(
        replace(noisy, key=keys)
    )
    np.testing.assert_allclose(again, batched, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_is_kept_and_draws_the_same_rows(kind):
    single, double = make(kind, np.float32), make(kind)
    answers = []
    for case, dtype in ((single, np.float32), (double, np.float64)):
        noisy = lj.problems.minibatch(case.problem, B, KEY)
        points = jnp.asarray(np.tile(case.theta, (2, 1)), dtype)
        answers.append(jax.jit(noisy.group_oracle(2))(points, 1))
        assert answers[-1].dtype == dtype
    # Twenty rows of order one in float32.
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)


def test_without_residuals_the_noise_dies_out():
    """Every minibatch then has the same optimum: a constant step reaches the rounding of theta."""
    X = make("linear").problem.X
    noisy = lj.problems.minibatch(lj.linear_regression(X, X @ np.array([1.0, -2.0, 3.0])), B, KEY)
    gap = jax.jit(lambda noisy: descend(noisy, 0.01, 1000))(noisy)
    assert gap[-1] < 1e-25 * gap[0]


def test_keys_of_the_old_form_are_taken():
    problem = make("linear").problem
    old = lj.problems.minibatch(problem, B, jax.random.PRNGKey(7))
    new = lj.problems.minibatch(problem, B, KEY)
    gradients = jax.jit(lambda noisy: noisy.group_oracle(1)(np.ones(D), 2))
    np.testing.assert_array_equal(gradients(old), gradients(new))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(batch_size=0), "batch_size=0 is too small; give a whole number >= 1"),
        (dict(batch_size=2.5), "batch_size=2.5 is not a whole number; give an int"),
        (dict(key=3), "key=3 is not one JAX random key; give jax.random.key"),
        (dict(key=jax.random.split(KEY, 2)), "is not one JAX random key; give .* batch with"),
        (dict(key=None), "key=None is not one JAX random key"),
    ],
)
def test_bad_input_is_refused(problem, changes, message):
    arguments = dict(problem=problem, batch_size=1, key=KEY) | changes
    with pytest.raises(ValueError, match=message):
        lj.problems.minibatch(**arguments)


def test_problems_without_samples_are_refused():
    data = (jnp.ones((2, 1, 1)), jnp.ones((2, 1)), jnp.ones((2, 1)))
    general = lj.problems.general_problem(
        weighted_squares, data, jnp.zeros(1), smoothness=np.ones(2), optimum=0.0
    )
    with pytest.raises(ValueError, match="sampler=None; give general_problem a `sampler`"):
        lj.problems.minibatch(general, 1, KEY)

    class Own(lj.Problem):
        pass

    with pytest.raises(ValueError, match="Own has no samples to draw from; define its `sample`"):
        lj.problems.minibatch(Own(), 1, KEY)
