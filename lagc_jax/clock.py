"""What an iteration takes, given which groups work: sampled and exact. It knows no loss.

`clock_of` alone decides how times are drawn and whether their moments are known. A clock along a
path is a `Times`, from which any stretch of any realisation can be drawn.
"""

from typing import Any, ClassVar, Protocol, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import concrete
from lagc_jax._pytree import pytree
from lagc_jax.cluster import Cluster
from lagc_jax.costs import accumulate
from lagc_jax.delays.base import Delays, Scaled, TimeSource, check_source
from lagc_jax.law import unequal
from lagc_jax.law.identical import iteration_mean, iteration_variance
from lagc_jax.law.inverse import make_inverse
from lagc_jax.schemes.base import Scheme
from lagc_jax.times import DirectTimes, Times, WorkerTimes, part_of_path

SAMPLERS = ("direct", "workers")


class Clock(Protocol):
    """What the iterations of a scheme take; made by `clock_of`.

    Attributes:
        scheme: sizes, trigger and decoding.
        delays: distribution of the computing times.
        cluster: start-up, messages and timeout; None for the paper's.
        sees: what it needs of a path: "counts", the numbers of working groups, or "groups", those
            that upload.
    """

    scheme: Scheme
    delays: TimeSource
    cluster: Cluster | None
    sees: ClassVar[str]

    @property
    def shared(self) -> bool:
        """Whether all realisations share one path and one number of messages.

        They do unless a group may be given up, or the decoding depends on who arrives.
        """
        patient = self.cluster is None or self.cluster.timeout is None
        return patient and self.scheme.decoder.anonymous

    @property
    def exact(self) -> bool:
        """Whether mean and variance are known without sampling."""
        return self._unknown() is None

    def mean(self, working: ArrayLike) -> Array:
        """Exact mean times of iterations (K,) in which some groups work, bool (K, G).

        `inf`, with a RuntimeWarning, where it is infinite.

        Raises:
            ValueError: where it is not known.
        """
        mean = self._moment(working, 1)
        overhead = _overhead(self.scheme, self.cluster)
        if overhead is None:
            return mean
        return mean + jnp.where(jnp.any(working, axis=-1), jnp.asarray(overhead, mean.dtype), 0)

    def variance(self, working: ArrayLike) -> Array:
        """Exact variances (K,), as `mean`."""
        return self._moment(working, 2)

    def along(self, selected: Array) -> Times:
        """Times along a path whose groups that upload are `selected`, bool (K, G)."""
        part = part_of_path(self.scheme, selected, self.sees, self.delays.dtype)
        return self.times(part, selected.shape[0])

    def times(self, part: Any, num_iterations: int) -> Times:
        """Times along a path of K iterations whose `part_of_path` is known."""
        ...

    def _unknown(self) -> str | None:
        """Why there are no exact moments, and what to do."""
        sample = "sample with simulate or simulate_batch"
        if not hasattr(self.delays, "hazard"):
            kind = type(self.delays).__name__
            return f"delays of type {kind} have no exact moments; {sample}"
        if self.cluster is not None and self.cluster.overhead(self.scheme) is None:
            return (
                f"cluster={self.cluster} adds no constant to every answer, so exact moments do not "
                f"apply; {sample}"
            )
        try:
            self.scheme.num_waited  # noqa: B018
        except ValueError as error:
            return str(error)
        return None

    def _moment(self, working: ArrayLike, order: int) -> Array:
        """Mean (1) or variance (2) of the computing; what a cluster adds is left out.

        For identical delays it is looked up by the number of working groups, otherwise integrated
        once for every set of working groups that occurs.
        """
        if why := self._unknown():
            raise ValueError(why)
        delays, n, r = order_law(self.scheme, cast(Delays, self.delays))
        working = jnp.asarray(working, bool)
        if delays.identical:
            moment = {1: iteration_mean, 2: iteration_variance}[order]
            sizes = np.arange(max(16, 2 ** self.scheme.num_groups.bit_length()))  # few programs
            return moment(delays, n, r, sizes)[working.sum(-1)]
        unequal.warn_if_infinite(delays, self.scheme.num_workers, working, r, order)
        known = concrete(working)
        if known is None:
            return unequal.moments(delays, working, n, r)[order - 1]
        rows, row = np.unique(known, axis=0, return_inverse=True)
        # Filled up to a power of two, so that few numbers of rows are compiled.
        rows = np.pad(rows, ((0, 2 ** (len(rows) - 1).bit_length() - len(rows)), (0, 0)))
        return unequal.moments(delays, rows, n, r)[order - 1][row.ravel()]


@pytree()
class DirectClock(Clock):
    """One uniform an iteration: identical delays, whoever answers, one constant for messages."""

    scheme: Scheme
    delays: TimeSource
    cluster: Cluster | None = None

    sees: ClassVar[str] = "counts"

    def times(self, part: Array, num_iterations: int) -> DirectTimes:
        delays, n, r = order_law(self.scheme, cast(Delays, self.delays))
        inverse = make_inverse(n, r, delays.dtype)
        overhead = _overhead(self.scheme, self.cluster)
        return DirectTimes(inverse, delays, part, num_iterations, overhead)


@pytree()
class WorkerClock(Clock):
    """One draw a worker and iteration, for everything else."""

    scheme: Scheme
    delays: TimeSource
    cluster: Cluster | None = None

    sees: ClassVar[str] = "groups"

    def times(self, part: Array, num_iterations: int) -> WorkerTimes:
        return WorkerTimes(self.scheme, self.delays, part, num_iterations, self.cluster)


def clock_of(
    scheme: Scheme,
    delays: TimeSource,
    cluster: Cluster | None = None,
    sampler: str | None = None,
) -> Clock:
    """Choose how the times of a scheme are drawn.

    Args:
        scheme: sizes, trigger and decoding.
        delays: distribution of the computing times, parameters () or (M,).
        cluster: start-up, messages and timeout; None for the paper's.
        sampler: "direct" draws one iteration's time from its law, "workers" draws every worker's;
            None is "direct" where that is exact: for identical delays in a cluster that adds one
            constant to every answer, and a decoding that does not depend on who arrives.

    Raises:
        ValueError: for delays that are no source of times, parameters of a shape other than () or
            (M,), an unknown sampler, direct sampling where it is not exact, or a link that disturbs
            the order of arrival that the decoding asks for.

    >>> from lagc_jax import Exponential, gd
    >>> clock = clock_of(gd(2), Exponential(1.0))
    >>> clock.exact, [f"{mean:.2f}" for mean in clock.mean([[True, True]])]
    (True, ['1.50'])
    """
    check_source(delays)
    draws = 1
    if cluster is not None:
        cluster.check(scheme.num_workers)
        draws = cluster.draws(scheme)
    delays.check(scheme.num_workers, draws)
    if not scheme.decoder.exact:
        check_order(f"decoding={type(scheme.decoding).__name__}", cluster)
    if sampler not in (None, *SAMPLERS):
        raise ValueError(f"sampler={sampler!r} is unknown; give one of {SAMPLERS} or None")
    why = _not_direct(scheme, delays, cluster)
    if sampler == "direct" and why is not None:
        raise ValueError(f"sampler='direct' {why}; give sampler='workers'")
    if sampler == "workers" or why is not None:
        return WorkerClock(scheme, delays, cluster)
    return DirectClock(scheme, delays, cluster)


def _not_direct(scheme: Scheme, delays: TimeSource, cluster: Cluster | None) -> str | None:
    """Why an iteration's time cannot be drawn from one uniform."""
    if not delays.identical:
        return "needs identical delays"
    if cluster is not None and cluster.overhead(scheme) is None:
        return (
            f"needs a cluster that adds one constant to every answer, but cluster={cluster} does "
            f"not"
        )
    if not scheme.decoder.anonymous:
        return f"does not say who arrives, as decoding={type(scheme.decoding).__name__} needs"
    return None


def check_order(name: str, cluster: Cluster | None) -> None:
    """Raise ValueError where who arrives first depends on who else uploads."""
    if cluster is not None and cluster.link is not None and not cluster.link.uniform:
        raise ValueError(
            f"{name} needs messages that arrive in the order of computing; give a link that is not "
            f"shared, with latency and bandwidth of shape ()"
        )


def _overhead(scheme: Scheme, cluster: Cluster | None) -> ArrayLike | None:
    return None if cluster is None else cluster.overhead(scheme)


def order_law(scheme: Scheme, delays: Delays) -> tuple[Delays, int, int]:
    """Delays, `n` and `r` under which a group's time is `r` times the `n - r + 1`-th smallest.

    That is what `law` computes. Where a worker's load is not
    `n - F + 1`, the delays are scaled to make up for it.
    """
    n = scheme.group_size
    r = n - scheme.num_waited + 1
    return delays if scheme.load == r else Scaled(delays, scheme.load / r), n, r


def expected_wall_clock(
    scheme: Scheme, delays: Delays, selected: ArrayLike, cluster: Cluster | None = None
) -> Array:
    """Exact mean of the cumulative wall-clock time along a path, without sampling.

    Args:
        scheme: sizes and trigger.
        delays: distribution of the computing times, parameters () or (M,).
        selected: groups that upload in every iteration, bool (K, G).
        cluster: start-up and messages, as long as they add one constant to every answer.

    Returns:
        (K+1,) means in the unit of the delays; `inf` from the first iteration whose mean is
        infinite, with a RuntimeWarning that names `r * shape`, or for worker-dependent delays the
        sum of tail indices that takes its place, if that is known.

    Raises:
        ValueError: if `selected` is not (K, G), parameters have another shape, or for a cluster in
            which no exact mean is known (worker-dependent or shared parts, independent partitions,
            messages with the worker trigger, a timeout) or a decoding that does not wait for a
            fixed number of messages.

    >>> from lagc_jax import Exponential, grouping
    >>> clock = expected_wall_clock(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{mean:.4f}" for mean in clock]
    ['0.0000', '1.5000']
    """
    working = _working(scheme, selected)
    return accumulate(clock_of(scheme, delays, cluster).mean(working))


def wall_clock_variance(
    scheme: Scheme, delays: Delays, selected: ArrayLike, cluster: Cluster | None = None
) -> Array:
    """Exact variance of the cumulative wall-clock time along a path, (K+1,).

    Iterations are independent, so their variances add up. Arguments and errors as for
    `expected_wall_clock`; `inf` unless `r * tail_index > 2`.

    >>> from lagc_jax import Exponential, grouping
    >>> variance = wall_clock_variance(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{v:.4f}" for v in variance]
    ['0.0000', '1.2500']
    """
    working = _working(scheme, selected)
    return accumulate(clock_of(scheme, delays, cluster).variance(working))


def _working(scheme: Scheme, selected: ArrayLike) -> Array:
    """Working groups (K, G) of selected ones; raise ValueError for another shape."""
    selected = jnp.asarray(selected, bool)
    if selected.ndim != 2 or selected.shape[1] != scheme.num_groups:
        raise ValueError(
            f"selected has shape {selected.shape}; give (K, {scheme.num_groups}), one column a "
            f"group of the scheme"
        )
    return scheme.working(selected)
