"""Batch simulation of straggler-tolerant, communication-efficient distributed gradient descent."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lagc_jax import theory
from lagc_jax.batch import Batch, simulate_batch
from lagc_jax.cluster import Cluster, Link
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
from lagc_jax.descent import Path, State, descend, init, step
from lagc_jax.law.identical import (
    iteration_cdf,
    iteration_mean,
    iteration_variance,
    order_statistic_mean,
    order_statistic_variance,
)
from lagc_jax.problems.base import Problem
from lagc_jax.problems.classes import classification_accuracy
from lagc_jax.problems.general import estimate_smoothness, general_problem
from lagc_jax.problems.linear import (
    gaussian_linear_regression,
    linear_regression,
    smooth_regression,
    synthetic_linear_regression,
)
from lagc_jax.problems.logistic import logistic_regression, multinomial_regression
from lagc_jax.problems.networks import initial_network, network_logits, network_problem
from lagc_jax.problems.sharding import Shards, shard
from lagc_jax.problems.stochastic import minibatch
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.catalogue import (
    approximate_gc,
    cada,
    erasure_head,
    fastest_k,
    first_decodable,
    g_cada,
    g_lag,
    gc,
    gd,
    grouping,
    lag,
    lagc,
    laq,
    lasg,
    stochastic_gc,
)
from lagc_jax.schemes.codes import (
    GradientCode,
    balanced_assignment,
    cyclic_repetition,
    fractional_repetition,
    worst_condition,
)
from lagc_jax.schemes.decoding import Decoding, FirstDecodable, LeastSquares, Rescaled
from lagc_jax.schemes.rules import Proposal, Round, Rule
from lagc_jax.schemes.servers import amsgrad
from lagc_jax.summary import Costs, Summary
from lagc_jax.targets import Accuracy, Gap, Iterate
from lagc_jax.theory import expected_wall_clock, wall_clock_variance
from lagc_jax.times import sample_iteration_times
from lagc_jax.trajectory import Complexity, Trajectory, complexity, simulate

# Experiments need pandas and pyarrow, which most programs can do without: they load when asked for.
if TYPE_CHECKING:
    from lagc_jax.experiments.advice import Design, design
    from lagc_jax.experiments.experiment import Experiment, Vary
    from lagc_jax.experiments.runner import run
    from lagc_jax.experiments.store import load_results
else:
    _LAZY = {
        "Design": "advice",
        "design": "advice",
        "Experiment": "experiment",
        "Vary": "experiment",
        "run": "runner",
        "load_results": "store",
    }

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"lagc_jax.experiments.{_LAZY[name]}")
        globals()[name] = getattr(module, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "FAMILIES",
    "Accuracy",
    "Batch",
    "Bursty",
    "Cluster",
    "Complexity",
    "Costs",
    "Decoding",
    "Delays",
    "Design",
    "Discrete",
    "Experiment",
    "Exponential",
    "Failures",
    "FirstDecodable",
    "Gamma",
    "Gap",
    "GradientCode",
    "Hyperexponential",
    "Iterate",
    "LeastSquares",
    "Link",
    "Lognormal",
    "Pareto",
    "Path",
    "Problem",
    "Proposal",
    "Rescaled",
    "Round",
    "Rule",
    "Scheme",
    "Shards",
    "ShiftedExponential",
    "State",
    "Summary",
    "TimeSource",
    "Trace",
    "Trajectory",
    "Vary",
    "Weibull",
    "amsgrad",
    "approximate_gc",
    "balanced_assignment",
    "cada",
    "classification_accuracy",
    "complexity",
    "cyclic_repetition",
    "descend",
    "design",
    "erasure_head",
    "estimate_smoothness",
    "expected_wall_clock",
    "fastest_k",
    "first_decodable",
    "fit",
    "fractional_repetition",
    "g_cada",
    "g_lag",
    "gaussian_linear_regression",
    "gc",
    "gd",
    "general_problem",
    "grouping",
    "init",
    "initial_network",
    "iteration_cdf",
    "iteration_mean",
    "iteration_variance",
    "lag",
    "lagc",
    "laq",
    "lasg",
    "linear_regression",
    "load_results",
    "logistic_regression",
    "minibatch",
    "multinomial_regression",
    "network_logits",
    "network_problem",
    "order_statistic_mean",
    "order_statistic_variance",
    "quantile_frame",
    "run",
    "sample_iteration_times",
    "shard",
    "simulate",
    "simulate_batch",
    "smooth_regression",
    "step",
    "stochastic_gc",
    "synthetic_linear_regression",
    "theory",
    "wall_clock_variance",
    "worst_condition",
]
