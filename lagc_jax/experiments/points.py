"""The points of an experiment in the order in which they are computed, without holding them all."""

import itertools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagc_jax._display import brief
from lagc_jax.clock import clock_of
from lagc_jax.doors import check_fit, warn_if_short
from lagc_jax.experiments.cells import Always, Cell, forget_own, unseen
from lagc_jax.experiments.entries import (
    SIZES,
    Entry,
    Given,
    check_kinds,
    check_precision,
    cluster_entries,
    delay_entries,
    flat,
    noted,
    options,
    problem_entries,
    shown,
)
from lagc_jax.experiments.experiment import Experiment, Vary, same_value
from lagc_jax.experiments.identity import DIGITS, identity, is_own, traced_identity
from lagc_jax.schemes.base import Scheme

AXES = ("xi", "step_size", "redundancy")  # vary inside a cell, for they share problem or path


class Point(NamedTuple):
    """One combination of an experiment.

    Attributes:
        number: from 0, in the order of the experiment.
        problem, delays, cluster: entries.
        name: of the scheme.
        scheme: the scheme.
        step_size: in the experiment's unit.
        options: arguments of the scheme's constructor that are no field of every scheme.
    """

    number: int
    problem: Entry
    name: str
    scheme: Scheme
    step_size: float
    delays: Entry
    cluster: Entry
    options: Mapping[str, Any]

    @property
    def problem_key(self) -> tuple[str, int]:
        """What makes two points share a problem."""
        return self.problem.identity, self.scheme.num_workers

    @property
    def path_key(self) -> Hashable:
        """What makes two points share a path, where it does not depend on the times."""
        return *self.problem_key, self.scheme.path_key, self.step_size

    @property
    def structure(self) -> Hashable:
        """What decides which programs a point needs, and about how long they run."""
        scheme, delays = jax.tree.structure((self.scheme, self.delays.value)), self.delays.name
        return self.problem.name, scheme, delays, self.cluster.identity

    def parameters(self) -> dict[str, Any]:
        """What the table says of the point beside its number."""
        scheme = self.scheme
        xi = np.asarray(scheme.xi)
        return {
            "problem": self.problem.name,
            "scheme": self.name,
            "num_workers": scheme.num_workers,
            "num_groups": scheme.num_groups,
            "redundancy": scheme.redundancy,
            "xi": float(xi) if xi.ndim == 0 else None,
            "memory": scheme.memory,
            "trigger": str(scheme.trigger),
            **self.options,
            "step_size": self.step_size,
            "delays": self.delays.name,
            **self.delays.parameters,
            **self.cluster.parameters,
            **self.problem.parameters,
        }


class Points:
    """The points of an experiment, made when asked for.

    Points of one path are neighbours, so that a block needs few paths: the problem varies slowest,
    then sizes, `xi`, step size, redundancy, clusters and delays.

    Attributes:
        experiment: of which they are.
        ends: numbers of points up to the end of every part, which has a scheme of its own.
        dropped: numbers of impossible points by reason.

    >>> from lagc_jax import Exponential, g_lag, synthetic_linear_regression
    >>> problem = synthetic_linear_regression(jax.random.key(0), 4, 5)
    >>> schemes = {"G-LAG": Vary(g_lag, num_workers=4, num_groups=[2, 3], xi=[0.1, 1.0])}
    >>> points = Points(Experiment(problems={"LAG": problem}, schemes=schemes,
    ...                            delays={"low tail": Exponential(1.0)}, num_iterations=10))
    >>> len(points), points[1].scheme.xi, points.describe_dropped()
    (2, 1.0, '2 points dropped: num_groups does not divide num_workers')
    """

    def __init__(self, experiment: Experiment) -> None:
        """Combine everything; raise ValueError where no combination is possible."""
        self.experiment = experiment
        forget_own()
        self.dropped: Counter[str] = Counter()
        self.delays = delay_entries(experiment.delays)
        self.clusters = cluster_entries(experiment.clusters)
        self.problems = problem_entries(experiment.problems)
        check_precision(experiment)
        self._cells = list(self._combine())
        entries = (*self.problems, *self.delays, *self.clusters)
        check_kinds(entry.parameters for entry in entries)
        check_kinds(options(cell.fixed) for cell in self._cells)
        if not self._cells:
            if len(self.dropped) < 2:
                _refuse_first(experiment, self.problems[0])
            raise ValueError(f"no combination is possible: {self.describe_dropped()}")
        sizes = [np.prod([len(axis) for axis in cell.axes], dtype=int) for cell in self._cells]
        self.ends = list(itertools.accumulate(int(size) * self._inner for size in sizes))
        self._check()
        for entry in self.delays:
            warn_if_short(entry.value, experiment.num_iterations)

    @property
    def _inner(self) -> int:
        return len(self.clusters) * len(self.delays)

    def _combine(self) -> Iterable[Cell]:
        for problem in self.problems:
            cells = [
                cell
                for name, thing in flat(self.experiment.schemes)
                for cell in self._cells_of(problem, name, thing)
            ]
            # By number of workers, since every number is a problem of its own.
            yield from sorted(cells, key=lambda cell: cell.first.num_workers)

    def _cells_of(self, problem: Entry, name: str, thing: Any) -> Iterable[Cell]:
        steps = tuple(float(step) for step in self.experiment.step_sizes)
        for step in thing.values.get("step_size", ()) if isinstance(thing, Vary) else ():
            if shown(step) is None:
                raise ValueError(
                    f"step_size of {name!r} holds {brief(step)}; give numbers, and steps that "
                    f"change by optimizer=lambda alpha: optax.sgd(schedule) of the scheme"
                )
        if isinstance(thing, Scheme):
            if problem.value.misfit(thing.num_workers) is None:
                yield Cell(problem, name, Always(thing), {}, ((None,), steps, (None,)))
            return
        if not isinstance(thing, Vary):
            raise ValueError(
                f"schemes[{name!r}]={thing!r} is no scheme; give one of lagc_jax, or a Vary"
            )
        defaults = {"step_size": steps}
        axes = {axis: thing.values.get(axis, defaults.get(axis, (None,))) for axis in AXES}
        outer = Vary(thing.make, **{k: v for k, v in thing.values.items() if k not in AXES})
        inner = len(axes["xi"]) * len(axes["step_size"]) * self._inner
        for fixed in outer:
            cell, fitting = Cell(problem, name, thing.make, fixed, ((), (), ())), []
            for redundancy in axes["redundancy"]:
                why = _misfit(cell, axes["xi"][0], redundancy)
                if why is None:
                    fitting.append(redundancy)
                else:
                    self.dropped[why] += inner
            if fitting:
                yield cell._replace(axes=(axes["xi"], axes["step_size"], tuple(fitting)))

    def _check(self) -> None:
        """Refuse in the words of the doors what they would refuse, and points that are the same."""
        self._check_apart()
        fitting = {cell.problem.identity for cell in self._cells}
        for problem in self.problems:
            if problem.identity not in fitting and isinstance(problem.value, Given):
                with noted(f"This is problems[{problem.name!r}]."):
                    _refuse(problem, self._cells[0].first)
        for name, thing in flat(self.experiment.schemes):
            misfits = isinstance(thing, Scheme) and [
                problem.value.misfit(thing.num_workers) for problem in self.problems
            ]
            if misfits and all(misfits):
                with noted(f"This is schemes[{name!r}]."):
                    _refuse(self.problems[0], thing)
        for cell in self._cells:
            for redundancy in cell.axes[2]:
                scheme = cell.scheme(cell.axes[0][0], redundancy)
                for cluster, delays in itertools.product(self.clusters, self.delays):
                    parts = scheme, delays.value, cluster.value, self.experiment.sampler
                    names = f"schemes[{cell.name!r}] with delays[{delays.name!r}]"
                    within = f" and clusters[{cluster.name!r}]" if self.experiment.clusters else ""
                    with noted(f"This is {names}{within}."):
                        clock_of(*parts, num_parameters=1)  # any number shows a misfit

    def _check_apart(self) -> None:
        """Refuse points that are the same, or that the table would not tell apart."""
        told: dict[Hashable, list[Cell]] = {}
        for cell in self._cells:
            if sum(shown(xi) is None for xi in cell.axes[0]) > 1:
                raise ValueError(unseen(cell.name, "xi"))
            told.setdefault(cell.told, []).append(cell)
        for cells in (cells for cells in told.values() if len(cells) > 1):
            seen: dict[Hashable, tuple[Cell, tuple]] = {}
            for cell in cells:
                for values in itertools.product(*cell.axes):
                    other = seen.setdefault(tuple(map(shown, values)), (cell, values))
                    if other[0] is not cell:
                        raise ValueError(_not_apart(cell, values, *other))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Point:
        number = bisect_right(self.ends, index)
        cell = self._cells[number]
        place = index - (self.ends[number - 1] if number else 0)
        xis, steps, redundancies = cell.axes
        place, delays = divmod(place, len(self.delays))
        place, cluster = divmod(place, len(self.clusters))
        place, redundancy = divmod(place, len(redundancies))
        xi, step = divmod(place, len(steps))
        return Point(
            index,
            cell.problem,
            cell.name,
            cell.scheme(xis[xi], redundancies[redundancy]),
            steps[step],
            self.delays[delays],
            self.clusters[cluster],
            options(cell.fixed),
        )

    def __iter__(self) -> Iterator[Point]:
        return (self[index] for index in range(len(self)))

    def keys(self) -> np.ndarray:
        """Hashes (N,) of all that the numbers of each point depend on, the keys of its results."""
        shared = identity([self.experiment.settings, bool(jax.config.read("jax_enable_x64"))])
        inner = [
            identity([cluster.identity, delays.identity])
            for cluster, delays in itertools.product(self.clusters, self.delays)
        ]

        made: dict[Hashable, list[str]] = {}

        def each() -> Iterator[bytes]:
            for cell in self._cells:
                sized = cell.problem.identity, cell.first.num_workers
                if sized not in made:
                    made[sized] = self._read(cell)
                start = identity([shared, cell.identity, *made[sized]])
                xis, steps, redundancies = cell.axes
                for xi in xis:
                    read = [(r, cell.read(xi, r)) for r in redundancies]
                    for step, (redundancy, found) in itertools.product(steps, read):
                        path = identity([start, xi, step, redundancy, *found])
                        yield from (identity(path + end).encode() for end in inner)

        return np.fromiter(each(), f"S{DIGITS}", len(self))

    def _read(self, cell: Cell) -> list[str]:
        """Identities of what functions of a user's own make, and record, of a cell's problem."""
        make, record = cell.problem.value, self.experiment.target.record
        M = cell.first.num_workers
        if record is None or not is_own(getattr(record, "func", record)):
            return make.read(M)
        problem = make(M)
        start = jnp.asarray(problem.start)
        return [*make.read(M), traced_identity(lambda at: record(problem.unflatten(at)), start)]

    @property
    def columns(self) -> list[str]:
        """Names of all parameters, in the order of the table."""
        own = [name for cell in self._cells for name in options(cell.fixed)]
        entries = (self.delays, self.clusters, self.problems)
        delays, clusters, problems = ([n for e in some for n in e.parameters] for some in entries)
        names = ("problem", "scheme", *SIZES, *own, "step_size", "delays")
        return list(dict.fromkeys((*names, *delays, *clusters, *problems)))

    @property
    def num_paths(self) -> int:
        """Paths to compute, one for all redundancies and delays."""
        return sum(len(cell.axes[0]) * len(cell.axes[1]) for cell in self._cells)

    def one_a_structure(self) -> Iterator[Point]:
        """Points with every problem, sizes, redundancy, cluster and family of delays."""
        families = {entry.name: i for i, entry in enumerate(self.delays)}
        start = 0
        for cell, end in zip(self._cells, self.ends, strict=True):
            for outer in range(len(cell.axes[2]) * len(self.clusters)):
                for delays in families.values():
                    yield self[start + outer * len(self.delays) + delays]
            start = end

    def describe(self) -> dict[str, Any]:
        """What is asked for, for people."""
        experiment = self.experiment
        return {
            "iterations": experiment.num_iterations,
            "realisations": experiment.num_realisations,
            **{part.column: np.asarray(part.levels).tolist() for part in experiment.target.parts},
            "quantiles": list(experiment.quantiles),
            "problems": [entry.name for entry in self.problems],
            "schemes": list(experiment.schemes),
            "delays": [[entry.name, dict(entry.parameters)] for entry in self.delays],
            "clusters": [entry.name for entry in self.clusters],
        }

    def describe_dropped(self) -> str:
        """Say in a line what was dropped and why."""
        reasons = (f"{count} points dropped: {why}" for why, count in self.dropped.items())
        return "; ".join(reasons)


def _refuse_first(experiment: Experiment, problem: Entry) -> None:
    """Raise what the doors say of the first combination where none is possible."""
    thing = next(thing for _, thing in flat(experiment.schemes))
    if isinstance(thing, Vary):
        arguments = next(iter(thing))
        arguments.pop("step_size", None)
        thing = thing.make(**arguments)
    _refuse(problem, thing)


def _refuse(problem: Entry, scheme: Scheme) -> None:
    """Raise what the doors say of a problem and a scheme that do not fit."""
    check_fit(problem.value(scheme.num_workers), scheme)


def _not_apart(cell: Cell, values: tuple, other: Cell, others: tuple) -> str:
    """What is said of two points that a table shows alike."""
    if cell.identity != other.identity or not all(map(same_value, values, others)):
        return unseen(cell.name, "arguments")
    varied = {name: value for name, value in zip(AXES, values, strict=True) if value is not None}
    words = ", ".join(f"{name}={value!r}" for name, value in (cell.fixed | varied).items())
    return f"schemes holds {cell.name!r} twice with {words}; give everything once"


def _misfit(cell: Cell, xi: Any, redundancy: Any) -> str | None:
    """Why sound values do not fit each other, without the values; None where they do."""
    fits = cell.problem.value.misfit
    workers = cell.fixed.get("num_workers")
    if workers is not None and (why := fits(workers)) is not None:
        return why
    try:
        return fits(cell.scheme(xi, redundancy).num_workers)
    except ValueError as error:
        reason = str(error).partition(";")[0]
        return re.sub(r"=\S+| \d+(?= )", "", reason)
