"""Losses over M partitions: gradients, smoothness constants, optimum and gap; data to study."""

from lagc_jax.problems.base import Problem
from lagc_jax.problems.classes import classification_accuracy
from lagc_jax.problems.data import Data, load_data
from lagc_jax.problems.general import estimate_smoothness, general_problem
from lagc_jax.problems.images import Images, accuracy_on, image_problem, load_images
from lagc_jax.problems.linear import (
    gaussian_linear_regression,
    linear_regression,
    smooth_regression,
    synthetic_linear_regression,
)
from lagc_jax.problems.logistic import logistic_regression, multinomial_regression
from lagc_jax.problems.networks import (
    initial_convolutional,
    initial_network,
    network_logits,
    network_problem,
)
from lagc_jax.problems.sharding import Shards, shard
from lagc_jax.problems.stochastic import minibatch

__all__ = [
    "Data",
    "Images",
    "Problem",
    "Shards",
    "accuracy_on",
    "classification_accuracy",
    "estimate_smoothness",
    "gaussian_linear_regression",
    "general_problem",
    "image_problem",
    "initial_convolutional",
    "initial_network",
    "linear_regression",
    "load_data",
    "load_images",
    "logistic_regression",
    "minibatch",
    "multinomial_regression",
    "network_logits",
    "network_problem",
    "shard",
    "smooth_regression",
    "synthetic_linear_regression",
]
