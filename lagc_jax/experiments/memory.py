"""What memory a sweep needs beside its programs, counted before anything runs."""

import os
from pathlib import Path

import jax

from lagc_jax.experiments.grid import Config, ProblemEntry, SchemeEntry

# Measured on CPU: copies at the peak of what is counted below.
COPIES = {"realisations": 6, "iterations": 4, "memory": 4, "num_workers": 10}
REMEDIES = {
    "realisations": "lower realisations, ask for fewer accuracies, or for quantiles = []",
    "iterations": "lower iterations or num_groups",
    "memory": "lower memory",
    "num_workers": "lower num_workers, num_features or num_rows",
}


def count_bytes(config: Config) -> dict[str, int]:
    """Bytes at the peak of a sweep's largest point, by the setting that they grow with."""
    each = [
        _bytes_of(config, problem, scheme)
        for problem in config.problems
        for scheme in config.schemes
    ]
    return {name: max(terms[name] for terms in each) * COPIES[name] for name in COPIES}


def _bytes_of(config: Config, problem: ProblemEntry, scheme: SchemeEntry) -> dict[str, int]:
    item = 4 if config.precision == "float32" else 8
    workers = max(scheme.values["num_workers"])
    groups = max(scheme.values.get("num_groups", (workers,)))
    features = problem.parameters.get("num_features", 1)
    rows = problem.parameters.get("num_rows", features)
    # Realisations with paths of their own have six costs; without quantiles none is kept.
    own = "deadline" in scheme.values or scheme.name in ("first decodable", "stochastic GC")
    kept = 6 if own else 1 if config.quantiles else 0
    return {
        "realisations": config.realisations * len(config.accuracies) * item * kept,
        "iterations": config.iterations * (item + groups),
        "memory": max(scheme.values.get("memory", (0,))) * item,
        "num_workers": workers * features * rows * item if problem.kind != "csv" else 0,
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


def check_memory(config: Config) -> None:
    """Raise ValueError, naming what to lower, where a sweep needs more memory than there is."""
    needed, there = count_bytes(config), available_bytes()
    if sum(needed.values()) > there:
        largest = max(needed, key=needed.__getitem__)
        raise ValueError(
            f"{largest} needs about {describe_bytes(needed[largest])} of memory at once and there "
            f"are {describe_bytes(there)}; {REMEDIES[largest]}"
        )


def describe_bytes(number: int) -> str:
    """A number of bytes in words."""
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
