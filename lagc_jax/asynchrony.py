"""How long updates of event-driven schemes take: exact means, and bounds for fixed times."""

import math
from typing import cast

import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import finite, not_negative_number, one_axis, positive, positive_number, warn
from lagc_jax.delays.base import Delays, Exponential
from lagc_jax.delays.contract import check_source
from lagc_jax.delays.scaled import Scaled
from lagc_jax.doors import check_scheme
from lagc_jax.law.identical import iteration_mean
from lagc_jax.law.unequal import moments
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.policies import (
    BatchAsync,
    BatchSync,
    KAsync,
    KSync,
    Policy,
    Rennala,
    Ringmaster,
    RingmasterStops,
)


def update_time(scheme: Scheme, delays: Delays) -> float:
    """Exact mean time of an update, in the long run.

    - K-sync: the mean of the K-th smallest of M times, of any family (arXiv 1803.01113, Lemma 1).
    - K-batch-async and fully asynchronous SGD: `B` over the sum of the workers' rates `1/E[tau_m]`,
      of any family by renewal theory, as in the paper for equal workers.
    - K-async, K-batch-sync, and Ringmaster that stops workers: of equal exponential times, where a
      job that goes on is as good as a new one: the mean of K-sync, `B / (M rate)` and
      `1 / (M rate)`.

    It is `inf`, with a RuntimeWarning, where no worker's time has a mean; one without is as good as
    none among others.

    Raises:
        ValueError: where it is not known.

    >>> from lagc_jax import schemes
    >>> update_time(schemes.asynchronous(4), Exponential(0.5))
    0.5
    """
    check_scheme(scheme)
    check_source(delays, family=True)
    policy, M, load = scheme.decoding, scheme.num_workers, scheme.load
    delays.check(M)
    memoryless = isinstance(delays, Exponential) and delays.identical
    if isinstance(policy, KSync) or (isinstance(policy, KAsync) and memoryless):
        if not delays.identical:
            raise ValueError(_unknown(scheme, delays))
        r = M - policy.batch + 1
        return float(iteration_mean(Scaled(delays, load / r), M, r, 1))
    renewal = isinstance(policy, BatchAsync) and not isinstance(
        policy, BatchSync | KAsync | Rennala
    )
    if renewal or (isinstance(policy, BatchSync | RingmasterStops) and memoryless):
        rate = float(np.sum(1 / _means(delays, M)))
        if rate > 0:
            return load * cast(Policy, policy).batch / rate
        if not delays.identical:  # of equal workers their mean has warned
            warn("the mean of an update's time is infinite: that of every worker's time is")
        return math.inf
    raise ValueError(_unknown(scheme, delays))


def _unknown(scheme: Scheme, delays: Delays) -> str:
    return (
        f"the mean update of decoding={type(scheme.decoding).__name__} under delays="
        f"{type(delays).__name__} is not known; sample with simulate or simulate_batch"
    )


def _means(delays: Delays, num_workers: int) -> np.ndarray:
    """Mean time of every worker, (M,)."""
    if delays.identical:
        return np.full(num_workers, float(iteration_mean(delays, 1, 1, 1)))
    alone = np.eye(num_workers, dtype=bool)
    return np.asarray(moments(delays, alone, 1, 1)[0], float)


def time_bound(scheme: Scheme, times: ArrayLike) -> float:
    """Longest time of an update, of `R` updates in a row with Ringmaster ASGD of threshold `R`.

    Workers always need the same times (M,) for a gradient. In a time `t` worker `i` completes more
    than `t/tau_i - 1` gradients, of which one at most is at an iterate too old, or was stopped;
    so `B` gradients that are used have come after `min_m (B + 2 m) / sum_{i <= m} 1/tau_i`, sums
    over the `m` fastest, `B = R` with Ringmaster ASGD. With K-batch-sync, where all start together,
    it is `B + m` in place of `B + 2 m`. (As in arXiv 2305.12387 and 2501.16168, whose texts were
    not at hand: the argument here is complete, and their bounds are no tighter in their order.)

    Raises:
        ValueError: for another scheme, or times that are not (M,), positive and finite.

    >>> from lagc_jax import schemes
    >>> time_bound(schemes.rennala(2, batch=2), [1.0, 1.0])
    3.0
    """
    check_scheme(scheme)
    policy = scheme.decoding
    if isinstance(policy, Ringmaster):
        needed, lost = policy.threshold, 2
    elif isinstance(policy, Rennala):
        needed, lost = policy.batch, 2
    elif isinstance(policy, BatchSync) and not isinstance(policy, KSync):
        needed, lost = policy.batch, 1
    else:
        raise ValueError(
            f"decoding={type(policy).__name__} has no bound on the time of an update; give "
            f"k_batch_sync, rennala or ringmaster"
        )
    tau = scheme.load * _sorted_times(times, scheme.num_workers)
    m = np.arange(1, tau.size + 1)
    return float(np.min((needed + lost * m) / np.cumsum(1 / tau)))


def time_complexity(
    times: ArrayLike, smoothness: float, gap: float, noise: float, accuracy: float
) -> float:
    """Time after which `E|grad L|^2 <= accuracy` can be had, up to a constant factor.

    `min_m m / (sum_{i <= m} 1/tau_i) (L gap / eps + noise L gap / (m eps^2))`, a lower bound for
    every method and met by Rennala SGD and Ringmaster ASGD (arXiv 2305.12387; 2501.16168).

    Args:
        times: (M,) that a gradient takes.
        smoothness: `L`.
        gap: `L(theta^0) - L*`.
        noise: `sigma^2`, a bound on the variance of a gradient.
        accuracy: `eps`.

    Raises:
        ValueError: for times that are not (M,), positive and finite, a noise that is negative, or
            another number that is not positive and finite.

    >>> time_complexity([1.0, 1.0], smoothness=1.0, gap=1.0, noise=0.0, accuracy=0.5)
    2.0
    """
    for name, value in {"smoothness": smoothness, "gap": gap, "accuracy": accuracy}.items():
        positive_number(name, value)
    not_negative_number("noise", noise)
    tau = _sorted_times(times)
    m = np.arange(1, tau.size + 1)
    steps = smoothness * gap / accuracy * (1 + noise / (m * accuracy))
    return float(np.min(m / np.cumsum(1 / tau) * steps))


def _sorted_times(times: ArrayLike, num_workers: int | None = None) -> np.ndarray:
    one_axis("times", times, 1)
    finite("times", times)
    positive("times", times)
    if num_workers not in (None, np.size(times)):
        raise ValueError(f"times has {np.size(times)} entries; give one a worker, {num_workers}")
    return np.sort(np.ravel(np.asarray(times, float)))
