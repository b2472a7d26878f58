"""A few numbers in rising order, by comparing all: for vector units, accelerators.

`jnp.sort` compares one pair after another in a loop of its own. A network is a fixed list of
comparisons, of which only those that the wanted value depends on are made, and it fuses with what
makes the values.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax._modes import lenient

# Beyond, the comparisons take longer to compile than they save.
MAX_VALUES = 64


def smallest(values: Array, count: int | Array) -> Array:
    """The `count`-th smallest of values (..., n), (...,): `jnp.sort(values)[..., count - 1]`.

    Only a count that is known has a network.
    """
    if values.shape[-1] > MAX_VALUES or isinstance(count, Array):
        return jnp.sort(values, axis=-1)[..., count - 1]
    # Measured on CPU: with the other axes turned round as well, the long one of iterations comes
    # last and is what the vector units run along.
    wires = list(values.T)
    for i, j in comparisons(len(wires), count - 1):
        a, b = wires[i], wires[j]
        ordered = (a <= b) | jnp.isnan(b)  # NaN is last, as in a sort
        wires[i], wires[j] = jax.lax.select(ordered, a, b), jax.lax.select(ordered, b, a)
    return wires[count - 1].T


# Units in the last place by which a time differs from itself where a compiler makes it twice, once
# with a product and a sum rounded together.
TWICE = 4


def _slack(known: Array) -> float:
    """Part of a time by which it may differ from itself."""
    return TWICE * float(jnp.finfo(known.dtype).eps)


def arrived(arrival: Array, known: Array) -> Array:
    """Which messages (..., n) are there at a time (...,) that is one of theirs."""
    return arrival <= (known * (1 + _slack(known)))[..., None]


@lenient
def first(arrival: Array, count: int | Array) -> tuple[Array, Array]:
    """`Decoding.wait` for the `count` fastest messages; ties go to the first worker."""
    known = smallest(arrival, count)
    by_worker = arrival.T  # the long axis last: see `smallest`
    before = by_worker < (known * (1 - _slack(known))).T
    tied = arrived(arrival, known).T & ~before
    free = count - jnp.sum(before, axis=0)
    return known, (before | (tied & (jnp.cumsum(tied, axis=0) <= free))).T


def come_first(values: Array) -> Array:
    """Whether value `i` comes no later than `j` in a stable sort, bool (n, n, ...) of (n, ...)."""
    index = jnp.arange(len(values)).reshape((-1,) + (1,) * (values.ndim - 1))
    one, other = values[:, None], values[None]
    return (one < other) | ((one == other) & (index[:, None] <= index))


def queue(ready: Array, service: Array) -> Array:
    """When those who are ready at given times (..., n) are done, served alone in this order.

    Each is served for `service`, () or (..., 1); of equal times the first comes first. The i-th is
    done at `max_{j <= i} (ready_j + (i - j + 1) service)`.
    """
    waiting, service = ready.T, service.T
    first = come_first(waiting)
    # The maximum keeps compilers from rounding a product and the difference at once.
    before = jnp.maximum((jnp.sum(first, axis=0) - 1) * service, 0)
    latest = jnp.max(jnp.where(first, (waiting - before)[:, None], -jnp.inf), axis=0)
    return (latest + before + service).T


@lru_cache
def comparisons(n: int, place: int) -> tuple[tuple[int, int], ...]:
    """Pairs `(i, j)` to put in order, `i < j`, so that the value at one place of n is sorted.

    Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), less
    the pairs that do not bear on the place.
    """
    pairs: list[tuple[int, int]] = []
    top = 1 << max(n - 1, 1).bit_length() - 1
    p = top
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed, kept = {place}, []
    for i, j in reversed(pairs):
        if needed & {i, j}:
            needed |= {i, j}
            kept.append((i, j))
    return tuple(reversed(kept))
