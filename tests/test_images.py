"""Convolutional networks against plain NumPy, and images from files through an experiment."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import lagc_jax as lj
from lagc_jax.experiments import Experiment, Iterate, Points, parse_grid, run
from lagc_jax.problems.images import Images, accuracy_on, load_digit_images

pytestmark = pytest.mark.long

M, N, SIZE, C, L2 = 3, 5, (9, 8, 2), 3, 0.01
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
    return load_digit_images(KEY)


@pytest.fixture(scope="module")
def network():
    return lj.problems.initial_convolutional(KEY, SIZE, C, channels=(4, 3), hidden=(6,), size=3)


def plain_logits(images, network):
    """Filters moved over every image by hand, two pixels a step."""
    hidden = images
    for W, b in network[:2]:
        W, b = np.asarray(W, float), np.asarray(b, float)
        k = W.shape[0]
        places = [range(0, side - k + 1, 2) for side in hidden.shape[1:3]]
        hidden = np.maximum([
            [[np.tensordot(one[i : i + k, j : j + k], W, 3) + b for j in places[1]]
             for i in places[0]]
            for one in hidden
        ], 0)  # fmt: skip
    (V, c), (U, d) = [[np.asarray(a, float) for a in layer] for layer in network[2:]]
    return np.maximum(hidden.reshape(len(images), -1) @ V + c, 0) @ U + d


def test_logits_and_loss_are_those_of_the_definition(network):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(M, N, *SIZE)), rng.integers(C, size=(M, N))
    weights = rng.uniform(size=(M, N)) + 0.5
    expected = plain_logits(X.reshape(-1, *SIZE), network)
    logits = jax.jit(partial(lj.problems.network_logits, activation="relu"))(network, X)
    np.testing.assert_allclose(logits.reshape(-1, C), expected, rtol=1e-11, atol=1e-12)
    problem = lj.problems.network_problem(
        X, y, network, l2=L2, weights=weights, activation="relu", smoothness=np.ones(M)
    )
    log_p = special.log_softmax(expected, axis=-1)[np.arange(M * N), y.ravel()]
    squares = sum(np.sum(np.asarray(leaf, float) ** 2) for leaf in jax.tree.leaves(network))
    loss = M * L2 / 2 * squares - weights.ravel() @ log_p
    theta = problem.flatten(network)
    value = jax.jit(problem.loss)
    np.testing.assert_allclose(value(theta), loss, rtol=1e-12)
    theta = theta + 0.1 * rng.normal(size=theta.shape)  # zero biases lie on kinks
    gradient = jax.jit(problem.group_gradients(1))(theta)[0]
    direction = rng.normal(size=theta.shape)
    change = (value(theta + 1e-6 * direction) - value(theta - 1e-6 * direction)) / 2e-6
    # A central difference is wrong by its step's square and by rounding over the step, 1e-9.
    np.testing.assert_allclose(gradient @ direction, change, rtol=1e-7)


def test_runs_start_at_the_network_and_measure_the_loss_on_fixed_samples(images):
    problem = lj.problems.image_problem(
        images, 4, KEY, channels=(4,), alpha=1.0, batch_size=8, loss_samples=6
    )
    inner = problem.problem
    np.testing.assert_array_equal(problem.start, inner.minimizer)
    # Every image counts for one over their number, in loss and estimate alike.
    X, y, weights, _ = inner.data
    np.testing.assert_allclose(weights.sum(), 1)
    _, _, few, _ = inner.measured
    assert few.shape == (4, 6)
    np.testing.assert_allclose(few.sum(1), weights.sum(1))
    whole = lj.problems.network_problem(
        X, y, problem.unflatten(problem.start), weights=weights, activation="relu",
        smoothness=np.ones(4),
    )  # fmt: skip
    theta = problem.start
    exact, gradients = (jax.jit(f)(theta) for f in (whole.loss, whole.group_gradients(4)))
    found = jax.jit(inner.group_gradients(4))(theta)
    np.testing.assert_allclose(found, gradients, rtol=1e-12)
    estimate = jax.jit(problem.loss)(theta)
    # 24 losses of a mean of 2.4 and a deviation of less than 1: within four standard errors.
    assert abs(estimate - exact) < 4 / np.sqrt(24)
    assert estimate != exact
    first = lj.descend(problem, lj.gd(4), num_iterations=1, step_size=0.1).gap[0]
    np.testing.assert_allclose(first, estimate, rtol=1e-12)


def test_curvature_of_many_samples_is_that_of_some(images):
    repeated = images._replace(
        X_train=np.repeat(images.X_train[:40], 30, axis=0),
        y_train=np.repeat(np.arange(40) % 10, 30),
    )
    problem = lj.problems.image_problem(repeated, 1, KEY, channels=(2,))
    exact = lj.problems.estimate_smoothness(
        problem.loss_fn, problem.data, problem.unflatten(problem.start)
    )
    # 128 draws of 40 images: their largest curvature is within a third of that of all.
    np.testing.assert_allclose(problem.smoothness, exact, rtol=0.3)
    np.testing.assert_allclose(problem.total_smoothness, problem.smoothness.sum())


def save(path, images, **changes):
    X, X_test = (np.rint(255 * x[..., 0]).astype(np.uint8) for x in (images[0], images[2]))
    arrays = dict(x_train=X, y_train=images[1], x_test=X_test, y_test=images[3]) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_grid_of_images_trains_under_four_schemes(images, tmp_path):
    save(tmp_path / "digits.npz", images)
    schemes = [
        {"name": "GD", "num_workers": 4},
        {"name": "LASG", "num_workers": 4, "xi": 0.001},
        {"name": "GC", "num_workers": 4, "redundancy": 2},
        {"name": "fastest-k", "num_workers": 4, "num_waited": 3},
    ]
    problem = {"kind": "images", "file": "digits.npz", "channels": [[8]], "batch_size": 16}
    tables = {
        "iterations": 40,
        "realisations": 2,
        "iterates": [0, 40],
        "step_unit": "absolute",
        "problem": [problem | {"loss_samples": 40, "alpha": 5.0}],
        "scheme": [scheme | {"step_size": 0.5} for scheme in schemes],
        "delays": [{"family": "exponential", "rate": 1.0}],
    }
    points = Points(parse_grid(tables, tmp_path).experiment)
    table = run(points.experiment, progress=False)
    first, last = table[table.iterate == 0], table[table.iterate == 40]
    assert np.ptp(first.gap) < 1e-6  # the same start, measured on the same samples
    assert (last.gap.to_numpy() < 0.6 * first.gap.to_numpy()).all()
    assert points[0].problem.value(4).problem.num_parameters == 3 * 3 * 8 + 8 + 720 + 10
    save(tmp_path / "digits.npz", images, y_test=images.y_test[::-1])
    with pytest.raises(ValueError, match="has changed"):
        points[0].problem.value(4)


def test_iterates_are_looked_at_along_paths_of_their_own(images):
    problem = lj.problems.image_problem(images, 2, KEY, channels=(2,), loss_samples=5, batch_size=2)
    experiment = Experiment(
        problems={"images": problem},
        schemes={"fastest": lj.schemes.fastest_k(2, 1)},
        delays={"low tail": lj.Exponential(1.0)},
        target=Iterate([0, 3], accuracy_on(images, 50)),
        num_iterations=3,
        num_realisations=2,
    )
    table = run(experiment, progress=False)
    start = accuracy_on(images, 50)(problem.unflatten(problem.start))
    np.testing.assert_allclose(table.recorded[0], start)
    np.testing.assert_allclose(table.gap[0], jax.jit(problem.gap)(problem.start), rtol=1e-6)
    assert (table.reached == 1).all()


def test_files_hold_what_was_saved(images, tmp_path):
    grey = lj.problems.load_images(save(tmp_path / "grey.npz", images))
    assert isinstance(grey, Images)
    assert grey.num_classes == 10
    assert grey.X_train.dtype == np.float32
    # Rounded to a 255th.
    np.testing.assert_allclose(grey.X_train, images.X_train, atol=0.5 / 255 + 1e-6)
    colours = np.random.default_rng(0).uniform(size=(6, 4, 5, 3))
    save(
        tmp_path / "colour.npz", images, x_train=colours, x_test=colours[:2],
        y_train=np.arange(6)[:, None], y_test=np.array([[5], [0]], np.uint8),
    )  # fmt: skip
    found = lj.problems.load_images(tmp_path / "colour.npz")
    np.testing.assert_array_equal(found.X_train, colours.astype(np.float32))
    assert (found.y_test.tolist(), found.num_classes) == ([5, 0], 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(y_test=None), r"lacks \['y_test'\]; give"),
        (dict(x_train=np.zeros((3, 4))), r"x_train has shape \(3, 4\) and its labels"),
        (dict(x_test=np.zeros((359, 8, 8), int)), "x_test has no pixels in int64; give uint8"),
        (dict(x_test=np.zeros((359, 8, 9), np.uint8)), r"images of \(8, 8, 1\) but x_test of"),
        (dict(x_test=np.full((359, 8, 8), np.nan)), "x_test has "),
        (dict(y_test=np.full(359, 0.5)), "labels that are no classes; give whole numbers"),
        (dict(x_test=np.full((359, 8, 8), 1e300)), "x_test has no pixels in float64; give uint8"),
        (dict(x_test=np.zeros((359, 8, 8))), "x_train has uint8 but x_test float64"),
        (dict(x_test=np.zeros((359, 3, 8, 8), np.float32)), "give channels last"),
        (dict(y_test=np.full(359, 2**63, np.uint64)), "labels that are no classes"),
        (dict(y_train=np.zeros(1438, int)), "y_train holds one class alone"),
        (dict(y_test=np.full(359, 10)), "y_test holds the class 10, which y_train does not"),
    ],
)
def test_files_that_do_not_fit_are_refused(images, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        lj.problems.load_images(save(tmp_path / "bad.npz", images, **changes))


def test_what_is_no_file_of_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        lj.problems.load_images(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("x_train")
    with pytest.raises(ValueError, match=r"is no \.npz file"):
        lj.problems.load_images(tmp_path / "text.npz")
    (tmp_path / "empty.npz").touch()
    with pytest.raises(ValueError, match=r"is no \.npz file"):
        lj.problems.load_images(tmp_path / "empty.npz")


def test_records_that_do_not_fit_are_refused(images):
    for number in (0, -3, 2.0):
        with pytest.raises(ValueError, match=r"num_images=.*; give"):
            accuracy_on(images, number)
    with pytest.raises(ValueError, match=r"activation='gelu' is unknown; give one of"):
        accuracy_on(images, activation="gelu")
    with pytest.raises(ValueError, match=r"images is a dict; give what load_images returns"):
        accuracy_on({})


def test_sizes_that_do_not_fit_are_refused(network):
    X, y = np.zeros((M, N, *SIZE)), np.zeros((M, N))
    for bad in (X[..., :1], X[..., :3, :], X[..., 0]):
        with pytest.raises(ValueError, match=r"fit the network's convolutions|give \(M, N, d\)"):
            lj.problems.network_problem(bad, y, network)
    with pytest.raises(ValueError, match=r"more convolutions of size=3 than image=\(8, 8, 1\)"):
        lj.problems.initial_convolutional(KEY, (8, 8, 1), channels=(2, 2, 2))
    with pytest.raises(ValueError, match=r"channels=\(\) has no convolution"):
        lj.problems.initial_convolutional(KEY, (8, 8, 1), channels=())
    with pytest.raises(ValueError, match=r"image=\(8, 8\) has not three sizes"):
        lj.problems.initial_convolutional(KEY, (8, 8))
    with pytest.raises(ValueError, match=r"num_classes=0 is too small"):
        lj.problems.initial_convolutional(KEY, (8, 8, 1), 0)
    with pytest.raises(ValueError, match=r"hidden=6 is no list; give one of whole numbers"):
        lj.problems.initial_convolutional(KEY, (8, 8, 1), hidden=6)
    with pytest.raises(ValueError, match=r"X has shape \(2, 3, 4\), which does not fit"):
        lj.problems.network_logits(network, np.ones((2, 3, 4)))
    assert jnp.shape(lj.problems.network_logits(network, X[0, 0])) == (C,)
