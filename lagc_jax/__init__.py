"""Batch simulation of straggler-tolerant, communication-efficient distributed gradient descent."""

from lagc_jax.batch import Batch, Counts, Summary, simulate_batch
from lagc_jax.classification import (
    classification_accuracy,
    logistic_regression,
    multinomial_regression,
)
from lagc_jax.clock import expected_wall_clock, wall_clock_variance
from lagc_jax.cluster import Cluster, Link
from lagc_jax.codes import (
    GradientCode,
    balanced_assignment,
    cyclic_repetition,
    fractional_repetition,
    worst_condition,
)
from lagc_jax.decoding import Decoding, FirstDecodable, LeastSquares, Rescaled
from lagc_jax.delays import Delays, Exponential, Pareto, TimeSource
from lagc_jax.descent import State, init, step
from lagc_jax.design import Design, design, smooth_regression
from lagc_jax.families import (
    FAMILIES,
    Discrete,
    Gamma,
    Hyperexponential,
    Lognormal,
    ShiftedExponential,
    Weibull,
)
from lagc_jax.fitting import fit, quantile_frame
from lagc_jax.general import estimate_smoothness, general_problem
from lagc_jax.minibatch import minibatch
from lagc_jax.networks import initial_network, network_logits, network_problem
from lagc_jax.order_stats import (
    iteration_cdf,
    iteration_mean,
    iteration_variance,
    order_statistic_mean,
    order_statistic_variance,
)
from lagc_jax.problems import (
    Problem,
    gaussian_linear_regression,
    linear_regression,
    synthetic_linear_regression,
)
from lagc_jax.rules import Proposal, Round, Rule
from lagc_jax.sampling import sample_iteration_times
from lagc_jax.schemes import (
    Scheme,
    approximate_gc,
    cada,
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
from lagc_jax.sharding import Shards, shard
from lagc_jax.simulate import (
    Complexity,
    Path,
    Trajectory,
    complexity,
    descend,
    simulate,
)
from lagc_jax.stragglers import Bursty, Failures
from lagc_jax.sweep.store import load_results
from lagc_jax.traces import Trace

__all__ = [
    "FAMILIES",
    "Batch",
    "Bursty",
    "Cluster",
    "Complexity",
    "Counts",
    "Decoding",
    "Delays",
    "Design",
    "Discrete",
    "Exponential",
    "Failures",
    "FirstDecodable",
    "Gamma",
    "GradientCode",
    "Hyperexponential",
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
    "Weibull",
    "approximate_gc",
    "balanced_assignment",
    "cada",
    "classification_accuracy",
    "complexity",
    "cyclic_repetition",
    "descend",
    "design",
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
    "sample_iteration_times",
    "shard",
    "simulate",
    "simulate_batch",
    "smooth_regression",
    "step",
    "stochastic_gc",
    "synthetic_linear_regression",
    "wall_clock_variance",
    "worst_condition",
]
