"""Constructors of the schemes that papers compare, each a point of `Scheme`."""

import numpy as np
import optax
from jax.typing import ArrayLike

from lagc_jax._checks import whole_number
from lagc_jax._keys import make_key
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.codes import (
    GradientCode,
    balanced_assignment,
    cyclic_repetition,
    fractional_repetition,
)
from lagc_jax.schemes.decoding import FirstDecodable, LeastSquares, Rescaled
from lagc_jax.schemes.rules import Laq, Rule


def gd(num_workers: int) -> Scheme:
    """Distributed gradient descent: no redundancy, waits for all workers (the baseline of LAGC)."""
    return Scheme(num_workers, num_workers, 1)


def gc(num_workers: int, redundancy: int) -> Scheme:
    """Gradient coding: waits for the fastest `M - r + 1` workers (GC, section 3)."""
    return Scheme(num_workers, 1, redundancy)


def grouping(num_workers: int, num_groups: int) -> Scheme:
    """Worker grouping: waits for the fastest worker of every group (LAGC)."""
    return Scheme(num_workers, num_groups, _whole_group(num_workers, num_groups))


def lag(
    num_workers: int, xi: ArrayLike = 1.0, memory: int = 10, trigger: str | Rule = "server"
) -> Scheme:
    """Lazily aggregated gradients, one worker a group (LAG, eq. 15)."""
    return Scheme(num_workers, num_workers, 1, xi, memory, trigger)


def lagc(
    num_workers: int,
    num_groups: int,
    redundancy: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Lazily aggregated gradient coding: groups, coding and selection (LAGC)."""
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger)


def g_lag(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Grouped LAG: the fastest worker of every selected group (LAGC)."""
    redundancy = _whole_group(num_workers, num_groups)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger)


def first_decodable(num_workers: int, redundancy: int, code: GradientCode | None = None) -> Scheme:
    """Gradient coding whose server stops at the first set of workers that decodes.

    Args:
        num_workers: `M`.
        redundancy: `r`.
        code: the gradient code; by default fractional repetition where `r` divides `M`, otherwise
            cyclic repetition, of which some sets decode before the `F`-th worker.

    >>> first_decodable(12, 3).decoding.code.redundancy
    3
    """
    if code is None:
        fractional = _divides(num_workers, redundancy)
        code = (fractional_repetition if fractional else cyclic_repetition)(num_workers, redundancy)
    return Scheme(num_workers, 1, redundancy, decoding=FirstDecodable(code))


def fastest_k(num_workers: int, num_waited: int) -> Scheme:
    """Gradient descent that ignores stragglers: `M/k` times the sum of the `k` fastest gradients.

    With `k = M` it is `gd`, bit for bit on the same times. (Chen, Pan, Monga, Bengio and
    Jozefowicz, "Revisiting Distributed Synchronous SGD", 2016, arXiv 1604.00981: `M - k` of the
    workers are back-up workers.)

    >>> fastest_k(12, num_waited=9).num_waited
    9
    """
    workers = whole_number("num_workers", num_workers)
    return Scheme(workers, 1, 1, decoding=Rescaled(np.eye(workers), num_waited))


def stochastic_gc(
    num_workers: int, redundancy: int, num_waited: int, assignment: ArrayLike | None = None
) -> Scheme:
    """Stochastic gradient coding: the scaled sum of the `k` fastest workers, unbiased.

    Args:
        num_workers: `M`.
        redundancy: `r`, most partitions of a worker; all are charged as many.
        num_waited: `k`.
        assignment: (M, M), 1 where a worker (row) holds a partition (column); by default a
            `balanced_assignment` with a fixed key.

    >>> stochastic_gc(12, redundancy=2, num_waited=9).num_waited
    9
    """
    if assignment is None:
        assignment = balanced_assignment(make_key(0), num_workers, redundancy)
    return Scheme(num_workers, 1, redundancy, decoding=Rescaled(assignment, num_waited))


def approximate_gc(
    num_workers: int,
    redundancy: int,
    num_waited: int | None = None,
    deadline: ArrayLike | None = None,
    encoding: ArrayLike | None = None,
) -> Scheme:
    """Approximate gradient coding: least squares from the `k` fastest, or from all by a deadline.

    Args:
        num_workers: `M`.
        redundancy: `r`, most partitions of a worker; all are charged as many.
        num_waited: `k`.
        deadline: time, (); give exactly one of the two.
        encoding: `B`, (M, M), a row a worker. By default rows of ones, whose partial sums are near
            the gradient where those of an exact code need not be: fractional repetition where `r`
            divides `M`, of which Charles et al. (arXiv 1711.06771) show that random stragglers harm
            it least, otherwise a `balanced_assignment` with a fixed key.

    >>> approximate_gc(12, redundancy=3, num_waited=6).num_waited
    6
    """
    if encoding is None:
        if _divides(num_workers, redundancy):
            encoding = fractional_repetition(num_workers, redundancy).encoding
        else:
            encoding = balanced_assignment(make_key(0), num_workers, redundancy)
    decoding = LeastSquares(encoding, num_waited, deadline)
    return Scheme(num_workers, 1, redundancy, decoding=decoding)


def lasg(
    num_workers: int, xi: ArrayLike, memory: int = 10, trigger: str | Rule = "lasg-worker"
) -> Scheme:
    """Lazily aggregated stochastic gradients, for problems with minibatches (LASG).

    Args:
        num_workers: `M`.
        xi: weights of the squared steps, `c/D` in LASG. They are weighed against squared changes of
            gradients as they are, so the right size depends on the scale of the loss.
        memory: `D`, also the longest silence of a worker.
        trigger: "lasg-worker" (rule WK2) or "lasg-server".

    >>> lasg(4, xi=0.1).load
    2
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, trigger)


def cada(
    num_workers: int, xi: ArrayLike, memory: int = 10, trigger: str | Rule = "cada2"
) -> Scheme:
    """Communication-adaptive distributed Adam: LASG's workers, AMSGrad at the server (CADA).

    Args:
        num_workers: `M`.
        xi: as for `lasg`.
        memory: `D`, also the longest silence of a worker and the life of a snapshot.
        trigger: "cada2" (two points, the same samples) or "cada1" (against a snapshot).

    >>> cada(4, xi=0.1, trigger="cada1").num_groups
    4
    """
    return g_cada(num_workers, num_workers, xi, memory, trigger)


def g_cada(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike,
    memory: int = 10,
    trigger: str | Rule = "lasg-server",
) -> Scheme:
    """Grouped CADA: the server selects groups and waits for the fastest worker of each.

    The workers of a group hold the same data; a selected group costs `n` messages down and one up
    (Zhu, Zhang, Simeone and Wang, "Adaptive Worker Grouping for Communication-Efficient and
    Straggler-Tolerant Distributed SGD", 2022, arXiv 2201.04301).

    Args:
        num_workers: `M`.
        num_groups: `G`, a divisor of `M`.
        xi: as for `lasg`.
        memory: as for `cada`.
        trigger: "lasg-server", the paper's, or a rule of `cada`, with which all groups work.

    >>> g_cada(12, 4, xi=0.1).num_waited
    1
    """
    redundancy = _whole_group(num_workers, num_groups)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, trigger, optax.amsgrad)


def laq(num_workers: int, bits: int = 4, xi: ArrayLike = 0.08, memory: int = 10) -> Scheme:
    """Lazily aggregated quantised gradients, one worker a group (LAQ; its defaults).

    Args:
        num_workers: `M`.
        bits: `b`, of a coordinate of a message.
        xi: as for `lag`.
        memory: `D`, also the longest silence of a worker.

    >>> laq(4, bits=3).rule.message_bits(num_parameters=10)
    62
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, Laq(bits))


def _divides(num_workers: int, redundancy: int) -> bool:
    """Whether workers fall into blocks of `r`, as fractional repetition needs."""
    return whole_number("num_workers", num_workers) % whole_number("redundancy", redundancy) == 0


def _whole_group(num_workers: int, num_groups: int) -> int:
    """Redundancy `r = n` of plain replication in a group."""
    workers = whole_number("num_workers", num_workers)
    return max(workers // whole_number("num_groups", num_groups), 1)
