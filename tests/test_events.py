"""Event-driven schemes against a plain Python event queue, and their limit cases."""

import jax
import numpy as np
import pytest
import reference_events

import lagc_jax as lj
from lagc_jax import schemes
from lagc_jax.times import sample_worker_times

M, K = 5, 70
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
RATES = lj.Exponential([3.0, 1.0, 1.0, 0.5, 0.05])


@pytest.fixture(scope="module")
def problem():
    return lj.synthetic_linear_regression(jax.random.key(0), M, 6)


def rows(delays, key, scheme, count):
    return scheme.load * np.asarray(sample_worker_times(delays, key, count, M))


@pytest.mark.parametrize("name", SCHEMES)
def test_equal_to_a_plain_event_queue_update_by_update(problem, name):
    scheme, key = SCHEMES[name], jax.random.key(3)
    alpha = 0.1 / float(problem.total_smoothness)
    run = lj.simulate(
        problem,
        scheme,
        RATES,
        key,
        num_iterations=K,
        step_size=alpha,
        record=lambda theta: theta,
    )
    full = jax.jit(lambda theta: problem.group_gradients(1)(theta)[0])
    extra = dict(limit=1.5, success=0.7) if name[0] == "MindFlayer" else {}
    work = rows(RATES, key, scheme, 1500)
    points, spent = reference_events.run(
        name, work, lambda theta, _: np.asarray(full(theta)), alpha, np.zeros(6), K, **extra
    )
    np.testing.assert_array_equal(run.wall_clock, spent[:, 0])
    np.testing.assert_array_equal(run.downlink, spent[:, 1])
    np.testing.assert_array_equal(run.uplink, spent[:, 2])
    np.testing.assert_array_equal(run.computation, spent[:, 1])
    np.testing.assert_allclose(run.recorded, points, rtol=1e-9, atol=1e-12)
