"""Servers that learn how to wait, against plain NumPy, and their limits."""

import jax
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import schemes
from lagc_jax.schemes.adaptive import AdaptiveK
from lagc_jax.times import sample_worker_times

M, K, KEY = 6, 60, jax.random.key(4)
SLOW = lj.delays.Bursty(lj.Exponential(1.0), slowdown=20.0, enter=0.05, leave=0.1)


@pytest.fixture(scope="module")
def problem():
    return lj.synthetic_linear_regression(jax.random.key(0), M, 6)


def simulate(problem, scheme, **options):
    sizes = dict(num_iterations=K, sampler="workers") | options
    return lj.simulate(problem, scheme, SLOW, KEY, **sizes)


def test_adaptive_k_is_the_algorithm_written_out(problem):
    times = np.asarray(sample_worker_times(SLOW, KEY, K, M))
    gradients = jax.jit(problem.group_gradients(M))
    alpha = 1.0 / float(problem.total_smoothness)
    last, clock = np.zeros(6), 0.0
    start = np.asarray(problem.minimizer)  # where steps are all noise
    theta, k, opposed, count, ks, points, clocks = start, 2, 0, 0, [], [start], [0.0]
    for row in times:
        fastest = np.argsort(row)[:k]
        ks.append(k)
        clock += row[fastest[-1]]
        step = -alpha * M / k * np.asarray(gradients(theta))[fastest].sum(0)
        theta = theta + step
        opposed -= int(np.sign(step @ last))
        count += 1
        if opposed > 1 and count > 5:
            k, opposed, count = min(k + 1, M), 0, 0
        last = step
        points.append(theta)
        clocks.append(clock)
    assert len(set(ks)) > 2  # it does grow
    scheme = schemes.adaptive_k(M, start=2, burn_in=5)
    run = simulate(problem, scheme, record=lambda theta: theta, step_size=alpha, theta0=start)
    np.testing.assert_allclose(run.recorded, points, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(run.wall_clock, clocks, rtol=1e-12)
    np.testing.assert_array_equal(run.uplink[1:], np.cumsum(ks))


def test_adaptive_k_that_never_stalls_is_fastest_k(problem):
    still = simulate(problem, schemes.adaptive_k(M, 4, burn_in=K))
    fixed = simulate(problem, schemes.fastest_k(M, 4))
    np.testing.assert_allclose(still.gap, fixed.gap, rtol=1e-12)
    np.testing.assert_array_equal(still.wall_clock, fixed.wall_clock)
    np.testing.assert_array_equal(still.communication, fixed.communication)


def test_dynamic_clusters_wait_as_clusters_dealt_by_the_iteration_before(problem):
    times = 2 * np.asarray(sample_worker_times(SLOW, KEY, K, M))
    order, clocks = np.arange(M), []
    for row in times:
        clocks.append(max(np.sort(row[order[i : i + 3]])[1] for i in (0, 3)))
        ranked = np.argsort(row)
        order = np.concatenate([ranked[0::2], ranked[1::2]])
    run = simulate(problem, schemes.dynamic_clusters(M, 2, 2))
    np.testing.assert_allclose(run.wall_clock[1:], np.cumsum(clocks), rtol=1e-12)
    gd = lj.descend(problem, lj.gd(M), num_iterations=K)
    np.testing.assert_allclose(run.gap, gd.gap, rtol=1e-9, atol=1e-18)
    still = simulate(problem, lj.Scheme(M, 2, 2))
    assert run.uplink[-1] == still.uplink[-1] == 4 * K
    assert run.computation[-1] == still.computation[-1]


def test_one_cluster_is_gradient_coding(problem):
    one, gc = (simulate(problem, s) for s in (schemes.dynamic_clusters(M, 1, 3), lj.gc(M, 3)))
    np.testing.assert_array_equal(one.wall_clock, gc.wall_clock)


def test_a_batch_runs_every_realisation_with_notes_of_its_own(problem):
    scheme = schemes.adaptive_k(M, start=2, burn_in=5)
    batch = lj.simulate_batch(
        problem, scheme, SLOW, KEY, num_iterations=K, num_realisations=2, accuracies=[1.0],
        keep_samples=True,
    )  # fmt: skip
    keys = [jax.random.fold_in(KEY, i) for i in range(2)]
    runs = [lj.simulate(problem, scheme, SLOW, key, num_iterations=K) for key in keys]
    alone = [float(lj.complexity(run, 1.0).wall_clock) for run in runs]
    np.testing.assert_allclose(batch.costs.time.samples[0], alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schemes.adaptive_k(4, 5), "start=5 exceeds the 4 workers"),
        (lambda: lj.Scheme(4, 1, 2, decoding=AdaptiveK(2)), "give redundancy=1"),
        (lambda: schemes.adaptive_k(4, 2, burn_in=-1), "burn_in"),
        (lambda: schemes.dynamic_clusters(6, 4, 1), "does not divide the 6 workers"),
        (lambda: schemes.dynamic_clusters(6, 3, 3), "at most the 2 workers"),
        (lambda: schemes.dynamic_clusters(6, 0, 1), "num_clusters"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
