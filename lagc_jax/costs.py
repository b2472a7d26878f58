"""What it took: messages and gradients along a path, and the first hit of an accuracy."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import check_iterates, finite, one_axis, positive
from lagc_jax._modes import lenient
from lagc_jax._programs import compiled
from lagc_jax._pytree import pytree
from lagc_jax.schemes.base import Scheme

Count = TypeVar("Count", Array, np.ndarray)


def accumulate(per_iteration: Array) -> Array:
    """Cumulative cost of having every iterate, (K+1,) from (K,): entry 0 is 0."""
    return jnp.concatenate([jnp.zeros_like(per_iteration[:1]), jnp.cumsum(per_iteration)])


def count_costs(scheme: Scheme, selected: Array) -> tuple[Array, Array, Array]:
    """Downlink messages, uplink messages and partition gradients along a path, (K+1,) each.

    As `count_work`, where the number of messages of a group is constant.
    """
    downlink, computation = count_work(scheme, selected)
    uploaded = jnp.sum(selected, axis=-1, dtype=jnp.result_type(int))
    return downlink, scheme.num_waited * accumulate(uploaded), computation


def count_work(scheme: Scheme, selected: Array) -> tuple[Array, Array]:
    """Downlink messages and partition gradients along a path, (K+1,) each.

    Counts are exact integers: `n` messages and the load of `n` workers for every working group.

    Raises:
        ValueError: if the counts could exceed the default integer type.
    """
    integer = jnp.result_type(int)
    largest = selected.shape[0] * scheme.num_workers * scheme.load
    if largest > jnp.iinfo(integer).max:
        raise ValueError(
            f"num_iterations={selected.shape[0]} can cost {largest} gradients, more than "
            f"{integer} counts; enable jax_enable_x64 or use fewer iterations"
        )
    working = accumulate(jnp.sum(scheme.working(selected), axis=-1, dtype=integer))
    return _effort(scheme, working)


def price(scheme: Scheme, working: Count, uploaded: Count) -> tuple[Count, Count, Count]:
    """Downlink messages, uplink messages and gradients of numbers of groups (LAGC, Table I).

    A working group takes `n` downlink messages and the load of `n` workers in gradients, an
    uploading one `F` uplink messages.
    """
    downlink, computation = _effort(scheme, working)
    return downlink, scheme.num_waited * uploaded, computation


def _effort(scheme: Scheme, working: Count) -> tuple[Count, Count]:
    """Downlink messages and gradients of numbers of working groups."""
    downlink = scheme.group_size * working
    return downlink, scheme.load * downlink


@compiled()
@lenient
def first_hit(gap: ArrayLike, accuracy: ArrayLike) -> tuple[Array, Array]:
    """First iterates with `gap <= accuracy`: indices and whether there are any, of its shape.

    A gap that is not a number is never below.
    """
    below = jnp.asarray(gap) <= jnp.asarray(accuracy)[..., None]
    return jnp.argmax(below, axis=-1), jnp.any(below, axis=-1)


@lenient
def at_hit(values: Array, index: Array, reached: Array) -> Array:
    """Entries of `values` (K+1,) at the first hits, `inf` where there are none."""
    floating = jnp.result_type(values.dtype, jnp.result_type(float))
    return jnp.where(reached, values[index].astype(floating), jnp.inf)


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

    def check(self, num_iterations: int) -> None:
        """Raise ValueError for levels that are none."""
        ...

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        """First iterates (A,) at each level, and whether there are any, along a path (K+1,)."""
        ...

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

    levels: ArrayLike = (1e-8,)

    column: ClassVar[str] = "accuracy"
    record: ClassVar[None] = None  # type: ignore[misc]

    def check(self, num_iterations: int) -> None:
        one_axis("accuracies", self.levels, 1)
        positive("accuracies", self.levels)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        return first_hit(gap, jnp.asarray(self.levels))

    @property
    def stop(self) -> Array:
        return jnp.min(jnp.asarray(self.levels))


@pytree("record")
class Accuracy(Target):
    """Levels of a recorded number to reach, larger being better: a test accuracy, say.

    Args:
        levels: (A,) levels.
        record: function of an iterate, in the form of the problem's parameters, to that number ();
            static.
    """

    levels: ArrayLike
    record: Callable[[Any], Array]

    column: ClassVar[str] = "accuracy"

    def check(self, num_iterations: int) -> None:
        one_axis("levels", self.levels, 1)
        finite("levels", self.levels)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        return first_hit(-recorded, -jnp.asarray(self.levels))


@pytree("record")
class Iterate(Target):
    """Iterates to have: what they took, and what was recorded there.

    Args:
        levels: (A,) whole numbers from 0 to K.
        record: as for `Accuracy`, None for none; static.
    """

    levels: ArrayLike
    record: Callable[[Any], Array] | None = None

    column: ClassVar[str] = "iterate"

    def check(self, num_iterations: int) -> None:
        one_axis("levels", self.levels, 1)
        check_iterates("levels", self.levels, num_iterations)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        index = jnp.asarray(self.levels)
        return index, jnp.ones(index.shape, bool)


@pytree()
class Several(Target):
    """Several targets along the same paths: a row of the table has a level of one of them.

    Args:
        targets: targets of different columns that record the same, if anything.
    """

    targets: tuple[Target, ...]

    column: ClassVar[str] = "level"  # of its parts, each has its own

    def check(self, num_iterations: int) -> None:
        columns = [target.column for target in self.targets]
        if len(set(columns)) < max(len(columns), 1):
            raise ValueError(f"targets has columns {columns}; give targets of different ones")
        if len(records := {target.record for target in self.targets} - {None}) > 1:
            raise ValueError(f"targets record {sorted(map(repr, records))}; give one record to all")
        for target in self.targets:
            target.check(num_iterations)

    @property
    def levels(self) -> np.ndarray:  # type: ignore[override]
        return np.concatenate([np.asarray(target.levels, float) for target in self.targets])

    @property
    def record(self) -> Callable[[Any], Any] | None:  # type: ignore[override]
        return next((target.record for target in self.targets if target.record), None)

    def hits(self, gap: Array, recorded: Any) -> tuple[Array, Array]:
        found = zip(*(target.hits(gap, recorded) for target in self.targets), strict=True)
        index, reached = map(jnp.concatenate, found)
        return index, reached

    @property
    def parts(self) -> tuple[Target, ...]:
        return self.targets
