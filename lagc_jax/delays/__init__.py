"""Times that workers need for a partition gradient: families, traces, stragglers, fits."""

from lagc_jax.delays.availability import OnOff, Roster
from lagc_jax.delays.base import Delays, Exponential, Pareto, TimeSource
from lagc_jax.delays.behaviour import Bursts, Loads, fit_bursty, fit_failures, fit_loads
from lagc_jax.delays.diagnosis import Diagnosis, diagnose
from lagc_jax.delays.discrete import Discrete
from lagc_jax.delays.families import (
    FAMILIES,
    Gamma,
    Hyperexponential,
    Lognormal,
    ShiftedExponential,
    ShiftedGamma,
    ShiftedLognormal,
    ShiftedWeibull,
    Weibull,
)
from lagc_jax.delays.fitting import fit, quantile_frame
from lagc_jax.delays.stragglers import Bursty, Failures
from lagc_jax.delays.tabulated import Tabulated, tabulate
from lagc_jax.delays.traces import Trace
from lagc_jax.delays.varying import Diurnal, Drift

__all__ = [
    "FAMILIES",
    "Bursts",
    "Bursty",
    "Delays",
    "Diagnosis",
    "Discrete",
    "Diurnal",
    "Drift",
    "Exponential",
    "Failures",
    "Gamma",
    "Hyperexponential",
    "Loads",
    "Lognormal",
    "OnOff",
    "Pareto",
    "Roster",
    "ShiftedExponential",
    "ShiftedGamma",
    "ShiftedLognormal",
    "ShiftedWeibull",
    "Tabulated",
    "TimeSource",
    "Trace",
    "Weibull",
    "diagnose",
    "fit",
    "fit_bursty",
    "fit_failures",
    "fit_loads",
    "quantile_frame",
    "tabulate",
]
