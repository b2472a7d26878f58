"""What the server does with the sum of the groups' messages: optimisers that optax has not."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import hashable, real_array, scalar


class AmsgradState(NamedTuple):
    """Averages of the gradients and of their squares, and the largest of the latter so far."""

    mean: Any
    square: Any
    largest: Any


def amsgrad(
    learning_rate: ArrayLike, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    """AMSGrad without correction of the bias, the server of CADA and G-CADA.

    `h = b1 h + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `v_hat = max(v_hat, v)`, and the step
    `-alpha h / (sqrt(v_hat) + eps)` (CADA, arXiv 2012.15469, eq. 2; constants, and `eps` outside
    the root, as in the authors' code). `optax.amsgrad` corrects the bias of `h` and `v`, so that
    its `v_hat` never falls below the square of the first gradient. `alpha` may be traced.

    >>> server = amsgrad(0.1)
    >>> gradient = jnp.array([2.0])
    >>> updates, _ = server.update(gradient, server.init(gradient))
    >>> f"{updates[0]:.3f}"
    '-0.316'
    """

    def init(params: Any) -> AmsgradState:
        return AmsgradState(*(jax.tree.map(jnp.zeros_like, params) for _ in range(3)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, AmsgradState]:
        mean = jax.tree.map(lambda h, g: b1 * h + (1 - b1) * g, state.mean, updates)
        square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.square, updates)
        largest = jax.tree.map(jnp.maximum, state.largest, square)
        steps = jax.tree.map(lambda h, v: -h * learning_rate / (jnp.sqrt(v) + eps), mean, largest)
        return steps, AmsgradState(mean, square, largest)

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True)
class Momentum:
    """Heavy-ball momentum at the server: `m = decay m + g` and the step `-alpha m` (Polyak 1964).

    A decay outside [0, 1) is a ValueError.

    >>> from dataclasses import replace
    >>> from lagc_jax import lag
    >>> scheme = replace(lag(12), optimizer=Momentum(0.9))
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        real_array("decay", self.decay)
        scalar("decay", self.decay)
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay={self.decay} must lie in [0, 1); give 0.9, say")

    def __call__(self, step_size: Array) -> optax.GradientTransformation:
        return optax.sgd(step_size, momentum=self.decay)


@dataclass(frozen=True)
class Fixed:
    """An optax transformation with a step size of its own, as `Scheme.optimizer`."""

    transformation: optax.GradientTransformation

    def __post_init__(self) -> None:
        check_transformation(self.transformation)
        hashable("optimizer", self.transformation, "give one made by optax")

    def __call__(self, step_size: Array) -> optax.GradientTransformation:
        return self.transformation


def check_transformation(optimizer: Any) -> optax.GradientTransformation:
    """Return an optax transformation; raise ValueError for what is none."""
    if isinstance(optimizer, type) or not (
        hasattr(optimizer, "init") and hasattr(optimizer, "update")
    ):
        raise ValueError(
            f"optimizer={optimizer!r} is no optax transformation; give optax.sgd(0.1) in place of "
            f"optax.sgd, say, or give a function of the step size, such as Momentum(0.9), to the "
            f"scheme: dataclasses.replace(scheme, optimizer=..)"
        )
    return optimizer
