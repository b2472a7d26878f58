"""What a sweep will take, from a short calibration at a few places of it."""

import resource
import sys
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from lagc_jax.experiments.measure import Engine
from lagc_jax.experiments.memory import count_bytes
from lagc_jax.experiments.points import Point, Points

# Places of the sweep that are tried, as many as fit into so many seconds; neighbours tried at each,
# as many as fit into two; and draws a point, enough to outweigh what a call costs.
PLACES, SECONDS, NEIGHBOURS, NEIGHBOURS_SECONDS, DRAWS = 8, 5.0, 32, 2.0, 2**22
# Estimates are no more certain than this factor, however well the places agree.
FACTOR = 1.5


class Range(NamedTuple):
    """Where a number is expected."""

    low: float
    high: float


class Estimate(NamedTuple):
    """What a sweep will take in this process, if it ran it alone.

    Attributes:
        programs: large ones to compile.
        seconds: to compute all points.
        compile_seconds: to compile its programs, where the cache has as many of them as of those
            that were tried.
        host_bytes: peak memory of the process; it does not grow with the number of points.
        device_bytes: peak memory of a device, None where it is that of the host.
    """

    programs: int
    seconds: Range
    compile_seconds: Range
    host_bytes: int
    device_bytes: int | None


class _Trial(NamedTuple):
    """What one place took in seconds: to compile a program, for a path, for a point's times.

    The last with and without what a call costs, of which a block needs few.
    """

    program: float
    path: float
    clock: tuple[float, float]


def estimate(points: Points) -> Estimate:
    """Compute a few points with fewer realisations, and scale it up.

    Places are the middle of every part of the sweep, the largest first, for each has a scheme and
    may take a time of its own, and then others spaced evenly, as many as there is time for.
    """
    experiment = points.experiment
    whole = experiment.num_realisations
    few = min(whole, max(DRAWS // experiment.num_iterations, 1024))
    engine = Engine(replace(experiment, num_realisations=few))
    begin, tried = time.perf_counter(), {}
    ends = np.array(points.ends)
    middles = ((np.append(0, ends[:-1]) + ends) // 2)[np.argsort(-np.diff(ends, prepend=0))]
    places = np.linspace(0, len(points) - 1, PLACES + 2)[1:-1].astype(int)
    for place in dict.fromkeys(middles.tolist() + _spread_out(places.tolist())):
        tried[place] = _try(engine, points, place)
        if time.perf_counter() - begin > SECONDS:
            break
    trials = list(tried.values())
    part = np.searchsorted(ends, list(tried), side="right")
    seconds = _seconds(points, trials, part, whole / few if few else 1.0)
    # A place whose programs were there already says nothing of compiling.
    compiled = [trial.program for trial in trials if trial.program > 0.01] or [0.0]
    programs = count_programs(engine, points.one_a_structure())
    kept = int(count_bytes(points)["realisations"] * (1 - few / whole)) if whole else 0
    statistics = jax.local_devices()[0].memory_stats()
    return Estimate(
        programs=programs,
        seconds=_range(seconds),
        compile_seconds=_range([programs * each for each in compiled]),
        host_bytes=_peak() + kept,
        device_bytes=None if statistics is None else statistics["peak_bytes_in_use"] + kept,
    )


def _seconds(
    points: Points, trials: Sequence[_Trial], part: np.ndarray, scale: float
) -> list[float]:
    """Seconds of the sweep by the least, the mean and the most of what every part took.

    A part that was not tried takes what the next one does: schemes of a kind stand together.
    """
    sizes = np.diff(points.ends, prepend=0)
    one_each = np.array(
        [
            [points.num_paths / len(points) * trial.path + clock * scale for clock in trial.clock]
            for trial in trials
        ]
    )
    nearest = [part[np.abs(part - i).argmin()] for i in range(len(sizes))]
    known = [one_each[part == i] for i in nearest]
    ways = (np.min, np.mean, np.max)
    return [float(sum(n * way(of) for n, of in zip(sizes, known, strict=True))) for way in ways]


def count_programs(engine: Engine, points: Iterable[Point]) -> int:
    """Number of large programs that points need: of paths, of clocks and of exact moments."""
    programs: set[Hashable] = set()
    for point in points:
        clock, scheme = engine.clock(point), point.scheme
        kind = jax.tree.structure(point.delays.value), point.cluster.identity
        if not clock.shared:
            programs.add(("batch", point.problem.name, jax.tree.structure(scheme), *kind))
            continue
        path = jax.tree.structure(scheme.path_key)
        times = jax.tree.structure(clock.times(None, 0))
        programs |= {("path", point.problem.name, scheme.num_workers, path), ("clock", times)}
        programs.add(("moments", *kind, scheme.num_groups))
    return len(programs)


def _spread_out(places: list[int]) -> list[int]:
    """The middle, then the middles of the halves, and so on."""
    if not places:
        return []
    middle = len(places) // 2
    halves = _spread_out(places[:middle]), _spread_out(places[middle + 1 :])
    return [places[middle], *(halves[0] + halves[1])]


def _try(engine: Engine, points: Points, place: int) -> _Trial:
    """Compute a point, and a block of it and its neighbours of one structure."""
    first = points[place]
    cold = sum(_time(engine, [first]))
    path, clock = _time(engine, [first])
    program = (cold - path - clock) / count_programs(engine, [first])
    fitting = max(min(NEIGHBOURS, int(NEIGHBOURS_SECONDS / (path + clock))), 1)
    near = [points[i] for i in range(place, min(place + fitting, len(points)))]
    block = [point for point in near if point.structure == first.structure]
    paths, clocks = _time(engine, block)
    path = paths / len({point.path_key for point in block})
    marginal = max(clocks - clock, 0) / (len(block) - 1) if len(block) > 1 else clock
    return _Trial(program, path, (marginal, clocks / len(block)))


def _range(values: Sequence[float]) -> Range:
    """Two standard errors around the mean, within the values, and a factor at least."""
    mean = float(np.mean(values))
    error = 2 * float(np.std(values)) / max(len(values) - 1, 1) ** 0.5
    low, high = max(mean - error, min(values)), min(mean + error, max(values))
    return Range(min(low, mean / FACTOR), max(high, mean * FACTOR))


def _time(engine: Engine, block: list[Point]) -> tuple[float, float]:
    """Seconds of the paths and of the rest."""
    engine.forget()
    start = time.perf_counter()
    clocks = [engine.clock(point) for point in block]
    shared = [each for each in zip(block, clocks, strict=True) if each[1].shared]
    engine.paths([point for point, _ in shared], [clock for _, clock in shared])
    middle = time.perf_counter()
    engine.measure(block)
    return middle - start, time.perf_counter() - middle


def _peak() -> int:
    """Largest memory that the process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
