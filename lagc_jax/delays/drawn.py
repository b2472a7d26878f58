"""Gamma times, which are dear to invert, drawn through a table where their shape is known.

The exact laws stay theirs: whatever is drawn goes through `tabulated`, whatever is integrated
through `law_of`.
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import concrete
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax.delays.base import Delays
from lagc_jax.delays.families import Gamma, ShiftedGamma
from lagc_jax.delays.tabulated import KNOTS, STEP, log_excess, quantiles, tabulate

Source = TypeVar("Source")

ACCURACY = 1e-9  # relative, of tabulated times between the knots
NORMAL = 1e-290  # times below it have lost digits
MOST_TABLES = 256  # workers with shapes of their own; more take too much memory
MIDDLES = np.exp((KNOTS[1:] + KNOTS[:-1]) / 2)


@pytree()
class Drawn(Delays):
    """A gamma family whose inverse hazard is read off a table; made by `tabulated`.

    Attributes:
        family: that it is to a relative error of `ACCURACY`.
        start, scale: () or (M,), of times `start + scale exp(value)`.
        values, slopes: (N,) or (M, N), as those of `Tabulated`.
    """

    family: Gamma | ShiftedGamma
    start: ArrayLike
    scale: ArrayLike
    values: ArrayLike
    slopes: ArrayLike

    @property
    def tail_index(self) -> ArrayLike:
        return self.family.tail_index

    @property
    def dtype(self) -> Any:
        return self.family.dtype

    @property
    def identical(self) -> bool:
        return self.family.identical

    def check(self, num_workers: int, draws: int = 1) -> None:
        self.family.check(num_workers, draws)

    def hazard(self, t: ArrayLike) -> Array:
        return self.family.hazard(t)

    @lenient
    def inverse_hazard(self, x: ArrayLike) -> Array:
        x = jnp.asarray(x, self.dtype)
        excess = jnp.exp(log_excess(self.values, self.slopes, x))
        return jnp.where(x > 0, excess, 0) * self.scale + self.start

    def log_inverse_hazard(self, x: ArrayLike) -> Array:
        return self.family.log_inverse_hazard(x)


def tabulated(delays: Source) -> Source:
    """Times whose gamma families are drawn through tables, wherever in `delays` they are.

    Times agree with scipy's quantiles to a relative error of 1e-9, in float32 1e-5. A traced shape,
    and with it derivatives by it, keeps Halley's method, hundreds of times the price; so do shapes
    outside some 0.02 to 1e5, where no table is as precise, and those of more than 256 workers that
    differ. The scale may be traced.
    """
    return _each(delays, (Gamma, ShiftedGamma), _tabulated)


def law_of(delays: Source) -> Source:
    """Times with the families that `tabulated` was given."""
    return _each(delays, (Drawn,), lambda drawn: drawn.family)


def _each(thing: Any, kinds: tuple[type, ...], change: Any) -> Any:
    """A pytree with all parts of some kinds changed; itself where there are none."""
    parts, structure = jax.tree.flatten(thing, is_leaf=lambda part: isinstance(part, kinds))
    if not any(isinstance(part, kinds) for part in parts):
        return thing
    return structure.unflatten(
        [change(part) if isinstance(part, kinds) else part for part in parts]
    )


class _Unit(NamedTuple):
    """The gamma law of scale 1, as scipy's distributions answer; NaN where digits are lost."""

    shape: float

    def ppf(self, q: ArrayLike) -> np.ndarray:
        from scipy import special

        times = special.gammaincinv(self.shape, q)
        return np.where((times > NORMAL) | (np.asarray(q) == 0), times, np.nan)

    def isf(self, q: ArrayLike) -> np.ndarray:
        from scipy import special

        return special.gammainccinv(self.shape, q)


def _tabulated(family: Any) -> Any:
    """A gamma family through its table, or itself."""
    known = concrete(family.shape)
    if known is None:
        return family
    # As the family's own arithmetic sees them, so that every door makes the same table.
    shapes = tuple(np.ravel(known).astype(family.dtype).astype(float).tolist())
    tables = _tables(shapes if len(set(shapes)) > 1 else shapes[:1], np.dtype(family.dtype))
    start = getattr(family, "shift", 0)
    return family if tables is None else Drawn(family, start, family.scale, *tables)


@lru_cache(maxsize=16)
def _tables(shapes: tuple[float, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Values and slopes (M, N) of shapes, (N,) of one; None where they do not serve."""
    if len(set(shapes)) > MOST_TABLES:
        return None
    found = [_table(shape, dtype) for shape in shapes]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    values, slopes = zip(*known, strict=True)
    return known[0] if len(known) == 1 else (np.stack(values), np.stack(slopes))


@lru_cache(maxsize=2048)
def _table(shape: float, dtype: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Values and slopes (N,); the very same for the same shape, so that programs share them."""
    unit = _Unit(shape)
    with np.errstate(all="ignore"):
        try:
            table = tabulate(unit)
        except ValueError:  # the shape is so small that most times underflow
            return None
        exact = np.log(quantiles(unit, MIDDLES))
    values, slopes = np.asarray(table.values), np.asarray(table.slopes)
    cubic = (values[1:] + values[:-1]) / 2 - STEP * np.diff(slopes) / 8
    if np.nanmax(np.abs(cubic - exact)) > ACCURACY:
        return None
    return values.astype(dtype), slopes.astype(dtype)
