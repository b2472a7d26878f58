"""What it took: messages and gradients along a path, and the first hit of an accuracy."""

from typing import Any, NamedTuple, TypeVar

import jax
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
    return xp.concatenate([xp.zeros(1, per_iteration.dtype), xp.cumsum(per_iteration)])


def count_costs(scheme: Scheme, selected: Array) -> tuple[Array, Array, Array]:
    """Downlink messages, uplink messages and partition gradients along a path, (K+1,) each.

    As `count_work`, where the number of messages of a group is constant.
    """
    return price(scheme, *count_groups(scheme, selected))


def count_work(
    scheme: Scheme, selected: Array, gradients: Array | None = None
) -> tuple[Array, Array]:
    """Downlink messages and partition gradients along a path, (K+1,) each.

    Counts are exact integers: `n` messages and the load of `n` workers for every working group, or
    the gradients of every iteration (K,) where they are given.

    Raises:
        ValueError: if the counts could exceed the default integer type.
    """
    downlink, computation = _effort(scheme, count_groups(scheme, selected)[0])
    return downlink, computation if gradients is None else accumulate(gradients)


def count_groups(scheme: Scheme, selected: Array) -> tuple[Array, Array]:
    """Groups that have worked, and that have uploaded, along a path, (K+1,) each.

    Raises:
        ValueError: if what they cost could exceed the default integer type.
    """
    integer, K = jnp.result_type(int), selected.shape[0]
    messages = scheme.num_workers * (1 + scheme.decoder.tasks)  # down and up
    check_counts(K, K * max(scheme.num_groups * sum(scheme.loads), messages))
    each = (scheme.working(selected), selected)
    working, uploaded = (accumulate(jnp.sum(groups, axis=-1, dtype=integer)) for groups in each)
    return working, uploaded


def check_counts(num_iterations: int, largest: float) -> None:
    """Raise ValueError where iterations can cost more than the default integer counts."""
    integer = jnp.result_type(int)
    if largest > jnp.iinfo(integer).max:
        raise ValueError(
            f"num_iterations={num_iterations} can cost {largest} gradients or messages, more than "
            f"{integer} counts; enable jax_enable_x64 or use fewer iterations"
        )


def price(scheme: Scheme, working: Count, uploaded: Count) -> tuple[Count, Count, Count]:
    """Downlink messages, uplink messages and gradients of numbers of groups (LAGC, Table I).

    A working group takes `n` downlink messages and the load of `n` workers in gradients, an
    uploading one `F` uplink messages.
    """
    downlink, computation = _effort(scheme, working)
    return downlink, scheme.num_waited * uploaded, computation


class Spent(NamedTuple):
    """What A first hits took along a path that all realisations share, `inf` where there are none.

    Attributes:
        iterations, communication, computation, bits: (A,), as in `Complexity`.
    """

    iterations: Any
    communication: Any
    computation: Any
    bits: Any


@lenient
def spend(
    scheme: Scheme, hit: tuple[Any, Any], working: Any, uploaded: Any, message_bits: ArrayLike
) -> Spent:
    """What first hits (of `first_hit`) took, from the groups that worked and uploaded until then.

    Arrays are all NumPy's or all JAX's.
    """
    index, reached = hit
    downlink, uplink, computation = price(scheme, working, uploaded)
    where = reached.__array_namespace__().where
    iterations, messages, gradients, uplink = (
        where(reached, count, np.inf) for count in (index, downlink + uplink, computation, uplink)
    )
    return Spent(iterations, messages, gradients, uplink * message_bits)


@lenient
def mean_bits(message_bits: Any, uploaded: Count, index: Any) -> Any:
    """Bits of a message, () or (K,), as means over those that have been sent at iterates (A,).

    `uploaded` (K+1,) counts the groups that have uploaded. Bits that do not vary stay. Where none
    has been sent a message counts one, for no bits times endless uploads would not be a number.
    """
    if np.ndim(message_bits) == 0:
        return message_bits
    xp = uploaded.__array_namespace__()
    sent = accumulate(xp.diff(uploaded) * xp.asarray(message_bits, dtype=jnp.result_type(float)))
    none = uploaded[index] == 0
    return xp.where(none, 1.0, sent[index] / xp.maximum(uploaded[index], 1))


def _effort(scheme: Scheme, working: Count) -> tuple[Count, Count]:
    """Downlink messages and gradients of numbers of working groups."""
    return scheme.group_size * working, sum(scheme.loads) * working  # type: ignore[return-value]


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


@lenient
def at_hits(tree: Any, index: Any, reached: Any, otherwise: float) -> Any:
    """Entries of leaves (K+1, ...) at first hits (A,), `otherwise` where there are none."""
    where = reached.__array_namespace__().where

    def look(leaf: Any) -> Any:
        return where(column(reached, leaf), leaf[index], otherwise)

    return jax.tree.map(look, tree)


def column(values: Any, leaf: Any) -> Any:
    """(A,) as (A, 1, ..), to be broadcast along the axes of a leaf."""
    return values.reshape(-1, *(1,) * (leaf.ndim - 1))
