"""What a sweep will take, from a short calibration on a few of its points."""

import resource
import sys
import time
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from lagc_jax.experiments.engine import Engine, path_key
from lagc_jax.experiments.grid import Config
from lagc_jax.experiments.points import Points, count_programs

SAMPLES, REALISATIONS = 8, 4096


class Estimate(NamedTuple):
    """What a sweep will take in this process, if it ran it alone.

    Attributes:
        programs: large ones to compile.
        seconds: to compute all points.
        compile_seconds: to compile its programs, where none is in the cache.
        host_bytes: peak memory of the process; it does not grow with the number of points.
        device_bytes: peak memory of a device, None where it is that of the host.
    """

    programs: int
    seconds: float
    compile_seconds: float
    host_bytes: int
    device_bytes: int | None


def estimate(config: Config, points: Points) -> Estimate:
    """Compute a few points, spaced evenly, with fewer realisations, and scale up what they take.

    Paths and points are equally dear in this estimate, which is rough where some take far more
    iterations than others.
    """
    few = min(config.realisations, REALISATIONS)
    engine = Engine(replace(config, realisations=few))
    numbers = np.unique(np.linspace(0, len(points) - 1, SAMPLES).astype(int))
    sample = [points[number] for number in numbers.tolist()]
    cold, _, _ = _time(engine, sample)
    warm, path_seconds, clock_seconds = _time(engine, sample)
    per_path, per_point = (
        path_seconds / len({path_key(point) for point in sample}),
        clock_seconds / len(sample),
    )
    programs = count_programs(points.one_a_structure(), config.sampler)
    scale = config.realisations / few
    kept = (config.realisations - few) * len(config.accuracies) * (8 * 2)
    statistics = jax.local_devices()[0].memory_stats()
    return Estimate(
        programs=programs,
        seconds=points.num_paths * per_path + len(points) * per_point * scale,
        compile_seconds=max(cold - warm, 0) * programs / count_programs(sample, config.sampler),
        host_bytes=_peak() + kept,
        device_bytes=None if statistics is None else statistics["peak_bytes_in_use"] + kept,
    )


def _time(engine: Engine, sample: list) -> tuple[float, float, float]:
    """Seconds of all, of the paths and of the rest."""
    engine.forget()
    start = time.perf_counter()
    engine.paths([point for point in sample if point.scheme.decoder.anonymous])
    middle = time.perf_counter()
    engine.measure(sample)
    end = time.perf_counter()
    return end - start, middle - start, end - middle


def _peak() -> int:
    """Largest memory that the process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
