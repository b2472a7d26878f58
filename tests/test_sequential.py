"""Sequential gradient coding against a server that keeps book of every task, in plain Python."""

from collections import defaultdict

import jax
import numpy as np
import pytest

import lagc_jax as lj
from lagc_jax import Experiment, Gap, run, schemes
from lagc_jax.experiments import Points, parse_grid
from lagc_jax.times import sample_worker_times

M, K, KEY = 6, 60, jax.random.key(2)
BURSTS = lj.delays.Bursty(lj.delays.Weibull(1.0, 8.0), slowdown=6.0, enter=0.08, leave=0.6)
DESIGNS = [(1, 2, 2), (1, 3, 4), (2, 3, 3), (2, 5, 6), (1, 4, 0)]


def simulate(problem, scheme, **options):
    options = dict(num_iterations=K, sampler="workers") | options
    return lj.simulate(problem, scheme, BURSTS, KEY, **options)


def work(scheme):
    return float(scheme.load) * np.asarray(sample_worker_times(BURSTS, KEY, K, M))


def stays_in_design(late, rounds, lam, B, W):
    """Whether stragglers of now, `late`, and of the rounds before keep to the design."""
    window = rounds[-(W - 1) :]
    if len(late.union(*window)) > lam:
        return False
    ages = range(len(window), 0, -1)
    return not any(late & earlier for age, earlier in zip(ages, window, strict=True) if age >= B)


def rounds_of(times, mu, counting, B, W, lam, waits_for_all):
    """Run the rounds: duration, stragglers left behind and whom the caller counts in windows."""
    counted = []
    for r, row in enumerate(times):
        soon = min((1 + mu) * row.min(), row.max())
        for end in [soon, *sorted(row[row > soon])]:
            left = {m for m in range(len(row)) if row[m] > end}
            if stays_in_design(left, counted, lam, B, W):
                break
            if waits_for_all:
                end, left = row.max(), set()
                break
        yield r, end, left
        counted.append(left if counting(r, left) else set())


def selective(times, mu, B, W, lam, waits_for_all):
    """Durations and messages of SR-SGC; asserts that every job is decodable by its deadline."""
    n = times.shape[1]
    s = -(-B * lam // (W - 1 + B))
    results, repeating = defaultdict(set), {}

    def tasks(r):
        missing = [m for m in range(n) if m not in results[r - B]] if r >= B else []
        return set(missing[: max(len(missing) - s, 0)])

    def counting(r, left):
        return bool(repeating[r] - left) or len(left) > s

    taken = []
    for r, duration, left in rounds_of(times, mu, counting, B, W, lam, waits_for_all):
        repeating[r] = tasks(r)
        for m in set(range(n)) - left:
            results[r - B if m in repeating[r] else r].add(m)
        if r >= B:
            assert len(results[r - B]) >= n - s
        taken.append((duration, n - len(left)))
    return np.array(taken).T


def multiplexed(times, mu, B, W, lam, waits_for_all):
    """As `selective`, of M-SGC: own parts must all come, coded ones from `n - lambda` workers."""
    n = times.shape[1]
    own = defaultdict(lambda: np.zeros(n, int))
    coded = defaultdict(lambda: np.zeros(B, int))
    taken = []
    for r, duration, left in rounds_of(times, mu, lambda r, left: True, B, W, lam, waits_for_all):
        for age in range(W - 1 + B):
            job = r - age
            for m in set(range(n)) - left if job >= 0 else ():
                if age < W - 1 or own[job][m] < W - 1:
                    own[job][m] += 1
                else:
                    coded[job][age - W + 1] += 1
        last = r - (W - 2 + B)
        if last >= 0:
            assert (own[last] >= W - 1).all()
            assert (coded[last] >= n - lam).all()
        taken.append((duration, n - len(left)))
    return np.array(taken).T


@pytest.mark.parametrize(
    ("design", "waits_for_all"),
    [*((design, True) for design in DESIGNS), (DESIGNS[0], False), (DESIGNS[3], False)],
)
@pytest.mark.parametrize(
    ("make", "referee"), [(schemes.sr_sgc, selective), (schemes.m_sgc, multiplexed)]
)
def test_rounds_are_those_of_a_server_that_keeps_book(
    make, referee, design, waits_for_all, problem
):
    B, W, lam = design
    scheme = make(M, B, W, lam, tolerance=1.0, waits_for_all=waits_for_all)
    durations, messages = referee(work(scheme), 1.0, B, W, lam, waits_for_all)
    run = simulate(problem, scheme)
    np.testing.assert_allclose(run.wall_clock[1:], np.cumsum(durations), rtol=1e-12)
    np.testing.assert_array_equal(run.uplink[1:], np.cumsum(messages))
    np.testing.assert_array_equal(run.downlink, M * np.arange(K + 1))
    expected = float(M * scheme.load) * np.arange(K + 1)
    np.testing.assert_allclose(run.computation, expected, rtol=1e-14)
    gd = lj.descend(problem, lj.gd(M), num_iterations=K)
    np.testing.assert_allclose(run.gap, gd.gap, rtol=1e-9, atol=1e-18)
    if lam:
        assert M * K * 0.5 < run.uplink[-1] < M * K  # some are left behind


def test_designs_without_stragglers_and_endless_patience_wait_for_all(problem):
    none = simulate(problem, schemes.m_sgc(M, 1, 4, 0))
    patient = simulate(problem, schemes.sr_sgc(M, 1, 2, 2, tolerance=1e6))
    everyone = simulate(problem, lj.gd(M))
    np.testing.assert_array_equal(none.wall_clock, everyone.wall_clock)
    np.testing.assert_array_equal(none.computation, everyone.computation)
    times = work(schemes.sr_sgc(M, 1, 2, 2))
    np.testing.assert_allclose(patient.wall_clock[1:], np.cumsum(times.max(1)), rtol=1e-12)


def test_coding_every_round_for_as_few_as_needed_is_gc(problem):
    """Without tolerance; with it a round is longer than the code needs, or as long."""
    gc = simulate(problem, lj.gc(M, 3))
    same = simulate(problem, schemes.round_gc(M, 3, tolerance=0.0, waits_for_all=False))
    for one, other in zip(same, gc, strict=True):
        np.testing.assert_array_equal(one, other)
    late = simulate(problem, schemes.round_gc(M, 3))
    row = work(schemes.round_gc(M, 3))
    limit = 2 * row.min(1)
    borne = (row > limit[:, None]).sum(1) <= 2
    times = np.where(borne, np.minimum(limit, row.max(1)), row.max(1))
    assert 0 < borne.sum() < K
    np.testing.assert_allclose(late.wall_clock[1:], times.cumsum(), rtol=1e-12)


def test_every_model_of_a_round_has_a_vector_in_a_message(problem):
    scheme = schemes.m_sgc(M, 2, 3, 0)  # four models, and a load of 1
    link, d = lj.Link(latency=0.1, bandwidth=4.0), problem.num_parameters
    run = simulate(problem, scheme, cluster=lj.Cluster(link=link))
    np.testing.assert_array_equal(run.bits, 4 * 32 * d * run.uplink)
    times = 0.1 + 1 / 4 + work(lj.gd(M)).max(1) + 4 / 4 + 0.1
    np.testing.assert_allclose(run.wall_clock[1:], times.cumsum(), rtol=1e-12)
    once = simulate(problem, schemes.sr_sgc(M, 2, 3, 3))
    np.testing.assert_array_equal(once.bits, 32 * d * once.uplink)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (lj.Cluster(timeout=5.0), "give the scheme a tolerance"),
        (lj.Cluster(link=lj.Link(shared=True)), "give a link that is not shared"),
    ],
)
def test_clusters_that_end_rounds_otherwise_are_refused(problem, cluster, message):
    for scheme in (schemes.m_sgc(M, 1, 2, 2), schemes.round_gc(M, 2)):
        with pytest.raises(ValueError, match=message):
            simulate(problem, scheme, cluster=cluster)


def test_loads_are_those_of_the_paper():
    assert schemes.sr_sgc(256, 2, 3, 27).load == -(-2 * 27 // 4) + 1
    for (B, W, lam), n in (((1, 2, 27), 256), ((3, 7, 11), 64)):
        load = (lam + 1) * (W - 1 + B) / (B + (W - 1) * (lam + 1))
        assert schemes.m_sgc(n, B, W, lam).load == pytest.approx(load, rel=1e-15)
    assert schemes.m_sgc(4, 2, 3, 4).load == 2
    assert schemes.m_sgc(256, 1, 2, 27).decoding.num_models == 2


def test_batch_experiment_and_grid_give_the_same_times(problem):
    scheme = schemes.m_sgc(M, 1, 2, 2)
    sizes = dict(num_iterations=K, num_realisations=2, key=KEY)
    batch = lj.simulate_batch(
        problem, scheme, BURSTS, KEY, num_iterations=K, num_realisations=2, accuracies=[1e-1]
    )
    parts = dict(problems={"p": problem}, schemes={"s": scheme}, delays={"b": BURSTS})
    table = run(Experiment(**parts, target=Gap([1e-1]), **sizes))
    np.testing.assert_array_equal(table["time_mean"], batch.costs.time.mean)
    np.testing.assert_array_equal(table["computation"], batch.costs.computation.mean)
    written = {"name": "M-SGC", "num_workers": M, "burst": 1, "window": 2, "num_stragglers": [2, 3]}
    grid = parse_grid(
        {
            "iterations": 5, "realisations": 2, "accuracies": [1.0],
            "problem": [{"kind": "synthetic", "num_features": 8}], "scheme": [written],
            "delays": [{"family": "exponential", "rate": 1.0}],
        }
    )  # fmt: skip
    points = list(Points(grid.experiment))
    assert points[0].scheme == scheme
    assert len(points) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schemes.sr_sgc(6, 2, 4, 1), "burst=2 does not divide window - 1 = 3"),
        (lambda: schemes.m_sgc(6, 2, 2, 1), "burst=2 fills window=2"),
        (lambda: schemes.m_sgc(6, 1, 2, 7), "num_stragglers=7 exceeds the 6 workers"),
        (lambda: schemes.m_sgc(6, 1, 2, 1, tolerance=-1.0), "tolerance"),
        (lambda: schemes.sr_sgc(6, 0, 2, 1), "burst"),
        (
            lambda: lj.simulate_batch(
                lj.synthetic_linear_regression(jax.random.key(0), 6, 8), schemes.m_sgc(6, 1, 2, 1),
                lj.Exponential(1.0), KEY, num_iterations=2, num_realisations=1, accuracies=[1.0],
                cluster=lj.Cluster(independent=True),
            ),
            "load is 1.3333",
        ),
        (
            lambda: lj.simulate(
                lj.synthetic_linear_regression(jax.random.key(0), 6, 8), schemes.sr_sgc(6, 1, 2, 2),
                lj.Exponential(1.0), KEY, num_iterations=2, exact_recovery=False,
            ),
            "changes what is sent; give exact_recovery=True",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
