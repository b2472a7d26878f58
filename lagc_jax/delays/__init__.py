"""Times that workers need for a partition gradient: families, traces, stragglers, fits."""

from lagc_jax.delays.base import Delays, Exponential, Pareto, TimeSource
from lagc_jax.delays.discrete import Discrete
from lagc_jax.delays.families import (
    FAMILIES,
    Gamma,
    Hyperexponential,
    Lognormal,
    ShiftedExponential,
    Weibull,
)
from lagc_jax.delays.fitting import fit, quantile_frame
from lagc_jax.delays.stragglers import Bursty, Failures
from lagc_jax.delays.traces import Trace
from lagc_jax.delays.varying import Diurnal, Drift

__all__ = [
    "FAMILIES",
    "Bursty",
    "Delays",
    "Discrete",
    "Diurnal",
    "Drift",
    "Exponential",
    "Failures",
    "Gamma",
    "Hyperexponential",
    "Lognormal",
    "Pareto",
    "ShiftedExponential",
    "TimeSource",
    "Trace",
    "Weibull",
    "fit",
    "quantile_frame",
]
