"""Problems from a loss function against the regressions in closed form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax.problems._arrays import draw_samples

M, N, D = 6, 5, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(M, N, D))), jnp.asarray(rng.normal(size=(M, N)))


def squares(theta, part):
    X, y = part
    return 0.5 * jnp.sum((X @ theta - y) ** 2)


def weighted(part, key, batch_size):
    (X, y), weights = draw_samples(key, part[:2], part[2], batch_size)
    return X, y, weights


def affine_squares(parameters, part):
    X, y = part
    return 0.5 * jnp.sum((X @ parameters["w"] + parameters["b"] - y) ** 2)


@pytest.fixture(scope="module")
def general(data):
    return lj.problems.general_problem(squares, data, jnp.zeros(D))


@pytest.fixture(scope="module")
def linear(data):
    return lj.linear_regression(*data)


def test_general_gradients_and_loss_are_those_of_the_regression(general, linear):
    theta = jnp.array([0.3, -1.0, 2.0])
    for num_groups in (1, 3, 6):
        np.testing.assert_allclose(
            jax.jit(general.group_gradients(num_groups))(theta),
            linear.group_gradients(num_groups)(theta), rtol=1e-12, atol=1e-12,
        )  # fmt: skip
    np.testing.assert_allclose(general.loss(theta), linear.loss(theta), rtol=1e-12)
    gap = jax.jit(lambda problem, theta: problem.gap(theta))
    for found in (general.gap(theta), gap(general, theta)):
        np.testing.assert_allclose(found, linear.gap(theta), rtol=1e-12)
    assert jnp.isnan(general.strong_convexity)  # not known


def test_lbfgs_finds_the_closed_form_optimum(general, linear):
    # L-BFGS stops at the rounding of the loss, that is at 1e-16 relative in the value and at its
    # square root in the point.
    np.testing.assert_allclose(general.optimum, linear.optimum, rtol=1e-14)
    np.testing.assert_allclose(general.minimizer, linear.minimizer, atol=1e-7)


def test_smoothness_of_quadratics_is_found_and_adds_up(general, linear):
    # Power iteration with a ratio q of eigenvalues errs by q^200 after 100 products.
    np.testing.assert_allclose(general.smoothness, linear.smoothness, rtol=1e-6)
    for num_groups in (1, 2, 3, 6):
        sums = np.asarray(general.smoothness).reshape(num_groups, -1).sum(1)
        np.testing.assert_allclose(general.group_smoothness(num_groups), sums, rtol=1e-12)
    np.testing.assert_allclose(general.total_smoothness, np.sum(general.smoothness), rtol=1e-12)


def test_estimate_smoothness_is_a_lower_bound_that_tightens(data, linear):
    few = lj.problems.estimate_smoothness(squares, data, jnp.zeros(D), num_iterations=2)
    many = lj.problems.estimate_smoothness(squares, data, jnp.zeros(D), num_iterations=300)
    exact = np.asarray(linear.smoothness)
    assert (np.asarray(few) <= exact * (1 + 1e-12)).all()
    assert (np.asarray(many) >= np.asarray(few) * (1 - 1e-12)).all()
    np.testing.assert_allclose(many, exact, rtol=1e-10)


def test_given_constants_and_optimum_are_kept(data):
    constants = np.arange(1.0, M + 1)
    problem = lj.problems.general_problem(
        squares, data, jnp.zeros(D), smoothness=constants, strong_convexity=0.5, optimum=0.25
    )
    np.testing.assert_array_equal(problem.smoothness, constants)
    assert float(problem.optimum) == 0.25
    assert float(problem.strong_convexity) == 0.5
    theta = jnp.ones(D)
    assert float(problem.gap(theta)) == pytest.approx(float(problem.loss(theta)) - 0.25)


def test_parameters_may_be_any_pytree(data):
    X, y = data
    start = {"w": jnp.zeros(D), "b": jnp.zeros(())}
    problem = lj.problems.general_problem(affine_squares, data, start)
    with_intercept = jnp.concatenate([jnp.ones((M, N, 1)), X], axis=-1)
    linear = lj.linear_regression(with_intercept, y)
    assert problem.num_parameters == D + 1
    np.testing.assert_allclose(problem.optimum, linear.optimum, rtol=1e-14)
    theta = {"w": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(-1.0)}
    restored = problem.unflatten(problem.flatten(theta))
    assert jax.tree.structure(restored) == jax.tree.structure(theta)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored, theta))


def test_trajectories_start_from_and_end_in_the_form_of_the_parameters(data):
    start = {"w": jnp.ones(D), "b": jnp.array(-1.0)}
    problem = lj.problems.general_problem(
        affine_squares, data, start, smoothness=np.full(M, 50.0), optimum=0.0
    )
    path = lj.descend(problem, lj.gd(M), num_iterations=2, theta0=start)
    np.testing.assert_allclose(path.gap[0], problem.gap(problem.flatten(start)), rtol=1e-12)
    assert jax.tree.structure(path.theta) == jax.tree.structure(start)
    run = lj.simulate(
        problem, lj.gd(M), lj.Exponential(1.0), jax.random.key(0), num_iterations=2, theta0=start
    )
    np.testing.assert_allclose(run.gap, path.gap, rtol=1e-12)
    by_itself = lj.descend(problem, lj.gd(M), num_iterations=2)
    np.testing.assert_array_equal(by_itself.gap, path.gap)


def test_trajectory_is_that_of_the_regression(data, linear):
    """With the same constants only the rounding of the optimum's value differs."""
    problem = lj.problems.general_problem(
        squares, data, jnp.zeros(D), smoothness=linear.smoothness, optimum=float(linear.optimum)
    )
    scheme = lj.lag(M, xi=0.1)
    arguments = dict(num_iterations=30, step_size=1 / float(linear.total_smoothness))
    delays, key = lj.Pareto(1.0, 1.5), jax.random.key(1)
    ours = lj.simulate(problem, scheme, delays, key, **arguments)
    theirs = lj.simulate(linear, scheme, delays, key, **arguments)
    # A gap is here a difference of losses of order 10: it is resolved to 1e-14.
    np.testing.assert_allclose(ours.gap, theirs.gap, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ours.theta, theirs.theta, rtol=1e-10)
    np.testing.assert_array_equal(ours.selected, theirs.selected)
    np.testing.assert_array_equal(ours.wall_clock, theirs.wall_clock)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(data=(jnp.ones((2, 1, 1)), jnp.ones((3, 1)))), "data has leading axes"),
        (dict(data=(jnp.full((2, 1, 1), jnp.nan), jnp.ones((2, 1)))), "data.*is not finite"),
        (dict(loss=lambda theta, part: theta), "not a finite scalar"),
        (dict(loss=lambda theta, part: jnp.nan * theta[0]), "not a finite scalar"),
        (dict(data=jnp.ones((0, 1))), "data has leading axes"),
        (dict(loss=None), "loss=None is no function"),
        (dict(loss=lambda theta: 0.0), r"loss takes \(theta\); let it take \(theta, part\)"),
        (dict(loss=lambda theta, part: None), "=None is not a finite scalar"),
        (dict(loss=lambda theta, part: [theta, part]), "not a finite scalar"),
        (dict(theta0=jnp.ones(7)), r"loss\(theta0, partition 0\) fails \(.*fit the loss"),
        (dict(theta0=jnp.ones(1, int)), "theta0 holds .* is no float; give floats"),
        (dict(theta0={"w": 1}), "theta0 holds 1, which is no float; give floats"),
        (dict(theta0="a"), "theta0 holds 'a', which is no float; give floats"),
        (dict(strong_convexity=None), "strong_convexity=None is not a real number"),
        (dict(strong_convexity=np.inf), "strong_convexity=inf is no number; give one, or NaN"),
        (dict(sampler=3), "sampler=3 is no function; give one"),
        (dict(optimum=np.nan), "optimum=nan is not finite"),
        (dict(optimum=np.zeros(2)), r"optimum has shape \(2,\); give a scalar"),
        (dict(theta0={}), r"theta0=\{\} holds no parameters"),
        (dict(data=jax.random.split(jax.random.key(0), 2)), "data is no array of numbers"),
        (dict(loss=lambda t, part: 1e-20 * jnp.sum(t)), "no optimum found.*give optimum="),
        (dict(smoothness=np.ones(1), optimum=0.0), r"smoothness has shape \(1,\); give \(2,\)"),
        (dict(smoothness=np.array([1.0, 0.0]), optimum=0.0),
         "smoothness=.* must be positive and finite"),
        (dict(loss=lambda theta, part: jnp.sum(theta)), "no optimum found.*give optimum="),
    ],
)  # fmt: skip
def test_general_problem_refuses(changes, message):
    part = (jnp.ones((2, 1, 1)), jnp.ones((2, 1)))
    arguments = dict(loss=squares, data=part, theta0=jnp.ones(1)) | changes
    with pytest.raises(ValueError, match=message):
        lj.problems.general_problem(**arguments)


def test_curvature_is_asked_for_at_a_point_that_fits():
    part = (jnp.ones((2, 1, 1)), jnp.ones((2, 1)))
    for theta, message in ((1, "theta holds 1, which is no float"), (jnp.ones(7), "loss.theta, p")):
        with pytest.raises(ValueError, match=message):
            lj.problems.estimate_smoothness(squares, part, theta)


def test_start_of_another_structure_is_refused(general):
    with pytest.raises(ValueError, match=r"theta0 has shape .* give the pytree"):
        lj.descend(general, lj.gd(M), num_iterations=1, theta0={"w": jnp.zeros(D)})
    with pytest.raises(ValueError, match=r"theta0\[1\]=nan is not finite"):
        lj.descend(general, lj.gd(M), num_iterations=1, theta0=jnp.array([0.0, jnp.nan, 0.0]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Model:
    """Parameters as equinox or flax keep them: nested, some of them lists."""

    layers: list
    head: dict


def test_a_nested_model_learns_from_partitions_of_unequal_size():
    """Filling has weight zero; gradients are those of the samples that there are, by hand."""
    rng = np.random.default_rng(0)
    sizes = [4, 1, 3]
    X = [rng.normal(size=(n, 2)) for n in sizes]
    y = [rng.normal(size=n) for n in sizes]
    padded = np.zeros((3, 4, 2)), np.full((3, 4), 9.0), np.zeros((3, 4))
    for m, n in enumerate(sizes):
        for array, own in zip(padded, (X[m], y[m], np.ones(n)), strict=True):
            array[m, :n] = own
    start = Model([rng.normal(size=(2, 2)), np.zeros(2)], {"out": {"w": rng.normal(size=2)}})

    def loss(model, part):
        X, y, weights = part
        hidden = X @ model.layers[0] + model.layers[1]
        return 0.5 * jnp.sum(weights * (hidden @ model.head["out"]["w"] - y) ** 2)

    problem = lj.problems.general_problem(
        loss, padded, start, optimum=0.0, smoothness=np.ones(3), sampler=weighted
    )
    W, b, w = start.layers[0], start.layers[1], start.head["out"]["w"]
    for m, found in enumerate(problem.group_gradients(3)(problem.flatten(start))):
        error = (X[m] @ W + b) @ w - y[m]
        model = problem.unflatten(found)
        np.testing.assert_allclose(model.layers[0], np.outer(X[m].T @ error, w), rtol=1e-12)
        np.testing.assert_allclose(model.layers[1], error.sum() * w, rtol=1e-12)
        np.testing.assert_allclose(
            model.head["out"]["w"], (X[m] @ W + b).T @ error, rtol=1e-12, atol=1e-14
        )
    noisy = lj.problems.minibatch(problem, 2, jax.random.key(0))
    path = lj.descend(noisy, lj.gd(3), num_iterations=200, step_size=0.02, theta0=start)
    assert path.gap[-1] < path.gap[0]
    assert isinstance(path.theta, Model)


def test_a_level_finer_than_the_loss_resolves_is_told(data):
    """Of a difference of losses, not of a gap that is computed otherwise."""
    settings = dict(num_iterations=3, num_realisations=2)
    parts = lj.gd(M), lj.Exponential(1.0), jax.random.key(0)
    problem = lj.problems.general_problem(squares, data, jnp.zeros(D))
    lj.simulate_batch(problem, *parts, **settings)
    with pytest.warns(RuntimeWarning, match="accuracies=1e-17 is finer than .* in float64"):
        lj.simulate_batch(problem, *parts, accuracies=[1e-17], **settings)
    experiment = lj.Experiment(
        problems={"p": problem}, schemes={"GD": parts[0]}, delays={"e": parts[1]},
        target=lj.Gap([1e-17]), **settings,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="is finer than"):
        lj.run(experiment, progress=False)
    linear = lj.linear_regression(*data)
    lj.simulate_batch(linear, *parts, accuracies=[1e-17], **settings)


def test_an_optimum_of_float32_is_that_of_float64():
    """Badly scaled data, on which L-BFGS in float32 stops some thousandths too high."""
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(4, 60, 20)) * np.logspace(0, 1.5, 20)).astype(np.float32)
    y = np.sign(rng.logistic(size=(4, 60))).astype(np.float32)

    def loss(theta, part):
        margins = part[1] * (part[0] @ theta)
        return jnp.sum(jnp.logaddexp(0, -margins)) + 0.5e-3 * jnp.sum(theta**2)

    exact = lj.logistic_regression(X.astype(float), y.astype(float), l2=1e-3)
    with jax.enable_x64(False):
        found = lj.problems.general_problem(loss, (X, y), np.zeros(20, np.float32))
        assert found.minimizer.dtype == found.optimum.dtype == jnp.float32
        np.testing.assert_allclose(found.optimum, exact.optimum, rtol=2e-7)
        assert float(found.gap(jnp.asarray(exact.minimizer, jnp.float32))) > -1e-6 * found.optimum


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_parameters_may_be_of_half_precision(dtype):
    data = jnp.array([[1.0], [3.0]])
    found = lj.problems.general_problem(
        lambda t, x: jnp.sum((t - x) ** 2), data, jnp.zeros(1, dtype)
    )
    assert (found.minimizer.dtype, float(found.optimum)) == (dtype, 2.0)
    assert found.smoothness.tolist() == [2.0, 2.0]
