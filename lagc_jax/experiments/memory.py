"""What memory a sweep needs beside its programs, counted before anything runs."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lagc_jax.clock import clock_of
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.experiments.points import Point, Points

# Measured on CPU: copies at the peak of what is counted below.
COPIES = {"realisations": 6, "iterations": 4, "memory": 4, "num_workers": 10}
REMEDIES = {
    "realisations": "lower realisations, ask for fewer accuracies, or for quantiles = []",
    "iterations": "lower iterations or num_groups",
    "memory": "lower memory",
    "num_workers": "lower num_workers, num_features or num_rows",
}


def count_bytes(points: Points) -> dict[str, int]:
    """Bytes at the peak of the largest point, by the setting that they grow with."""
    each = [_bytes_of(points.experiment, point) for point in points.one_a_structure()]
    return {name: max(terms[name] for terms in each) * COPIES[name] for name in COPIES}


def _bytes_of(experiment: Experiment, point: Point) -> dict[str, int]:
    item, scheme = np.dtype(jnp.result_type(float)).itemsize, point.scheme
    features = point.problem.parameters.get("problem_num_features", 1)
    rows = point.problem.parameters.get("problem_num_rows", features)
    # Realisations with paths of their own have six costs; without quantiles none is kept.
    kept = 1 if len(experiment.quantiles) else 0
    if not clock_of(scheme, point.delays.value, point.cluster.value, num_parameters=1).shared:
        kept = 6
    levels = np.size(experiment.target.levels)
    return {
        "realisations": experiment.num_realisations * levels * item * kept,
        "iterations": experiment.num_iterations * (item + scheme.num_groups),
        "memory": scheme.memory * item,
        "num_workers": scheme.num_workers * features * rows * item,
    }


def available_bytes() -> int:
    """Memory of a device, or where that is the host's, of this machine or its container."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics is not None and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return whole if text == "max" else min(whole, int(text))


def check_memory(points: Points) -> None:
    """Raise ValueError, naming what to lower, where a sweep needs more memory than there is."""
    needed, there = count_bytes(points), available_bytes()
    if sum(needed.values()) > there:
        largest = max(needed, key=needed.__getitem__)
        raise ValueError(
            f"{largest} needs about {describe_bytes(needed[largest])} of memory at once and there "
            f"are {describe_bytes(there)}; {REMEDIES[largest]}"
        )


def describe_bytes(number: int) -> str:
    """A number of bytes in words."""
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
