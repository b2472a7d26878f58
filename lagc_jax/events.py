"""Event-driven schemes: who finishes next, and from which iterate it started.

That does not depend on the loss, so the loop over arrivals carries small numbers alone; `stale`
steps along the gradients. It is written for many realisations at once, on an axis of their own, so
that the times of workers are drawn as they are needed: how many jobs a worker does is not known
beforehand. A worker's j-th job takes the time in its row j.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from lagc_jax._halves import about_first, first_least
from lagc_jax._loops import scan, while_loop
from lagc_jax._modes import lenient
from lagc_jax.cluster import Cluster, chunk_of_work
from lagc_jax.delays.base import TimeSource
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes.base import Scheme
from lagc_jax.schemes.policies import Arrived, Policy

# Realisations run together, always padded to this number, so that results do not depend on how many
# are asked for. Measured on CPU: fewer leave the loop's own cost in sight, more leave its caches.
BLOCK = 32

# Chunks of a worker's times that are kept; those of a worker that others leave further behind are
# drawn again when it comes to them. All of a long run would be hundreds of megabytes.
KEPT_CHUNKS = 4


class Arrivals(NamedTuple):
    """What arrives, in this order; leading axes, if any, are realisations.

    Attributes:
        time: (..., A) of the arrival.
        worker: (..., A) that it comes from.
        began: (..., A) number of the iterate at which the job started.
        taken: (..., A) bool, whether it counts towards an update; a trial given up does.
        sound: (..., A) bool, whether there is a gradient: the trial was not given up.
        launched: (..., A) jobs that had been started before.
    """

    time: Array
    worker: Array
    began: Array
    taken: Array
    sound: Array
    launched: Array


class _Queue(NamedTuple):
    """What workers are at, in one realisation.

    Attributes:
        finish: (M,) times, `inf` of a worker that waits.
        job: (M,) number of the present job, -1 before the first.
        books: what the server knows of it.
    """

    finish: Array
    job: Array
    books: "_Books"


class _Books(NamedTuple):
    """What the server knows, in one realisation.

    Attributes:
        began: (M,) number of the iterate at which a worker started.
        made: (M,) arrivals since the last update; None where nobody waits.
        k, held: () updates, and gradients taken since the last.
        launched: () jobs started.
    """

    began: Array
    made: Array | None
    k: Array
    held: Array
    launched: Array


def num_arrivals(scheme: Scheme, num_updates: int) -> int:
    """Most arrivals that so many updates need."""
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    return policy.batch * num_updates + policy.discarded(scheme.num_workers, num_updates)


@lenient
def arrivals(
    scheme: Scheme,
    delays: TimeSource,
    cluster: Cluster | None,
    keys: Array,
    num_updates: int,
) -> Arrivals:
    """Draw what arrives until the last update, and perhaps after it, (R, A); keys (R,)."""
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    M, R, dtype = scheme.num_workers, keys.shape[0], delays.dtype
    segments = -(-num_arrivals(scheme, num_updates) // CHUNK)
    kept_chunks = min(KEPT_CHUNKS, segments + 1)  # an arrival starts one job of a worker at most
    overhead = _overhead(cluster, M, dtype)

    def draw(carry: tuple[Array, Array], last: Array) -> tuple[Array, Array]:
        """The first chunk that a worker lacks, for all that lack it and have room."""
        table, drawn = carry
        chunk = jnp.min(jnp.where(drawn <= last, drawn, jnp.iinfo(drawn.dtype).max))
        times = jax.vmap(lambda key: chunk_of_work(scheme, delays, cluster, key, chunk))(keys)
        wanted = (drawn == chunk) & (chunk - last < kept_chunks - 1)
        place = chunk % kept_chunks * CHUNK
        old = jax.lax.dynamic_slice_in_dim(table, place, CHUNK, 1)
        new = jnp.where(wanted[:, None], (times + overhead).astype(dtype), old)
        return jax.lax.dynamic_update_slice_in_dim(table, new, place, 1), drawn + wanted

    all_taken = policy.discarded(M, num_updates) == 0
    later = policy.alone and all_taken
    # Traced once for the shapes and the loop.
    serve = jax.jit(jax.vmap(partial(_serve, policy, length=CHUNK, later=later), out_axes=(0, 1)))

    def fill(carry: tuple[Array, Array], job: Array) -> tuple[Array, Array]:
        last = job // CHUNK + 1  # the last chunk that a segment can reach
        lacking = lambda carry: jnp.any(carry[1] <= last)  # noqa: E731
        return while_loop(lacking, lambda carry: draw(carry, last), carry)

    def run(carry: tuple) -> tuple:
        i, queue, jobs, kept = carry
        jobs = fill(jobs, queue.job)
        queue, (made, _) = serve(queue, jobs[0])
        kept = jax.tree.map(lambda old, new: old.at[i].set(new), kept, made)
        return i + 1, queue, jobs, kept

    none = jnp.zeros((R, M), jnp.int32)
    jobs = fill((jnp.zeros((R, kept_chunks * CHUNK, M), dtype), none), none - 1)
    queue = jax.vmap(lambda table: _start(policy, table[0]))(jobs[0])
    shapes = jax.eval_shape(serve, queue, jobs[0])[1][0]
    blank = jax.tree.map(lambda leaf: jnp.zeros((segments, *leaf.shape), leaf.dtype), shapes)
    carry = jnp.zeros((), jnp.int32), queue, jobs, blank

    def going(carry: tuple) -> Array:
        return carry[0] < segments if all_taken else jnp.any(carry[1].books.k < num_updates)

    kept = while_loop(going, run, carry)[-1]
    found = jax.tree.map(lambda leaf: leaf.reshape(-1, R), kept)
    if later:
        found = jax.vmap(partial(_enter_all, policy), (0, 1), (0, 1))(queue.books, found)[1]
    if all_taken:  # so that nobody asks for what the loop says
        found = found._replace(taken=jnp.ones_like(found.taken))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), found)


@lenient
def replay(
    scheme: Scheme, delays: TimeSource, cluster: Cluster | None, key: Array, num_updates: int
) -> tuple[Arrivals, Array, Array]:
    """One realisation of `arrivals`, (A,) each, the workers' jobs after them, and jobs' times.

    Jobs are numbers (A+1, M), the first before any arrival and -1 of a worker that has not started;
    times are (J, M).
    """
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    A = num_arrivals(scheme, num_updates)
    chunks = jnp.arange(A // CHUNK + 1)
    drawn = jax.vmap(lambda chunk: chunk_of_work(scheme, delays, cluster, key, chunk))(chunks)
    table = drawn.reshape(-1, scheme.num_workers)
    table = (table + _overhead(cluster, scheme.num_workers, table.dtype)).astype(delays.dtype)

    first = _start(policy, table[0])
    found, jobs = _serve(policy, first, table, A)[1]
    return found, jnp.concatenate([first.job[None], jobs]), table


def _overhead(cluster: Cluster | None, num_workers: int, dtype: Any) -> Array:
    """What messages add to a job, () or (M,)."""
    if cluster is None or cluster.link is None:
        return jnp.zeros((), dtype)
    link = cluster.link
    size = link.download_size + link.upload_size  # type: ignore[operator]
    return jnp.asarray(2 * link.latency + size / link.bandwidth, dtype)  # type: ignore[operator]


def _start(policy: Policy, work: Array) -> _Queue:
    """Workers at their first job; those that the policy does not start wait."""
    zeros, zero = jnp.zeros(work.shape, jnp.int32), jnp.zeros((), jnp.int32)
    if policy.alone:
        books = _Books(zeros, None, zero, zero, zero + work.size)
        return _Queue(_shortened(policy, work), zeros, books)
    starts = policy.start(Arrived(zeros == 0, zeros + 1, zero == 0, zeros))
    finish = jnp.where(starts, _shortened(policy, work), jnp.inf)
    books = _Books(zeros, zeros, zero, zero, jnp.sum(starts, dtype=jnp.int32))
    return _Queue(finish, jnp.where(starts, 0, -1), books)


def _shortened(policy: Policy, work: Array, worker: Array | None = None) -> Array:
    """How long jobs run that need `work`, of all workers (M,) or of one ()."""
    if policy.limit is None:
        return work
    limit = jnp.asarray(policy.limit, work.dtype)
    return jnp.minimum(work, limit if worker is None or limit.ndim == 0 else limit[worker])


def _serve(
    policy: Policy, queue: _Queue, table: Array, length: int, later: bool = False
) -> tuple[_Queue, tuple[Any, Array]]:
    """Let so many jobs end, one after another; with workers' jobs after each (length, M).

    Jobs' times are (J, M), a job's in the row of its number modulo J. What ends are `Arrivals`;
    `_First` where the server, which takes all that comes, is told `later`.
    """
    if not policy.alone:
        return scan(partial(_wait, policy, table), queue, None, length=length)
    # Who finishes next depends on times alone, and what the server makes of it follows. Measured
    # on CPU: two short loops take less than one.
    order, first = _in_order(policy, table, (queue.finish, queue.job), length)
    if policy.limit is None:  # so that nobody asks for what the loop says
        first = first._replace(sound=jnp.ones(length, bool))
    mine = first.worker[:, None] == jnp.arange(table.shape[1], dtype=jnp.int32)
    jobs = queue.job + jnp.cumsum(mine, axis=0, dtype=jnp.int32)
    books, found = (queue.books, first) if later else _enter_all(policy, queue.books, first)
    return _Queue(*order, books), (found, jobs)


class _First(NamedTuple):
    """The next job that ends: when, whose, and whether its gradient is there."""

    time: Array
    worker: Array
    sound: Array


def _in_order(
    policy: Policy, table: Array, order: tuple[Array, Array], length: int
) -> tuple[tuple[Array, Array], _First]:
    """The next jobs that end, (length,) each, where workers start anew at once.

    Found by rounded times first. Who came too early so leaves one behind who should have come
    before, and times go back; then all is done again, exactly.
    """

    def go_on(order: tuple, find: Callable, unroll: int = 1) -> tuple[tuple, _First]:
        step = partial(_go_on, policy, table, find)
        return scan(step, order, None, length=length, unroll=unroll)

    if order[0].dtype != jnp.float64:
        return go_on(order, first_least)
    found = go_on(order, about_first, unroll=4)
    (finish, _), first = found
    right = jnp.all(first.time[1:] >= first.time[:-1]) & jnp.all(finish >= first.time[-1])

    def again(carry: tuple) -> tuple:
        exact = go_on(carry[1], first_least)
        return jnp.asarray(True), exact[0], exact  # with a start that changes, or XLA does it ahead

    return while_loop(lambda carry: ~carry[0], again, (right, order, found))[2]


def _first(
    policy: Policy, table: Array, finish: Array, job: Array, find: Callable = first_least
) -> _First:
    worker, now = find(finish)
    if policy.limit is None:
        return _First(now, worker, jnp.asarray(True))
    work = _needed(table, job[worker], worker)
    return _First(now, worker, _shortened(policy, work, worker) == work)


def _needed(table: Array, job: Array, worker: Array) -> Array:
    return table[job % table.shape[0], worker]


def _go_on(
    policy: Policy, table: Array, find: Callable, order: tuple[Array, Array], _: None
) -> tuple[tuple[Array, Array], _First]:
    """Let the next job end where its worker always starts another at once."""
    finish, job = order
    first = _first(policy, table, finish, job, find)
    worker, number = first.worker, job[first.worker] + 1
    time = _shortened(policy, _needed(table, number, worker), worker)
    return (finish.at[worker].set(first.time + time), job.at[worker].set(number)), first


def _count(policy: Policy, books: _Books, began: Array) -> tuple[_Books, Array, Array]:
    """Take a gradient or throw it away; whether it is taken, and whether it makes an update."""
    taken = jnp.asarray(policy.take(books.k - began))
    count = books.held + taken
    updated = count == policy.batch
    k, count = books.k + updated, jnp.where(updated, 0, count)
    return books._replace(k=k, held=count), taken, updated


def _enter_all(policy: Policy, books: _Books, first: _First) -> tuple[_Books, Arrivals]:
    """What the server makes of gradients, (A,) each, whose workers start anew at once."""
    books, (began, taken) = scan(partial(_enter, policy), books, first.worker)
    launched = books.launched + jnp.arange(first.time.size, dtype=jnp.int32)
    found = Arrivals(first.time, first.worker, began, taken, first.sound, launched)
    return books._replace(launched=books.launched + first.time.size), found


def _enter(policy: Policy, books: _Books, worker: Array) -> tuple[_Books, tuple[Array, Array]]:
    """What the server makes of a gradient whose worker starts anew: its start, whether taken."""
    began = books.began[worker]
    books, taken, _ = _count(policy, books, began)
    return books._replace(began=books.began.at[worker].set(books.k)), (began, taken)


def _wait(
    policy: Policy, table: Array, queue: _Queue, _: None
) -> tuple[_Queue, tuple[Arrivals, Array]]:
    """Let the next job end where the policy says who starts anew."""
    workers = jnp.arange(table.shape[1], dtype=jnp.int32)
    now, worker, sound = _first(policy, table, queue.finish, queue.job)
    began, launched = queue.books.began[worker], queue.books.launched
    books, taken, updated = _count(policy, queue.books, began)
    mine, made = workers == worker, books.made.at[worker].add(1)  # type: ignore[union-attr]
    starts = policy.start(Arrived(mine, made, updated, books.k - books.began))
    jobs = queue.job + starts
    waiting = jnp.where(mine, jnp.inf, queue.finish)
    finish = jnp.where(starts, now + _shortened(policy, _needed(table, jobs, workers)), waiting)
    books = books._replace(
        began=jnp.where(starts, books.k, books.began),
        made=jnp.where(updated, 0, made),
        launched=launched + jnp.sum(starts, dtype=jnp.int32),
    )
    return _Queue(finish, jobs, books), (Arrivals(now, worker, began, taken, sound, launched), jobs)


class Costs(NamedTuple):
    """What it took to have every iterate, (R, K+1) each, and entry 0 is 0.

    Attributes:
        time: of the update.
        started: jobs that had been started before it.
        sent: gradients that had reached the server, used or not.
    """

    time: Array
    started: Array
    sent: Array


def used(scheme: Scheme, found: Arrivals, num_updates: int) -> Array:
    """Numbers of the arrivals that make updates, (R, K, B), in their order."""
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    size, R = policy.batch * num_updates, found.time.shape[0]
    if policy.discarded(scheme.num_workers, num_updates) == 0:
        numbers = jnp.broadcast_to(jnp.arange(size), (R, size))
    else:
        place = jnp.where(found.taken, jnp.cumsum(found.taken, axis=-1) - 1, size)
        every = jnp.broadcast_to(jnp.arange(found.time.shape[1]), found.time.shape)
        scatter = jax.vmap(lambda at, i: jnp.zeros(size, i.dtype).at[at].set(i, mode="drop"))
        numbers = scatter(place, every)
    return numbers.reshape(R, num_updates, policy.batch)


def at_updates(scheme: Scheme, found: Arrivals, num_updates: int) -> tuple[Arrivals, Costs]:
    """Arrivals that make updates, (R, K, B), of those that there are (R, A), and what they took."""
    policy: Policy = scheme.decoding  # type: ignore[assignment]
    numbers = used(scheme, found, num_updates)

    def pick(leaf: Array) -> Array:
        if policy.discarded(scheme.num_workers, num_updates) == 0:  # all from the first on
            return leaf[:, : numbers[0].size].reshape(numbers.shape)
        return jax.vmap(lambda row, at: row[at])(leaf, numbers)

    sources, integer = jax.tree.map(pick, found), jnp.result_type(int)
    sent = numbers + 1 if policy.limit is None else pick(jnp.cumsum(found.sound, -1, dtype=integer))
    values = (sources.time, sources.launched.astype(integer), sent.astype(integer))
    took = Costs(*(jnp.pad(value[..., -1], ((0, 0), (1, 0))) for value in values))
    return sources, took
