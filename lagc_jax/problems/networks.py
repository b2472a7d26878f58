"""A small neural network for classification, as a general problem."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import not_negative, whole_number
from lagc_jax._keys import from_any_key, split
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT
from lagc_jax.problems._arrays import draw_samples, partitioned
from lagc_jax.problems.classes import check_classes
from lagc_jax.problems.general import GeneralProblem, general_problem

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}

Network = list[tuple[Array, Array]]


def initial_network(key: Array, sizes: Sequence[int]) -> Network:
    """Draw the parameters of a fully connected network; consumes `key`.

    Weights are normal of variance `2 / (inputs + outputs)` (Glorot and Bengio, AISTATS 2010), and
    biases zero. The draws are made in float32, so one key gives one network in every precision.

    Args:
        key: a JAX random key.
        sizes: numbers of inputs, of units of every hidden layer, and of classes.

    Returns:
        A list of layers, weights (inputs, outputs) and biases (outputs,).

    Raises:
        ValueError: for fewer than two sizes, or sizes that are not whole numbers.

    >>> [weights.shape for weights, _ in initial_network(jax.random.key(0), (64, 32, 10))]
    [(64, 32), (32, 10)]
    """
    widths = [whole_number("sizes", size) for size in sizes]
    if len(widths) < 2:
        raise ValueError(f"sizes={sizes} has no layer; give inputs, hidden units and classes")
    keys = split(key, len(widths) - 1)
    draw = from_any_key(jax.nn.initializers.glorot_normal())
    return [
        (draw(layer, shape, jnp.float32), jnp.zeros(shape[1:], jnp.float32))
        for layer, shape in zip(keys, pairwise(widths), strict=True)
    ]


@lenient
def network_logits(network: Network, X: ArrayLike, activation: str = "tanh") -> Array:
    """Logits of samples, (..., C) from (..., d).

    Args:
        network: of the form of `initial_network`.
        X: features, (..., d).
        activation: "tanh" or "relu", of the hidden layers.

    >>> network = initial_network(jax.random.key(0), (2, 3, 4))
    >>> network_logits(network, jnp.zeros((5, 2))).shape
    (5, 4)
    """
    hidden = jnp.asarray(X)
    *inner, (weights, biases) = network
    for matrix, offset in inner:
        hidden = ACTIVATIONS[activation](jnp.matmul(hidden, matrix, precision=EXACT) + offset)
    return jnp.matmul(hidden, weights, precision=EXACT) + biases


def _loss(activation: str, network: Network, part: Any) -> Array:
    X, labels, weights, l2 = part
    logits = network_logits(network, X, activation)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(network))
    return jnp.sum(weights * losses) + 0.5 * l2 * squares


def _minibatch(part: Any, key: Array, batch_size: int) -> Any:
    X, labels, weights, l2 = part
    (X, labels), weights = draw_samples(key, (X, labels), weights, batch_size)
    return X, labels, weights, l2


# Made once: a loss is static, and a new function would compile anew.
_LOSSES = {name: partial(_loss, name) for name in ACTIVATIONS}


def network_problem(
    X: ArrayLike,
    y: ArrayLike,
    network: Network,
    *,
    l2: float = 0.0,
    weights: ArrayLike | None = None,
    activation: str = "tanh",
    smoothness: ArrayLike | None = None,
) -> GeneralProblem:
    """Build the training of a network over M partitions by its weighted cross-entropy.

    The loss is not convex. Its optimum is not known: `optimum` is 0, a lower bound, and the gap is
    the loss itself. Zeros are a stationary point of the hidden layers: give `theta0=network` to
    `descend` or `simulate`.

    Args:
        X: features, (M, N, d).
        y: classes, whole numbers from 0 to C-1, (M, N).
        network: the start, of `initial_network`, with d inputs and C outputs.
        l2: penalty `l2/2` times the squares of all parameters, of every partition, `l2 >= 0`.
        weights: as for `multinomial_regression`.
        activation: "tanh" or "relu".
        smoothness: (M,) constants of the partitions. By default they are estimated: the largest
            curvature of each at `network` alone. The loss has no constant that holds everywhere,
            and curvature grows as training goes on, so neither the default step size nor the server
            trigger comes with a guarantee; choose `step_size` by trial, and look at `diverged`.

    Returns:
        The problem in the dtype of `X`, its parameters of the form of `network`.

    Raises:
        ValueError: if shapes do not fit, data are not finite, classes are not whole numbers from 0
            to C-1, weights or `l2` are negative, or the activation is unknown.

    >>> network = initial_network(jax.random.key(0), (1, 2, 2))
    >>> problem = network_problem([[[1.0]], [[2.0]]], [[0], [1]], network)
    >>> problem.num_partitions, problem.num_parameters
    (2, 10)
    """
    features, classes, dtype = partitioned(X, y)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is unknown; give one of {list(ACTIVATIONS)}")
    not_negative("l2", l2)
    M, _, d = features.shape
    if d != (inputs := network[0][0].shape[0]):
        raise ValueError(f"X has {d} features but the network has {inputs} inputs; give as many")
    labels, w, _ = check_classes(classes, weights, network[-1][0].shape[1])
    data = (
        jnp.asarray(features, dtype),
        jnp.asarray(labels),
        jnp.asarray(w, dtype),
        jnp.full(M, l2, dtype),
    )
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), network)
    loss = _LOSSES[activation]
    return general_problem(
        loss, data, start, smoothness=smoothness, optimum=0.0, sampler=_minibatch
    )
