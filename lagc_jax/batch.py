"""Many realisations of the delays along one path, summarised without keeping them all."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from lagc_jax import events
from lagc_jax._blocks import block_size, largest_result
from lagc_jax._checks import (
    as_leaf,
    check_iterates,
    concrete,
    one_axis,
    positive,
    probability,
    whole_number,
)
from lagc_jax._display import readable
from lagc_jax._frames import frame
from lagc_jax._keys import fold_each, one_key
from lagc_jax._loops import scan
from lagc_jax._modes import float_dtype
from lagc_jax._programs import compiled
from lagc_jax.clock import Clock, clock_of
from lagc_jax.cluster import Cluster
from lagc_jax.costs import at_hit, at_hits, column, count_groups, mean_bits, spend
from lagc_jax.delays.base import TimeSource
from lagc_jax.descent import Path, find_path, path_scheme
from lagc_jax.doors import enter, warn_if_coarse, warn_if_short
from lagc_jax.problems.base import Problem
from lagc_jax.records import Trajectory
from lagc_jax.schemes import contract
from lagc_jax.schemes.base import Scheme
from lagc_jax.summary import Costs, Summary, along_path, realise, summarise, take_apart
from lagc_jax.targets import Gap, Target
from lagc_jax.times import Times, compensated
from lagc_jax.trajectory import event_driven, run_events, run_trajectory

if TYPE_CHECKING:
    import pandas as pd

# Trajectories run together on a CPU, always padded to this number, so that results do not depend
# on how many are asked for.
BLOCK = 16


@readable
class Batch(NamedTuple):
    """Many realisations of the delays, summarised.

    With a timeout in the cluster, or a decoding other than that of the `F` fastest, every
    realisation has a path or a number of messages of its own: `gap` is then a mean over the
    realisations, and `selected`, `received` and `diverged` are the shares of them of which it is
    true. Elsewhere all costs but the time are constant.

    Attributes:
        gap: (K+1,) `L(theta^k) - L(theta*)`.
        selected: (K, G) bool, groups that were to upload, and did unless they were given up.
        received: (K, G) bool, groups whose gradient arrived.
        diverged: () bool, as in `Path`.
        costs: what it took to reach each accuracy (A,).
        reached: (A,) share of the realisations that did.
        curve: `Summary` of the cumulative time at the iterates asked for, None without any.
        levels: (A,) accuracies.
        quantile_levels: (Q,) of the quantiles.
    """

    gap: Array
    selected: Array
    received: Array
    diverged: Array
    costs: Costs
    reached: Array
    curve: Summary | None
    levels: ArrayLike
    quantile_levels: ArrayLike

    def to_frame(self) -> "pd.DataFrame":
        """A `pandas.DataFrame`, a row an accuracy: means of all costs, what is known of the time.

        Columns are those of an experiment's table; of vmapped batches `run` counts.
        """
        time = self.costs.time
        columns = {"accuracy": self.levels, "reached": self.reached}
        columns |= {name: cost.mean for name, cost in self.costs._asdict().items()}
        columns |= {"time_mean": columns.pop("time"), "time_standard_error": time.standard_error}
        Q = time.quantiles.shape[-1]
        for i, level in enumerate(np.ravel(self.quantile_levels)[:Q]):  # of the first of many
            columns[f"time_q{level}"] = time.quantiles[..., i]
        return frame(columns, self.reached.ndim > 1, "level")

    @property
    def mean(self) -> Array:
        """Sample mean of the wall-clock complexity, (A,)."""
        return self.costs.time.mean

    @property
    def variance(self) -> Array:
        """Its unbiased sample variance, (A,)."""
        return self.costs.time.variance

    @property
    def quantiles(self) -> Array:
        """Its sample quantiles, (A, Q)."""
        return self.costs.time.quantiles


def simulate_batch(
    problem: Problem,
    scheme: Scheme,
    delays: TimeSource,
    key: Array,
    *,
    num_iterations: int,
    num_realisations: int,
    accuracies: Sequence[float] = (1e-8,),
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    iterates: Sequence[int] | None = None,
    keep_samples: bool = False,
    step_size: ArrayLike | Callable[[Array], ArrayLike] | None = None,
    theta0: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    sampler: str | None = None,
    cluster: Cluster | None = None,
) -> Batch:
    """Simulate many realisations of the delays along one path and summarise them.

    The path is computed once, and of a realisation only the sums asked for are kept: memory is that
    of `R (A + number of iterates)` times, or of one block of realisations where neither quantiles
    nor samples are wanted. Realisation `i` uses the key `fold_in(key, i)`, so `simulate` with that
    key gives its trajectory, and schemes under one key meet the same delays (common random
    numbers). Pure: `jit`- and `vmap`-able over all that is not a size; over delay parameters the
    path is still computed once, and the times have derivatives by them, forwards and in reverse.

    With a timeout in the cluster or a decoding that is not exact the path depends on the delays,
    and with the first decodable set the number of messages: whole trajectories are then run, in
    blocks of a fixed size.

    Arguments and errors are those of `simulate`, and:

    - `num_realisations`: `R`; static.
    - `accuracies`: (A,) gaps at which to summarise what it took to reach them.
    - `quantiles`: (Q,) levels of quantiles; may be empty.
    - `iterates`: numbers of iterates at which to summarise the time; `range(K + 1)`, the curve.
    - `keep_samples`: whether to return all realisations, for paired differences say; static.

    >>> from lagc_jax import Exponential, gd, linear_regression
    >>> problem = linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    >>> batch = simulate_batch(problem, gd(2), Exponential(1.0), jax.random.key(0),
    ...                        num_iterations=1, num_realisations=4)
    >>> batch.costs.iterations.mean.tolist(), batch.quantiles.shape
    ([1.0], (1, 3))
    """
    given = (num_iterations, step_size, theta0, optimizer)
    problem, scheme, K, alpha, theta = enter(problem, scheme, *given)
    R = whole_number("num_realisations", num_realisations)
    key = one_key(key)
    clock = clock_of(scheme, delays, cluster, sampler, problem.num_parameters)
    wanted = _wanted(problem, accuracies, quantiles, iterates, K)
    warn_if_short(clock.delays, K)
    if not clock.shared:
        own = (problem, clock, key, (alpha, theta), *wanted, K, R, keep_samples)
        with jax.debug_nans(False):  # a level that nobody reaches has no mean
            return realise_paths(*own).batch
    path = find_path(problem, path_scheme(scheme), alpha, theta, K)
    bits = contract.message_bits(scheme, problem.num_parameters, np.arange(K))
    return _along(scheme, clock.along(path.selected), key, path, bits, *wanted, R, keep_samples)


def _wanted(
    problem: Problem,
    accuracies: Sequence[float],
    quantiles: Sequence[float],
    iterates: Sequence[int] | None,
    K: int,
) -> tuple[Target, Array | None, Any]:
    """What is to be summarised, checked: gaps, iterates and levels of quantiles."""
    one_axis("accuracies", accuracies, 1)
    positive("accuracies", as_leaf(accuracies))
    warn_if_coarse(problem, accuracies)
    one_axis("quantiles", quantiles)
    probability("quantiles", quantiles)
    one_axis("iterates", (0,) if iterates is None else iterates, 1)
    check_iterates("iterates", () if iterates is None else iterates, K)
    stops = None if iterates is None else jnp.atleast_1d(jnp.asarray(iterates))
    return Gap(_levels(accuracies)), stops, _levels(quantiles)


def _levels(values: Sequence[float]) -> Any:
    """Levels as floats on one axis, on the host where they are known."""
    known, dtype = concrete(values), jnp.result_type(float)
    if known is None:
        return jnp.atleast_1d(jnp.asarray(values, dtype))
    return np.atleast_1d(known).astype(dtype)


@compiled("num_realisations", "keep_samples")
def _along(
    scheme: Scheme,
    times: Times,
    key: Array,
    path: Path,
    message_bits: ArrayLike,
    target: Target,
    iterates: Array | None,
    quantiles: Array,
    num_realisations: int,
    keep_samples: bool,
) -> Batch:
    """The realisations of a path that all share, whose messages have bits () or (K,)."""
    sizes = (quantiles, num_realisations, keep_samples)
    index, reached = target.hits(path.gap, None)
    working, uploaded = count_groups(scheme, path.selected)
    bits = mean_bits(message_bits, uploaded, index)
    spent = spend(scheme, (index, reached), working[index], uploaded[index], bits)
    time = realise(times, key, index, reached, *sizes)
    costs = along_path(time, spent, reached, quantiles.size)
    share = reached.astype(jnp.result_type(float))
    curve = None if iterates is None else realise(times, key, iterates, True, *sizes)
    uploads = (path.selected, path.selected)
    return Batch(path.gap, *uploads, path.diverged, costs, share, curve, target.levels, quantiles)


class Realised(NamedTuple):
    """What `realise_paths` gives beside a `Batch`.

    Attributes:
        diverged: (A,) shares of the realisations that have diverged without the level.
        gap, recorded: (A,) means at the hits over the realisations with one, NaN where none has.
    """

    batch: Batch
    diverged: Array
    gap: Array
    recorded: Any


def _runner(
    problem: Problem,
    clock: Clock,
    key: Array,
    start: tuple[ArrayLike | None, ArrayLike],
    num_iterations: int,
    num_realisations: int,
    record: Callable[[Any], Any] | None,
) -> tuple[int, Callable[[Array], Trajectory]]:
    """How many trajectories are run together, and the function that does from their keys."""
    scheme, sizes = clock.scheme, (num_iterations, record)

    def run_block(keys: Array) -> Trajectory:
        if scheme.event_driven:
            return run_events(problem, clock, keys, *start, *sizes)
        return jax.vmap(lambda own: run_trajectory(problem, clock, own, *start, None, *sizes))(keys)

    def bytes_each() -> int:
        return largest_result(run_block, fold_each(key, jnp.arange(1)))

    on_cpu = events.BLOCK if scheme.event_driven else BLOCK
    return block_size(on_cpu, bytes_each, num_realisations), run_block


def _add(totals: tuple, paths: tuple, valid: Array) -> tuple:
    """Sums and what they have lost, with those of a block's paths (B, ..) that are valid (B,)."""

    def of_block(values: Array, lost: Array) -> Array:
        kept = jnp.where(column(valid, values), values, jnp.zeros_like(values))
        return jnp.sum(kept, axis=0, dtype=lost.dtype) - lost

    total, lost = totals
    added = jax.tree.map(of_block, paths, lost)
    sums = jax.tree.map(lambda *pair: compensated(*pair)[0], total, added)
    return sums, jax.tree.map(lambda *pair: compensated(*pair)[1], total, added)


@compiled("num_iterations", "num_realisations", "keep_samples", one_thread=event_driven)
def realise_paths(
    problem: Problem,
    clock: Clock,
    key: Array,
    start: tuple[ArrayLike | None, ArrayLike],
    target: Target,
    iterates: Array | None,
    quantiles: Array,
    num_iterations: int,
    num_realisations: int,
    keep_samples: bool = False,
) -> Realised:
    """Run R trajectories, a block at a time, and summarise them; realisation `i` as `realise`."""
    ks = jnp.arange(num_iterations + 1)
    size, run_block = _runner(
        problem, clock, key, start, num_iterations, num_realisations, target.record
    )

    def read(run: Trajectory) -> tuple[tuple, tuple]:
        index, reached = target.hits(run.gap, run.recorded)
        spent = (run.wall_clock, ks, run.communication, run.computation, run.bits, run.timeouts)
        costs = jnp.concatenate([at_hit(values, index, reached) for values in spent])
        there = at_hits((run.gap, run.recorded), index, reached, 0)
        curve = None if iterates is None else run.wall_clock[iterates]
        path = (run.gap, run.selected, run.received, run.diverged)
        return (*path, target.lost(run.diverged, reached), reached, *there), (costs, curve)

    @jax.jit  # traced once for the shapes and the scan
    def block_of(numbers: Array) -> tuple[tuple, tuple]:
        return jax.vmap(read)(run_block(fold_each(key, numbers)))

    def add_block(totals: tuple, block: Array) -> tuple[tuple, tuple]:
        numbers = block * size + jnp.arange(size)
        paths, samples = block_of(numbers)
        return _add(totals, paths, numbers < num_realisations), samples

    shapes, _ = jax.eval_shape(block_of, jnp.arange(size))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, float_dtype(leaf)), shapes)
    blocks = jnp.arange(-(-num_realisations // size))
    (totals, _), samples = scan(add_block, (zeros, zeros), blocks)
    *totals, hits, gap_there, recorded_there = totals
    there = jax.tree.map(lambda total: total / column(hits, total), (gap_there, recorded_there))
    means = jax.tree.map(lambda total: total / float(num_realisations), (*totals, hits))
    gap, selected, received, diverged, lost, reached = means

    shown = (quantiles, num_realisations, keep_samples)
    together, curve = jax.tree.map(lambda drawn: summarise(drawn, *shown), samples)
    costs = take_apart(together)
    told = target.levels, quantiles
    batch = Batch(gap, selected, received, diverged, costs, reached, curve, *told)
    return Realised(batch, lost, *there)
