"""What a run has to reach: a gap, a recorded accuracy, or an iterate."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import (
    as_leaf,
    check_iterates,
    check_record,
    concrete,
    finite,
    one_axis,
    positive,
)
from lagc_jax._pytree import converted, pytree
from lagc_jax.costs import first_hit


def _vector(levels: Any) -> Any:
    """Levels as an array of one axis at least, NumPy's or JAX's as they come."""
    levels = as_leaf(levels)
    return np.atleast_1d(levels) if isinstance(levels, int | float) else levels


class Target(Protocol):
    """What has to be reached, at A levels; a pytree.

    Attributes:
        column: of the levels in a table.
        levels: (A,).
        record: function of an iterate that is kept along a path, None for none; static.
    """

    column: ClassVar[str]
    levels: ArrayLike
    record: Callable[[Any], Any] | None

    def __post_init__(self) -> None:
        self.check(math.inf)

    def check(self, num_iterations: float) -> None:
        """Raise ValueError for levels that are none."""
        ...

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        """First iterates (A,) at each level, and whether there are any, along a path (K+1,)."""
        ...

    def lost(self, diverged: Array, reached: Array) -> Array:
        """At which levels (A,) a path that `diverged` () counts so: those that it has not reached.

        Thus it does not matter whether a path goes on after all levels.
        """
        return diverged & ~reached

    @property
    def stop(self) -> Array | None:
        """Gap at which a path may end, None where it runs to its end."""
        return None

    @property
    def parts(self) -> tuple["Target", ...]:
        """Targets with a column each, whose levels follow each other."""
        return (self,)


@pytree()
class Gap(Target):
    """Gaps `L(theta^k) - L(theta*)` to come within.

    Args:
        levels: (A,) gaps.
    """

    levels: ArrayLike = converted(converter=_vector, default=(1e-8,))

    column: ClassVar[str] = "accuracy"
    record: ClassVar[None] = None  # type: ignore[misc]

    def check(self, num_iterations: float) -> None:
        one_axis("levels", self.levels, 1)
        positive("levels", self.levels)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        return first_hit(gap, self.levels)

    @property
    def stop(self) -> Array:
        return self.levels.min()  # type: ignore[union-attr]


@pytree("record")
class Accuracy(Target):
    """Levels of a recorded number to reach, larger being better: a test accuracy, say.

    Args:
        levels: (A,) levels.
        record: function of an iterate, in the form of the problem's parameters, to that number ();
            static.
    """

    levels: ArrayLike = converted(converter=_vector, default=())
    record: Callable[[Any], Any] | None = None

    column: ClassVar[str] = "accuracy"

    def check(self, num_iterations: float) -> None:
        one_axis("levels", self.levels, 1)
        finite("levels", self.levels)
        if self.record is None:
            raise ValueError("record=None is no function; give one of an iterate to a number")
        check_record(self.record)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        floating = jnp.promote_types(recorded.dtype, jnp.result_type(float))  # -1 of uint8 is 255
        return first_hit(-recorded.astype(floating), -self.levels)  # type: ignore[operator]


@pytree("record")
class Iterate(Target):
    """Iterates to have: what they took, and what was recorded there.

    Args:
        levels: (A,) whole numbers from 0 to K.
        record: as for `Accuracy`, None for none; static.
    """

    levels: ArrayLike = converted(converter=_vector, default=())
    record: Callable[[Any], Any] | None = None

    column: ClassVar[str] = "iterate"

    def check(self, num_iterations: float) -> None:
        one_axis("levels", self.levels, 1)
        check_iterates("levels", self.levels, num_iterations)
        check_record(self.record)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        xp = np if isinstance(gap, np.ndarray) else jnp
        levels = xp.asarray(self.levels)
        return levels, xp.ones(levels.shape, bool)  # type: ignore[return-value]

    def lost(self, diverged: Array, reached: Array) -> Array:
        """A path that diverges has its iterates, too."""
        return diverged & reached


@pytree()
class Several(Target):
    """Several targets along the same paths: a row of the table has a level of one of them.

    Args:
        targets: targets of different columns that record the same, if anything.
    """

    targets: tuple[Target, ...]

    column: ClassVar[str] = "level"  # of its parts, each has its own

    def check(self, num_iterations: float) -> None:
        columns = [target.column for target in self.targets]
        if len(set(columns)) < max(len(columns), 1):
            raise ValueError(f"targets has columns {columns}; give targets of different ones")
        if len(records := {target.record for target in self.targets} - {None}) > 1:
            raise ValueError(f"targets record {sorted(map(repr, records))}; give one record to all")
        for target in self.targets:
            target.check(num_iterations)

    @property
    def levels(self) -> Any:  # type: ignore[override]
        each = [target.levels for target in self.targets]
        if any(concrete(levels) is None for levels in each):
            return jnp.concatenate([jnp.asarray(levels, float) for levels in each])
        return np.concatenate([np.asarray(levels, float) for levels in each])

    @property
    def record(self) -> Callable[[Any], Any] | None:  # type: ignore[override]
        return next((target.record for target in self.targets if target.record), None)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        found = zip(*(target.hits(gap, recorded) for target in self.targets), strict=True)
        xp = np if isinstance(gap, np.ndarray) else jnp
        return tuple(map(xp.concatenate, found))  # type: ignore[return-value]

    def lost(self, diverged: Array, reached: Array) -> Array:
        xp = np if isinstance(reached, np.ndarray) else jnp
        ends = np.cumsum([np.size(target.levels) for target in self.targets])[:-1].tolist()
        each = zip(self.targets, xp.split(reached, ends), strict=True)
        return xp.concatenate([target.lost(diverged, some) for target, some in each])  # type: ignore[return-value]

    @property
    def parts(self) -> tuple[Target, ...]:
        return self.targets
