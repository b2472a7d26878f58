"""Constructors of schemes with other codes: unequal loads, short messages, random assignments.

Everywhere `num_workers` is `M`, all in one group.
"""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from lagc_jax._checks import whole_number
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.coded_decoding import Coded
from lagc_jax.schemes.decoding import LeastSquares
from lagc_jax.schemes.graphs import bernoulli_assignment, regular_graph_assignment
from lagc_jax.schemes.short_codes import short_code
from lagc_jax.schemes.unequal_codes import heterogeneous_code, proportional_loads


def heterogeneous_gc(num_workers: int, speeds: Sequence[float], num_stragglers: int) -> Scheme:
    """Heterogeneity-aware gradient coding: loads in proportion to speeds (M,), `M - s` waited for.

    A delay is the time for one gradient, so workers of the given speeds have delays in inverse
    proportion to them. Of a worker that holds more partitions a gradient each is charged. (Wang et
    al. 2019, arXiv 1901.09339; see `unequal_codes`.)

    >>> heterogeneous_gc(3, speeds=(1.0, 1.0, 2.0), num_stragglers=1).loads
    (2, 1, 3)
    """
    if len(speeds) != whole_number("num_workers", num_workers):
        raise ValueError(f"speeds has {len(speeds)} entries; give num_workers={num_workers}")
    given = np.asarray(speeds)
    loads = proportional_loads(given, num_stragglers)
    decoding = Coded(heterogeneous_code(given, num_stragglers))
    return Scheme(num_workers, 1, max(loads), decoding=decoding, fixed_load=loads)


def short_gc(num_workers: int, redundancy: int, pieces: int) -> Scheme:
    """Communication-efficient gradient coding: messages of `d/m` numbers, `M - r + m` waited for.

    (Ye and Abbe 2018, arXiv 1802.03475; see `short_codes`.) With one piece it is `gc`.

    >>> short_gc(6, redundancy=3, pieces=2).num_waited
    5
    """
    code = short_code(num_workers, redundancy, pieces)
    return Scheme(num_workers, 1, redundancy, decoding=Coded(code))


def regular_graph_gc(
    num_workers: int,
    redundancy: int,
    num_waited: int | None = None,
    deadline: ArrayLike | None = None,
    seed: int = 0,
) -> Scheme:
    """Approximate gradient coding on a random regular graph, decoded optimally.

    (Glasgow and Wootters 2021, arXiv 2006.09638; see `graphs`.) Give either `num_waited`, which is
    `k`, or `deadline`, as for `approximate_gc`.

    >>> regular_graph_gc(12, redundancy=4, num_waited=9).load
    4
    """
    assignment = regular_graph_assignment(num_workers, redundancy, seed)
    return Scheme(
        num_workers, 1, redundancy, decoding=LeastSquares(assignment, num_waited, deadline)
    )


def bernoulli_gc(
    num_workers: int,
    redundancy: int,
    num_waited: int | None = None,
    deadline: ArrayLike | None = None,
    seed: int = 0,
) -> Scheme:
    """Bernoulli gradient coding: random loads of mean `r`, decoded by least squares.

    (Charles et al. 2017, arXiv 1711.06771; see `graphs`.) Every worker is charged what it holds;
    the redundancy of the scheme is the most of any. The rest is that of `regular_graph_gc`.

    >>> sum(bernoulli_gc(12, redundancy=3, num_waited=9).loads) / 12
    2.75
    """
    assignment = bernoulli_assignment(num_workers, redundancy, seed)
    loads = tuple(int(load) for load in assignment.sum(1))
    decoding = LeastSquares(assignment, num_waited, deadline)
    return Scheme(num_workers, 1, int(np.max(loads)), decoding=decoding, fixed_load=loads)
