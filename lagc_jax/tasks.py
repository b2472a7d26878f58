"""Workers whose loads have parts (`Decoding.tasks`): when they end, what is sent and charged."""

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax.schemes.base import Scheme


def ends(scheme: Scheme, times: Array) -> Array:
    """When the tasks of every worker end, (C, M p), of times for a gradient (C, draws, M).

    Of one draw all gradients of a worker take the same time, of one draw a gradient each its own.
    """
    p = scheme.decoder.tasks
    load = int(scheme.load)  # a multiple of p
    each = load // p
    if times.shape[1] == 1:
        done = jnp.arange(each, load + 1, each, dtype=times.dtype)[:, None] * times
    else:
        done = jnp.cumsum(times, axis=1)[:, each - 1 :: each]
    return jnp.swapaxes(done, 1, 2).reshape(len(times), -1)


def sent(scheme: Scheme, ready: Array, service: Array) -> Array:
    """When messages that are ready at given times (..., M p) have left the links of their workers.

    A worker's link carries one message of its own after another, each for `service`; a pooled one
    is sent at the end.
    """
    p = scheme.decoder.tasks
    if p == 1 or scheme.decoder.pooled:
        return ready + service
    place = jnp.tile(jnp.arange(p, dtype=ready.dtype), ready.shape[-1] // p)
    waited = (ready - place * service).reshape(*ready.shape[:-1], -1, p)
    latest = jax.lax.cummax(waited, axis=waited.ndim - 1).reshape(ready.shape)
    return latest + (place + 1) * service


def counts(
    scheme: Scheme, working: Array, selected: Array, taken: Array
) -> tuple[Array, Array | None]:
    """Messages of those `taken` (..., G, n p) that reach the server, and gradients charged, (...,).

    The latter are None where every working group is charged its whole load.
    """
    integer, decoding = jnp.result_type(int), scheme.decoder
    messages, gradients = taken & selected[..., None], None
    if decoding.pooled:
        p = decoding.tasks
        messages = messages.reshape(*taken.shape[:-1], -1, p).any(-1)
        done = jnp.sum(taken & working[..., None], axis=(-2, -1), dtype=integer)
        gradients = int(scheme.load) // p * done
    return jnp.sum(messages, axis=(-2, -1), dtype=integer), gradients
