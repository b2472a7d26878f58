"""What an iteration takes, given which groups work: sampled and exact. It knows no loss.

`clock_of` alone decides how times are drawn and whether their moments are known. A clock along a
path is a `Times`, from which any stretch of any realisation can be drawn.
"""

from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import concrete
from lagc_jax._pytree import pytree
from lagc_jax.cluster import Cluster
from lagc_jax.delays.base import Delays, TimeSource
from lagc_jax.delays.contract import as_source, check_draws
from lagc_jax.delays.drawn import law_of, tabulated
from lagc_jax.delays.scaled import Scaled
from lagc_jax.doors import check_ends, warn_if_gone
from lagc_jax.law import unequal
from lagc_jax.law.identical import iteration_mean, iteration_variance
from lagc_jax.law.inverse import make_inverse
from lagc_jax.schemes.base import Scheme
from lagc_jax.times import DirectTimes, Times, WorkerTimes, part_of_path

SAMPLERS = ("direct", "workers")


@pytree("direct")
class Clock:
    """What the iterations of a scheme take; made by `clock_of`.

    Attributes:
        scheme: sizes, trigger and decoding.
        delays: distribution of the computing times, as they are drawn.
        cluster: start-up, messages and timeout; None for the paper's.
        direct: whether an iteration's time is drawn from its law, with one uniform, not worker by
            worker; static.
    """

    scheme: Scheme
    delays: TimeSource
    cluster: Cluster | None
    direct: bool

    @property
    def sees(self) -> str:
        """What it needs of a path, for `part_of_path`."""
        return "counts" if self.direct else "groups"

    @property
    def shared(self) -> bool:
        """Whether all realisations share one path and one number of messages.

        They do unless a group may be given up, or the decoding depends on who arrives.
        """
        patient = self.cluster is None or self.cluster.timeout is None
        return patient and self.scheme.decoder.anonymous

    @property
    def identical(self) -> bool:
        """Whether all workers' times with their loads follow one law."""
        return self.delays.identical and len(set(self.scheme.loads)) == 1

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
        if self._overhead is None:
            return mean
        overhead = jnp.asarray(self._overhead, mean.dtype)
        return mean + jnp.where(jnp.any(working, axis=-1), overhead, 0)

    def variance(self, working: ArrayLike) -> Array:
        """Exact variances (K,), as `mean`."""
        return self._moment(working, 2)

    def along(self, selected: Array) -> Times:
        """Times along a path whose groups that upload are `selected`, bool (K, G)."""
        part = part_of_path(self.scheme, selected, self.sees, self.delays.dtype)
        return self.times(part, selected.shape[0])

    def times(self, part: Any, num_iterations: int) -> Times:
        """Times along a path of K iterations whose `part_of_path` is known."""
        if not self.direct:
            return WorkerTimes(self.scheme, self.delays, part, num_iterations, self.cluster)
        delays, n, r = order_law(self.scheme, cast(Delays, self.delays))
        inverse = make_inverse(n, r, delays.dtype)
        return DirectTimes(inverse, delays, part, num_iterations, self._overhead)

    @property
    def _overhead(self) -> ArrayLike | None:
        return None if self.cluster is None else self.cluster.overhead(self.scheme)

    def _unknown(self) -> str | None:
        """Why there are no exact moments, and what to do."""
        sample = "sample with simulate or simulate_batch"
        if not hasattr(self.delays, "hazard"):
            kind = type(self.delays).__name__
            return f"delays of type {kind} have no exact moments; {sample}"
        if self.cluster is not None and self._overhead is None:
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
        delays, n, r = order_law(self.scheme, law_of(cast(Delays, self.delays)))
        known = concrete(working)
        working = jnp.asarray(working, bool) if known is None else known.astype(bool)
        if self.identical:
            moment = {1: iteration_mean, 2: iteration_variance}[order]
            # A size that schemes share, for it decides which programs are compiled.
            counts = np.arange(max(16, 2 ** self.scheme.num_groups.bit_length()))
            table = moment(delays, n, r, counts)
            if known is None or (values := concrete(table)) is None:
                return table[working.sum(-1)]
            return jnp.asarray(values[working.sum(-1)])  # NumPy's indexing compiles nothing
        unequal.warn_if_infinite(delays, self.scheme.num_workers, working, r, order)
        if known is None:
            return unequal.moments(delays, working, n, r)[order - 1]
        rows, row = np.unique(working, axis=0, return_inverse=True)
        # Filled up to a power of two, so that few numbers of rows are compiled.
        rows = np.pad(rows, ((0, 2 ** (len(rows) - 1).bit_length() - len(rows)), (0, 0)))
        return unequal.moments(delays, rows, n, r)[order - 1][row.ravel()]


def clock_of(
    scheme: Scheme,
    delays: TimeSource,
    cluster: Cluster | None = None,
    sampler: str | None = None,
    num_parameters: int | None = None,
) -> Clock:
    """Choose how the times of a scheme are drawn.

    Args:
        scheme: sizes, trigger and decoding.
        delays: distribution of the computing times, parameters () or (M,); a frozen one of scipy's
            is tabulated.
        cluster: start-up, messages and timeout; None for the paper's.
        sampler: "direct" draws one iteration's time from its law, "workers" draws every worker's;
            None is "direct" where that is exact: for identical delays in a cluster that adds one
            constant to every answer, and a decoding that does not depend on who arrives.
        num_parameters: `d`, where a link has to know how long the scheme's messages are.

    Raises:
        ValueError: for delays that are no source of times, parameters of a shape other than () or
            (M,), an unknown sampler, direct sampling where it is not exact, or a link that disturbs
            the order of arrival that the decoding asks for.

    >>> from lagc_jax import Exponential, gd
    >>> clock = clock_of(gd(2), Exponential(1.0))
    >>> clock.exact, [f"{mean:.2f}" for mean in clock.mean([[True, True]])]
    (True, ['1.50'])
    """
    delays = tabulated(as_source(delays))
    draws = 1
    if not isinstance(cluster, Cluster | None):
        raise ValueError(f"cluster={cluster!r} is no Cluster; give lagc_jax.Cluster(..) or None")
    if cluster is not None:
        cluster.check(scheme.num_workers)
        cluster = cluster.sized(scheme, num_parameters)
        draws = cluster.draws(scheme)
    delays.check(scheme.num_workers, draws)
    check_draws(delays, scheme.num_workers)
    if not scheme.decoder.exact or scheme.decoder.tasks > 1:
        check_order(f"decoding={type(scheme.decoding).__name__}", cluster)
    check_ends(scheme, cluster)
    warn_if_gone(scheme, delays)
    if sampler not in (None, *SAMPLERS):
        raise ValueError(f"sampler={sampler!r} is unknown; give one of {SAMPLERS} or None")
    why = _not_direct(scheme, delays, cluster)
    if sampler == "direct" and why is not None:
        raise ValueError(f"sampler='direct' {why}; give sampler='workers'")
    return Clock(scheme, delays, cluster, direct=sampler != "workers" and why is None)


def _not_direct(scheme: Scheme, delays: TimeSource, cluster: Cluster | None) -> str | None:
    """Why an iteration's time cannot be drawn from one uniform."""
    if not delays.identical:
        return "needs identical delays"
    if len(set(scheme.loads)) > 1:
        return "needs equal loads"
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
    if cluster is not None and cluster.link is not None and cluster.link.shared:
        raise ValueError(
            f"{name} needs messages that arrive whoever else sends one; give a link that is not "
            f"shared"
        )


def order_law(scheme: Scheme, delays: Delays) -> tuple[Delays, int, int]:
    """Delays, `n` and `r` under which a group's time is `r` times the `n - r + 1`-th smallest.

    That is what `law` computes. Where a worker's load is not `n - F + 1`, the delays are scaled to
    make up for it.
    """
    n = scheme.group_size
    r = n - scheme.num_waited + 1
    if len(set(scheme.loads)) > 1:
        return Scaled(delays, np.tile(scheme.loads, scheme.num_groups) / r), n, r
    return delays if scheme.load == r else Scaled(delays, scheme.load / r), n, r
