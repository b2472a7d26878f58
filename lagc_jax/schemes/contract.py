"""What a rule, a decoding or a `record` of one's own gives back, checked when it is traced.

Shapes and types are known before anything is compiled, so a wrong one is a ValueError that says
what to give, not an error of broadcasting some lines later.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax._checks import not_negative, shaped, takes_as
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.decoding import Decoding
from lagc_jax.schemes.rules import Proposal, Rule


def start(rule: Rule, theta: Array, num_groups: int) -> Any:
    """`Rule.start` as a pytree of arrays."""
    takes_as(f"trigger={str(rule)!r}", rule, Rule, "start", "propose", "remember")
    return as_arrays(rule.start(theta, num_groups), f"`start` of trigger={str(rule)!r}")


def as_arrays(values: Any, source: str) -> Any:
    """A pytree whose leaves are arrays; raise ValueError for other leaves."""

    def convert(leaf: Any) -> Array:
        try:
            array = jnp.asarray(leaf)
        except (TypeError, ValueError):
            raise ValueError(
                f"{source} gives {leaf!r}; give an array or a pytree of arrays"
            ) from None
        return jax.lax.convert_element_type(array, array.dtype)  # of no weak type

    return jax.tree.map(convert, values)


def propose(rule: Rule, *arguments: Any) -> Proposal:
    """`Rule.propose`, whose `round` is the second argument."""
    found, held = rule.propose(*arguments), arguments[1].held
    wanted = {"skip": (held.shape[:1], jnp.bool_), "message": (held.shape, held.dtype)}
    if not isinstance(found, Proposal):
        raise ValueError(
            f"`propose` of trigger={str(rule)!r} gives {type(found).__name__}; give "
            f"Proposal(skip, message)"
        )
    if found.absent is not None:
        wanted["absent"] = wanted["message"]
    for name, (shape, dtype) in wanted.items():
        _check(getattr(found, name), shape, dtype, f"{name} of `propose` of trigger={str(rule)!r}")
    return found


def remember(rule: Rule, notes: Any, draft: Any, uploaded: Array) -> Any:
    """`Rule.remember`, whose notes must stay of the kind that `start` gave."""
    found = rule.remember(notes, draft, uploaded)
    kind, wanted = jax.tree.structure(found), jax.tree.structure(notes)
    if kind != wanted:
        raise ValueError(
            f"`remember` of trigger={str(rule)!r} gives {kind} where `start` gave {wanted}; give "
            f"the same structure"
        )
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(notes), strict=True):
        _check(new, old.shape, old.dtype, f"`remember` of trigger={str(rule)!r}")
    return found


def message_bits(scheme: Scheme, num_parameters: int, k: Any = None) -> Any:
    """`Rule.message_bits` of the numbers that the scheme's code sends, () or in iterations (K,).

    Without numbers of iterations `k`, bits that vary are NaN. A whole number beyond JAX's integers
    is a float.
    """
    rule, pieces, vectors = scheme.trigger, scheme.decoder.pieces, scheme.decoder.vectors
    bits = rule.message_bits(-(-num_parameters // pieces))
    name = f"`message_bits` of trigger={str(rule)!r}"
    if callable(bits):
        if k is None:
            return float("nan")
        bits = jax.vmap(bits)(k)
        shaped(name, bits, [k.shape], "one number for one iteration")
    else:
        shaped(name, bits, [()], "one number")
    not_negative(name, bits)
    if not isinstance(bits, int | np.integer):
        return bits if vectors == 1 else vectors * bits
    whole = vectors * int(bits)
    return whole if whole <= jnp.iinfo(jnp.result_type(int)).max else float(whole)


def wait(decoding: Decoding, arrival: Array) -> tuple[Array, Array]:
    """`Decoding.wait`."""
    name = f"decoding={type(decoding).__name__}"
    takes_as(name, decoding, Decoding, "wait", "weights")
    source = f"`wait` of {name}"
    found = decoding.wait(arrival)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ValueError(f"{source} gives {type(found).__name__}; give (times, taken)")
    _check(found[0], arrival.shape[:-1], arrival.dtype, f"times of {source}")
    _check(found[1], arrival.shape, jnp.bool_, f"taken of {source}")
    return found


def weights(decoding: Decoding, taken: Array, weigh: Callable[[Array], Array]) -> Array:
    """What `Decoding.weigher` made of messages, of any real type."""
    found = weigh(taken)
    weighed = taken.shape[-1] if decoding.pooled else taken.shape[-1] // decoding.tasks
    _check(
        found,
        (*taken.shape[:-1], weighed),
        None,
        f"`weights` of decoding={type(decoding).__name__}",
    )
    return found


def _check(value: Any, shape: tuple[int, ...], dtype: Any, source: str) -> None:
    """Raise ValueError unless a value is an array of a shape and, if one is given, a type."""
    known = hasattr(value, "shape") and hasattr(value, "dtype")
    if not known or value.shape != shape or dtype not in (None, value.dtype):
        what = f"an array {value.shape} of {value.dtype}" if known else type(value).__name__
        wanted = "real numbers" if dtype is None else jnp.dtype(dtype)
        raise ValueError(f"{source} is {what}; give an array {shape} of {wanted}")
