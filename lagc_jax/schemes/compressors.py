"""Compressors: how the vector of a message is shortened, and the bits that it then takes.

A compressor is a small frozen object of static constants with two functions, `compress` and `bits`.
The rules of `compression.py` and LAQ take any, so one of one's own is a class like those below.
What is random is drawn from the compressor's own `seed` and the number of the iteration: it is the
same in all realisations of the delays, like the samples of a minibatch, and another for every
group.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax import _keys
from lagc_jax._checks import check_part, hashable, whole_number
from lagc_jax._modes import range_of
from lagc_jax.schemes.rules import FLOAT_BITS


class Compressor(Protocol):
    """How vectors are sent; a frozen dataclass, so that equal ones are one program.

    Attributes:
        name: short, for files, tables and messages; by default that of the class.
    """

    name: ClassVar[str] = ""

    def __str__(self) -> str:
        numbers = ", ".join(str(value) for name, value in vars(self).items() if name != "seed")
        return (self.name or type(self).__name__) + (f"({numbers})" if numbers else "")

    def compress(self, vectors: Array, k: Array) -> Array:
        """What the receiver makes of the messages about vectors (G, d) of iteration `k`, (G, d)."""
        ...

    def bits(self, num_parameters: int) -> int:
        """Bits of the message about one vector (d,)."""
        ...

    def move(self, held: Array, fresh: Array, k: Array) -> Array:
        """What `held` (G, d) becomes when its change to `fresh` (G, d) is sent."""
        return held + sent(self, fresh - held, k)


def sent(compressor: Compressor, vectors: Array, k: Array) -> Array:
    """`compressor.compress(vectors, k)`; ValueError where one's own gives another shape."""
    found = compressor.compress(vectors, k)
    if jnp.shape(found) != vectors.shape:
        raise ValueError(
            f"`compress` of compressor={str(compressor)!r} gives shape {jnp.shape(found)} of "
            f"vectors of shape {vectors.shape}; give the same shape"
        )
    return found


def unit_of(vectors: Array) -> Array:
    """Powers of two near the largest entries of vectors (.., d), (.., 1).

    To divide by them is exact, and then squares are numbers, of what is large or small as well.
    """
    info = range_of(vectors.dtype)
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    narrow = jnp.clip(largest, info.tiny, info.max).astype(info.dtype)  # whose bits a TPU can read
    return (narrow / (2 * jnp.frexp(narrow)[0])).astype(vectors.dtype)


@dataclass(frozen=True)
class _Sized(Compressor):
    """A compressor with a whole number, its first field, and perhaps a seed."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole_number(name, value, minimum=0 if name == "seed" else 1)


@dataclass(frozen=True)
class Identity(Compressor):
    """Every number is sent as it is, 32 bits each."""

    name: ClassVar[str] = "identity"

    def compress(self, vectors: Array, k: Array) -> Array:
        return vectors

    def bits(self, num_parameters: int) -> int:
        return FLOAT_BITS * num_parameters

    def move(self, held: Array, fresh: Array, k: Array) -> Array:
        return fresh  # not held + (fresh - held), which rounds


@dataclass(frozen=True)
class UniformGrid(_Sized):
    """The uniform grid of `2^b` points of LAQ, see `quantize`: `32 + b d` bits.

    More than 32 bits a coordinate are a ValueError.
    """

    coordinate_bits: int

    name: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        if whole_number("bits", self.coordinate_bits) > FLOAT_BITS:
            raise ValueError(
                f"bits={self.coordinate_bits} exceeds {FLOAT_BITS}; give 1 <= bits <= 32"
            )

    def compress(self, vectors: Array, k: Array) -> Array:
        return quantize(vectors, self.coordinate_bits)

    def bits(self, num_parameters: int) -> int:
        return FLOAT_BITS + self.coordinate_bits * num_parameters


@dataclass(frozen=True)
class TopK(_Sized):
    """The entries of largest absolute value, the first of equal ones; the others become zero.

    A value and its place are sent for each. Biased, so it needs a memory of what was not sent. More
    entries than parameters are a ValueError.

    >>> TopK(1).compress(jnp.array([[1.0, -3.0, 2.0]]), 0).tolist()
    [[0.0, -3.0, 0.0]]
    """

    kept: int

    name: ClassVar[str] = "top-k"

    def compress(self, vectors: Array, k: Array) -> Array:
        _check_kept(self.kept, vectors.shape[-1])
        return _keep(vectors, jnp.abs(vectors), self.kept)

    def bits(self, num_parameters: int) -> int:
        return self.kept * (FLOAT_BITS + (num_parameters - 1).bit_length())


@dataclass(frozen=True)
class RandomK(_Sized):
    """Entries at random, times `d` over their number, so that the mean is right.

    The server draws the same places from the same seed, so that only the values are sent. More
    entries than parameters are a ValueError.
    """

    kept: int
    seed: int = 0

    name: ClassVar[str] = "random-k"

    def compress(self, vectors: Array, k: Array) -> Array:
        _check_kept(self.kept, vectors.shape[-1])
        scale = vectors.shape[-1] / self.kept
        return scale * _keep(vectors, _uniforms(self.seed, k, vectors), self.kept)

    def bits(self, num_parameters: int) -> int:
        return FLOAT_BITS * self.kept


@dataclass(frozen=True)
class Sign(Compressor):
    """The signs, times the mean absolute value: `32 + d` bits; a zero counts as positive.

    Biased. (Karimireddy, Rebjock, Stich and Jaggi, "Error Feedback Fixes SignSGD and other Gradient
    Compression Schemes", ICML 2019, arXiv 1901.09847.)

    >>> Sign().compress(jnp.array([[1.0, -3.0]]), 0).tolist()
    [[2.0, -2.0]]
    """

    name: ClassVar[str] = "sign"

    def compress(self, vectors: Array, k: Array) -> Array:
        scale = jnp.mean(jnp.abs(vectors), axis=-1, keepdims=True)
        return jnp.where(vectors < 0, -scale, scale)

    def bits(self, num_parameters: int) -> int:
        return FLOAT_BITS + num_parameters


@dataclass(frozen=True)
class Dithering(_Sized):
    """QSGD's quantiser: `|v| sign(v_i) l_i / s`, `l_i` at random one of the two levels around it.

    `|v|` is the Euclidean norm, `s` the number of levels, and the mean is right (Alistarh, Grubic,
    Li, Tomioka and Vojnovic, "QSGD: Communication-Efficient SGD via Gradient Quantization and
    Encoding", NeurIPS 2017, arXiv 1610.02132, section 3.1). Counted are the norm and, for each
    entry, a sign and a level in words of one length; QSGD's Elias code is shorter where most levels
    are 0.
    """

    levels: int
    seed: int = 0

    name: ClassVar[str] = "dithering"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels >= 2**FLOAT_BITS:
            raise ValueError(f"levels={self.levels} exceeds 2^32 - 1; give fewer, or 'identity'")

    def compress(self, vectors: Array, k: Array) -> Array:
        unit = unit_of(vectors)
        vectors, levels = vectors / unit, float(self.levels)
        norm = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        scaled = levels * jnp.abs(vectors) / jnp.where(norm == 0, 1, norm)
        low = jnp.floor(scaled)
        level = low + (_uniforms(self.seed, k, vectors) <= scaled - low)
        return norm * jnp.sign(vectors) * (level / levels) * unit

    def bits(self, num_parameters: int) -> int:
        return FLOAT_BITS + num_parameters * (1 + self.levels.bit_length())


@dataclass(frozen=True)
class Natural(Compressor):
    """One of the two powers of two around every entry, at random so that the mean is right.

    Sign and exponent of a float32 are sent, 9 bits an entry (Horvath, Ho, Horvath, Sahu, Canini and
    Richtarik, "Natural Compression for Distributed Deep Learning", 2019, arXiv 1905.10988).
    """

    seed: int = 0

    name: ClassVar[str] = "natural"

    def __post_init__(self) -> None:
        whole_number("seed", self.seed, minimum=0)

    def compress(self, vectors: Array, k: Array) -> Array:
        mantissa = jnp.abs(jnp.frexp(vectors)[0])  # from 1/2 to 1, 0 of zero
        zero = mantissa == 0
        power = vectors / jnp.where(zero, 1, mantissa)
        up = _uniforms(self.seed, k, vectors) <= 2 * mantissa - 1
        return jnp.where(zero, 0, jnp.where(up, power, power / 2))

    def bits(self, num_parameters: int) -> int:
        return 9 * num_parameters


def quantize(vectors: Array, bits: int) -> Array:
    """Round vectors (G, d) to a uniform grid of `2^bits` points over their range (LAQ, eq. 5).

    The grid of a vector reaches from `-R` to `R`, the largest absolute value of its entries; the
    error of an entry is at most `R / (2^bits - 1)`, to the precision of the vectors.

    >>> [f"{x:.3f}" for x in quantize(jnp.array([[1.0, 0.2, -0.9]]), bits=2)[0]]
    ['1.000', '0.333', '-1.000']
    """
    radius = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    step = 2 * radius / (2.0**bits - 1)
    # A step too small to divide by is below the vectors' precision. So asked, a radius that is
    # not a number stays one.
    fine = ~(step < range_of(vectors.dtype).tiny)
    grid = jnp.where(fine, step, 1)
    return jnp.where(fine, jnp.floor((vectors + radius) / grid + 0.5) * grid - radius, vectors)


COMPRESSORS: dict[str, type[Compressor]] = {
    kind.name: kind for kind in (Identity, UniformGrid, TopK, RandomK, Sign, Dithering, Natural)
}


def as_compressor(compressor: Any) -> Compressor:
    """A compressor, or a text such as "top-k(4)" or "sign", as a compressor.

    Raises:
        ValueError: for what is neither, or a wrong number.

    >>> as_compressor("top-k(4)")
    TopK(kept=4)
    """
    if isinstance(compressor, str):
        known = re.fullmatch(r"([a-z-]+)(?:\((\d+)\))?", compressor.strip())
        kind = COMPRESSORS.get(known[1]) if known else None
        sized = kind is not None and issubclass(kind, _Sized)
        if kind is None or known is None or sized != (known[2] is not None):
            texts = [f"{n}(4)" if issubclass(c, _Sized) else n for n, c in COMPRESSORS.items()]
            raise ValueError(f"compressor={compressor!r} is unknown; give one such as {texts}")
        return kind(int(known[2])) if sized else kind()  # type: ignore[call-arg]
    check_part("compressor", compressor, Compressor, "a Compressor, or a text such as 'top-k(4)'")
    return hashable(
        "compressor", compressor, "make its class a frozen dataclass of numbers and tuples"
    )


def _check_kept(kept: int, num_parameters: int) -> None:
    if kept > num_parameters:
        raise ValueError(f"kept={kept} exceeds the {num_parameters} parameters; give fewer")


def _keep(vectors: Array, scores: Array, kept: int) -> Array:
    """Vectors (G, d) with zeros but where the scores (G, d) are among the largest of a row."""
    places = jax.lax.top_k(scores, kept)[1]
    values = jnp.take_along_axis(vectors, places, axis=-1)
    return jnp.put_along_axis(jnp.zeros_like(vectors), places, values, axis=-1, inplace=False)


def _uniforms(seed: int, k: Array, vectors: Array) -> Array:
    """Draws in (0, 1] of the shape and type of vectors, those of iteration `k`."""
    key = _keys.fold_in(_keys.make_key(seed), k)
    return _keys.survival_uniforms(key, vectors.shape, vectors.dtype)
