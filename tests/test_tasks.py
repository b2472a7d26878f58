"""Workers whose loads have parts, against plain NumPy loops, and their limits."""

import jax
import numpy as np
import pytest
import reference

import lagc_jax as lj
from lagc_jax import schemes
from lagc_jax.law.inverse import CHUNK
from lagc_jax.schemes.anytime import Anytime
from lagc_jax.schemes.multi_message import MultiMessage
from lagc_jax.schemes.schedules import Scheduled
from lagc_jax.timeline import job_table
from lagc_jax.times import sample_worker_times

M, K, KEY, STEP = 6, 30, jax.random.key(3), 0.03
DELAYS = lj.Exponential(1.0)
UNEVEN = [[0, 3], [1, 0], [2, 1], [3, 2], [4, 1], [5, 4]]  # partition 5 once, 1 three times
SCHEDULES = {
    "cyclic": schemes.cyclic_schedule(M, 3),
    "staircase": schemes.staircase_schedule(M, 3, num_waited=4),
    "own": lj.Scheme(M, 1, 2, decoding=Scheduled(UNEVEN, 5)),
}


def run_of(problem, scheme, **options):
    sizes = dict(num_iterations=K, step_size=STEP, sampler="workers") | options
    return lj.simulate(problem, scheme, DELAYS, KEY, **sizes)


def loop(schedule, k, ends, up=0.0):
    """Time, messages in and distinct partitions of one iteration, message by message.

    Ends (M, r) are when gradients are computed; a worker's link carries one for `up`.
    """
    events = []
    for worker, row in enumerate(schedule):
        free = 0.0
        for j, partition in enumerate(row):
            free = max(free, ends[worker][j]) + up
            events.append((free, partition))
    inside = set()
    for messages, (time, partition) in enumerate(sorted(events), 1):
        inside.add(partition)
        if len(inside) == k:
            return time, messages, sorted(inside)
    raise AssertionError("all partitions are done at some time")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["alike", "independent", "links"])
def test_schedules_are_those_of_a_loop_over_messages(problem, name, kind):
    scheme = SCHEDULES[name]
    schedule, k = scheme.decoding.schedule, scheme.decoding.num_waited
    r, start, latency, up = len(schedule[0]), 0.0, 0.0, 0.0
    times = np.asarray(sample_worker_times(DELAYS, KEY, K, M))
    ends, cluster = times[..., None] * np.arange(1, r + 1), None
    if kind == "independent":
        drawn = jax.vmap(lambda chunk: DELAYS.sample_chunk(KEY, chunk, (CHUNK, r, M)))
        draws = np.asarray(drawn(np.arange(-(-K // CHUNK)))).reshape(-1, r, M)[:K]
        ends = np.cumsum(draws, axis=1).transpose(0, 2, 1)
        cluster = lj.Cluster(independent=True)
    if kind == "links":
        start, latency, up = np.linspace(0.1, 0.5, M), 0.05, 0.7
        cluster = lj.Cluster(startup=start, link=lj.Link(latency, upload_size=up))
        ends = ends + (start + latency + 1.0)[:, None]
    data, theta, costs = reference.data_of(problem), [np.zeros(problem.num_parameters)], [(0, 0)]
    for row in ends:
        time, messages, inside = loop(schedule, k, row, up)
        gradients = [reference.partition_gradient(data, m, theta[-1]) for m in inside]
        theta.append(theta[-1] - STEP * M / k * sum(gradients))
        costs.append((costs[-1][0] + time + latency, costs[-1][1] + messages))
    run = run_of(problem, scheme, cluster=cluster)
    clock, uplink = np.transpose(costs)
    np.testing.assert_allclose(run.wall_clock, clock, rtol=1e-12)
    np.testing.assert_array_equal(run.uplink, uplink)
    np.testing.assert_array_equal(run.downlink, M * np.arange(K + 1))
    np.testing.assert_array_equal(run.computation, r * M * np.arange(K + 1))
    gap = reference.gaps(data, theta)
    rounding = 100 * np.finfo(float).eps * np.sqrt(gap * gap[0])
    assert (abs(run.gap - gap) <= rounding + 1e-10 * gap).all()


def test_the_two_orders_are_those_of_four_workers_written_out():
    cyclic, staircase = schemes.cyclic_schedule(4, 3), schemes.staircase_schedule(4, 3)
    assert cyclic.decoding.schedule == ((0, 1, 2), (1, 2, 3), (2, 3, 0), (3, 0, 1))
    assert staircase.decoding.schedule == ((0, 1, 2), (1, 0, 3), (2, 3, 0), (3, 2, 1))


def test_coded_messages_decode_as_soon_as_they_span_the_sum(problem):
    scheme = schemes.multi_message_gc(M, 4, num_messages=2)
    rows = np.reshape(scheme.decoding.messages, (2 * M, M))
    times = np.asarray(sample_worker_times(DELAYS, KEY, K, M))
    clock, uplink, late = [0.0], [0], np.sort(4 * times)[:, M - 4].sum()
    for ends in (times[..., None] * [2, 4]).reshape(K, -1):
        order, inside = np.argsort(ends), []
        for i in order:  # a message that would add nothing is cancelled
            if np.linalg.matrix_rank(rows[[*inside, i]]) > len(inside):
                inside.append(i)
            if abs(np.linalg.pinv(rows[inside]).sum(0) @ rows[inside] - 1).max() < 1e-6:
                break
        clock.append(clock[-1] + ends[inside[-1]])
        uplink.append(uplink[-1] + len(inside))
    run = run_of(problem, scheme)
    np.testing.assert_allclose(run.wall_clock, clock, rtol=1e-12)
    np.testing.assert_array_equal(run.uplink, uplink)
    np.testing.assert_array_equal(run.computation, 4 * M * np.arange(K + 1))
    assert run.wall_clock[-1] < late  # gradient coding of the same load
    gd = lj.descend(problem, lj.gd(M), num_iterations=K, step_size=STEP)
    np.testing.assert_allclose(run.gap, gd.gap, rtol=1e-9, atol=1e-18)


LIMITS = {
    "one coded message is the first decodable": (
        schemes.multi_message_gc(M, 4, num_messages=1),
        schemes.first_decodable(M, 4, schemes.cyclic_repetition(M, 4)),
    ),
    "one message is fastest-k": (schemes.cyclic_schedule(M, 1, 4), schemes.fastest_k(M, 4)),
    "one message, all, is GC": (schemes.staircase_schedule(M, 1), lj.gc(M, 1)),
    "time for all is GD": (schemes.anytime(M, 1e6, 1), lj.gd(M)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_hold_bit_for_bit(problem, name):
    mine, other = (run_of(problem, scheme) for scheme in LIMITS[name])
    for field in ("gap", "wall_clock", "downlink", "uplink", "computation"):
        assert np.array_equal(getattr(mine, field), getattr(other, field)), field


def test_all_partitions_give_the_path_of_gd_and_exact_means_where_one_message_is_sent(problem):
    gd = lj.descend(problem, lj.gd(M), num_iterations=K)
    path = lj.descend(problem, SCHEDULES["cyclic"], num_iterations=K)
    np.testing.assert_allclose(path.gap, gd.gap, rtol=1e-9, atol=1e-18)
    one = schemes.cyclic_schedule(M, 1)
    selected = np.ones((1, 1), bool)
    mean = lj.expected_wall_clock(one, DELAYS, selected)[-1]
    assert float(mean) == pytest.approx(sum(1 / k for k in range(1, M + 1)), rel=1e-12)
    with pytest.raises(ValueError, match="takes no fixed number of messages"):
        lj.expected_wall_clock(SCHEDULES["cyclic"], DELAYS, selected)


def test_no_schedule_of_as_many_gradients_ends_before_the_first_of_all_messages(problem):
    """The paper's bound: not before the k-th of all gradients, nor after the k-th first ones."""
    times = np.asarray(sample_worker_times(DELAYS, KEY, K, M))
    every = np.sort((times[..., None] * np.arange(1, 4)).reshape(K, -1))
    for scheme in (schemes.cyclic_schedule(M, 3, 4), schemes.staircase_schedule(M, 3, 4)):
        took = np.diff(run_of(problem, scheme).wall_clock)
        assert (took >= every[:, 3] * (1 - 1e-12)).all()
        assert (took <= np.sort(times)[:, 3] * (1 + 1e-12)).all()


@pytest.mark.parametrize("batch", [None, 2])
def test_anytime_minibatches_are_those_of_a_loop(problem, batch):
    most, allotted = 4, 1.5
    given = problem if batch is None else lj.problems.minibatch(problem, batch, jax.random.key(8))
    times = np.asarray(sample_worker_times(DELAYS, KEY, K, M))
    oracle = jax.jit(given.group_oracle(M))
    theta, clock, uplink, computation = [np.zeros(problem.num_parameters)], [0.0], [0], [0]
    for k, row in enumerate(times):
        done = [min(most, int(allotted // tau)) for tau in row]
        total = np.zeros(problem.num_parameters)
        for j in range(most):
            gradients = np.asarray(oracle(theta[-1], k * most + j))
            total += sum((gradients[m] for m in range(M) if j < done[m]), start=0 * total)
        theta.append(theta[-1] - STEP * M * total / max(sum(done), 1))
        clock.append(clock[-1] + min(allotted, most * max(row)))
        uplink.append(uplink[-1] + sum(one > 0 for one in done))
        computation.append(computation[-1] + sum(done))
    run = run_of(given, schemes.anytime(M, allotted, most))
    np.testing.assert_allclose(run.wall_clock, clock, rtol=1e-12)
    np.testing.assert_array_equal(run.uplink, uplink)
    np.testing.assert_array_equal(run.computation, computation)
    np.testing.assert_array_equal(run.downlink, M * np.arange(K + 1))
    gap = reference.gaps(reference.data_of(problem), theta)
    rounding = 100 * np.finfo(float).eps * np.sqrt(gap * gap[0])
    assert (abs(run.gap - gap) <= rounding + 1e-10 * gap).all()


def test_nobody_in_time_costs_the_time_and_moves_nothing(problem):
    run = run_of(problem, schemes.anytime(M, 1e-9, 2))
    assert np.array_equal(run.gap, np.full(K + 1, run.gap[0]))
    assert run.uplink[-1] == run.computation[-1] == 0
    np.testing.assert_allclose(run.wall_clock[-1], K * 1e-9, rtol=1e-12)


def test_a_worker_that_fails_between_its_gradients_has_sent_the_first(problem):
    """A timeout keeps what came; what did not decode is given up."""
    scheme, cluster = schemes.cyclic_schedule(M, 2), lj.Cluster(timeout=1.0)
    times = np.asarray(sample_worker_times(DELAYS, KEY, K, M))
    run = run_of(problem, scheme, cluster=cluster)
    took = [loop(scheme.decoding.schedule, M, np.outer(row, [1, 2]))[0] for row in times]
    lost = np.array(took) > 1.0
    assert 0 < lost.sum() < K
    np.testing.assert_array_equal(np.diff(run.timeouts), lost)
    np.testing.assert_allclose(np.diff(run.wall_clock), np.minimum(took, 1.0), rtol=1e-10)
    early = [(np.outer(row, [1, 2]) <= 1.0).sum() for row in times]
    np.testing.assert_array_equal(np.diff(run.uplink)[lost], np.array(early)[lost])


@pytest.mark.parametrize("scheme", [SCHEDULES["staircase"], schemes.anytime(M, 1.5, 3)])
def test_a_batch_and_an_experiment_are_single_runs(problem, scheme):
    sizes = dict(num_iterations=K, num_realisations=2)
    table = lj.run(
        lj.Experiment(
            problems={"p": problem}, schemes={"s": scheme}, delays={"d": DELAYS}, key=KEY,
            target=lj.Gap([5.0]), step_sizes=[0.5], **sizes,
        ),
        progress=False,
    )  # fmt: skip
    step = 0.5 / float(problem.total_smoothness)
    batch = lj.simulate_batch(
        problem, scheme, DELAYS, KEY, accuracies=[5.0], step_size=step, **sizes
    )
    keys = [jax.random.fold_in(KEY, i) for i in range(2)]
    sizes = dict(num_iterations=K, step_size=step)
    runs = [lj.simulate(problem, scheme, DELAYS, key, **sizes) for key in keys]
    found = [lj.complexity(run, 5.0) for run in runs]
    for name, column in (("wall_clock", "time_mean"), ("computation", "computation")):
        alone = np.mean([float(getattr(one, name)) for one in found])
        assert np.isfinite(alone)
        assert table[column].iloc[0] == pytest.approx(alone, rel=1e-12)
    assert float(batch.mean[0]) == table["time_mean"].iloc[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: schemes.cyclic_schedule(4, 5), "redundancy=5 exceeds the 4"),
        (lambda p: schemes.cyclic_schedule(4, 2, 5), "num_waited=5 exceeds the 4"),
        (lambda p: Scheduled([[0, 0], [1, 0]], 2), "twice in a row"),
        (lambda p: Scheduled([[0], [0]], 2), "partitions 0 to 1"),
        (lambda p: Scheduled([[0.0], [1.0]], 2), "whole numbers"),
        (lambda p: lj.Scheme(4, 2, 2, decoding=Scheduled([[0], [1]], 1)), r"give \(2, 2\)"),
        (lambda p: lj.Scheme(4, 1, 2, decoding=Anytime(1.0, 2)), "give redundancy=1"),
        (lambda p: lj.Scheme(4, 1, 1, decoding=Anytime(1.0, 2)), "2 equal tasks"),
        (lambda p: schemes.anytime(4, -1.0, 2), "allotted"),
        (lambda p: schemes.multi_message_gc(4, 3, 2), "does not divide redundancy=3"),
        (lambda p: MultiMessage(np.eye(4)), r"shape \(4, 4\)"),
        (lambda p: MultiMessage(np.zeros((2, 1, 2))), "do not decode"),
        (lambda p: lj.Scheme(2, 1, 2, decoding=MultiMessage(np.ones((2, 2, 2)))), "so far"),
        (lambda p: schemes.anytime(4, 1.0, 0), "most"),
        (lambda p: run_of(p, SCHEDULES["cyclic"], exact_recovery=False), "messages of its own"),
        (lambda p: run_of(p, SCHEDULES["cyclic"], sampler="direct"), "who arrives"),
        (
            lambda p: run_of(p, SCHEDULES["cyclic"], cluster=lj.Cluster(link=lj.Link(shared=True))),
            "whoever else sends",
        ),
        (
            lambda p: job_table(run_of(p, SCHEDULES["cyclic"]), SCHEDULES["cyclic"], DELAYS, KEY),
            "several gradients or messages of a worker",
        ),
    ],
)
def test_what_cannot_be_is_refused(problem, make, message):
    with pytest.raises(ValueError, match=message):
        make(problem)
