"""A small network against plain NumPy, and trained under both triggers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    return lj.initial_network(jax.random.key(0), (D, H, C))


@pytest.fixture(scope="module")
def problem(data, network):
    X, y, weights = data
    return lj.network_problem(X, y, network, l2=L2, weights=weights)


def plain_gradient(X, y, weights, network, activation):
    """Loss and backpropagated gradient of one partition, raveled as (W1, b1, W2, b2)."""
    (W1, b1), (W2, b2) = [[np.asarray(a, float) for a in layer] for layer in network]
    before = X @ W1 + b1
    hidden = np.tanh(before) if activation == "tanh" else np.maximum(before, 0)
    logits = hidden @ W2 + b2
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    kept = weights > 0
    loss = -np.sum(weights[kept] * log_p[kept, y[kept]])
    error = np.exp(log_p)
    error[kept, y[kept]] -= 1
    error *= weights[:, None]
    slope = 1 - hidden**2 if activation == "tanh" else before > 0
    back = (error @ W2.T) * slope
    parts = [X.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
    leaves = [W1, b1, W2, b2]
    loss += L2 / 2 * sum(np.sum(leaf**2) for leaf in leaves)
    return loss, np.concatenate(
        [(g + L2 * leaf).ravel() for g, leaf in zip(parts, leaves, strict=True)]
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_loss_and_gradients_are_those_of_backpropagation(data, network, activation):
    X, y, weights = data
    problem = lj.network_problem(
        X, y, network, l2=L2, weights=weights, activation=activation, smoothness=np.ones(M)
    )
    theta = problem.flatten(network)
    expected = [plain_gradient(X[m], y[m], weights[m], network, activation) for m in range(M)]
    gradients = jax.jit(problem.group_gradients(2))(theta)
    np.testing.assert_allclose(
        gradients, np.array([g for _, g in expected]).reshape(2, 2, -1).sum(1), rtol=1e-11
    )
    np.testing.assert_allclose(problem.loss(theta), sum(loss for loss, _ in expected), rtol=1e-12)
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
        logits = lj.network_logits(theta, X.reshape(-1, D))
        return lj.classification_accuracy(logits[seen], y.ravel()[seen])

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
    (W, b), (V, c) = lj.initial_network(jax.random.key(1), (200, 100, 10))
    assert not b.any()
    assert not c.any()
    # 20,000 normal draws: the sample variance is within 4 % (four standard errors, 99.99 %).
    np.testing.assert_allclose(np.var(W), 2 / 300, rtol=0.04)
    np.testing.assert_allclose(np.var(V), 2 / 110, rtol=4 * np.sqrt(2 / 1000))
    again = lj.initial_network(jax.random.key(1), (200, 100, 10))
    np.testing.assert_array_equal(W, again[0][0])


def test_single_precision_is_kept(data, network):
    X, y, weights = data
    single = lj.network_problem(
        X.astype(np.float32), y, network, weights=weights, smoothness=np.ones(M)
    )
    theta = single.flatten(network)
    gradients = jax.jit(single.group_gradients(2))(theta)
    assert {theta.dtype, single.loss(theta).dtype, gradients.dtype} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(activation="sine"), r"activation='sine' is unknown; give one of \['tanh', 'relu'\]"),
        (dict(X=np.ones((M, N, 2))), r"X has 2 features but the network has 3 inputs; give"),
        (dict(y=np.full((M, N), C)), r"y holds the class 3.0; give whole numbers from 0 to 2"),
        (dict(l2=-1.0), r"l2=-1.0 must be .*; give l2 >= 0"),
        (dict(weights=np.ones(3)), r"weights has shape \(3,\); give"),
    ],
)
def test_bad_input_is_refused(network, changes, message):
    arguments = dict(X=np.ones((M, N, D)), y=np.zeros((M, N)), network=network) | changes
    with pytest.raises(ValueError, match=message):
        lj.network_problem(**arguments)


def test_bad_sizes_are_refused():
    for sizes, message in (((3,), r"sizes=\(3,\) has no layer"), ((3, 0), "sizes=0 is too small")):
        with pytest.raises(ValueError, match=message):
            lj.initial_network(jax.random.key(0), sizes)
