"""Compute points of a sweep: paths, then realisations along them, spread over the local devices.

Where the path, or the number of messages along it, depends on the times, every realisation has a
path of its own, and a point is one task.

Every point, like every path, is one turn of a loop whose body knows nothing of the others, in a
program of one fixed shape. So its numbers are the same bit for bit whatever shares a block with it,
and however many devices and processes there are.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from lagc_jax._keys import make_key
from lagc_jax._programs import compiled
from lagc_jax.batch import realise_paths
from lagc_jax.clock import clock_of, order_law
from lagc_jax.costs import first_hit, price
from lagc_jax.delays.base import Delays
from lagc_jax.descent import find_path
from lagc_jax.experiments.devices import local_mesh
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.points import Point
from lagc_jax.law.identical import iteration_mean
from lagc_jax.problems.base import Problem
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.summary import Summary, realise
from lagc_jax.times import DirectTimes, Times, part_of_path

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

# Points that a device takes at once: enough to hide the cost of a call, few enough that what they
# need of their paths stays below so many bytes.
CAPACITY, CAPACITY_BYTES = 32, 2**26
SEES = {"direct": "counts", "workers": "groups"}


class PathRecord(NamedTuple):
    """What the clock and the table need of a path.

    Attributes:
        chunks: of `times.part_of_path`.
        index, reached: (A,) first hits of the accuracies, as of `first_hit`.
        uploaded: (A,) groups that uploaded until then.
        diverged: (), as in `Path`.
        message_bits: () of a message to the server.
        occurrences: (A, G+1) iterations until then in which 0, 1, .., G groups worked; made on the
            host.
    """

    chunks: Any
    index: Any
    reached: Any
    uploaded: Any
    diverged: Any
    message_bits: Any
    occurrences: Any = None


class PathTask(NamedTuple):
    """A path to compute: `xi` and `alpha`, (); everything else about it is shared."""

    xi: Any
    step_size: Any


class ClockTask(NamedTuple):
    """Realisations to draw: times along a path and (A,) first hits."""

    times: Times
    index: Any
    reached: Any


class BatchTask(NamedTuple):
    """Realisations with paths of their own; the step size `alpha` is ()."""

    scheme: Scheme
    delays: Delays
    step_size: Any


class Cost(NamedTuple):
    """What it took to reach each of A accuracies, all (A,) but the last.

    Attributes:
        iterations, communication, computation, bits: of the path, or means over the realisations.
        time: `Summary` over the realisations.
        expected: exact mean time, NaN where it is not known.
        diverged: () share of the realisations.
    """

    iterations: Any
    communication: Any
    computation: Any
    bits: Any
    time: Summary
    expected: Any
    diverged: Any


def map_items(
    body: Callable[[Shared, Item], Result],
    mesh: Mesh,
    capacity: int,
    shared: Shared,
    items: Sequence[Item],
) -> Iterator[Result]:
    """`body(shared, item)` for every item, on all devices of a mesh, as NumPy arrays.

    Args:
        body: a pure function of arrays, the same object for the same computation, so that it is
            compiled once; equal shapes and types for all items.
        mesh: of `local_mesh`.
        capacity: items that a device takes at once.
        shared: a pytree that all items use.
        items: pytrees of one structure; their leaves are stacked.
    """
    devices = mesh.devices.size
    for start in range(0, len(items), devices * capacity):
        batch = items[start : start + devices * capacity]
        # Neighbours to different devices, for they cost alike; the first item fills up.
        place = np.arange(capacity) * devices + np.arange(devices)[:, None]
        filled = np.where(place < len(batch), place, 0)
        counts = (place < len(batch)).sum(1)
        results = jax.device_get(_spread(body, mesh, shared, _stack(batch, filled), counts))
        leaves, structure = jax.tree.flatten(results)
        for i in range(len(batch)):
            yield structure.unflatten([leaf[i % devices, i // devices] for leaf in leaves])


def _stack(items: Sequence[Any], order: np.ndarray) -> Any:
    """Leaves of items stacked on new leading axes, in an order that may repeat."""
    return jax.tree.map(lambda *leaves: np.stack(leaves)[order], *items)


@compiled("body", "mesh")
def _spread(body: Callable, mesh: Mesh, shared: Any, items: Any, counts: Any) -> Any:
    """Loop over the first `counts` (devices,) of items (devices, capacity, ...) on every device."""
    many, one = PartitionSpec("devices"), PartitionSpec()

    def local(shared: Any, items: Any, counts: Array) -> Any:
        def item(i: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[0, i], items)

        def turn(i: Array, results: Any) -> Any:
            result = body(shared, item(i))
            return jax.tree.map(lambda all, new: all.at[i].set(new), results, result)

        capacity = jax.tree.leaves(items)[0].shape[1]
        shapes = jax.eval_shape(body, shared, item(0))
        empty = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), shapes)
        results = jax.lax.fori_loop(0, counts[0], turn, empty)
        return jax.tree.map(lambda leaf: leaf[None], results)

    spread = jax.shard_map(
        local, mesh=mesh, in_specs=(one, many, many), out_specs=many, check_vma=False
    )
    return spread(shared, items, counts)


@lru_cache(maxsize=256)
def _path_body(sizes: tuple, num_iterations: int, sampler: str) -> Callable:
    """The body that computes a path of `K` iterations for sizes of a `_PathKey`."""
    num_workers, num_groups, trigger, memory, optimizer = sizes

    def body(shared: tuple[Problem, Array], task: PathTask) -> PathRecord:
        problem, accuracies = shared
        shape = (num_workers, num_groups, num_workers // num_groups)
        scheme = Scheme(*shape, task.xi, memory, trigger, optimizer)
        start = jnp.zeros(problem.num_parameters, problem.minimizer.dtype)
        lowest = jnp.min(accuracies)
        path = find_path(problem, scheme, task.step_size, start, num_iterations, lowest)
        index, reached = first_hit(path.gap, accuracies)
        uploads = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(path.selected.sum(-1))])
        # Points share clocks whose schemes have no trigger: all groups at work count as uploading.
        working = scheme.working(path.selected)
        chunks = part_of_path(scheme, working, SEES[sampler], path.gap.dtype)
        bits = jnp.asarray(contract.message_bits(scheme.trigger, problem.num_parameters))
        return PathRecord(chunks, index, reached, uploads[index], path.diverged, bits)

    return body


@lru_cache(maxsize=256)
def _clock_body(num_realisations: int) -> Callable:
    """The body that draws the realisations of one point."""

    def body(shared: tuple[Array, Array, Array | None], task: ClockTask) -> Summary:
        key, quantiles, table = shared
        times = _with_table(task.times, table)
        return realise(times, key, task.index, task.reached, quantiles, num_realisations)

    return body


@lru_cache(maxsize=256)
def _batch_body(num_iterations: int, num_realisations: int) -> Callable:
    """The body that runs the realisations of one point, each with a path of its own."""

    def body(shared: tuple[Problem, Array, Array, Array], task: BatchTask) -> Cost:
        problem, key, quantiles, accuracies = shared
        start = jnp.zeros(problem.num_parameters, problem.minimizer.dtype)
        batch = realise_paths(
            problem,
            clock_of(task.scheme, task.delays, sampler="workers"),
            key,
            (task.step_size, start),
            accuracies,
            None,
            quantiles,
            num_iterations,
            num_realisations,
            False,
        )
        counts = batch.iterations, batch.communication, batch.computation, batch.bits
        unknown = jnp.full(accuracies.shape, jnp.nan)
        return Cost(*counts, batch.wall_clock, unknown, batch.diverged)

    return body


def _table(times: Times) -> Any:
    """The table of an inverse, which all points of one group size and redundancy share."""
    return times.inverse.table if isinstance(times, DirectTimes) else None


def _with_table(times: Times, table: Any) -> Times:
    if not isinstance(times, DirectTimes):
        return times
    return dataclasses.replace(times, inverse=dataclasses.replace(times.inverse, table=table))


class _PathKey(NamedTuple):
    """What makes two paths the same."""

    problem: int
    sizes: tuple
    xi: float
    step_size: float


class Engine:
    """Computes points of one sweep, in any order; neighbours share paths and problems."""

    def __init__(self, config: Config) -> None:
        """Take all local devices; raise ValueError if JAX computes in another precision."""
        double = bool(jax.config.read("jax_enable_x64"))
        if double != (config.precision == "float64"):
            raise ValueError(
                f"precision={config.precision!r} but JAX computes in "
                f"{'float64' if double else 'float32'}; set jax_enable_x64 to {not double}"
            )
        self.config = config
        self.mesh = local_mesh()
        self.accuracies = np.array(config.accuracies)
        self._shared = (make_key(config.seed), np.array(config.quantiles))
        self._paths: dict[_PathKey, PathRecord] = {}
        self._problem: tuple[Any, Problem] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `measure`; those of different quantiles differ."""
        quantiles = [f"time_q{level!r}" for level in self.config.quantiles]
        before = ["iterations", "communication", "computation", "uplink_bits"]
        time = ["time_mean", "time_standard_error", *quantiles, "time_expected"]
        return ["accuracy", *before, *time, "diverged"]

    def measure(self, points: Sequence[Point]) -> dict[str, np.ndarray]:
        """Columns of the table for points, a row for every point and accuracy."""
        # With other decodings every realisation has a path or messages of its own.
        shared = [point for point in points if point.scheme.decoder.anonymous]
        own = [point for point in points if not point.scheme.decoder.anonymous]
        records = self.paths(shared)
        summaries = self.clocks(shared, records)
        costs = [self._cost(*each) for each in zip(shared, records, summaries, strict=True)]
        costs = dict(zip((p.number for p in shared + own), costs + self.batches(own), strict=True))
        rows = [self._rows(point, costs[point.number]) for point in points]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def paths(self, points: Sequence[Point]) -> list[PathRecord]:
        """The paths of points; those of the last call are not computed again."""
        keys = [path_key(point) for point in points]
        first = dict(zip(reversed(keys), reversed(points), strict=True))
        known = {key: self._paths[key] for key in first if key in self._paths}
        groups: dict[tuple, list[_PathKey]] = {}
        for key in dict.fromkeys(keys):
            if key not in known:
                groups.setdefault((key.problem, key.sizes), []).append(key)
        for (_, sizes), alike in groups.items():
            found = self._compute_paths(sizes, [first[key] for key in alike])
            known |= {k: _count_occurrences(sizes[1], v) for k, v in zip(alike, found, strict=True)}
        self._paths = known
        return [known[key] for key in keys]

    def forget(self) -> None:
        """Compute all paths anew the next time."""
        self._paths = {}

    def _compute_paths(self, sizes: tuple, points: list[Point]) -> Iterator[PathRecord]:
        """Paths of one problem and one scheme's sizes."""
        config = self.config
        problem = self._build(points[0])
        body = _path_body(sizes, config.iterations, config.sampler)
        step = 1 / float(problem.total_smoothness)
        dtype = problem.minimizer.dtype
        tasks = [
            PathTask(dtype.type(point.scheme.xi), dtype.type(point.step_size * step))
            for point in points
        ]
        capacity = self._capacity(points[0].scheme)
        return map_items(body, self.mesh, capacity, (problem, self.accuracies), tasks)

    def _build(self, point: Point) -> Problem:
        key = (id(point.problem), point.scheme.num_workers)
        if self._problem is None or self._problem[0] != key:
            self._problem = key, point.problem.build(point.scheme.num_workers)
        return self._problem[1]

    def _capacity(self, scheme: Scheme) -> int:
        groups = scheme.num_groups if self.config.sampler == "workers" else 8
        return min(max(CAPACITY_BYTES // (self.config.iterations * groups), 1), CAPACITY)

    def clocks(self, points: Sequence[Point], records: Sequence[PathRecord]) -> list[Summary]:
        """Realisations of points along their paths, summarised."""
        config = self.config
        tables, tasks = [], []
        for point, record in zip(points, records, strict=True):
            scheme = _clock_scheme(point.scheme)
            clock = clock_of(scheme, point.delays.delays, sampler=config.sampler)
            times = clock.times(record.chunks, config.iterations)
            tables.append(_table(times))
            tasks.append(ClockTask(_with_table(times, None), record.index, record.reached))
        capacities = [self._capacity(point.scheme) for point in points]
        shared = [(*self._shared, table) for table in tables]
        keys = [id(table) for table in tables]
        return self._map_alike(_clock_body(config.realisations), keys, shared, tasks, capacities)

    def batches(self, points: Sequence[Point]) -> list[Cost]:
        """Realisations of points with paths of their own, summarised."""
        shared, tasks = [], []
        for point in points:
            problem = self._build(point)
            step = problem.minimizer.dtype.type(point.step_size / float(problem.total_smoothness))
            shared.append((problem, *self._shared, self.accuracies))
            tasks.append(BatchTask(point.scheme, point.delays.delays, step))
        body = _batch_body(self.config.iterations, self.config.realisations)
        keys = [id(point.problem) for point in points]
        return self._map_alike(body, keys, shared, tasks, [CAPACITY] * len(points))

    def _map_alike(
        self,
        body: Callable[[Shared, Item], Result],
        keys: Sequence[Any],
        shared: Sequence[Shared],
        tasks: Sequence[Item],
        capacities: Sequence[int],
    ) -> list[Result]:
        """`map_items` over tasks, those of one structure and key together; results in their order.

        Tasks of one structure and key have the same `shared`, and the first one's capacity.
        """
        groups: dict[Any, list[int]] = {}
        for i, (key, task) in enumerate(zip(keys, tasks, strict=True)):
            groups.setdefault((jax.tree.structure(task), key), []).append(i)
        found: dict[int, Result] = {}
        for members in groups.values():
            first, alike = members[0], [tasks[i] for i in members]
            results = map_items(body, self.mesh, capacities[first], shared[first], alike)
            found |= zip(members, results, strict=True)
        return [found[i] for i in range(len(tasks))]

    def _cost(self, point: Point, record: PathRecord, summary: Summary) -> Cost:
        working = record.occurrences @ np.arange(point.scheme.num_groups + 1)
        downlink, uplink, computation = price(point.scheme, working, record.uploaded)

        def where_reached(values: np.ndarray) -> np.ndarray:
            return np.where(record.reached, values, np.inf)

        return Cost(
            iterations=where_reached(record.index),
            communication=where_reached(downlink + uplink),
            computation=where_reached(computation),
            bits=where_reached(np.float64(record.message_bits) * uplink),
            time=summary,
            expected=where_reached(_expected(point, record.occurrences)),
            diverged=record.diverged,
        )

    def _rows(self, point: Point, cost: Cost) -> dict[str, np.ndarray]:
        columns = (
            cost.iterations,
            cost.communication,
            cost.computation,
            cost.bits,
            cost.time.mean,
            cost.time.standard_error,
            *np.asarray(cost.time.quantiles).T,
            cost.expected,
            np.full(self.accuracies.shape, cost.diverged),
        )
        named = zip(self.columns, (self.accuracies, *columns), strict=True)
        return {name: np.asarray(column, float) for name, column in named}


def path_key(point: Point) -> _PathKey:
    """What makes two points share a path."""
    s = point.scheme
    sizes = (s.num_workers, s.num_groups, s.trigger, s.memory, s.optimizer)
    return _PathKey(id(point.problem), sizes, float(np.asarray(s.xi)), point.step_size)


def _count_occurrences(num_groups: int, record: PathRecord) -> PathRecord:
    """Complete a record with its `occurrences`."""
    chunks = record.chunks
    counts = (chunks if chunks.ndim == 2 else chunks.sum(-1)).ravel().astype(int)
    occurrences = [np.bincount(counts[:k], minlength=num_groups + 1) for k in record.index]
    return record._replace(occurrences=np.array(occurrences))


def _expected(point: Point, occurrences: np.ndarray) -> np.ndarray:
    """Exact mean times (A,)."""
    double = bool(jax.config.read("jax_enable_x64"))
    table = _means(_clock_scheme(point.scheme), point.delays.delays, double)
    # What never occurs adds nothing, even where its mean is infinite.
    return (occurrences * np.where(occurrences > 0, table, 0)).sum(-1)


@lru_cache(maxsize=4096)
def _means(scheme: Scheme, delays: Delays, double: bool) -> np.ndarray:
    """Exact mean times of iterations with 0, 1, .., G working groups, `inf` where infinite.

    They are kept for each precision.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the table says where a mean is infinite
        means = iteration_mean(*order_law(scheme, delays), np.arange(scheme.num_groups + 1))
    return np.asarray(means, float)


def _clock_scheme(scheme: Scheme) -> Scheme:
    """The one scheme that stands for all with its clock: that of its sizes and load."""
    sizes = scheme.num_workers, scheme.num_groups, scheme.redundancy
    return Scheme(*sizes, fixed_load=scheme.load)
