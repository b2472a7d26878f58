"""What an event-driven server does when a gradient arrives, and which workers it starts anew.

A policy is the decoding of a scheme whose workers do not compute in step: each has an iterate of
its own, which may be stale, and its next finishing time. It is a small frozen object; the loop of
`events` knows none by name, so a policy of one's own is a class like those below. It sees who
arrives, how old the gradient is and who waits, never a gradient: the order of events does not
depend on the loss.

Every worker can compute a gradient of the whole loss, or an estimate of it, as in all the papers
here. Rules were compared with the code of the authors of Ringmaster and MindFlayer, which has them
and the delay-adaptive steps; that of Dutta et al. is not public.
"""

from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import as_leaf, concrete, one_or_each, positive, probability, whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax.schemes.decoding import Decoding


class Arrived(NamedTuple):
    """What the server knows when a gradient has arrived.

    Attributes:
        arrived: (M,) bool, true of the worker that it comes from.
        made: (M,) gradients of every worker since the last update, this one among them.
        updated: () bool, whether the server has made an update of it.
        delays: (M,) updates since every worker's present iterate, that of `updated` among them.
    """

    arrived: Array
    made: Array
    updated: Array
    delays: Array


class Policy(Decoding, Protocol):
    """How an event-driven server deals with gradients; a pytree.

    Attributes:
        event_driven: true, which tells a policy from another decoding.
        alone: whether the worker that arrives always starts anew at once, and no other does.
    """

    event_driven: ClassVar[bool] = True
    alone: ClassVar[bool] = True

    @property
    def batch(self) -> int:
        """`B`, gradients (or trials) that make an update."""
        return 1

    @property
    def longest(self) -> int | None:
        """A number of updates that every delay of a gradient taken is below; None if there is none.

        So many gradients of the past, or iterates, are kept.
        """
        return None

    def discarded(self, num_workers: int, num_updates: int) -> int:
        """A bound on the gradients that are not taken while so many updates are made."""
        return 0

    def check(self, group_size: int, redundancy: int) -> None:
        if redundancy != group_size:
            raise ValueError(
                f"decoding={type(self).__name__} needs workers that hold all partitions; give "
                f"redundancy={group_size}"
            )
        self.check_workers(group_size)

    def check_workers(self, num_workers: int) -> None:
        """Raise ValueError unless it fits so many workers."""
        return None

    def take(self, delay: Array) -> Array | bool:
        """Whether a gradient of a delay () is taken, bool ()."""
        return True

    def weight(self, delay: Array, num_workers: int) -> ArrayLike:
        """Factor () of a gradient of a delay () in the mean that the server steps along."""
        return 1.0

    def start(self, event: Arrived) -> Array:
        """Workers (M,) that start anew from the present iterate; what they are at is cancelled.

        Only asked where `alone` is false. The worker that has arrived waits if it is not started.
        """
        raise ValueError(f"decoding={type(self).__name__} has no `start`; define one")

    @property
    def limit(self) -> ArrayLike | None:
        """Time, () or (M,), after which a worker gives up a gradient; None for never."""
        return None


def keeps_the_silent(policy: Policy, num_workers: int) -> bool:
    """Whether a worker whose gradient never comes is waited for to the end."""
    if policy.limit is not None:
        return False
    if policy.alone:
        return True
    first = np.arange(num_workers) == 0
    with jax.ensure_compile_time_eval():
        late = np.full(num_workers, np.iinfo(np.int32).max)
        event = Arrived(*map(jnp.asarray, (first, first.astype(np.int32), True, late)))
        started = concrete(policy.start(event)[1:])
        return started is not None and not started.all()


@pytree("batch")
class BatchAsync(Policy):
    """K-batch-async: an update of any `B` gradients; their workers go on at once.

    With `B = 1` it is fully asynchronous SGD. (Dutta, Joshi, Ghosh, Dube and Nagpurkar, "Slow and
    Stale Gradients Can Win the Race", AISTATS 2018, arXiv 1803.01113.)

    Args:
        batch: `B`; static.
    """

    batch: int = 1  # type: ignore[assignment]

    def __post_init__(self) -> None:
        whole_number("batch", self.batch)


@pytree("batch")
class DelayAdaptive(BatchAsync):
    """Asynchronous SGD whose step shrinks with the delay: by `M / max(M, delay)`.

    (Mishchenko, Bach, Even and Woodworth, "Asynchronous SGD Beats Minibatch SGD Under Arbitrary
    Delays", 2022, arXiv 2206.07638; the factor is that of their code.)
    """

    def weight(self, delay: Array, num_workers: int) -> ArrayLike:
        return num_workers / jnp.maximum(delay, num_workers).astype(float)


@pytree("batch")
class BatchSync(BatchAsync):
    """K-batch-sync: an update of the first `B` gradients at the iterate, whoever sends them.

    A worker that has sent one computes another; at the update all are stopped and start from the
    new iterate (arXiv 1803.01113).
    """

    alone: ClassVar[bool] = False

    @property
    def longest(self) -> int:
        return 1

    def start(self, event: Arrived) -> Array:
        return event.arrived | event.updated


@pytree("batch")
class KSync(BatchSync):
    """K-sync: an update of the first `K` workers; the others are stopped (arXiv 1803.01113)."""

    def check_workers(self, num_workers: int) -> None:
        _at_most(self.batch, num_workers)

    def start(self, event: Arrived) -> Array:
        return jnp.broadcast_to(event.updated, event.made.shape)


@pytree("batch")
class KAsync(BatchAsync):
    """K-async: an update of the first `K` workers, which wait for it; the others go on.

    (arXiv 1803.01113.)
    """

    alone: ClassVar[bool] = False

    def check_workers(self, num_workers: int) -> None:
        _at_most(self.batch, num_workers)

    def start(self, event: Arrived) -> Array:
        return event.updated & (event.made > 0)


@pytree("batch")
class Rennala(BatchAsync):
    """Rennala SGD: an update of the first `B` gradients at the present iterate.

    Nobody is stopped; a gradient at an older iterate is thrown away when it arrives, and its worker
    starts from the present one. (Tyurin and Richtarik, "Optimal Time Complexities of Parallel
    Stochastic Optimization Methods Under a Fixed Computation Model", 2023, arXiv 2305.12387. Code
    of its authors' group stops all workers at an update instead: that is `BatchSync`.)
    """

    @property
    def longest(self) -> int:
        return 1

    def discarded(self, num_workers: int, num_updates: int) -> int:
        return (num_workers - 1) * num_updates  # a worker's first in an update, but for the last's

    def take(self, delay: Array) -> Array:
        return delay == 0


@pytree("threshold")
class Ringmaster(Policy):
    """Ringmaster ASGD: asynchronous SGD without gradients of a delay of `R` or more.

    Such a gradient is thrown away when it arrives. (Maranjyan, Tyurin and Richtarik, "Ringmaster
    ASGD: The First Asynchronous SGD with Optimal Time Complexity", 2025, arXiv 2501.16168.)

    Args:
        threshold: `R`; static.
    """

    threshold: int

    def __post_init__(self) -> None:
        whole_number("threshold", self.threshold)

    @property
    def longest(self) -> int:
        return self.threshold

    def discarded(self, num_workers: int, num_updates: int) -> int:
        return num_workers * (num_updates // self.threshold)

    def take(self, delay: Array) -> Array:
        return delay < self.threshold


@pytree("threshold")
class RingmasterStops(Ringmaster):
    """Ringmaster ASGD that stops a worker as soon as its delay is `R` (arXiv 2501.16168)."""

    alone: ClassVar[bool] = False

    def discarded(self, num_workers: int, num_updates: int) -> int:
        return 0

    def start(self, event: Arrived) -> Array:
        return event.arrived | (event.delays >= self.threshold)


@pytree("trials")
class MindFlayer(Policy):
    """MindFlayer SGD: every worker tries to compute a gradient, each time for an allotted time.

    A worker makes `B_m` trials from an iterate, one after another, and gives up each that takes
    longer than `t_m`. When all are done, the sum of the gradients that were computed, over their
    expected number `sum_m p_m B_m`, makes the update. (Maranjyan, Omar and Richtarik, "MindFlayer
    SGD: Efficient Parallel SGD in the Presence of Heterogeneous and Random Worker Compute Times",
    2025, arXiv 2410.04285.)

    Args:
        trials: `B_m` of every worker, (M,) whole numbers; static.
        allotted: `t_m`, time for a whole gradient, start-up and messages included, () or (M,).
        success: `p_m`, probability that it suffices, () or (M,).
    """

    trials: tuple[int, ...]
    allotted: ArrayLike
    success: ArrayLike = 1.0

    alone: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for count in self.trials:
            whole_number("trials", count, 0)
        whole_number("the sum of trials", sum(self.trials))
        for name in ("allotted", "success"):
            object.__setattr__(self, name, as_leaf(getattr(self, name)))
            positive(name, getattr(self, name))
        probability("success", self.success)

    @property
    def limit(self) -> ArrayLike:
        return self.allotted

    @property
    def batch(self) -> int:
        return sum(self.trials)

    @property
    def longest(self) -> int:
        return 1

    def check_workers(self, num_workers: int) -> None:
        if len(self.trials) != num_workers:
            raise ValueError(
                f"trials={self.trials} has {len(self.trials)} entries; give one a worker, "
                f"{num_workers}"
            )
        one_or_each("allotted", self.allotted, num_workers)
        one_or_each("success", self.success, num_workers)

    @lenient
    def weight(self, delay: Array, num_workers: int) -> ArrayLike:
        return self.batch / jnp.sum(jnp.asarray(self.trials) * jnp.asarray(self.success))

    def start(self, event: Arrived) -> Array:
        more = jnp.asarray(self.trials) > jnp.where(event.updated, 0, event.made)
        return more & (event.arrived | event.updated)


def _at_most(batch: Any, num_workers: int) -> None:
    if batch > num_workers:
        raise ValueError(f"batch={batch} exceeds the {num_workers} workers; give fewer")
