"""Draw the time of an iteration from one uniform number, whatever the number of workers.

Iteration `k` of a realisation has a counter-based uniform of its own, so that any stretch of a path
can be drawn without the rest, and schemes under one key share their uniforms (common random
numbers). The uniform is the survival probability of the iteration's time. Inverting it takes two
steps: from the maximum over `s` groups to one group's statistic `Z`, which is closed form, and from
a survival probability of `Z` to its value, which is closed form for `r = 1` and `r = n` and a
tabulated inverse otherwise.
"""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from lagc_jax._entries import entries
from lagc_jax._keys import threefry
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays
from lagc_jax.law.binomial import LARGEST_SUM, log_density, log_probabilities

# Iterations drawn together. Measured on CPU: 32 to 256 cost the same an iteration, and a stretch
# that ends inside a chunk costs the whole chunk.
CHUNK = 64

ONE = 127 << 23  # a float32 of 1, as bits


def chunk_uniforms(seed: Array, chunk: ArrayLike, dtype: DTypeLike) -> tuple[Array, ...]:
    """Survival probabilities in (0, 1] for one chunk of iterations, in parts of equal length.

    A float32 has a word of 32 random bits and is at least 2^-33, a float64 has two and is at least
    2^-65. The parts are not joined, for joining them would keep their use from fusing with their
    making.
    """
    double = jnp.dtype(dtype).itemsize == 8
    size = CHUNK if double else CHUNK // 2
    first = jnp.asarray(chunk).astype(jnp.uint32) * np.uint32(size)
    words = threefry(seed, first + jnp.arange(size, dtype=jnp.uint32), np.uint32(0))
    if double:
        high, low = words
        return (high.astype(dtype) * 2.0**-32 + (low.astype(dtype) + 0.5) * 2.0**-64,)
    return tuple((word.astype(dtype) + 0.5) * 2.0**-32 for word in words)


@pytree("octaves", "splits")
class Inverse:
    """The map from a uniform to an iteration's time; made by `make_inverse`.

    Attributes:
        copies: () exponentials of which every working group contributes the maximum.
        rate: () their rate.
        redundancy: () `r`, by which times are multiplied.
        table: (C, 2 octaves splits) coefficients of polynomials, None where closed forms serve.
        octaves: halvings of a probability that the table covers.
        splits: segments of an octave, a power of two.
    """

    copies: Any
    rate: Any
    redundancy: Any
    table: Any
    octaves: int
    splits: int

    def times(self, delays: Delays, uniform: Array, count: Array) -> Array:
        """Times of iterations with `count > 0` working groups, from their survival uniforms."""
        log_below = jnp.log1p(-uniform) / (self.copies * count)
        above = -jnp.expm1(log_below)
        if self.table is None:
            z = -jnp.log(above) / self.rate
        else:
            z = self._look_up(above, jnp.exp(log_below))
        return self.redundancy * delays.inverse_hazard(z)

    def _look_up(self, above: Array, below: Array) -> Array:
        """Value that `Z` exceeds with probability `above = 1 - below`.

        The exponent and leading bits of the smaller probability, cut to float32, pick a segment;
        where in it the probability lies is the argument of the segment's polynomial. A float64 is
        not read bit by bit: on a TPU it is a pair of float32.
        """
        smaller = jnp.minimum(above, below)
        rest = 23 - (self.splits.bit_length() - 1)
        rounded = smaller.astype(jnp.float32)
        bits = jax.lax.bitcast_convert_type(rounded, jnp.int32)
        bits -= rounded.astype(smaller.dtype) > smaller

        def cleared(low: int) -> Array:
            """The probability without its last bits."""
            kept = jax.lax.bitcast_convert_type((bits >> low) << low, jnp.float32)
            return kept.astype(smaller.dtype)

        size = self.octaves * self.splits
        segment = jnp.maximum((bits >> rest) - (ONE >> rest) + size, 0)
        segment += jnp.where(above < below, size, 0)
        # A probability may round to 0; the least float32 keeps its place in a segment at 0.
        octave = jnp.maximum(cleared(23), float(jnp.finfo(jnp.float32).tiny))
        x = (smaller - cleared(rest)) * self.splits / octave
        z = jnp.zeros_like(x)
        for coefficients in entries(jnp.asarray(self.table), segment)[::-1]:
            z = z * x + coefficients
        return z


@lru_cache(maxsize=256)
def make_inverse(group_size: int, redundancy: int, dtype: Any) -> Inverse:
    """Build the inverse for groups of `n` workers with redundancy `r`, on the host in float64.

    The tabulated `Z` has an absolute error below 1e-6 in float32 and 1e-14 in float64 relative to
    `max(Z, 1)`, down to a survival probability of 2^-33 and 2^-65 for up to 2^24 groups.
    """
    n, r, dtype = group_size, redundancy, np.dtype(dtype)
    octaves, splits, degree = (96, 16, 7) if dtype.itemsize == 8 else (64, 8, 3)
    copies, rate, table = 1, 1, None
    if r == n:
        rate = n
    elif r == 1:
        copies = n
    else:
        table = _tabulate(n, r, octaves, splits, degree).astype(dtype)
    copies, rate, load = (np.asarray(value, dtype) for value in (copies, rate, r))
    return Inverse(copies, rate, load, table, octaves, splits)


def _tabulate(n: int, r: int, octaves: int, splits: int, degree: int) -> np.ndarray:
    """Interpolate the inverse of P(Z <= z), then of P(Z > z), on every segment of probabilities."""
    size = octaves * splits
    segment = np.arange(size)
    width = 2.0 ** (segment // splits - octaves) / splits
    start = width * (splits + segment % splits)
    x = (1 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))) / 2
    log_probability = np.log(start[:, None] + width[:, None] * x)
    values = [_quantile(log_probability, n, r, upper) for upper in (False, True)]
    return np.linalg.solve(np.vander(x, increasing=True), np.concatenate(values).T)


def _quantile(log_probability: np.ndarray, n: int, r: int, upper: bool) -> np.ndarray:
    """Solve log P(Z > z) (upper) or log P(Z <= z) = `log_probability` for z by Newton's method.

    In log z the lower function is nearly linear and the upper one concave, so that a step from a
    point close by converges.
    """
    grid = np.geomspace(1e-30, 200.0, 3000)
    if n > LARGEST_SUM:
        # A law so narrow falls between two points of that grid.
        inverse = 1.0 / np.arange(r, n + 1)
        bulk = inverse.sum() + math.sqrt((inverse**2).sum()) * np.linspace(-20, 20, 800)
        grid = np.sort(np.append(grid, bulk[bulk > 0]))
    known = log_probabilities(grid, n, r)[int(upper)]
    order = slice(None, None, -1) if upper else slice(None)
    log_z = np.interp(log_probability, known[order], np.log(grid)[order])
    for _ in range(6):
        z = np.exp(log_z)
        value = log_probabilities(z, n, r)[int(upper)]
        slope = np.exp(log_density(z, n, r) - value + log_z)
        log_z -= (value - log_probability) / (-slope if upper else slope)
    return np.exp(log_z)
