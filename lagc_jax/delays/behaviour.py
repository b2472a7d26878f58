"""Bursts, failures and start-ups from measured times: maximum likelihood of what is no family."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from lagc_jax.delays._laws import quantile
from lagc_jax.delays.base import Delays, TimeSource
from lagc_jax.delays.estimators import ESTIMATORS, Estimator, Fit, profile
from lagc_jax.delays.families import Lognormal
from lagc_jax.delays.fitting import fit, sorted_times, time_entries
from lagc_jax.delays.stragglers import Bursty, Failures
from lagc_jax.delays.traces import Trace, time_table

if TYPE_CHECKING:
    import pandas as pd

# A jump in standard deviations and the probabilities of the bad state and of its end.
STARTS = ((1.4, 0.02, 0.2), (3.2, 0.02, 0.2), (1.4, 0.1, 0.1), (3.2, 0.3, 0.7))
FIRST_STEPS, NUM_STEPS = 10, 200


class Bursts(NamedTuple):
    """Bursts fitted to a trace.

    Attributes:
        delays: `Bursty` lognormal times, one location for all or one a worker.
        AIC: of it.
        AIC_without: of the same lognormal times without bursts, `slowdown=1`.
        bad: (T, W) probability, given all times, that a worker was in the bad state.
    """

    delays: Bursty
    AIC: float
    AIC_without: float
    bad: np.ndarray


def fit_bursty(times: ArrayLike | Trace) -> Bursts:
    """Fit `Bursty` lognormal times by maximum likelihood: a hidden Markov chain of two states.

    Logarithms of times are normal around a location, plus `log(slowdown)` in the bad state, so that
    the states, and all else, follow from expectation-maximisation (Baum, Petrie, Soules, Weiss,
    Ann. Math. Stat. 41, 1970). Workers have one location or one each, whichever has the smaller
    AIC. To take another family for the good state, fit it to `times / slowdown` where `bad` is
    above one half, and to `times` elsewhere.

    Args:
        times: a `Trace`, or (T, W) iterations x workers; NaN or `inf` where missing.

    Raises:
        ValueError: unless times are a table of positive numbers with at least 10 iterations and
            some variance.

    >>> times = np.array([[1.0, 1.1, 0.9, 1.0, 5.0, 5.2, 4.9, 1.1, 0.9, 1.0, 1.2, 1.0]]).T
    >>> f"{fit_bursty(times).delays.slowdown:.1f}"
    '4.9'
    """
    table = time_table(times)
    if not (table > 0).all() or len(table) < 10:
        raise ValueError(
            f"times of shape {table.shape}, the smallest {table.min()}, do not tell bursts; give "
            f"at least 10 iterations of positive times"
        )
    known = np.isfinite(table)
    logs = np.where(known, np.log(np.where(known, table, 1)), np.nan)
    fits = [_fit_chain(logs, each) for each in (False, True)[: table.shape[1]]]
    return min(fits, key=lambda found: found.AIC)


def _fit_chain(logs: np.ndarray, each: bool) -> Bursts:
    """The likeliest chain from several starts, with locations of workers or one."""
    known = np.isfinite(logs)
    location, scale = _spread(logs, known, np.zeros(logs.shape), each)
    if not scale > 0:
        raise ValueError("times do not vary, so that they tell no bursts; give more")
    size = location.size if each else 1
    normal = -0.5 * known.sum() * (math.log(2 * math.pi * scale**2) + 1)
    jacobian = float(logs[known].sum())  # densities are those of times
    without = 2 * (size + 1) - 2 * (float(normal) - jacobian)
    runs = []
    for stands, enter, leave in STARTS:
        jump = stands * scale
        start = location - jump * enter / (enter + leave), 0.7 * scale, (jump, enter, leave)
        runs.append(_run(logs, known, each, start, FIRST_STEPS))
    _, *best, _ = max(runs, key=lambda run: run[0])
    run = _run(logs, known, each, best, NUM_STEPS)
    likelihood, location, scale, (jump, enter, leave), bad = run
    if jump < 0:
        location, jump, enter, leave, bad = location + jump, -jump, leave, enter, 1 - bad
    good = Lognormal(location if each else float(location[0]), float(scale))
    delays = Bursty(good, math.exp(jump), float(enter), float(leave))
    return Bursts(delays, 2 * (size + 4) - 2 * (likelihood - jacobian), without, bad)


def _run(
    logs: np.ndarray, known: np.ndarray, each: bool, start: Sequence[Any], num_steps: int
) -> tuple[float, np.ndarray, float, tuple[float, float, float], np.ndarray]:
    """Expectation-maximisation; likelihood, location, scale, chain and states at its end."""
    location, scale, chain = start
    before = -math.inf
    likelihood, bad, moves = _smooth(logs, known, location, scale, chain)
    for _ in range(num_steps):
        if likelihood - before <= 1e-7 * known.sum():
            break
        before = likelihood
        weight = np.where(known, bad, 0)
        centred = np.where(known, logs - location, 0)
        jump = float((weight * centred).sum() / max(weight.sum(), 1e-300))
        enter, leave = np.clip(moves, 1e-9, 1 - 1e-9).tolist()
        chain = jump, enter, leave
        location, scale = _spread(logs, known, jump * bad, each)
        rest = (weight * (1 - weight)).sum() * jump**2 / known.sum()
        scale = max(math.sqrt(scale**2 + rest), 1e-9)
        likelihood, bad, moves = _smooth(logs, known, location, scale, chain)
    return likelihood, location, scale, chain, bad


def _spread(
    logs: np.ndarray, known: np.ndarray, shift: np.ndarray, each: bool
) -> tuple[np.ndarray, float]:
    """Locations (W,) of logarithms less a shift, and the deviation from them."""
    values = np.where(known, logs - shift, 0)
    count = known.sum(axis=0)
    mean: Any = values.sum() / count.sum()
    if each:  # a worker without an entry is as all are
        mean = np.where(count > 0, values.sum(axis=0) / np.maximum(count, 1), mean)
    location = np.broadcast_to(np.asarray(mean), logs.shape[1:])
    return location, math.sqrt(
        float((np.where(known, values - location, 0) ** 2).sum()) / known.sum()
    )


def _smooth(
    logs: np.ndarray,
    known: np.ndarray,
    location: np.ndarray,
    scale: float,
    chain: tuple[float, float, float],
) -> tuple[float, np.ndarray, list[float]]:
    """Forward-backward: likelihood, probability of the bad state (T, W), estimated moves."""
    T, W = logs.shape
    jump, enter, leave = chain
    means = np.stack([location, location + jump])
    z = (logs[:, None] - means) / scale
    density = np.where(known[:, None], -0.5 * z**2 - math.log(scale * math.sqrt(2 * math.pi)), 0)
    top = density.max(axis=1)
    emit = np.exp(density - top[:, None])  # (T, 2, W)
    step = np.array([[1 - enter, enter], [leave, 1 - leave]])
    forward, sums = np.empty((T, 2, W)), np.empty((T, W))
    state = np.array([[leave], [enter]]) / (enter + leave) * emit[0]
    for t in range(T):
        if t:
            state = (step.T @ forward[t - 1]) * emit[t]
        sums[t] = state.sum(axis=0)
        forward[t] = state / sums[t]
    backward = np.ones((T, 2, W))
    for t in range(T - 2, -1, -1):
        backward[t] = step @ (emit[t + 1] * backward[t + 1] / sums[t + 1])
    posterior = forward * backward
    after = emit[1:] * backward[1:] / sums[1:, None]
    turned = [
        (forward[:-1, 0] * enter * after[:, 1]).sum(),
        (forward[:-1, 1] * leave * after[:, 0]).sum(),
    ]
    left = posterior[:-1].sum(axis=(0, 2))
    moves = [float(a / max(b, 1e-300)) for a, b in zip(turned, left, strict=True)]
    return float(np.log(sums).sum() + top.sum()), posterior[:, 1], moves


def fit_failures(times: ArrayLike | Trace, delays: TimeSource | None = None) -> Failures:
    """Fit `Failures` by maximum likelihood: which entries are missing, once or to the end.

    A worker's missing entries up to its last answer were failures for once; those after it were
    either, as the two probabilities have it, which are found by expectation-maximisation.

    Args:
        times: a `Trace`, or (T, W) iterations x workers; NaN or `inf` where a worker did not
            answer. Read a table with `end="failed"` to keep ends of logs.
        delays: the times of a worker that answers; by default the best family of `fit`.

    Raises:
        ValueError: unless times are a table of numbers, not negative; those of `fit`.

    >>> times = np.array([[1.0, 2.0], [np.nan, 1.5], [1.2, 1.0], [1.1, 1.4]])
    >>> f"{fit_failures(times, Lognormal(0.0, 1.0)).once:.3f}"
    '0.125'
    """
    table = time_table(times)
    source: Any = fit(table, num_bootstrap=0)["delays"].iloc[0] if delays is None else delays
    answered = np.isfinite(table)
    T = len(table)
    last = np.where(answered.any(axis=0), T - np.argmax(answered[::-1], axis=0), 0)
    missed = float((last - answered.sum(axis=0)).sum())
    rest = T - last
    once, forever = 0.5 * (1 - answered.mean()), 0.5 * (last < T).mean() / T
    for _ in range(10_000):
        # Its end came before iteration last + 1 + j (j = 0 .. rest - 1), or not at all.
        ends, alive, lasted = np.zeros(rest.size), np.zeros(rest.size), np.zeros(rest.size)
        for m in np.flatnonzero(rest):
            j = np.arange(rest[m] + 1)
            weight = ((1 - forever) * once) ** j * np.where(j < rest[m], forever, 1.0)
            weight = weight / weight.sum() if weight.sum() > 0 else weight
            ends[m], lasted[m] = weight[:-1].sum(), weight @ j
        before = once, forever
        alive = float((last + lasted).sum())
        once = (missed + float(lasted.sum())) / max(alive, 1e-300)
        forever = float(ends.sum()) / (alive + float(ends.sum()))
        if max(abs(once - before[0]), abs(forever - before[1])) < 1e-12:
            break
    return Failures(source, once=once, forever=forever)


class Loads(NamedTuple):
    """A start-up and the times of one gradient, fitted to times at several loads.

    Attributes:
        startup: time before the first gradient, for `Cluster(startup=...)`.
        delays: the best family of the time for one gradient.
        table: by family, sorted by rising AIC: `delays`, `startup`, `parameters`, `log-likelihood`,
            `AIC`.
        means: by load: `measured` mean time and the `fitted` one, the start-up plus the load times
            the mean of what is left for one gradient. Where they differ, the time is no line.
    """

    startup: float
    delays: Delays
    table: "pd.DataFrame"
    means: "pd.DataFrame"


def fit_loads(times: Mapping[float, ArrayLike | Trace]) -> Loads:
    """Fit `startup + load tau` to times at several loads, by maximum likelihood for every family.

    Args:
        times: by load, in partition gradients, times of any shape; NaN or `inf` where missing.

    Raises:
        ValueError: unless there are two loads, all positive, with times that are positive.

    >>> rng = np.random.default_rng(0)
    >>> times = {load: 2 + load * rng.gamma(5.0, 0.2, 300) for load in (1, 2, 4)}
    >>> f"{fit_loads(times).startup:.1f}"
    '2.0'
    """
    import pandas as pd

    if not isinstance(times, Mapping):
        raise ValueError(f"times is a {type(times).__name__}; give a dict from loads to times")
    if len(times) < 2 or not all(isinstance(m, Real) and 0 < m < math.inf for m in times):
        raise ValueError(f"times has the loads {list(times)}; give two or more, all positive")
    samples = {load: sorted_times(time_entries(times[load]), f"[{load}]") for load in times}
    values = np.concatenate(list(samples.values()))
    loads = np.concatenate([np.full(sample.size, load) for load, sample in samples.items()])
    if not values.min() > 0:
        raise ValueError(f"times has the entry {values.min()}; give positive ones")
    scaling, first = float(np.log(loads).sum()), int(values.argmin())
    rows = []
    for name, estimate in ESTIMATORS.items():

        def at(shift: float, estimate: Estimator = estimate) -> Fit:
            return estimate(np.sort((values - shift) / loads))

        startup, (delays, likelihood) = profile(at, float(values[first]), float(np.median(values)))
        if startup is None:
            later = values > values[first]
            over, _ = estimate(np.sort((values[later] - values[first]) / loads[later]))
            gap = loads[first] * quantile(over, 1 / (1 + (loads == loads[first]).sum()))
            startup = max(float(values[first] - gap), 0.0)
            delays, likelihood = at(startup)
        size = len(vars(delays)) + 1
        likelihood -= scaling
        rows.append((name, delays, startup, size, likelihood, 2 * size - 2 * likelihood))
    columns = ["family", "delays", "startup", "parameters", "log-likelihood", "AIC"]
    table = (
        pd.DataFrame(rows, columns=columns).set_index("family").sort_values("AIC", kind="stable")
    )
    best = table.iloc[0]
    one = float(((values - best["startup"]) / loads).mean())
    measured = {load: float(sample.mean()) for load, sample in samples.items()}
    means = pd.DataFrame({"measured": measured})
    means["fitted"] = best["startup"] + means.index.to_numpy(float) * one
    return Loads(float(best["startup"]), best["delays"], table, means.rename_axis("load"))
