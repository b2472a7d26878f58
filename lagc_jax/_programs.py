"""Compiled programs of the package, which are let go when there are too many.

A program takes 20 to 150 maps of memory, of which Linux gives a process 65,530 (vm.max_map_count),
and then LLVM aborts it; and it takes megabytes. JAX keeps all programs of a function, so one loop
over many structures would end there. What the caller has compiled stays.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

# Programs that are kept: more than a study needs, at half of the maps.
KEPT = 256


class _Count:
    """Programs since the last clearing, and functions that are being traced."""

    programs = 0
    traced = 0


_functions: list[Any] = []


def compiled(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jax.jit` with static arguments for functions of this package.

    After `KEPT` programs the next call drops those of all such functions.
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

        program = jax.jit(trace, static_argnames=static)
        _functions.append(program)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _Count.programs >= KEPT and _Count.traced == 0:
                _Count.programs = 0
                for each in _functions:
                    each.clear_cache()
            return program(*args, **kwargs)

        return call

    return decorate
