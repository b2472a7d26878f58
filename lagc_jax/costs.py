"""What it took: messages and gradients along a path, and the first hit of an accuracy."""

from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._modes import lenient
from lagc_jax._programs import compiled
from lagc_jax.schemes.base import Scheme

Count = TypeVar("Count", Array, np.ndarray)


def accumulate(per_iteration: Count) -> Count:
    """Cumulative cost of having every iterate, (K+1,) from (K,): entry 0 is 0."""
    xp = per_iteration.__array_namespace__()
    return xp.concatenate([xp.zeros_like(per_iteration[:1]), xp.cumsum(per_iteration)])


def count_costs(scheme: Scheme, selected: Array) -> tuple[Array, Array, Array]:
    """Downlink messages, uplink messages and partition gradients along a path, (K+1,) each.

    As `count_work`, where the number of messages of a group is constant.
    """
    downlink, computation = count_work(scheme, selected)
    uploaded = jnp.sum(selected, axis=-1, dtype=jnp.result_type(int))
    return downlink, scheme.num_waited * accumulate(uploaded), computation


def count_work(scheme: Scheme, selected: Array) -> tuple[Array, Array]:
    """Downlink messages and partition gradients along a path, (K+1,) each.

    Counts are exact integers: `n` messages and the load of `n` workers for every working group.

    Raises:
        ValueError: if the counts could exceed the default integer type.
    """
    integer = jnp.result_type(int)
    largest = selected.shape[0] * scheme.num_workers * scheme.load
    if largest > jnp.iinfo(integer).max:
        raise ValueError(
            f"num_iterations={selected.shape[0]} can cost {largest} gradients, more than "
            f"{integer} counts; enable jax_enable_x64 or use fewer iterations"
        )
    working = accumulate(jnp.sum(scheme.working(selected), axis=-1, dtype=integer))
    return _effort(scheme, working)


def price(scheme: Scheme, working: Count, uploaded: Count) -> tuple[Count, Count, Count]:
    """Downlink messages, uplink messages and gradients of numbers of groups (LAGC, Table I).

    A working group takes `n` downlink messages and the load of `n` workers in gradients, an
    uploading one `F` uplink messages.
    """
    downlink, computation = _effort(scheme, working)
    return downlink, scheme.num_waited * uploaded, computation


def _effort(scheme: Scheme, working: Count) -> tuple[Count, Count]:
    """Downlink messages and gradients of numbers of working groups."""
    downlink = scheme.group_size * working
    return downlink, scheme.load * downlink


@lenient
def first_hit(gap: Any, accuracy: ArrayLike) -> tuple[Any, Any]:
    """First iterates with `gap <= accuracy`: indices and whether there are any, of its shape.

    A gap that is not a number is never below. Of NumPy's arrays NumPy's come back.
    """
    if not isinstance(gap, np.ndarray):
        return _first_hit(gap, accuracy)
    with np.errstate(invalid="ignore"):
        below = gap <= np.asarray(accuracy, jnp.result_type(float))[..., None]
    return below.argmax(-1), below.any(-1)


@compiled()
def _first_hit(gap: ArrayLike, accuracy: ArrayLike) -> tuple[Array, Array]:
    below = jnp.asarray(gap) <= jnp.asarray(accuracy)[..., None]
    return jnp.argmax(below, axis=-1), jnp.any(below, axis=-1)


@lenient
def at_hit(values: Array, index: Array, reached: Array) -> Array:
    """Entries of `values` (K+1,) at the first hits, `inf` where there are none."""
    floating = jnp.result_type(values.dtype, jnp.result_type(float))
    return jnp.where(reached, values[index].astype(floating), jnp.inf)
