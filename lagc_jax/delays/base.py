"""Distributions of the time that a worker needs for one partition gradient.

Every family is written through its cumulative hazard `-log P(tau > t)`. If `x` is a draw of the
unit exponential, the time at which the hazard reaches `x` is a draw of the family, and a small
survival probability is an `x` of ordinary size: the far tail keeps its precision in float32.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _checks, _keys
from lagc_jax._checks import as_leaf, positive
from lagc_jax._modes import float_dtype, lenient
from lagc_jax._pytree import pytree


class TimeSource(Protocol):
    """What the simulator asks of whatever makes the workers' computing times.

    Any chunk of iterations can be drawn without the ones before, and is the same whatever else is
    drawn: families of independent times, resampled traces, bursts and failures all answer this.
    """

    @property
    def dtype(self) -> Any:
        """Floating dtype of the times."""
        ...

    @property
    def identical(self) -> bool:
        """Whether times are independent and of one known law, as direct sampling needs."""
        ...

    @property
    def length(self) -> int | None:
        """Iterations after which the times repeat; None if they never do."""
        return None

    def check(self, num_workers: int, draws: int = 1) -> None:
        """Raise ValueError unless it can give M workers so many independent times an iteration."""
        ...

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        """Draw times for one partition gradient, `inf` where a worker never answers.

        They are those of the iterations from `chunk * C` on of the realisation that `key`, the same
        for all chunks, stands for, of shape (C, draws, M); a worker's draws are independent.
        """
        ...


class Delays(TimeSource, Protocol):
    """What the simulator asks of a family of computing times.

    A family gives the three hazard functions and its tail index; the rest follows. Parameters have
    shape () for independent and identically distributed workers or (M,) for one value a worker,
    followed by `support_ndim` axes that do not count workers.
    """

    support_ndim: ClassVar[int] = 0
    # Whether `inverse_hazard` is smooth for all positive hazards, as one fixed quadrature needs.
    smooth: ClassVar[bool] = True
    jumps: ClassVar[bool] = False  # whether the hazard jumps: moments then vary with the kinks

    @property
    def tail_index(self) -> ArrayLike:
        """Supremum of the `p` with a finite `E[tau^p]`; `inf` for a light tail."""
        ...

    def hazard(self, t: ArrayLike) -> Array:
        """Cumulative hazard `-log P(tau > t)` at time `t`."""
        ...

    def inverse_hazard(self, x: ArrayLike) -> Array:
        """Time at which the cumulative hazard reaches `x >= 0`."""
        ...

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        """Logarithm of `inverse_hazard(x)`, also where that overflows."""
        ...

    @property
    def kinks(self) -> Array:
        """Times at which the hazard is not smooth, (J,) or (M, J): the start of the support."""
        return self.inverse_hazard(0.0)[..., None]

    @property
    def dtype(self) -> Any:
        """Floating dtype of the times: that of the parameters."""
        return float_dtype(*jax.tree.leaves(self))

    @property
    def identical(self) -> bool:
        """Whether all workers share one distribution (no parameter has an axis of workers)."""
        return all(np.ndim(leaf) <= self.support_ndim for leaf in jax.tree.leaves(self))

    @lenient
    def survival(self, t: ArrayLike) -> Array:
        """`P(tau > t)`, of the shape of `t`."""
        return jnp.exp(-self.hazard(t))

    @lenient
    def quantile(self, probability: ArrayLike) -> Array:
        """Time `t` with `P(tau <= t) = probability`, of its shape; ValueError beyond [0, 1]."""
        _checks.probability("probability", probability)
        return self.inverse_hazard(-jnp.log1p(-jnp.asarray(probability, self.dtype)))

    @lenient
    def sample(self, key: Array, shape: tuple[int, ...] = ()) -> Array:
        """Draw times of the given shape (..., M) or, for parameters (), any; consumes `key`."""
        return self.inverse_hazard(-jnp.log(_keys.survival_uniforms(key, shape, self.dtype)))

    def check(self, num_workers: int, draws: int = 1) -> None:
        # Axes of a support, which follow that of the workers, may have any length.
        for path, leaf in jax.tree_util.tree_leaves_with_path(self):
            shape = np.shape(leaf)
            support = shape[len(shape) - self.support_ndim :]
            if shape[: len(shape) - self.support_ndim] not in ((), (num_workers,)):
                raise ValueError(
                    f"delays{jax.tree_util.keystr(path)} has shape {shape}; give {support} or "
                    f"{(num_workers, *support)}, one value a worker, and batch with jax.vmap"
                )

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        return self.sample(_keys.fold_in(key, chunk), shape)


class Family(Delays, Protocol):
    """A family of positive parameters and a light tail, where it does not say otherwise."""

    # Other checks of parameters, by their names.
    checks: ClassVar[Mapping[str, Callable[[str, Any], Any]]] = {}

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            self.checks.get(name, positive)(name, value)
            object.__setattr__(self, name, as_leaf(value))

    @property
    def tail_index(self) -> ArrayLike:
        return jnp.inf

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.inverse_hazard(x))


@pytree()
class Exponential(Family):
    """Low tail: `P(tau > t) = exp(-rate t)`.

    Args:
        rate: inverse of the mean time, shape () or (M,).

    Raises:
        ValueError: if a rate is not positive and finite.

    >>> float(Exponential(rate=2.0).survival(0.0))
    1.0
    """

    rate: ArrayLike

    def hazard(self, t: ArrayLike) -> Array:
        return jnp.maximum(jnp.asarray(t), 0) * self.rate

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.asarray(x) / self.rate

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(jnp.asarray(x)) - jnp.log(self.rate)


@pytree()
class Pareto(Family):
    """High tail: `P(tau > t) = (scale / t)^shape` for `t >= scale`.

    Args:
        scale: smallest possible time, shape () or (M,).
        shape: tail index, shape () or (M,); the mean is infinite for `shape <= 1`.

    Raises:
        ValueError: if a scale or a shape is not positive and finite.

    >>> float(Pareto(scale=1.0, shape=2.0).survival(2.0))
    0.25
    """

    scale: ArrayLike
    shape: ArrayLike

    @property
    def tail_index(self) -> ArrayLike:
        return self.shape

    def hazard(self, t: ArrayLike) -> Array:
        return jnp.log(jnp.maximum(jnp.asarray(t) / self.scale, 1)) * self.shape

    def inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.exp(jnp.asarray(x) / self.shape) * self.scale

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return jnp.log(self.scale) + jnp.asarray(x) / self.shape
