"""A data set dealt over the workers: evenly at random, or skewed by label."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import finite_data, positive, shaped, whole_number
from lagc_jax._display import readable
from lagc_jax._keys import known_key


@readable
class Shards(NamedTuple):
    """A data set as M partitions of N rows, the shorter ones filled up with rows of zeros.

    Attributes:
        X: (M, N, d) features, or images (M, N, h, w, c).
        y: (M, N) targets or labels.
        weights: (M, N) 1 for a row, 0 for filling.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray


def shard(
    X: ArrayLike, y: ArrayLike, num_workers: int, key: Array, alpha: float | None = None
) -> Shards:
    """Deal the rows of a data set over the workers, each row to one; consumes `key`.

    Without `alpha` the rows are shuffled and dealt evenly. With `alpha` every class is cut into
    shares drawn from a symmetric Dirichlet(`alpha`) distribution over the workers: even for a large
    `alpha`, all to one worker for a small one (Yurochkin et al., "Bayesian Nonparametric Federated
    Learning of Neural Networks", ICML 2019, section 4; Hsu, Qi, Brown, arXiv 1909.06335, draw
    instead the classes of every worker, with shards of equal size). A worker left without a row
    takes one from the largest shard. The draws are made on the host, alike on all machines and in
    every precision.

    Args:
        X: features, (S, d), or images (S, h, w, c).
        y: targets or labels, (S,).
        num_workers: `M`, at most S.
        key: a JAX random key.
        alpha: concentration of the Dirichlet distribution, `alpha > 0`.

    Returns:
        `Shards` with `N` the rows of the largest one. Give their weights to the problem: a linear
        regression alone needs none.

    Raises:
        ValueError: if shapes do not fit, data are not finite, there are fewer rows than workers,
            `alpha` is not a positive number, or `y` with it holds other than whole numbers.

    >>> shards = shard(np.ones((5, 1)), np.arange(5), 2, jax.random.key(0))
    >>> shards.X.shape, shards.weights.sum(axis=1).tolist()
    ((2, 3, 1), [3.0, 2.0])
    """
    M = whole_number("num_workers", num_workers)
    finite_data("X", X)
    finite_data("y", y)
    features, targets = np.asarray(X), np.asarray(y)
    if features.ndim < 2 or targets.shape != features.shape[:1]:
        raise ValueError(
            f"X has shape {features.shape} and y has shape {targets.shape}; give (S, d) and (S,)"
        )
    if len(features) < M:
        raise ValueError(
            f"X has {len(features)} rows for num_workers={M}; give at least one row a worker"
        )
    rng = generator(key)
    if alpha is None:
        rows = rng.permutation(len(features))
        parts = [rows[m::M] for m in range(M)]
    else:
        positive("alpha", alpha)
        shaped("alpha", alpha, [()], "one number")
        if (uneven := targets[targets % 1 != 0]).size:
            raise ValueError(
                f"y holds {uneven[0]}, which is no class, for alpha={alpha}; give whole numbers or "
                f"no alpha to deal rows evenly"
            )
        parts = _skewed(rng, targets, M, float(alpha))
    weights = gather(np.ones(len(features), np.result_type(features, np.float32)), parts)
    return Shards(gather(features, parts), gather(targets, parts), weights)


def generator(key: Array) -> np.random.Generator:
    """A generator of the host's random numbers from a JAX random key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(known_key(key))))


def gather(rows: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """Rows of every part, filled up with zeros: (M, N, ...) from (S, ...)."""
    N = max(len(part) for part in parts)
    stacked = np.zeros((len(parts), N, *rows.shape[1:]), rows.dtype)
    for one, part in zip(stacked, parts, strict=True):
        one[: len(part)] = rows[part]
    return stacked


def _skewed(
    rng: np.random.Generator, labels: np.ndarray, num_workers: int, alpha: float
) -> list[np.ndarray]:
    """Indices of every worker's rows, each class shared out by a draw of Dirichlet(`alpha`)."""
    pieces = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        # All shares are equal to 1e-7 at that, and sums beyond float64 no shares at all.
        shares = rng.dirichlet(np.full(num_workers, min(alpha, 1e15)))
        cuts = np.rint(len(rows) * np.cumsum(shares)[:-1]).astype(int)
        pieces.append(np.split(rows, cuts))
    parts = [np.concatenate(piece) for piece in zip(*pieces, strict=True)]
    for m in range(num_workers):
        if not len(parts[m]):
            largest = max(range(num_workers), key=lambda i: len(parts[i]))
            parts[m], parts[largest] = parts[largest][-1:], parts[largest][:-1]
    return parts
