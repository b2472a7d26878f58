"""Constructors of the schemes that papers compare, each a point of `Scheme`.

Everywhere `num_workers` is `M`, `num_groups` is `G`, a divisor of `M`, and `redundancy` is `r`, the
partitions that a worker stores, from 1 to `M/G`; other sizes are a ValueError. The arguments `xi`,
`memory` and `trigger` are those of `lag`.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import whole_number
from lagc_jax._keys import make_key
from lagc_jax.schemes.adaptive import adaptive_k, dynamic_clusters
from lagc_jax.schemes.anytime import anytime
from lagc_jax.schemes.asynchronous import ASYNCHRONOUS
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.codes import (
    GradientCode,
    balanced_assignment,
    cyclic_repetition,
    fractional_repetition,
)
from lagc_jax.schemes.coding import bernoulli_gc, heterogeneous_gc, regular_graph_gc, short_gc
from lagc_jax.schemes.compressors import UniformGrid
from lagc_jax.schemes.decoding import FirstBlocks, FirstDecodable, LeastSquares, Rescaled
from lagc_jax.schemes.messages import (
    clag,
    compressed_gd,
    diana,
    ef21,
    error_feedback,
    local_sgd,
    marina,
)
from lagc_jax.schemes.multi_message import multi_message_gc
from lagc_jax.schemes.rulebook import Laq, as_rule
from lagc_jax.schemes.rules import Rule
from lagc_jax.schemes.schedules import cyclic_schedule, staircase_schedule
from lagc_jax.schemes.sequential import m_sgc, round_gc, sr_sgc
from lagc_jax.schemes.servers import amsgrad


def gd(num_workers: int) -> Scheme:
    """Distributed gradient descent: no redundancy, waits for all workers (the baseline of LAGC).

    >>> gd(12).num_groups
    12
    """
    return Scheme(num_workers, num_workers, 1)


def gc(num_workers: int, redundancy: int) -> Scheme:
    """Gradient coding: waits for the fastest `M - r + 1` workers (GC, section 3).

    >>> gc(12, redundancy=3).num_waited
    10
    """
    return Scheme(num_workers, 1, redundancy)


def grouping(num_workers: int, num_groups: int) -> Scheme:
    """Worker grouping: waits for the fastest worker of every group (LAGC).

    Every worker stores the `M/G` partitions of its group.

    >>> grouping(12, num_groups=4).redundancy
    3
    """
    return Scheme(num_workers, num_groups, _whole_group(num_workers, num_groups))


def lag(
    num_workers: int, xi: ArrayLike = 1.0, memory: int = 10, trigger: str | Rule = "server"
) -> Scheme:
    """Lazily aggregated gradients, one worker a group (LAG, eq. 15).

    A group uploads unless its gradient changed little since it last did: unless at most
    `sum_d xi_d |theta^(k+1-d) - theta^(k-d)|^2 / (alpha G)^2` is the server's bound of the change,
    `L_g^2 |theta_hat_g - theta^k|^2`, or the change that a worker sees, `|grad_hat_g - grad_g|^2`.

    Args:
        num_workers: `M`.
        xi: weights of the squared steps in the trigger, () or (D,); LAG takes `10/D` with the
            server trigger and `1/D` with the worker trigger.
        memory: `D`, squared steps that the trigger remembers.
        trigger: "server" (LAG-PS), "worker" (LAG-WK) or a `Rule`.

    Raises:
        ValueError: for sizes out of range, a negative or misshapen `xi`, or an unknown trigger.

    >>> lag(12, xi=0.1, trigger="worker").trigger.everyone_works
    True
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, as_rule(trigger))


def lagc(
    num_workers: int,
    num_groups: int,
    redundancy: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Lazily aggregated gradient coding: groups, coding and selection (LAGC).

    With one group and `xi = 0` it is `gc`, with one worker a group `lag`. The worker trigger needs
    `r = M/G`; less is a ValueError.

    >>> lagc(12, num_groups=4, redundancy=2).num_waited
    2
    """
    return Scheme(num_workers, num_groups, redundancy, xi, memory, as_rule(trigger))


def g_lag(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike = 1.0,
    memory: int = 10,
    trigger: str | Rule = "server",
) -> Scheme:
    """Grouped LAG: the fastest worker of every selected group (LAGC).

    Every worker stores the `M/G` partitions of its group.

    >>> g_lag(12, num_groups=4).num_waited
    1
    """
    redundancy = _whole_group(num_workers, num_groups)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, as_rule(trigger))


def first_decodable(num_workers: int, redundancy: int, code: GradientCode | None = None) -> Scheme:
    """Gradient coding whose server stops at the first set of workers that decodes.

    By default the code is fractional repetition where `r` divides `M`, otherwise cyclic repetition,
    of which some sets decode before the `F`-th worker.

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
    return Scheme(workers, 1, 1, decoding=Rescaled(None, num_waited))


@jax.ensure_compile_time_eval()
def _balanced(num_workers: int, redundancy: int) -> Array:
    """A `balanced_assignment` with a fixed key, known also where it is made inside `jit`."""
    return balanced_assignment(make_key(0), whole_number("num_workers", num_workers), redundancy)


def stochastic_gc(
    num_workers: int, redundancy: int, num_waited: int, assignment: ArrayLike | None = None
) -> Scheme:
    """Stochastic gradient coding: the scaled sum of the `k` fastest workers, unbiased.

    All workers are charged `r` partitions, the most of any. The assignment (M, M) holds 1 where a
    worker (row) holds a partition (column); by default a `balanced_assignment` with a fixed key.

    >>> stochastic_gc(12, redundancy=2, num_waited=9).num_waited
    9
    """
    if assignment is None:
        assignment = _balanced(num_workers, redundancy)
    return Scheme(num_workers, 1, redundancy, decoding=Rescaled(assignment, num_waited))


def approximate_gc(
    num_workers: int,
    redundancy: int,
    num_waited: int | None = None,
    deadline: ArrayLike | None = None,
    encoding: ArrayLike | None = None,
) -> Scheme:
    """Approximate gradient coding: least squares from the `k` fastest, or from all by a deadline.

    Give either `num_waited`, which is `k`, or `deadline`, a time (). All workers are charged `r`
    partitions, the most of any. The encoding is `B`, (M, M), a row a worker; by default rows of
    ones, whose partial sums are near the gradient where those of an exact code need not be:
    fractional repetition where `r` divides `M`, to which random stragglers do little harm
    (Charles et al., arXiv 1711.06771), otherwise a `balanced_assignment` with a fixed key.

    >>> approximate_gc(12, redundancy=3, num_waited=6).num_waited
    6
    """
    if encoding is None:
        if _divides(num_workers, redundancy):
            encoding = fractional_repetition(num_workers, redundancy).encoding
        else:
            encoding = _balanced(num_workers, redundancy)
    decoding = LeastSquares(encoding, num_waited, deadline)
    return Scheme(num_workers, 1, redundancy, decoding=decoding)


def erasure_head(num_workers: int, redundancy: int, num_waited: int) -> Scheme:
    """ErasureHead: fractional repetition whose server waits for every block, or `k` workers.

    Blocks of `r` workers hold the same `r` partitions; the server adds up the first answer of every
    block that has answered by then, and does without the others. (Wang, Charles and
    Papailiopoulos, "ErasureHead: Distributed Gradient Descent without Delays Using Approximate
    Gradient Coding", 2019, arXiv 1901.09671.) Without a limit, `k = M`, it takes the time and the
    path of `grouping(M, M/r)`. `r` must divide `M`.

    >>> erasure_head(12, redundancy=3, num_waited=6).load
    3
    """
    return Scheme(num_workers, 1, redundancy, decoding=FirstBlocks(redundancy, num_waited))


def lasg(
    num_workers: int,
    xi: ArrayLike,
    memory: int = 10,
    trigger: str | Rule = "lasg-worker",
    silence: int | None = None,
) -> Scheme:
    """Lazily aggregated stochastic gradients, for problems with minibatches (LASG).

    Its weights `xi`, `c/D` in LASG, weigh squared steps against squared changes of gradients as
    they are, so the right size depends on the scale of the loss. Triggers are "lasg-worker" (rule
    WK2) and "lasg-server". After `silence` iterations without an upload, by default `memory`, a
    worker uploads at the latest; with a rule that knows no silence it is a ValueError.

    >>> lasg(4, xi=0.1, silence=50).load
    2
    """
    rule = _lasting(trigger, silence=silence)
    return Scheme(num_workers, num_workers, 1, xi, memory, rule)


def cada(
    num_workers: int,
    xi: ArrayLike,
    memory: int = 10,
    trigger: str | Rule = "cada2",
    silence: int | None = None,
    snapshot_life: int | None = None,
) -> Scheme:
    """Communication-adaptive distributed Adam: LASG's workers, AMSGrad at the server (CADA).

    The server is `servers.amsgrad`, which does not correct the bias; for one that does give
    `dataclasses.replace(scheme, optimizer=optax.amsgrad)`. Weights and silence are those of `lasg`;
    the authors' code has a memory of 10 and a silence of 50 or 100. The trigger is "cada2" (two
    points, the same samples) or "cada1" (against a snapshot), which renews its snapshot after
    `snapshot_life` iterations, by default `memory`, when everybody uploads; a life with a rule that
    has no snapshot is a ValueError.

    >>> cada(4, xi=0.1, trigger="cada1", snapshot_life=100).num_groups
    4
    """
    return g_cada(num_workers, num_workers, xi, memory, trigger, silence, snapshot_life)


def g_cada(
    num_workers: int,
    num_groups: int,
    xi: ArrayLike,
    memory: int = 10,
    trigger: str | Rule = "lasg-server",
    silence: int | None = None,
    snapshot_life: int | None = None,
    load: int | None = None,
) -> Scheme:
    """Grouped CADA: the server selects groups and waits for the fastest worker of each.

    The workers of a group hold the same data; a selected group costs `n` messages down and one up.
    A worker draws one minibatch of its group's data, of a size that does not grow with the group,
    so that a group costs `n` gradients and the time of one (Zhu, Zhang, Simeone and Wang, "Adaptive
    Worker Grouping for Communication-Efficient and Straggler-Tolerant Distributed SGD", 2022, arXiv
    2201.04301). `minibatch` draws from every partition, so its size here is the worker's over `n`.

    The trigger is "lasg-server", the paper's, or a rule of `cada`, with which all groups work; the
    other arguments are those of `cada`. The load is the gradients that a worker computes for a
    message: by default one minibatch's, two with the rules of `cada`; `n` charges a gradient of
    every partition of the group.

    >>> g_cada(12, 4, xi=0.1).load, g_cada(12, 4, xi=0.1, load=3).load
    (1, 3)
    """
    redundancy = _whole_group(num_workers, num_groups)
    rule = _lasting(trigger, silence=silence, snapshot_life=snapshot_life)
    load = rule.gradients if load is None else whole_number("load", load)
    return Scheme(num_workers, num_groups, redundancy, xi, memory, rule, amsgrad, fixed_load=load)


def laq(
    num_workers: int,
    bits: int = 4,
    xi: ArrayLike = 0.08,
    memory: int = 10,
    silence: int | None = None,
) -> Scheme:
    """Lazily aggregated quantised gradients, one worker a group (LAQ; its defaults).

    A coordinate of a message has `b` bits, from 1 to 32; the silence is that of `lasg`.

    >>> laq(4, bits=3).trigger.message_bits(num_parameters=10)
    62
    """
    return Scheme(num_workers, num_workers, 1, xi, memory, Laq(UniformGrid(bits), silence))


def _lasting(trigger: str | Rule, **spans: int | None) -> Rule:
    """The rule with its constants `silence` and `snapshot_life`, where they are given."""
    rule = as_rule(trigger)
    given = {name: span for name, span in spans.items() if span is not None}
    for name, span in given.items():
        if not hasattr(rule, name):
            raise ValueError(f"{name}={span} is given but trigger={str(rule)!r} has none; leave it")
    return replace(rule, **given) if given else rule  # type: ignore[type-var]


def _divides(num_workers: int, redundancy: int) -> bool:
    """Whether workers fall into blocks of `r`, as fractional repetition needs."""
    return whole_number("num_workers", num_workers) % whole_number("redundancy", redundancy) == 0


def _whole_group(num_workers: int, num_groups: int) -> int:
    """Redundancy `r = n` of plain replication in a group."""
    workers = whole_number("num_workers", num_workers)
    return max(workers // whole_number("num_groups", num_groups), 1)


# Every constructor by the name that files and tables use.
CATALOGUE: dict[str, Callable[..., Scheme]] = {
    "GD": gd,
    "GC": gc,
    "grouping": grouping,
    "LAG": lag,
    "LAGC": lagc,
    "G-LAG": g_lag,
    "LAQ": laq,
    "LASG": lasg,
    "CADA": cada,
    "G-CADA": g_cada,
    "first decodable": first_decodable,
    "fastest-k": fastest_k,
    "stochastic GC": stochastic_gc,
    "approximate GC": approximate_gc,
    "ErasureHead": erasure_head,
    "heterogeneous GC": heterogeneous_gc,
    "short GC": short_gc,
    "regular graph GC": regular_graph_gc,
    "Bernoulli GC": bernoulli_gc,
    "compressed GD": compressed_gd,
    "error feedback": error_feedback,
    "EF21": ef21,
    "CLAG": clag,
    "DIANA": diana,
    "MARINA": marina,
    "local SGD": local_sgd,
    "adaptive k": adaptive_k,
    "dynamic clusters": dynamic_clusters,
    "GC in rounds": round_gc,
    "SR-SGC": sr_sgc,
    "M-SGC": m_sgc,
    "cyclic schedule": cyclic_schedule,
    "staircase schedule": staircase_schedule,
    "multi-message GC": multi_message_gc,
    "anytime minibatch": anytime,
    **ASYNCHRONOUS,
}
