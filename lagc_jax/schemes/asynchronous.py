"""Constructors of event-driven schemes: workers compute in their own time, from stale iterates.

Everywhere `num_workers` is `M`; every worker holds all data. A gradient of the whole loss is one
message, and an iteration of `simulate` is an update. With the gradients `g` that the server takes
for an update, it steps along their mean, so that a step size means what it does for gradient
descent; stale gradients often need a smaller one than `1/L`. The load is the partition gradients
that a worker computes for a message: one, a minibatch whose size does not grow with `M`, by
default; `M` charges the whole gradient that a problem without samples gives.

Costs are those of jobs started before an update: a download and the load each, whether they end or
not; every gradient that has arrived until then is an upload, whether it is used or not.
"""

from collections.abc import Callable, Sequence

from jax.typing import ArrayLike

from lagc_jax._checks import truth, whole_number
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.policies import (
    BatchAsync,
    BatchSync,
    DelayAdaptive,
    KAsync,
    KSync,
    MindFlayer,
    Policy,
    Rennala,
    Ringmaster,
    RingmasterStops,
)


def event_driven(num_workers: int, policy: Policy, load: float = 1) -> Scheme:
    """A scheme of a policy, perhaps one of your own.

    >>> event_driven(4, BatchAsync(2)).event_driven
    True
    """
    return Scheme(num_workers, 1, num_workers, decoding=policy, fixed_load=load)


def k_sync(num_workers: int, num_waited: int, load: float = 1) -> Scheme:
    """K-sync SGD: wait for the first `K` workers, stop the others (arXiv 1803.01113).

    >>> k_sync(4, num_waited=3).load
    1
    """
    return event_driven(num_workers, KSync(whole_number("num_waited", num_waited)), load)


def k_batch_sync(num_workers: int, batch: int, load: float = 1) -> Scheme:
    """K-batch-sync SGD: the first `K` gradients, whoever sends them (arXiv 1803.01113).

    >>> k_batch_sync(4, batch=8).decoding.batch
    8
    """
    return event_driven(num_workers, BatchSync(batch), load)


def k_async(num_workers: int, num_waited: int, load: float = 1) -> Scheme:
    """K-async SGD: wait for the first `K` workers, let the others go on (arXiv 1803.01113).

    >>> k_async(4, num_waited=2).decoding.batch
    2
    """
    return event_driven(num_workers, KAsync(whole_number("num_waited", num_waited)), load)


def k_batch_async(num_workers: int, batch: int, load: float = 1) -> Scheme:
    """K-batch-async SGD: an update of any `K` gradients (arXiv 1803.01113).

    >>> k_batch_async(4, batch=2).decoding.batch
    2
    """
    return event_driven(num_workers, BatchAsync(batch), load)


def asynchronous(num_workers: int, load: float = 1) -> Scheme:
    """Fully asynchronous SGD: every gradient makes an update (arXiv 1803.01113).

    >>> asynchronous(4).decoding.batch
    1
    """
    return event_driven(num_workers, BatchAsync(), load)


def delay_adaptive(num_workers: int, load: float = 1) -> Scheme:
    """Asynchronous SGD with steps of `M / max(M, delay)` (arXiv 2206.07638).

    >>> float(delay_adaptive(4).decoding.weight(8, 4))
    0.5
    """
    return event_driven(num_workers, DelayAdaptive(), load)


def rennala(num_workers: int, batch: int, load: float = 1) -> Scheme:
    """Rennala SGD: the first `B` gradients at the present iterate (arXiv 2305.12387).

    >>> rennala(4, batch=8).decoding.batch
    8
    """
    return event_driven(num_workers, Rennala(batch), load)


def ringmaster(num_workers: int, threshold: int, stops: bool = False, load: float = 1) -> Scheme:
    """Ringmaster ASGD: no gradient of a delay of `threshold` or more (arXiv 2501.16168).

    With `stops` such a worker is stopped, otherwise its gradient is thrown away when it arrives.

    >>> ringmaster(4, threshold=8).decoding.threshold
    8
    """
    kind = RingmasterStops if truth("stops", stops) else Ringmaster
    return event_driven(num_workers, kind(threshold), load)


def mindflayer(
    num_workers: int,
    trials: int | Sequence[int],
    allotted: ArrayLike,
    success: ArrayLike = 1.0,
    load: float = 1,
) -> Scheme:
    """MindFlayer SGD: trials of an allotted time (arXiv 2410.04285).

    Args:
        num_workers: `M`.
        trials: `B_m`, one number or one a worker.
        allotted: `t_m`, () or (M,), for a whole gradient, start-up and messages included.
        success: `p_m`, () or (M,): of delays of a family, `1 - delays.survival(allotted / load)`
            in the paper's cluster; what another one adds is to be taken off `allotted` there.
        load: partition gradients of a whole one.

    >>> mindflayer(3, trials=2, allotted=1.5).decoding.trials
    (2, 2, 2)
    """
    M = whole_number("num_workers", num_workers)
    counts = (trials,) * M if isinstance(trials, int) else tuple(trials)
    return event_driven(M, MindFlayer(counts, allotted, success), load)


# Every constructor by the name that files and tables use.
ASYNCHRONOUS: dict[str, Callable[..., Scheme]] = {
    "K-sync": k_sync,
    "K-batch-sync": k_batch_sync,
    "K-async": k_async,
    "K-batch-async": k_batch_async,
    "ASGD": asynchronous,
    "delay-adaptive ASGD": delay_adaptive,
    "Rennala": rennala,
    "Ringmaster": ringmaster,
    "MindFlayer": mindflayer,
}
