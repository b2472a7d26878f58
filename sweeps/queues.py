"""What the benchmark measures of event-driven schemes: the engine and Python event queues."""

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from contenders import KEY_SEED, Cost, measure

import lagc_jax
from lagc_jax.experiments import Experiment, run
from lagc_jax.experiments.devices import cores, widen_pool
from lagc_jax.problems import gaussian_linear_regression
from lagc_jax.schemes import asynchronous


class Updates(NamedTuple):
    """What every contender simulates: asynchronous SGD on a quadratic, under exponential times.

    Attributes:
        num_workers, num_features, updates, realisations: `M`, `d`, `K` and `R`.
        repeats: how often it is measured.
    """

    num_workers: int
    num_features: int
    updates: int
    realisations: int
    repeats: int


STEP = 1e-3  # in units of 1/L, below what gradients that are late by 64 updates allow


def quadratic(work: Updates) -> Any:
    """The problem that all share."""
    key = jax.random.key(KEY_SEED)
    return gaussian_linear_regression(key, work.num_workers, 10, work.num_features)


def hessian(work: Updates) -> tuple[np.ndarray, np.ndarray, float]:
    """Hessian (d, d) and minimiser (d,) of the problem, and the step size, for NumPy."""
    problem = quadratic(work)
    root = np.asarray(problem.root)
    alpha = STEP / float(problem.total_smoothness)
    return root.T @ root, np.asarray(problem.minimizer), alpha


def plain_queue(work: Updates) -> Cost:
    """One realisation as one writes it: times are drawn and gradients taken when they are needed.

    NumPy makes gradients, steps and gaps.
    """
    (M, _, K, *_), (gram, best, alpha) = work, hessian(work)
    rng = np.random.default_rng(KEY_SEED)

    def run() -> float:
        theta, gaps = np.zeros_like(best), []
        held = [theta] * M  # the iterate that a worker computes at
        queue = [(rng.exponential(), m) for m in range(M)]
        heapq.heapify(queue)
        now = 0.0
        for _ in range(K):
            now, m = heapq.heappop(queue)
            theta = theta - alpha * (gram @ (held[m] - best))
            held[m] = theta
            error = theta - best
            gaps.append((now, 0.5 * error @ gram @ error))
            heapq.heappush(queue, (now + rng.exponential(), m))
        return now

    return measure(run, K, work.repeats)


def fast_queue(work: Updates) -> Cost:
    """The same made fast: all times at once, one product and one walk of the heap an update."""
    (M, _, K, *_), (gram, best, alpha) = work, hessian(work)
    rng = np.random.default_rng(KEY_SEED)

    def run() -> float:
        error, jobs, gaps = -best, [1] * M, []
        gradients = [gram @ error] * M
        times = rng.standard_exponential((2 * K // M + 64, M))
        queue = [(times[0, m], m) for m in range(M)]
        heapq.heapify(queue)
        now = 0.0
        for _ in range(K):
            now, m = queue[0]
            error = error - alpha * gradients[m]
            gradients[m] = gram @ error
            gaps.append((now, 0.5 * error @ gradients[m]))
            heapq.heapreplace(queue, (now + times[jobs[m], m], m))
            jobs[m] += 1
        return now

    return measure(run, K, work.repeats)


def engine_one_core(work: Updates) -> Cost:
    """All realisations in one call."""
    problem, M, K, R = quadratic(work), work.num_workers, work.updates, work.realisations
    scheme, delays = asynchronous(M), lagc_jax.Exponential(1.0)
    key, alpha = jax.random.key(KEY_SEED), STEP / float(problem.total_smoothness)
    sizes: dict[str, Any] = dict(num_iterations=K, num_realisations=R, step_size=alpha)

    def run() -> float:
        batch = lagc_jax.simulate_batch(problem, scheme, delays, key, iterates=[K], **sizes)
        return float(cast(Any, batch.curve).mean[0])

    return measure(run, K * R, work.repeats)


def engine_all_cores(work: Updates) -> Cost:
    """As many realisations, dealt to as many step sizes as there are cores: a sweep of those."""
    count = on_all_cores()
    M, K, R = work.num_workers, work.updates, work.realisations // count
    experiment = Experiment(
        problems={"quadratic": quadratic(work)},
        schemes={"ASGD": asynchronous(M)},
        delays={"exponential": lagc_jax.Exponential(1.0)},
        step_sizes=[STEP / 2**i for i in range(count)],
        target=lagc_jax.Iterate([K]),
        num_iterations=K,
        num_realisations=R,
        key=jax.random.key(KEY_SEED),
    )
    return measure(lambda: run(experiment)["time_mean"].mean(), K * R * count, work.repeats)


def on_all_cores() -> int:
    """Give JAX a device a core, before it starts; how many there are."""
    count = cores()
    jax.config.update("jax_num_cpu_devices", count)
    widen_pool()
    return count


QUEUES: dict[str, Callable[[Updates], Cost]] = {
    "Python event queue": plain_queue,
    "Python event queue made fast": fast_queue,
    "engine, one core": engine_one_core,
    "engine": engine_all_cores,
}


def check_updates(work: Updates, answers: dict[str, float]) -> None:
    """Raise RuntimeError unless every mean time is within 6 standard errors of the exact one.

    Arrivals of all workers are a Poisson process of rate `M`.
    """
    mean, deviation = work.updates / work.num_workers, work.updates**0.5 / work.num_workers
    for who, answer in answers.items():
        if abs(answer - mean) > 6 * deviation / (1 if "queue" in who else 8):
            raise RuntimeError(f"{who} has mean {answer:.6g}, the exact mean is {mean:.6g}")
