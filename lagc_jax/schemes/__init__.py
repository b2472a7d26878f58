"""Who holds, computes, sends and decodes what."""

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

__all__ = [
    "Decoding",
    "FirstDecodable",
    "GradientCode",
    "LeastSquares",
    "Proposal",
    "Rescaled",
    "Round",
    "Rule",
    "Scheme",
    "amsgrad",
    "approximate_gc",
    "balanced_assignment",
    "cada",
    "cyclic_repetition",
    "erasure_head",
    "fastest_k",
    "first_decodable",
    "fractional_repetition",
    "g_cada",
    "g_lag",
    "gc",
    "gd",
    "grouping",
    "lag",
    "lagc",
    "laq",
    "lasg",
    "stochastic_gc",
    "worst_condition",
]
