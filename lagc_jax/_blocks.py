"""How many realisations run together: few on a CPU, for its cache; many on an accelerator.

A realisation's own draws do not depend on it. There a kernel costs microseconds to launch, whatever
it computes, and a loop whose end the host has to ask for costs a wait a turn.
"""

import jax

# Eight blocks of 2^20 realisations: more per block would save few launches.
LARGEST = 2**17
SHARE = 8  # of the memory, the part that a block may take
UNKNOWN_MEMORY = 8 * 2**30


def accelerated(platform: str | None = None) -> bool:
    """Whether programs run on another platform than the CPU, by default on JAX's."""
    return (platform or jax.default_backend()) != "cpu"


def block_size(
    on_cpu: int,
    bytes_each: int,
    wanted: int,
    platform: str | None = None,
    memory: int | None = None,
) -> int:
    """Realisations of a block: `on_cpu` there, else a power of two that fits and is of use.

    Args:
        on_cpu: size on a CPU.
        bytes_each: memory of one realisation.
        wanted: number of realisations in all.
        platform: "cpu", "gpu" or "tpu"; JAX's default one if None.
        memory: bytes of the device; asked of it if None.

    >>> block_size(64, 10_000, 2**20, "cpu"), block_size(64, 10_000, 2**20, "gpu", 80 * 2**30)
    (64, 131072)
    """
    if not accelerated(platform):
        return on_cpu
    if memory is None:
        known = jax.devices()[0].memory_stats() or {}
        memory = int(known.get("bytes_limit", UNKNOWN_MEMORY))
    fits = max(memory // SHARE // max(bytes_each, 1), 1)
    return min(LARGEST, 1 << fits.bit_length() - 1, 1 << (wanted - 1).bit_length())
