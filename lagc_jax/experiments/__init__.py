"""Sweeps over a grid of problems, schemes and delays, which can be stopped and continued."""

from lagc_jax.experiments.grid import Config, parse_config, read_config
from lagc_jax.experiments.points import Point, Points
from lagc_jax.experiments.run import Progress, run_sweep
from lagc_jax.experiments.store import load_results

__all__ = [
    "Config",
    "Point",
    "Points",
    "Progress",
    "load_results",
    "parse_config",
    "read_config",
    "run_sweep",
]
