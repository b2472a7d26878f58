"""Images to classify: those of a file or scikit-learn's digits, and a network trained on them."""

import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax import _keys
from lagc_jax._checks import file_path, whole_number
from lagc_jax._display import readable
from lagc_jax.problems.base import Problem
from lagc_jax.problems.classes import classification_accuracy
from lagc_jax.problems.data import load_digits_split
from lagc_jax.problems.networks import (
    Network,
    check_activation,
    initial_convolutional,
    network_logits,
    network_problem,
)
from lagc_jax.problems.sharding import shard
from lagc_jax.problems.stochastic import minibatch

NAMES = ("x_train", "y_train", "x_test", "y_test")
UNREADABLE = (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile, zlib.error)


@readable
class Images(NamedTuple):
    """Images of C classes, for training and testing.

    Attributes:
        X_train, X_test: (S, h, w, c) float32.
        y_train, y_test: (S,) classes from 0 to C-1.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    @property
    def num_classes(self) -> int:
        """`C`."""
        return int(self.y_train.max()) + 1


def load_images(path: str | Path) -> Images:
    """Read images from an `.npz` file of the form in which MNIST and CIFAR-10 are handed around.

    Args:
        path: a file with `x_train` and `x_test`, uint8 images (S, h, w) or (S, h, w, c), which are
            scaled to [0, 1], or floats, which stay; and `y_train` and `y_test`, (S,) or (S, 1).

    Raises:
        ValueError: for a file that is missing or no `.npz`, lacks one of the four, or holds arrays
            of other shapes or kinds, uint8 beside floats, square images with channels first,
            numbers that are not finite in float32, or labels that are no classes.
    """
    file_path("path", path)
    try:
        with np.load(path) as file:
            found = {name: file[name] for name in NAMES if name in file}
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; give an .npz file with {NAMES}") from None
    except UNREADABLE as error:
        raise ValueError(f"{path} is no .npz file ({error}); save it with np.savez") from None
    if missing := [name for name in NAMES if name not in found]:
        raise ValueError(f"{path} lacks {missing}; give a file with {NAMES}")
    arrays = [found[name] for name in NAMES]
    parts = [
        part
        for place in (0, 2)
        for part in _part(f"{path}: {NAMES[place]}", *arrays[place : place + 2])
    ]
    images = Images(*parts)
    if (arrays[0].dtype == np.uint8) != (arrays[2].dtype == np.uint8):
        raise ValueError(
            f"{path}: x_train has {arrays[0].dtype} but x_test {arrays[2].dtype}, and uint8 alone "
            f"is scaled; give both in one type"
        )
    if images.X_train.shape[1:] != images.X_test.shape[1:]:
        raise ValueError(
            f"{path}: x_train has images of {images.X_train.shape[1:]} but x_test of "
            f"{images.X_test.shape[1:]}; give images of one size"
        )
    if images.num_classes < 2:
        raise ValueError(f"{path}: y_train holds one class alone; give classes from 0 to C - 1")
    if images.y_test.max() >= images.num_classes:
        raise ValueError(
            f"{path}: y_test holds the class {images.y_test.max()}, which y_train does not; give "
            f"classes from 0 to {images.num_classes - 1}"
        )
    return images


def _part(where: str, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (S, h, w, c) and their classes (S,)."""
    labels = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if X.ndim not in (3, 4) or 0 in X.shape or labels.shape != X.shape[:1]:
        raise ValueError(
            f"{where} has shape {X.shape} and its labels {y.shape}; give (S, h, w) or "
            f"(S, h, w, c), and (S,)"
        )
    pixels = X.dtype == np.uint8
    with np.errstate(over="ignore"):  # what float32 does not hold is refused
        scaled = X.astype(np.float32) if pixels or X.dtype.kind == "f" else None
    if scaled is None or not np.isfinite(scaled).all():
        raise ValueError(f"{where} has no pixels in {X.dtype}; give uint8 or finite floats")
    if X.ndim == 4 and X.shape[1] in (1, 3) and X.shape[2] == X.shape[3] > 3:
        raise ValueError(f"{where} has shape {X.shape}; give channels last, (S, h, w, c)")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= 2**31:
        raise ValueError(f"{where} has labels that are no classes; give whole numbers from 0")
    scaled = scaled / np.float32(255 if pixels else 1)
    return scaled if X.ndim == 4 else scaled[..., None], labels.astype(np.int64)


def load_digit_images(key: Array, test_share: float = 0.2) -> Images:
    """Scikit-learn's digits as images (S, 8, 8, 1); arguments and errors of `load_digits_split`."""
    split = load_digits_split(key, test_share)
    X, X_test = (
        x[:, :64].reshape(-1, 8, 8, 1).astype(np.float32) for x in (split.X_train, split.X_test)
    )
    return Images(X, split.y_train, X_test, split.y_test)


def image_problem(
    images: Images,
    num_workers: int,
    key: Array,
    *,
    channels: Sequence[int] = (8, 16),
    hidden: Sequence[int] = (),
    size: int = 3,
    activation: str = "relu",
    l2: float = 0.0,
    alpha: float | None = None,
    batch_size: int | None = None,
    loss_samples: int | None = None,
) -> Problem:
    """Deal images over the workers and train a convolutional network on them.

    The whole loss is the mean over the images, whatever their number: each has one over it for a
    weight. Numbers are of JAX's default precision.

    Args:
        images: of `load_images` or `load_digit_images`.
        num_workers: `M`.
        key: a JAX random key; consumed.
        channels: of every convolution, as for `initial_convolutional`.
        hidden: units of hidden layers after them.
        size: of the square filters.
        activation: as for `network_problem`.
        l2: as for `network_problem`.
        alpha: as for `shard`: skew of the labels, none by default.
        batch_size: as for `minibatch`; whole gradients by default.
        loss_samples: as for `network_problem`.

    Raises:
        ValueError: for what these functions refuse.
    """
    _check_images(images)
    dealing, drawing, sampling = _keys.split(key, 3)
    pixels = images.X_train.astype(jnp.result_type(float), copy=False)
    X, y, weights = shard(pixels, images.y_train, num_workers, dealing, alpha)
    network = initial_convolutional(
        drawing, X.shape[2:], images.num_classes, channels=channels, hidden=hidden, size=size
    )
    problem = network_problem(
        X,
        y,
        network,
        l2=l2,
        weights=weights / weights.sum(),
        activation=activation,
        loss_samples=loss_samples,
    )
    return problem if batch_size is None else minibatch(problem, batch_size, sampling)


def accuracy_on(
    images: Images, num_images: int | None = None, activation: str = "relu"
) -> partial[Array]:
    """The share of test images that a network tells right, as a function of it: a `record`.

    Args:
        images: their test images are used.
        num_images: only the first so many; all by default. A record is made at every iterate.
        activation: that of the problem.

    Raises:
        ValueError: if `images` are none, `num_images` is not a whole number of at least 1, or the
            activation is unknown.
    """
    _check_images(images)
    check_activation(activation)
    if num_images is not None:
        whole_number("num_images", num_images)
    return partial(_accuracy, images.X_test[:num_images], images.y_test[:num_images], activation)


def _check_images(images: Any) -> None:
    if not isinstance(images, Images):
        raise ValueError(f"images is a {type(images).__name__}; give what load_images returns")


def _accuracy(X: np.ndarray, y: np.ndarray, activation: str, network: Network) -> Array:
    dtype = jax.tree.leaves(network)[0].dtype
    return classification_accuracy(network_logits(network, X.astype(dtype), activation), y)
