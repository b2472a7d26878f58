"""What can be said without sampling: bounds, expectations and Table I.

Expectations follow the exact path of the iterates: only the clock is random, and its mean and
variance are exact.
"""

import math
import warnings
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax._checks import an_array, as_leaf, one_axis, positive, positive_number
from lagc_jax._display import readable
from lagc_jax.asynchrony import time_bound as time_bound
from lagc_jax.asynchrony import time_complexity as time_complexity
from lagc_jax.asynchrony import update_time as update_time
from lagc_jax.clock import clock_of, order_law
from lagc_jax.cluster import Cluster
from lagc_jax.costs import accumulate, check_counts, first_hit, price, spend
from lagc_jax.delays.base import Delays
from lagc_jax.delays.contract import check_source
from lagc_jax.descent import Path, check_exact
from lagc_jax.doors import check_fit, check_scheme
from lagc_jax.law.identical import iteration_mean
from lagc_jax.problems._values import gap_at
from lagc_jax.problems.base import Problem
from lagc_jax.problems.stochastic import MinibatchProblem
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.rules import LagServer, LagWorker
from lagc_jax.times import elapsed


class IterationCosts(NamedTuple):
    """Expected costs of one iteration: exact mean time, messages and partition gradients."""

    time: Array
    downlink: Array
    uplink: Array
    computation: Array

    @property
    def communication(self) -> Array:
        """Downlink plus uplink messages."""
        return self.downlink + self.uplink


@readable
class Expectation(NamedTuple):
    """Expected complexity to accuracy along a path; `inf` where the accuracy is not reached.

    Attributes:
        iterations, communication, computation: as in `Complexity`.
        mean, variance: exact, of the wall-clock time.
        selected: mean number of groups that upload in an iteration up to then (up to `K` where
            the accuracy is not reached).
        time: mean time of one such iteration.
    """

    iterations: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    communication: np.ndarray
    computation: np.ndarray
    selected: np.ndarray
    time: np.ndarray


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
        (K+1,) means; `inf` from the first iteration whose mean is infinite, with a RuntimeWarning
        that names `r * shape`, or for worker-dependent delays the sum of tail indices that takes
        its place, if that is known.

    Raises:
        ValueError: if shapes do not fit, or where no exact mean is known: in a cluster with
            worker-dependent or shared parts, independent partitions, messages with the worker
            trigger or a timeout, and for a decoding that waits for no fixed number of messages.

    >>> from lagc_jax import Exponential, grouping
    >>> clock = expected_wall_clock(grouping(4, 2), Exponential(1.0), [[True, True]])
    >>> [f"{mean:.4f}" for mean in clock]
    ['0.0000', '1.5000']
    """
    working = _working(scheme, selected)
    return elapsed(jnp.asarray(clock_of(scheme, delays, cluster).mean(working)))


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
    check_scheme(scheme)
    known = an_array("selected", selected)
    if known is not None and known.dtype != bool and not np.isin(known, (0, 1)).all():
        raise ValueError("selected holds other than bool or 0 and 1; give (K, G) of those")
    selected = jnp.asarray(as_leaf(selected), bool)
    if selected.ndim != 2 or selected.shape[1] != scheme.num_groups:
        raise ValueError(
            f"selected has shape {selected.shape}; give (K, {scheme.num_groups}), one column a "
            f"group of the scheme"
        )
    return scheme.working(selected)


def iteration_costs(
    scheme: Scheme, delays: Delays, num_selected: ArrayLike | None = None
) -> IterationCosts:
    """Expected costs of one iteration in which `s` groups upload (LAGC, Table I).

    Delays are identical (parameters of shape ()) and `s`, () or (S,), are whole numbers from 0 to
    G, all groups by default; other ones, or a decoding that does not wait for a fixed number of
    messages, are a ValueError, as are costs beyond the default integers.

    >>> from lagc_jax import Exponential, gc
    >>> costs = iteration_costs(gc(12, 3), Exponential(1.0))
    >>> int(costs.communication), int(costs.computation)
    (22, 36)
    """
    check_scheme(scheme)
    check_source(delays, family=True)
    one_axis("num_selected", scheme.num_groups if num_selected is None else num_selected)
    uploading = np.asarray(scheme.num_groups if num_selected is None else num_selected)
    if not (
        np.issubdtype(uploading.dtype, np.integer)
        and ((uploading >= 0) & (uploading <= scheme.num_groups)).all()
    ):
        raise ValueError(
            f"num_selected={num_selected} must be whole numbers from 0 to {scheme.num_groups}"
        )
    messages = scheme.num_workers * (1 + scheme.decoder.tasks)
    check_counts(1, max(scheme.num_groups * sum(scheme.loads), messages))
    working = np.full_like(uploading, scheme.num_groups)
    if not scheme.trigger.everyone_works:
        working = uploading
    time = iteration_mean(*order_law(scheme, delays), working)
    return IterationCosts(time, *(jnp.asarray(c) for c in price(scheme, working, uploading)))


def safe_step_size(problem: Problem, scheme: Scheme) -> float:
    """Step size `(1 - sqrt(D xi)) / L` of LAG's analysis; `1/L` without adaptive selection.

    Raises:
        ValueError: if `xi` is not one number below `1/D` (LAG, Theorem 1), the decoding is not
            exact, or the rule or optimiser is not LAG's.

    >>> from lagc_jax import lag, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> round(safe_step_size(problem, lag(2, xi=0.025)), 3)
    0.1
    """
    check_fit(problem, scheme)
    return _contraction(scheme) / float(problem.total_smoothness)


def iteration_bound(problem: Problem, scheme: Scheme, accuracy: float) -> float:
    """Iterations that suffice to reach `accuracy` from the problem's start.

    `kappa log(gap^0 / accuracy)` with `alpha = 1/L` for schemes without adaptive selection, and
    `kappa / (1 - sqrt(D xi))` times the logarithm with `safe_step_size` for the others (LAG,
    Theorem 1), `kappa = L / mu`.

    Raises:
        ValueError: as for `safe_step_size`, if the accuracy is not positive, `mu` is not known and
            positive, or for minibatches.
    """
    check_fit(problem, scheme)
    positive_number("accuracy", accuracy)
    _check_samples(problem)
    mu = float(problem.strong_convexity)
    if not mu > 0:
        raise ValueError(f"problem.strong_convexity={mu} must be positive; bounds need it")
    start = gap_at(problem, problem.start)
    if start <= accuracy:
        return 0.0
    kappa = float(problem.total_smoothness) / mu
    return kappa / _contraction(scheme) * math.log(start / accuracy)


def _contraction(scheme: Scheme) -> float:
    """`1 - sqrt(D xi)`, and 1 without adaptive selection."""
    if not scheme.decoder.exact:
        raise ValueError(
            f"decoding={type(scheme.decoding).__name__} is not exact, so the bounds of full "
            f"gradients do not hold; give a scheme without it"
        )
    if scheme.adaptive:
        _check_rule(scheme)
    if scheme.optimizer is not optax.sgd:
        raise ValueError(
            f"optimizer={scheme.optimizer!r} is not gradient descent, so the bounds do not hold; "
            f"give a scheme with optax.sgd"
        )
    if not scheme.adaptive:
        return 1.0
    xi = np.unique(np.asarray(scheme.xi))
    if xi.size != 1 or not xi[0] * scheme.memory < 1:
        raise ValueError(
            f"xi={scheme.xi} has no guarantee with memory={scheme.memory}; give one number below "
            f"1/memory={1 / scheme.memory:g}"
        )
    return 1.0 - math.sqrt(scheme.memory * xi[0])


def _check_rule(scheme: Scheme) -> None:
    if not isinstance(scheme.trigger, LagServer | LagWorker):
        raise ValueError(
            f"trigger={str(scheme.trigger)!r} has another condition than LAG's, so LAG's bounds do "
            f"not hold; give trigger='server' or 'worker'"
        )


def _check_samples(problem: Problem) -> None:
    if isinstance(problem, MinibatchProblem):
        raise ValueError(
            "problem has gradients on minibatches, so the bounds of full gradients do not hold; "
            "give problem.problem for those"
        )


def communication_bound(problem: Problem, scheme: Scheme, step_size: float | None = None) -> float:
    """Largest share of the full communication that a scheme can use (LAG, Proposition 1).

    With the worker trigger that is the share of the uploads, for everybody downloads.

    A group with `(L_g/L)^2 <= gamma_d = xi_d / (d alpha^2 L^2 G^2)` uploads at most once in any
    `d + 1` consecutive iterations (LAG, Lemma 4), so that up to the rounding of `K / (d+1)` the
    share is `1 - sum_d (1/d - 1/(d+1)) h(gamma_d)`, `h(gamma)` the share of groups with
    `(L_g/L)^2 <= gamma`.

    It is 1 for schemes without adaptive selection; `alpha` is `1/L` by default.

    Raises:
        ValueError: if `xi` increases in `d`, the step size is not positive and finite, the rule is
            not LAG's, or for minibatches with the worker trigger.
    """
    check_fit(problem, scheme)
    if not scheme.adaptive:
        return 1.0
    _check_rule(scheme)
    if scheme.trigger.everyone_works:  # the server's knows iterates alone, whatever moves them
        _check_samples(problem)
    xi = np.broadcast_to(np.asarray(scheme.xi, float), scheme.memory)
    if (np.diff(xi) > 0).any():
        raise ValueError(f"xi={scheme.xi} increases in d; the bound needs xi_1 >= .. >= xi_D")
    L = float(problem.total_smoothness)
    alpha = 1 / L if step_size is None else step_size
    positive_number("step_size", alpha)
    d = np.arange(1, scheme.memory + 1)
    with np.errstate(over="ignore"):
        gamma = xi / (d * (np.float64(alpha) * L * scheme.num_groups) ** 2)
    ratio = (np.asarray(problem.group_smoothness(scheme.num_groups)) / L) ** 2
    share = (ratio[:, None] <= gamma).mean(0)
    return float(1 - np.sum((1 / d - 1 / (d + 1)) * share))


def expected_complexity(
    scheme: Scheme, delays: Delays, path: Path, accuracy: ArrayLike
) -> Expectation:
    """Expected complexity to accuracy along a path, in float64 on the host.

    Arrays are of the shape of `accuracy`, () or (A,). A mean is `inf`, with a RuntimeWarning,
    unless `r * tail_index > 1`, a variance unless `r * tail_index > 2` (for worker-dependent
    delays: the sum of the `r` smallest tail indices of a working group).

    Raises:
        ValueError: for a decoding with which the path depends on the times, what is no path or an
            accuracy that is not positive, or as for `expected_wall_clock`.
    """
    check_scheme(scheme)
    if not (hasattr(path, "gap") and hasattr(path, "selected")):
        raise ValueError(f"path is a {type(path).__name__}; give one of lagc_jax.descend")
    positive("accuracy", accuracy)
    check_exact(scheme)
    index, reached = (np.asarray(x) for x in first_hit(np.asarray(path.gap), accuracy))
    selected = np.asarray(path.selected)
    counts = np.asarray(scheme.working(path.selected)).sum(-1)
    uploads = selected.sum(-1)
    working, uploading = accumulate(counts), accumulate(uploads)
    clock, working_groups = clock_of(scheme, delays), scheme.working(path.selected)
    mean = accumulate(np.asarray(clock.mean(working_groups), float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a variance may well be infinite
        variance = accumulate(np.asarray(clock.variance(working_groups), float))
    spent = spend(scheme, (index, reached), working[index], uploading[index], 1)
    last = np.where(reached, index, len(counts))
    length = np.maximum(last, 1)
    return Expectation(
        iterations=spent.iterations,
        mean=np.where(reached, mean[index], np.inf),
        variance=np.where(reached, variance[index], np.inf),
        communication=spent.communication,
        computation=spent.computation,
        selected=uploading[last] / length,
        time=mean[last] / length,
    )


def scheme_row(scheme: Scheme, expectation: Expectation) -> dict[str, float]:
    """The columns of Table I that do not depend on the delays, by name.

    Storage is in partitions a worker; `stragglers tolerated` counts those that any group survives.

    Raises:
        ValueError: for what is no scheme, or no expectation of one accuracy ().
    """
    check_scheme(scheme)
    _check_expectation(expectation)
    s = float(expectation.selected)
    working = scheme.num_groups if scheme.trigger.everyone_works else s
    n, waited = scheme.group_size, scheme.num_waited
    return {
        "storage": scheme.redundancy,
        "workers waited for": waited * working,
        "stragglers tolerated": n - waited,
        "communication per iteration": n * working + waited * s,
        "computation per iteration": sum(scheme.loads) * working,
        "iterations": float(expectation.iterations),
        "communication": float(expectation.communication),
        "computation": float(expectation.computation),
    }


def delay_row(name: str, expectation: Expectation) -> dict[str, float]:
    """The columns of Table I for one family of delays, by name.

    Raises:
        ValueError: for what is no expectation of one accuracy ().
    """
    _check_expectation(expectation)
    return {
        f"{name} time per iteration": float(expectation.time),
        f"{name} wall-clock mean": float(expectation.mean),
        f"{name} wall-clock deviation": float(np.sqrt(expectation.variance)),
    }


def _check_expectation(expectation: Expectation) -> None:
    if not isinstance(expectation, Expectation) or np.ndim(expectation.selected):
        raise ValueError(
            f"expectation={expectation!r} is none of one accuracy; give one of expected_complexity"
        )
