"""Loads of the workers of a group: checked, and cut into tasks."""

from typing import Any

import numpy as np

from lagc_jax._checks import positive, whole_number
from lagc_jax.schemes.decoding import Decoding


def known_load(load: Any, group_size: int) -> float | tuple[float, ...]:
    """A load, or one a worker, checked; a tuple of equal ones as one."""
    if not isinstance(load, tuple | list):
        return _amount("fixed_load", load)
    each = tuple(_amount("fixed_load", one) for one in load)
    if len(each) != group_size:
        raise ValueError(
            f"fixed_load has {len(each)} entries; give one a worker of a group, {group_size}"
        )
    return each if len(set(each)) > 1 else each[0]


def check_tasks(decoding: Decoding, loads: tuple[float, ...]) -> None:
    """Raise ValueError unless all loads are one whole multiple of the tasks."""
    if decoding.tasks > 1 and (max(loads) % decoding.tasks or len(set(loads)) > 1):
        raise ValueError(
            f"decoding={type(decoding).__name__} has {decoding.tasks} equal tasks a worker, which "
            f"loads of {sorted(set(loads))} are not; give fixed_load a multiple"
        )


def _amount(name: str, value: Any) -> float:
    """A number of gradients, an int where it is whole; raise ValueError for others."""
    if not isinstance(value, float | np.floating):
        return whole_number(name, value)
    positive(name, value)
    return int(value) if float(value).is_integer() else float(value)
