"""Workers that are slow for a while or do not answer at all, around any source of times.

Both wrappers draw any chunk of iterations by itself: a chain's states and a worker's end are fixed
by the realisation's key, and what is wrapped keeps the draws that it has without the wrapper.
"""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import _keys
from lagc_jax._blocks import accelerated
from lagc_jax._checks import an_array, as_leaf, concrete, one_or_each, positive, probability
from lagc_jax._loops import scan
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import TimeSource
from lagc_jax.delays.contract import as_source

# Chunks that a chain can be asked for: 2^24 of them.
LEVELS = 24


class Wrapper(TimeSource, Protocol):
    """What the wrappers share: the times inside, `delays`, and a random key of their own."""

    delays: TimeSource

    def __post_init__(self) -> None:
        """Take a distribution of scipy's as well, and lists as arrays."""
        object.__setattr__(self, "delays", as_source(self.delays))
        for name, value in vars(self).items():
            if name != "delays":
                an_array(name, value)
                object.__setattr__(self, name, as_leaf(value))

    @property
    def dtype(self) -> np.dtype:
        return self.delays.dtype

    @property
    def identical(self) -> bool:
        return False

    @property
    def length(self) -> int | None:
        return self.delays.length

    @property
    def leaves(self) -> bool:
        """Whether a worker may be silent in some iterations and answer in later ones."""
        return getattr(self.delays, "leaves", False)

    @property
    def depth(self) -> int:
        """How many wrappers there are from here inwards."""
        return 1 + getattr(self.delays, "depth", 0)

    def check(self, num_workers: int, draws: int = 1) -> None:
        for name, value in vars(self).items():
            if name != "delays":
                one_or_each(f"delays.{name}", value, num_workers)
        self.delays.check(num_workers, draws)

    def own_key(self, key: Array) -> Array:
        """A key apart from those of chunks, which count from 0, and of the wrappers inside."""
        return _keys.fold_in(key, np.uint32(2**32 - self.depth))


def check_chain(**moves: Any) -> None:
    """Raise ValueError unless two probabilities, by name, move a chain of two states."""
    for name, value in moves.items():
        probability(name, value)
    (a, out), (b, back) = ((name, concrete(value)) for name, value in moves.items())
    if out is not None and back is not None and np.any(out + back == 0):
        raise ValueError(
            f"{a}={moves[a]} and {b}={moves[b]} are both 0 for a worker, which then "
            f"never changes; give {a} > 0 or {b} > 0"
        )


@pytree()
class Bursty(Wrapper):
    """Workers that are slow for a while: a two-state Markov chain a worker (Gilbert-Elliott).

    In every iteration a worker is either good or bad, and its time is multiplied by `slowdown`
    while it is bad. A good worker turns bad with probability `enter` before its next iteration, a
    bad one good with probability `leave`, independently of the other workers. Chains start
    stationary: a worker is bad for a share `enter / (enter + leave)` of the iterations, in bursts
    of `1 / leave` iterations on average, and the correlation of its states `j` iterations apart is
    `(1 - enter - leave)^j` (Gilbert 1960; Elliott 1963). Every chunk of iterations is drawn by
    itself and follows this law jointly with all others.

    Args:
        delays: times of a good worker, of any source.
        slowdown: factor of a bad worker's times, shape () or (M,).
        enter: probability of turning bad, () or (M,).
        leave: probability of turning good, () or (M,).

    Raises:
        ValueError: if `delays` is no source of times, a slowdown is not positive and finite, a
            probability lies outside [0, 1], or both are 0, for then no stationary start is defined.

    >>> from lagc_jax import Exponential
    >>> bursty = Bursty(Exponential(1.0), slowdown=10.0, enter=0.01, leave=0.19)
    >>> f"{bursty.share_bad:.2f}"
    '0.05'
    """

    delays: TimeSource
    slowdown: ArrayLike
    enter: ArrayLike
    leave: ArrayLike

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("slowdown", self.slowdown)
        check_chain(enter=self.enter, leave=self.leave)

    @property
    def share_bad(self) -> Array:
        """Stationary probability of the bad state, () or (M,)."""
        enter = jnp.asarray(self.enter, self.dtype)
        return enter / (enter + jnp.asarray(self.leave, self.dtype))

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = self.delays.sample_chunk(key, chunk, shape)
        bad = self.bad_in_chunk(self.own_key(key), chunk, (shape[0], shape[2]))
        factor = jnp.where(bad, jnp.asarray(self.slowdown, self.dtype), 1)
        return times * factor[:, None]

    def bad_in_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int]) -> Array:
        """States of a chunk of a power of two iterations, bool (C, M), True where bad.

        The chain is drawn by halves: given its states at both ends of a stretch, the one in the
        middle has a closed law, and the two halves are then independent. Descending from the ends
        of all `2^24` chunks to those of one, and on to its iterations, costs so many draws only.
        """
        size, workers = shape
        if size & (size - 1):
            raise ValueError(f"a chunk has {size} iterations; give a power of two")
        moved = self._moved(LEVELS + size.bit_length() - 1, workers)
        ends_key, inner_key = _keys.split(key)

        def uniform(time: ArrayLike) -> Array:
            return _keys.survival_uniforms(_keys.fold_in(ends_key, time), (workers,), self.dtype)

        share = jnp.broadcast_to(self.share_bad, (workers,))
        first = uniform(0) <= share
        last = uniform(2**LEVELS) <= self._become_bad(share, first, moved[-1])

        def descend(stretch: tuple, level: Array) -> tuple[tuple, None]:
            start, left, right = stretch
            half = 2 ** (LEVELS - 1 - level)
            odds = moved[size.bit_length() - 1 + LEVELS - 1 - level]
            middle = self._middle(uniform(start + half), share, left, right, odds)
            later = chunk >= start + half
            return (
                jnp.where(later, start + half, start),
                jnp.where(later, middle, left),
                jnp.where(later, right, middle),
            ), None

        begin = (jnp.zeros((), int), first, last)
        # Compiled for a TPU, a loop of so few levels takes seven times the launches.
        levels, unroll = jnp.arange(LEVELS), LEVELS if accelerated() else 1
        (_, left, right), _ = scan(descend, begin, levels, unroll=unroll)
        uniforms = _keys.survival_uniforms(_keys.fold_in(inner_key, chunk), shape, self.dtype)
        bad = jnp.stack([left, right])
        for level in reversed(range(size.bit_length() - 1)):
            half = 2**level
            drawn = uniforms[half :: 2 * half]
            middle = self._middle(drawn, share, bad[:-1], bad[1:], moved[level])
            both = jnp.stack([bad[:-1], middle], axis=1).reshape(-1, workers)
            bad = jnp.concatenate([both, bad[-1:]])
        return bad[:-1]

    def _moved(self, levels: int, workers: int) -> Array:
        """`1 - (1 - enter - leave)^(2^l)` for l = 0 .. levels, (levels + 1, M), by doubling."""
        once = jnp.asarray(self.enter, self.dtype) + jnp.asarray(self.leave, self.dtype)
        moved = [jnp.broadcast_to(once, (workers,))]
        for _ in range(levels):
            moved.append(moved[-1] * (2 - moved[-1]))
        return jnp.stack(moved)

    def _become_bad(self, share: Array, bad: Array, moved: Array) -> Array:
        """Probability of the bad state some iterations after a state."""
        return jnp.where(bad, 1 - (1 - share) * moved, share * moved)

    def _middle(
        self, uniform: Array, share: Array, left: Array, right: Array, moved: Array
    ) -> Array:
        """State half way between two states, each `moved` away from it."""
        up = self._become_bad(share, left, moved)
        to_right = jnp.where(right, 1 - (1 - share) * moved, (1 - share) * moved)
        from_good = jnp.where(right, share * moved, 1 - share * moved)
        weight_bad, weight_good = up * to_right, (1 - up) * from_good
        return uniform * (weight_bad + weight_good) <= weight_bad


@pytree()
class Failures(Wrapper):
    """Workers that never answer, for one iteration or for good.

    Where a worker fails its time is `inf`; what the server does then is said by `Cluster.timeout`.
    A failed worker stays in its group, and its partitions stay with it.

    Args:
        delays: times of a worker that answers, of any source.
        once: probability that a worker does not answer in an iteration, independent over
            iterations, shape () or (M,).
        forever: probability that a worker that has answered so far stops for good in an iteration,
            from the first on, () or (M,).

    Raises:
        ValueError: if `delays` is no source of times or a probability lies outside [0, 1].

    >>> import jax
    >>> from lagc_jax import Exponential
    >>> failing = Failures(Exponential(1.0), once=[0.0, 1.0])
    >>> failing.sample_chunk(jax.random.key(0), 0, (1, 1, 2))[0, 0, 1].item()
    inf
    """

    delays: TimeSource
    once: ArrayLike = 0.0
    forever: ArrayLike = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("once", "forever"):
            probability(name, getattr(self, name))

    @property
    def leaves(self) -> bool:
        known = concrete(self.once)
        return super().leaves or known is None or bool((known > 0).any())

    def sample_chunk(self, key: Array, chunk: ArrayLike, shape: tuple[int, int, int]) -> Array:
        times = self.delays.sample_chunk(key, chunk, shape)
        size, _, workers = shape
        end_key, once_key = _keys.split(self.own_key(key))
        # A worker survives j iterations with probability (1 - forever)^j.
        life = -jnp.log(_keys.survival_uniforms(end_key, (workers,), self.dtype))
        hazard = -jnp.log1p(-jnp.asarray(self.forever, self.dtype))
        count = (jnp.asarray(chunk) * size + 1 + jnp.arange(size)).astype(self.dtype)
        uniforms = _keys.survival_uniforms(
            _keys.fold_in(once_key, chunk), (size, workers), self.dtype
        )
        once = jnp.broadcast_to(jnp.asarray(self.once, self.dtype), uniforms.shape)
        hazard = jnp.broadcast_to(hazard, uniforms.shape)
        failed = (uniforms <= once) | (life[None] < count[:, None] * hazard)
        return jnp.where(failed[:, None], jnp.inf, times)
