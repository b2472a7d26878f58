"""The distributed loss `L(theta) = sum_m L_m(theta)`: gradients, smoothness and optimum.

A problem holds M partitions stacked on the leading axis and answers four questions: the gradients
of any grouping of its partitions, their smoothness constants, the loss and the optimality gap. The
constants of the regressions are computed once in float64 on the host, whatever the precision of
the simulation, and the gradients and the gap are written around the optimum, so that a gap of 1e-8
is not lost to rounding even in float32. A problem with samples also makes problems whose losses
are estimates from a few of them.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import as_leaf, finite, shaped

# From points, (d,) or one a group (G, d), and the number of an iteration () to gradients (G, d).
Oracle = Callable[[Array, Array], Array]


class Problem(Protocol):
    """What the simulator asks of a problem with M partitions and d parameters.

    Attributes:
        smoothness: (M,) smoothness constant of every partition's loss.
        total_smoothness: () `L`, that of the whole loss.
        strong_convexity: () `mu`, a lower bound on the curvature; NaN where unknown.
        minimizer: (d,) `theta*`.
        optimum: () `L(theta*)`.
    """

    smoothness: Array
    total_smoothness: Array
    strong_convexity: Array
    minimizer: Array
    optimum: Array

    @property
    def num_partitions(self) -> int:
        """`M`."""
        return self.smoothness.shape[-1]

    @property
    def num_parameters(self) -> int:
        """`d`."""
        return self.minimizer.shape[-1]

    @property
    def start(self) -> Any:
        """`theta^0` (d,) of runs that are given none: zeros."""
        return np.zeros(self.num_parameters, self.minimizer.dtype)

    def flatten(self, theta: Any) -> Array:
        """Return parameters in the user's form as a vector (d,); raise ValueError for others."""
        finite("theta0", theta)
        theta = as_leaf(theta)
        shape = (self.num_parameters,)
        shaped("theta0", theta, [shape], f"{shape}, one entry a parameter")
        return jnp.asarray(theta, self.minimizer.dtype)

    def unflatten(self, theta: Array) -> Any:
        """Return a vector (d,) as parameters in the user's form."""
        return theta

    def group_gradients(self, num_groups: int) -> Callable[[Array], Array]:
        """Return the map from points to the gradients of G groups' losses (G, d).

        A point is one `theta` (d,) for all groups, or (G, d), one a group: row `g` is then the
        gradient of group `g` at point `g`, for the price of one evaluation of all groups.
        """
        ...

    def group_oracle(self, num_groups: int) -> Oracle:
        """Return the map to the groups' gradients in iteration `k`.

        They are exact here; `minibatch` makes a problem whose iterations draw samples.
        """
        exact = self.group_gradients(num_groups)
        return lambda theta, k: exact(theta)

    def sample(self, key: Array, batch_size: int) -> "Problem":
        """Replace every partition's loss by an unbiased estimate from some of its samples.

        They are drawn uniformly with replacement among those of positive weight, alike for a
        partition whatever the groups, and the penalty stays whole. Of the problem returned only
        `group_gradients` are an estimate; all else is that of the whole data or undefined. `key` is
        consumed and may be traced.

        Raises:
            ValueError: if the problem has no samples to draw from.
        """
        raise ValueError(f"{type(self).__name__} has no samples to draw from; define its `sample`")

    def group_smoothness(self, num_groups: int) -> Array:
        """Smoothness constants of the losses of G groups of consecutive partitions, (G,)."""
        ...

    def gap(self, theta: Array) -> Array:
        """`L(theta) - L(theta*)` at `theta` (d,), shape ()."""
        ...

    def loss(self, theta: Array) -> Array:
        """`L(theta)` at `theta` (d,), shape ()."""
        return self.optimum + self.gap(theta)
