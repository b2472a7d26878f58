"""Entries of a table by their numbers, as the platform finds them soonest."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax._pytree import EXACT

LARGEST = 2**13  # columns that a product goes through for an entry


def entries(table: Array, number: Array) -> Any:
    """`table[:, number]` of a table (C, S), C arrays; no number is out of bounds.

    On a TPU, in float32 and of a table that is not large, as a product with ones and zeros, which
    fuses and is exact for finite numbers; a gather goes number by number there. Compiled, not
    measured: no TPU was at hand.
    """
    if not by_product(table):
        known = {"mode": "promise_in_bounds", "wrap_negative_indices": False}
        return [row.at[number].get(**known) for row in table]
    return fused_product(table, number)


@jax.jit
def fused_product(table: Array, number: Array) -> Array:
    """The product with ones and zeros, which are never in memory."""
    rows = jnp.arange(table.shape[1]).reshape(-1, *(1,) * number.ndim)
    return jnp.tensordot(table, (rows == number).astype(table.dtype), axes=1, precision=EXACT)


def entries_or_infinite(table: Array, number: Array) -> Any:
    """`entries` of a table (C, S) of which some may be infinite."""
    if not by_product(table):
        return entries(table, number)
    missing = jnp.isinf(table)
    known = jnp.concatenate([jnp.where(missing, 0, table), missing.astype(table.dtype)])
    value, gone = jnp.split(entries(known, number), 2)
    return jnp.where(gone > 0, jnp.inf, value)


def rows(table: Array, number: Array) -> Array:
    """`table[number]` of a table (S, C) of which entries may be infinite, (..., C)."""
    if not by_product(table.T):
        return table[number]
    return jnp.moveaxis(entries_or_infinite(table.T, number), 0, -1)


def of_columns(table: Array, number: Array) -> Array:
    """`table[number[..., c], c]` of a table (S, C), (..., C): a number of its own a column.

    On a TPU as a sum over all rows of what is chosen, each column being another table.
    """
    columns = jnp.arange(table.shape[1])
    if not by_product(table.T):
        return table[number, columns]
    return fused_choice(table, number)


@jax.jit
def fused_choice(table: Array, number: Array) -> Array:
    """The sum over all rows of what is chosen, which is never in memory."""
    row = jnp.arange(len(table)).reshape(-1, *(1,) * number.ndim)
    table = table.reshape(len(table), *(1,) * (number.ndim - 1), -1)
    return jnp.sum(jnp.where(row == number, table, 0), axis=0)


def by_product(table: Array) -> bool:
    """Whether entries of a table (C, S) are products."""
    small = table.shape[1] <= LARGEST and table.dtype == jnp.float32
    return small and jax.default_backend() == "tpu"
