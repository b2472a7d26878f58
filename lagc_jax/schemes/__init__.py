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
from lagc_jax.schemes.coded_decoding import Coded
from lagc_jax.schemes.codes import (
    GradientCode,
    balanced_assignment,
    cyclic_repetition,
    fractional_repetition,
    worst_condition,
)
from lagc_jax.schemes.coding import bernoulli_gc, heterogeneous_gc, regular_graph_gc, short_gc
from lagc_jax.schemes.compression import Compressed, Diana, Direct, ErrorFeedback, Marina
from lagc_jax.schemes.compressors import (
    Compressor,
    Dithering,
    Identity,
    Natural,
    RandomK,
    Sign,
    TopK,
    UniformGrid,
)
from lagc_jax.schemes.decoding import Decoding, FirstDecodable, LeastSquares, Rescaled
from lagc_jax.schemes.federated import LocalSteps, Participation
from lagc_jax.schemes.graphs import bernoulli_assignment, regular_graph_assignment
from lagc_jax.schemes.messages import (
    clag,
    compressed_gd,
    diana,
    ef21,
    error_feedback,
    local_sgd,
    marina,
)
from lagc_jax.schemes.rules import Proposal, Round, Rule
from lagc_jax.schemes.servers import Momentum, amsgrad
from lagc_jax.schemes.short_codes import ShortCode, short_code
from lagc_jax.schemes.unequal_codes import heterogeneous_code, proportional_loads

__all__ = [
    "Coded",
    "Compressed",
    "Compressor",
    "Decoding",
    "Diana",
    "Direct",
    "Dithering",
    "ErrorFeedback",
    "FirstDecodable",
    "GradientCode",
    "Identity",
    "LeastSquares",
    "LocalSteps",
    "Marina",
    "Momentum",
    "Natural",
    "Participation",
    "Proposal",
    "RandomK",
    "Rescaled",
    "Round",
    "Rule",
    "Scheme",
    "ShortCode",
    "Sign",
    "TopK",
    "UniformGrid",
    "amsgrad",
    "approximate_gc",
    "balanced_assignment",
    "bernoulli_assignment",
    "bernoulli_gc",
    "cada",
    "clag",
    "compressed_gd",
    "cyclic_repetition",
    "diana",
    "ef21",
    "erasure_head",
    "error_feedback",
    "fastest_k",
    "first_decodable",
    "fractional_repetition",
    "g_cada",
    "g_lag",
    "gc",
    "gd",
    "grouping",
    "heterogeneous_code",
    "heterogeneous_gc",
    "lag",
    "lagc",
    "laq",
    "lasg",
    "local_sgd",
    "marina",
    "proportional_loads",
    "regular_graph_assignment",
    "regular_graph_gc",
    "short_code",
    "short_gc",
    "stochastic_gc",
    "worst_condition",
]
