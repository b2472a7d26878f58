"""Random keys of any kind, and every draw that the package makes from them.

Draws are Threefry's in its partitionable form, whatever the kind of key that a user gives and
whatever JAX's flags say: other generators draw something else under `vmap`, on another device or
with another JAX, and then a chunk of iterations or a realisation could not be drawn by itself.
"""

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

Draw = TypeVar("Draw", bound=Callable[..., Any])

IMPLEMENTATION = "threefry2x32"


def make_key(seed: int) -> Array:
    """The key `jax.random.key(seed)` of JAX's defaults, whatever has been made of those."""
    words = np.array(divmod(seed % 2**64, 2**32), np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl=IMPLEMENTATION)


def one_key(key: Any) -> Array:
    """Return a user's key as a typed one of its own kind; raise ValueError unless it is one key."""
    typed = None
    try:
        known = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        typed = key if known else jax.random.wrap_key_data(key)
    except (AttributeError, TypeError):
        pass
    if typed is None or typed.shape != ():
        raise ValueError(
            f"key={key!r} is not one JAX random key; give jax.random.key(seed), and batch with "
            f"jax.vmap"
        )
    return typed


def as_key(key: Any) -> Array:
    """Return a user's key, of any kind, as a Threefry key; raise ValueError unless it is one key.

    A Threefry key stays what it is. The words of any other are hashed one after another.
    """
    typed = one_key(key)
    if _is_threefry(typed):
        return typed
    hashed = make_key(0)
    for word in jax.random.key_data(typed).ravel():
        hashed = jax.random.fold_in(hashed, word)
    return hashed


def known_key(key: Any) -> Array:
    """`as_key` of a key that is not traced, for what is made on the host."""
    if isinstance(key, Tracer):
        raise ValueError(f"key={key!r} is traced; draw the data outside jit and vmap")
    return as_key(key)


def threefry(seed: Array, high: ArrayLike, low: ArrayLike) -> tuple[Array, Array]:
    """Two random words for every pair of words: Threefry-2x32 with 20 rounds, as in `jax.random`.

    Its rounds are written out because on CPU jax's own are a loop, which does not fuse with the use
    of the words, which took twice the time, and compiles three times as long.

    Args:
        seed: (2,) uint32.
        high: uint32.
        low: uint32, of a shape that broadcasts with it.
    """
    keys = (seed[0], seed[1], seed[0] ^ seed[1] ^ np.uint32(0x1BD11BDA))
    shape = jnp.broadcast_shapes(jnp.shape(high), jnp.shape(low))
    x, y = (
        jnp.broadcast_to(word + key, shape) for word, key in zip((high, low), keys, strict=False)
    )
    return _rounds(keys, x, y)


@jax.jit  # traced once for all draws of a shape
def _rounds(keys: tuple[Array, Array, Array], x: Array, y: Array) -> tuple[Array, Array]:
    """The rounds of Threefry on words of one shape, to which the first two keys () are added."""
    lax, turns = jax.lax, ((13, 15, 26, 6), (17, 29, 16, 24))
    left = {turn: lax.full_like(y, turn) for turn in (*turns[0], *turns[1])}
    right = {turn: lax.full_like(y, 32 - turn) for turn in left}
    for group in range(5):
        for turn in turns[group % 2]:
            x = lax.add(x, y)
            high, low = lax.shift_left(y, left[turn]), lax.shift_right_logical(y, right[turn])
            y = lax.bitwise_xor(lax.bitwise_or(high, low), x)
        first, second = keys[(group + 1) % 3], keys[(group + 2) % 3] + np.uint32(group + 1)
        x = lax.add(x, jnp.broadcast_to(first, x.shape))
        y = lax.add(y, jnp.broadcast_to(second, y.shape))
    return x, y


def fold_in(key: Any, number: ArrayLike) -> Array:
    """`jax.random.fold_in(key, number)` of `as_key(key)`."""
    number = jnp.asarray(number).astype(jnp.uint32)
    return _as_keys(threefry(_words(key), np.uint32(0), number))


def split(key: Any, num: int = 2) -> Array:
    """`jax.random.split(key, num)` of `as_key(key)`."""
    return _as_keys(threefry(_words(key), np.uint32(0), jnp.arange(num, dtype=jnp.uint32)))


def fold_each(key: Any, numbers: ArrayLike) -> Array:
    """`as_key(fold_in(key, i))` for every `i` of numbers (R,), of the user's own `fold_in`."""
    typed, numbers = one_key(key), jnp.asarray(numbers)
    if _is_threefry(typed):
        return fold_in(typed, numbers)
    # Under vmap, the `fold_in` of "unsafe_rbg" gives other keys than one by one.
    return jax.lax.map(lambda number: as_key(jax.random.fold_in(typed, number)), numbers)


def _words(key: Any) -> Array:
    """The two words of `as_key(key)`."""
    return jax.random.key_data(as_key(key))


def _as_keys(words: tuple[Array, Array]) -> Array:
    return jax.random.wrap_key_data(jnp.stack(words, axis=-1), impl=IMPLEMENTATION)


def _is_threefry(typed: Array) -> bool:
    return str(jax.random.key_impl(typed)) == IMPLEMENTATION


def from_any_key(draw: Draw) -> Draw:
    """Make a function of a key and more draw the same numbers whatever JAX's flags say."""

    @wraps(draw)
    def drawn(key: Any, *arguments: Any, **options: Any) -> Any:
        with jax.threefry_partitionable(True):
            return draw(as_key(key), *arguments, **options)

    return drawn  # type: ignore[return-value]


normal = from_any_key(jax.random.normal)
permutation = from_any_key(jax.random.permutation)


def bits(key: Any, shape: tuple[int, ...], dtype: DTypeLike = jnp.uint32) -> Array:
    """Words of 32 or 64 random bits, `jax.random.bits(key, shape, dtype)`."""
    return _bits(_words(key), tuple(shape), jnp.dtype(dtype))


@partial(jax.jit, static_argnums=(1, 2))  # one program where it is drawn from outside any
def _bits(seed: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    counter = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    high, low = threefry(seed, np.uint32(0), counter)
    if jnp.dtype(dtype).itemsize == 4:
        return high ^ low
    return (high.astype(dtype) << 32) | low.astype(dtype)


def below(
    key: Any, shape: tuple[int, ...], limit: ArrayLike, dtype: DTypeLike | None = None
) -> Array:
    """Whole numbers from 0 to below a limit (): `jax.random.randint(key, shape, 0, limit, dtype)`.

    Twice as many random bits as a number has are taken modulo the limit.
    """
    dtype = jnp.result_type(int) if dtype is None else jnp.dtype(dtype)
    width = 8 * dtype.itemsize
    word = jnp.dtype(f"uint{width}")
    # A limit that is known is one when compiled, and dividing by it is a product then.
    library: Any = jnp if isinstance(limit, Array) else np
    limit = library.maximum(library.asarray(limit), 1).astype(word)
    half = library.asarray(2 ** (width // 2), word) % limit
    with np.errstate(over="ignore"):  # words are taken modulo 2^width
        factor = half * half % limit
    high, low = (bits(each, shape, word) for each in split(key))
    return ((high % limit * factor + low % limit) % limit).astype(dtype)


def survival_uniforms(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draw uniforms in (0, 1] that stand for survival probabilities; consumes `key`.

    All the random bits of a word are kept, so the smallest value is 2^-33 in float32 and 2^-65 in
    float64: quantiles down to that probability are drawn, and zero never is.
    """
    dtype = jnp.dtype(dtype)
    word, width = (jnp.uint64, 64) if dtype.itemsize == 8 else (jnp.uint32, 32)
    drawn = bits(key, shape, word)
    return ((drawn.astype(dtype) + 0.5) * 2.0**-width).astype(dtype)
