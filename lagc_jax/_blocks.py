"""How many realisations run together: few on a CPU, for its cache; many on an accelerator.

A realisation's own draws do not depend on it. There a kernel costs microseconds to launch, whatever
it computes, and a loop whose end the host has to ask for costs a wait a turn.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import Array

# Eight blocks of 2^20 realisations: more per block would save few launches.
LARGEST = 2**17
SHARE = 32  # of the memory, the part that the largest result of a block may take
MARKED = 251  # realisations of which a program is traced to see what grows with them
UNKNOWN_MEMORY = 8 * 2**30


def accelerated(platform: str | None = None) -> bool:
    """Whether programs run on another platform than the CPU, by default on JAX's."""
    return (platform or jax.default_backend()) != "cpu"


def block_size(
    on_cpu: int,
    bytes_each: Callable[[], int],
    wanted: int,
    platform: str | None = None,
    memory: int | None = None,
) -> int:
    """Realisations of a block: `on_cpu` there, else a power of two that fits and is of use.

    Args:
        on_cpu: size on a CPU.
        bytes_each: of the largest result of one realisation; not asked for on a CPU.
        wanted: number of realisations in all.
        platform: "cpu", "gpu" or "tpu"; JAX's default one if None.
        memory: bytes of the device; asked of it if None.

    >>> [block_size(64, lambda: 20_000, 2**20, name, 80 * 2**30) for name in ("cpu", "gpu")]
    [64, 131072]
    """
    if not accelerated(platform):
        return on_cpu
    if memory is None:
        known = jax.devices()[0].memory_stats() or {}
        memory = int(known.get("bytes_limit", UNKNOWN_MEMORY))
    fits = max(memory // SHARE // max(bytes_each(), 1), 1)
    return min(LARGEST, 1 << fits.bit_length() - 1, 1 << (wanted - 1).bit_length())


def largest_result(run: Callable[[Array], Any], keys: Array) -> int:
    """Bytes of one realisation in the largest result of any step of what runs many, from keys (R,).

    What all realisations share does not count, nor what `fused_*` functions make on the way.
    """
    traced = jax.make_jaxpr(run)(jax.ShapeDtypeStruct((MARKED, *keys.shape[1:]), keys.dtype))
    sizes = (
        each.aval.size * each.aval.dtype.itemsize // MARKED
        for equation in _equations(traced.jaxpr)
        for each in equation.outvars
        if MARKED in each.aval.shape
    )
    return max(sizes, default=0)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a jaxpr and of those within."""
    for equation in jaxpr.eqns:
        yield equation
        if not str(equation.params.get("name")).startswith("fused_"):
            for within in jaxprs(equation.params):
                yield from _equations(within)


def jaxprs(parameters: Any) -> Iterator[Any]:
    """The jaxprs among an equation's parameters."""
    is_jaxpr = lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")  # noqa: E731
    for leaf in jax.tree.leaves(parameters, is_leaf=is_jaxpr):
        if is_jaxpr(leaf):
            yield getattr(leaf, "jaxpr", leaf)
