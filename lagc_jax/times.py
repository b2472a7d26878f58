"""Times of the iterations along one path, drawn chunk by chunk, any stretch without the rest."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from lagc_jax._blocks import accelerated
from lagc_jax._keys import as_key, bits
from lagc_jax._loops import fori_loop, scan
from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.cluster import Cluster, chunk_of_work, collect
from lagc_jax.costs import accumulate
from lagc_jax.delays.base import Delays, TimeSource
from lagc_jax.delays.drawn import tabulated
from lagc_jax.law.identical import check_iteration
from lagc_jax.law.inverse import CHUNK, Inverse, chunk_uniforms, make_inverse
from lagc_jax.schemes.base import Scheme


class Times(Protocol):
    """Times of the iterations of one path, drawn chunk by chunk, of the delays' dtype."""

    delays: Any  # a `TimeSource`
    part: Any  # of `part_of_path`
    num_iterations: int

    def seed(self, key: Array) -> Array:
        """What the draws of one realisation share, from its key."""
        ...

    def draw(self, seed: Array, chunk: ArrayLike) -> tuple[Array, ...]:
        """Times of a chunk's iterations in parts of equal length; any number beyond the path."""
        ...

    def whole(self, key: Array) -> Array:
        """Times of all iterations of one realisation, (K,); consumes `key`."""
        seed = self.seed(key)
        chunks = jnp.arange(-(-self.num_iterations // CHUNK))
        times = jax.vmap(lambda chunk: jnp.concatenate(self.draw(seed, chunk)))(chunks)
        return times.reshape(-1)[: self.num_iterations]

    def until(self, key: Array, iterates: Array) -> Array:
        """Sums of the times up to given iterates of one realisation, (A,); consumes `key`.

        The iterates (A,) rise. Nothing longer than a chunk is kept, and chunks are added up with
        compensation (Kahan).
        """
        return _add_up(self, self.seed(key), iterates)


def elapsed(times: Array) -> Array:
    """Time at every iterate, (K+1,) from what iterations take (K,).

    It never falls and stands still where an iteration takes nothing. Partial sums do neither, for
    each is rounded on its own.
    """
    sums, K = accumulate(times), times.shape[0]
    moved = jnp.where(times > 0, jnp.arange(1, K + 1), 0)
    sums = sums[jnp.append(0, jax.lax.cummax(moved))]
    fixed = jax.lax.stop_gradient(sums)
    highest = jax.lax.cummax(fixed)
    return jnp.where(fixed < highest, sums + (highest - fixed), sums)


@jax.custom_jvp
def _add_up(times: Times, seed: Array, iterates: Array) -> Array:
    """`Times.until` from a seed."""
    chunks = -(-times.num_iterations // CHUNK)
    # Measured on CPU: a sum that stops and starts anew draws its chunk twice, one that keeps all
    # partial sums of a chunk takes a third longer.
    # On an accelerator the host would have to ask where every stretch ends.
    many = accelerated() or 3 * iterates.shape[0] > chunks
    return (_add_all if many else _add_stretches)(times, seed, iterates)


def _add_all(times: Times, seed: Array, iterates: Array) -> Array:
    """Every chunk once, with its partial sums."""

    def add_chunk(chunk: Array, carry: tuple) -> tuple:
        total, lost, sums = carry
        partial = jnp.cumsum(jnp.concatenate(times.draw(seed, chunk))) - lost
        place = iterates - chunk * CHUNK
        inside = (place > 0) & (place <= CHUNK)
        sums = jnp.where(inside, total + partial[place - 1], sums)
        return *compensated(total, partial[-1]), sums

    zero = jnp.zeros((), times.delays.dtype)
    carry = zero, zero, jnp.zeros(iterates.shape, zero.dtype)
    stop = times.num_iterations if accelerated() else iterates[-1]
    return fori_loop(0, -(-stop // CHUNK), add_chunk, carry)[2]


def compensated(total: Array, term: Array) -> tuple[Array, Array]:
    """A sum and what it lost; one that overflows stays infinite."""
    updated = total + term
    return updated, jnp.where(jnp.isinf(updated), 0, (updated - total) - term)


def _add_stretches(times: Times, seed: Array, iterates: Array) -> Array:
    """One stretch after the other, drawing fused with adding."""

    def add_chunk(chunk: Array, carry: tuple) -> tuple:
        total, lost, start, stop = carry
        parts = times.draw(seed, chunk)
        k = (chunk * CHUNK + jnp.arange(CHUNK)).reshape(len(parts), -1)
        # A minimum, not a selection: the latter kept the draws from being vectorised.
        limit = jnp.where((k >= start) & (k < stop), jnp.inf, 0).astype(total.dtype)
        summed = sum(jnp.minimum(part, limit[i]) for i, part in enumerate(parts))
        return *compensated(total, jnp.sum(summed) - lost), start, stop

    def advance(carry: tuple, stop: Array) -> tuple:
        total, lost, start = carry
        chunks = start // CHUNK, -(-stop // CHUNK)
        total, lost, *_ = fori_loop(*chunks, add_chunk, (total, lost, start, stop))
        return (total, lost, stop), total

    zero = jnp.zeros((), times.delays.dtype)
    return scan(advance, (zero, zero, jnp.zeros_like(iterates[0])), iterates)[1]


@_add_up.defjvp
def _add_up_tangents(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Tangents are added over the whole path: a loop that ends when it likes has no reverse."""
    times, seed, iterates = primals

    def add_chunk(total: Array, chunk: Array) -> tuple[Array, None]:
        def draw(times: Times) -> Array:
            return jnp.concatenate(times.draw(seed, chunk))

        moved = jax.jvp(draw, (times,), (tangents[0],))[1]
        before = chunk * CHUNK + jnp.arange(CHUNK) < iterates[:, None]
        return total + jnp.sum(jnp.where(before, moved, 0), axis=-1), None

    value = _add_up(times, seed, iterates)
    chunks = jnp.arange(-(-times.num_iterations // CHUNK))
    return value, scan(add_chunk, jnp.zeros_like(value), chunks)[0]


@pytree("num_iterations")
class DirectTimes(Times):
    """Times of identical delays, one uniform an iteration; of a direct `Clock`."""

    inverse: Inverse
    delays: Delays
    part: Any  # (C, CHUNK) numbers of working groups, 0 beyond the path
    num_iterations: int
    overhead: ArrayLike | None = None  # () what every answer takes beyond its computing

    def seed(self, key: Array) -> Array:
        return bits(key, (2,), jnp.uint32)

    def draw(self, seed: Array, chunk: ArrayLike) -> tuple[Array, ...]:
        uniforms = chunk_uniforms(seed, chunk, self.part.dtype)
        counts = self.part[chunk].reshape(len(uniforms), -1)
        idle = jnp.where(counts > 0, jnp.inf, 0).astype(counts.dtype)
        counts = jnp.maximum(counts, 1)
        times = (
            self.inverse.times(self.delays, uniform, counts[i])
            for i, uniform in enumerate(uniforms)
        )
        if self.overhead is not None:
            overhead = jnp.asarray(self.overhead, counts.dtype)
            times = (time + overhead for time in times)
        return tuple(jnp.minimum(time, idle[i]) for i, time in enumerate(times))


@pytree("num_iterations")
class WorkerTimes(Times):
    """Times along a path, drawn worker by worker."""

    scheme: Scheme
    delays: TimeSource
    part: Any  # (C, CHUNK, G) bool, groups that upload; none beyond the path
    num_iterations: int
    cluster: Cluster | None = None

    def seed(self, key: Array) -> Array:
        return as_key(key)

    def draw(self, seed: Array, chunk: ArrayLike) -> tuple[Array, ...]:
        work = chunk_of_work(self.scheme, self.delays, self.cluster, seed, chunk)
        k = chunk * CHUNK + jnp.arange(CHUNK)
        return (collect(self.scheme, self.cluster, work, self.part[chunk], k).time,)


def part_of_path(scheme: Scheme, selected: Any, sees: str, dtype: DTypeLike) -> Any:
    """What a clock sees of a path: "groups" that upload, or "counts" of working ones of `dtype`.

    They come by chunk, (C, CHUNK, G) or (C, CHUNK), of nothing beyond the path, as NumPy's or JAX's
    arrays.
    """
    host = isinstance(selected, np.ndarray)
    return (_part if host else _part_compiled)(scheme, selected, sees, dtype)


def _part(scheme: Scheme, selected: Any, sees: str, dtype: DTypeLike) -> Any:
    counted = sees == "counts"
    return _by_chunk(scheme.working(selected).sum(-1).astype(dtype) if counted else selected)


_part_compiled = compiled("sees", "dtype")(_part)


def _by_chunk(values: Any) -> Any:
    """Values of iterations (K, ...) by chunk, (C, CHUNK, ...), filled up with zeros."""
    xp = np if isinstance(values, np.ndarray) else jnp
    padding = ((0, -len(values) % CHUNK),) + ((0, 0),) * (values.ndim - 1)
    return xp.pad(values, padding).reshape(-1, CHUNK, *values.shape[1:])


def sample_iteration_times(
    delays: Delays, key: Array, group_size: int, redundancy: int, working: Array
) -> Array:
    """Draw the times of iterations without drawing every worker's; consumes `key`.

    Arguments and errors are those of `iteration_mean`, with bool (K, G), groups that compute, in
    place of their number. Gives (K,) times, 0 where no group works; for a longer path the first K
    draws are the same.
    """
    key = as_key(key)
    n, r = check_iteration(delays, group_size, redundancy)
    counts = _by_chunk(working.sum(-1).astype(delays.dtype))
    inverse = make_inverse(n, r, delays.dtype)
    return _whole(DirectTimes(inverse, tabulated(delays), counts, working.shape[0]), key)


@compiled()
def _whole(times: Times, key: Array) -> Array:
    return times.whole(key)


def sample_worker_times(
    delays: TimeSource, key: Array, num_iterations: int, num_workers: int
) -> Array:
    """Draw `tau_m^k`, the times for one partition gradient, (K, M); consumes `key`."""
    return _sample_each(tabulated(delays), key, num_iterations, num_workers)


@compiled("num_iterations", "num_workers")
def _sample_each(delays: TimeSource, key: Array, num_iterations: int, num_workers: int) -> Array:
    chunks = jnp.arange(-(-num_iterations // CHUNK))
    shape = (CHUNK, 1, num_workers)
    times = jax.vmap(lambda chunk: delays.sample_chunk(key, chunk, shape))(chunks)
    return times.reshape(-1, num_workers)[:num_iterations]
