"""Compute points of an experiment: paths, then realisations along them, over the local devices.

Where the path, or the number of messages along it, depends on the times, every realisation has a
path of its own, and a point is one task.

Every point, like every path, is one turn of a loop whose body knows nothing of the others, or on an
accelerator a path one lane of a `vmap`, in a program of one fixed shape. So its numbers are the
same bit for bit whatever shares a block with it, and however many devices and processes there are.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from lagc_jax.batch import realise_paths
from lagc_jax.clock import Clock, clock_of
from lagc_jax.costs import accumulate, at_hits, mean_bits, spend
from lagc_jax.descent import Path, find_path
from lagc_jax.doors import check_fit, flat_start, warn_if_coarse
from lagc_jax.experiments.devices import accelerated, local_mesh
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.moments import Seen, count_occurrences, exact_moments
from lagc_jax.experiments.points import Point
from lagc_jax.experiments.spread import map_alike
from lagc_jax.problems._around import measured
from lagc_jax.problems.base import Problem
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.summary import Costs, Summary, along_path, constant, realise
from lagc_jax.targets import Gap, Target
from lagc_jax.times import Times, part_of_path

# Points that a device takes at once: enough to hide the cost of a call, few enough that what they
# need of their paths stays below so many bytes.
CAPACITY, CAPACITY_BYTES = 32, 2**26
# Paths that an accelerator takes together, in as many bytes of states and records. Compiled for an
# H100, 256 of them take the launches of one.
PATHS_TOGETHER, TOGETHER_BYTES = 256, 2**30


class PathTask(NamedTuple):
    """A path to compute; the problem, its start and the target are shared."""

    scheme: Scheme
    step_size: Any


class PathRecord(NamedTuple):
    """What clocks and the table need of a path, on the host.

    Attributes:
        parts: of `part_of_path`, by what clocks see.
        hit, reached: (A,) first hits of the target, and whether there are any.
        uploads: (K+1,) groups that have uploaded.
        gap, recorded: (A,) there, NaN where it is not reached.
        diverged: (A,) whether the path has diverged without the level.
        num_parameters: `d`.
    """

    parts: dict[str, np.ndarray]
    hit: Any
    reached: Any
    uploads: Any
    gap: Any
    recorded: Any
    diverged: Any
    num_parameters: int


class ClockTask(NamedTuple):
    """Realisations to draw: times without their part of the path, that part, (A,) first hits."""

    times: Times
    part: Any
    hit: Any
    reached: Any


class BatchTask(NamedTuple):
    """Realisations with paths of their own."""

    clock: Clock
    step_size: Any


class Outcome(NamedTuple):
    """What a point took to reach each of A levels.

    Attributes:
        costs: summaries over the realisations.
        expected, variance: (A,) exact mean and variance of the time, NaN where they are not known.
        reached: (A,) share of the realisations that reached it.
        gap, recorded: (A,) means there over the realisations that reached it, NaN where none did.
        diverged: (A,) shares of the realisations that have diverged without the level.
        path: that they share; None where each has its own.
    """

    costs: Costs
    expected: Any
    variance: Any
    reached: Any
    gap: Any
    recorded: Any
    diverged: Any
    path: PathRecord | None = None


class Engine:
    """Computes points of one experiment, in any order; neighbours share paths and problems."""

    def __init__(self, experiment: Experiment) -> None:
        """Take all local devices."""
        self.experiment = experiment
        self.mesh = local_mesh()
        self.quantiles = np.array(experiment.quantiles, float)
        self.target: Target = jax.tree.map(np.asarray, experiment.target)
        self._paths: dict[Hashable, PathRecord] = {}
        self._clocks: dict[Hashable, Clock] = {}
        self._problem: tuple[Hashable, tuple[Problem, Any]] | None = None

    @property
    def num_devices(self) -> int:
        """Devices that share the points."""
        return self.mesh.size

    def measure(self, points: Sequence[Point]) -> list[Outcome]:
        """What points took, in their order."""
        clocks = [self.clock(point) for point in points]
        shared = [i for i, clock in enumerate(clocks) if clock.shared]
        own = [i for i, clock in enumerate(clocks) if not clock.shared]
        outcomes = [
            *self._along([points[i] for i in shared], [clocks[i] for i in shared]),
            *self._apart([points[i] for i in own], [clocks[i] for i in own]),
        ]
        found = dict(zip(shared + own, outcomes, strict=True))
        return [found[i] for i in range(len(points))]

    def clock(self, point: Point) -> Clock:
        """How the times of a point are drawn; a path of its own needs the whole scheme."""
        scheme = point.scheme.clock_key
        cluster, size = point.cluster.value, None
        if cluster is not None and cluster.link is not None:
            if cluster.link.upload_size is None:
                cluster = cluster.sized(point.scheme, self._build(point)[0].num_parameters)
            size = cluster.link.upload_size
        key = scheme, point.delays.identity, point.cluster.identity, size
        if key not in self._clocks:
            parts = point.delays.value, cluster, self.experiment.sampler
            self._clocks[key] = clock_of(scheme, *parts)
        clock = self._clocks[key]
        return clock if clock.shared else dataclasses.replace(clock, scheme=point.scheme)

    def paths(self, points: Sequence[Point], clocks: Sequence[Clock]) -> list[PathRecord]:
        """The paths of points; those of the last call are not computed again."""
        keys = [point.path_key for point in points]
        sees: dict[Hashable, set[str]] = {}
        for key, clock in zip(keys, clocks, strict=True):
            sees.setdefault(key, set()).add(clock.sees)
        first = dict(zip(reversed(keys), reversed(points), strict=True))
        known = {
            key: record
            for key, record in self._paths.items()
            if key in sees and sees[key] <= record.parts.keys()
        }
        groups: dict[Hashable, list[Hashable]] = {}
        for key in dict.fromkeys(keys):
            if key not in known:
                groups.setdefault(first[key].problem_key, []).append(key)
        for alike in groups.values():
            found = self._compute_paths([first[key] for key in alike], [sees[key] for key in alike])
            known |= zip(alike, found, strict=True)
        self._paths = known
        return [known[key] for key in keys]

    def forget(self) -> None:
        """Compute all paths anew the next time."""
        self._paths = {}

    def _compute_paths(self, points: list[Point], sees: list[set[str]]) -> list[PathRecord]:
        """Paths on one problem, and what clocks see of them."""
        problem, start = self._build(points[0])
        body = _path_body(self.experiment.num_iterations, self.target.record)
        tasks = [PathTask(p.scheme.path_key, self._alpha(p, problem)) for p in points]
        known = [measured(problem, point.scheme.num_groups) for point in points]
        stop = self.target.stop  # one object, for paths with the very same go together
        shared = [(each, start, stop) for each in known]
        together = accelerated(self.mesh)
        take = partial(self._together, problem) if together else self._capacity
        capacities = [take(point.scheme) for point in points]
        paths = map_alike(body, self.mesh, shared, tasks, capacities, together)
        found = zip(points, sees, paths, strict=True)
        return [self._record(problem, point.scheme, kinds, path) for point, kinds, path in found]

    def _record(self, problem: Problem, scheme: Scheme, sees: set[str], path: Path) -> PathRecord:
        """What is kept of a path in NumPy's arrays."""
        index, reached = self.target.hits(path.gap, path.recorded)
        gap, recorded = at_hits((path.gap, path.recorded), index, reached, np.nan)
        return PathRecord(
            {kind: part_of_path(scheme, path.selected, kind, path.gap.dtype) for kind in sees},
            index,
            reached,
            accumulate(path.selected.sum(-1)),
            gap,
            recorded,
            self.target.lost(path.diverged, reached),
            problem.num_parameters,
        )

    def _build(self, point: Point) -> tuple[Problem, Any]:
        """The problem of a point, and its start (d,)."""
        if self._problem is None or self._problem[0] != point.problem_key:
            problem = point.problem.value(point.scheme.num_workers)
            check_fit(problem, point.scheme)
            start = flat_start(problem, self.experiment.starts.get(point.problem.name))
            _check_target(self.experiment.target, problem, start)
            self._problem = point.problem_key, (problem, start)
        return self._problem[1]

    def _alpha(self, point: Point, problem: Problem) -> Any:
        absolute = self.experiment.step_unit == "absolute"
        step = point.step_size if absolute else point.step_size / float(problem.total_smoothness)
        return problem.minimizer.dtype.type(step)

    def _capacity(self, scheme: Scheme, sees: str = "groups") -> int:
        size = scheme.num_groups if sees == "groups" else 8
        return min(max(CAPACITY_BYTES // (self.experiment.num_iterations * size), 1), CAPACITY)

    def _together(self, problem: Problem, scheme: Scheme) -> int:
        """Paths of a scheme to take together: iterates and gradients held, records made."""
        held = 3 * scheme.num_groups * problem.num_parameters
        size = self.experiment.num_iterations * (scheme.num_groups + 8) + 8 * held
        return min(max(TOGETHER_BYTES // size, 1), PATHS_TOGETHER)

    def _along(self, points: Sequence[Point], clocks: Sequence[Clock]) -> list[Outcome]:
        """Points whose realisations share a path."""
        records = self.paths(points, clocks)
        seen = count_occurrences(clocks, records)
        each = (clocks, records, self._draw(clocks, records), seen, exact_moments(clocks, seen))
        found = zip(points, zip(*each, strict=True), strict=True)
        return [_outcome(point.scheme, *one, self.quantiles) for point, one in found]

    def _draw(self, clocks: Sequence[Clock], records: Sequence[PathRecord]) -> list[Summary]:
        """Realisations along paths, summarised; NaN where there are to be none."""
        experiment = self.experiment
        if not experiment.num_realisations:
            nothing = constant(np.full(np.shape(self.target.levels), np.nan), self.quantiles.size)
            return [nothing] * len(clocks)
        tasks = [
            ClockTask(
                clock.times(None, experiment.num_iterations),
                record.parts[clock.sees],
                record.hit,
                record.reached,
            )
            for clock, record in zip(clocks, records, strict=True)
        ]
        shared = [(experiment.key, self.quantiles)] * len(clocks)
        capacities = [self._capacity(clock.scheme, clock.sees) for clock in clocks]
        body = _clock_body(experiment.num_realisations)
        return map_alike(body, self.mesh, shared, tasks, capacities)

    def _apart(self, points: Sequence[Point], clocks: Sequence[Clock]) -> list[Outcome]:
        """Points whose every realisation has a path or messages of its own."""
        experiment = self.experiment
        if points and not experiment.num_realisations:
            raise ValueError(
                f"num_realisations=0 leaves exact means alone, and scheme {points[0].name!r} has "
                f"none; give at least 1"
            )
        shared, tasks = [], []
        for point, clock in zip(points, clocks, strict=True):
            problem, start = self._build(point)
            known = measured(problem, point.scheme.num_groups)
            shared.append((known, start, self.target, experiment.key, self.quantiles))
            tasks.append(BatchTask(clock, self._alpha(point, problem)))
        body = _batch_body(experiment.num_iterations, experiment.num_realisations)
        event_driven = lambda task: task.clock.scheme.event_driven  # noqa: E731
        capacities = [CAPACITY] * len(points)
        return map_alike(body, self.mesh, shared, tasks, capacities, one_thread=event_driven)


@lru_cache(maxsize=256)
def _path_body(num_iterations: int, record: Callable[[Any], Any] | None) -> Callable:
    """The body that computes a path, without its last iterate."""

    def body(shared: tuple[Problem, Array, Array | None], task: PathTask) -> Path:
        problem, start, stop = shared
        scheme, step_size = task
        path = find_path(problem, scheme, step_size, start, num_iterations, stop, record)
        return path._replace(theta=None)

    return body


@lru_cache(maxsize=256)
def _clock_body(num_realisations: int) -> Callable:
    """The body that draws the realisations of one point."""

    def body(shared: tuple[Array, Array], task: ClockTask) -> Summary:
        key, quantiles = shared
        times = dataclasses.replace(task.times, part=task.part)  # type: ignore[type-var]
        return realise(times, key, task.hit, task.reached, quantiles, num_realisations)

    return body


@lru_cache(maxsize=256)
def _batch_body(num_iterations: int, num_realisations: int) -> Callable:
    """The body that runs the realisations of one point, each with a path of its own."""

    def body(shared: tuple, task: BatchTask) -> Outcome:
        problem, start, target, key, quantiles = shared
        begin, sizes = (task.step_size, start), (num_iterations, num_realisations)
        found = realise_paths(problem, task.clock, key, begin, target, None, quantiles, *sizes)
        batch, unknown = found.batch, jnp.full(found.batch.reached.shape, jnp.nan)
        return Outcome(
            batch.costs,
            unknown,
            unknown,
            batch.reached,
            found.gap,
            found.recorded,
            found.diverged,
        )

    return body


def _outcome(
    scheme: Scheme,
    clock: Clock,
    record: PathRecord,
    time: Summary,
    seen: Seen,
    moments: tuple[np.ndarray, np.ndarray] | None,
    quantiles: np.ndarray,
) -> Outcome:
    """What a point with a shared path took."""
    hit, uploads = record.hit, record.uploads
    bits = contract.message_bits(scheme, record.num_parameters, np.arange(len(uploads) - 1))
    spent = spend(
        clock.scheme,
        (hit, record.reached),
        seen.occurrences @ seen.working,
        uploads[hit],
        mean_bits(bits if np.ndim(bits) else float(bits), uploads, hit),
    )
    exact = (np.full(record.hit.shape, np.nan),) * 2
    if moments is not None:
        # What never occurs adds nothing, even where its moment is infinite.
        exact = [
            (seen.occurrences * np.where(seen.occurrences > 0, moment, 0)).sum(-1)
            for moment in moments
        ]
    return Outcome(
        along_path(time, spent, record.reached, quantiles.size),
        np.where(record.reached, exact[0], np.inf),
        np.where(record.reached, exact[1], np.inf),
        np.asarray(record.reached, float),
        record.gap,
        record.recorded,
        np.asarray(record.diverged, float),
        record,
    )


def _check_target(target: Target, problem: Problem, start: Any) -> None:
    """Refuse a record that is no number, warn of gaps that the problem does not resolve."""
    for part in target.parts:
        if isinstance(part, Gap):
            warn_if_coarse(problem, part.levels)
        if part.record is not None:
            seen = jax.eval_shape(part.record, jax.eval_shape(problem.unflatten, start))
            shapes = [leaf.shape for leaf in jax.tree.leaves(seen)]
            if shapes != [()]:
                raise ValueError(
                    f"record gives arrays of the shapes {shapes}; give one number, as a row holds"
                )
