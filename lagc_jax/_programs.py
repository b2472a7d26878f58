"""Compiled programs of the package, which are let go when there are too many.

A program takes 20 maps of memory and more, that of a network's trajectory a thousand, and Linux
gives a process 65,530 (vm.max_map_count), after which LLVM ends it; and it takes megabytes. JAX
keeps all programs of a function, so one loop over many structures would end there. What the caller
has compiled stays.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from lagc_jax._blocks import accelerated

P = ParamSpec("P")
R = TypeVar("R")

# Programs that are kept at the most: more than a study needs; and after how many the maps are
# looked at, half of which may be in use.
KEPT = 256
LOOK = 8

# The pass in which XLA splits operations between threads, left out.
ONE_THREAD = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


class _Count:
    """Programs since the last clearing, and functions that are being traced."""

    programs = 0
    seen = 0  # when the maps were looked at
    traced = 0


def share_of_maps() -> float:
    """Of the maps of memory that the system gives this process, those in use; 0 if not known."""
    try:
        limit = int(Path("/proc/sys/vm/max_map_count").read_text())
        return Path("/proc/self/maps").read_bytes().count(b"\n") / limit
    except OSError:
        return 0.0


def _too_many() -> bool:
    if _Count.programs >= KEPT:
        return True
    if _Count.programs < _Count.seen + LOOK:
        return False
    _Count.seen = _Count.programs
    return share_of_maps() > 0.5


_functions: list[Any] = []


def _calls_alone(arguments: Any) -> bool:
    """Whether a call is no part of a larger program of JAX, be it only differentiated."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((arguments, jnp.zeros(()))))


def compiled(
    *static: str, one_thread: Callable[..., bool] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jax.jit` with static arguments for functions of this package.

    After `KEPT` programs, or where half of the maps are in use, the next call drops those of all
    such functions.

    Args:
        static: names of arguments.
        one_thread: of the arguments, whether a CPU is to run it on one thread a device. XLA takes
            a look-up in a table for an operation as large as the table, and where a loop has
            thousands of them, threads wait for each other most of the time (measured: two threads
            take twice as long as one).
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def trace(*args: P.args, **kwargs: P.kwargs) -> R:
            # What is traced within another's trace becomes no program of its own.
            _Count.programs += _Count.traced == 0
            _Count.traced += 1
            try:
                return function(*args, **kwargs)
            finally:
                _Count.traced -= 1

        programs = [jax.jit(trace, static_argnames=static)]
        if one_thread is not None:
            programs += [jax.jit(trace, static_argnames=static, compiler_options=ONE_THREAD)]
        _functions.extend(programs)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _Count.traced == 0 and _too_many():
                _Count.programs = _Count.seen = 0
                for each in _functions:
                    each.clear_cache()
            wanted = one_thread is not None and one_thread(*args, **kwargs)
            calm = wanted and not accelerated() and _calls_alone((args, kwargs))
            return programs[1 if calm else 0](*args, **kwargs)

        return call

    return decorate
