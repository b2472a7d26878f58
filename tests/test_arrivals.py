"""Clusters, failures, bursts and traces against plain loops over the same times, and their laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import reference
import reference_cluster

import lagc_jax as lj
from lagc_jax.batch import BLOCK
from lagc_jax.clock import clock_of
from lagc_jax.cluster import collect, sample_work
from lagc_jax.experiments import Points
from lagc_jax.times import sample_worker_times

M, K, KEY = 6, 70, jax.random.key(3)
# Compiled whole, which takes less than compiling every operation of theirs.
draw_work = jax.jit(sample_work, static_argnums=4)
FAILING = lj.delays.Failures(lj.Exponential(1.0), once=0.2, forever=0.005)
LINKS = {
    "none": (None, None),
    "own": (lj.Link(0.3, 4.0, 1.0, 2.0), dict(latency=0.3, down=0.25, up=0.5)),
    "shared": (
        lj.Link(0.1, 4.0, 1.0, 2.0, shared=True),
        dict(latency=0.1, down=0.25, up=0.5, shared=True),
    ),
}
SCHEMES = {
    "gd": lj.gd(M),
    "gc": lj.gc(M, 3),
    "lagc": lj.lagc(M, 2, 2, xi=0.2, memory=4),
    "g-lag, worker": lj.g_lag(M, 3, xi=0.02, memory=4, trigger="worker"),
}


def simulate(problem, name, delays=FAILING, key=KEY, **changes):
    arguments = dict(num_iterations=K, step_size=0.03) | changes
    return lj.simulate(problem, SCHEMES[name], delays, key, **arguments)


def test_one_iteration_of_one_group_at_a_shared_link_is_compiled():
    """XLA once died of it."""
    problem = lj.linear_regression([[[1.0]], [[2.0]]], [[1.0], [2.0]])
    times = lj.Trace.from_array([[1.0, 0.25]], resample="replay")
    cluster = lj.Cluster(link=lj.Link(0.5, 2.0, shared=True), timeout=9.0)
    run = lj.simulate(problem, lj.gc(2, 2), times, KEY, num_iterations=1, cluster=cluster)
    # The second worker has the iterate after two messages of 0.5, and sends one of as much.
    assert run.wall_clock.tolist() == [0.0, 2 * 0.5 + 0.5 + 2 * 0.25 + 0.5 + 0.5]


@pytest.mark.parametrize(
    ("name", "link"),
    [("gd", "shared"), ("gc", "own"), ("gc", "shared"), ("lagc", "none"), ("lagc", "shared"),
     ("g-lag, worker", "own"), ("g-lag, worker", "shared")],
)  # fmt: skip
def test_trajectories_with_failures_are_those_of_loops(problem, name, link):
    scheme, (made, plain) = SCHEMES[name], LINKS[link]
    cluster = lj.Cluster(startup=0.1, link=made, timeout=6.0)
    run = simulate(problem, name, cluster=cluster)
    work = np.asarray(draw_work(scheme, FAILING, cluster, KEY, K))
    assert np.isinf(work).any()
    expected = reference_cluster.run(
        reference.data_of(problem), work, scheme.num_groups, scheme.redundancy, scheme.trigger.name,
        float(scheme.xi), scheme.memory, 0.03, plain, 6.0,
    )  # fmt: skip
    assert expected.timeouts[-1] > 0
    for field in ("selected", "received", "downlink", "uplink", "computation", "timeouts"):
        assert np.array_equal(getattr(run, field), getattr(expected, field)), field
    np.testing.assert_allclose(run.wall_clock, expected.wall_clock, rtol=1e-12)
    # A gap is quadratic in the iterate's error: near the optimum it is known to the rounding of the
    # iterate, eps of the distance at the start, times the distance now (and some roundings).
    rounding = 100 * np.finfo(float).eps * np.sqrt(expected.gap * expected.gap[0])
    assert (abs(run.gap - expected.gap) <= rounding + 1e-10 * expected.gap).all()


@pytest.mark.parametrize("name", ["lagc", "g-lag, worker"])
def test_a_timeout_that_never_strikes_changes_nothing(problem, name):
    delays, cluster = lj.delays.Failures(lj.Exponential(1.0)), lj.Cluster(timeout=1e9)
    plain = simulate(problem, name, delays.delays, sampler="workers")
    patient = simulate(problem, name, delays, sampler="workers", cluster=cluster)
    assert patient.timeouts[-1] == 0
    for field in ("selected", "received", "wall_clock", "downlink", "uplink", "computation"):
        assert np.array_equal(getattr(patient, field), getattr(plain, field)), field


def test_batches_of_paths_are_their_trajectories_however_many_there_are(problem):
    cluster = lj.Cluster(timeout=6.0)

    def costs(count):
        return lj.simulate_batch(
            problem, SCHEMES["lagc"], FAILING, KEY, num_iterations=K, num_realisations=count,
            accuracies=(1.0, 1e-300), step_size=0.03, keep_samples=True, cluster=cluster,
        ).costs  # fmt: skip

    few, many = costs(5), costs(BLOCK + 3)
    assert np.array_equal(few.time.samples, many.time.samples[:, :5])
    assert np.array_equal(few.timeouts.samples, many.timeouts.samples[:, :5])
    assert np.isinf(many.time.mean[1])
    assert np.isinf(many.time.quantiles[1]).all()
    for i in range(5):
        run = simulate(problem, "lagc", key=jax.random.fold_in(KEY, i), cluster=cluster)
        cost = lj.complexity(run, 1.0)
        np.testing.assert_allclose(few.time.samples[0, i], cost.wall_clock, rtol=1e-12)
        assert few.communication.samples[0, i] == cost.communication


def test_constant_overheads_are_direct_exact_and_refused_elsewhere():
    scheme, delays = lj.lagc(M, 2, 2), lj.Exponential(1.0)
    selected = np.array([[True, True], [False, False], [True, False]])
    cluster = lj.Cluster(startup=0.5, link=LINKS["own"][0])
    overhead = 0.5 + 2 * 0.3 + 3.0 / 4.0
    clock = lj.expected_wall_clock(scheme, delays, selected, cluster)
    plain = lj.expected_wall_clock(scheme, delays, selected)
    np.testing.assert_allclose(clock - plain, overhead * np.array([0, 1, 1, 2]), rtol=1e-12)
    for bad in (
        lj.Cluster(startup=np.ones(M)),
        lj.Cluster(link=LINKS["shared"][0]),
        lj.Cluster(independent=True),
        lj.Cluster(timeout=1.0),
    ):
        with pytest.raises(ValueError, match="one constant to every answer"):
            clock_of(scheme, delays, bad, "direct")
        with pytest.raises(ValueError, match="exact moments do not apply"):
            lj.expected_wall_clock(scheme, delays, selected, bad)


def test_independent_partitions_are_sums_of_draws():
    scheme = lj.gc(M, 3)
    cluster = lj.Cluster(independent=True)
    work = np.asarray(draw_work(scheme, lj.Exponential(1.0), cluster, KEY, 5000))
    # Gamma(3): mean and variance 3; five standard errors of 30,000 draws.
    assert abs(work.mean() - 3) < 5 * np.sqrt(3 / work.size)
    assert abs(work.var() - 3) < 5 * np.sqrt((6 * 3 + 2 * 9) / work.size)


def test_bursts_follow_their_chain_across_chunk_borders():
    enter, leave, count = 0.1, 0.3, 20_000
    bursty = lj.delays.Bursty(lj.Exponential(1.0), 10.0, enter, leave)
    bad = jax.jit(jax.vmap(lambda chunk: bursty.bad_in_chunk(KEY, chunk, (64, count))))
    states = np.asarray(bad(jnp.arange(2)), int).reshape(128, count)
    pi = enter / (enter + leave)
    step = np.array([[1 - enter, enter], [leave, 1 - leave]])
    # All patterns of four states: inside a chunk, and across the border from 63 to 64.
    for start in (0, 29, 61, 62, 124):
        for pattern in np.ndindex(2, 2, 2, 2):
            p = pi if pattern[0] else 1 - pi
            for a, b in itertools.pairwise(pattern):
                p *= step[a, b]
            seen = (states[start : start + 4] == np.array(pattern)[:, None]).all(0).mean()
            # Five standard errors, 80 checks: level 5e-5.
            assert abs(seen - p) < 5 * np.sqrt(p * (1 - p) / count)
    far = np.corrcoef(states[60], states[70])[0, 1]
    assert abs(far - (1 - enter - leave) ** 10) < 5 / np.sqrt(count)
    # A burst that starts at 2 ends before 128 but for a share 0.7^125.
    begun = (states[1] == 0) & (states[2] == 1)
    length = np.argmin(states[2:, begun], axis=0)
    spread = np.sqrt(0.7) / 0.3 / np.sqrt(begun.sum())
    assert abs(length.mean() - 1 / leave) < 5 * spread


def test_workers_that_fail_for_good_stay_failed_and_die_geometrically():
    failing = lj.delays.Failures(lj.Exponential(1.0), forever=0.02)
    lost = np.isinf(np.asarray(sample_worker_times(failing, KEY, 128, 20_000)))
    assert (np.diff(lost.astype(int), axis=0) >= 0).all()
    for k in (0, 63, 64, 127):
        p = 1 - 0.98 ** (k + 1)
        assert abs(lost[k].mean() - p) < 5 * np.sqrt(p * (1 - p) / 20_000)


def test_wrappers_that_do_nothing_leave_the_draws_alone():
    plain = lj.Exponential(jnp.float32(1.0))
    wrapped = lj.delays.Failures(lj.delays.Bursty(plain, 1.0, 0.1, 0.1))
    times = sample_worker_times(wrapped, KEY, 70, M)
    assert times.dtype == jnp.float32
    assert np.array_equal(times, sample_worker_times(plain, KEY, 70, M))


TABLE = np.arange(24.0).reshape(8, 3) + 1


def draws(resample, block=1, columns=3):
    trace = lj.Trace.from_array(TABLE, resample=resample, block=block)
    return np.asarray(sample_worker_times(trace, KEY, 4000, columns))


def test_traces_are_drawn_as_they_say():
    assert np.array_equal(draws("replay"), np.tile(TABLE, (500, 1)))
    assert set(draws("iid", columns=5).ravel()) == set(TABLE.ravel())
    by_worker = draws("worker")
    assert all(set(by_worker[:, m]) == set(TABLE[:, m]) for m in range(3))
    assert (np.diff(by_worker, axis=1) != 1).any()
    # Blocks of 5 reach across the borders of chunks (64), all workers in one row.
    blocks = draws("blocks", 5)
    assert (np.diff(blocks, axis=1) == 1).all()
    row = ((blocks[:, 0] - 1) / 3).astype(int).reshape(800, 5)
    assert np.array_equal(row, (row[:, :1] + np.arange(5)) % 8)
    # Every row is as likely to begin a block: five standard errors.
    share = np.bincount(row[:, 0], minlength=8) / 800
    assert (abs(share - 1 / 8) < 5 * np.sqrt(1 / 8 * 7 / 8 / 800)).all()


def test_missing_entries_are_workers_that_never_answer():
    table = TABLE.copy()
    table[2, 1] = np.nan
    trace = lj.Trace.from_array(table, resample="replay")
    run = jax.jit(collect)(
        lj.gc(3, 1), lj.Cluster(timeout=30.0), sample_worker_times(trace, KEY, 4, 3),
        np.ones((4, 1), bool), 0,
    )  # fmt: skip
    assert run.received[:, 0].tolist() == [True, True, False, True]
    assert run.time.tolist() == [3, 6, 30, 12]
    assert run.uplink.tolist() == [3, 3, 2, 3]


def test_files_hold_the_array(tmp_path):
    frame = pd.DataFrame(TABLE, columns=["a", "b", "c"])
    frame.loc[1, "b"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for made in (
        lj.Trace.from_csv(tmp_path / "t.csv"),
        lj.Trace.from_parquet(tmp_path / "t.parquet"),
    ):
        assert np.array_equal(made.times, np.where(np.isnan(frame), np.inf, frame))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,-1\n", r"row 2 of column 'b' .* holds '-1', not a time"),
        ("a,b\nx,2\n", r"row 1 of column 'a' .* holds 'x', not a time"),
        ("1.5,2\n3,4\n", r"numbers in its first line; give a header"),
        (",a\n0,2\n", r"a column without a name"),
        ("a,b\n,\n", r"only missing times"),
    ],
)
def test_bad_trace_files_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        lj.Trace.from_csv(tmp_path / "t.csv")


def trace(**arguments):
    return lj.Trace.from_array(TABLE, **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace(resample="blocks", block=9), r"block=9 is longer than the trace of 8 rows"),
        (lambda: trace(resample="x"), r"resample='x' is unknown; give one of"),
        (lambda: trace(resample="worker").check(4), r"3 columns of times for num_workers=4"),
        (lambda: trace(resample="blocks").check(3, 2), r"independent=True needs 2; give"),
        (lambda: lj.delays.Failures(FAILING, once=1.1), r"once=1.1 must lie in \[0, 1\]"),
        (lambda: lj.delays.Bursty(FAILING, 0.0, 0.1, 0.1), r"slowdown=0.0 must be positive"),
        (lambda: lj.delays.Bursty(FAILING, 2.0, 0.0, 0.0), r"are both 0"),
        (lambda: lj.Cluster(timeout=0.0), r"timeout=0.0 must be positive"),
        (lambda: lj.Cluster(startup=-1.0), r"startup=-1.0 must be finite and not negative"),
        (lambda: lj.Link(bandwidth=0.0), r"bandwidth=0.0 must be positive"),
        (lambda: lj.Cluster(startup=np.ones(3)).check(4), r"cluster.startup has shape"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_replay_that_wraps_around_says_so(problem):
    replay = lj.Trace.from_array(np.ones((5, M)), resample="replay")
    with pytest.warns(RuntimeWarning, match="starts anew"):
        lj.simulate(problem, SCHEMES["gd"], replay, KEY, num_iterations=6)
    things = dict(problems={"p": problem}, schemes=SCHEMES, delays={"t": replay})
    with pytest.warns(RuntimeWarning, match="starts anew"):
        Points(lj.Experiment(**things, num_iterations=6))


def test_vmap_over_a_cluster_is_a_loop(problem):
    def one(timeout):
        return simulate(problem, "lagc", cluster=lj.Cluster(timeout=timeout))

    together = jax.vmap(one)(np.array([3.0, 8.0]))
    for i, timeout in enumerate((3.0, 8.0)):
        alone = one(timeout)
        assert np.array_equal(together.received[i], alone.received)
        np.testing.assert_allclose(together.wall_clock[i], alone.wall_clock, rtol=1e-12)
