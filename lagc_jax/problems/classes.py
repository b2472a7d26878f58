"""Classes of samples: their checks, and the share of them that logits tell right."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import finite_data, not_negative, real_array, shaped, whole_number


def check_classes(
    y: np.ndarray, weights: ArrayLike | None, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check classes (M, N) and weights; return both, class 0 where the weight is zero, and `C`."""
    w = sample_weights(weights, y)
    counted = w > 0
    classes = np.where(counted, y, 0)
    C = max(int(classes.max()) + 1, 2)
    if num_classes is not None:
        C = whole_number("num_classes", num_classes, minimum=2)
    wrong = classes[(classes < 0) | (classes >= C) | (classes % 1 != 0)]
    if wrong.size:
        raise ValueError(f"y holds the class {wrong[0]}; give whole numbers from 0 to {C - 1}")
    found = np.unique(y[counted])
    if num_classes is None and found.size and found.size <= found[-1]:
        empty = next(c for c in range(C) if c not in found)
        raise ValueError(
            f"y has no sample of class {empty} but of class {found[-1]:g}; count from 0, or give "
            f"num_classes={C} if that is meant"
        )
    return classes.astype(np.int32), w, C


def sample_weights(weights: ArrayLike | None, labels: np.ndarray) -> np.ndarray:
    """Check weights of samples, (M, N); ones by default."""
    if weights is None:
        return np.ones(labels.shape)
    not_negative("weights", weights)
    shaped("weights", weights, [labels.shape], f"{labels.shape}, one a sample of y")
    return finite_data("weights", weights)


def classification_accuracy(logits: ArrayLike, y: ArrayLike) -> Array:
    """Share of samples whose largest logit is that of their class, (); the first in a tie.

    NaN where a logit is, as along a path that diverged. With `record` of `descend` or `simulate`
    it gives the test accuracy along a path.

    Args:
        logits: (S, C).
        y: (S,) classes from 0 to C-1.

    Raises:
        ValueError: if the shapes do not fit, or known classes are not from 0 to C-1.

    >>> float(classification_accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0]))
    0.5
    """
    real_array("logits", logits)
    if np.ndim(logits) != 2 or np.shape(y) != np.shape(logits)[:1]:
        raise ValueError(
            f"logits has shape {np.shape(logits)} and y has shape {np.shape(y)}; give (S, C) and "
            f"(S,)"
        )
    known, C = real_array("y", y), np.shape(logits)[1]
    if known is not None and (wrong := known[~np.isin(known, np.arange(C))]).size:
        raise ValueError(f"y holds the class {wrong[0]}; give whole numbers from 0 to {C - 1}")
    scores = jnp.asarray(logits)
    right = jnp.argmax(scores, axis=-1) == jnp.asarray(y)
    return jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, jnp.mean(right, dtype=float))
