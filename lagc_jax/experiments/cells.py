"""The points of an experiment that share a problem and sizes, and what the table says of them."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from lagc_jax.experiments.entries import Entry, options, shown
from lagc_jax.experiments.identity import identity, is_own
from lagc_jax.schemes.base import Scheme


class Cell(NamedTuple):
    """Points that share problem and sizes: `xi` x step size x `r` x clusters x delays."""

    problem: Entry
    name: str
    make: Callable[..., Scheme]
    fixed: dict[str, Any]
    axes: tuple[tuple, tuple, tuple]

    def scheme(self, xi: Any, redundancy: Any) -> Scheme:
        """The scheme of one weight and redundancy, None where the constructor takes none."""
        varied = {"xi": xi, "redundancy": redundancy}
        given = self.fixed | {name: value for name, value in varied.items() if value is not None}
        double = bool(jax.config.read("jax_enable_x64"))
        try:
            return (_make_own if self._own else _make)(double, self.make, **given)
        except TypeError:  # an argument that has no hash
            return self.make(**given)

    @property
    def identity(self) -> str:
        """What cells that may hold the same points share."""
        return identity([self.problem.identity, self.name, self.make, self.fixed])

    @property
    def _own(self) -> bool:
        return is_own(getattr(self.make, "func", self.make))

    def read(self, xi: Any, redundancy: Any) -> list[str]:
        """Identity of what a constructor of a user's own makes, which may read a file."""
        return [identity(self.scheme(xi, redundancy))] if self._own else []

    @property
    def first(self) -> Scheme:
        """Any scheme of the cell."""
        return self.scheme(self.axes[0][0], self.axes[2][0])

    @property
    def told(self) -> Hashable:
        """What the table says of all points of the cell, beside its axes."""
        first, (xis, _, redundancies) = self.first, self.axes
        own = {name: getattr(first, name) for name in ("num_workers", "num_groups", "memory")}
        own |= {"xi": shown(np.asarray(first.xi))} if xis[0] is None else {}
        own |= {"redundancy": first.redundancy} if redundancies[0] is None else {}
        said = {**own, "trigger": str(first.trigger), **options(self.fixed)}
        return self.problem.identity, self.name, *said.items()


class Always(NamedTuple):
    """A scheme as a constructor of itself."""

    scheme: Scheme

    def __call__(self) -> Scheme:
        return self.scheme


@lru_cache(maxsize=4096)
def _make(double: bool, make: Callable[..., Scheme], **arguments: Any) -> Scheme:
    """Made once for each precision, on which the matrices of codes depend."""
    return make(**arguments)


# Apart, for what a user's own reads may have changed when it is asked for the next time.
_make_own = lru_cache(maxsize=4096)(_make.__wrapped__)


def forget_own() -> None:
    """Make the schemes of users' own constructors anew."""
    _make_own.cache_clear()


def unseen(name: str, what: str) -> str:
    """What is said of schemes of one name that the table would not tell apart."""
    return (
        f"schemes[{name!r}] has two whose {what} look the same in the table, which holds numbers "
        f"and texts; give each a name of its own"
    )
