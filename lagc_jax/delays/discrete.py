"""Finitely many computing times, such as measured ones."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, positive, probability
from lagc_jax._modes import float_dtype, range_of
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Family


@pytree()
class Discrete(Family):
    """Finitely many times, such as measured ones; a single one is deterministic.

    Args:
        values: positive times, shape () for a deterministic time, (J,) or, with one support a
            worker, (M, J).
        probabilities: of the values, of the same shape; equal ones by default.

    Raises:
        ValueError: if a value is not positive and finite, a probability lies outside [0, 1], the
            shapes differ, or the probabilities of a support do not add up to 1.

    >>> Discrete([1.0, 3.0], [0.9, 0.1]).quantile(jnp.array([0.5, 0.95])).tolist()
    [1.0, 3.0]
    """

    values: ArrayLike
    probabilities: ArrayLike | None = None

    support_ndim: ClassVar[int] = 1
    smooth: ClassVar[bool] = False
    jumps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive("values", self.values)
        values = as_leaf(self.values)
        values = (np if concrete(values) is not None else jnp).atleast_1d(values)
        if not values.size:
            raise ValueError(f"values={self.values} is empty; give at least one time")
        weights = self.probabilities
        if weights is None:
            share = 1 / values.shape[-1]
            weights = np.full(values.shape, share, float_dtype(values))
        probability("probabilities", weights)
        weights = as_leaf(weights)
        if np.shape(weights) != values.shape:
            raise ValueError(
                f"probabilities has shape {np.shape(weights)} but values has shape "
                f"{values.shape}; give one probability a value"
            )
        known = concrete(weights)
        if known is not None and not (np.abs(known.sum(-1) - 1) < 1e-5).all():
            raise ValueError(
                f"probabilities={weights} add up to {known.sum(-1)}, not 1; divide by the sum"
            )
        library: Any = jnp if known is None or concrete(values) is None else np
        order = library.argsort(values, axis=-1)
        object.__setattr__(self, "values", library.take_along_axis(values, order, -1))
        object.__setattr__(self, "probabilities", library.take_along_axis(weights, order, -1))

    @property
    def kinks(self) -> Array:
        return jnp.asarray(self.values, self.dtype)

    def _levels(self) -> Array:
        """Hazard from each value on, of the shape of the values; `inf` from the last."""
        weights = jnp.asarray(self.probabilities, self.dtype)
        below = jnp.cumsum(weights, axis=-1)
        above = jnp.flip(jnp.cumsum(jnp.flip(weights, -1), axis=-1), -1)
        below, above = below / below[..., -1:], above / above[..., :1]
        above = jnp.concatenate([above[..., 1:], jnp.zeros_like(above[..., :1])], axis=-1)
        # Each sum is precise where it is the smaller one.
        low = below < 0.5
        some = above > 0
        late = jnp.where(some, -jnp.log(jnp.where(some, above, 1)), jnp.inf)
        return jnp.where(low, -jnp.log1p(-jnp.where(low, below, 0)), late)

    def hazard(self, t: ArrayLike) -> Array:
        levels = self._levels()
        after = jnp.concatenate([jnp.zeros_like(levels[..., :1]), levels], axis=-1)
        # A time that was scaled by the load and back may miss its value by a rounding.
        slack = 1 + 4 * float(jnp.finfo(self.dtype).eps)
        query = jnp.asarray(t, self.dtype) * slack
        return _look_up(jnp.asarray(self.values, self.dtype), query, after, "right")

    def inverse_hazard(self, x: ArrayLike) -> Array:
        # A hazard of zero asks for the smallest value that has any probability.
        x = jnp.maximum(jnp.asarray(x, self.dtype), range_of(self.dtype).tiny)
        return _look_up(self._levels(), x, jnp.asarray(self.values, self.dtype), "left")


def _look_up(grid: Array, query: Array, table: Array, side: str) -> Array:
    """Entries of `table` at the places of `query` in the rising `grid`, by worker if (M, J)."""
    if grid.ndim == 1:
        found = table[jnp.searchsorted(grid, query, side=side)]
        return jnp.where(jnp.isnan(query), jnp.nan, found)
    query = jnp.broadcast_to(query, jnp.broadcast_shapes(query.shape, grid.shape[:1]))
    by_worker = jax.vmap(_look_up, in_axes=(0, -1, 0, None), out_axes=-1)
    return by_worker(grid, query, table, side)
