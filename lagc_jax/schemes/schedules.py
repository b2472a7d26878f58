"""Workers that send every gradient as it is done, in an order of their own.

A to-do matrix says which partitions a worker computes, one after another; the server waits for `k`
distinct partitions. (Mohammadi Amiri and Gunduz, "Computation Scheduling for Distributed Machine
Learning with Straggling Workers", IEEE Trans. Signal Processing 67(24), 2019, arXiv 1810.09992.
With `k = M` it is the uncoded multi-message communication of Ozfatura, Ulukus and Gunduz,
"Straggler-Aware Distributed Learning: Communication-Computation Latency Trade-Off", Entropy 22(5),
2020, arXiv 2004.04948. Of both papers the abstracts were at hand, neither text nor code. The two
orders are checked on an example of four workers by others who cite the first; that a partition
which is in is sent again and counted, and the scale `M/k`, are ours.)
"""

from collections.abc import Sequence

import numpy as np
from jax import Array

from lagc_jax._checks import whole_number
from lagc_jax._modes import lenient
from lagc_jax._pytree import pytree
from lagc_jax._sorting import arrived, first
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.decoding import Decoding


@pytree("schedule", "num_waited")
class Scheduled(Decoding):
    """The server waits for `k` distinct partitions of workers that send one after another.

    It takes `n/k` times the sum of their gradients. A message counts where it arrives until then,
    also of a partition that is in already. Workers are charged their whole loads, as everywhere.

    Args:
        schedule: (n, r) the partitions of a group, from 0, that its workers compute, in order;
            static.
        num_waited: `k`, distinct partitions that the server waits for; static.

    Raises:
        ValueError: for a schedule in which a worker has a partition twice or a partition has no
            worker, or another `k`.

    >>> import jax.numpy as jnp
    >>> decoding = Scheduled([[0, 1], [1, 0]], num_waited=2)
    >>> known, taken = decoding.wait(jnp.array([1.0, 2.0, 5.0, 10.0]))
    >>> float(known), taken.tolist()
    (2.0, [True, True, False, False])
    """

    schedule: Sequence[Sequence[int]]
    num_waited: int

    def __post_init__(self) -> None:
        given = np.asarray(self.schedule)
        n = len(given)
        if given.ndim != 2 or not given.size or given.dtype.kind not in "iu":
            raise ValueError(
                f"schedule={self.schedule} is no matrix (n, r) of whole numbers; give a row a "
                f"worker, the partitions in its order"
            )
        if given.min() < 0 or given.max() >= n or set(given.ravel().tolist()) != set(range(n)):
            raise ValueError(
                f"schedule={self.schedule} has not the partitions 0 to {n - 1}; give every one to "
                f"a worker"
            )
        if any(len(set(row)) < len(row) for row in given.tolist()):
            raise ValueError(
                f"schedule={self.schedule} has a partition twice in a row; give it once"
            )
        object.__setattr__(self, "schedule", tuple(map(tuple, given.tolist())))
        if whole_number("num_waited", self.num_waited) > n:
            raise ValueError(f"num_waited={self.num_waited} exceeds the {n} partitions; give fewer")

    @property
    def exact(self) -> bool:
        return self.num_waited == len(self.schedule)

    @property
    def fastest(self) -> int | None:
        return self.num_waited if self.tasks == 1 else None

    @property
    def tasks(self) -> int:
        return len(self.schedule[0])

    def check(self, group_size: int, redundancy: int) -> None:
        shape = (len(self.schedule), self.tasks)
        if shape != (group_size, redundancy):
            raise ValueError(
                f"decoding.schedule has shape {shape}; give ({group_size}, {redundancy}), the "
                f"scheme's group size and redundancy"
            )

    @property
    def _copies(self) -> np.ndarray:
        """Messages that hold a partition, (n, copies), those of few copies repeated."""
        flat = np.ravel(self.schedule)
        where = [np.flatnonzero(flat == partition) for partition in range(len(self.schedule))]
        most = max(map(len, where))
        return np.stack([np.resize(places, most) for places in where])

    def wait(self, arrival: Array) -> tuple[Array, Array]:
        known, inside = first(arrival[..., self._copies].min(-1), self.num_waited)
        return known, inside[..., np.ravel(self.schedule)] & arrived(arrival, known)

    @lenient
    def weights(self, taken: Array) -> Array:
        inside = taken[..., self._copies].any(-1)
        return len(self.schedule) / self.num_waited * inside.astype(float)


def cyclic_schedule(num_workers: int, redundancy: int, num_waited: int | None = None) -> Scheme:
    """Worker `i` computes and sends partitions `i, i+1, .., i+r-1 (mod M)`; see `Scheduled`.

    Args:
        num_workers: `M`.
        redundancy: `r`, gradients of a worker.
        num_waited: `k`, distinct ones that the server waits for; all `M` by default, which is
            exact. With `r = 1` it is `fastest_k`, bit for bit on the same times.

    >>> cyclic_schedule(4, redundancy=2).decoding.schedule
    ((0, 1), (1, 2), (2, 3), (3, 0))
    """
    return _scheduled(num_workers, redundancy, num_waited, turns=(1, 1))


def staircase_schedule(num_workers: int, redundancy: int, num_waited: int | None = None) -> Scheme:
    """As `cyclic_schedule`, but every other worker goes down: `i, i-1, .., i-r+1 (mod M)`.

    Neighbours then meet from both sides: of two copies of a partition one is early in its order.

    >>> staircase_schedule(4, redundancy=2).decoding.schedule
    ((0, 1), (1, 0), (2, 3), (3, 2))
    """
    return _scheduled(num_workers, redundancy, num_waited, turns=(1, -1))


def _scheduled(M: int, r: int, k: int | None, turns: tuple[int, int]) -> Scheme:
    workers = np.arange(whole_number("num_workers", M))[:, None]
    if whole_number("redundancy", r) > M:
        raise ValueError(f"redundancy={r} exceeds the {M} partitions; give fewer")
    schedule = (workers + np.asarray(turns)[workers % 2] * np.arange(r)) % M
    return Scheme(M, 1, r, decoding=Scheduled(schedule.tolist(), M if k is None else k))
