"""Experiments: problems x schemes x delays x clusters, run into one tidy table that can be kept."""

from lagc_jax.experiments.experiment import Experiment, Vary
from lagc_jax.experiments.grid import Grid, parse_grid, read_grid
from lagc_jax.experiments.points import Point, Points
from lagc_jax.experiments.runner import Progress, run, run_into
from lagc_jax.experiments.store import load_results
from lagc_jax.targets import Accuracy, Gap, Iterate, Several

__all__ = [
    "Accuracy",
    "Experiment",
    "Gap",
    "Grid",
    "Iterate",
    "Point",
    "Points",
    "Progress",
    "Several",
    "Vary",
    "load_results",
    "parse_grid",
    "read_grid",
    "run",
    "run_into",
]
