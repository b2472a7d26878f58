"""Small neural networks for classification, fully connected or convolutional, as problems."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import (
    an_array,
    as_leaf,
    not_negative_number,
    one_of,
    real_array,
    whole_number,
    whole_numbers,
)
from lagc_jax._keys import from_any_key, split
from lagc_jax._modes import lenient
from lagc_jax._pytree import EXACT
from lagc_jax.problems._arrays import draw_samples, partitioned
from lagc_jax.problems.classes import check_classes
from lagc_jax.problems.general import GeneralProblem, estimated, general_problem

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}

# Layers: weights (inputs, outputs) or, of a convolution, (k, k, channels, channels), and biases.
Network = list[tuple[Array, Array]]

STRIDE = 2  # of every convolution, in place of pooling
# Of partitions with more samples than these, curvature is estimated from so many, in so many steps.
MANY, CURVATURE_SAMPLES, CURVATURE_STEPS = 1000, 128, 20


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
    widths = whole_numbers("sizes", sizes)
    if len(widths) < 2:
        raise ValueError(f"sizes={sizes} has no layer; give inputs, hidden units and classes")
    return _drawn(key, list(pairwise(widths)))


def _drawn(key: Array, shapes: Sequence[tuple[int, ...]]) -> Network:
    """Layers of normal weights of those shapes, and zero biases."""
    draw = from_any_key(jax.nn.initializers.glorot_normal())
    return [
        (draw(layer, shape, jnp.float32), jnp.zeros(shape[-1:], jnp.float32))
        for layer, shape in zip(split(key, len(shapes)), shapes, strict=True)
    ]


def initial_convolutional(
    key: Array,
    image: Sequence[int],
    num_classes: int = 10,
    *,
    channels: Sequence[int] = (8, 16),
    hidden: Sequence[int] = (),
    size: int = 3,
) -> Network:
    """Draw the parameters of a small convolutional network; consumes `key`.

    Convolutions of stride 2 without padding take the place of pooling (Springenberg et al.,
    "Striving for Simplicity", ICLR 2015, workshop); what they leave goes through fully connected
    layers. Draws are those of `initial_network`, with all weights of a unit counted.

    Args:
        key: a JAX random key.
        image: height, width and channels of an image.
        num_classes: `C`.
        channels: of every convolution.
        hidden: units of hidden layers after them.
        size: `k`, of the square filters.

    Returns:
        A list of layers, weights (k, k, channels, channels) or (inputs, outputs) and biases.

    Raises:
        ValueError: for sizes that are not whole numbers, no convolution, or more layers than the
            image has room for.

    >>> network = initial_convolutional(jax.random.key(0), (28, 28, 1))
    >>> [weights.shape for weights, _ in network]
    [(3, 3, 1, 8), (3, 3, 8, 16), (576, 10)]
    """
    sides, filters = whole_numbers("image", image), whole_numbers("channels", channels)
    if len(sides) != 3:
        raise ValueError(f"image={image} has not three sizes; give height, width and channels")
    if not filters:
        raise ValueError("channels=() has no convolution; give one or more, or an initial_network")
    (height, width, before), k, shapes = sides, whole_number("size", size), []
    for outputs in filters:
        if min(height, width) < k:
            raise ValueError(
                f"channels={tuple(channels)} are more convolutions of size={k} than image={image} "
                f"has room for; give fewer or a smaller size"
            )
        shapes.append((k, k, before, outputs))
        height, width, before = (height - k) // STRIDE + 1, (width - k) // STRIDE + 1, outputs
    classes = whole_number("num_classes", num_classes)
    units = [height * width * before, *whole_numbers("hidden", hidden), classes]
    return _drawn(key, [*shapes, *pairwise(units)])


def _patches(images: Array, size: int) -> Array:
    """What every filter sees, (..., h', w', k k c) from images (..., h, w, c)."""
    rows, columns = ((side - size) // STRIDE * STRIDE + 1 for side in images.shape[-3:-1])
    seen = [
        images[..., i : i + rows : STRIDE, j : j + columns : STRIDE, :]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(seen, axis=-1)


@lenient
def network_logits(network: Network, X: ArrayLike, activation: str = "tanh") -> Array:
    """Logits of samples, (..., C) from (..., d), or from images (..., h, w, c).

    Args:
        network: of the form of `initial_network` or `initial_convolutional`.
        X: features, (..., d), or images for convolutions.
        activation: "tanh" or "relu", of the hidden layers.

    Raises:
        ValueError: for another activation, what is no network, or an X that does not fit it.

    >>> network = initial_network(jax.random.key(0), (2, 3, 4))
    >>> network_logits(network, jnp.zeros((5, 2))).shape
    (5, 4)
    """
    check_activation(activation)
    _check_network(network)
    real_array("X", X)
    hidden = jnp.asarray(as_leaf(X))
    *inner, (weights, biases) = network
    spatial = network[0][0].ndim == 4
    if hidden.ndim < (3 if spatial else 1):
        raise ValueError(_misfit(X, network))
    for matrix, offset in inner:
        if matrix.ndim == 4:
            if min(hidden.shape[-3:-1]) < matrix.shape[0]:
                raise ValueError(_misfit(X, network))
            # Measured on CPU, many networks on the same images: a third faster than XLA's own.
            hidden = _patches(hidden, matrix.shape[0])
            matrix = matrix.reshape(-1, matrix.shape[-1])
        elif spatial:
            hidden, spatial = _flat(hidden), False
        if hidden.shape[-1] != matrix.shape[0]:
            raise ValueError(_misfit(X, network))
        hidden = ACTIVATIONS[activation](jnp.matmul(hidden, matrix, precision=EXACT) + offset)
    hidden = _flat(hidden) if spatial else hidden
    if hidden.shape[-1] != weights.shape[0]:
        raise ValueError(_misfit(X, network))
    return jnp.matmul(hidden, weights, precision=EXACT) + biases


def _check_network(network: Any) -> None:
    """Raise ValueError unless a network is a list of layers, of weights and biases."""
    listed = isinstance(network, list | tuple) and len(network)
    if not listed or any(
        not isinstance(layer, list | tuple) or [np.ndim(a) for a in layer] not in ([2, 1], [4, 1])
        for layer in network
    ):
        raise ValueError(
            f"network is a {type(network).__name__}, none of pairs of weights and biases; give one "
            f"of initial_network or initial_convolutional"
        )


def _misfit(X: Any, network: Network) -> str:
    return (
        f"X has shape {np.shape(X)}, which does not fit the network's first weights "
        f"{network[0][0].shape}; give (..., inputs), or images (..., h, w, c) of the size that it "
        f"was made for"
    )


def check_activation(activation: str) -> None:
    """Raise ValueError for an activation that is none of `ACTIVATIONS`."""
    one_of("activation", activation, ACTIVATIONS)


def _flat(images: Array) -> Array:
    return images.reshape(*images.shape[:-3], -1)


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
    loss_samples: int | None = None,
) -> GeneralProblem:
    """Build the training of a network over M partitions by its weighted cross-entropy.

    The loss is not convex. Its optimum is not known: `optimum` is 0, a lower bound, and the gap is
    the loss itself. Runs start at `network`, for zeros are a stationary point of hidden layers.

    Args:
        X: features, (M, N, d), or images (M, N, h, w, c) for convolutions.
        y: classes, whole numbers from 0 to C-1, (M, N).
        network: the start, of `initial_network`, with d inputs and C outputs, or of
            `initial_convolutional` for h x w images of c channels.
        l2: penalty `l2/2` times the squares of all parameters, of every partition, `l2 >= 0`.
        weights: as for `multinomial_regression`.
        activation: "tanh" or "relu".
        smoothness: (M,) constants of the partitions. By default they are estimated: the largest
            curvature of each at `network` alone, of more than 1000 samples from 128 of them. The
            loss has no constant that holds everywhere, and curvature grows as training goes on, so
            neither the default step size nor the server trigger comes with a guarantee; choose
            `step_size` by trial, and look at `diverged`.
        loss_samples: as for `general_problem`; a loss of all samples at every iterate costs far
            more than gradients on minibatches.

    Returns:
        The problem in the dtype of `X`, its parameters of the form of `network`.

    Raises:
        ValueError: if shapes do not fit, the network is none, data are not finite, classes are not
            whole numbers from 0 to C-1, weights or `l2` are negative, or the activation is unknown.

    >>> network = initial_network(jax.random.key(0), (1, 2, 2))
    >>> problem = network_problem([[[1.0]], [[2.0]]], [[0], [1]], network)
    >>> problem.num_partitions, problem.num_parameters
    (2, 10)
    """
    check_activation(activation)
    not_negative_number("l2", l2)
    _check_network(network)
    an_array("X", X)
    data = _samples(X, y, network, weights, l2)
    M, N = data[1].shape
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, data[0].dtype), network)
    loss, sampled = _LOSSES[activation], smoothness is None and N > MANY
    options: Any = dict(optimum=0.0, sampler=_minibatch, loss_samples=loss_samples)
    given = np.ones(M) if sampled else smoothness
    problem = general_problem(loss, data, start, smoothness=given, **options)
    if sampled:
        few = problem.few(CURVATURE_SAMPLES)
        found = estimated(loss, few, start, CURVATURE_STEPS)
        problem = replace(problem, smoothness=found, total_smoothness=found.sum())
    return problem


def _samples(
    X: ArrayLike, y: ArrayLike, network: Network, weights: ArrayLike | None, l2: float
) -> tuple[Array, Array, Array, Array]:
    """The data of the loss, checked: inputs, classes, weights (M, N) and penalties (M,)."""
    shape = np.shape(X)
    flat = X if len(shape) != 5 else np.asarray(X).reshape(*shape[:2], -1)
    features, classes, dtype = partitioned(flat, y)
    _check_inputs(network, shape[2:])
    labels, w, _ = check_classes(classes, weights, network[-1][0].shape[1])
    inputs = jnp.asarray(features, dtype).reshape(shape)
    return inputs, jnp.asarray(labels), jnp.asarray(w, dtype), jnp.full(len(labels), l2, dtype)


def _check_inputs(network: Network, sample: tuple[int, ...]) -> None:
    """Raise ValueError unless samples of a shape fit the network."""
    first = network[0][0].shape
    if len(first) == 2 and sample != first[:1]:
        raise ValueError(
            f"X has {', '.join(map(str, sample))} features but the network has {first[0]} inputs; "
            f"give as many"
        )
    if len(first) == 4:
        try:
            jax.eval_shape(network_logits, network, jax.ShapeDtypeStruct(sample, jnp.float32))
        except (TypeError, ValueError, IndexError):
            raise ValueError(
                f"X has samples of shape {sample}, which do not fit the network's convolutions "
                f"{first}; give images (M, N, h, w, {first[2]}) of the size that it was made for"
            ) from None
