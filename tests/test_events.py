"""Event-driven schemes against a plain Python event queue, and their limit cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference_events

import lagc_jax as lj
from lagc_jax import events, schemes
from lagc_jax._halves import about_first
from lagc_jax.problems._eigenbasis import in_eigenbasis
from lagc_jax.times import sample_worker_times

M, K = 6, 70
SCHEMES = {
    ("K-sync", 3): schemes.k_sync(M, 3),
    ("K-batch-sync", 7): schemes.k_batch_sync(M, 7),
    ("K-async", 3): schemes.k_async(M, 3),
    ("K-batch-async", 3): schemes.k_batch_async(M, 3),
    ("ASGD", 1): schemes.asynchronous(M),
    ("delay-adaptive", 1): schemes.delay_adaptive(M),
    ("Rennala", 3): schemes.rennala(M, 3),
    ("Ringmaster", 4): schemes.ringmaster(M, 4),
    ("Ringmaster stops", 4): schemes.ringmaster(M, 4, stops=True),
    ("MindFlayer", 2): schemes.mindflayer(M, 2, 1.5, success=0.7),
}
RATES = lj.Exponential([3.0, 1.0, 1.0, 0.5, 0.3, 0.05])


def whole(theta):
    """Record of iterates: of one function, as programs are kept by it."""
    return theta


@pytest.fixture(scope="module")
def full(problem):
    return jax.jit(lambda theta: problem.group_gradients(1)(theta)[0])


def rows(delays, key, scheme, count):
    return scheme.load * np.asarray(sample_worker_times(delays, key, count, M))


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_a_plain_event_queue_update_by_update(problem, full, name):
    scheme, key = SCHEMES[name], jax.random.key(3)
    alpha = 0.1 / float(problem.total_smoothness)
    run = lj.simulate(
        problem,
        scheme,
        RATES,
        key,
        num_iterations=K,
        step_size=alpha,
        record=whole,
    )
    extra = dict(limit=1.5, success=0.7) if name[0] == "MindFlayer" else {}
    work = rows(RATES, key, scheme, 1500)
    points, spent = reference_events.run(
        name, work, lambda theta, _: np.asarray(full(theta)), alpha, np.zeros(8), K, **extra
    )
    np.testing.assert_array_equal(run.wall_clock, spent[:, 0])
    np.testing.assert_array_equal(run.downlink, spent[:, 1])
    np.testing.assert_array_equal(run.uplink, spent[:, 2])
    np.testing.assert_array_equal(run.computation, spent[:, 1])
    np.testing.assert_allclose(run.recorded, points, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [("ASGD", 1), ("Ringmaster", 4), ("MindFlayer", 2)])
def test_jobs_that_end_units_in_the_last_place_apart_are_told_in_their_order(problem, full, name):
    """Times that agree to a few such units, later workers first; and workers that tie."""
    late = np.array([5, 3, 3, 2, 1, 0]) * np.finfo(float).eps
    times = np.tile(1 + late, (1500, 1))
    times[::2] = times[::2, ::-1]
    scheme, trace = SCHEMES[name], lj.delays.Trace.from_array(times, resample="replay")
    alpha, key = 0.1 / float(problem.total_smoothness), jax.random.key(0)
    sizes = dict(num_iterations=K, step_size=alpha, record=whole)
    run = lj.simulate(problem, scheme, trace, key, **sizes)
    extra = dict(limit=1.5, success=0.7) if name[0] == "MindFlayer" else {}
    work = scheme.load * times
    points, spent = reference_events.run(
        name, work, lambda theta, _: np.asarray(full(theta)), alpha, np.zeros(8), K, **extra
    )
    np.testing.assert_array_equal(run.wall_clock, spent[:, 0])
    np.testing.assert_allclose(run.recorded, points, rtol=1e-9, atol=1e-12)
    place, _ = about_first(jnp.asarray(times[1]))
    assert place != np.argmin(times[1])  # so that the test meets what it is about


@pytest.mark.parametrize("name", [("ASGD", 1), ("K-async", 3)])
def test_times_of_workers_that_are_left_behind_are_drawn_again(problem, full, name, monkeypatch):
    monkeypatch.setattr(events, "KEPT_CHUNKS", 2)
    scheme, key, count, alpha = SCHEMES[name], jax.random.key(8), 1000 // name[1], 1e-3
    delays = lj.Exponential([3.0, 1.0, 1.0, 1.0, 0.7, 0.7])
    run = lj.simulate(problem, scheme, delays, key, num_iterations=count, step_size=alpha)
    work = rows(delays, key, scheme, 600)
    gradient = lambda theta, _: np.asarray(full(theta))  # noqa: E731
    _, spent = reference_events.run(name, work, gradient, alpha, np.zeros(8), count)
    jobs = np.sum(np.cumsum(work, axis=0) < spent[-1, 0], axis=0)
    assert jobs.min() > events.CHUNK
    assert jobs.max() > jobs.min() + 3 * events.CHUNK
    np.testing.assert_array_equal(run.wall_clock, spent[:, 0])
    np.testing.assert_array_equal(run.downlink, spent[:, 1])


def test_k_sync_has_the_path_of_gradient_descent_and_the_clock_of_an_order_statistic(problem):
    key = jax.random.key(1)
    sizes = dict(num_iterations=K, step_size=1 / float(problem.total_smoothness), record=whole)
    run = lj.simulate(problem, schemes.k_sync(M, 3), RATES, key, **sizes)
    gd = lj.descend(problem, lj.gd(M), num_iterations=K)
    np.testing.assert_allclose(run.gap[:31], gd.gap[:31], rtol=1e-9)
    third = np.sort(np.asarray(sample_worker_times(RATES, key, K, M)), axis=1)[:, 2]
    np.testing.assert_allclose(run.wall_clock[1:], np.cumsum(third), rtol=1e-13)


def test_one_worker_alone_makes_stochastic_gradient_descent(problem):
    one = lj.linear_regression(np.asarray(problem.X).reshape(1, -1, 8), np.ravel(problem.y)[None])
    noisy = lj.problems.minibatch(one, 3, jax.random.key(2))
    step = dict(num_iterations=30, step_size=0.1 / float(one.total_smoothness))
    late = lj.simulate(noisy, schemes.asynchronous(1), RATES_ONE, jax.random.key(0), **step)
    sgd = lj.simulate(noisy, lj.gd(1), RATES_ONE, jax.random.key(0), sampler="workers", **step)
    np.testing.assert_allclose(late.gap, sgd.gap, rtol=1e-12)
    np.testing.assert_allclose(late.wall_clock, sgd.wall_clock, rtol=1e-13)


RATES_ONE = lj.Exponential(1.0)


def test_a_batch_and_vmap_and_an_experiment_give_the_single_runs(problem):
    scheme, R, alpha = schemes.ringmaster(M, 4), 3, 0.1 / float(problem.total_smoothness)
    keys = [jax.random.fold_in(jax.random.key(5), i) for i in range(R)]
    sizes = dict(num_iterations=K, step_size=alpha)

    def simulate(key):
        return lj.simulate(problem, scheme, RATES, key, record=whole, **sizes)

    runs = [simulate(key) for key in keys]
    found = [lj.complexity(run, 1.0) for run in runs]
    assert all(np.isfinite(one.wall_clock) for one in found)
    batch = lj.simulate_batch(
        problem,
        scheme,
        RATES,
        jax.random.key(5),
        num_realisations=R,
        accuracies=[1.0],
        keep_samples=True,
        **sizes,
    )
    many = jax.vmap(simulate)(jnp.stack(keys))
    for name in ("wall_clock", "communication", "computation"):
        single = [getattr(one, name) for one in found]
        cost = "time" if name == "wall_clock" else name
        samples = getattr(batch.costs, cost).samples[0]
        np.testing.assert_allclose(samples, single, rtol=1e-12)
        np.testing.assert_array_equal(getattr(many, name), [getattr(r, name) for r in runs])
    table = lj.run(
        lj.Experiment(
            problems={"LAG": problem},
            schemes={"Ringmaster": lj.Vary(schemes.ringmaster, num_workers=M, threshold=[4])},
            delays={"unequal": RATES},
            num_iterations=K,
            num_realisations=R,
            target=lj.Gap([1.0]),
            step_sizes=[0.1],
            key=jax.random.key(5),
        ),
        progress=False,
    )
    np.testing.assert_allclose(table["time_mean"], batch.mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (schemes.k_sync(4, 2), 0.5 / 4 + 0.5 / 3),
        (schemes.k_async(4, 2), 0.5 / 4 + 0.5 / 3),
        (schemes.k_batch_sync(4, 6), 6 / 8),
        (schemes.k_batch_async(4, 6), 6 / 8),
        (schemes.asynchronous(4), 1 / 8),
        (schemes.ringmaster(4, 3, stops=True), 1 / 8),
    ],
)
def test_mean_times_of_updates_are_those_of_the_paper_and_of_long_runs(scheme, expected):
    delays, K = lj.Exponential(2.0), 4000
    assert lj.theory.update_time(scheme, delays) == pytest.approx(expected, rel=1e-12)
    sizes = dict(num_iterations=K, step_size=1e-3)
    run = lj.simulate(PLAIN, scheme, delays, jax.random.key(0), **sizes)
    assert float(run.wall_clock[-1]) / K == pytest.approx(expected, rel=0.06)  # 4 deviations


def test_updates_never_take_longer_than_the_bounds_of_fixed_times():
    times = np.array([1.05, 1.1, 2.7, 9.1])
    fixed = lj.Trace.from_array(np.tile(times, (90, 1)), resample="replay")
    small = lj.linear_regression(np.ones((4, 1, 1)), np.ones((4, 1)))
    for scheme in (
        schemes.k_batch_sync(4, 6),
        schemes.rennala(4, 6),
        schemes.ringmaster(4, 6),
        schemes.ringmaster(4, 6, stops=True),
    ):
        run = lj.simulate(
            small, scheme, fixed, jax.random.key(0), num_iterations=90, step_size=1e-3
        )
        span = 6 if "Ring" in type(scheme.decoding).__name__ else 1
        longest = np.max(run.wall_clock[span:] - run.wall_clock[:-span])
        bound = lj.theory.time_bound(scheme, times)
        assert bound / 3 < longest <= bound


def test_time_complexity_is_that_of_the_best_number_of_workers():
    with_two = 2 / (1 + 1 / 2) * (2 * 3 / 0.1) * (1 + 5 / (2 * 0.1))
    assert lj.theory.time_complexity([2.0, 1.0, 1e9], 2.0, 3.0, 5.0, 0.1) == pytest.approx(with_two)


@pytest.mark.parametrize("shapes", [0.9, [0.9, 0.8, 0.7, 0.6]])
def test_an_update_of_workers_without_a_mean_has_none(shapes):
    delays = lj.Pareto(1.0, shapes if isinstance(shapes, float) else np.array(shapes))
    with pytest.warns(RuntimeWarning, match="infinite"):
        assert lj.theory.update_time(schemes.asynchronous(4), delays) == np.inf
    one = lj.Pareto(1.0, np.array([2.0, 0.9, 0.9, 0.9]))  # mean 2; the others take forever
    assert lj.theory.update_time(schemes.asynchronous(4), one) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schemes.k_sync(4, 5), "batch=5 exceeds the 4 workers; give fewer"),
        (lambda: schemes.k_batch_sync(4, 0), "batch=0"),
        (lambda: schemes.ringmaster(4, 0), "threshold=0"),
        (lambda: schemes.mindflayer(4, [1, 2], 1.0), "give one a worker, 4"),
        (lambda: schemes.mindflayer(4, 1, -1.0), "allotted"),
        (lambda: schemes.mindflayer(4, 1, 1.0, success=2.0), "success"),
        (lambda: lj.Scheme(4, 2, 2, decoding=schemes.k_sync(2, 1).decoding), "give 'always' and 1"),
        (lambda: lj.Scheme(4, 1, 2, decoding=schemes.k_sync(4, 1).decoding), "give redundancy=4"),
        (lambda: lj.descend(PLAIN, schemes.asynchronous(4), num_iterations=2), "not exact"),
        (lambda: simulate_plain(cluster=lj.Cluster(timeout=1.0)), "timeout"),
        (lambda: simulate_plain(exact_recovery=False), "exact_recovery"),
        (lambda: lj.theory.update_time(schemes.rennala(4, 2), lj.Exponential(1.0)), "not known"),
        (lambda: lj.theory.time_bound(schemes.asynchronous(2), [1.0, 1.0]), "no bound"),
        (lambda: lj.theory.time_complexity([1.0], 1.0, 1.0, -1.0, 1.0), "noise"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


PLAIN = lj.linear_regression(np.ones((4, 1, 1)), np.ones((4, 1)))


def simulate_plain(**options):
    scheme, key = schemes.asynchronous(4), jax.random.key(0)
    return lj.simulate(PLAIN, scheme, RATES_ONE, key, num_iterations=2, **options)


@pytest.mark.parametrize("num_rows", [4, 1])  # with one row a worker the Hessian is singular
def test_the_eigenbasis_has_the_loss_and_the_steps_of_the_regression(num_rows):
    problem = lj.problems.gaussian_linear_regression(
        jax.random.key(0), 3, num_rows=num_rows, num_features=5
    )
    theta = np.linspace(-1.0, 2.0, 5)
    easy, z = in_eigenbasis(problem, 9, theta)
    gradient = problem.group_gradients(1)(theta)[0]
    step = easy.unflatten(z - easy.group_oracle(1)(z, 0)[0])
    np.testing.assert_allclose(step, theta - gradient, rtol=1e-12)
    np.testing.assert_allclose(easy.gap(z), problem.gap(theta), rtol=1e-12)
    assert in_eigenbasis(problem, 4, theta)[0] is problem


def test_a_server_that_looks_at_coordinates_keeps_them(problem):
    """Adam's steps are not those of another basis; one worker alone makes its path exactly."""
    one = lj.linear_regression(np.asarray(problem.X).reshape(1, -1, 8), np.ravel(problem.y)[None])
    sizes = dict(num_iterations=9, step_size=0.1, optimizer=optax.adam(0.1))
    late = lj.simulate(one, schemes.asynchronous(1), RATES_ONE, jax.random.key(0), **sizes)
    path = lj.descend(one, lj.gd(1), **sizes)
    np.testing.assert_allclose(late.gap, path.gap, rtol=1e-9)


@pytest.mark.parametrize(
    "scheme", [schemes.asynchronous(M), schemes.k_sync(M, 3), schemes.fastest_k(M, 2)], ids=str
)
def test_links_of_ones_own_may_differ_between_workers(problem, scheme):
    """A message that takes its worker as long as a start-up costs the same time."""
    extra = np.linspace(0.1, 1.0, M)
    link = lj.Link(latency=0.2 * extra, bandwidth=10 / extra, download_size=2.0, upload_size=4.0)
    runs = [
        lj.simulate(problem, scheme, RATES, jax.random.key(0), num_iterations=20,
                    step_size=1e-3, cluster=cluster)
        for cluster in (lj.Cluster(startup=extra), lj.Cluster(link=link))
    ]  # fmt: skip
    np.testing.assert_allclose(runs[1].wall_clock, runs[0].wall_clock, rtol=1e-12)
    np.testing.assert_allclose(runs[1].gap, runs[0].gap, rtol=1e-9)
