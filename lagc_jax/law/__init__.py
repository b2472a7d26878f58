"""Laws of order statistics: exact moments and inverses. They know sizes, no scheme."""

from lagc_jax.law.identical import (
    iteration_cdf,
    iteration_mean,
    iteration_variance,
    order_statistic_mean,
    order_statistic_variance,
)

__all__ = [
    "iteration_cdf",
    "iteration_mean",
    "iteration_variance",
    "order_statistic_mean",
    "order_statistic_variance",
]
