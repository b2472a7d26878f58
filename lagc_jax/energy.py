"""What a run costs its workers in energy: a price of a gradient and one of a message each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import concrete, not_negative, one_or_each, scalar
from lagc_jax.costs import accumulate
from lagc_jax.records import Trajectory
from lagc_jax.schemes.base import Scheme


@dataclass(frozen=True)
class Energy:
    """Prices that are the same for all workers: the column `energy` of an experiment's table.

    Args:
        per_gradient: of a partition gradient.
        per_message: of a message to or from a worker, of whatever size.
        per_bit: of a bit that a worker sends.

    Raises:
        ValueError: for prices that are not single numbers from 0 on.

    >>> float(Energy(per_gradient=2.0, per_message=0.5).of(6.0, 4.0, 128.0))
    14.0
    """

    per_gradient: float = 0.0
    per_message: float = 0.0
    per_bit: float = 0.0

    def __post_init__(self) -> None:
        for name, price in vars(self).items():
            not_negative(name, price)
            scalar(name, price)

    def of(self, computation: Any, communication: Any, bits: Any) -> np.ndarray:
        """Energy of numbers of gradients, messages and bits; infinite where one is."""
        priced = zip(vars(self).values(), (computation, communication, bits), strict=True)
        terms = [(price, np.asarray(count, float)) for price, count in priced]
        lost = np.any([np.isinf(count) for _, count in terms], axis=0)
        # A price of 0 times an infinite count is no number.
        spent = sum(price * np.where(np.isinf(count), 0.0, count) for price, count in terms)
        return np.where(lost, np.inf, spent)


def energy(
    scheme: Scheme, run: Trajectory, per_gradient: ArrayLike, per_message: ArrayLike
) -> np.ndarray:
    """Energy that the workers have spent to have every iterate, cumulative, (K+1,).

    Charged is what `computation`, `downlink` and `uplink` count: a working worker its whole load,
    be it cancelled or not, and every message received or sent. With one price for all it is
    `per_gradient * computation + per_message * communication`.

    Args:
        scheme: that of the run.
        run: one trajectory of `simulate`.
        per_gradient: of a partition gradient, () or (M,).
        per_message: of a message to or from a worker, () or (M,).

    Raises:
        ValueError: for negative prices or another shape, for a batch of runs, and where prices
            differ of what it is not known of which worker it was.

    >>> import jax
    >>> from lagc_jax import Exponential, gd, linear_regression, simulate
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> run = simulate(problem, gd(2), Exponential(1.0), jax.random.key(0), num_iterations=1)
    >>> energy(gd(2), run, per_gradient=[1.0, 3.0], per_message=0.5).tolist()
    [0.0, 6.0]
    """
    for name, price in {"per_gradient": per_gradient, "per_message": per_message}.items():
        not_negative(name, price)
        one_or_each(name, price, scheme.num_workers)
    selected = concrete(run.selected)
    if selected is None or selected.ndim != 2:
        raise ValueError("run is a batch, or traced; give one trajectory outside jit and vmap")
    by_group = scheme.num_groups, scheme.group_size
    gradient, message = (
        np.broadcast_to(np.asarray(price, float), scheme.num_workers).reshape(by_group)
        for price in (per_gradient, per_message)
    )
    return (
        _charged(scheme, run, "per_gradient", gradient, gradient * scheme.loads, run.computation)
        + _charged(scheme, run, "per_message", message, message, run.downlink)
        + _uploads(scheme, run, message)
    )


def _charged(
    scheme: Scheme, run: Trajectory, name: str, price: np.ndarray, whole: np.ndarray, counted: Any
) -> np.ndarray:
    """Energy of what every working group is charged, (K+1,), with prices (G, n), whole per worker.

    What is `counted` (K+1,) is all that is known where workers do not all do the same.
    """
    if (price == price[0, 0]).all():
        return price[0, 0] * np.asarray(counted, float)
    if scheme.event_driven or (scheme.decoder.pooled and name == "per_gradient"):
        raise ValueError(
            f"{name} differs between workers, who under decoding={type(scheme.decoder).__name__} "
            f"do not all do the same, and a run does not keep who did what; give one price for all"
        )
    return accumulate(np.asarray(scheme.working(run.selected), float) @ whole.sum(1))


def _uploads(scheme: Scheme, run: Trajectory, message: np.ndarray) -> np.ndarray:
    """Energy of the messages to the server, (K+1,), with prices (G, n)."""
    uplink, sent = np.asarray(run.uplink, float), np.asarray(run.selected, float)
    if (message == message[0, 0]).all():
        return message[0, 0] * uplink
    waited = scheme.decoder.fastest or 0
    alike = waited == scheme.group_size or (message == message[:, :1]).all()
    if not alike or not np.array_equal(np.diff(uplink), waited * sent.sum(1)):
        raise ValueError(
            "per_message differs between workers of a group of which it is not known who sent; "
            "give one price for all, or prices alike in a group and a run without timeouts whose "
            "decoding waits for a fixed number"
        )
    return accumulate(waited * (sent @ message.mean(1)))
