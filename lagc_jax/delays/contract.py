"""What a user gives as computing times, checked before anything is traced."""

import weakref
from contextlib import suppress
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array

from lagc_jax._checks import concrete, takes_as
from lagc_jax._keys import make_key
from lagc_jax.delays.base import Delays, TimeSource
from lagc_jax.delays.tabulated import is_distribution, tabulate

SOURCE = ("dtype", "identical", "length", "check", "sample_chunk")
FAMILY = ("tail_index", "hazard", "inverse_hazard", "log_inverse_hazard")


def as_source(delays: Any) -> Any:
    """What a user gives as times: a distribution of scipy's is tabulated, all else checked."""
    if isinstance(delays, list | tuple) and any(map(is_distribution, delays)):
        raise ValueError(
            "delays is a list of laws; give one, or lagc_jax.delays.tabulate(law, scale=..) with a "
            "scale a worker"
        )
    if is_distribution(delays) and not hasattr(type(delays), "sample_chunk"):
        return _tabulated(delays)
    check_source(delays)
    return delays


def _tabulated(distribution: Any) -> Any:
    """`tabulate`, once for equal frozen distributions of scipy's own."""
    law: Any = getattr(distribution, "dist", None)
    if type(law).__module__ != "scipy.stats._continuous_distns" or hasattr(law, "_hpdf"):
        return tabulate(distribution)
    values = (*distribution.args, *sorted(distribution.kwds.items()))
    key = type(law), law.a, law.b, values
    try:
        hash(key)
    except TypeError:  # arrays, which `tabulate` refuses
        return tabulate(distribution)
    return _tabulate_once(_Alike(key, distribution))


class _Alike:
    """A distribution that equals those of the same key."""

    def __init__(self, key: Any, distribution: Any) -> None:
        """Keep both."""
        self.key, self.distribution = key, distribution

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=64)
def _tabulate_once(alike: _Alike) -> Any:
    return tabulate(alike.distribution)


def check_source(delays: Any, family: bool = False) -> None:
    """Raise ValueError unless JAX sees through `delays`, and, for a family, it has a known law."""
    kind = type(delays)
    if isinstance(delays, type) or not callable(getattr(kind, "sample_chunk", None)):
        array = isinstance(delays, np.ndarray | list | tuple | Array) or hasattr(delays, "columns")
        given = f"the class {delays.__name__}" if isinstance(delays, type) else f"a {kind.__name__}"
        remedy = (
            "lagc_jax.delays.tabulate of it"
            if is_distribution(delays)
            else "lagc_jax.Trace.from_array(times)"
            if array
            else "one of lagc_jax.delays.FAMILIES such as lagc_jax.Exponential(1.0), a "
            "lagc_jax.Trace of measured times, or a class of your own with the methods of "
            "lagc_jax.delays.TimeSource"
        )
        raise ValueError(f"delays is {given}, not a source of times; give {remedy}")
    if jax.tree_util.all_leaves([delays]):
        raise ValueError(
            f"delays is a {kind.__name__}, which is no pytree, so that JAX cannot trace it; put "
            f"@jax.tree_util.register_dataclass above @dataclass(frozen=True) of its class"
        )
    has_law = hasattr(kind, "hazard")
    if family and not has_law:
        raise ValueError(
            f"delays of type {kind.__name__} have no exact moments; sample with "
            f"simulate or simulate_batch"
        )
    names, known = (*SOURCE, *FAMILY) if has_law else SOURCE, dir(delays)
    missing = [name for name in names if name not in known or _only_promised(kind, name)]
    if missing:
        raise ValueError(
            f"delays is a {kind.__name__}, which lacks {', '.join(missing)}; define what "
            f"lagc_jax.delays.{'Delays' if has_law else 'TimeSource'} asks for"
        )
    if not _ours(kind):
        methods = ("check", "sample_chunk", *(FAMILY[1:] if has_law else ()))
        takes_as(f"delays={kind.__name__}", delays, Delays, *methods)


# Sources that `check_draws` has looked at, by object and number of workers.
_LOOKED_AT: dict[tuple[int, int], weakref.ref] = {}


def check_draws(delays: TimeSource, num_workers: int) -> None:
    """Draw a chunk from a class of the user's own; raise ValueError for what are no times.

    An object is looked at once for a number of workers.
    """
    kind, place = type(delays), (id(delays), num_workers)
    if _ours(kind):
        return
    if place in _LOOKED_AT and _LOOKED_AT[place]() is delays:
        return
    _look_at_draws(delays, num_workers)
    with suppress(TypeError):  # with slots it cannot be told from a later object in its place
        _LOOKED_AT[place] = weakref.ref(delays, lambda _: _LOOKED_AT.pop(place, None))


def _look_at_draws(delays: TimeSource, num_workers: int) -> None:
    kind = type(delays)
    shape = (2, 1, num_workers)
    asked = f"`sample_chunk(key, chunk, shape={shape})` of delays={kind.__name__}"
    drawn = delays.sample_chunk(make_key(0), np.uint32(0), shape)
    if np.shape(drawn) != shape:
        raise ValueError(f"{asked} has shape {np.shape(drawn)}; give {shape}")
    known = concrete(drawn)
    if known is not None and not (known >= 0).all():
        raise ValueError(
            f"{asked} holds {known[~(known >= 0)][0]}; give times that are not negative"
        )


def _ours(kind: type) -> bool:
    """Whether a class is of this package."""
    return kind.__module__.partition(".")[0] == "lagc_jax"


def _only_promised(kind: type, name: str) -> bool:
    """Whether a class has a method from the protocol alone, where it is not written."""
    promise = (TimeSource if name in SOURCE else Delays).__dict__[name]
    return name != "length" and getattr(kind, name, None) is promise
