"""Bits to an accuracy: every compressor with every way to use it, on one task."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jax import Array

from lagc_jax.delays.base import Exponential
from lagc_jax.experiments.contenders import STEPS, Task, few
from lagc_jax.experiments.experiment import Experiment
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import gd
from lagc_jax.schemes.compressors import Compressor, as_compressor
from lagc_jax.schemes.messages import clag, compressed_gd, ef21, error_feedback
from lagc_jax.targets import Accuracy

MECHANISMS: dict[str, Callable[[int, Compressor], Scheme]] = {
    "direct": compressed_gd,
    "error feedback": error_feedback,
    "EF21": ef21,
    "CLAG": lambda num_workers, compressor: clag(num_workers, compressor, xi=1.0),
}


def compressors(num_kept: int) -> list[Compressor]:
    """The compressors that are compared, the sparse ones with so many entries."""
    sparse = f"top-k({num_kept})", f"random-k({num_kept})"
    texts = ("grid(4)", *sparse, "sign", "dithering(4)", "natural")
    return [as_compressor(text) for text in texts]


def experiment(task: Task, key: Array, num_iterations: int) -> Experiment:
    """All mechanisms x compressors x step sizes, and descent; times play no part."""
    M = task.problem.num_partitions
    schemes = {
        f"{name} | {compressor}": make(M, compressor)
        for compressor in compressors(few(task.problem))
        for name, make in MECHANISMS.items()
    }
    return Experiment(
        problems={"task": task.problem},
        schemes={"GD | identity": gd(M), **schemes},
        delays={"any": Exponential(1.0)},
        num_iterations=num_iterations,
        num_realisations=0,
        target=Accuracy(np.array([task.target]), task.test_accuracy),
        step_sizes=[task.step_size * step for step in STEPS],
        step_unit="absolute",
        starts={"task": task.theta0},
        quantiles=[],
        key=key,
    )


def bits_frame(found: pd.DataFrame) -> pd.DataFrame:
    """Bits to the target with the best of the step sizes: a row a mechanism and compressor.

    Args:
        found: the table of `experiment`.

    Columns: `mechanism`, `compressor`, `bits` and `iterations` to the target (`inf` where no step
    size reached it) and the `step_size`.
    """
    # Of step sizes that all miss, the first stands for them.
    best = found.loc[found.groupby("scheme", sort=False)["bits"].idxmin()]
    names = best["scheme"].str.split(" | ", regex=False, expand=True)
    frame = best[["bits", "iterations", "step_size"]].reset_index(drop=True)
    frame.insert(0, "mechanism", names[0].to_numpy())
    frame.insert(1, "compressor", names[1].to_numpy())
    return frame
