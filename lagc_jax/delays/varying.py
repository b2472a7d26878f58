"""Speeds that change in time: a drift, and a daily rhythm, around any source of times.

Time is counted in iterations, of an event-driven scheme in a worker's jobs.
"""

from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import concrete, finite, positive
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.stragglers import Wrapper


class Varying(Wrapper, Protocol):
    """Times multiplied by a factor that is known for every iteration."""

    def factor(self, iteration: Array) -> Array:
        """Of the times in iterations (C, 1), broadcast to (C, M)."""
        ...

    @lenient
    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = self.delays.sample_chunk(key, chunk, shape)
        iteration = jnp.asarray(chunk) * shape[0] + jnp.arange(shape[0])
        factor = self.factor(iteration[:, None].astype(self.dtype))
        return times * factor[:, None].astype(times.dtype)


@pytree()
class Drift(Varying):
    """Workers that grow slower, or faster, from iteration to iteration.

    In iteration `k` times are multiplied by `growth^k`.

    Args:
        delays: times in the first iteration, of any source.
        growth: factor from one iteration to the next, shape () or (M,).

    Raises:
        ValueError: if `delays` is no source of times, or a growth is not positive and finite.

    >>> import jax
    >>> from lagc_jax import Trace
    >>> drift = Drift(Trace.from_array([[1.0], [1.0]], resample="replay"), growth=2.0)
    >>> drift.sample_chunk(jax.random.key(0), 0, (2, 1, 1)).ravel().tolist()
    [1.0, 2.0]
    """

    delays: TimeSource
    growth: ArrayLike

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("growth", self.growth)

    def factor(self, iteration: Array) -> Array:
        return jnp.exp(iteration * jnp.log(jnp.asarray(self.growth, self.dtype)))


@pytree()
class Diurnal(Varying):
    """Workers whose speed has a rhythm: others use them by day.

    In iteration `k` times are multiplied by `1 + amplitude sin(2 pi (k / period + phase))`.

    Args:
        delays: times without it, of any source.
        amplitude: from 0 to less than 1, shape () or (M,).
        period: iterations of a day, shape () or (M,).
        phase: share of a day by which a worker is ahead, shape () or (M,).

    Raises:
        ValueError: if `delays` is no source of times, or a parameter is out of range.

    >>> from lagc_jax import Exponential
    >>> rhythm = Diurnal(Exponential(1.0), amplitude=0.5, period=4.0, phase=[0.0, 0.5])
    >>> rhythm.factor(jnp.array([[1.0]])).round(3).tolist()
    [[1.5, 0.5]]
    """

    delays: TimeSource
    amplitude: ArrayLike
    period: ArrayLike
    phase: ArrayLike = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("period", self.period)
        finite("phase", self.phase)
        finite("amplitude", self.amplitude)
        known = concrete(self.amplitude)
        if known is not None and not np.all((known >= 0) & (known < 1)):
            raise ValueError(f"amplitude={self.amplitude} must lie from 0 to less than 1")

    @lenient
    def factor(self, iteration: Array) -> Array:
        amplitude, period, phase = (
            jnp.asarray(value, self.dtype) for value in (self.amplitude, self.period, self.phase)
        )
        turn = jnp.mod(iteration, period) / period  # the phase, whatever the precision
        return 1 + amplitude * jnp.sin(2 * jnp.pi * (turn + phase))
