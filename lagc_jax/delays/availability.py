"""Workers that come and go, around any source of times: by a chain, or by a table of who is there.

A worker that is away never answers: its time is `inf`, and what the server does then is said by
`Cluster.timeout`, by a decoding that does without it, or by a code. Like the other wrappers, these
leave what they wrap the draws that it has without them.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import concrete
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.stragglers import Bursty, Wrapper, check_chain


@pytree()
class OnOff(Wrapper):
    """Workers that leave for a while and come back: a two-state Markov chain a worker.

    A worker that is there leaves with probability `leave` before its next iteration, one that is
    away comes back with probability `come`. The chain is that of `Bursty`, so that it starts
    stationary: a worker is there for a share `come / (leave + come)` of the iterations.

    Args:
        delays: times of a worker that is there, of any source.
        leave: probability of leaving, shape () or (M,).
        come: probability of coming back, () or (M,).

    Raises:
        ValueError: if `delays` is no source of times, a probability lies outside [0, 1], or both
            are 0.

    >>> from lagc_jax import Exponential
    >>> f"{OnOff(Exponential(1.0), leave=0.1, come=0.3).share:.2f}"
    '0.75'
    """

    delays: TimeSource
    leave: ArrayLike
    come: ArrayLike

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chain(leave=self.leave, come=self.come)

    @property
    def leaves(self) -> bool:
        return True

    @property
    def _chain(self) -> Bursty:
        return Bursty(self.delays, 1.0, enter=self.leave, leave=self.come)

    @property
    def share(self) -> Array:
        """Stationary probability of being there, () or (M,)."""
        return 1 - self._chain.share_bad

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = self.delays.sample_chunk(key, chunk, shape)
        away = self._chain.bad_in_chunk(self.own_key(key), chunk, (shape[0], shape[2]))
        return jnp.where(away[:, None], jnp.inf, times)


@pytree()
class Roster(Wrapper):
    """Workers that are there when a table says so, which starts anew after its last row.

    Args:
        delays: times of a worker that is there, of any source.
        present: (T, M) bool, or 0 and 1, who is there in the iterations.

    Raises:
        ValueError: if `delays` is no source of times, or for another table.

    >>> import jax
    >>> from lagc_jax import Exponential
    >>> roster = Roster(Exponential(1.0), [[True, False], [True, True]])
    >>> jnp.isinf(roster.sample_chunk(jax.random.key(0), 0, (4, 1, 2)))[:, 0, 1].tolist()
    [True, False, True, False]
    """

    delays: TimeSource
    present: Any

    workers_last: ClassVar[tuple[str, ...]] = ("present",)  # whose last axis is that of the workers

    def __post_init__(self) -> None:
        super().__post_init__()
        if (known := concrete(self.present)) is None:
            return
        if known.ndim != 2 or not known.size or not np.isin(known, (0, 1)).all():
            raise ValueError(
                f"present has shape {known.shape} and type {known.dtype}; give (iterations, "
                f"workers), a row an iteration, of bool or 0 and 1"
            )
        object.__setattr__(self, "present", known.astype(bool))

    @property
    def leaves(self) -> bool:
        return True

    @property
    def length(self) -> int | None:
        known = [np.shape(self.present)[0], self.delays.length]
        return min(length for length in known if length is not None)

    def check(self, num_workers: int, draws: int = 1) -> None:
        if (columns := np.shape(self.present)[1]) != num_workers:
            raise ValueError(
                f"delays.present has {columns} columns for num_workers={num_workers}; give one a "
                f"worker"
            )
        self.delays.check(num_workers, draws)

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = self.delays.sample_chunk(key, chunk, shape)
        rows = (jnp.asarray(chunk) * shape[0] + jnp.arange(shape[0])) % self.present.shape[0]
        return jnp.where(jnp.asarray(self.present)[rows][:, None], times, jnp.inf)
