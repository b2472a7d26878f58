"""What is run: problems, schemes, delays, clusters and step sizes, and what has to be reached.

An `Experiment` names things; a `Vary` names a whole family of them, every combination of the values
of a constructor's arguments. Whatever a grid file can say is an experiment as well.
"""

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from typing import Any

import numpy as np
from jax import Array

from lagc_jax._checks import one_axis, positive, probability, whole_number
from lagc_jax._display import brief, readable
from lagc_jax._keys import make_key, one_key
from lagc_jax.energy import Energy
from lagc_jax.targets import Gap, Target


class Vary:
    """A family: every combination of values of a function's arguments, the last varies fastest.

    Args:
        make: the function: a scheme's constructor, a family of delays, or a function from
            `num_workers` (and its other arguments) to a problem.
        values: a value or a list of values for each argument. An argument that is itself an array
            stands in a list, as one value.

    Raises:
        ValueError: for an empty list, or an argument that the function does not take.

    >>> from lagc_jax import lag
    >>> family = Vary(lag, num_workers=12, xi=[0.1, 1.0])
    >>> [arguments["xi"] for arguments in family]
    [0.1, 1.0]
    """

    def __init__(self, make: Callable[..., Any], /, **values: Any) -> None:
        """Keep all values as tuples."""
        if not callable(make):
            raise ValueError(
                f"make={make!r} cannot be called; give a constructor: lagc_jax.lag, say"
            )
        _check_arguments(make, values)
        self.make = make
        self.values = {name: _as_values(name, value) for name, value in values.items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every combination of arguments."""
        return (
            dict(zip(self.values, combination, strict=True))
            for combination in product(*self.values.values())
        )

    def __repr__(self) -> str:
        lists = {
            name: [each.item() if isinstance(each, np.generic) else each for each in some]
            for name, some in self.values.items()
        }
        arguments = ", ".join(f"{name}={brief(some)}" for name, some in lists.items())
        return f"Vary({getattr(self.make, '__name__', self.make)}, {arguments})"


def _check_arguments(make: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raise ValueError for an argument that a function does not take."""
    try:
        takes = inspect.signature(make).parameters
    except ValueError:
        return  # compiled code does not tell
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes.values()):
        return
    for name in values:
        if name not in takes and name != "step_size":  # which an experiment gives to all schemes
            near = get_close_matches(name, takes, n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise ValueError(
                f"{name!r} is no argument of {getattr(make, '__name__', make)}{hint} It takes "
                f"{', '.join(takes)}"
            )


def _as_values(name: str, value: Any) -> tuple:
    listed = isinstance(value, list | tuple | range) or np.ndim(value) == 1
    return distinct(name, tuple(value) if listed else (value,), same_value)


def distinct(name: str, values: tuple, same: Callable[[Any, Any], bool] = operator.eq) -> tuple:
    """The values of a list; raise ValueError for none, or for two that are the same."""
    if not values:
        raise ValueError(f"{name}=[] holds no value; give at least one or leave it out")
    for i, one in enumerate(values):
        if any(same(one, other) for other in values[:i]):
            raise ValueError(f"{name} holds {one!r} twice; give every value once")
    return values


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of an argument are of one type and equal."""
    return type(one) is type(other) and bool(np.array_equal(one, other))


STEP_UNITS = ("1/L", "absolute")
Things = Mapping[str, Any]


@readable
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Problems x schemes x delays x clusters x step sizes, each by name.

    A value is a thing, a `Vary`, or a list of them. Every scheme is run on every problem with its
    number of workers; what a `Vary` makes that cannot be is dropped and counted, all else that
    cannot be is refused as `simulate_batch` refuses it. Realisation `i` of every point uses
    `fold_in(key, i)`, so that all points meet the same times.

    Args:
        problems: problems, or functions of `num_workers` that make one.
        schemes: schemes.
        delays: families of computing times or other sources of them.
        num_iterations: `K`, longest path.
        num_realisations: `R`; 0 for exact means alone.
        target: `Gap`, `Accuracy` or `Iterate`, with its levels, or `Several` of them.
        clusters: clusters, None for the paper's; that alone by default.
        step_sizes: of schemes that have none of their own (a `Vary` may have `step_size`).
        step_unit: "1/L", `L` the smoothness of the whole loss, or "absolute".
        starts: `theta^0` by the name of the problem; by default the problem's own.
        quantiles: (Q,) levels.
        sampler: as for `simulate`.
        energy: prices of gradients, messages and bits, for a column of energy; none by default.
        key: a JAX random key, by default that of seed 0.

    Raises:
        ValueError: for sizes and levels that are none, or names of nothing.
    """

    problems: Things
    schemes: Things
    delays: Things
    num_iterations: int
    num_realisations: int = 1000
    target: Target = field(default_factory=Gap)
    clusters: Things | None = None
    step_sizes: Sequence[float] = (1.0,)
    step_unit: str = "1/L"
    starts: Mapping[str, Any] = field(default_factory=dict)
    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    sampler: str | None = None
    energy: Energy | None = None
    key: Array | None = None

    def __post_init__(self) -> None:
        whole_number("num_iterations", self.num_iterations)
        whole_number("num_realisations", self.num_realisations, 0)
        for name in ("problems", "schemes", "delays"):
            if not isinstance(getattr(self, name), Mapping) or not getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r}; give a dict from names to them")
        one_axis("step_sizes", self.step_sizes, 1)
        positive("step_sizes", self.step_sizes)
        if not isinstance(self.energy, Energy | None):
            raise ValueError(f"energy={self.energy!r} is none; give lagc_jax.energy.Energy(..)")
        one_axis("quantiles", self.quantiles)
        probability("quantiles", self.quantiles)
        if self.step_unit not in STEP_UNITS:
            raise ValueError(f"step_unit={self.step_unit!r} is unknown; give one of {STEP_UNITS}")
        if strange := set(self.starts) - set(self.problems):
            raise ValueError(
                f"starts names {sorted(strange)}, which are no problems; give {list(self.problems)}"
            )
        for name in ("step_sizes", "quantiles"):
            if np.ndim(getattr(self, name)) == 0:
                object.__setattr__(self, name, (getattr(self, name),))
        if not hasattr(self.target, "hits"):
            raise ValueError(f"target={self.target!r} is none; give Gap({self.target!r}), say")
        self.target.check(self.num_iterations)
        self._check_distinct()
        object.__setattr__(self, "key", make_key(0) if self.key is None else one_key(self.key))

    def _check_distinct(self) -> None:
        """Raise ValueError for numbers given twice, of which a table would have the rows twice."""
        lists = [("step_sizes", self.step_sizes), ("quantiles", self.quantiles)]
        lists += [(part.column, part.levels) for part in self.target.parts]
        for name, values in lists:
            if np.size(values):  # type: ignore[arg-type]
                distinct(name, tuple(np.ravel(np.asarray(values)).tolist()))

    @property
    def settings(self) -> list[Any]:
        """What the numbers of every point depend on beside the point."""
        return [
            *(self.num_iterations, self.num_realisations, self.target, self.step_unit),
            *(dict(self.starts), tuple(self.quantiles), self.sampler, self.key),
            *(() if self.energy is None else (self.energy,)),
        ]
