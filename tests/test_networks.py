"""A small network against plain NumPy, and trained under both triggers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import lagc_jax as lj

M, N, D, H, C = 4, 6, 3, 5, 3
L2 = 0.01


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(M, N, D))
    y = (X @ rng.normal(size=(D, C))).argmax(-1)
    weights = np.ones((M, N))
    weights[1, 4:] = 0
    return X, np.where(weights > 0, y, 99), weights


@pytest.fixture(scope="module")
def network():
    return lj.problems.initial_network(jax.random.key(0), (D, H, C))


@pytest.fixture(scope="module")
def problem(data, network):
    X, y, weights = data
    return lj.problems.network_problem(X, y, network, l2=L2, weights=weights)


def plain_loss(X, y, weights, network, activation):
    """The loss of all partitions."""
    (W1, b1), (W2, b2) = [[np.asarray(a, float) for a in layer] for layer in network]
    hidden = np.tanh(X @ W1 + b1) if activation == "tanh" else np.maximum(X @ W1 + b1, 0)
    log_p, kept = special.log_softmax(hidden @ W2 + b2, axis=-1), weights > 0
    penalty = L2 / 2 * M * sum(np.sum(leaf**2) for leaf in (W1, b1, W2, b2))
    return penalty - np.sum(weights[kept] * log_p[kept, y[kept]])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_loss_is_that_of_the_definition_and_gradients_add_up_to_its(data, network, activation):
    """Backpropagation by hand is in test_minibatch."""
    X, y, weights = data
    problem = lj.problems.network_problem(
        X, y, network, l2=L2, weights=weights, activation=activation, smoothness=np.ones(M)
    )
    theta = problem.flatten(network)
    loss, slope = jax.jit(jax.value_and_grad(problem.loss))(theta)
    np.testing.assert_allclose(loss, plain_loss(*data, network, activation), rtol=1e-12)
    gradients = jax.jit(problem.group_gradients(2))(theta)
    np.testing.assert_allclose(gradients.sum(0), slope, rtol=1e-11)
    assert float(problem.optimum) == 0


def test_smoothness_is_the_largest_curvature_at_the_start(problem, network):
    """Exact Hessians from differentiating the gradients of the partitions."""
    hessians = jax.jit(jax.jacfwd(problem.group_gradients(M)))(problem.flatten(network))
    exact = np.abs(np.linalg.eigvalsh(hessians)).max(axis=1)
    # Power iteration approaches from below; 1 % covers two eigenvalues within 1 % of each other.
    assert (np.asarray(problem.smoothness) <= exact * (1 + 1e-12)).all()
    np.testing.assert_allclose(problem.smoothness, exact, rtol=0.01)


@pytest.mark.parametrize("trigger", ["server", "worker"])
def test_training_classifies_and_is_recorded(data, problem, network, trigger):
    X, y, weights = data
    seen = weights.ravel() > 0

    def record(theta):
        logits = lj.problems.network_logits(theta, X.reshape(-1, D))
        return lj.problems.classification_accuracy(logits[seen], y.ravel()[seen])

    scheme = lj.lag(M, xi=0.05, trigger=trigger)
    path = lj.descend(
        problem, scheme, num_iterations=300, step_size=0.1, theta0=network, record=record
    )
    assert not path.diverged
    assert 0 < np.mean(path.selected) < 1
    assert path.gap[-1] < 0.2 * path.gap[0]
    assert path.recorded.shape == (301,)
    np.testing.assert_allclose(path.recorded[-1], record(path.theta))
    assert path.recorded[-1] >= 0.95


def test_initial_network_is_glorots_and_follows_the_key():
    (W, b), (V, c) = lj.problems.initial_network(jax.random.key(1), (200, 100, 10))
    assert not b.any()
    assert not c.any()
    # 20,000 normal draws: the sample variance is within 4 % (four standard errors, 99.99 %).
    np.testing.assert_allclose(np.var(W), 2 / 300, rtol=0.04)
    np.testing.assert_allclose(np.var(V), 2 / 110, rtol=4 * np.sqrt(2 / 1000))
    again = lj.problems.initial_network(jax.random.key(1), (200, 100, 10))
    np.testing.assert_array_equal(W, again[0][0])


def test_single_precision_is_kept(data, network):
    X, y, weights = data
    single = lj.problems.network_problem(
        X.astype(np.float32), y, network, weights=weights, smoothness=np.ones(M)
    )
    theta = single.flatten(network)
    gradients = jax.jit(single.group_gradients(2))(theta)
    assert {theta.dtype, single.loss(theta).dtype, gradients.dtype} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(activation="sine"), r"activation='sine' is unknown; give one of \('tanh', 'relu'\)"),
        (dict(X=np.ones((M, N, 2))), r"X has 2 features but the network has 3 inputs; give"),
        (dict(y=np.full((M, N), C)), r"y holds the class 3.0; give whole numbers from 0 to 2"),
        (dict(l2=-1.0), r"l2=-1.0 must be .*; give l2 >= 0"),
        (dict(l2=[1.0]), r"l2 has shape \(1,\); give a scalar"),
        (dict(activation=["tanh"]), r"activation=\['tanh'\] is unknown; give"),
        (
            dict(network=[np.ones((3, 3))]),
            r"network is a list, none of pairs of weights and biases; give",
        ),
        (dict(weights=np.ones(3)), r"weights has shape \(3,\); give"),
    ],
)
def test_bad_input_is_refused(network, changes, message):
    arguments = dict(X=np.ones((M, N, D)), y=np.zeros((M, N)), network=network) | changes
    with pytest.raises(ValueError, match=message):
        lj.problems.network_problem(**arguments)


def test_bad_sizes_are_refused():
    for sizes, message in (((3,), r"sizes=\(3,\) has no layer"), ((3, 0), "sizes=0 is too small")):
        with pytest.raises(ValueError, match=message):
            lj.problems.initial_network(jax.random.key(0), sizes)
